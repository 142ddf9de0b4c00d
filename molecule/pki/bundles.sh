#!/usr/bin/env bash
# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One line for each bundle: its name and `ok`, or what is wrong with it.
set -u
cd /opt/tamshai/certs || exit 1

look() {
    local dir=$1/current uid=$2 cn=$3 purpose=$4
    local name=${1//\/clients\//.}
    [ "$(stat -Lc '%a %u' "$dir/tls.key")" = "400 $uid" ] || { echo "$name key mode"; return; }
    [ "$(stat -Lc '%a %u' "$dir/tls.pem")" = "400 $uid" ] || { echo "$name pem mode"; return; }
    [ "$(stat -Lc '%a' "$dir/tls.crt")" = 444 ] || { echo "$name certificate mode"; return; }
    openssl verify -x509_strict -purpose "$purpose" -CAfile "$dir/ca.crt" -untrusted "$dir/tls.crt" \
        "$dir/tls.crt" >/dev/null || { echo "$name does not verify"; return; }
    [ "$(openssl x509 -in "$dir/tls.crt" -noout -pubkey)" = "$(openssl pkey -in "$dir/tls.key" -pubout)" ] ||
        { echo "$name key does not match"; return; }
    openssl x509 -in "$dir/tls.crt" -noout -subject -nameopt RFC2253 | grep -qx "subject=CN=$cn" ||
        { echo "$name subject"; return; }
    [ "$(basename "$(readlink "$dir")")" = "$(openssl x509 -in "$dir/tls.crt" -noout -serial |
        sed 's/serial=//' | tr 'A-F' 'a-f')" ] || { echo "$name serial"; return; }
    cmp -s "$dir/tls.pem" <(cat "$dir/tls.key" "$dir/tls.crt") || { echo "$name pem"; return; }
    echo "$name ok"
}

look vault 10001 vault.tamshai.internal sslserver
look postgres 999 postgres.tamshai.internal sslserver
look mcp-gateway 1001 mcp-gateway.tamshai.internal sslclient
look mcp-hr 1001 mcp-hr.tamshai.internal sslclient
look vault/clients/vault_rotator 10001 vault_rotator sslclient
look mcp-hr/clients/tamshai_app 1001 tamshai_app sslclient
look mcp-hr/clients/tamshai_app_b 1001 tamshai_app_b sslclient
look host 0 "$1" sslclient
