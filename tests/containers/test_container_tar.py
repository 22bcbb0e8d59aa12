"""The files of a container as one tar: its own over those of the image, as it sees them."""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocitool.places.layout import Layout
from tests.containers.kept import (
    app,
    container,
    listed,
    needs_root,
    tar_of,
    whiteout,
    written,
)
from tests.support.layouts import store

pytestmark = needs_root


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    with store(tmp_path / "s", app=app()) as layout:
        yield layout


UNTOUCHED = [
    "a1",
    "a2 -> a1",
    "bin",
    "bin/app",
    "etc",
    "etc/motd",
    "etc/passwd",
    "gone",
    "old",
    "old/1",
    "old/in",
    "old/in/2",
    "srv",
    "to -> etc/motd",
]


@pytest.mark.parametrize("alone", [False, True])
def test_a_new_container_has_the_files_of_its_image_sorted(layout: Layout, alone: bool) -> None:
    one = container(layout, alone=alone)
    assert listed(tar_of(layout, one)) == UNTOUCHED
    assert tar_of(layout, one) == tar_of(layout, one)


def test_what_it_changed_lies_over_the_image_and_no_whiteout_is_left(layout: Layout) -> None:
    one = container(layout)
    upper = written(one)
    whiteout(upper / "gone")
    whiteout(upper / "bin")
    (upper / "old").mkdir()
    os.setxattr(upper / "old", "trusted.overlay.opaque", b"y")
    (upper / "old/new").write_text("n")
    (upper / "etc").mkdir()
    (upper / "etc/motd").write_text("bye\n")
    (upper / os.fsdecode(b"odd\xff\n")).touch()
    data = tar_of(layout, one)
    assert listed(data) == [
        "a1",
        "a2 -> a1",
        "etc",
        "etc/motd",
        "etc/passwd",
        f"odd{os.fsdecode(bytes([0xFF]))}\n",
        "old",
        "old/new",
        "srv",
        "to -> etc/motd",
    ]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.extractfile("etc/motd").read() == b"bye\n"  # type: ignore[union-attr]


def test_a_rootless_container_has_the_owners_of_the_image(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("creating", "writable.opening"):
        monkeypatch.setattr(f"ocitool.containers.{place}.is_root", lambda: False)
    data = tar_of(layout, container(layout))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        owners = {one.name: (one.uid, one.gid) for one in tar if one.uid}
    assert owners == {"etc/motd": (1000, 100), "srv": (1000, 100)}
