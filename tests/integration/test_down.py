# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make down` on a real engine, in a clone for which something else than a drill is a drill."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ["ansible.cfg", "inventory", "meta", "playbooks", "plugins", "roles", "scripts"]
# By what `make down` knows what belongs to drills; here it is to know other things by it.
KNOWN_BY = {
    "scripts/down": "label=tamshai.phoenix",
    "roles/drill_host/tasks/absent_all.yml": "label: tamshai.phoenix",
    "roles/drill_host/defaults/main.yml": "drill_host_network: tamshai-drill",
    "playbooks/drill.yml": "drill_name | default('drill'",
}
NAME = re.compile(r"tamshai[.-](phoenix|drill)|drill(?=')")


class Machine:
    """A clone whose drill hosts, network and images have a label and names of their own."""

    def __init__(self, clone: Path, name: str) -> None:
        self.clone, self.name = clone, name
        for part in PARTS:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, clone / part)
        for file, text in KNOWN_BY.items():
            whole = (clone / file).read_text(encoding="utf-8")
            assert text in whole, file
            (clone / file).write_text(whole.replace(text, NAME.sub(name, text)))
            # Nothing that really belongs to a drill may be in danger.
            assert not re.search(
                r"label\W+tamshai|tamshai-drill|'drill'", (clone / file).read_text()
            )
        link = clone / "build" / "collections" / "ansible_collections" / "tamshai" / "phoenix"
        link.parent.mkdir(parents=True)
        link.symlink_to("../../../..")
        (clone / ".venv").symlink_to(sys.prefix)
        self.engine = docker.from_env()
        self.secret = clone / "build" / "drill" / name / "passphrase"
        self.secret.parent.mkdir(parents=True)
        self.secret.write_text("secret")
        self.image = self._image()
        self.engine.networks.create(name, labels={name: "network"})
        # As the registry has its volume, and as a drill host has.
        containers = self.engine.containers
        of_image = containers.create(self.image, "x", name=f"{name}-a", labels={name: "registry"})
        own = containers.create(self.image, "x", name=name, volumes=["/own"], labels={name: "d"})
        self.volumes = {
            mount["Name"]
            for made in (of_image, own)
            for mount in self.engine.api.inspect_container(made.id)["Mounts"]
        }

    def _image(self) -> str:
        """One of nothing, with a volume and a label."""
        empty = io.BytesIO()
        tarfile.open(fileobj=empty, mode="w").close()
        self.engine.api.import_image_from_data(
            empty.getvalue(),
            repository=self.name,
            tag="x",
            changes=["VOLUME /data", f"LABEL {self.name}=image"],
        )
        return f"{self.name}:x"

    def down(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.clone / "scripts" / "down"],
            env={"PATH": os.environ["PATH"], "HOME": str(self.clone)},
            capture_output=True,
            text=True,
            check=False,
        )

    def left(self) -> set[str]:
        """What the engine still has of it all."""
        about = {"label": self.name}
        every = {volume.name for volume in self.engine.volumes.list()}
        return {
            *(
                f"container {made.name}"
                for made in self.engine.containers.list(True, filters=about)
            ),
            *(f"network {made.name}" for made in self.engine.networks.list(filters=about)),
            *(f"image {tag}" for i in self.engine.images.list(filters=about) for tag in i.tags),
            *(f"volume {name}" for name in self.volumes & every),
        }

    def clear(self) -> None:
        for made in self.engine.containers.list(True, filters={"label": self.name}):
            made.remove(v=True, force=True)
        for network in self.engine.networks.list(filters={"label": self.name}):
            network.remove()
        for image in self.engine.images.list(filters={"label": self.name}):
            self.engine.images.remove(image.id)
        for volume in self.engine.volumes.list():
            if volume.name in self.volumes:
                volume.remove()
        self.engine.close()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path, f"down-{uuid.uuid4().hex[:12]}")
    yield made
    made.clear()


def test_nothing_is_left(machine: Machine) -> None:
    name = machine.name
    assert len(machine.volumes) == 3
    assert machine.left() == {
        *(f"container {name}", f"container {name}-a", f"network {name}", f"image {name}:x"),
        *(f"volume {volume}" for volume in machine.volumes),
    }
    result = machine.down()
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    assert machine.left() == set()
    assert not machine.secret.exists()


def test_a_volume_that_stays_is_named(machine: Machine) -> None:
    """Its container is gone, and so is what said whose it is."""
    forgetful = machine.clone / "forgetful"
    forgetful.mkdir()
    program = forgetful / "ansible-playbook"
    program.write_text(
        f"#!/bin/sh\ndocker rm {machine.name} {machine.name}-a && docker rmi {machine.image}"
        f" && docker network rm {machine.name}\n"
    )
    program.chmod(0o755)
    (machine.clone / ".venv").unlink()
    (machine.clone / ".venv").mkdir()
    (machine.clone / ".venv" / "bin").symlink_to(forgetful)
    result = machine.down()
    assert result.returncode == 1, result.stdout
    assert set(re.findall(r"^volume .*$", result.stderr, re.MULTILINE)) == machine.left()
    assert len(machine.left()) == 3
