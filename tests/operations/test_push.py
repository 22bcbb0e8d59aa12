"""push: from any place into registries, with as few questions and bytes as there can be."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ocitool
from ocitool.errors import (
    AccessDenied,
    DigestMismatch,
    NotFound,
    OcitoolError,
    Refused,
    Unavailable,
    UsageError,
)
from ocitool.events import Outcome
from ocitool.oci import Digest, Platform, Reference
from ocitool.operations.push import push
from ocitool.operations.push_report import Ending, OnExisting, PushReport
from ocitool.places.archive import open_archive
from ocitool.places.registry import Registries
from ocitool.transfer.pipeline import TransferOptions
from tests.places.registry.pushes import (
    NAME,
    UPLOADS,
    Losing,
    Shelf,
    methods,
    options,
    outcomes,
    received,
    reference,
    shelf,
    whole,
)
from tests.support.docker_registry import running_registry
from tests.support.fault_proxy import FaultProxy, TcpFault
from tests.support.http_exchange import Exchange
from tests.support.images import (
    BuiltImage,
    build_artifact,
    build_image,
    build_index,
    docker_archive,
    oci_archive,
)
from tests.support.registry import Access, EmulatedRegistry, Quirks
from tests.support.registry_faults import Delay, Drop, HangUp, Stall, Status
from tests.support.registry_state import error_body
from tests.support.stores import Listener

BASE = {"base": random.Random(5).randbytes(200_000)}
IMAGE = build_image([BASE, {"a": b"1"}])
SIBLING = build_image([BASE, {"a": b"2"}], platform="linux/arm64")
INDEX = build_index([IMAGE, SIBLING], attested=True)
PATTERN = f"{UPLOADS}."


def blob_bytes(built: BuiltImage) -> int:
    """Return how many bytes the blobs of an image have."""
    return sum(d.size for d in (built.config, *built.layers))


class TestQuestions:
    def test_a_first_push_asks_once_for_each_blob_and_sends_it_once(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            report = shop.push(IMAGE, reference(registry))[0]
            assert outcomes(report) == {"uploaded": 4}
            assert len(registry.requests("HEAD", "/blobs/")) == 3
            assert len(registry.requests("HEAD", "/manifests/")) == 2
            assert received(registry) == blob_bytes(IMAGE)

    def test_a_second_push_is_one_question(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            shop.push(INDEX, reference(registry))
            registry.log.clear()
            report = shop.push(INDEX, reference(registry))[0]
            assert methods(registry) == ["HEAD"]
            assert report.ending is Ending.PRESENT
            assert set(outcomes(report)) == {"existed"}

    def test_another_tag_of_the_same_image_is_two_questions_and_one_put(
        self, tmp_path: Path
    ) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            shop.push(INDEX, reference(registry))
            registry.log.clear()
            shop.push(INDEX, reference(registry, "2"))
            assert methods(registry) == ["HEAD", "HEAD", "PUT"]
            assert registry.tags[NAME] == dict.fromkeys("12", INDEX.descriptor.digest)

    def test_a_child_that_is_there_is_not_asked_for_its_blobs(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            shop.push(IMAGE, reference(registry))
            registry.log.clear()
            shop.push(INDEX, reference(registry, "2"))
            asked = [logged.target for logged in registry.requests("HEAD", "/blobs/")]
            assert not any(str(layer.digest) in " ".join(asked) for layer in IMAGE.layers)
            assert whole(registry, INDEX)

    def test_a_push_that_failed_goes_on_where_it_was(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            registry.fail("PUT", "/manifests/", Status(status=400))
            with pytest.raises(OcitoolError):
                shop.push(IMAGE, reference(registry))
            shop.push(IMAGE, reference(registry))
            assert received(registry) == blob_bytes(IMAGE)
            assert whole(registry, IMAGE)

    @pytest.mark.parametrize("seed", range(5))
    def test_no_byte_that_the_registry_has_is_sent_twice(self, tmp_path: Path, seed: int) -> None:
        choice = random.Random(seed)
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            for _ in range(4):
                fault = choice.choice((HangUp(processed=True), Drop(after=0, of="sent")))
                registry.fail("PUT", PATTERN, fault, after=choice.randrange(3))
            shop.push(INDEX, reference(registry))
            assert whole(registry, INDEX)
            assert received(registry) == sum(len(b) for b in registry.blobs[NAME].values())


class TestCuts:
    @pytest.mark.parametrize("seed", range(6))
    def test_a_push_survives_cuts_at_any_byte(self, tmp_path: Path, seed: int) -> None:
        self._push(tmp_path, seed)

    @pytest.mark.soak
    @pytest.mark.parametrize("seed", range(6, 200))
    def test_a_push_survives_many_cuts_at_any_byte(self, tmp_path: Path, seed: int) -> None:
        self._push(tmp_path, seed)

    def _push(self, folder: Path, seed: int) -> None:
        choice = random.Random(seed)
        faults = [
            TcpFault(
                action=choice.choice(("close", "reset")),
                direction=choice.choice(("up", "down")),
                after=int(10 ** choice.uniform(0, 5.5)),
            )
            for _ in range(4)
        ]
        with (
            EmulatedRegistry() as registry,
            FaultProxy(registry.host, *faults) as proxy,
            shelf(folder) as shop,
        ):
            report = shop.push(INDEX, f"{proxy.host}/{NAME}:1", jobs=3)[0]
            assert report.ending is Ending.PUSHED
            assert whole(registry, INDEX)
            assert registry.tags[NAME] == {"1": INDEX.descriptor.digest}
            for digest, data in registry.blobs[NAME].items():
                arrived = registry.requests("PUT", str(digest).replace(":", "%3A"))
                assert sum(one.received_bytes == len(data) for one in arrived) == 1


class TestOnExisting:
    def pushed(
        self, shop: Shelf, registry: EmulatedRegistry, policy: str, image: BuiltImage
    ) -> PushReport:
        report: PushReport = shop.push(image, reference(registry), on_existing=OnExisting(policy))[
            0
        ]
        return report

    @pytest.mark.parametrize("policy", list(OnExisting))
    def test_where_nothing_exists_every_policy_pushes(self, tmp_path: Path, policy: str) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            assert self.pushed(shop, registry, policy, IMAGE).ending is Ending.PUSHED

    @pytest.mark.parametrize("policy", ["overwrite", "same", "skip"])
    def test_the_same_image_is_there_already(self, tmp_path: Path, policy: str) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            self.pushed(shop, registry, "overwrite", IMAGE)
            assert self.pushed(shop, registry, policy, IMAGE).ending is Ending.PRESENT

    def test_overwrite_moves_the_tag_and_says_from_where(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            self.pushed(shop, registry, "overwrite", IMAGE)
            report = self.pushed(shop, registry, "overwrite", SIBLING)
            assert report.moved_from == IMAGE.descriptor.digest
            assert registry.tags[NAME] == {"1": SIBLING.descriptor.digest}

    @pytest.mark.parametrize("policy", ["same", "error"])
    def test_another_image_is_refused_before_anything_is_sent(
        self, tmp_path: Path, policy: str
    ) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            self.pushed(shop, registry, "overwrite", IMAGE)
            registry.log.clear()
            with pytest.raises(Refused, match=str(IMAGE.descriptor.digest)) as caught:
                self.pushed(shop, registry, policy, SIBLING)
            assert "--on-existing" in (caught.value.hint or "")
            assert methods(registry) == ["HEAD"]

    def test_error_refuses_the_same_image_too(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            self.pushed(shop, registry, "overwrite", IMAGE)
            with pytest.raises(Refused, match="exists already"):
                self.pushed(shop, registry, "error", IMAGE)

    def test_skip_leaves_another_image_alone(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            self.pushed(shop, registry, "overwrite", IMAGE)
            report = self.pushed(shop, registry, "skip", SIBLING)
            assert report.ending is Ending.SKIPPED
            assert report.digest == IMAGE.descriptor.digest
            assert report.pinned.endswith(f"@{IMAGE.descriptor.digest}")
            assert registry.tags[NAME] == {"1": IMAGE.descriptor.digest}

    def test_what_may_not_be_looked_at_is_an_error_and_not_absent(self, tmp_path: Path) -> None:
        with (
            EmulatedRegistry(Quirks(access=Access(scheme="basic"))) as registry,
            shelf(tmp_path, username="user", password="wrong") as shop,
            pytest.raises(AccessDenied),
        ):
            self.pushed(shop, registry, "same", IMAGE)


class TestDestinations:
    def test_each_destination_gets_all_and_the_second_by_mounts(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            reports = shop.push(IMAGE, reference(registry), reference(registry, name="second/app"))
            assert [str(report.destination.path) for report in reports] == [NAME, "second/app"]
            assert outcomes(reports[1]) == {"mounted": 3, "uploaded": 1}
            assert whole(registry, IMAGE, "second/app")
            assert received(registry) == blob_bytes(IMAGE)

    def test_without_any_the_names_of_the_image_are_the_destinations(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            shop.add(IMAGE, f"{registry.host}/{NAME}:1", f"{registry.host}/{NAME}:2")
            shop.push(IMAGE)
            assert set(registry.tags[NAME]) == {"1", "2"}

    def test_an_image_without_a_name_needs_a_destination(self, tmp_path: Path) -> None:
        with shelf(tmp_path) as shop, pytest.raises(UsageError) as caught:
            shop.push(IMAGE)
        assert "name a destination" in (caught.value.hint or "")

    def test_a_destination_with_the_digest_of_another_image_is_refused(
        self, tmp_path: Path
    ) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            with pytest.raises(Refused, match="another image"):
                shop.push(IMAGE, f"{registry.host}/{NAME}:1@{SIBLING.descriptor.digest}")
            assert not registry.log

    def test_one_that_fails_ends_everything(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            registry.fail("POST", NAME, Status(status=403), times=9)
            with pytest.raises(AccessDenied):
                shop.push(IMAGE, reference(registry), reference(registry, name="second/app"))
            assert not registry.tags

    def test_a_failure_does_not_wait_for_blobs_that_stand_still(self, tmp_path: Path) -> None:
        """Their uploads are given up, and the next destination is pushed to all the same."""
        heard: list[OcitoolError] = []
        refused, stalled = (str(layer.digest).replace(":", "%3A") for layer in IMAGE.layers)
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            registry.fail("PUT", refused, Status(status=403))
            registry.fail("PUT", stalled, Delay(30))
            shop.add(IMAGE)
            began = time.monotonic()
            push(
                shop.layout,
                shop.layout.roots(),
                [reference(registry), reference(registry, name="second/app")],
                shop.registries,
                on_failure=lambda _, error: heard.append(error),
            )
            assert time.monotonic() - began < 5
            # The configuration may have been on its way, too, or not yet.
            assert len(registry.requests("DELETE", NAME)) in (2, 3)
            assert "answered 403" in heard[0].message
            assert whole(registry, IMAGE, "second/app")

    def test_others_go_on_when_somebody_hears_of_the_failure(self, tmp_path: Path) -> None:
        heard: list[tuple[Reference, OcitoolError]] = []
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            registry.fail("POST", NAME, Status(status=403), times=9)
            shop.add(IMAGE)
            reports = push(
                shop.layout,
                shop.layout.roots(),
                [reference(registry), reference(registry, name="second/app")],
                shop.registries,
                on_failure=lambda destination, error: heard.append((destination, error)),
            )
            assert [report.destination.path for report in reports] == ["second/app"]
            assert whole(registry, IMAGE, "second/app")
            assert [destination.path for destination, _ in heard] == [NAME]
            # What never arrived there cannot be mounted from there.
            assert not registry.requests("POST", "mount=")


class TestMount:
    def test_what_another_image_of_the_store_shares_is_mounted(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            registry.add_image("base/image", IMAGE, "1")
            shop.add(IMAGE, f"{registry.host}/base/image:1")
            report = shop.push(SIBLING, reference(registry))[0]
            by_digest = {m.descriptor.digest: m.outcome for m in report.transfer.blobs}
            assert by_digest[IMAGE.layers[0].digest] is Outcome.MOUNTED
            assert len(registry.requests("POST", "mount=")) == 1

    def test_another_image_that_is_damaged_is_no_obstacle(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            shop.add(IMAGE, f"{registry.host}/base/image:1")
            _damage(tmp_path, IMAGE.descriptor.digest)
            shop.push(SIBLING, reference(registry))
            assert whole(registry, SIBLING)


def _damage(folder: Path, digest: Digest) -> None:
    path = folder / "shelf" / "blobs" / digest.algorithm / digest.hex
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(b"[" + data[1:])


class TestSources:
    def test_an_oci_archive_goes_up_as_it_is(self, tmp_path: Path) -> None:
        file = tmp_path / "image.tar"
        file.write_bytes(oci_archive({"1": INDEX}))
        with EmulatedRegistry() as registry:
            _push_file(file, reference(registry))
            assert whole(registry, INDEX)

    def test_plain_layers_of_an_old_docker_archive_are_compressed(self, tmp_path: Path) -> None:
        file = tmp_path / "image.tar"
        file.write_bytes(docker_archive({"app:1": IMAGE}))
        with EmulatedRegistry() as registry:
            first = _push_file(file, reference(registry))
            document = registry.manifests[NAME][first.image.digest].fields
            layers = document["layers"]
            assert isinstance(layers, list)
            assert all(layer["mediaType"].endswith("gzip") for layer in layers)
            assert first.conversions
            again = _push_file(file, reference(registry))
            assert again.ending is Ending.PRESENT
            assert again.image.digest == first.image.digest
            assert len(registry.requests("POST")) == 3

    def test_layers_that_are_compressed_on_the_way_count_as_sent(self, tmp_path: Path) -> None:
        file = tmp_path / "image.tar"
        file.write_bytes(docker_archive({"app:1": IMAGE}))
        with EmulatedRegistry() as registry:
            assert outcomes(_push_file(file, reference(registry))) == {"uploaded": 4}

    def test_an_archives_layer_that_the_registry_loses_is_sent_again(self, tmp_path: Path) -> None:
        file = tmp_path / "image.tar"
        file.write_bytes(docker_archive({"app:1": IMAGE}))
        with Losing() as registry:
            pushed = _push_file(file, reference(registry))
            assert registry.tags[NAME] == {"1": pushed.image.digest}
            assert len(registry.lost) == 1
            assert registry.lost.keys() <= registry.blobs[NAME].keys()

    def test_some_platforms_of_an_index_make_a_smaller_one(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            report = shop.push(
                INDEX, reference(registry), platforms=(Platform.parse("linux/arm64"),)
            )[0]
            assert report.image.digest != INDEX.descriptor.digest
            assert whole(registry, SIBLING)
            assert not whole(registry, IMAGE)

    def test_what_is_attached_goes_along_when_asked(self, tmp_path: Path) -> None:
        signature = build_artifact(IMAGE.descriptor)
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            shop.add(signature)
            assert shop.push(IMAGE, reference(registry))[0].attached == 0
            assert not whole(registry, signature)
            assert shop.push(IMAGE, reference(registry), attached=True)[0].attached == 1
            assert whole(registry, signature)

    def test_an_image_that_is_there_is_not_tagged_again_for_what_is_attached(
        self, tmp_path: Path
    ) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            shop.push(IMAGE, reference(registry))
            shop.add(build_artifact(IMAGE.descriptor))
            shop.push(IMAGE, reference(registry), attached=True)
            assert len(registry.requests("PUT", "/manifests/1$")) == 1

    def test_a_damaged_blob_of_the_store_never_becomes_an_image(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            shop.add(IMAGE)
            _damage(tmp_path, IMAGE.layers[0].digest)
            with pytest.raises(DigestMismatch):
                shop.push(IMAGE, reference(registry))
            assert not registry.tags
            assert registry.requests("DELETE", PATTERN)


def _push_file(file: Path, destination: Reference) -> PushReport:
    with open_archive(str(file)) as source, Registries(options(), environment={}) as registries:
        return push(source, source.roots(), [destination], registries)[0]


def _copy(
    source: EmulatedRegistry, target: Reference, tmp_path: Path, name: str = NAME, tag: str = "1"
) -> PushReport:
    """Copy an image from registry to registry."""
    from ocitool.images.locations import parse_place
    from ocitool.images.opening import open_source

    place = parse_place(f"docker://{source.host}/{name}:{tag}")
    with (
        Registries(options(), environment={}) as registries,
        open_source(
            place, store="", stdin=0, scratch=str(tmp_path), registries=registries
        ) as opened,
    ):
        chosen = TransferOptions(scratch=str(tmp_path))
        return push(opened.source, opened.roots, [target], registries, chosen)[0]


class TestFromRegistry:
    def test_an_index_goes_from_registry_to_registry_unchanged(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as source, EmulatedRegistry() as target:
            source.add_image(NAME, INDEX, "1")
            report = _copy(source, reference(target), tmp_path)
            assert report.image.digest == INDEX.descriptor.digest
            assert whole(target, INDEX)
            assert os.listdir(tmp_path) == []

    def test_within_one_registry_every_blob_is_mounted(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image("from/here", INDEX, "1")
            report = _copy(registry, reference(registry), tmp_path, "from/here")
            assert whole(registry, INDEX)
            assert received(registry) == 0
            assert "uploaded" in outcomes(report)  # the manifests
            assert outcomes(report)["mounted"] == len(registry.blobs[NAME])

    def test_within_one_registry_that_mounts_nothing_bytes_are_streamed(
        self, tmp_path: Path
    ) -> None:
        with EmulatedRegistry(Quirks(mount_status=405)) as registry:
            registry.add_image("from/here", INDEX, "1")
            _copy(registry, reference(registry), tmp_path, "from/here")
            assert whole(registry, INDEX)

    def test_a_target_that_breaks_has_the_source_read_again(self, tmp_path: Path) -> None:
        layer = str(IMAGE.layers[0].digest)
        with EmulatedRegistry() as source, EmulatedRegistry() as target:
            source.add_image(NAME, IMAGE, "1")
            target.fail("PUT", PATTERN, Drop(after=1000, of="received"))
            _copy(source, reference(target), tmp_path)
            assert whole(target, IMAGE)
            assert len(source.requests("GET", layer)) <= 2

    def test_a_third_attempt_reads_from_the_disk(self, tmp_path: Path) -> None:
        layer = str(IMAGE.layers[0].digest)
        encoded = layer.replace(":", "%3A")
        with EmulatedRegistry() as source, EmulatedRegistry() as target:
            source.add_image(NAME, IMAGE, "1")
            target.fail("PUT", encoded, Drop(after=1000, of="received"), times=3)
            _copy(source, reference(target), tmp_path)
            assert whole(target, IMAGE)
            assert len(target.requests("PUT", encoded)) == 4
            assert len(source.requests("GET", layer)) == 3
            assert os.listdir(tmp_path) == []

    def test_a_source_that_stands_still_does_not_spoil_the_target(self, tmp_path: Path) -> None:
        layer = str(IMAGE.layers[0].digest)
        with EmulatedRegistry() as source, EmulatedRegistry() as target:
            source.add_image(NAME, IMAGE, "1")
            source.fail("GET", layer, Stall(seconds=0.5, after=50_000), times=1)
            _copy(source, reference(target), tmp_path)
            assert whole(target, IMAGE)

    def test_a_target_that_hangs_up_on_a_slow_source_gets_the_blob_from_the_disk(
        self, tmp_path: Path
    ) -> None:
        layer = str(IMAGE.layers[0].digest)
        with EmulatedRegistry() as source, _Impatient() as target:
            source.add_image(NAME, IMAGE, "1")
            source.fail("GET", layer, Stall(seconds=0.7, after=50_000), times=9)
            _copy(source, reference(target), tmp_path)
            assert whole(target, IMAGE)
            puts = target.requests("PUT", layer.replace(":", "%3A"))
            assert [logged.status for logged in puts] == [0, 0, 201]

    def test_a_source_that_ends_early_is_asked_for_the_rest(self, tmp_path: Path) -> None:
        layer = str(IMAGE.layers[0].digest)
        with EmulatedRegistry() as source, EmulatedRegistry() as target:
            source.add_image(NAME, IMAGE, "1")
            source.fail("GET", layer, Drop(after=50_000), times=2)
            _copy(source, reference(target), tmp_path)
            assert whole(target, IMAGE)
            assert received(target) == blob_bytes(IMAGE)

    def test_a_source_that_lacks_a_blob_is_named(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as source, EmulatedRegistry() as target:
            source.add_image(NAME, IMAGE, "1")
            del source.state.blobs[NAME][IMAGE.layers[0].digest]
            with pytest.raises(NotFound, match=source.host):
                _copy(source, reference(target), tmp_path)
            assert not target.tags

    def test_a_source_that_lies_about_a_blob_makes_no_image(self, tmp_path: Path) -> None:
        digest = IMAGE.layers[0].digest
        with EmulatedRegistry() as source, EmulatedRegistry() as target:
            source.add_image(NAME, IMAGE, "1")
            data = source.state.blobs[NAME][digest]
            source.state.blobs[NAME][digest] = data[:-1] + bytes([data[-1] ^ 1])
            with pytest.raises(DigestMismatch):
                _copy(source, reference(target), tmp_path)
            assert digest not in target.blobs.get(NAME, {})

    def test_a_registry_that_is_not_there_is_unavailable(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as source:
            source.add_image(NAME, IMAGE, "1")
            with pytest.raises(Unavailable):
                _copy(source, Reference.parse("127.0.0.1:1/team/app:1"), tmp_path)


class _Impatient(EmulatedRegistry):
    """Hangs up when nothing comes of an upload for a while."""

    def respond(self, exchange: Exchange) -> None:
        exchange.connection.settimeout(0.35 if exchange.method == "PUT" else None)
        super().respond(exchange)


class TestProgress:
    @pytest.mark.parametrize("chunk_size", [None, 50_000])
    def test_what_is_counted_is_what_there_is_however_often_it_was_sent(
        self, tmp_path: Path, chunk_size: int | None
    ) -> None:
        listener = Listener()
        with EmulatedRegistry() as registry, shelf(tmp_path, chunk_size=chunk_size) as shop:
            shop.add(IMAGE)
            registry.fail("*", PATTERN, Drop(after=30_000, of="received"), times=3)
            push(
                shop.layout,
                shop.layout.roots(),
                [reference(registry)],
                shop.registries,
                observer=listener,
            )
            assert whole(registry, IMAGE)
        assert listener.advanced == blob_bytes(IMAGE) == listener.begun[0][1]

    def test_an_archives_layers_count_half_as_read_and_half_as_sent(self, tmp_path: Path) -> None:
        file = tmp_path / "image.tar"
        file.write_bytes(docker_archive({"app:1": IMAGE}))
        listener = Listener()
        with EmulatedRegistry() as registry, Registries(options()) as registries:
            registry.fail("PUT", PATTERN, Drop(after=30_000, of="received"), times=2)
            with open_archive(str(file)) as source:
                push(
                    source,
                    source.roots(),
                    [reference(registry)],
                    registries,
                    observer=listener,
                )
            config = registry.requests("PUT", "digest=")[-1].received_bytes
        label, total = listener.begun[0]
        assert label == "converting and sending"
        assert listener.begun[1] == ("copying", config)
        assert 0 <= total + config - listener.advanced < 100

    def test_mounted_blobs_count_as_done(self, tmp_path: Path) -> None:
        listener = Listener()
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            registry.add_image("base/image", IMAGE, "1")
            shop.add(IMAGE, f"{registry.host}/base/image:1")
            shop.add(SIBLING)
            roots = [r for r in shop.layout.roots() if not r.names]
            push(shop.layout, roots, [reference(registry)], shop.registries, observer=listener)
        assert listener.advanced == blob_bytes(SIBLING)


class TestNobodyElse:
    def test_a_push_never_falls_back_to_being_nobody(self, tmp_path: Path) -> None:
        quirks = Quirks(access=Access(scheme="bearer", anonymous_pull=True))
        with (
            EmulatedRegistry(quirks) as registry,
            shelf(tmp_path, username="user", password="wrong") as shop,
        ):
            with pytest.raises(AccessDenied, match="incorrect username or password"):
                shop.push(IMAGE, reference(registry))
            assert not registry.requests("PUT")

    def test_a_registry_that_has_no_room_says_so(self, tmp_path: Path) -> None:
        full = Status(status=412, body=error_body("PRECONDITION", "quota exceeded"))
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            registry.fail("PUT", PATTERN, full, times=9)
            with pytest.raises(OcitoolError, match="quota exceeded"):
                shop.push(IMAGE, reference(registry))


_LARGE = """
import re, sys
from pathlib import Path
from ocitool.places.layout import Layout
from ocitool.operations.push import push
from ocitool.transfer.pipeline import TransferOptions
from ocitool.places.registry import Registries, RegistryOptions
from ocitool.oci import Reference
with Layout.existing(sys.argv[1]) as layout, Registries(RegistryOptions()) as registries:
    push(layout, layout.roots(), [Reference.parse(sys.argv[2])], registries)
print(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text()).group(1))
"""


@pytest.mark.parametrize("kind", [pytest.param("plain", marks=pytest.mark.soak), "tls"])
def test_a_push_of_300_megabytes_needs_little_memory(tmp_path: Path, kind: str) -> None:
    layers = [random.Random(n).randbytes(1 << 20) * 50 for n in range(6)]
    image = build_image(layers, compression="none")
    with running_registry(tmp_path, kind, ask_clients=False) as registry:  # type: ignore[arg-type]
        with shelf(tmp_path) as shop:
            shop.add(image)
        variables = {} if registry.ca is None else {"SSL_CERT_FILE": str(registry.ca)}
        done = subprocess.run(
            [sys.executable, "-c", _LARGE, str(tmp_path / "shelf"), f"{registry.host}/{NAME}:1"],
            env={**os.environ, **variables, "HOME": str(tmp_path)},
            cwd=Path(ocitool.__file__).parent.parent,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    # In KiB; that of getrusage would count the process that started it, too.
    assert int(done.stdout) < 120 << 10
