"""Layers on top of images: from tars of all kinds and from folders, the same every time."""

import gzip
import hashlib
import io
import json
import os
import socket
import tarfile
from pathlib import Path

import pytest

from ocitool.errors import MalformedArchive, NotFound, Refused, UsageError
from ocitool.formats.tar import NotATar
from ocitool.image.graph import read_config, read_document
from ocitool.oci import Manifest
from ocitool.operations.edit.appending import Appending, append_layers
from ocitool.operations.edit.report import EditOptions, PlaceAccess
from ocitool.places.layout import Layout
from tests.support.images import (
    Built,
    HardLink,
    Symlink,
    build_image,
    build_index,
    compressed,
    tar_of,
    write_layout,
)

TAR = tar_of({"srv/": b"", "srv/a": b"hello", "srv/.wh.old": b""})


@pytest.fixture
def layout(tmp_path: Path) -> str:
    images: dict[str, Built] = {
        "1": build_image([{"a": b"1"}]),
        "zstd": build_image([{"a": b"1"}], compression="zstd"),
        "docker": build_image([{"a": b"1"}], docker=True),
        "idx": build_index([build_image(), build_image(platform="linux/arm64")]),
        "example.org/app:2": build_image([{"c": b"1"}]),
    }
    return f"oci:{write_layout(tmp_path / 'l', images)}"


class Appended:
    """An image with new layers: its documents, and the stored bytes of the last layer."""

    def __init__(self, layout: str, *layers: str | Path, tag: str = "1", **how: object) -> None:
        access = PlaceAccess(stdin=how.pop("stdin", None))  # type: ignore[arg-type]
        options = EditOptions(targets=(f"{layout}:new",), epoch=how.pop("epoch", None))  # type: ignore[arg-type]
        appending = Appending(**how)  # type: ignore[arg-type]
        texts = [str(one) for one in layers]
        self.report = append_layers(f"{layout}:{tag}", texts, appending, options, access)
        with Layout.existing(layout[4:]) as store:
            manifest = read_document(store, store.resolve("new").descriptor)
            assert isinstance(manifest, Manifest)
            self.manifest = manifest
            self.config = read_config(store, manifest)
            with store.open(manifest.layers[-1]) as blob:
                self.stored = blob.read_all(1 << 20)

    @property
    def members(self) -> dict[str, tarfile.TarInfo]:
        with tarfile.open(fileobj=io.BytesIO(self.stored)) as tar:
            return {member.name: member for member in tar}


class TestM6Tars:
    @pytest.mark.parametrize("compression", ["gzip", "zstd"])
    def test_a_compressed_layer_keeps_its_bytes(
        self, layout: str, tmp_path: Path, compression: str
    ) -> None:
        data = compressed(TAR, compression)  # type: ignore[arg-type]
        (tmp_path / "x").write_bytes(data)
        new = Appended(layout, tmp_path / "x")
        assert new.stored == data
        assert new.manifest.layers[-1].media_type.endswith(f"+{compression}")
        assert new.config.diff_ids[-1].hex == hashlib.sha256(TAR).hexdigest()

    @pytest.mark.parametrize("compression", ["none", "bzip2", "xz"])
    def test_other_tars_are_compressed_as_the_image_is(
        self, layout: str, tmp_path: Path, compression: str
    ) -> None:
        (tmp_path / "x").write_bytes(compressed(TAR, compression))  # type: ignore[arg-type]
        new = Appended(layout, tmp_path / "x")
        assert gzip.decompress(new.stored) == TAR
        assert new.config.diff_ids[-1].hex == hashlib.sha256(TAR).hexdigest()
        zstd = Appended(layout, tmp_path / "x", tag="zstd")
        assert zstd.stored.startswith(b"\x28\xb5\x2f\xfd")

    def test_several_layers_in_order_with_one_entry_each(self, layout: str, tmp_path: Path) -> None:
        for name in ("one.tar", "two.tar"):
            (tmp_path / name).write_bytes(tar_of({name: b"1"}))
        new = Appended(layout, tmp_path / "one.tar", tmp_path / "two.tar", message="why")
        assert [(one.created_by, one.comment) for one in new.config.history[1:]] == [
            ("ocitool append one.tar", "why"),
            ("ocitool append two.tar", "why"),
        ]
        assert len(new.manifest.layers) == len(new.config.diff_ids) == 3

    def test_standard_input(self, layout: str, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(TAR)
        descriptor = os.open(tmp_path / "x", os.O_RDONLY)
        try:
            new = Appended(layout, "-", stdin=descriptor)
        finally:
            os.close(descriptor)
        assert gzip.decompress(new.stored) == TAR
        assert new.config.history[-1].created_by == "ocitool append -"

    @pytest.mark.parametrize(
        "members",
        [
            {"../x": b""},
            {"a/../../x": b""},
            {"a": b"1", "b": HardLink("../etc/passwd")},
            {"a": b"1", "b": HardLink("/etc/passwd")},
        ],
    )
    def test_paths_that_lead_out_are_refused(
        self, layout: str, tmp_path: Path, members: dict[str, bytes]
    ) -> None:
        (tmp_path / "x").write_bytes(compressed(tar_of(members), "gzip"))
        with pytest.raises(MalformedArchive, match="leads out"):
            Appended(layout, tmp_path / "x")

    def test_an_absolute_path_is_refused_and_an_absolute_link_is_not(
        self, layout: str, tmp_path: Path
    ) -> None:
        (tmp_path / "x").write_bytes(tar_of({"/etc/x": b"1"}))
        with pytest.raises(MalformedArchive, match="leads out"):
            Appended(layout, tmp_path / "x")
        (tmp_path / "x").write_bytes(tar_of({"x": Symlink("/etc/passwd")}))
        assert Appended(layout, tmp_path / "x").members["x"].linkname == "/etc/passwd"

    def test_devices_only_if_they_are_allowed(self, layout: str, tmp_path: Path) -> None:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            device = tarfile.TarInfo("null")
            device.type, device.devmajor, device.devminor = tarfile.CHRTYPE, 1, 3
            tar.addfile(device)
        (tmp_path / "x").write_bytes(buffer.getvalue())
        with pytest.raises(MalformedArchive, match="character device"):
            Appended(layout, tmp_path / "x")
        new = Appended(layout, tmp_path / "x", devices=True)
        assert new.members["null"].ischr()

    def test_what_is_no_layer(self, layout: str, tmp_path: Path) -> None:
        for data, why in (
            (b"hello" * 500, "it does not begin with a tar header"),
            (b"{}", "it is shorter than one tar header"),
        ):
            (tmp_path / "x").write_bytes(data)
            with pytest.raises(NotATar) as caught:
                Appended(layout, tmp_path / "x")
            text = f"the layer '{tmp_path}/x' is not a tar archive: {why}"
            assert caught.value.message == text
            assert caught.value.hint == (
                "give a tar, plain or compressed, or a folder whose content is packed"
            )
        (tmp_path / "x").write_bytes(compressed(TAR, "gzip")[:-9])
        with pytest.raises(MalformedArchive):
            Appended(layout, tmp_path / "x")
        with pytest.raises(NotFound):
            Appended(layout, tmp_path / "none")


class TestM6Folders:
    def folder(self, path: Path, order: str = "ab") -> Path:
        (path / "sub").mkdir(parents=True)
        for name in order:
            (path / name).write_text(name)
            os.utime(path / name, (5, 1_500_000_000.5))
        os.chmod(path / "a", 0o4711)
        os.link(path / "a", path / "sub" / "hard")
        os.symlink("../a", path / "sub" / "soft")
        os.mkfifo(path / "pipe", 0o600)
        for name in ("pipe", "sub", "sub/soft"):
            os.utime(path / name, (5, 1_800_000_000), follow_symlinks=False)
        return path

    def test_the_same_files_give_the_same_layer(self, layout: str, tmp_path: Path) -> None:
        os.umask(os.umask(0o022))
        one = Appended(layout, self.folder(tmp_path / "one" / "x"), newest=1_700_000_000)
        two = Appended(layout, self.folder(tmp_path / "two" / "x", "ba"), newest=1_700_000_000)
        assert one.report.new == two.report.new

    def test_modes_times_links_and_owners(self, layout: str, tmp_path: Path) -> None:
        folder = self.folder(tmp_path / "x")
        new = Appended(layout, folder, newest=1_700_000_000, owner=(7, 8))
        members = new.members
        assert list(members) == ["a", "b", "pipe", "sub", "sub/hard", "sub/soft"]
        assert (members["a"].mode, members["a"].mtime) == (0o4711, 1_500_000_000)
        assert {(one.uid, one.gid) for one in members.values()} == {(7, 8)}
        assert members["sub"].mtime == 1_700_000_000
        assert (members["sub/hard"].islnk(), members["sub/hard"].linkname) == (True, "a")
        assert (members["sub/soft"].issym(), members["sub/soft"].linkname) == (True, "../a")
        assert members["pipe"].isfifo()
        assert new.config.history[-1].created_by == "ocitool append x"

    def test_a_socket_is_refused(self, layout: str, tmp_path: Path) -> None:
        (tmp_path / "x").mkdir()
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(tmp_path / "x" / "s"))
        with pytest.raises(Refused, match="socket"):
            Appended(layout, tmp_path / "x")

    def test_extended_attributes_are_kept(self, layout: str, tmp_path: Path) -> None:
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "f").write_text("f")
        try:
            os.setxattr(tmp_path / "x" / "f", "user.note", b"hi")
        except OSError:
            pytest.skip("this file system has no extended attributes")
        new = Appended(layout, tmp_path / "x")
        assert new.members["f"].pax_headers["SCHILY.xattr.user.note"] == "hi"


class TestM6Base:
    def test_what_was_named_is_noted(self, layout: str, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(TAR)
        new = Appended(layout, tmp_path / "x", tag="example.org/app:2", set_base=True)
        with Layout.existing(layout[4:]) as store:
            digest = store.resolve("example.org/app:2").descriptor.digest
        assert new.manifest.annotations == {
            "org.opencontainers.image.base.name": "example.org/app:2",
            "org.opencontainers.image.base.digest": str(digest),
        }

    def test_not_without_a_full_name_nor_in_dockers_format(
        self, layout: str, tmp_path: Path
    ) -> None:
        (tmp_path / "x").write_bytes(TAR)
        with pytest.raises(UsageError, match="full name"):
            Appended(layout, tmp_path / "x", tag="1", set_base=True)


def test_m13_each_image_of_an_index_gets_the_layer(layout: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(TAR)
    options = EditOptions(targets=(f"{layout}:new",))
    report = append_layers(f"{layout}:idx", [str(tmp_path / "x")], Appending(), options)
    assert [image.changed for image in report.images] == [True, True]
    with Layout.existing(layout[4:]) as store:
        index = read_document(store, store.resolve("new").descriptor)
        for child in json.loads(index.raw)["manifests"]:
            raw = (tmp_path / "l" / "blobs" / child["digest"].replace(":", "/")).read_bytes()
            assert len(json.loads(raw)["layers"]) == 2


def test_m3_a_docker_image_stays_one_unless_a_layer_is_zstd(layout: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(TAR)
    docker = "application/vnd.docker."
    new = Appended(layout, tmp_path / "x", tag="docker")
    kinds = {new.manifest.media_type, *(layer.media_type for layer in new.manifest.layers)}
    assert all(kind.startswith(docker) for kind in kinds)
    (tmp_path / "x").write_bytes(compressed(TAR, "zstd"))
    new = Appended(layout, tmp_path / "x", tag="docker")
    kinds = {new.manifest.media_type, *(layer.media_type for layer in new.manifest.layers)}
    assert not any(kind.startswith(docker) for kind in kinds)


def test_an_absent_foreign_layer_stays_listed(tmp_path: Path) -> None:
    foreign: dict[str, object] = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": f"sha256:{'5' * 64}",
        "size": 5,
        "urls": ["https://example.org/layer"],
    }
    own = build_image([{"a": b"1"}], docker=True)
    image = build_image(
        [{"a": b"1"}],
        docker=True,
        manifest={"layers": [foreign, own.layers[0].to_json()]},
        config={
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{'6' * 64}", str(own.diff_ids[0])],
            },
            "history": [{"created_by": "base"}, {"created_by": "own"}],
        },
    )
    place = f"oci:{write_layout(tmp_path / 'l', {'1': image})}"
    (tmp_path / "x").write_bytes(TAR)
    new = Appended(place, tmp_path / "x")
    assert json.loads(new.manifest.raw)["layers"][0] == foreign
    assert len(new.manifest.layers) == 3
