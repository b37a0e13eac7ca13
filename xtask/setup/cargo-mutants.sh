#!/usr/bin/env bash
# Makes `cargo-mutants` of one version available and prints the folder to put before PATH.
#
# It is built by cargo from its published source into the cache, outside the checkout:
# `${XDG_CACHE_HOME:-~/.cache}/penstock/tools`. Idempotent; progress goes to stderr.
set -euo pipefail

version=27.1.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/penstock
root=$cache/tools
say() { printf '  %s\n' "$*" >&2; }

if [ "$("$root/bin/cargo-mutants" mutants --version 2>/dev/null)" != "cargo-mutants $version" ]; then
  say "building cargo-mutants $version (some minutes the first time)"
  CARGO_TARGET_DIR=$cache/tools-build \
    cargo install --quiet --locked --root "$root" --version "$version" cargo-mutants >&2
  rm -rf "$cache/tools-build"
fi
echo "$root/bin"
