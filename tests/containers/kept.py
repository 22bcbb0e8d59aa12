"""A container whose files a test changes itself, and the images that are made of it."""

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ocitool.containers.creating import create_container
from ocitool.containers.options import CreateOptions
from ocitool.containers.records import Container
from ocitool.containers.sharing import can_share
from ocitool.containers.writable.merged import container_tar, members_of
from ocitool.containers.writable.opening import open_writable
from ocitool.images.lookup import find_image
from ocitool.places.layout import Layout
from tests.support.images import BuiltImage, build_image
from tests.support.root_files import Node, folder, hard_link, layer_of, link, program

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices and marks")
PASSWD = b"root:x:0:0::/:/sh\napp:x:1000:100::/:/sh\n"
NAME = "docker.io/library/app:1"
HISTORY: list[dict[str, object]] = [{"created": "2024-05-06T07:08:09Z", "created_by": "COPY . /"}]
CONFIG = {
    "Entrypoint": ["/bin/app"],
    "Cmd": ["-v"],
    "Env": ["PATH=/bin", "LEVEL=info"],
    "User": "app",
    "Labels": {"a": "b"},
}


def app(**options: Any) -> BuiltImage:
    """Return an image with files of all kinds."""
    layer = layer_of(
        folder("bin"),
        program("bin/app", b"#!/bin/sh\n"),
        folder("etc"),
        Node(path="etc/passwd", data=PASSWD),
        Node(path="etc/motd", data=b"hello\n", owner=(1000, 100)),
        folder("old"),
        Node(path="old/1", data=b"1"),
        folder("old/in"),
        Node(path="old/in/2", data=b"2"),
        Node(path="gone", data=b"gone"),
        link("to", "etc/motd"),
        Node(path="a1", data=b"same"),
        hard_link("a2", "a1"),
        folder("srv", owner=(1000, 100)),
    )
    return build_image([layer], config={"config": CONFIG}, history=HISTORY, **options)


def container(layout: Layout, *, alone: bool = False, **options: Any) -> Container:
    """Make a container of app:1 with an overlay, or `alone`; skips where overlays do not work."""
    if not alone and not can_share(layout.path, rootless=os.geteuid() != 0):
        pytest.skip("no overlay can be laid over this folder")
    found = find_image(layout, "app:1")
    wish = CreateOptions(name="web", alone=alone, **options)
    return create_container(layout, found, wish).container


def written(one: Container) -> Path:
    """Return the folder in which a container writes."""
    return Path(one.bundle, "rootfs" if one.tree is None else "upper")


def whiteout(path: Path) -> None:
    """Mark a path as deleted, as an overlay does."""
    os.mknod(path, 0o20000, 0)


def documents(layout: Layout, digest: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the manifest and the configuration of an image of the store."""
    manifest = json.loads(blob(layout, str(digest)))
    return manifest, json.loads(blob(layout, manifest["config"]["digest"]))


def blob(layout: Layout, digest: str) -> bytes:
    return Path(layout.path, "blobs", *digest.split(":")).read_bytes()


def layer_members(data: bytes) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    """Return the members of a layer in their order, each with its content."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {one.name: (one, _content(tar, one)) for one in tar}


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member) if member.isreg() else None
    return file.read() if file is not None else b""


def tar_of(layout: Layout, one: Container) -> bytes:
    with open_writable(layout, one) as writable:
        return b"".join(container_tar(writable, members_of(writable)))


def listed(data: bytes) -> list[str]:
    """Return the members in short: a path, and what a link leads to."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [f"{one.name} -> {one.linkname}" if one.linkname else one.name for one in tar]
