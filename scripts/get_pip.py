# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put pip into an empty virtual environment with what Python itself ships.

ansible-test would fetch get-pip.py from a host of its own. Its documented way out is a script of
that name in its cache, which it runs inside the environment; scripts/sanity puts this one there, so
that nothing but the package index is needed.
"""

from __future__ import annotations

import ensurepip
import os
import subprocess
import sys


def main() -> int:
    """Install what the arguments name, such as ``pip==24.2``, without get-pip's own options."""
    settings = dict(os.environ)  # ensurepip clears pip's own settings, such as a certificate file
    ensurepip.bootstrap()
    wanted = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
    command = [sys.executable, "-m", "pip", "install", *wanted]
    return subprocess.run(command, env=settings, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
