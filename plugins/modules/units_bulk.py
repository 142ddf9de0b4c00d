#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module units_bulk."""

from __future__ import annotations

DOCUMENTATION = r"""
module: units_bulk
author: tamshai.phoenix contributors (@tamshai)
version_added: 0.1.0
short_description: Enable and start many systemd units in one call
description:
  - Looks at all units at once and changes only those that differ, after a C(daemon-reload) where
    unit files have changed.
  - A unit that does not run because a condition of its own does not hold, as time synchronisation
    in a container, is named in RV(conditions) and is no failure.
options:
  units:
    description: The units, in the order in which they are started.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Full name of the unit.
        type: str
        required: true
      started:
        description: Whether the unit has to run; left out, that is left alone.
        type: bool
      enabled:
        description: Whether the unit has to start at boot; left out, that is left alone.
        type: bool
      optional:
        description: Whether to pass over the unit on a host that does not have it.
        type: bool
        default: false
      timeout:
        description: Seconds after which a start or a stop of the unit counts as failed.
        type: int
        default: 90
extends_documentation_fragment: tamshai.phoenix.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Run the firewall, and see to it that it is there after a reboot
  tamshai.phoenix.units_bulk:
    units:
      - {name: tamshai-firewall.service, started: true, enabled: true}
      - {name: fail2ban.service, started: true, enabled: true}
      - {name: nftables.service, enabled: false}
"""

RETURN = r"""
conditions:
  description: Units that do not run because a condition of their own does not hold on this host.
  type: list
  elements: str
  returned: success
  sample: [systemd-timesyncd.service]
missing:
  description: Units that are not there yet; check mode only, since outside of it that is a failure.
  type: list
  elements: str
  returned: success
changes:
  description: What was done, or would be in check mode.
  type: list
  elements: dict
  returned: success
  contains:
    kind:
      description: One of C(unit) and C(systemd).
      type: str
    name:
      description: Name of the unit.
      type: str
    action:
      description: One of C(update), C(start) and C(reload).
      type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._bulk.units import UNIT_SPEC, Units
from ansible_collections.tamshai.phoenix.plugins.module_utils._module import Result, run

ARGUMENT_SPEC: dict[str, Any] = {
    "units": {"type": "list", "elements": "dict", "required": True, "options": UNIT_SPEC}
}


def work(module: AnsibleModule) -> Result:
    """Read, plan, stop there in check mode, act."""
    units = Units.declared(module.params["units"])
    plan = units.read()
    if not module.check_mode:
        units.act()
    return Result(plan, conditions=units.conditions, missing=units.missing, changes=plan.summary())


def main() -> None:
    """Entry point."""
    run(ARGUMENT_SPEC, work)


if __name__ == "__main__":
    main()
