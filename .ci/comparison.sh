#!/usr/bin/env bash
# What the comparison consists of still builds and has no lints: its own programs, not those of others, which are many
# crates and of no concern to the library.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../benches"

cargo fmt --all --check
cargo clippy --locked -p bench-common -p bench-runner -p bench-raw -p bench-ours --all-targets -- -D warnings
cargo test --locked -p bench-runner -p bench-raw --quiet
