"""inventory: what stores, layouts, registries and bundles say that they have."""

import random
from pathlib import Path

import pytest

from ocitool.bundles.inventory import base_of_have, encode_value, parse_have
from ocitool.bundles.mapping import Below
from ocitool.errors import NotFound, Refused
from ocitool.oci import Digest
from ocitool.operations.inventory import inventory_of_layout, inventory_of_registry
from ocitool.places.layout import Layout
from ocitool.places.registry import Registries
from tests.places.registry.pushes import options
from tests.support.images import Built, build_artifact, build_image, build_index, write_layout
from tests.support.layouts import store
from tests.support.registry import EmulatedRegistry, Quirks
from tests.support.registry_faults import Status
from tests.support.stores import Listener

BASE = {"base": random.Random(8).randbytes(3_000)}
ONE = build_image([BASE, {"one": b"1"}])
TWO = build_image([BASE, {"two": b"2"}])
BOTH = build_index([ONE, build_image([BASE, {"arm": b"3"}], platform="linux/arm64")])
SBOM = build_artifact(ONE.descriptor, b"an SBOM")
SIGNATURE = build_artifact(SBOM.descriptor, b"a signature of the SBOM")


def digests(*images: Built) -> list[str]:
    """Return the digests of all blobs of some images, sorted."""
    return sorted({str(digest) for image in images for digest in image.blobs})


class TestLayouts:
    def test_a_store_has_what_its_images_need(self, tmp_path: Path) -> None:
        with store(tmp_path / "store", two=TWO, both=BOTH) as layout:
            have = inventory_of_layout(layout)
        assert have.place == "store"
        assert list(have.blobs) == digests(TWO, BOTH)
        assert have.images == {
            "docker.io/library/both:1": str(BOTH.descriptor.digest),
            "docker.io/library/two:1": str(TWO.descriptor.digest),
        }
        assert have.repositories == {}

    def test_a_blob_that_is_not_there_is_not_listed(self, tmp_path: Path) -> None:
        arm = BOTH.images[1]
        path = write_layout(tmp_path / "layout", {"x/y:1": BOTH}, without=list(arm.blobs))
        with Layout.existing(str(path)) as layout:
            have = inventory_of_layout(layout)
        assert have.place == "layout"
        assert str(BOTH.descriptor.digest) in have.blobs
        # The base of the absent platform went with it; an image alone does not have its blobs.
        assert not set(have.blobs) & {str(digest) for digest in arm.blobs}

    def test_a_damaged_image_is_left_out_and_told(self, tmp_path: Path) -> None:
        listener = Listener()
        path = write_layout(tmp_path / "layout", {"x/a:1": ONE, "x/b:1": TWO})
        manifest = path / "blobs/sha256" / ONE.descriptor.digest.hex
        manifest.write_bytes(b"?" * ONE.descriptor.size)
        with Layout.existing(str(path)) as layout:
            have = inventory_of_layout(layout, observer=listener)
        assert list(have.blobs) == digests(TWO)
        assert list(have.images) == ["docker.io/x/b:1"]
        assert len(listener.warnings) == 1
        assert "x/a:1 is left out" in listener.warnings[0]

    def test_what_no_image_needs_is_listed_on_request(self, tmp_path: Path) -> None:
        stray = Digest.of(b"left behind")
        path = write_layout(tmp_path / "layout", {"x/a:1": ONE})
        (path / "blobs/sha256" / stray.hex).write_bytes(b"left behind")
        with Layout.existing(str(path)) as layout:
            assert str(stray) not in inventory_of_layout(layout).blobs
            assert str(stray) in inventory_of_layout(layout, unreferenced=True).blobs


class TestRegistries:
    def test_all_repositories_below_a_prefix_with_what_is_attached(self) -> None:
        with EmulatedRegistry() as registry, Registries(options()) as registries:
            registry.add_image("mirror/t/a", ONE, "1")
            for artifact in (SBOM, SIGNATURE):
                registry.add_image("mirror/t/a", artifact)
            registry.add_image("mirror/t/b", TWO, "2")
            registry.add_image("mirrored/c", BOTH, "3")
            have = inventory_of_registry(Below(domain=registry.host, path="mirror"), registries)
        assert (have.place, have.scope) == ("registry", f"{registry.host}/mirror")
        assert list(have.blobs) == digests(ONE, TWO, SBOM, SIGNATURE)
        there = {
            path: sorted(have.blobs[position] for position in positions)
            for path, positions in have.repositories.items()
        }
        assert there == {
            "mirror/t/a": digests(ONE, SBOM, SIGNATURE),
            "mirror/t/b": digests(TWO),
        }
        assert have.images == {
            f"{registry.host}/mirror/t/a:1": str(ONE.descriptor.digest),
            f"{registry.host}/mirror/t/b:2": str(TWO.descriptor.digest),
        }

    def test_only_manifests_are_read(self) -> None:
        with EmulatedRegistry() as registry, Registries(options()) as registries:
            registry.add_image("a", BOTH, "1")
            inventory_of_registry(Below(domain=registry.host), registries)
            assert registry.requests(pattern="/blobs/") == []
            assert {logged.method for logged in registry.requests()} == {"GET"}

    def test_without_a_catalog_repositories_are_named(self) -> None:
        with (
            EmulatedRegistry(Quirks(catalog=False)) as registry,
            Registries(options()) as registries,
        ):
            registry.add_image("mirror/t/a", ONE, "1")
            below = Below(domain=registry.host, path="mirror")
            with pytest.raises(Refused) as refused:
                inventory_of_registry(below, registries)
            assert "--repository" in str(refused.value.hint)
            have = inventory_of_registry(below, registries, repositories=["t/a"])
            assert list(have.repositories) == ["mirror/t/a"]
            with pytest.raises(NotFound):
                inventory_of_registry(below, registries, repositories=["t/b"])

    def test_nothing_below_the_prefix_is_an_error(self) -> None:
        with EmulatedRegistry() as registry, Registries(options()) as registries:
            registry.add_image("mirrored/a", ONE, "1")
            with pytest.raises(NotFound, match="below 'mirror'"):
                inventory_of_registry(Below(domain=registry.host, path="mirror"), registries)

    @pytest.mark.parametrize("path", ["", "mirror"])
    def test_a_registry_without_any_repository_has_nothing(self, path: str) -> None:
        listener = Listener()
        with EmulatedRegistry() as registry, Registries(options()) as registries:
            below = Below(domain=registry.host, path=path)
            have = inventory_of_registry(below, registries, observer=listener)
            assert (have.blobs, have.images, have.repositories) == ((), {}, {})
            assert have.scope == f"{registry.host}{'/' if path else ''}{path}"
        assert "lists no repository: the inventory is empty" in str(listener.warnings)

    def test_a_tag_whose_manifest_is_gone_is_left_out_and_told(self) -> None:
        listener = Listener()
        with EmulatedRegistry() as registry, Registries(options()) as registries:
            registry.add_image("a", ONE, "1")
            registry.add_image("a", TWO, "2")
            registry.fail("GET", "/manifests/2", Status(status=404))
            have = inventory_of_registry(Below(domain=registry.host), registries, observer=listener)
        assert list(have.blobs) == digests(ONE)
        assert len(listener.warnings) == 1

    def test_as_a_base_it_tells_which_repositories_hold_a_blob(self) -> None:
        """A7, A10."""
        with EmulatedRegistry() as registry, Registries(options()) as registries:
            registry.add_image("mirror/t/a", ONE, "1")
            registry.add_image("mirror/t/b", TWO, "2")
            have = inventory_of_registry(Below(domain=registry.host, path="mirror"), registries)
        base = base_of_have(parse_have(encode_value(have), "have.json"))
        host = registry.host
        assert base.repositories[ONE.layers[0].digest] == (
            f"{host}/mirror/t/a",
            f"{host}/mirror/t/b",
        )
        assert base.repositories[TWO.layers[1].digest] == (f"{host}/mirror/t/b",)


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    with (
        store(tmp_path / "one", a=ONE, b=TWO) as first,
        store(tmp_path / "two", b=TWO, a=ONE) as second,
    ):
        haves = [encode_value(inventory_of_layout(layout)) for layout in (first, second)]
    assert haves[0] == haves[1]
