"""Bundles into registries: each blob is sent once, deltas are checked first, policies hold."""

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from ocitool.bundles.inventory import Base, base_of_have
from ocitool.bundles.mapping import Below
from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import OcitoolError, Refused
from ocitool.oci import Reference
from ocitool.operations.bundle.check import NotApplicable
from ocitool.operations.bundle.load import Loaded, load_into_registry
from ocitool.operations.bundle.registry_check import RegistryCheck, check_registry
from ocitool.operations.inventory import inventory_of_registry
from ocitool.operations.push_report import Ending, OnExisting
from tests.places.registry.pushes import whole
from tests.support.commands import started
from tests.support.images import Built, BuiltImage, build_artifact, build_image
from tests.support.made_bundles import connected, list_of, made, opened
from tests.support.registry import EmulatedRegistry, Quirks
from tests.support.registry_faults import Stall, Status

BASE = {"base": random.Random(22).randbytes(20_000)}
APPS = 8
WRITES = ("POST", "PUT", "PATCH", "DELETE")


def version(app: int, number: int) -> BuiltImage:
    """Return an image: the common base, and a layer of its own."""
    return build_image([BASE, {"code": b"%d %d" % (app, number) * 300}])


def name(app: int, number: int = 1) -> str:
    """Return the name of an image where it comes from."""
    return f"reg.example/t/app{app}:{number}"


FIRST: dict[str, Built] = {name(app): version(app, 1) for app in range(APPS)}
SECOND: dict[str, Built] = {name(app, 2): version(app, 2) for app in range(APPS)}
SBOM = build_artifact(FIRST[name(0)].descriptor, b"an SBOM")
SIGNATURE = build_artifact(SBOM.descriptor, b"a signature of the SBOM")
SHARED = version(0, 1).layers[0]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with full.tar and next.delta.tar."""
    folder = tmp_path_factory.mktemp("bundles")
    full = made(folder / "full.tar", FIRST, [SBOM, SIGNATURE])
    made(folder / "next.delta.tar", SECOND, base=[full])
    return folder


def load(bundle: Path, registry: EmulatedRegistry, prefix: str = "mirror", **how: object) -> Loaded:
    """Load a bundle below a prefix of a registry."""
    below = Below(domain=registry.host, path=prefix)
    with opened(bundle) as one, connected() as registries:
        return load_into_registry(one, below, registries, **how)  # type: ignore[arg-type]


def path_of(image: str) -> str:
    """Return the repository below "mirror" of the image of a name."""
    return f"mirror/{Reference.parse(image).path}"


def sent(registry: EmulatedRegistry) -> Counter[str]:
    """Return how often the content of each blob came to the registry."""
    puts = registry.requests("PUT", "/blobs/uploads/")
    return Counter(put.target.rpartition("digest=")[2].replace("%3A", ":") for put in puts)


def arrived(registry: EmulatedRegistry, images: dict[str, Built]) -> None:
    """Fail unless all images are in the repositories of their names, under their tags."""
    for text, image in images.items():
        reference = Reference.parse(text)
        assert registry.tags[path_of(text)][str(reference.tag)] == image.descriptor.digest
        assert whole(registry, image, path_of(text))


class TestA22:
    def test_a22_each_blob_is_sent_once_and_mounted_elsewhere(self, bundles: Path) -> None:
        with EmulatedRegistry() as registry:
            loaded = load(bundles / "full.tar", registry)
            arrived(registry, FIRST)
            assert whole(registry, SBOM, path_of(name(0)))
            assert whole(registry, SIGNATURE, path_of(name(0)))
            assert set(sent(registry).values()) == {1}
            blobs = list_of(bundles / "full.tar").blobs
            assert set(sent(registry)) == {b.digest for b in blobs if b.type != "document"}
            received = sum(r.received_bytes for r in registry.requests(pattern="/blobs/uploads/"))
            assert received == sum(b.size for b in blobs if b.type != "document")
            mounts = registry.requests("POST", "mount=")
            assert len(mounts) >= APPS - 1
        assert [report.ending for report in loaded.pushed] == [Ending.PUSHED] * APPS

    def test_a22_loading_it_again_is_at_most_2_requests_an_image(self, bundles: Path) -> None:
        with EmulatedRegistry() as registry:
            load(bundles / "full.tar", registry)
            registry.log.clear()
            loaded = load(bundles / "full.tar", registry)
            assert {logged.method for logged in registry.requests()} <= {"HEAD", "GET"}
            assert len(registry.requests()) <= 2 * APPS
        assert [report.ending for report in loaded.pushed] == [Ending.PRESENT] * APPS

    def test_a22_again_with_an_sbom_and_a_signature_it_is_2_requests(self, tmp_path: Path) -> None:
        image = version(0, 1)
        attached = [build_artifact(image.descriptor, text) for text in (b"an SBOM", b"signed")]
        bundle = made(tmp_path / "one.tar", {name(0): image}, attached)
        with EmulatedRegistry() as registry:
            load(bundle, registry)
            registry.log.clear()
            load(bundle, registry)
            asked = [
                (logged.method, logged.target.split("/")[-2]) for logged in registry.requests()
            ]
        assert asked == [("HEAD", "manifests"), ("GET", "referrers")]

    def test_a22_again_what_is_attached_to_an_sbom_costs_one_request_more(
        self, tmp_path: Path
    ) -> None:
        images = {name(0): FIRST[name(0)]}
        bundle = made(tmp_path / "one.tar", images, [SBOM, SIGNATURE])
        with EmulatedRegistry() as registry:
            load(bundle, registry)
            registry.log.clear()
            load(bundle, registry)
            assert [logged.method for logged in registry.requests()] == ["HEAD", "GET", "GET"]

    def test_a22_what_clients_list_is_asked_for_each(self, tmp_path: Path) -> None:
        # A list under a tag may name what was deleted since: it comes back.
        images = {name(0): FIRST[name(0)]}
        bundle = made(tmp_path / "one.tar", images, [SBOM])
        with EmulatedRegistry(Quirks(referrers="404")) as registry:
            load(bundle, registry)
            del registry.state.manifests[path_of(name(0))][SBOM.descriptor.digest]
            load(bundle, registry)
            assert whole(registry, SBOM, path_of(name(0)))

    def test_a22_loading_a_delta_again_is_at_most_2_requests_an_image(self, bundles: Path) -> None:
        with EmulatedRegistry() as registry:
            load(bundles / "full.tar", registry)
            load(bundles / "next.delta.tar", registry)
            registry.log.clear()
            load(bundles / "next.delta.tar", registry)
            assert {logged.method for logged in registry.requests()} <= {"HEAD", "GET"}
            assert len(registry.requests()) <= 2 * APPS

    @pytest.mark.parametrize("status", [202, 404, 405, 500])
    def test_a22_where_nothing_can_be_mounted_it_is_sent_to_each(
        self, bundles: Path, status: int
    ) -> None:
        with EmulatedRegistry(Quirks(mount_status=status)) as registry:
            load(bundles / "full.tar", registry)
            arrived(registry, FIRST)
            assert sent(registry)[str(SHARED.digest)] == APPS


class TestA8:
    def nothing_written(self, registry: EmulatedRegistry) -> None:
        """Fail if a request could have changed something, or begun to."""
        assert registry.requests() != []
        assert [r for r in registry.requests() if r.method in WRITES] == []
        assert all(not tags for tags in registry.tags.values())
        assert all(not blobs for blobs in registry.blobs.values())

    def test_a8_a_delta_without_its_base_writes_nothing(self, bundles: Path) -> None:
        with EmulatedRegistry() as registry:
            with pytest.raises(NotApplicable) as refused:
                load(bundles / "next.delta.tar", registry)
            self.nothing_written(registry)
        lacking = refused.value.report.lacking
        assert [one.digest for one in lacking] == [str(SHARED.digest)]
        assert set(lacking[0].images) == set(SECOND)

    def test_a8_check_and_dry_run_only_ask(self, bundles: Path) -> None:
        with EmulatedRegistry() as registry, connected() as registries:
            below = Below(domain=registry.host, path="mirror")
            with opened(bundles / "next.delta.tar") as one:
                report = check_registry(one, RegistryCheck(one, below, registries))
            assert not report.applies
            with pytest.raises(NotApplicable):
                load(bundles / "next.delta.tar", registry, dry_run=True)
            self.nothing_written(registry)

    def test_a8_a_dry_run_over_its_base_writes_nothing(self, bundles: Path) -> None:
        with EmulatedRegistry() as registry:
            load(bundles / "full.tar", registry)
            registry.log.clear()
            loaded = load(bundles / "next.delta.tar", registry, dry_run=True)
            assert [r for r in registry.requests() if r.method in WRITES] == []
        assert [report.ending for report in loaded.pushed] == [Ending.PLANNED] * APPS


class TestA10:
    def test_a10_over_its_base_only_what_is_new_is_sent(self, bundles: Path) -> None:
        with EmulatedRegistry() as registry:
            load(bundles / "full.tar", registry)
            registry.log.clear()
            load(bundles / "next.delta.tar", registry)
            arrived(registry, SECOND)
            assert set(sent(registry).values()) == {1}
            assert str(SHARED.digest) not in sent(registry)

    def test_a10_a_required_blob_is_mounted_from_where_the_list_says(self, tmp_path: Path) -> None:
        """The new image goes to a repository that is empty."""
        old, new = version(0, 1), version(0, 2)
        full = made(tmp_path / "full.tar", {"reg.example/t/old:1": old})
        images: dict[str, Built] = {"reg.example/t/new:1": new}
        # As the sender knows it: the old image is among those of the delta's base alone.
        known = base_of_repositories(old, "reg.example/t/old")
        delta = made(tmp_path / "d.delta.tar", images, base=[known])
        with EmulatedRegistry() as registry:
            load(full, registry)
            registry.log.clear()
            load(delta, registry)
            assert whole(registry, new, "mirror/t/new")
            assert str(SHARED.digest) not in sent(registry)
            mount = next(r.target for r in registry.requests("POST", str(SHARED.digest.hex)))
            assert "from=mirror%2Ft%2Fold" in mount or "from=mirror/t/old" in mount

    def test_a10_a_required_blob_is_mounted_from_where_an_inventory_found_it(
        self, tmp_path: Path
    ) -> None:
        """In a repository whose name has nothing to do with those of the bundle."""
        with EmulatedRegistry() as registry, connected() as registries:
            registry.add_image("other/place", version(0, 1), "1")
            have = inventory_of_registry(Below(domain=registry.host, path="other"), registries)
            delta = made(
                tmp_path / "d.delta.tar", {name(0, 2): version(0, 2)}, base=[base_of_have(have)]
            )
            assert list_of(delta).requires[0].from_ == (
                f"{registry.host}/other/place",
                "reg.example/t/app0",
            )
            load(delta, registry)
            assert whole(registry, version(0, 2), "mirror/t/app0")
            assert str(SHARED.digest) not in sent(registry)

    @pytest.mark.parametrize("status", [202, 404, 405, 500])
    def test_a10_what_cannot_be_mounted_is_copied_through_us(
        self, tmp_path: Path, status: int
    ) -> None:
        known = base_of_repositories(version(0, 1), "reg.example/t/old")
        delta = made(tmp_path / "d.delta.tar", {name(0, 2): version(0, 2)}, base=[known])
        with EmulatedRegistry(Quirks(mount_status=status)) as registry:
            registry.add_image("mirror/t/old", version(0, 1), "1")
            load(delta, registry)
            assert whole(registry, version(0, 2), "mirror/t/app0")
            reads = registry.requests("GET", f"/mirror/t/old/blobs/{SHARED.digest}")
            assert len(reads) == 1

    def test_a10_a_blob_that_only_the_list_promises_is_lacking(self, tmp_path: Path) -> None:
        """`from` names a repository that does not have it."""
        known = base_of_repositories(version(0, 1), "reg.example/t/old")
        delta = made(tmp_path / "d.delta.tar", {name(0, 2): version(0, 2)}, base=[known])
        with EmulatedRegistry() as registry:
            registry.add_image("mirror/t/old", build_image([{"x": b"y"}]), "1")
            with pytest.raises(NotApplicable):
                load(delta, registry)
            assert [r for r in registry.requests() if r.method in WRITES] == []


def base_of_repositories(image: BuiltImage, *repositories: str) -> Base:
    """Return a base that has the blobs of an image, in some repositories."""
    digests = frozenset(image.blobs)
    return Base(digests=digests, repositories=dict.fromkeys(digests, repositories))


class TestPolicies:
    def test_same_refuses_another_image_and_leaves_it(self, bundles: Path) -> None:
        with EmulatedRegistry() as registry:
            other = registry.add_image(path_of(name(0)), version(9, 9), "1")
            failed: list[tuple[Reference, OcitoolError]] = []
            load(bundles / "full.tar", registry, on_failure=lambda *one: failed.append(one))
            assert registry.tags[path_of(name(0))]["1"] == other.digest
            assert len(failed) == 1
            assert isinstance(failed[0][1], Refused)
            arrived(registry, {text: image for text, image in FIRST.items() if text != name(0)})

    def test_overwrite_and_skip(self, bundles: Path) -> None:
        with EmulatedRegistry() as registry:
            other = registry.add_image(path_of(name(0)), version(9, 9), "1")
            loaded = load(bundles / "full.tar", registry, on_existing=OnExisting.SKIP)
            assert registry.tags[path_of(name(0))]["1"] == other.digest
            assert [r.ending for r in loaded.pushed].count(Ending.SKIPPED) == 1
            load(bundles / "full.tar", registry, on_existing=OnExisting.OVERWRITE)
            arrived(registry, FIRST)

    def test_error_refuses_even_the_same(self, bundles: Path) -> None:
        with EmulatedRegistry() as registry:
            load(bundles / "full.tar", registry)
            failed: list[Reference] = []
            load(
                bundles / "full.tar",
                registry,
                on_existing=OnExisting.ERROR,
                on_failure=lambda reference, _: failed.append(reference),
            )
            assert len(failed) == APPS

    def test_immutable_tags_are_not_pushed_twice(self, bundles: Path) -> None:
        with EmulatedRegistry(Quirks(immutable_tags=True)) as registry:
            for _ in range(2):
                load(bundles / "full.tar", registry)
            arrived(registry, FIRST)


def test_a_load_that_broke_off_goes_on_where_it_was(bundles: Path) -> None:
    with EmulatedRegistry() as registry:
        registry.fail("PUT", "/app5/manifests/", Status(status=400))
        with pytest.raises(OcitoolError):
            load(bundles / "full.tar", registry)
        load(bundles / "full.tar", registry)
        arrived(registry, FIRST)
        assert set(sent(registry).values()) == {1}


@pytest.mark.parametrize("pattern", ["/blobs/uploads/", "/manifests/"])
def test_a16_a_load_that_was_killed_is_taken_up_again(
    bundles: Path, tmp_path: Path, pattern: str
) -> None:
    with EmulatedRegistry() as registry:
        registry.fail("PUT", pattern, Stall(seconds=30), after=3)
        words = ("bundle", "load", str(bundles / "full.tar"), "--to", f"{registry.host}/mirror")
        process = started(tmp_path / "store", *words)
        deadline = time.monotonic() + 60
        while len(registry.requests("PUT", pattern)) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        process.communicate()
        load(bundles / "full.tar", registry)
        arrived(registry, FIRST)
        # What was complete when it died is not sent again.
        assert sum(sent(registry).values()) <= len(sent(registry)) + DEFAULT_JOBS
