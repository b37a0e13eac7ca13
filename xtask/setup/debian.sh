#!/usr/bin/env bash
# Installs what a command needs from Debian: `debian.sh COMMAND:PACKAGE ...`, for each command (or path
# of a program) that is not there yet. Services that come along stay off. Idempotent; says what it
# installs; needs root for apt.
set -euo pipefail

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

packages=()
for pair in "$@"; do
  PATH=$PATH:/usr/sbin command -v "${pair%%:*}" >/dev/null || packages+=("${pair#*:}")
done
[ ${#packages[@]} -gt 0 ] || exit 0
printf '  installing from Debian: %s\n' "${packages[*]}" >&2
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
  as_root chmod +x $policy
  trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
fi
as_root apt-get update -qq >&2
DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends "${packages[@]}" >&2
