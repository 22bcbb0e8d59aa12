"""Keeping a container: the layer holds exactly what was changed, and nothing else becomes another.

The layer of each kind of change was compared with docker's; `tests/interop` compares again.
"""

import base64
import contextlib
import json
import os
import socket
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ocitool.containers.committing import CommitOptions, Committed, commit_container
from ocitool.containers.records import Container
from ocitool.containers.writable.changes import Change
from ocitool.containers.writable.opening import Writable
from ocitool.errors import NotFound, Refused, StorageError
from ocitool.oci import Digest
from ocitool.operations.verify import verify
from ocitool.places.layout import Layout
from tests.containers.kept import (
    HISTORY,
    NAME,
    app,
    blob,
    container,
    documents,
    layer_members,
    needs_root,
    whiteout,
    written,
)
from tests.support.disk import small_disk
from tests.support.images import build_image
from tests.support.layouts import names_of, store

pytestmark = needs_root
EPOCH = 1_700_000_000
KEPT = "docker.io/library/kept:1"
V2 = base64.b64decode("AQAAAgAEAAAAAAAAAAAAAAAAAAA=")


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    with store(tmp_path / "s", app=app()) as layout:
        yield layout


def commit(layout: Layout, one: Container, *names: str, **options: Any) -> Committed:
    return commit_container(layout, one, names, CommitOptions(**{"epoch": EPOCH, **options}))


def layer(layout: Layout, done: Committed) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    assert done.layer is not None
    return layer_members(blob(layout, str(done.layer.digest)))


def summary(layout: Layout, done: Committed) -> dict[str, object]:
    """Return the members of the new layer in short: type, mode and owner, content or link."""
    return {
        name: (
            f"{one.type.decode()} {one.mode:o} {one.uid}:{one.gid}",
            content or one.linkname if one.type in b"012" else (one.devmajor, one.devminor),
        )
        for name, (one, content) in layer(layout, done).items()
    }


class TestTheLayer:
    def test_every_kind_of_change_is_a_member(self, layout: Layout) -> None:
        one = container(layout)
        upper = written(one)
        (upper / "etc").mkdir()
        (upper / "etc/motd").write_text("bye\n")
        os.chown(upper / "etc/motd", 5, 6)
        (upper / "set").write_text("x")
        (upper / "set").chmod(0o4755)
        os.link(upper / "set", upper / "zlink")
        (upper / "sym").symlink_to("/nowhere")
        os.mkfifo(upper / "fifo", 0o640)
        os.mknod(upper / "null", 0o20666, os.makedev(1, 3))
        (upper / "null").chmod(0o666)
        whiteout(upper / "gone")
        (upper / "old").mkdir(mode=0o750)
        os.setxattr(upper / "old", "trusted.overlay.opaque", b"y")
        (upper / "old/1").write_text("one")
        done = commit(layout, one)
        expected = {
            "etc": ("5 755 0:0", (0, 0)),
            "etc/motd": ("0 644 5:6", b"bye\n"),
            "fifo": ("6 640 0:0", (0, 0)),
            ".wh.gone": ("0 600 0:0", ""),
            "null": ("3 666 0:0", (1, 3)),
            "old": ("5 750 0:0", (0, 0)),
            "old/.wh..wh..opq": ("0 750 0:0", ""),
            "old/1": ("0 644 0:0", b"one"),
            "set": ("0 4755 0:0", b"x"),
            "sym": ("2 777 0:0", "/nowhere"),
            "zlink": ("1 4755 0:0", "set"),
        }
        # The order too: a folder, its marker, then what is in it.
        assert list(summary(layout, done).items()) == list(expected.items())
        assert done.letters == {"A": 5, "C": 4, "D": 2}

    def test_attributes_of_the_image_stay_and_those_of_the_machine_do_not(
        self, layout: Layout
    ) -> None:
        one = container(layout)
        file = written(one) / "file"
        file.write_text("x")
        os.setxattr(file, "user.note", b"kept")
        os.setxattr(file, "user.overlay.origin", b"not")
        os.setxattr(file, "security.capability", V2)
        found = layer(layout, commit(layout, one))["file"][0].pax_headers
        assert {key for key in found if "xattr" in key} == {
            "SCHILY.xattr.user.note",
            "SCHILY.xattr.security.capability",
        }

    def test_holes_become_zeros_and_sockets_are_left_out_and_counted(self, layout: Layout) -> None:
        one = container(layout)
        os.truncate(_touched(written(one) / "sparse"), 100_000)
        with socket.socket(socket.AF_UNIX) as listening, contextlib.chdir(written(one)):
            listening.bind("socket")
        done = commit(layout, one)
        assert done.left_out == 1
        assert layer(layout, done)["sparse"][1] == bytes(100_000)
        assert "socket" not in layer(layout, done)

    def test_names_that_are_long_or_not_text_are_kept(self, layout: Layout) -> None:
        one = container(layout)
        odd = os.fsdecode(b"odd\xff\n"), "n" * 255
        for name in odd:
            (written(one) / name).touch()
        assert set(layer(layout, commit(layout, one))) == set(odd)

    def test_a_copy_of_the_image_gives_a_layer_without_the_image(self, layout: Layout) -> None:
        one = container(layout, alone=True)
        root = written(one)
        (root / "etc/new").write_text("new")
        (root / "gone").unlink()
        (root / "old/in/2").unlink()
        (root / "old/in").rmdir()
        assert set(layer(layout, commit(layout, one))) == {
            "etc",
            "etc/new",
            ".wh.gone",
            "old",
            "old/.wh.in",
        }

    @pytest.mark.parametrize("alone", [False, True])
    def test_owners_that_a_rootless_container_cannot_see_are_those_of_the_image(
        self, layout: Layout, alone: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for place in ("creating", "writable.opening"):
            monkeypatch.setattr(f"ocitool.containers.{place}.is_root", lambda: False)
        one = container(layout, alone=alone)
        root = written(one)
        for folder in ("etc", "srv"):
            (root / folder).mkdir(exist_ok=True)
        (root / "etc/motd").write_text("bye\n")
        (root / "srv/new").write_text("new")
        found = summary(layout, commit(layout, one))
        assert found == {
            "etc": ("5 755 0:0", (0, 0)),
            "etc/motd": ("0 644 1000:100", b"bye\n"),
            "srv": ("5 755 1000:100", (0, 0)),
            "srv/new": ("0 644 0:0", b"new"),
        }


class TestTheImage:
    def test_equal_changes_make_an_equal_image_whenever_they_are_kept(self, layout: Layout) -> None:
        digests: set[Digest] = set()
        for name in ("one", "two"):
            one = container(layout, alone=name == "two") if name == "two" else container(layout)
            file = written(one) / "new"
            file.write_text("new")
            # Both are later than the epoch.
            os.utime(file, (EPOCH + len(digests) + 1,) * 2)
            digests.add(commit(layout, one).digest)
            _forget(layout, one)
        assert len(digests) == 1

    def test_only_what_is_about_the_new_layer_differs(self, layout: Layout) -> None:
        one = container(layout, command=("--fast", "x y"))
        (written(one) / "new").write_text("new")
        done = commit(layout, one, KEPT, author="me", message="why")
        manifest, config = documents(layout, done.digest)
        old_manifest, old_config = documents(layout, names_of(layout)[NAME])
        assert names_of(layout)[KEPT] == str(done.digest)
        assert manifest["layers"][:-1] == old_manifest["layers"]
        assert manifest["annotations"] == {
            "org.opencontainers.image.base.digest": names_of(layout)[NAME],
            "org.opencontainers.image.base.name": NAME,
        }
        entry = {
            "created": "2023-11-14T22:13:20Z",
            "created_by": "/bin/app --fast x y",
            "author": "me",
            "comment": "why",
        }
        diff_ids = config["rootfs"]["diff_ids"]
        assert diff_ids[:-1] == old_config["rootfs"]["diff_ids"]
        assert config == {
            **old_config,
            "created": "2023-11-14T22:13:20Z",
            "author": "me",
            "history": [*HISTORY, entry],
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        assert verify(layout).sound

    def test_a_container_that_changed_nothing_makes_no_layer(self, layout: Layout) -> None:
        done = commit(layout, container(layout))
        manifest, config = documents(layout, done.digest)
        assert done.layer is None
        assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) == 1
        assert config["history"][-1] == {
            "created": "2023-11-14T22:13:20Z",
            "created_by": "/bin/app -v",
            "empty_layer": True,
        }

    def test_a_docker_image_stays_one_and_has_no_annotations(self, tmp_path: Path) -> None:
        with store(tmp_path / "d", app=app(docker=True)) as layout:
            one = container(layout)
            (written(one) / "new").touch()
            done = commit(layout, one)
            manifest, _ = documents(layout, done.digest)
        assert "annotations" not in manifest
        assert manifest["layers"][-1]["mediaType"].endswith("docker.image.rootfs.diff.tar.gzip")

    def test_changes_set_the_configuration_and_run_options_only_if_asked(
        self, layout: Layout
    ) -> None:
        one = container(layout, command=("--fast",))
        _edit_config(one, lambda process: process["env"].extend(["HOSTNAME=h", "EXTRA=1"]))
        plain = documents(layout, commit(layout, one).digest)[1]["config"]
        assert (plain["Cmd"], plain["Env"]) == (["-v"], ["PATH=/bin", "LEVEL=info"])
        changes = ("LABEL c=d", "ENV LEVEL=$EXTRA")
        done = commit(layout, one, run_options=True, changes=changes)
        found = documents(layout, done.digest)[1]["config"]
        assert found == {
            **plain,
            "Cmd": ["--fast"],
            "Env": ["PATH=/bin", "LEVEL=1", "EXTRA=1"],
            "Labels": {"a": "b", "c": "d"},
        }

    def test_the_image_is_the_containers_own_whatever_its_name_means_now(
        self, layout: Layout
    ) -> None:
        one = container(layout)
        (written(one) / "new").touch()
        with store(Path(layout.path), app=build_image([{"other": b"1"}])):
            assert commit(layout, one).container.digest != names_of(layout)[NAME]
        manifest, _ = documents(layout, commit(layout, one).digest)
        assert len(manifest["layers"]) == 2


class TestWhatCannotBe:
    def test_what_vanishes_while_it_is_read_leaves_no_image(
        self, layout: Layout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = container(layout)
        (written(one) / "a").write_text("x")
        (written(one) / "b").write_text("x")
        before = _blobs(layout)

        original = Writable.changes

        def late(self: Writable) -> list[Change]:
            found = original(self)
            (written(one) / "b").unlink()
            return found

        monkeypatch.setattr(Writable, "changes", late)
        with pytest.raises(Refused, match="was removed while"):
            commit(layout, one, KEPT)
        assert _blobs(layout) == before
        assert KEPT not in names_of(layout)

    def test_several_commands_keep_one_container_at_once(self, layout: Layout) -> None:
        one = container(layout)
        (written(one) / "new").write_text("x")
        with ThreadPoolExecutor(4) as pool:
            keeping = [pool.submit(commit, layout, one, f"{KEPT}{n}") for n in range(4)]
        assert len({done.result().digest for done in keeping}) == 1
        assert {f"{KEPT}{n}" for n in range(4)} < set(names_of(layout))

    def test_an_image_whose_layer_is_lost_is_told(self, layout: Layout) -> None:
        one = container(layout)
        manifest, _ = documents(layout, one.manifest)
        digest = Digest.parse(manifest["layers"][0]["digest"])
        Path(layout.path, "blobs", digest.algorithm, digest.hex).unlink()
        with pytest.raises(NotFound, match="is missing from the store"):
            commit(layout, one)

    def test_a_full_disk_leaves_what_was_there(self, tmp_path: Path) -> None:
        with (
            small_disk(tmp_path / "disk", "4m") as disk,
            store(disk / "s", app=app()) as layout,
        ):
            one = container(layout)
            (written(one) / "large").write_bytes(os.urandom(2_500_000))
            before = _blobs(layout)
            with pytest.raises(StorageError, match="no space left"):
                commit(layout, one, KEPT)
            assert _blobs(layout) == before
            assert list(names_of(layout)) == [NAME]


def _touched(path: Path) -> Path:
    path.touch()
    return path


def _blobs(layout: Layout) -> set[str]:
    return {str(digest) for digest in layout.blob_digests()}


def _forget(layout: Layout, one: Container) -> None:
    from ocitool.containers.removing import remove_container

    remove_container(layout, one.name)


def _edit_config(one: Container, edit: Any) -> None:
    path = Path(one.bundle, "config.json")
    config = json.loads(path.read_bytes())
    edit(config["process"])
    path.write_text(json.dumps(config))
