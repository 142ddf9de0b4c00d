# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The connection to a Vault or OpenBao server, written once for every module of the group."""

from __future__ import annotations


class ModuleDocFragment:
    """Documents ``module_utils/_vault/options.py``; a test compares the two."""

    DOCUMENTATION = r"""
options:
  url:
    description:
      - Address of the server, with scheme and port.
      - If not set, the environment variable E(BAO_ADDR) or E(VAULT_ADDR) is used.
    type: str
    required: true
  ca_cert:
    description:
      - File (or directory of hashed files) with the CA certificates that the server's certificate
        is verified with.
      - If not set, the environment variable E(BAO_CACERT), E(BAO_CAPATH), E(VAULT_CACERT) or
        E(VAULT_CAPATH) is used, and else what the operating system trusts.
      - Verification cannot be switched off. A module that finds E(BAO_SKIP_VERIFY) or
        E(VAULT_SKIP_VERIFY) set says in a warning that it does not do that.
    type: path
  ca_cert_content:
    description:
      - The same as text in PEM format; it goes before O(ca_cert).
    type: str
  client_cert:
    description:
      - File with the certificate (and its intermediates) that is shown to the server.
      - If not set, the environment variable E(BAO_CLIENT_CERT) or E(VAULT_CLIENT_CERT) is used.
    type: path
  client_key:
    description:
      - File with the private key of O(client_cert), without a passphrase.
      - If not set, the environment variable E(BAO_CLIENT_KEY) or E(VAULT_CLIENT_KEY) is used.
    type: path
  client_cert_content:
    description:
      - The client certificate as text in PEM format; it goes before O(client_cert) and never
        touches the host's disk.
      - It may hold the private key as well.
    type: str
  client_key_content:
    description:
      - The private key of O(client_cert_content) as text in PEM format; it never touches the host's
        disk.
    type: str
  tls_server_name:
    description:
      - The name that the server's certificate must hold, where that is not the name in O(url).
      - If not set, the environment variable E(BAO_TLS_SERVER_NAME) or E(VAULT_TLS_SERVER_NAME) is
        used.
    type: str
  namespace:
    description:
      - Namespace that all paths are in.
      - If not set, the environment variable E(BAO_NAMESPACE) or E(VAULT_NAMESPACE) is used.
    type: str
  timeout:
    description:
      - Seconds that one request may take, connecting included.
      - If not set, the environment variable E(BAO_CLIENT_TIMEOUT) or E(VAULT_CLIENT_TIMEOUT) is
        used, in seconds or with a unit.
    type: int
    default: 30
  retries:
    description:
      - How often a request is sent again after a connection error or the statuses 412, 429, 473 and
        5xx, with growing delay.
      - A request that would make a second thing (a SecretID, a token, a mount) or another one of it
        (a rotation) is not sent again if the first may have been carried out, so not after a
        connection that broke and not after the statuses 500, 502, 503 and 504, unless the server
        itself says that it is sealed or has no active node.
      - A login by certificate is sent again all the same; a token that got lost ends by itself.
      - If not set, the environment variable E(BAO_MAX_RETRIES) or E(VAULT_MAX_RETRIES) is used.
    type: int
    default: 5
  wait:
    description:
      - Seconds to wait, at each request, for a server that is sealed, not initialised, without an
        active node, or not there.
    type: int
    default: 0
  auth_method:
    description:
      - How to get a token.
      - V(token) takes O(token) or O(token_file).
      - V(cert) logs in by the client certificate, V(approle) by O(auth_role_id) and
        O(auth_secret_id); the token is revoked when the module ends.
      - V(none) sends no token.
      - What is given to log in by is refused with V(token), and a token that is given besides a
        login is warned of.
    type: str
    choices: [token, cert, approle, none]
    default: token
  auth_mount:
    description:
      - Where the auth method is mounted, below C(auth/); if not set, it is the name of the method.
    type: str
  auth_role:
    description:
      - Role to log in as by certificate; if not set, the server tries all that match.
    type: str
  auth_role_id:
    description:
      - RoleID to log in with.
    type: str
  auth_secret_id:
    description:
      - SecretID to log in with.
    type: str
  token:
    description:
      - Token to send.
      - If neither it nor O(token_file) is set, the environment variable E(BAO_TOKEN) or
        E(VAULT_TOKEN) is used.
    type: str
  token_file:
    description:
      - File that holds the token.
      - If neither it, nor O(token), nor a variable of the environment is set, C(~/.vault-token) is
        read where it exists.
    type: path
  root_shares:
    description:
      - Shares of the master key (recovery shares of a server that unseals itself), as many as the
        server needs.
      - With them the module works as root, by a token that is made for it, known to it alone, and
        revoked before it ends. Root tokens that were left by a killed run are revoked as well.
      - An attempt to make one that a killed run has left is begun anew by the next run on the same
        machine, which knows it by a note below C(~/.cache) or C(XDG_CACHE_HOME). One that somebody
        else has under way is left alone, and the module fails.
      - OpenBao wants the caller to have a token that may use C(sys/generate-root-token/).
      - In check mode no such token is made, and the module reads as what it is otherwise.
    type: list
    elements: str
notes:
  - Write the connection once for all modules with C(module_defaults) and the group
    C(tamshai.phoenix.vault).
  - No proxy and no CA bundle is taken from the environment beyond the variables that are named
    here.
  - A failed module says why in RV(ignore:vault_error), one of C(sealed), C(uninitialised),
    C(migration), C(standby), C(unreachable), C(tls_name), C(tls_trust), C(tls_client_certificate),
    C(token_missing), C(token_expired), C(forbidden), C(not_found), C(rate_limited), C(refused),
    C(conflict), C(server_failure) or C(ignored_field).
"""
