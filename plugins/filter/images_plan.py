# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter ``images_plan``; its documentation is in images_plan.yml."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._images.plan import plan_images


def images_plan(
    recipes: Mapping[str, Mapping[str, Any]],
    files: str,
    wanted: list[str] | None = None,
    repository: str = "tamshai",
    builders: dict[str, str] | None = None,
    refresh: str = "",
) -> list[dict[str, Any]]:
    try:
        return plan_images(
            recipes,
            files,
            wanted=wanted,
            repository=repository,
            builders=builders,
            refresh=refresh,
        )
    except PhoenixError as error:
        raise AnsibleFilterError(error.sentences) from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"images_plan": images_plan}
