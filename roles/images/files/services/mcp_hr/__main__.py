# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``python3 -m mcp_hr``"""

from __future__ import annotations

import signal

# A reload signal may come while the rest is still being imported; it must not end the process.
signal.signal(signal.SIGHUP, signal.SIG_IGN)

from common.server import main  # noqa: E402

from mcp_hr.service import HrService  # noqa: E402

main("mcp-hr", 3101, HrService)
