#!/usr/bin/env bash
# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Names files on a disk that hold a line of a private key of a bundle.
set -u
patterns=$(mktemp /dev/shm/patterns.XXXXXX)
trap 'rm -f "$patterns"' EXIT
for key in /opt/tamshai/certs/*/current/tls.key /opt/tamshai/certs/*/clients/*/current/tls.key; do
    sed -n '2p' "$key"
done >"$patterns"
[ -s "$patterns" ] || exit 1
grep -rlF -f "$patterns" --exclude-dir=certs /etc /opt /root /home /srv /tmp /usr/local /var
[ $? -le 1 ]
