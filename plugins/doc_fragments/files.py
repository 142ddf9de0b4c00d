# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation that modules about certificate files have in common."""

from __future__ import annotations


class ModuleDocFragment:
    # Where the bundles lie, and what they are.
    DOCUMENTATION = r"""
options:
  certs_dir:
    description:
      - Directory of all bundles on the machine where the module runs.
      - A bundle is C(<name>/current/) with C(tls.crt) (the certificate and its issuing authority),
        C(tls.key), C(ca.crt) (the root) and C(tls.pem) (key and certificates in one file);
        C(current) is a symbolic link to C(versions/<serial>).
      - A certificate named C(<service>.<login>) has its bundle at
        C(<service>/clients/<login>/current/).
    type: path
    default: /opt/tamshai/certs
notes:
  - Needs the Python library C(cryptography), version 38 or later, where it runs.
"""
