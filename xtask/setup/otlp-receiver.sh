#!/usr/bin/env bash
# Installs what the OTLP receiver of the tests needs (tests/otlp-receiver/receiver.py): the published
# protocol and gRPC for Python. Prints the Python to run it with on stdout.
set -euo pipefail
exec "$(dirname "$0")/python.sh" otlp-receiver opentelemetry-proto==1.45.2 grpcio==1.85.1
