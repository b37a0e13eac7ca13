#!/usr/bin/env bash
# Installs packages for Python in a virtual environment of their own in the cache:
#   xtask/setup/python.sh NAME PACKAGE==VERSION...
# Idempotent; needs root only where Debian's python3-venv is missing. Prints the Python to run with them
# on stdout.
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/penstock
name=$1
shift
packages=("$@")
say() { printf '  %s\n' "$*" >&2; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

venv=$cache/$name
stamp=$venv/installed
if [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "${packages[*]}" ]; then
  echo "$venv/bin/python"
  exit 0
fi

mkdir -p "$cache"
# Two tests may come here at once.
exec 9>"$cache/$name.lock"
flock 9
if [ "$(cat "$stamp" 2>/dev/null)" != "${packages[*]}" ]; then
  if ! python3 -c 'import ensurepip' 2>/dev/null; then
    say "installing from Debian: python3-venv"
    as_root apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends python3-venv >&2
  fi
  say "installing $name: ${packages[*]}"
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check "${packages[@]}" >&2
  echo "${packages[*]}" >"$stamp"
fi
echo "$venv/bin/python"
