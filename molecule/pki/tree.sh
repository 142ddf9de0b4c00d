#!/usr/bin/env bash
# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# All bundles in one line: names, owners, modes, link targets and contents.
set -euo pipefail
cd /opt/tamshai/certs
{
    find . -not -path './.*' -printf '%p %m %U %G %l\n' | sort
    find . -not -path './.*' -type f -exec sha256sum {} + | sort
} | sha256sum
