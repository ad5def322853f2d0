#!/usr/bin/env bash
# Each feature alone, those that meet in the code, and all: without warnings. The other checks build with every feature or
# with the default ones, so code that needs a feature it does not name would only fail at a user's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for features in "" derive actix blocking unix serial tls websocket "tls websocket" full _bench; do
  echo "features: ${features:-none}"
  cargo clippy -q -p socketproto --lib --no-default-features --features "$features" -- -D warnings
done
cargo clippy -q -p socketproto --benches --features _bench -- -D warnings
