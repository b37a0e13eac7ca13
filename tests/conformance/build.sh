#!/usr/bin/env bash
# Builds the official conformance suite (go.mod) and the server of its backends, statically, into the
# cache; prints the folder on stdout. Go's own cache makes this quick when nothing has changed.
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v go >/dev/null; then
  echo 'Building the conformance suite needs Go 1.26 (https://go.dev/dl): go is not in PATH.' >&2
  exit 1
fi
out=${XDG_CACHE_HOME:-$HOME/.cache}/penstock/conformance
mkdir -p "$out"
export GOTOOLCHAIN=go1.26.8 GOFLAGS=-mod=readonly CGO_ENABLED=0
flags=(-p 2 -trimpath -buildvcs=false -ldflags '-s -w')
nice -n 5 go build "${flags[@]}" -o "$out/echo-basic" sigs.k8s.io/gateway-api/conformance/echo-basic >&2
nice -n 5 go test -c "${flags[@]}" -o "$out/conformance.test" . >&2
echo "$out"
