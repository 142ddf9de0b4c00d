#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_config
short_description: Reconcile the settings of a Vault or OpenBao server in one call
version_added: 0.1.0
description:
  - Brings audit devices, auth methods, secret engines, policies, roles, revocation lists,
    database connections, static roles, rate limits and secrets to what is declared, over
    one connection, several requests at a time, in the order in which they depend on each other.
  - Reads everything first, so that the plan is whole before the first write and check mode shows
    exactly what a run does.
  - Compares only what is stated. What is left out stays as it is.
  - Servers take a field that they do not know, and forget it. Before anything is written, the
    server is asked which fields it takes, and afterwards what was written is read back; a setting
    that would be, or was, ignored is an error that names it and the server's version.
author:
  - tamshai.phoenix contributors (@tamshai)
extends_documentation_fragment:
  - tamshai.phoenix.attributes
  - tamshai.phoenix.vault
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  audit_devices:
    description:
      - Audit devices.
      - Vault gets what is missing; OpenBao takes devices from its configuration file only, so there
        a missing one is an error that says so.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Name of the device.
        type: str
        required: true
      type:
        description: Type of the device, such as V(file).
        type: str
        required: true
      description:
        description: What it is for.
        type: str
      local:
        description: Whether it stays in this cluster.
        type: bool
      options:
        description: Options of the device, of which those that are stated are compared.
        type: dict
  auth_methods:
    description:
      - Auth methods.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Where it is mounted, below C(auth/).
        type: str
        required: true
      type:
        description: Type of the plugin; it is decided when the mount is made.
        type: str
        required: true
      description: &description
        description: What it is for.
        type: str
      local: &local
        description: Whether it stays in this cluster; decided when the mount is made.
        type: bool
      seal_wrap: &seal_wrap
        description: Whether its data are wrapped by the seal; decided when the mount is made.
        type: bool
      options: &options
        description: Options of the plugin, such as C(version) of a key-value engine.
        type: dict
      default_lease_ttl: &default_lease_ttl
        description: Default lifetime of leases, in seconds or with a unit.
        type: str
      max_lease_ttl: &max_lease_ttl
        description: Longest lifetime of leases, in seconds or with a unit.
        type: str
      listing_visibility: &listing_visibility
        description: Whether it is listed without a token, V(unauth) or V(hidden).
        type: str
      token_type: &token_type
        description: Kind of token that an auth method makes; V(default-service) and
          V(default-batch) leave the choice to its roles.
        type: str
        choices: [service, batch, default-service, default-batch]
      audit_non_hmac_request_keys: &audit_non_hmac_request_keys
        description: Keys of requests that the audit log shows in clear.
        type: list
        elements: str
      audit_non_hmac_response_keys: &audit_non_hmac_response_keys
        description: Keys of responses that the audit log shows in clear.
        type: list
        elements: str
      passthrough_request_headers: &passthrough_request_headers
        description: Request headers that the plugin gets to see.
        type: list
        elements: str
      allowed_response_headers: &allowed_response_headers
        description: Response headers that the plugin may set.
        type: list
        elements: str
  secret_engines:
    description:
      - Secret engines.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Where it is mounted.
        type: str
        required: true
      type:
        description: Type of the plugin; it is decided when the mount is made.
        type: str
        required: true
      description: *description
      local: *local
      seal_wrap: *seal_wrap
      options: *options
      default_lease_ttl: *default_lease_ttl
      max_lease_ttl: *max_lease_ttl
      listing_visibility: *listing_visibility
      token_type: *token_type
      audit_non_hmac_request_keys: *audit_non_hmac_request_keys
      audit_non_hmac_response_keys: *audit_non_hmac_response_keys
      passthrough_request_headers: *passthrough_request_headers
      allowed_response_headers: *allowed_response_headers
      kv:
        description: Settings of a key-value engine of version 2.
        type: dict
        suboptions:
          max_versions:
            description: How many versions of a secret are kept; V(0) is the server's default.
            type: int
          cas_required:
            description: Whether every write has to say which version it replaces.
            type: bool
          delete_version_after:
            description: Age at which a version is deleted, in seconds or with a unit.
            type: str
  policies:
    description:
      - ACL policies.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the policy, which the server keeps in lower case.
        type: str
        required: true
      text:
        description: The policy, kept and compared to the byte; an empty one is refused.
        type: str
        required: true
  approles:
    description:
      - Roles of the AppRole method.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the role, which the server keeps in lower case.
        type: str
        required: true
      mount:
        description: Where the auth method is mounted, below C(auth/).
        type: str
        default: approle
      role_id:
        description: RoleID; if not stated, the server makes one.
        type: str
      bind_secret_id:
        description: Whether a login needs a SecretID.
        type: bool
      local_secret_ids:
        description: Whether SecretIDs stay in this cluster; decided when the role is created.
        type: bool
      secret_id_bound_cidrs:
        description: Networks that a login may come from.
        type: list
        elements: str
      secret_id_num_uses:
        description: How many logins a SecretID is good for; V(0) is without limit.
        type: int
      secret_id_ttl:
        description: Lifetime of a SecretID, in seconds or with a unit such as V(10m).
        type: str
      token_ttl:
        description: Lifetime of a token at first, in seconds or with a unit such as V(1h).
        type: str
      token_max_ttl:
        description: Age beyond which a token cannot be renewed, in seconds or with a unit.
        type: str
      token_policies:
        description: Policies that a token gets; an empty list clears them.
        type: list
        elements: str
      token_bound_cidrs:
        description: Networks that a token may be used from.
        type: list
        elements: str
      token_explicit_max_ttl:
        description: Age beyond which a token ends whatever else is said.
        type: str
      token_no_default_policy:
        description: Whether a token goes without the policy C(default).
        type: bool
      token_num_uses:
        description: How many requests a token is good for; V(0) is without limit.
        type: int
      token_period:
        description: Renewal period of a periodic token; the mount's maximum caps it.
        type: str
      token_strictly_bind_ip:
        description: Whether a token is bound to the address that logged in, where the server knows
          that.
        type: bool
      token_type: &role_token_type
        description: Kind of token; V(default) leaves the choice to the auth method.
        type: str
        choices: [default, service, batch]
  cert_roles:
    description:
      - Roles of the certificate method.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the role, which the server keeps in lower case.
        type: str
        required: true
      mount:
        description: Where the auth method is mounted, below C(auth/).
        type: str
        default: cert
      certificate:
        description: CA certificates, as text in PEM format, that must have signed a client
          certificate.
        type: str
      display_name:
        description: Name of its tokens in logs.
        type: str
      allowed_common_names:
        description: Common names that are admitted; globs are possible.
        type: list
        elements: str
      allowed_dns_sans:
        description: DNS names that are admitted.
        type: list
        elements: str
      allowed_email_sans:
        description: E-mail addresses that are admitted.
        type: list
        elements: str
      allowed_names:
        description: Names of any sort that are admitted.
        type: list
        elements: str
      allowed_organizational_units:
        description: Organizational units that are admitted.
        type: list
        elements: str
      allowed_uri_sans:
        description: URIs that are admitted.
        type: list
        elements: str
      required_extensions:
        description: Extensions that a certificate must have, as OID:value.
        type: list
        elements: str
      token_ttl:
        description: Lifetime of a token at first, in seconds or with a unit such as V(1h).
        type: str
      token_max_ttl:
        description: Age beyond which a token cannot be renewed, in seconds or with a unit.
        type: str
      token_policies:
        description: Policies that a token gets; an empty list clears them.
        type: list
        elements: str
      token_bound_cidrs:
        description: Networks that a token may be used from.
        type: list
        elements: str
      token_explicit_max_ttl:
        description: Age beyond which a token ends whatever else is said.
        type: str
      token_no_default_policy:
        description: Whether a token goes without the policy C(default).
        type: bool
      token_num_uses:
        description: How many requests a token is good for; V(0) is without limit.
        type: int
      token_period:
        description: Renewal period of a periodic token; the mount's maximum caps it.
        type: str
      token_strictly_bind_ip:
        description: Whether a token is bound to the address that logged in, where the server knows
          that.
        type: bool
      token_type: *role_token_type
  database_connections:
    description:
      - Connections of a database engine.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the connection.
        type: str
        required: true
      mount:
        description: Where the database engine is mounted.
        type: str
        default: database
      plugin_name:
        description: Plugin that speaks to the database server, such as
          V(postgresql-database-plugin).
        type: str
      connection_url:
        description: Address of the database, with C({{username}}) and C({{password}}) in their
          places.
        type: str
      username:
        description: Whom the engine logs in as.
        type: str
      password:
        description:
          - Password to log in with, used only when the connection is created.
          - The server may have replaced it since (C(rotate-root)), which a second write would undo.
        type: str
      verify_connection:
        description: Whether the server tries the connection whenever it is written.
        type: bool
      password_authentication:
        description: How a password is sent to PostgreSQL, V(password) or V(scram-sha-256).
        type: str
      allowed_roles:
        description: Roles that may use the connection.
        type: list
        elements: str
      root_rotation_statements:
        description: Statements by which the engine changes its own password.
        type: list
        elements: str
      max_open_connections:
        description: How many connections are open at most.
        type: int
      max_connection_lifetime:
        description: How long a connection is kept.
        type: str
      username_template:
        description: Template of the names of made users.
        type: str
      password_policy:
        description: Password policy that passwords are made by.
        type: str
  static_roles:
    description:
      - Logins whose passwords a database engine rotates.
      - Creating one rotates its password at once.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the static role.
        type: str
        required: true
      mount:
        description: Where the database engine is mounted.
        type: str
        default: database
      db_name:
        description: Name of the connection.
        type: str
      username:
        description: The login; it is decided when the role is created.
        type: str
      rotation_period:
        description: Time between two rotations, in seconds or with a unit.
        type: str
      rotation_schedule:
        description: Schedule of rotations in the form of cron, where the server knows that.
        type: str
      rotation_window:
        description: Time within which a scheduled rotation has to happen, where the server knows
          that.
        type: str
      rotation_statements:
        description: Statements by which a password is changed.
        type: list
        elements: str
      skip_import_rotation:
        description: Whether the password is left as it is when the role is created, where the
          server knows that.
        type: bool
      credential_type:
        description: What is rotated.
        type: str
        choices: [password, rsa_private_key, client_certificate]
      credential_config:
        description: Settings of the credential type.
        type: dict
  cert_crls:
    description:
      - Revocation lists of the certificate method.
      - A certificate whose serial number is on one of them does not log in.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the list on the server.
        type: str
        required: true
      mount:
        description: Where the auth method is mounted, below C(auth/).
        type: str
        default: cert
      crl:
        description:
          - The list in PEM. It is written when the server has other serial numbers under this name.
        type: str
        required: true
      lapsed:
        description:
          - Serial numbers, in hexadecimal, of revoked certificates that have run out, so that
            O(cert_crls[].crl) need not name them any more.
          - Where this is given, also as an empty list, a list that lacks any other serial number
            that the server has is refused, since it is an older one.
        type: list
        elements: str
  rate_limits:
    description:
      - How often each client address may ask for something; an answer beyond that is 429, for the
        rest of the interval.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the limit.
        type: str
        required: true
      path:
        description:
          - A mount or a single path that is limited, such as V(auth/approle/role/mcp-hr/secret-id).
          - Everything, where it is empty.
        type: str
      role:
        description: Only logins of this role, where O(rate_limits[].path) is an auth method that
          has roles.
        type: str
      rate:
        description: How many requests are served in each interval.
        type: int
        required: true
      interval:
        description: Length of the interval, in seconds or with a unit; the server's default is a
          second.
        type: str
      block_interval:
        description: How long a client that went beyond the limit is refused everything under it.
        type: str
      inheritable:
        description: Whether it holds in namespaces below as well.
        type: bool
  rate_limit_settings:
    description: What holds for all rate limits of the server; what is left out stays as it is.
    type: dict
    suboptions:
      enable_rate_limit_audit_logging:
        description: Whether requests that are refused by a limit are in the audit log.
        type: bool
      enable_rate_limit_response_headers:
        description: Whether each answer says how much is left of the limit.
        type: bool
      rate_limit_exempt_paths:
        description: Paths that are under no limit.
        type: list
        elements: str
  secrets:
    description:
      - Secrets of key-value engines of version 2, as module M(tamshai.phoenix.vault_kv) takes them.
      - Values are compared by reading, or by fingerprints where O(fingerprint_key) is set.
    type: list
    elements: dict
    default: []
    suboptions:
      mount:
        description: Where the key-value engine is mounted, which this call may bring about.
        type: str
        default: secret
      path:
        description: Path below the mount.
        type: str
        required: true
      state:
        description:
          - V(absent) deletes the newest version, which the server can bring back; older versions
            and the metadata stay.
          - Nothing else about the secret is stated with that.
        type: str
        choices: [present, absent]
        default: present
      data:
        description:
          - Keys with their values, which may be lists and mappings.
          - Null is refused, and so is a number beyond 53 bits, which the engine would round; write
            that as text.
          - Keys that are not named stay as they are, unless O(secrets[].only=true).
        type: dict
        default: {}
      generate:
        description: Keys that get a random value if they do not exist, and then keep it.
        type: list
        elements: dict
        default: []
        suboptions:
          key:
            description: Name of the key.
            type: str
            required: true
          length:
            description: Number of characters, at least one.
            type: int
            default: 32
          alphabet:
            description: What the characters are taken from.
            type: str
            choices: [alphanumeric, hex, printable]
            default: alphanumeric
      only:
        description: Whether keys that are neither in O(secrets[].data) nor in O(secrets[].generate)
          are removed.
        type: bool
        default: false
      custom_metadata:
        description: Entries of custom metadata, as text, that have to be there.
        type: dict
        default: {}
  fingerprint_key:
    description:
      - If set, values are compared by fingerprints under this key, and are not read.
      - The token then needs no C(read) on C(data/), only on C(metadata/) and C(subkeys/).
      - A version that was not written by this module is unknown and is written again.
    type: str
  purge:
    description:
      - What to remove because it is not declared in this call.
      - Built-in policies, and the policies and the role that the caller's own token comes from, are
        never removed, also where O(root_shares) make the caller root.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description: Kind of object.
        type: str
        choices: [policy, approle, cert role, static role, rate limit]
        required: true
      prefix:
        description:
          - Beginning of the names of the objects that this call owns; an empty one is refused.
          - For roles the mount comes first, as in V(approle/svc-); the mount alone, as in
            V(approle/), is refused.
        type: str
      names:
        description:
          - Names of the objects that this call owns, whole ones, where no prefix is theirs alone.
          - For roles the mount comes first, as in V(approle/old).
        type: list
        elements: str
  concurrency:
    description: How many requests are under way at a time.
    type: int
    default: 8
seealso:
  - module: tamshai.phoenix.vault_approle
  - module: tamshai.phoenix.vault_kv
"""

EXAMPLES = r"""
- name: A key-value store, a policy and a role
  tamshai.phoenix.vault_config:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    token: "{{ login.token }}"
    auth_methods:
      - {path: approle, type: approle}
    secret_engines:
      - path: tamshai
        type: kv
        options: {version: "2"}
        kv: {max_versions: 10}
    policies:
      - name: mcp-hr
        text: |
          path "tamshai/data/mcp-hr" {
            capabilities = ["read"]
          }
    secrets:
      - mount: tamshai
        path: mcp-hr
        generate:
          - {key: COOKIE_KEY, length: 48}
    approles:
      - name: mcp-hr
        role_id: mcp-hr-role-id-tamshai-v1
        token_policies: [mcp-hr]
        token_ttl: 1h
        token_max_ttl: 4h
        secret_id_ttl: 10m
        secret_id_num_uses: 1

- name: Give out at most 20 SecretIDs of a role in a minute, and log who asked for more
  tamshai.phoenix.vault_config:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    token: "{{ login.token }}"
    rate_limit_settings:
      enable_rate_limit_audit_logging: true
    rate_limits:
      - name: secret-id-mcp-hr
        path: auth/approle/role/mcp-hr/secret-id
        rate: 20
        interval: 1m

- name: Remove what this play once made and no longer declares
  tamshai.phoenix.vault_config:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    token: "{{ login.token }}"
    policies: "{{ service_policies }}"
    purge:
      - {kind: policy, prefix: svc-}
"""

RETURN = r"""
objects:
  description: Every declared or removed object with what became of it, or in check mode would.
  returned: success, and failure where something was ignored or cannot be put right
  type: list
  elements: dict
  contains:
    kind:
      description: Kind of object.
      type: str
      sample: approle
    name:
      description: Its key; for roles the mount comes first.
      type: str
      sample: approle/mcp-hr
    verdict:
      description:
        - V(unchanged), V(created), V(updated), V(deleted), V(ignored by the server), or
          V(drifted) where it differs in what cannot be changed once it exists.
      type: str
      sample: updated
    fields:
      description: The settings that differed; of a secret the keys.
      type: list
      elements: str
      sample: [token_ttl]
    warnings:
      description: What the server had to say about the write.
      type: list
      elements: str
      sample: []
counts:
  description: How many objects got each verdict.
  returned: success
  type: dict
  sample: {unchanged: 13, updated: 1}
server_version:
  description: Version of the server, where it was asked for.
  returned: success
  type: str
  sample: 2.7.2
"""

from collections import Counter
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._module import (
    Result,
    protect,
    run,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import kinds, kv_secrets
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import (
    client_from,
    connection_spec,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.fields import argument_spec
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.reconcile import (
    Outcome,
    Purge,
    Reconciler,
)

OPTIONS: dict[str, type[kinds.Kind]] = {
    "audit_devices": kinds.AuditDevices,
    "auth_methods": kinds.AuthMethods,
    "secret_engines": kinds.SecretEngines,
    "policies": kinds.Policies,
    "approles": kinds.AppRoles,
    "cert_roles": kinds.CertRoles,
    "cert_crls": kinds.CertCrls,
    "database_connections": kinds.DatabaseConnections,
    "static_roles": kinds.StaticRoles,
    "rate_limits": kinds.RateLimits,
}
PURGED = ("policy", "approle", "cert role", "static role", "rate limit")
STATED = {name: {"required": True} for name in ("type", "text", "rate", "crl")}


def work(module: AnsibleModule) -> Result:
    options = module.params
    for entry in options["database_connections"]:
        # Which is refused, but the result shows the options.
        protect(module, kinds.password_in(entry["connection_url"] or ""))
    declared: dict[type[kinds.Kind], Any] = {
        kind: options[option] for option, kind in OPTIONS.items()
    }
    declared[kinds.KvConfigs] = [
        {"path": engine["path"], **engine["kv"]}
        for engine in options["secret_engines"]
        if engine.get("kv")
    ]
    settings = options["rate_limit_settings"]
    declared[kinds.RateLimitSettings] = [settings] if settings else []
    purges = [
        Purge(purge["kind"], purge["prefix"] or "", tuple(purge["names"] or ()))
        for purge in options["purge"]
    ]
    secrets = kv_secrets.declared(module)
    with client_from(module, workers=options["concurrency"]) as client:
        done = Reconciler(client, declared, purges)
        done.survey()
        verdicts = kv_secrets.survey(client, secrets, coming=_coming(done))
        for secret, verdict in zip(secrets, verdicts, strict=True):
            word = kv_secrets.describe(done.plan, secret, verdict)
            place = f"{secret.mount}/{secret.path}"
            done.outcomes.append(Outcome("secret", place, word, verdict.keys))
        if not module.check_mode:
            done.carry_out()
            kv_secrets.write(client, secrets, verdicts)
        if module.check_mode and done.doubt:
            module.warn(done.doubt)
        for place in done.unmounted:
            module.warn(f"nothing is mounted at {place} now: what goes there needs that first")
        return Result(
            done.plan,
            objects=[outcome.as_dict() for outcome in done.outcomes],
            counts=dict(Counter(outcome.verdict for outcome in done.outcomes)),
            server_version=client.version,
        )


def _coming(done: Reconciler) -> set[str]:
    """Engines that are still to be mounted."""
    return {
        outcome.name.strip("/")
        for outcome in done.outcomes
        if outcome.kind == kinds.SecretEngines.name and outcome.verdict == "created"
    }


def _list_of(suboptions: dict[str, Any]) -> dict[str, Any]:
    return {"type": "list", "elements": "dict", "default": [], "options": suboptions}


def _suboptions(kind: type[kinds.Kind]) -> dict[str, Any]:
    spec = argument_spec(kind.fields)
    spec.pop("serials", None)  # of a revocation list: taken from the list itself
    for name, change in STATED.items():
        if name in spec:
            spec[name] = {**spec[name], **change}
    return spec


def main() -> None:
    path = {"path": {"type": "str", "required": True}}
    name = {"name": {"type": "str", "required": True}}
    kv = {"kv": {"type": "dict", "options": argument_spec(kinds.KvConfigs.fields)}}
    identity: dict[str, dict[str, Any]] = {
        "audit_devices": path,
        "auth_methods": path,
        "secret_engines": path | kv,
        "policies": name,
        "approles": name | {"mount": {"type": "str", "default": "approle"}},
        "cert_roles": name | {"mount": {"type": "str", "default": "cert"}},
        "cert_crls": name | {"mount": {"type": "str", "default": "cert"}},
        "database_connections": name | {"mount": {"type": "str", "default": "database"}},
        "static_roles": name | {"mount": {"type": "str", "default": "database"}},
        "rate_limits": name,
    }
    spec = connection_spec()
    for option, kind in OPTIONS.items():
        spec[option] = _list_of({**identity[option], **_suboptions(kind)})
    spec["secret_engines"]["no_log"] = False
    of_all = argument_spec(kinds.RateLimitSettings.fields)
    spec["rate_limit_settings"] = {"type": "dict", "options": of_all}
    spec["purge"] = _list_of(
        {
            "kind": {"type": "str", "choices": list(PURGED), "required": True},
            "prefix": {"type": "str"},
            "names": {"type": "list", "elements": "str"},
        }
    )
    spec["purge"].update(
        mutually_exclusive=[("prefix", "names")], required_one_of=[("prefix", "names")]
    )
    secret = {"mount": {"type": "str", "default": "secret"}, **kv_secrets.SUBOPTIONS}
    spec["secrets"] = {**_list_of(secret), "no_log": False}
    spec["fingerprint_key"] = {"type": "str", "no_log": True}
    spec["concurrency"] = {"type": "int", "default": 8}
    run(spec, work)


if __name__ == "__main__":
    main()
