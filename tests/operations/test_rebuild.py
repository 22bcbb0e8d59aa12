"""Lost metadata of a store made again from the reflog, the pins, the containers and the blobs."""

import datetime as dt
from pathlib import Path

import pytest

from ocitool.image.content import Root
from ocitool.operations.pin import pin
from ocitool.operations.rebuild import rebuild
from ocitool.places.layout import Layout, untag
from tests.support.command import Command
from tests.support.images import blob_path, build_index, write_layout
from tests.support.layouts import A, B, C, bring, image, names_of, store
from tests.support.stores import assert_whole, contents

FIRST, SECOND, THIRD = image("a"), image("b"), image("c")
BOTH = build_index([image("d"), image("e", platform="linux/arm64")], attested=True)


def filled(path: Path) -> None:
    """Make a store with names, an image without one, one that is pinned, and an index."""
    with store(path, a=FIRST, b=SECOND, both=BOTH) as layout:
        bring(layout, THIRD, A, C)
        untag(layout, [B])
        now = dt.datetime.now(dt.UTC)
        pin(layout, [Root(descriptor=FIRST.descriptor)], now=now)


@pytest.mark.parametrize("left", [None, b"", b'{"manifests":null}', b'{"schemaVersion":2,"man'])
@pytest.mark.parametrize("version", [True, False], ids=["", "and oci-layout"])
def test_a_lost_index_is_rebuilt_with_all_names_and_images(
    tmp_path: Path, left: bytes | None, *, version: bool
) -> None:
    filled(tmp_path)
    with Layout.existing(str(tmp_path)) as layout:
        names = names_of(layout)
        digests = {root.descriptor.digest for root in layout.roots()}
    blobs = {k: v for k, v in contents(tmp_path).items() if k != "index.json"}
    (tmp_path / "index.json").unlink()
    if left is not None:
        (tmp_path / "index.json").write_bytes(left)
    if not version:
        (tmp_path / "oci-layout").unlink()
    found = rebuild(str(tmp_path))
    assert found is not None
    assert set(found.files) == {"index.json"} | ({"oci-layout"} if not version else set())
    assert set(found.names) == set(names)
    assert found.lost == ()
    with Layout.existing(str(tmp_path)) as layout:
        assert names_of(layout) == names
        assert {root.descriptor.digest for root in layout.roots()} == digests
        assert len(layout.pins()) == 1
    assert {k: v for k, v in contents(tmp_path).items() if k != "index.json"} == blobs
    kept = [p.read_bytes() for p in (tmp_path / ".ocitool").glob("quarantine/index.json.*")]
    assert kept == ([left] if left is not None else [])
    assert_whole(tmp_path)
    assert rebuild(str(tmp_path)) is None


def test_without_the_version_file_alone_the_index_stays_as_it_is(tmp_path: Path) -> None:
    filled(tmp_path)
    before = contents(tmp_path)
    (tmp_path / "oci-layout").write_bytes(b"")
    found = rebuild(str(tmp_path))
    assert found is not None
    assert (found.files, found.names) == (("oci-layout",), ())
    assert contents(tmp_path) == before
    assert_whole(tmp_path)


def test_a_name_whose_image_is_not_here_is_reported(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "index.json").unlink()
    (tmp_path / blob_path(THIRD.descriptor)).unlink()
    found = rebuild(str(tmp_path))
    assert found is not None
    assert set(found.lost) == {A, C}


def test_what_is_no_store_or_lacks_nothing_is_left_alone(tmp_path: Path) -> None:
    filled(tmp_path / "s")
    write_layout(tmp_path / "l", {"1": FIRST})
    (tmp_path / "l" / "index.json").unlink()
    for name in ("s", "l", "nothing"):
        assert rebuild(str(tmp_path / name)) is None
    assert not (tmp_path / "l" / "index.json").exists()


def test_every_command_says_how_to_rebuild_and_the_repair_says_what_came_back(
    tmp_path: Path,
) -> None:
    filled(tmp_path / "store")
    command = Command(tmp_path / "store", tmp_path)
    (tmp_path / "store" / "oci-layout").unlink()
    (tmp_path / "store" / "index.json").unlink()
    for words in (("images",), ("gc", "--dry-run"), ("verify",), ("rm", "a:1"), ("df",)):
        done = command(*words)
        assert done.code == 7, words
        assert "`ocitool verify --repair`" in done.err
    done = command("verify", "--repair")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[:2] == ["rebuilt: index.json", "rebuilt: oci-layout"]
    assert "restored: a:1" in lines
    assert f"restored: <none>: {SECOND.descriptor.digest}" in lines
    assert command("images", "-q").code == 0
