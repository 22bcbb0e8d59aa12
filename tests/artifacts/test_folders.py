"""Folders that come down: what a tar may do, and what it may not."""

import os
import tarfile
from pathlib import Path

import pytest

from ocitool.artifacts import conventions
from ocitool.errors import (
    DigestMismatch,
    IntegrityError,
    LimitExceeded,
    MalformedArchive,
    Refused,
)
from ocitool.oci import DEFAULT_LIMITS, Digest
from tests.artifacts.site import UNPACK, Site, add, add_folder, folder, link, member, targz
from tests.support.registry import EmulatedRegistry


class TestPullingFolders:
    def test_a_folder_joins_one_that_is_there(self, registry: EmulatedRegistry, site: Site) -> None:
        (site.out / "data").mkdir(parents=True)
        (site.out / "data" / "mine").write_text("mine")
        add_folder(registry, folder("data"), member("data/new", b"new"))
        site.pull()
        assert site.written() == {"data": "/", "data/mine": "mine", "data/new": "new"}

    def test_a_file_in_it_that_exists_stays_and_no_other_appears(
        self, registry: EmulatedRegistry, site: Site
    ) -> None:
        (site.out / "data").mkdir(parents=True)
        (site.out / "data" / "b").write_text("mine")
        add_folder(registry, folder("data"), member("data/a", b"a"), member("data/b", b"theirs"))
        with pytest.raises(Refused, match="already exists"):
            site.pull()
        assert site.written() == {"data": "/", "data/b": "mine"}
        site.pull(overwrite=True)
        assert site.written() == {"data": "/", "data/a": "a", "data/b": "theirs"}

    @pytest.mark.parametrize(
        "bad",
        [
            member("/etc/x", b"x"),
            member("data/../../x", b"x"),
            member("../x", b"x"),
            member("other/x", b"x"),
            member("dataset", b"x"),
            link("data/l", "/etc/passwd"),
            link("data/l", "../x"),
            link("data/l", "a/../../x"),
            link("data/l", ""),
            link("data/h", "/etc/passwd", tarfile.LNKTYPE),
            link("data/h", "../x", tarfile.LNKTYPE),
            link("data/h", "data/missing", tarfile.LNKTYPE),
            link("data/h", "data", tarfile.LNKTYPE),
            member("data/f", type=tarfile.FIFOTYPE),
            member("data/c", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
            member("data/b", type=tarfile.BLKTYPE),
            member("data/ok", b"twice"),
            member("data", b"a file"),
        ],
        ids=lambda bad: f"{bad[0].type!r} {bad[0].name} {bad[0].linkname}",
    )
    def test_a_member_that_could_do_harm_stops_it_with_nothing_written(
        self, registry: EmulatedRegistry, site: Site, bad: tuple[tarfile.TarInfo, bytes]
    ) -> None:
        add_folder(registry, folder("data"), member("data/ok", b"ok"), bad)
        with pytest.raises(IntegrityError):
            site.pull()
        assert site.written() == {}
        assert not (site.folder / "x").exists()

    def test_no_member_is_written_through_a_link(
        self, registry: EmulatedRegistry, site: Site
    ) -> None:
        add_folder(
            registry,
            folder("data"),
            folder("data/real"),
            link("data/l", "real"),
            member("data/l/x", b"x"),
        )
        with pytest.raises(IntegrityError, match="goes through a link"):
            site.pull()
        assert site.written() == {}

    def test_links_that_stay_inside_are_made(self, registry: EmulatedRegistry, site: Site) -> None:
        add_folder(
            registry,
            folder("data"),
            member("data/a", b"a"),
            folder("data/d"),
            link("data/d/up", "../a"),
            link("data/h", "data/a", tarfile.LNKTYPE),
        )
        site.pull()
        assert site.written()["data/d/up"] == "-> ../a"
        assert (site.out / "data/h").stat().st_ino == (site.out / "data/a").stat().st_ino

    def test_nobody_becomes_root_by_it(self, registry: EmulatedRegistry, site: Site) -> None:
        add_folder(registry, folder("data"), member("data/su", b"x", mode=0o6777))
        site.pull()
        assert (site.out / "data" / "su").stat().st_mode & 0o7000 == 0

    def test_the_digest_that_the_content_promises_is_verified(
        self, registry: EmulatedRegistry, site: Site
    ) -> None:
        said = {**UNPACK, conventions.CONTENT_DIGEST: str(Digest.of(b"another"))}
        blob = targz(folder("data"), member("data/a", b"a"))
        add(registry, ("data", blob, said), media_type=conventions.FOLDER_TYPE)
        with pytest.raises(DigestMismatch, match="promised"):
            site.pull()
        assert site.written() == {}

    @pytest.mark.parametrize("cut", [10, 40, -4])
    def test_a_tar_that_is_cut_is_refused(
        self, registry: EmulatedRegistry, site: Site, cut: int
    ) -> None:
        blob = targz(folder("data"), member("data/a", os.urandom(5000)))[:cut]
        add(registry, ("data", blob, UNPACK), media_type=conventions.FOLDER_TYPE)
        with pytest.raises(MalformedArchive):
            site.pull()
        assert site.written() == {}

    @pytest.mark.parametrize(
        ("name", "value"), [("extracted_entries", 3), ("extracted_bytes", 100)]
    )
    def test_folders_are_limited(
        self, registry: EmulatedRegistry, tmp_path: Path, name: str, value: int
    ) -> None:
        site = Site(registry.host, tmp_path, DEFAULT_LIMITS.with_limit(name, value))
        files = [member(f"data/{number}", b"x" * 40) for number in range(3)]
        add_folder(registry, folder("data"), *files)
        with site.registries, pytest.raises(LimitExceeded):
            site.pull()
        assert site.written() == {}

    def test_what_oras_py_packs_is_a_folder_without_being_called_one(
        self, registry: EmulatedRegistry, site: Site
    ) -> None:
        blob = targz(folder("data"), member("data/a", b"a"))
        add(registry, ("data", blob, {}), media_type=conventions.FOLDER_TYPE)
        site.pull()
        assert site.written() == {"data": "/", "data/a": "a"}

    @pytest.mark.parametrize(
        "blob", [targz(folder("chart"), member("chart/a", b"a")), b"no tar at all", b""]
    )
    def test_a_blob_of_that_type_that_is_no_folder_of_its_title_is_a_file(
        self, registry: EmulatedRegistry, site: Site, blob: bytes
    ) -> None:
        add(registry, ("chart-1.tgz", blob, {}), media_type=conventions.FOLDER_TYPE)
        (file,) = site.pull().files
        assert not file.is_folder
        assert (site.out / "chart-1.tgz").read_bytes() == blob

    def test_a_folder_of_a_title_with_folders_has_all_of_it_in_its_members(
        self, registry: EmulatedRegistry, site: Site
    ) -> None:
        blob = targz(folder("x/data"), member("x/data/a", b"a"))
        add(registry, ("x/data", blob, UNPACK), media_type=conventions.FOLDER_TYPE)
        site.pull()
        assert site.written() == {"x": "/", "x/data": "/", "x/data/a": "a"}

    def test_a_folder_of_such_a_title_may_have_the_end_of_it_in_its_members(
        self, registry: EmulatedRegistry, site: Site
    ) -> None:
        blob = targz(folder("data"), member("data/a", b"a"))
        add(registry, ("x/data", blob, UNPACK), media_type=conventions.FOLDER_TYPE)
        site.pull()
        assert site.written() == {"x": "/", "x/data": "/", "x/data/a": "a"}

    def test_the_folder_dot_goes_into_the_destination_itself(
        self, registry: EmulatedRegistry, site: Site
    ) -> None:
        blob = targz(folder("."), member("a", b"a"), member("b/c", b"c"))
        add(registry, (".", blob, UNPACK), media_type=conventions.FOLDER_TYPE)
        site.pull()
        assert site.written() == {"a": "a", "b": "/", "b/c": "c"}
