# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The estate's own certification authority: names, profiles, verification, bundles on disk.

Nothing in here knows Ansible. ``names`` and ``declaration`` are pure; ``keys``, ``issue`` and
``verify`` work on objects of the ``cryptography`` library; ``bundle`` and ``authority`` on
directories; ``flow`` puts them together for the module ``pki_cert``.
"""
