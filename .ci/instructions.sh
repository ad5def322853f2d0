#!/usr/bin/env bash
# Counts the instructions of calls, compares them with socketproto/benches/instructions.txt, and fails where they became
# more. Arguments go to the program; --bless writes the file anew.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v valgrind >/dev/null; then
    as_root=()
    [[ $EUID -eq 0 ]] || as_root=(sudo)
    "${as_root[@]}" apt-get update
    "${as_root[@]}" apt-get install --yes --no-install-recommends valgrind
fi

# Every development dependency is built along; those that only other programs use, quickly rather than well.
quickly=()
for package in clap_builder criterion proptest rcgen regex-automata regex-syntax ring; do
    quickly+=(--config "profile.bench.package.$package.opt-level=0")
done
exec cargo bench -p socketproto --features _bench --bench instructions "${quickly[@]}" -- "$@"
