#!/usr/bin/env bash
# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The serial number that a container serves on a port, and the one that the bundle has.
set -eu  # not pipefail: s_client may find the connection closed after the handshake
address=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1")
host=/opt/tamshai/certs/host/current
openssl s_client -connect "$address:$2" -servername "$3" -verify_hostname "$3" -verify_return_error \
    -CAfile $host/ca.crt -cert $host/tls.crt -key $host/tls.key </dev/null 2>/dev/null |
    openssl x509 -noout -serial
openssl x509 -in "/opt/tamshai/certs/${3%%.*}/current/tls.crt" -noout -serial
