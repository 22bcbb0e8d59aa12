"""Manifests into a registry: their order, their exact bytes, and what registries make of them."""

from pathlib import Path

import pytest

from ocitool.errors import (
    AccessDenied,
    IntegrityError,
    LimitExceeded,
    NotFound,
    OcitoolError,
    Refused,
    Unavailable,
)
from ocitool.image.attached import referrers_tag
from ocitool.operations.push_report import Ending
from tests.places.registry.pushes import (
    NAME,
    QUICK,
    Losing,
    last,
    methods,
    outcomes,
    reference,
    shelf,
    whole,
)
from tests.support.docker_registry import running_registry
from tests.support.images import build_artifact, build_image, build_index
from tests.support.registry import EmulatedRegistry, Quirks
from tests.support.registry_faults import Drop, HangUp, Status
from tests.support.registry_state import error_body

IMAGE = build_image([{"a": b"1"}, {"b": b"2"}])
OTHER = build_image([{"c": b"3"}], platform="linux/arm64")
INDEX = build_index([IMAGE, OTHER], attested=True)
TAGGED = f"/v2/{NAME}/manifests/1$"


def refused(status: int, code: str, message: str = "") -> Status:
    return Status(status=status, body=error_body(code, message))


class TestOrder:
    def test_blobs_come_first_then_children_then_the_tag(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            shop.push(INDEX, reference(registry))
            assert whole(registry, INDEX)
            puts = [logged.target.partition("?")[0] for logged in registry.requests("PUT")]
            kinds = ["blob" if "/blobs/" in target else "manifest" for target in puts]
            assert kinds == sorted(kinds)
            children = [f"/v2/{NAME}/manifests/{child.digest}" for child in INDEX.children]
            assert puts[-len(children) - 1 : -1] == children
            assert puts[-1].endswith("/manifests/1")

    def test_the_tag_does_not_exist_before_everything_else_does(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            registry.fail("PUT", f"manifests/{INDEX.children[-1].digest}", refused(400, "X"))
            with pytest.raises(OcitoolError):
                shop.push(INDEX, reference(registry))
            assert not registry.tags.get(NAME)

    def test_a_push_by_digest_makes_no_tag(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            name = f"{registry.host}/{NAME}@{IMAGE.descriptor.digest}"
            shop.push(IMAGE, name)
            assert whole(registry, IMAGE)
            assert not registry.tags.get(NAME)


class TestBytes:
    def test_manifests_keep_their_bytes_and_their_types(self, tmp_path: Path) -> None:
        odd = build_image([{"a": b"1"}], manifest={"annotations": {"é": " \u2028 "}})
        docker = build_image([{"d": b"4"}], docker=True)
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            for image in (odd, docker):
                shop.push(image, reference(registry))
                stored = registry.manifests[NAME][image.descriptor.digest]
                assert stored.raw == image.manifest
                assert stored.media_type == image.descriptor.media_type

    def test_a_manifest_of_more_than_four_mebibytes_is_not_sent(self, tmp_path: Path) -> None:
        limits = QUICK.with_limit("pushed_manifest_bytes", 500)
        with EmulatedRegistry() as registry, shelf(tmp_path, limits=limits) as shop:
            with pytest.raises(LimitExceeded, match="registries take 500") as caught:
                shop.push(IMAGE, reference(registry))
            assert caught.value.hint is not None
            assert not registry.requests("PUT", "/manifests/")

    @pytest.mark.parametrize("status", [200, 202])
    def test_an_unusual_success_is_believed_once_the_manifest_is_seen(
        self, tmp_path: Path, status: int
    ) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            registry.fail("PUT", TAGGED, Status(status=status))
            with pytest.raises(Unavailable, match="does not have it"):
                shop.push(IMAGE, reference(registry))
            registry.add_manifest(NAME, IMAGE.manifest, IMAGE.descriptor.media_type, "1")
            registry.fail("HEAD", "/manifests/", Status(status=404), times=2)
            registry.fail("PUT", TAGGED, Status(status=status))
            assert shop.push(IMAGE, reference(registry))[0].ending is Ending.PUSHED

    def test_a_web_page_is_no_success(self, tmp_path: Path) -> None:
        page = Status(status=200, headers={"Content-Type": "text/html"}, body=b"<html></html>")
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            registry.fail("PUT", TAGGED, page)
            with pytest.raises(IntegrityError, match="web page"):
                shop.push(IMAGE, reference(registry))

    @pytest.mark.parametrize(
        "fault", [HangUp(), HangUp(processed=True), Drop(after=20, of="received")], ids=str
    )
    def test_a_manifest_whose_connection_broke_is_sent_again(
        self, tmp_path: Path, fault: HangUp | Drop
    ) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            registry.fail("PUT", TAGGED, fault)
            shop.push(IMAGE, reference(registry))
            assert registry.tags[NAME] == {"1": IMAGE.descriptor.digest}
            assert len(registry.requests("PUT", TAGGED)) == 2

    def test_a_manifest_that_is_called_otherwise_has_to_be_there(self, tmp_path: Path) -> None:
        """Where something on the way rewrites it, no digest is told that nobody can pull."""
        with (
            EmulatedRegistry(Quirks(digest_of_another=True)) as registry,
            shelf(tmp_path) as shop,
        ):
            with pytest.raises(IntegrityError, match=r"stored .* as .* does not have sha256:"):
                shop.push(IMAGE, reference(registry))
            registry.add_manifest(NAME, IMAGE.manifest, IMAGE.descriptor.media_type)
            assert shop.push(IMAGE, reference(registry, "2"))[0].ending is Ending.PUSHED


class TestForgottenBlobs:
    @pytest.mark.parametrize("code", ["BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN"])
    def test_blobs_that_the_registry_lost_sight_of_are_sent_again(
        self, tmp_path: Path, code: str
    ) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            registry.fail("PUT", TAGGED, refused(400, code))
            shop.push(IMAGE, reference(registry))
            layer = str(IMAGE.layers[0].digest)
            assert len(registry.requests("HEAD", f"/blobs/{layer}")) == 2
            assert len(registry.requests("PUT", layer.replace(":", "%3A"))) == 1
            assert whole(registry, IMAGE)

    def test_a_blob_that_is_really_gone_is_sent_once_more(self, tmp_path: Path) -> None:
        with Losing() as registry, shelf(tmp_path) as shop:
            shop.push(IMAGE, reference(registry))
            assert whole(registry, IMAGE)
            (lost,) = registry.lost
            assert len(registry.requests("PUT", str(lost).replace(":", "%3A"))) == 2

    def test_an_image_that_is_really_gone_is_sent_once_more(self, tmp_path: Path) -> None:
        lost = INDEX.children[0].digest
        with Losing(lost) as registry, shelf(tmp_path) as shop:
            shop.push(INDEX, reference(registry))
            assert registry.tags[NAME] == {"1": INDEX.descriptor.digest}
            assert whole(registry, INDEX)
            assert len(registry.requests("PUT", str(lost))) == 2

    def test_a_manifest_is_sent_again_three_times_at_most(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            registry.fail("PUT", TAGGED, refused(404, "BLOB_UNKNOWN", "unknown blob"), times=99)
            with pytest.raises(NotFound, match="unknown blob"):
                shop.push(IMAGE, reference(registry))
            assert len(registry.requests("PUT", TAGGED)) == 4

    def test_a_registry_that_is_slow_to_see_children_gets_its_index(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            registry.fail("PUT", TAGGED, refused(400, "MANIFEST_BLOB_UNKNOWN"), times=2)
            shop.push(INDEX, reference(registry))
            assert registry.tags[NAME] == {"1": INDEX.descriptor.digest}


class TestImmutableTag:
    def test_the_same_image_under_an_immutable_tag_is_there_already(self, tmp_path: Path) -> None:
        with EmulatedRegistry(Quirks(immutable_tags=True)) as registry, shelf(tmp_path) as shop:
            shop.push(IMAGE, reference(registry))
            report = shop.push(IMAGE, reference(registry))[0]
            assert report.ending is Ending.PRESENT

    def test_a_tag_that_another_has_just_set_to_the_same_image_is_no_conflict(
        self, tmp_path: Path
    ) -> None:
        with EmulatedRegistry(Quirks(immutable_tags=True)) as registry, shelf(tmp_path) as shop:
            registry.add_image(NAME, IMAGE, "1")
            registry.fail("HEAD", TAGGED, Status(status=404))
            shop.push(IMAGE, reference(registry))
            assert last(registry, "PUT").status == 400

    def test_another_image_is_refused_with_both_digests(self, tmp_path: Path) -> None:
        with EmulatedRegistry(Quirks(immutable_tags=True)) as registry, shelf(tmp_path) as shop:
            shop.push(IMAGE, reference(registry))
            with pytest.raises(Refused) as caught:
                shop.push(OTHER, reference(registry))
            assert str(IMAGE.descriptor.digest) in caught.value.message
            assert str(OTHER.descriptor.digest) in caught.value.message
            assert "--on-existing skip" in (caught.value.hint or "")

    def test_tags_are_found_immutable_where_no_digest_is_told(self, tmp_path: Path) -> None:
        quirks = Quirks(immutable_tags=True, digest_header="none")
        with EmulatedRegistry(quirks) as registry, shelf(tmp_path) as shop:
            shop.push(IMAGE, reference(registry))
            assert shop.push(IMAGE, reference(registry))[0].ending is Ending.PRESENT


class TestSubject:
    def test_a_registry_that_keeps_the_list_itself_needs_no_tag(self, tmp_path: Path) -> None:
        signature = build_artifact(IMAGE.descriptor)
        with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
            shop.add(signature)
            shop.push(IMAGE, reference(registry), attached=True)
            assert whole(registry, signature)
            assert set(registry.tags[NAME]) == {"1"}

    def test_elsewhere_a_tag_lists_each_attached_artifact_once(self, tmp_path: Path) -> None:
        first = build_artifact(IMAGE.descriptor, b"one", artifact_type="application/vnd.one")
        second = build_artifact(IMAGE.descriptor, b"two")
        with EmulatedRegistry(Quirks(referrers="404")) as registry, shelf(tmp_path) as shop:
            for signature in (first, second):
                shop.add(signature)
            shop.push(IMAGE, reference(registry), attached=True)
            shop.push(IMAGE, reference(registry), attached=True)
            tag = referrers_tag(IMAGE.descriptor.digest)
            listed = registry.manifests[NAME][registry.tags[NAME][tag]].fields["manifests"]
            assert isinstance(listed, list)
            found = {entry["digest"]: entry["artifactType"] for entry in listed}
            assert len(listed) == 2
            assert found[str(first.descriptor.digest)] == "application/vnd.one"
            assert any("keeps no list" in text for text in shop.warnings)

    def test_gitlab_answers_with_the_subject_and_that_is_no_list(self, tmp_path: Path) -> None:
        quirks = Quirks(referrers="404", gitlab_referrers_tag=True)
        signature = build_artifact(IMAGE.descriptor)
        with EmulatedRegistry(quirks) as registry, shelf(tmp_path) as shop:
            shop.add(signature)
            shop.push(IMAGE, reference(registry), attached=True)
            tag = referrers_tag(IMAGE.descriptor.digest)
            listed = registry.manifests[NAME][registry.tags[NAME][tag]].fields["manifests"]
            assert isinstance(listed, list)
            assert [entry["digest"] for entry in listed] == [str(signature.descriptor.digest)]


class TestExisting:
    def test_a_registry_that_forbids_what_it_lacks_takes_a_push(self, tmp_path: Path) -> None:
        with (
            EmulatedRegistry(Quirks(missing_manifest_status=403)) as registry,
            shelf(tmp_path) as shop,
        ):
            shop.push(IMAGE, reference(registry))
            assert whole(registry, IMAGE)

    def test_a_registry_without_head_takes_a_push(self, tmp_path: Path) -> None:
        with EmulatedRegistry(Quirks(head_405=True)) as registry, shelf(tmp_path) as shop:
            shop.push(IMAGE, reference(registry))
            assert shop.push(IMAGE, reference(registry))[0].ending is Ending.PRESENT

    def test_what_may_not_be_written_is_heard_from_the_registry(self, tmp_path: Path) -> None:
        with EmulatedRegistry(Quirks(write_denied=True)) as registry, shelf(tmp_path) as shop:
            with pytest.raises(AccessDenied, match="write_package"):
                shop.push(IMAGE, reference(registry))
            assert not registry.requests("PUT")


class TestDockerRegistry:
    def test_an_index_goes_up_and_comes_back_with_the_same_digests(self, tmp_path: Path) -> None:
        with running_registry(tmp_path) as registry, shelf(tmp_path) as shop:
            name = f"{registry.host}/{NAME}:1"
            first = shop.push(INDEX, name)[0]
            again = shop.push(INDEX, name)[0]
            assert first.image.digest == INDEX.descriptor.digest
            assert again.ending is Ending.PRESENT

    def test_another_repository_of_it_mounts_all_blobs(self, tmp_path: Path) -> None:
        with running_registry(tmp_path) as registry, shelf(tmp_path) as shop:
            reports = shop.push(INDEX, f"{registry.host}/{NAME}:1", f"{registry.host}/second/app:1")
            assert (
                outcomes(reports[1])["mounted"]
                == outcomes(reports[0])["uploaded"] - len(INDEX.children) - 1
            )

    def test_it_keeps_no_list_of_what_is_attached_and_a_tag_does(self, tmp_path: Path) -> None:
        signature = build_artifact(IMAGE.descriptor)
        with running_registry(tmp_path) as registry, shelf(tmp_path) as shop:
            shop.add(signature)
            shop.push(IMAGE, f"{registry.host}/{NAME}:1", attached=True)
            assert any("keeps no list" in text for text in shop.warnings)


def test_a_second_push_asks_for_one_manifest_and_no_blob(tmp_path: Path) -> None:
    with EmulatedRegistry() as registry, shelf(tmp_path) as shop:
        shop.push(INDEX, reference(registry))
        registry.log.clear()
        shop.push(INDEX, reference(registry))
        assert methods(registry) == ["HEAD"]
