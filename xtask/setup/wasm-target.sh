#!/usr/bin/env bash
# Makes `wasm32-unknown-unknown` available and prints the cargo toolchain argument to use for it.
#
# 1. `rustup target add` where that works (any machine with the Rust servers in reach).
# 2. Else Debian's Rust packages: their sources build the target's standard library once, after
#    which plain `cargo +web` works. Needs root for apt and for the sysroot.
#
# Idempotent: where the target is there, it ends at once; the Debian library carries a stamp of the
# compiler that made it. Progress goes to stderr; the only line on stdout is the toolchain argument
# (empty or `+web`).
#
# PENSTOCK_WASM_FROM_DEBIAN=1 goes straight to 2, also where 1 would do: for testing that way.
set -euo pipefail

target=wasm32-unknown-unknown
sysroot=/usr/lib/rustlib/$target/lib
say() { printf '  %s\n' "$*" >&2; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

has_target() { # toolchain argument
  local root
  root=$(rustc ${1:+"$1"} --print sysroot 2>/dev/null) || return 1
  compgen -G "$root/lib/rustlib/$target/lib/libstd-*.rlib" >/dev/null
}
debian_stamp() { echo "$sysroot/.stamp-$(/usr/bin/rustc -V | cut -d' ' -f2)"; }
has_debian() { [ -x /usr/bin/rustc ] && [ -e "$(debian_stamp)" ] && has_target "$web"; }

# Without rustup the packages' cargo is the only one, and needs no argument.
if command -v rustup >/dev/null; then web=+web; else web=; fi

if [ -z "${PENSTOCK_WASM_FROM_DEBIAN:-}" ]; then
  if has_target ""; then echo ""; exit 0; fi
  if has_debian; then echo "$web"; exit 0; fi
  if [ -n "$web" ]; then
    say "adding the Rust target $target with rustup"
    if timeout 120 rustup target add "$target" >/dev/null 2>&1 && has_target ""; then echo ""; exit 0; fi
  fi
elif has_debian; then
  echo "$web"; exit 0
fi
command -v apt-get >/dev/null || {
  say "error: no $target standard library, and neither rustup nor apt-get can bring it"
  say "remedy: rustup target add $target"
  exit 1
}

say "installing Debian's Rust sources and building $target from them once (about 90 s)"
export DEBIAN_FRONTEND=noninteractive
packages="rustc-web cargo-web rust-web-src rust-web-llvm"
as_root apt-get update -qq >/dev/null
# shellcheck disable=SC2086 # a list of packages
as_root apt-get install -y -qq --no-install-recommends $packages >/dev/null
llvm=$(/usr/bin/rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
as_root apt-get install -y -qq --no-install-recommends "lld-$llvm" >/dev/null
if [ -n "$web" ]; then
  rustup toolchain list | grep -q '^web' || rustup toolchain link web /usr >&2
fi

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
  cargo ${web:+"$web"} build -q --release -Zbuild-std=std,panic_abort --target "$target" >&2)
as_root rm -rf "$sysroot"
as_root mkdir -p "$sysroot/self-contained"
as_root cp "$work/target/$target"/release/deps/lib*.rlib "$sysroot/"
as_root find "$sysroot" -name 'libstdseed*' -delete
as_root touch "$(debian_stamp)"
has_debian || { say "error: the standard library for $target was built but is not found"; exit 1; }
echo "$web"
