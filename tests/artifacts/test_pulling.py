"""Files that come down: titles, what is there already, all or nothing."""

import json

import pytest

from ocitool.errors import (
    DigestMismatch,
    IntegrityError,
    NotFound,
    Refused,
    UsageError,
)
from ocitool.oci import Digest
from ocitool.oci.mediatype import OCI_EMPTY, OCI_INDEX
from tests.artifacts.site import REPOSITORY, Site, add, tree
from tests.support.images import build_image
from tests.support.registry import EmulatedRegistry


class TestPullingFiles:
    def test_a_title_may_have_folders(self, registry: EmulatedRegistry, site: Site) -> None:
        add(registry, ("a/b/c.txt", b"c", {}), ("./a/d.txt", b"d", {}))
        site.pull()
        assert site.written() == {"a": "/", "a/b": "/", "a/b/c.txt": "c", "a/d.txt": "d"}

    @pytest.mark.parametrize(
        "title",
        [
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a/..",
            "..",
            ".",
            "/",
            "a\0b",
            "x" * 256,
            "d/" * 101 + "x",
            ("y" * 200 + "/") * 21 + "y",
        ],
    )
    def test_a_title_that_is_no_path_below_is_refused_with_nothing_written(
        self, registry: EmulatedRegistry, site: Site, title: str
    ) -> None:
        add(registry, ("good", b"good", {}), (title, b"bad", {}))
        with pytest.raises(IntegrityError):
            site.pull()
        assert not site.out.exists()
        assert not [one for one in registry.log if "/blobs/" in one.target]

    @pytest.mark.parametrize(
        "titles", [("a", "a"), ("a", "./a"), ("a", "a/b"), ("b/c/d", "b"), ("x", "a", "x//")]
    )
    def test_titles_that_meet_are_refused(
        self, registry: EmulatedRegistry, site: Site, titles: tuple[str, ...]
    ) -> None:
        add(registry, *((title, b"x", {}) for title in titles))
        with pytest.raises(IntegrityError, match="not both can exist"):
            site.pull()
        assert not site.out.exists()

    def test_a_link_in_the_destination_is_not_followed(
        self, registry: EmulatedRegistry, site: Site
    ) -> None:
        outside = site.folder / "outside"
        outside.mkdir()
        site.out.mkdir()
        (site.out / "a").symlink_to(outside)
        add(registry, ("a/evil", b"x", {}))
        with pytest.raises(Refused, match="a link is there"):
            site.pull(overwrite=True)
        assert list(outside.iterdir()) == []
        assert tree(site.out) == {"a": f"-> {outside}"}

    def test_a_link_that_is_overwritten_is_replaced_and_its_target_stays(
        self, registry: EmulatedRegistry, site: Site
    ) -> None:
        outside = site.folder / "outside"
        outside.write_text("mine")
        site.out.mkdir()
        (site.out / "a").symlink_to(outside)
        add(registry, ("a", b"new", {}))
        site.pull(overwrite=True)
        assert site.written() == {"a": "new"}
        assert outside.read_text() == "mine"

    def test_a_file_that_exists_stays_and_nothing_is_fetched(
        self, registry: EmulatedRegistry, site: Site
    ) -> None:
        site.out.mkdir()
        (site.out / "b").write_text("mine")
        add(registry, ("a", b"a", {}), ("b", b"theirs", {}))
        with pytest.raises(Refused, match="already exists"):
            site.pull()
        assert site.written() == {"b": "mine"}
        assert not [one for one in registry.log if "/blobs/" in one.target]

    def test_overwrite_replaces_it(self, registry: EmulatedRegistry, site: Site) -> None:
        site.out.mkdir()
        (site.out / "b").write_text("mine")
        add(registry, ("b", b"theirs", {}))
        site.pull(overwrite=True)
        assert site.written() == {"b": "theirs"}

    def test_overwrite_never_removes_a_folder(self, registry: EmulatedRegistry, site: Site) -> None:
        (site.out / "b").mkdir(parents=True)
        (site.out / "b" / "mine").write_text("mine")
        add(registry, ("a", b"a", {}), ("b", b"theirs", {}))
        with pytest.raises(Refused, match="a folder is there"):
            site.pull(overwrite=True)
        assert site.written() == {"b": "/", "b/mine": "mine"}

    def test_one_damaged_file_and_none_appears(
        self, registry: EmulatedRegistry, site: Site
    ) -> None:
        add(registry, ("a", b"good", {}), ("b", b"promised", {}))
        registry.state.blobs[REPOSITORY][Digest.of(b"promised")] = b"PROMISED"
        with pytest.raises(DigestMismatch):
            site.pull()
        assert site.written() == {}

    def test_a_layer_without_a_title_goes_by_its_digest(
        self, registry: EmulatedRegistry, site: Site
    ) -> None:
        add(registry, (None, b"nameless", {}))
        site.pull()
        assert site.written() == {str(Digest.of(b"nameless")): "nameless"}

    def test_a_title_that_is_the_folder_itself_is_no_file(
        self, registry: EmulatedRegistry, site: Site
    ) -> None:
        add(registry, ("./", b"x", {}))
        with pytest.raises(IntegrityError, match="does not name a file"):
            site.pull()

    def test_the_empty_layer_is_no_file(self, registry: EmulatedRegistry, site: Site) -> None:
        add(registry, (None, b"{}", {}), media_type=OCI_EMPTY)
        assert site.pull().files == ()

    def test_an_image_is_not_pulled_as_files(self, registry: EmulatedRegistry, site: Site) -> None:
        registry.add_image(REPOSITORY, build_image([{"a": b"a"}]), "1")
        with pytest.raises(Refused, match="is an image"):
            site.pull()

    def test_an_index_is_not_pulled_as_files(self, registry: EmulatedRegistry, site: Site) -> None:
        raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()
        registry.add_manifest(REPOSITORY, raw, OCI_INDEX, "1")
        with pytest.raises(UsageError, match="is an index"):
            site.pull()

    def test_what_is_not_there_is_not_found(self, site: Site) -> None:
        with pytest.raises(NotFound):
            site.pull("missing")
        assert not site.out.exists()
