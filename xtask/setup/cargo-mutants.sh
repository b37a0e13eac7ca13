#!/usr/bin/env bash
# The folder of `cargo-mutants`, in the version that the mutants were judged with.
exec "$(dirname "$0")"/cargo-tool.sh cargo-mutants 27.1.0
