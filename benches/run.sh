#!/usr/bin/env bash
# Builds the programs of the comparison and runs it. Arguments go to the runner: --quick, --only TEXT, --rounds N, ..;
# README.md says more.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

quick=false
for argument in "$@"; do
    [[ $argument != --quick ]] || quick=true
done

# A short run needs nothing but Rust.
programs=(-p bench-runner -p bench-raw -p bench-ours -p bench-tarpc)
if ! $quick; then
    programs=(--workspace)
    missing=()
    command -v python3 >/dev/null || missing+=(python3)
    python3 -c "import ensurepip, venv" 2>/dev/null || missing+=(python3-venv)
    command -v nats-server >/dev/null || missing+=(nats-server)
    # libzmq is built from source.
    command -v c++ >/dev/null || missing+=(g++)
    if ((${#missing[@]})); then
        as_root=()
        [[ $EUID -eq 0 ]] || as_root=(sudo)
        "${as_root[@]}" apt-get update
        "${as_root[@]}" apt-get install --yes --no-install-recommends "${missing[@]}"
    fi
    if ! target/python/bin/python3 -c "import uvloop" 2>/dev/null; then
        python3 -m venv --clear target/python
        # Without it, one peer is left out, and the runner says so.
        target/python/bin/python3 -m pip install --quiet --disable-pip-version-check uvloop==0.23.0 || true
    fi
    export PATH="$PWD/target/python/bin:$PATH"
fi

cargo build --release --locked "${programs[@]}"
exec target/release/bench-runner run "$@"
