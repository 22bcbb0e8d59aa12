"""Containers of a small image, made in the test's store, and what their bundles say."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ocitool.containers.creating import Created, create_container
from ocitool.containers.options import CreateOptions
from ocitool.containers.records import Container
from ocitool.images.lookup import find_image
from ocitool.places.layout import Layout
from tests.support.images import BuiltImage, build_image
from tests.support.root_files import Node, folder, layer_of, program

PASSWD = b"root:x:0:0::/:/sh\napp:x:1000:100::/:/sh\n"
GROUP = b"root:x:0:\nweb:x:33:app,other\nmail:x:8:app\n"
NAME = "docker.io/library/app:1"
"""The name of the image in the store."""


def app(config: Mapping[str, Any] | None = None, *more: bytes) -> BuiltImage:
    """Return an image with a program and two users; `more` are layers above."""
    lowest = layer_of(
        folder("etc"),
        Node(path="etc/passwd", data=PASSWD),
        Node(path="etc/group", data=GROUP),
        program("bin/app", b"#!/bin/sh\n"),
    )
    return build_image([lowest, *more], config={"config": {"Cmd": ["/bin/app"], **(config or {})}})


def create(layout: Layout, image: str = "app:1", **wish: Any) -> Created:
    """Make a container of an image of the store."""
    return create_container(layout, find_image(layout, image), CreateOptions(**wish))


def runtime_config(container: Container) -> dict[str, Any]:
    """Return config.json of its bundle."""
    value: dict[str, Any] = json.loads(Path(container.bundle, "config.json").read_bytes())
    return value


def root_of(container: Container) -> Path:
    """Return the folder that holds what was unpacked."""
    bundle = Path(container.bundle)
    return bundle.parent.parent / "trees" / container.tree if container.tree else bundle / "rootfs"
