#!/usr/bin/env bash
# Makes one version of a cargo tool available and prints the folder to put before PATH:
# `cargo-tool.sh CRATE VERSION`.
#
# It is built by cargo from its published source into the cache, outside the checkout:
# `${XDG_CACHE_HOME:-~/.cache}/penstock/tools`. Idempotent; progress goes to stderr.
set -euo pipefail

crate=$1 version=$2
cache=${XDG_CACHE_HOME:-$HOME/.cache}/penstock
root=$cache/tools
say() { printf '  %s\n' "$*" >&2; }

if ! { cargo install --list --root "$root" 2>/dev/null | grep -qx "$crate v$version:"; }; then
  say "building $crate $version (some minutes the first time)"
  CARGO_TARGET_DIR=$cache/tools-build/$crate \
    cargo install --quiet --locked --root "$root" --version "$version" "$crate" >&2
  rm -rf "$cache/tools-build/$crate"
fi
echo "$root/bin"
