#!/usr/bin/env bash
# Installs what a command needs from Debian: `debian.sh COMMAND:PACKAGE ...`, for each command that is
# not there yet. Idempotent; says what it installs; needs root for apt.
set -euo pipefail

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

packages=()
for pair in "$@"; do
  PATH=$PATH:/usr/sbin command -v "${pair%%:*}" >/dev/null || packages+=("${pair#*:}")
done
[ ${#packages[@]} -gt 0 ] || exit 0
printf '  installing from Debian: %s\n' "${packages[*]}" >&2
as_root apt-get update -qq >&2
DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends "${packages[@]}" >&2
