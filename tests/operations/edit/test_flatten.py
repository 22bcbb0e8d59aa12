"""All layers as one: the tree that a container sees, and the settings as they were."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from ocitool.editing.parts import ImageParts
from ocitool.errors import DigestMismatch, IntegrityError, OcitoolError
from ocitool.image.layers import unpacked
from ocitool.operations.edit.flattening import flatten_image
from ocitool.operations.edit.report import EditOptions, EditReport
from ocitool.places.layout import Layout
from tests.support.images import (
    CREATED,
    Built,
    Content,
    HardLink,
    Members,
    Symlink,
    blob_path,
    build_image,
    build_index,
    tar_of,
    whiteout,
    write_layout,
)

HARD: Content = HardLink("data/a")
FIRST: Members = {
    "data/": b"",
    "data/a": b"hello",
    "data/a.hard": HARD,
    "gone": b"1",
    "z": b"1",
}
SECOND: Members = {
    whiteout("data/a"): b"",
    whiteout("gone"): b"",
    "sub/": b"",
    "sub/new": b"2",
}
LINK: Content = Symlink("data/a.hard")
LAYERS: list[bytes | Members] = [FIRST, SECOND, {"z": b"replaced", "link": LINK}]
IMAGE = build_image(LAYERS, config={"config": {"Env": ["A=1"], "Labels": {"k": "v"}}})


def layer_tars(layout: Layout, parts: ImageParts) -> list[bytes]:
    """Return the tars of the layers."""
    found = []
    for layer, diff_id in zip(parts.manifest.layers, parts.config.diff_ids, strict=True):
        with layout.open(layer) as blob:
            found.append(b"".join(unpacked(blob, diff_id, stored=layer.digest)))
    return found


class Flat:
    """A flattened image: its documents, and the members of its only layer with their content."""

    def __init__(self, folder: Path, image: Built = IMAGE, **how: object) -> None:
        place = f"oci:{write_layout(folder, {'1': image})}"
        options = EditOptions(
            targets=(f"{place}:2",),
            epoch=how.pop("epoch", None),  # type: ignore[arg-type]
        )
        self.report: EditReport = flatten_image(f"{place}:1", options, **how)  # type: ignore[arg-type]
        with Layout.existing(str(folder)) as layout:
            self.parts = ImageParts.read(layout, layout.resolve("2").descriptor)
            (self.layer,) = self.parts.manifest.layers
            (tree,) = layer_tars(layout, self.parts)
        self.members: dict[str, tarfile.TarInfo] = {}
        self.content: dict[str, bytes] = {}
        with tarfile.open(fileobj=io.BytesIO(tree)) as tar:
            for member in tar:
                self.members[member.name] = member
                if member.isreg() or member.islnk():
                    file = tar.extractfile(member)
                    assert file is not None
                    self.content[member.name] = file.read()


class TestM8TheTree:
    def test_what_later_layers_deleted_and_replaced_is_gone(self, tmp_path: Path) -> None:
        flat = Flat(tmp_path / "l")
        assert flat.content == {"data/a.hard": b"hello", "sub/new": b"2", "z": b"replaced"}
        assert not [name for name in flat.members if ".wh." in name]
        assert flat.members["link"].linkname == "data/a.hard"

    def test_a_hard_link_whose_first_name_is_gone_is_a_file(self, tmp_path: Path) -> None:
        """crane flatten makes a tar of this that docker cannot load."""
        assert Flat(tmp_path / "l").members["data/a.hard"].isreg()

    def test_members_are_sorted_and_folders_come_first(self, tmp_path: Path) -> None:
        names = [name for name in Flat(tmp_path / "l").members if name != "."]
        assert names == sorted(names)

    def test_the_same_tree_gives_the_same_layer(self, tmp_path: Path) -> None:
        one = Flat(tmp_path / "one")
        merged: Members = [
            *(("sub/", b""), ("sub/new", b"2"), ("z", b"replaced"), ("link", LINK)),
        ]
        other = build_image([{"data/": b"", "data/a.hard": b"hello"}, merged])
        assert Flat(tmp_path / "two", other).layer.digest == one.layer.digest

    def test_owners_modes_times_and_attributes(self, tmp_path: Path) -> None:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
            member = tarfile.TarInfo("f")
            member.mode, member.uid, member.gid, member.mtime = 0o4750, 7, 2**31, 1_234_567_890
            member.pax_headers = {"SCHILY.xattr.user.note": "hi"}
            tar.addfile(member)
            device = tarfile.TarInfo("null")
            device.type, device.devmajor, device.devminor = tarfile.CHRTYPE, 1, 3
            tar.addfile(device)
        flat = Flat(tmp_path / "l", build_image([buffer.getvalue(), {"g": b"1"}]))
        found = flat.members["f"]
        assert (found.mode, found.uid, found.gid) == (0o4750, 7, 2**31)
        assert found.mtime == 1_234_567_890
        assert found.pax_headers["SCHILY.xattr.user.note"] == "hi"
        null = flat.members["null"]
        assert (null.ischr(), null.devmajor, null.devminor) == (True, 1, 3)

    def test_a_damaged_layer_ends_it(self, tmp_path: Path) -> None:
        place = write_layout(tmp_path / "l", {"1": IMAGE})
        data = gzip.compress(tar_of({"evil": b"1"}), mtime=0)
        size = IMAGE.layers[1].size
        (place / blob_path(IMAGE.layers[1])).write_bytes((data + bytes(size))[:size])
        with pytest.raises(OcitoolError) as caught:
            flatten_image(f"oci:{place}:1", EditOptions(targets=(f"oci:{place}:2",)))
        assert isinstance(caught.value, IntegrityError | DigestMismatch)


class TestM5M8Settings:
    def test_settings_stay_and_history_is_one_entry(self, tmp_path: Path) -> None:
        flat = Flat(tmp_path / "l")
        assert flat.parts.config.config.env == ("A=1",)
        assert flat.parts.config.config.labels == {"k": "v"}
        assert [(one.created_by, one.created) for one in flat.parts.config.history] == [
            (f"ocitool flatten {IMAGE.descriptor.digest}", CREATED)
        ]
        assert flat.parts.has_full_history

    def test_the_former_history_can_be_kept(self, tmp_path: Path) -> None:
        history = Flat(tmp_path / "l", keep_history=True).parts.config.history
        assert [one.empty_layer for one in history] == [True, True, True, False]

    def test_m1_a_time_that_is_given(self, tmp_path: Path) -> None:
        flat = Flat(tmp_path / "l", epoch="2001-01-01T00:00:00Z")
        assert flat.parts.config.created == "2001-01-01T00:00:00Z"

    def test_m3_a_docker_image_stays_one_unless_zstd(self, tmp_path: Path) -> None:
        docker = build_image(LAYERS, docker=True)
        assert "vnd.docker" in Flat(tmp_path / "l", docker).layer.media_type
        zstd = Flat(tmp_path / "m", docker, compression="zstd")
        assert "docker" not in zstd.parts.manifest.raw.decode()

    def test_m13_each_image_of_an_index(self, tmp_path: Path) -> None:
        images = [IMAGE, build_image([{"a": b"1"}, {"b": b"1"}], platform="linux/arm64")]
        place = f"oci:{write_layout(tmp_path / 'l', {'1': build_index(images)})}"
        report = flatten_image(f"{place}:1", EditOptions(targets=(f"{place}:2",)))
        assert len({one.new for one in report.images}) == 2
        assert all(one.changed for one in report.images)
