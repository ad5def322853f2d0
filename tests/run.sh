#!/usr/bin/env bash
# Builds the examples and runs every test of the workspace, doctests included. Arguments go to cargo test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The vectors and the dialogues with the Python peer need python3, its standard library alone.
if ! command -v python3 >/dev/null; then
    as_root=()
    [[ $EUID -eq 0 ]] || as_root=(sudo)
    "${as_root[@]}" apt-get update
    "${as_root[@]}" apt-get install --yes --no-install-recommends python3
fi

# Tests start the examples as programs; a run of one test alone would not build them.
cargo build --workspace --examples
exec cargo test --workspace --no-fail-fast "$@"
