#!/usr/bin/env bash
# Builds the examples and runs every test of the workspace, doctests included. Arguments go to cargo test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The vectors and the dialogues with the Python peer need python3, its standard library alone; the page of
# examples/browser is shown in a browser.
missing=()
command -v python3 >/dev/null || missing+=(python3)
python3 -c "import ensurepip, venv" 2>/dev/null || missing+=(python3-venv)
command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
command -v chromedriver >/dev/null || missing+=(chromium-driver)
if ((${#missing[@]})); then
    as_root=()
    [[ $EUID -eq 0 ]] || as_root=(sudo)
    "${as_root[@]}" apt-get update
    "${as_root[@]}" apt-get install --yes --no-install-recommends "${missing[@]}"
fi

# The Autobahn cases come in a package of Python's, and so do Noise and Argon2id of the peer in Python. The copy of the
# list says what is installed.
if ! cmp --silent tests/python/requirements.txt target/python/requirements.txt; then
    python3 -m venv --clear target/python
    target/python/bin/python3 -m pip install --quiet --disable-pip-version-check -r tests/python/requirements.txt
    cp tests/python/requirements.txt target/python
fi

# Tests start the examples as programs; a run of one test alone would not build them.
cargo build --workspace --examples
exec cargo test --workspace --no-fail-fast "$@"
