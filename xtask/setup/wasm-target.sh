#!/usr/bin/env bash
# Makes `wasm32-unknown-unknown` available and prints the cargo toolchain argument to use for it.
#
# 1. `rustup target add` where that works (any machine with the Rust servers in reach).
# 2. Else Debian's Rust packages: their sources build the target's standard library once, after
#    which plain `cargo +web` works. Needs root for apt and for the sysroot.
#
# Idempotent: a stamp for each compiler version ends it at once. Progress goes to stderr; the only
# line on stdout is the toolchain argument (empty or `+web`).
set -euo pipefail

target=wasm32-unknown-unknown
say() { printf '  %s\n' "$*" >&2; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

has_target() { # toolchain argument
  local root
  root=$(rustc ${1:+"$1"} --print sysroot 2>/dev/null) || return 1
  compgen -G "$root/lib/rustlib/$target/lib/libstd-*.rlib" >/dev/null
}

if has_target ""; then echo ""; exit 0; fi
if command -v rustup >/dev/null; then
  if has_target "+web"; then echo "+web"; exit 0; fi
  say "adding the Rust target $target with rustup"
  if timeout 120 rustup target add "$target" >/dev/null 2>&1 && has_target ""; then echo ""; exit 0; fi
fi
command -v apt-get >/dev/null || {
  say "error: no $target standard library, and neither rustup nor apt-get can bring it"
  say "remedy: rustup target add $target"
  exit 1
}

say "rustup cannot fetch $target here: installing Debian's Rust sources and building it once (about 90 s)"
export DEBIAN_FRONTEND=noninteractive
packages="rustc-web cargo-web rust-web-src rust-web-llvm"
as_root apt-get update -qq >&2
as_root apt-get install -y -qq --no-install-recommends $packages >&2
llvm=$(/usr/bin/rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
as_root apt-get install -y -qq --no-install-recommends "lld-$llvm" >&2
rustup toolchain list | grep -q '^web' || rustup toolchain link web /usr

sysroot=/usr/lib/rustlib/$target/lib
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
echo '#![no_std]' >"$work/src/lib.rs"
cat >"$work/Cargo.toml" <<'TOML'
[package]
name = "stdseed"
version = "0.0.0"
edition = "2021"
[profile.release]
opt-level = 3
debug = 0
TOML
# Bitcode is kept so that guests can be built with lto.
(cd "$work" && unset CARGO_TARGET_DIR && RUSTFLAGS="-C embed-bitcode=yes" RUSTC_BOOTSTRAP=1 \
  cargo +web build -q --release -Zbuild-std=std,panic_abort --target "$target" >&2)
as_root rm -rf "$sysroot"
as_root mkdir -p "$sysroot/self-contained"
as_root cp "$work/target/$target"/release/deps/lib*.rlib "$sysroot/"
as_root find "$sysroot" -name 'libstdseed*' -delete
has_target "+web" || { say "error: the standard library for $target was built but is not found"; exit 1; }
echo "+web"
