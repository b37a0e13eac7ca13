#!/usr/bin/env bash
# Checkouts share one build cache, and cargo knows a source by its time alone: what another checkout
# built last would pass for this one's. Where another one did, this one's sources are touched, so that
# its own crates are built again (dependencies are not).
set -euo pipefail
cd "$(dirname "$0")/../.."

stamp=${CARGO_TARGET_DIR:?}/.checkout
[ "$(cat "$stamp" 2>/dev/null)" = "$PWD" ] && exit 0
mkdir -p "$CARGO_TARGET_DIR"
if [ -e "$stamp" ]; then
  printf '  the build cache was last used by another checkout: building this one'"'"'s crates again\n' >&2
fi
find . -path ./target -prune -o \( -name '*.rs' -o -name Cargo.toml \) -print0 | xargs -0 touch
printf '%s' "$PWD" >"$stamp"
