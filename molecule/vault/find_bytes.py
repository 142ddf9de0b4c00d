# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Look for the content of one file in all files below some directories; exit status 1 if found."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    needle = Path(sys.argv[1]).read_bytes()
    found = []
    for place in sys.argv[2:]:
        found += [
            str(path)
            for path in Path(place).rglob("*")
            if path.is_file() and not path.is_symlink() and needle in path.read_bytes()
        ]
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
