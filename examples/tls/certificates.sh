#!/bin/sh
# Makes certificates for this example in DIRECTORY, with keys that are there for trying out only:
#   certificates.yaml        the server's Secret and the ConfigMap with the clients' authority
#   server-ca.crt            what clients trust
#   client.crt, client.key   a workload's certificate for spiffe://shop.example/billing
#   other.crt, other.key     one of the same authority for spiffe://elsewhere.example/billing
# Needs openssl.
set -eu
umask 077
directory=${1:?usage: certificates.sh DIRECTORY}
mkdir -p "$directory"
cd "$directory"

authority() { # NAME
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
    -subj "/CN=$1" -keyout "$1.key" -out "$1.crt" 2>/dev/null
}

issue() { # AUTHORITY NAME SAN
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
    -subj "/CN=$2" -keyout "$2.key" -out "$2.csr" 2>/dev/null
  printf 'subjectAltName=%s\n' "$3" > "$2.ext"
  openssl x509 -req -in "$2.csr" -CA "$1.crt" -CAkey "$1.key" -CAcreateserial -days 30 \
    -extfile "$2.ext" -out "$2.crt" 2>/dev/null
  rm "$2.csr" "$2.ext"
}

indented() { # FILE
  sed 's/^/    /' "$1"
}

authority server-ca
authority client-ca
issue server-ca server 'DNS:api.shop.example,DNS:www.shop.example'
issue client-ca client 'URI:spiffe://shop.example/billing'
issue client-ca other 'URI:spiffe://elsewhere.example/billing'

cat > certificates.yaml.new <<END
apiVersion: v1
kind: Secret
metadata:
  name: web-certificate
type: kubernetes.io/tls
stringData:
  tls.crt: |
$(indented server.crt)
  tls.key: |
$(indented server.key)
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: client-authority
data:
  ca.crt: |
$(indented client-ca.crt)
END
# Whole or not at all: a running gateway reads it again.
mv certificates.yaml.new certificates.yaml
echo "made in $directory: server-ca.crt, client.crt, other.crt and certificates.yaml"
