#!/usr/bin/env bash
# Brings what the test cluster (tests/cluster) is made of: container runtime, CNI plugins and network
# tools from Debian, Kubernetes, etcd and Helm from source. Idempotent; needs root for apt. Prints the
# folder of the built programs on stdout.
set -euo pipefail
cd "$(dirname "$0")"

./debian.sh containerd:containerd runc:runc /usr/lib/cni/ptp:containernetworking-plugins \
  nft:nftables iptables:iptables ip:iproute2 conntrack:conntrack ethtool:ethtool nsenter:util-linux >&2
../../tests/cluster/build.sh
