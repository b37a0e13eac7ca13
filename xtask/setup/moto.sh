#!/usr/bin/env bash
# Installs moto, an independent stand-in for EC2 that the model of tests/eni is compared with. Prints the
# Python to run it with on stdout: `-m moto.server -H 127.0.0.1 -p PORT`.
set -euo pipefail
exec "$(dirname "$0")/python.sh" moto 'moto[server,ec2]==5.2.5'
