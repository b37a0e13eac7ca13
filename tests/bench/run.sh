#!/usr/bin/env bash
# Installs the peers, builds what is measured, then runs tests/bench/bench.py with the arguments.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/penstock/target}
say() { printf '  %s\n' "$*" >&2; }

PENSTOCK_BENCH_VENV=$(xtask/setup/bench-peers.sh)
export PENSTOCK_BENCH_VENV
say "building the filters and the shipped binary"
cargo xtask filters >&2
cargo xtask ebpf >&2
xtask/setup/debian.sh ip:iproute2 nft:nftables /usr/lib/cni/ptp:containernetworking-plugins
cargo build --release -q -p penstock-cli -p penstock-raw-copy
say "building Envoy's filter"
toolchain=$(xtask/setup/wasm-target.sh)
(cd tests/bench/envoy-wasm && CARGO_TARGET_DIR=$CARGO_TARGET_DIR/bench-envoy/build \
  cargo $toolchain build -q --release --target wasm32-unknown-unknown)
cp "$CARGO_TARGET_DIR/bench-envoy/build/wasm32-unknown-unknown/release/envoy_wasm.wasm" \
  "$CARGO_TARGET_DIR/bench-envoy/envoy_wasm.wasm"
exec python3 tests/bench/bench.py "$@"
