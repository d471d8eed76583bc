#!/usr/bin/env bash
# Certificates for `kafka.sh serve secure`: certificates.sh FOLDER
#
#   ca.pem other-ca.pem           two authorities; the broker and its clients know the first
#   broker.pem                    key and certificate for localhost and 127.0.0.1
#   broker-expired.pem            the same, of the year 2020
#   broker-elsewhere.pem          the same, for broker.example
#   client.pem client.key         a client's, CN=client
#   client-expired.pem, client-other.pem (of the other authority), each with its .key
#
# Keys are PKCS#8 without a password, client.key also as client-locked.key with the
# password in client-locked.password.
set -euo pipefail
cd "${1:?a folder}"

authority() { # NAME
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=$1" \
    -keyout "$1.key" -out "$1.pem" 2>/dev/null
}

# certificate NAME AUTHORITY COMMON_NAME EXTENSION [BEGIN END]. By `openssl ca`, since
# `openssl x509` signs nothing that has expired already, in some versions.
certificate() {
  local name=$1 authority=$2 common=$3 extension=$4 begin=${5:-} end=${6:-}
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$common" \
    -keyout "$name.key" -out "$name.csr" 2>/dev/null
  : > index
  cat > ca.conf <<C
[ca]
default_ca = it
[it]
database = index
new_certs_dir = .
rand_serial = yes
default_md = sha256
default_days = 3650
policy = any
[any]
commonName = supplied
C
  openssl ca -batch -config ca.conf -cert "$authority.pem" -keyfile "$authority.key" -notext \
    -extfile <(echo "$extension") ${begin:+-startdate "$begin" -enddate "$end"} \
    -in "$name.csr" -out "$name.pem" 2>ca.log || { cat ca.log >&2; return 1; }
}

authority ca
authority other-ca
local_names=subjectAltName=DNS:localhost,IP:127.0.0.1
certificate broker ca broker "$local_names"
certificate broker-expired ca broker "$local_names" 20200101000000Z 20200201000000Z
certificate broker-elsewhere ca broker subjectAltName=DNS:broker.example
for name in broker broker-expired broker-elsewhere; do cat "$name.key" >> "$name.pem"; done
certificate client ca client extendedKeyUsage=clientAuth
certificate client-expired ca client extendedKeyUsage=clientAuth 20200101000000Z 20200201000000Z
certificate client-other other-ca client extendedKeyUsage=clientAuth
echo hush-key > client-locked.password
openssl pkcs8 -topk8 -in client.key -out client-locked.key -passout file:client-locked.password
