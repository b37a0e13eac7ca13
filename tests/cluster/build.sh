#!/usr/bin/env bash
# Builds the programs that the test cluster is made of (go/go.mod, dns/go.mod) from their modules,
# statically, into the cache; prints the folder on stdout. Idempotent: what the modules and this script
# say is built once. From nothing this is about a quarter of an hour on two cores, without root.
set -euo pipefail
cd "$(dirname "$0")/go"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/penstock/cluster
bin=$cache/bin
programs=(
  go.etcd.io/etcd/server/v3
  helm.sh/helm/v4/cmd/helm
  k8s.io/kubernetes/cmd/kube-apiserver
  k8s.io/kubernetes/cmd/kube-controller-manager
  k8s.io/kubernetes/cmd/kube-proxy
  k8s.io/kubernetes/cmd/kube-scheduler
  k8s.io/kubernetes/cmd/kubectl
  k8s.io/kubernetes/cmd/kubelet
)

want=$(cat go.mod go.sum ../dns/* ../build.sh | sha256sum | cut -d' ' -f1)
if [ "$(cat "$bin/.stamp" 2>/dev/null)" = "$want" ]; then
  echo "$bin"
  exit 0
fi

if ! command -v go >/dev/null; then
  echo 'Building the test cluster needs Go 1.26 (https://go.dev/dl): go is not in PATH.' >&2
  exit 1
fi

mkdir -p "$cache"
# Two tests may come here at once.
exec 9>"$cache/build.lock"
flock 9
if [ "$(cat "$bin/.stamp" 2>/dev/null)" != "$want" ]; then
  # Go 1.27 reads JSON differently, and Kubernetes 1.36 does not start with it.
  export GOTOOLCHAIN=go1.26.8 GOFLAGS=-mod=readonly CGO_ENABLED=0
  kubernetes=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
  minor=${kubernetes#v1.}
  helm=$(go list -m -f '{{.Version}}' helm.sh/helm/v4)
  # Without these the programs call themselves v0.0.0, and Helm refuses charts by their kubeVersion.
  symbols=(
    -X "k8s.io/component-base/version.gitVersion=$kubernetes"
    -X k8s.io/component-base/version.gitMajor=1
    -X "k8s.io/component-base/version.gitMinor=${minor%%.*}"
    -X "k8s.io/client-go/pkg/version.gitVersion=$kubernetes"
    -X "helm.sh/helm/v4/internal/version.version=$helm"
  )
  made=$cache/bin.new
  rm -rf "$made" && mkdir -p "$made"
  printf '  building the test cluster (Kubernetes %s): a quarter of an hour the first time\n' "$kubernetes" >&2
  nice -n 5 go build -p 2 -trimpath -buildvcs=false -ldflags "-s -w ${symbols[*]}" -o "$made/" "${programs[@]}" >&2
  mv "$made/server" "$made/etcd"
  (cd ../dns && nice -n 5 go build -p 2 -trimpath -buildvcs=false -ldflags '-s -w' -o "$made/coredns" . >&2)
  echo "$want" >"$made/.stamp"
  rm -rf "$bin" && mv "$made" "$bin"
fi
echo "$bin"
