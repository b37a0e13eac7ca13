#!/usr/bin/env bash
# Makes what the eBPF programs are built with available, and prints two lines: the cargo toolchain
# argument (empty or `+web`) and the path of bpf-linker.
#
# The compiler is Debian's (rustc-web with the precompiled `core` of the BPF target); bpf-linker links
# LLVM bitcode, so it is built for the very LLVM of that compiler, from its published source into the
# cache: `${XDG_CACHE_HOME:-~/.cache}/penstock/tools`. Idempotent; needs root for apt only where a
# package is missing. Progress goes to stderr.
set -euo pipefail

linker_version=0.13.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/penstock
say() { printf '  %s\n' "$*" >&2; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
llvm_of_compiler() { /usr/bin/rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p'; }
install() {
  command -v apt-get >/dev/null || {
    say "error: $* missing and no apt-get to bring it"
    say "remedy: build on Debian 12 or newer, or in a container of it"
    exit 1
  }
  say "installing from Debian: $*"
  as_root apt-get update -qq >/dev/null
  DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends \
    -o DPkg::Lock::Timeout=600 "$@" >/dev/null
}

mkdir -p "$cache"
# Two builds may come here at once.
exec 9>"$cache/ebpf.lock"
flock 9

core() { compgen -G '/usr/lib/rustlib/bpfel-unknown-none/lib/libcore-*.rlib' >/dev/null; }
if [ ! -x /usr/bin/rustc ] || [ ! -x /usr/bin/cargo ] || ! core; then
  install rustc-web cargo-web libstd-rust-web-dev-bpf
fi
llvm=$(llvm_of_compiler)

# Without rustup the packages' cargo is the only one, and needs no argument.
web=
if command -v rustup >/dev/null; then
  web=+web
  rustup toolchain list | grep -q '^web' || rustup toolchain link web /usr >&2
fi

linker=$cache/tools/bpf-linker-$linker_version-llvm-$llvm/bin/bpf-linker
if ! "$linker" --version >/dev/null 2>&1; then
  [ -e "/usr/lib/llvm-$llvm/lib/libLLVM.so" ] && [ -x "/usr/lib/llvm-$llvm/bin/llvm-config" ] ||
    install "llvm-$llvm-dev"
  say "building bpf-linker $linker_version for LLVM $llvm (half a minute, once)"
  LLVM_PREFIX=/usr/lib/llvm-$llvm CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_TARGET_DIR=$cache/tools-build/bpf-linker \
    cargo install --quiet --locked --root "$(dirname "$(dirname "$linker")")" --version "$linker_version" \
    --no-default-features --features "llvm-$llvm" bpf-linker >&2
  rm -rf "$cache/tools-build/bpf-linker"
fi
echo "$web"
echo "$linker"
