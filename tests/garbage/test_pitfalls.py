"""Pitfalls of garbage collection that show on a disk that fails, in archives, and among engines."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocitool.garbage import Choice, plan, sweep, undo
from ocitool.places.layout import untag
from tests.support.command import Command
from tests.support.disk import small_disk, traced
from tests.support.engine import engine
from tests.support.images import build_image, oci_archive
from tests.support.layouts import A, B, blobs_in, image, names_of, store
from tests.support.stores import checked, contents, load_archive, written

IMAGE = image("a")
OTHER = image("b")


def test_pitfall_06_what_comes_from_an_archive_of_1970_is_young(tmp_path: Path) -> None:
    archive = written(tmp_path / "a.tar", oci_archive({A: IMAGE}))
    os.utime(archive, (0, 0))
    before = time.time()
    load_archive(archive, tmp_path / "store")
    for path in (tmp_path / "store" / "blobs" / "sha256").iterdir():
        assert path.stat().st_mtime >= before - 1
    with store(tmp_path / "store") as layout:
        untag(layout, [A])
        now = time.time()
        assert plan(layout, Choice(grace=60), now=now).blobs == ()
        assert len(plan(layout, Choice(), now=now).blobs) == len(IMAGE.blobs)


def test_pitfall_12_names_go_durably_before_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    with store(tmp_path, a=IMAGE, b=OTHER) as layout:
        found = plan(layout, Choice(everything=True, references=("a",)), now=now)
        with traced(monkeypatch) as trace:
            sweep(layout, found, now=now)
    index = max(trace.positions(f" {tmp_path}/index.json"))
    durable = next(
        n for n, call in enumerate(trace.calls) if n > index and call == f"fsync {tmp_path}"
    )
    moved = trace.positions(f"rename {tmp_path}/blobs/")
    assert len(moved) == len(IMAGE.blobs)
    assert durable < min(moved)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk that has room for a store, and for nothing that comes later."""
    with small_disk(tmp_path / "disk", "128k") as disk:
        yield disk


def test_pitfall_13_on_a_full_disk_nothing_is_half_removed(full: Path) -> None:
    big = build_image([{"big": os.urandom(20_000)}])
    with store(full / "store", a=IMAGE, big=big) as layout:
        untag(layout, [A])
    (full / "filler").write_bytes(b"")
    with (full / "filler").open("ab", buffering=0) as filler:
        try:
            while filler.write(bytes(512)):
                pass
        except OSError:
            pass
    done = Command(full / "store", full)("gc", "-f", "--containers", "none")
    assert checked(full / "store").problems == ()
    with store(full / "store") as layout:
        assert "docker.io/library/big:1" in names_of(layout)
    # What would go cannot be written down, so nothing went.
    assert done.code == 9
    assert "no space left" in done.err
    assert {digest.hex for digest in IMAGE.blobs} <= blobs_in(full / "store")
    (full / "filler").unlink()
    assert Command(full / "store", full)("gc", "-f", "--containers", "none").code == 0
    assert blobs_in(full / "store") == {digest.hex for digest in big.blobs}


def test_pitfall_13_a_run_that_breaks_off_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    with store(tmp_path, a=IMAGE, b=OTHER) as layout:
        untag(layout, [A])
        found = plan(layout, Choice(), now=now)
        real, count = os.rename, [0]

        def broken(source: str, target: str, **folders: int) -> None:
            if "src_dir_fd" in folders and len(source) == 64:
                count[0] += 1
                if count[0] == 2:
                    raise KeyboardInterrupt
            real(source, target, **folders)

        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", broken)
            with pytest.raises(KeyboardInterrupt):
                sweep(layout, found, now=now)
    assert checked(tmp_path).problems == ()
    with store(tmp_path) as layout:
        sweep(layout, plan(layout, Choice(), now=now), now=now)
        assert names_of(layout) == {B: str(OTHER.descriptor.digest)}
        assert blobs_in(tmp_path) == {digest.hex for digest in OTHER.blobs}
        undo(layout)
    assert checked(tmp_path).problems == ()


def used_by_one(*_: str) -> tuple[int, bytes]:
    container = {
        "Id": "4f0c", "Names": ["/web"], "Image": "a:1", "State": "exited",
        "ImageID": str(IMAGE.config.digest),
    }  # fmt: skip
    return 200, json.dumps([container]).encode()


def used_by_none(*_: str) -> tuple[int, bytes]:
    return 200, b"[]"


class TestEngines:
    @pytest.fixture
    def dangling(self, tmp_path: Path) -> Path:
        with store(tmp_path / "store", a=IMAGE, b=OTHER) as layout:
            untag(layout, [A])
        return tmp_path / "store"

    def test_pitfall_16_it_says_whose_containers_it_saw(
        self, dangling: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The engine of one user knows nothing of the containers of another."""
        ocitool = Command(dangling, tmp_path)
        with engine(tmp_path / "mine", used_by_none), engine(tmp_path / "theirs", used_by_one):
            monkeypatch.setenv("CONTAINER_HOST", f"unix://{tmp_path}/mine")
            mine = ocitool("gc", "--dry-run", "--containers", "store", "--containers", "podman")
            assert "asked for containers: store, podman\n" in mine.out
            assert "garbage: 1 image" in mine.out
            monkeypatch.setenv("CONTAINER_HOST", f"unix://{tmp_path}/theirs")
            theirs = ocitool("gc", "--dry-run", "--json", "--containers", "podman")
        found = json.loads(theirs.out)
        assert found["asked"] == ["store", "podman"]
        assert found["images"] == []
        assert [kept["digest"] for kept in found["kept"]] == [str(IMAGE.descriptor.digest)]

    def test_pitfall_16_listings_of_several_users_are_one_answer(
        self, dangling: Path, tmp_path: Path
    ) -> None:
        _, theirs = used_by_one()
        (tmp_path / "mine.json").write_text("[]")
        (tmp_path / "theirs.json").write_bytes(theirs)
        words = [f"--containers=podman:{tmp_path}/{who}.json" for who in ("mine", "theirs")]
        done = Command(dangling, tmp_path)("gc", "-f", *words)
        assert done.code == 0, done.err
        assert IMAGE.descriptor.digest.hex in blobs_in(dangling)

    @pytest.mark.parametrize(
        "answer", [(500, b'{"message":"busy"}'), (403, b"{}"), (200, b"[{"), (200, b"")]
    )
    @pytest.mark.parametrize("command", [("gc", "-f"), ("gc", "--dry-run"), ("gc", "--check")])
    def test_pitfall_21_who_cannot_answer_has_not_said_that_there_are_none(
        self,
        dangling: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        answer: tuple[int, bytes],
        command: tuple[str, ...],
    ) -> None:
        before = contents(dangling)
        with engine(tmp_path / "socket", lambda *_: answer):
            # Its socket is there, so it is asked without being named.
            monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/socket")
            done = Command(dangling, tmp_path)(*command)
        assert (done.code, done.out) == (6, "")
        assert "docker" in done.err
        assert contents(dangling) == before
