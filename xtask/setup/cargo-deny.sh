#!/usr/bin/env bash
# The folder of `cargo-deny`.
exec "$(dirname "$0")"/cargo-tool.sh cargo-deny 0.20.2
