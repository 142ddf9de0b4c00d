# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What services find in their environment is called by these names."""

from __future__ import annotations

__all__ = ["url_variable"]


def url_variable(name: str) -> str:
    """The variable in which callers find a service's URL: mcp-hr -> MCP_HR_URL."""
    return f"MCP_{name.removeprefix('mcp-').upper().replace('-', '_')}_URL"
