# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of every module that opens a session with a PostgreSQL server."""

from __future__ import annotations


class ModuleDocFragment:
    """The defaults suit root on the server's host; any other session is verified TCP."""

    DOCUMENTATION = r"""
options:
  login_host:
    description:
      - Directory of the server's unix socket, if it is an absolute path; the server's host name
        otherwise.
      - A host name is always verified against the server's certificate (C(sslmode=verify-full)).
    type: str
    default: /var/run/postgresql
  login_hostaddr:
    description: >-
      IP address to connect to instead of resolving O(login_host), which is verified all the same.
    type: str
    default: ""
  login_port:
    description: Port of the server, which is also part of the socket's name.
    type: int
    default: 5432
  login_user:
    description: Login to work as.
    type: str
    default: postgres
  login_password:
    description: >-
      Password of O(login_user), not needed where the server trusts the socket's peer or a client
      certificate.
    type: str
  login_db:
    description: Database to open first.
    type: str
    default: postgres
  login_ca_cert:
    description: >-
      File with the CA certificates that the server's certificate is verified against, required for
      a host name.
    type: path
  login_client_cert:
    description: File with the client certificate to show to the server.
    type: path
  login_client_key:
    description: File with the key of O(login_client_cert).
    type: path
  connect_timeout:
    description: Seconds to wait for a connection.
    type: int
    default: 10
requirements:
  - psycopg2 on the managed host
  - PostgreSQL 16 or newer
"""
