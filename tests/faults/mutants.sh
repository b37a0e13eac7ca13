#!/usr/bin/env bash
# Changes pure code in every small way that cargo-mutants knows, and runs the tests on each change.
#
#   tests/faults/mutants.sh                     config, gateway and routing
#   tests/faults/mutants.sh config              all of penstock-config
#   tests/faults/mutants.sh gateway             names, grants and matches of penstock-gateway
#   tests/faults/mutants.sh routing             the route table of penstock-proxy
#   tests/faults/mutants.sh gateway-all         all of penstock-gateway: hours
#   SHARD=0/8 tests/faults/mutants.sh ...       an eighth of it
#
# No mutant is excluded (.cargo/mutants.toml); the rest of penstock-gateway is left to `gateway-all`
# for its time alone. Ends with an error where a mutant survives; the lists are in
# `mutants/SET/mutants.out` beside CARGO_TARGET_DIR. Builds there too: a mutant must not pass for the
# tree's own crate (see run.py).
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/penstock/target}
out=$(dirname "$(realpath -m "$target")")/mutants
PATH=$(xtask/setup/cargo-mutants.sh):$PATH
gateway=operator/gateway/src
mkdir -p "$out"

run() { # SET OPTIONS...
  local set=$1
  shift
  printf '  %s\n' "mutants of $set" >&2
  CARGO_TARGET_DIR=$out/target cargo mutants --no-times --colors never --output "$out/$set" \
    ${SHARD:+--shard "$SHARD"} "$@"
}

survived=0
[ $# -gt 0 ] || set -- config gateway routing
for set in "$@"; do
  case $set in
    config) run config -p penstock-config || survived=1 ;;
    gateway) run gateway -p penstock-gateway -f $gateway/hostname.rs -f $gateway/reference_grant.rs \
      -f $gateway/http_route/matches.rs -- --lib --test translation || survived=1 ;;
    gateway-all) run gateway-all -p penstock-gateway -- --lib --test translation || survived=1 ;;
    routing) run routing -p penstock-proxy -f 'dataplane/proxy/src/routing/*.rs' \
      -- --lib --test matching || survived=1 ;;
    *) echo "no such set: $set" >&2; exit 2 ;;
  esac
done
exit $survived
