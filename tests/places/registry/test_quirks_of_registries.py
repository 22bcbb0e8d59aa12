"""The habits of known registries, each emulated under its real name: a push gets through."""

import json
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ocitool.errors import AccessDenied, NotFound, OcitoolError, Refused, UsageError
from ocitool.oci.limits import MEBIBYTE
from ocitool.operations.push_report import Ending
from tests.places.registry.known_hosts import named
from tests.places.registry.pushes import (
    NAME,
    UPLOADS,
    held,
    methods,
    outcomes,
    pushing,
    shelf,
    whole,
)
from tests.support.docker_registry import running_registry
from tests.support.images import (
    BuiltImage,
    as_json,
    build_artifact,
    build_image,
    build_index,
    describe,
)
from tests.support.registry import Access, EmulatedRegistry, Quirks, TokenQuirks
from tests.support.registry_faults import Drop, Status
from tests.support.registry_state import error_body
from tests.support.trap import Trap

ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
IMAGE = build_image([{"a": b"1"}, {"b": b"2"}])
OTHER = build_image([{"c": b"3"}])
DATA = random.Random(3).randbytes(13 * MEBIBYTE)
PATTERN = f"{UPLOADS}."
LOGIN: dict[str, Any] = {"username": "user", "password": "pass"}
BASIC = Access(scheme="basic")
BEARER = Access(scheme="bearer")


def parts(registry: EmulatedRegistry) -> list[int]:
    """Return the bytes of every part that came."""
    return [logged.received_bytes for logged in registry.requests("PATCH")]


class TestEcrPublic:
    @pytest.mark.parametrize("times", [1, 9])
    def test_a_token_that_expired_by_400_is_renewed(self, tmp_path: Path, times: int) -> None:
        expired = Status(status=400, body=error_body("DENIED", "authorization token has expired"))
        with (
            named("public.ecr.aws", tmp_path, Quirks(access=BEARER)) as ecr,
            ecr.pushing(**LOGIN) as pusher,
        ):
            blob = pusher.put(b"data")
            tokens = len(ecr.registry.requests(pattern="^/token"))
            ecr.registry.fail("HEAD", "/blobs/", expired, times=times)
            assert pusher.uploads.has(blob.descriptor) is (times == 1)
            assert len(ecr.registry.requests(pattern="^/token")) == tokens + 1
            assert len(ecr.registry.requests("HEAD", "/blobs/")) == 2


class TestAmazon:
    def test_a_repository_that_does_not_exist_is_named_with_the_command(
        self, tmp_path: Path
    ) -> None:
        quirks = Quirks(requires_repository=True, access=BASIC)
        with named(ECR, tmp_path, quirks) as ecr, ecr.shelf(tmp_path, **LOGIN) as shop:
            with pytest.raises(NotFound) as caught:
                shop.push(IMAGE, f"{ECR}/{NAME}:1")
            assert "--repository-name team/app --region eu-central-1" in (caught.value.hint or "")
            assert not ecr.registry.requests("PUT")

    def test_everything_that_is_odd_about_it_at_once(self, tmp_path: Path) -> None:
        quirks = Quirks(
            access=BASIC,
            digest_header="none",
            manifest_location=False,
            immutable_tags=True,
            patch_201=True,
            upload_status_404=True,
            requires_repository=True,
        )
        with named(ECR, tmp_path, quirks) as ecr, ecr.shelf(tmp_path, **LOGIN) as shop:
            ecr.registry.add_blob(NAME, b"the repository exists")
            shop.push(IMAGE, f"{ECR}/{NAME}:1")
            assert whole(ecr.registry, IMAGE)
            assert shop.push(IMAGE, f"{ECR}/{NAME}:1")[0].ending is Ending.PRESENT
            with pytest.raises(Refused, match="immutable"):
                shop.push(OTHER, f"{ECR}/{NAME}:1")

    def test_parts_are_five_to_ten_mebibytes_and_its_range_is_not_believed(
        self, tmp_path: Path
    ) -> None:
        quirks = Quirks(patch_201=True, upload_status_404=True)
        with named(ECR, tmp_path, quirks) as ecr, ecr.pushing(chunk_size=MEBIBYTE) as pusher:
            assert held(ecr.registry, pusher.put(DATA))
            assert parts(ecr.registry) == [5 * MEBIBYTE, 5 * MEBIBYTE, 3 * MEBIBYTE]
        with named(ECR, tmp_path, quirks) as ecr, ecr.pushing(chunk_size=100 * MEBIBYTE) as pusher:
            assert held(ecr.registry, pusher.put(DATA))
            assert parts(ecr.registry) == [10 * MEBIBYTE, 3 * MEBIBYTE]

    def test_the_same_range_of_another_registry_would_not_be_believed(self, tmp_path: Path) -> None:
        quirks = Quirks(patch_201=True, upload_status_404=True)
        with (
            named("registry.example", tmp_path, quirks) as other,
            other.pushing(chunk_size=5 * MEBIBYTE) as pusher,
        ):
            assert "another number of bytes" in pusher.refusal(DATA).message

    def test_a_rate_that_is_exceeded_is_waited_for(self, tmp_path: Path) -> None:
        busy = Status(status=429, body=error_body("TOOMANYREQUESTS", "Rate exceeded"))
        with named(ECR, tmp_path) as ecr, ecr.shelf(tmp_path) as shop:
            ecr.registry.fail("PUT", "/manifests/", busy, times=2)
            shop.push(IMAGE, f"{ECR}/{NAME}:1")
            assert whole(ecr.registry, IMAGE)

    def test_a_manifest_without_media_type_is_explained(self, tmp_path: Path) -> None:
        answer = Status(status=400, body=error_body("MANIFEST_INVALID", "Invalid JSON syntax"))
        with named(ECR, tmp_path) as ecr, ecr.shelf(tmp_path) as shop:
            ecr.registry.fail("PUT", "/manifests/", answer)
            with pytest.raises(OcitoolError) as caught:
                shop.push(without_media_type(IMAGE), f"{ECR}/{NAME}:1")
            assert "wants the field mediaType" in (caught.value.hint or "")


def without_media_type(image: BuiltImage) -> BuiltImage:
    """Return the image with a manifest that does not name its type."""
    fields = json.loads(image.manifest)
    del fields["mediaType"]
    raw = as_json(fields)
    root = describe(raw, image.descriptor.media_type)
    return replace(image, descriptor=root, blobs={**image.blobs, root.digest: raw})


class TestGitHub:
    def test_parts_are_no_larger_than_four_mebibytes(self, tmp_path: Path) -> None:
        quirks = Quirks(content_range_limit=4 * MEBIBYTE)
        with (
            named("ghcr.io", tmp_path, quirks) as ghcr,
            ghcr.pushing(chunk_size=50 * MEBIBYTE) as pusher,
        ):
            blob = pusher.put(DATA)
            assert held(ghcr.registry, blob)
            assert parts(ghcr.registry) == [4 * MEBIBYTE] * 3 + [MEBIBYTE]
            assert blob.opened == 1

    def test_a_package_that_may_not_be_written_is_explained(self, tmp_path: Path) -> None:
        quirks = Quirks(access=BEARER, write_denied=True)
        with (
            named("ghcr.io", tmp_path, quirks) as ghcr,
            ghcr.shelf(tmp_path, **LOGIN) as shop,
            pytest.raises(AccessDenied, match="write_package") as caught,
        ):
            shop.push(IMAGE, f"ghcr.io/{NAME}:1")
        assert "packages: write" in (caught.value.hint or "")

    def test_a_commit_that_takes_its_time_and_then_denies_it_is_a_success(
        self, tmp_path: Path
    ) -> None:
        quirks = Quirks(
            commit_seconds=0.3,
            commit_forgets="404",
            commit_forgets_times=3,
            unknown_blob_times=2,
            access=BEARER,
        )
        with named("ghcr.io", tmp_path, quirks) as ghcr, ghcr.shelf(tmp_path, **LOGIN) as shop:
            shop.push(IMAGE, f"ghcr.io/{NAME}:1")
            assert whole(ghcr.registry, IMAGE)
            assert len(ghcr.registry.requests("PUT", UPLOADS)) == 3

    def test_microseconds_in_a_message_are_waited_for_and_no_more(self, tmp_path: Path) -> None:
        quirks = Quirks(too_many=2, retry_after="message", retry_seconds=0.000880)
        with (
            named("ghcr.io", tmp_path, quirks) as ghcr,
            ghcr.pushing(retry_max_wait=30.0) as pusher,
        ):
            began = time.monotonic()
            assert held(ghcr.registry, pusher.put(b"some bytes"))
            assert time.monotonic() - began < 1

    def test_what_is_attached_is_listed_by_a_tag(self, tmp_path: Path) -> None:
        signature = build_artifact(IMAGE.descriptor)
        quirks = Quirks(referrers="404", subject_header=False)
        with named("ghcr.io", tmp_path, quirks) as ghcr, ghcr.shelf(tmp_path) as shop:
            shop.add(signature)
            shop.push(IMAGE, f"ghcr.io/{NAME}:1", attached=True)
            assert len(ghcr.registry.tags[NAME]) == 2


class TestGoogle:
    @pytest.mark.parametrize("name", ["europe-docker.pkg.dev", "eu.gcr.io", "gcr.io"])
    def test_blobs_go_whole_whatever_is_asked_for(self, tmp_path: Path, name: str) -> None:
        quirks = Quirks(monolithic_only=True, access=Access(scheme="bearer", challenge_at="ping"))
        with (
            named(name, tmp_path, quirks) as google,
            google.pushing(chunk_size=MEBIBYTE, **LOGIN) as pusher,
        ):
            assert held(google.registry, pusher.put(DATA))
            assert not google.registry.requests("PATCH")


class TestAzure:
    def test_a_broken_part_begins_a_new_session(self, tmp_path: Path) -> None:
        quirks = Quirks(upload_status_404=True, dead_sessions=True)
        with (
            named("team.azurecr.io", tmp_path, quirks) as acr,
            acr.pushing(chunk_size=5 * MEBIBYTE) as pusher,
        ):
            acr.registry.fail("PATCH", PATTERN, Drop(after=100, of="received"), after=1)
            assert held(acr.registry, pusher.put(DATA))
            assert methods(acr.registry).count("POST") == 2

    def test_a_blob_that_is_looked_for_leads_to_storage_without_a_credential(self) -> None:
        with Trap(200, b"") as storage:
            quirks = Quirks(access=BASIC, redirect_to=storage.url)
            with EmulatedRegistry(quirks) as registry, pushing(registry.host, **LOGIN) as pusher:
                assert pusher.uploads.has(registry.add_blob(NAME, b""))
            assert len(storage.log) == 1
            assert storage.credentials == []


class TestGitLab:
    def test_short_tokens_and_a_tag_that_is_the_subject_itself(self, tmp_path: Path) -> None:
        signature = build_artifact(IMAGE.descriptor)
        quirks = Quirks(access=BEARER, referrers="404", gitlab_referrers_tag=True)
        tokens = TokenQuirks(lifetime=0.3, expires_in=300)
        with (
            named("registry.gitlab.com", tmp_path, quirks, tokens=tokens) as gitlab,
            gitlab.shelf(tmp_path, **LOGIN) as shop,
        ):
            shop.add(signature)
            shop.push(IMAGE, f"registry.gitlab.com/{NAME}:1", attached=True)
            assert whole(gitlab.registry, IMAGE)
            assert whole(gitlab.registry, signature)

    def test_a_project_that_does_not_exist_is_denied(self, tmp_path: Path) -> None:
        quirks = Quirks(access=Access(scheme="bearer", denied_status=403))
        tokens = TokenQuirks(never=frozenset({"push", "pull"}))
        with (
            named("registry.gitlab.com", tmp_path, quirks, tokens=tokens) as gitlab,
            gitlab.shelf(tmp_path, **LOGIN) as shop,
            pytest.raises(AccessDenied) as caught,
        ):
            shop.push(IMAGE, f"registry.gitlab.com/{NAME}:1")
        assert NAME in (caught.value.hint or "")


class TestHarbor:
    def test_a_cookie_never_comes_back(self, tmp_path: Path) -> None:
        with EmulatedRegistry(Quirks(cookies=True)) as registry, shelf(tmp_path) as shop:
            shop.push(IMAGE, f"{registry.host}/{NAME}:1")
            assert whole(registry, IMAGE)
            assert all("cookie" not in logged.headers for logged in registry.log)

    @pytest.mark.parametrize("status", [401, 404])
    def test_a_mount_from_a_foreign_project_is_no_obstacle(
        self, tmp_path: Path, status: int
    ) -> None:
        quirks = Quirks(mount_status=status, cookies=True)
        with EmulatedRegistry(quirks) as registry, shelf(tmp_path) as shop:
            host = registry.host
            reports = shop.push(IMAGE, f"{host}/{NAME}:1", f"{host}/second/app:1")
            assert whole(registry, IMAGE, "second/app")
            assert outcomes(reports[1]) == {"uploaded": 4}


class TestQuay:
    def test_an_oci_index_of_docker_images_is_explained(self, tmp_path: Path) -> None:
        index = build_index([build_image([{"d": b"1"}], docker=True)])
        with (
            named("quay.io", tmp_path, Quirks(docker_children_refused=True)) as quay,
            quay.shelf(tmp_path) as shop,
            pytest.raises(OcitoolError) as caught,
        ):
            shop.push(index, f"quay.io/{NAME}:1")
        assert "mixes OCI and docker" in (caught.value.hint or "")

    def test_a_token_without_delete_still_pushes(self, tmp_path: Path) -> None:
        quirks = Quirks(access=BEARER)
        tokens = TokenQuirks(never=frozenset({"delete"}))
        with (
            named("quay.io", tmp_path, quirks, tokens=tokens) as quay,
            quay.shelf(tmp_path, **LOGIN) as shop,
        ):
            quay.registry.fail("PUT", PATTERN, Drop(after=1, of="received"))
            shop.push(IMAGE, f"quay.io/{NAME}:1")
            assert whole(quay.registry, IMAGE)


class TestArtifactory:
    def test_forbidden_means_absent_and_heads_say_little(self, tmp_path: Path) -> None:
        quirks = Quirks(
            missing_manifest_status=403,
            plain_head=True,
            digest_header="none",
            referrers="406",
            access=BASIC,
        )
        signature = build_artifact(IMAGE.descriptor)
        with EmulatedRegistry(quirks) as registry, shelf(tmp_path, **LOGIN) as shop:
            shop.add(signature)
            shop.push(IMAGE, f"{registry.host}/{NAME}:1", attached=True)
            assert whole(registry, IMAGE)
            assert whole(registry, signature)
            again = shop.push(IMAGE, f"{registry.host}/{NAME}:1", attached=True)[0]
            assert set(outcomes(again)) == {"existed"}


class TestHub:
    def test_its_api_has_another_name_and_its_quota_counts_no_heads(self, tmp_path: Path) -> None:
        quirks = Quirks(access=BEARER, hub_quota=0)
        with (
            named("docker.io", tmp_path, quirks, answers="registry-1.docker.io") as hub,
            hub.shelf(tmp_path, **LOGIN) as shop,
        ):
            shop.push(IMAGE, "user/app:1")
            assert whole(hub.registry, IMAGE, "user/app")
            assert shop.push(IMAGE, "user/app:1")[0].ending is Ending.PRESENT
            assert hub.registry.requests()[0].host == "registry-1.docker.io"

    def test_a_foreign_name_in_a_mount_is_no_obstacle(self, tmp_path: Path) -> None:
        refused = Status(status=400, body=b'{"details":"invalid repository name"}')
        with (
            named("docker.io", tmp_path, answers="registry-1.docker.io") as hub,
            hub.shelf(tmp_path) as shop,
        ):
            hub.registry.fail("POST", "mount=", refused, times=9)
            shop.push(IMAGE, "user/app:1", "user/other:1")
            assert whole(hub.registry, IMAGE, "user/other")

    def test_a_name_that_it_does_not_take_is_the_users_mistake(self, tmp_path: Path) -> None:
        refused = Status(status=400, body=b'{"details":"invalid repository name"}')
        with (
            named("docker.io", tmp_path, answers="registry-1.docker.io") as hub,
            hub.shelf(tmp_path) as shop,
        ):
            hub.registry.fail("POST", UPLOADS, refused, times=9)
            with pytest.raises(UsageError):
                shop.push(IMAGE, "a/b/c/d:1")


class TestDebian:
    def test_a_push_in_parts_through_its_own_kind_of_token(self, tmp_path: Path) -> None:
        with running_registry(tmp_path, "token") as registry:
            reach: dict[str, Any] = {"username": registry.user, "password": registry.password}
            with shelf(tmp_path, chunk_size=100, **reach) as shop:
                shop.push(IMAGE, f"{registry.host}/{NAME}:1")
                report = shop.push(IMAGE, f"{registry.host}/{NAME}:1")[0]
                assert report.ending is Ending.PRESENT

    def test_a_push_over_tls_with_a_client_certificate(self, tmp_path: Path) -> None:
        with running_registry(tmp_path, "tls") as registry:
            reach: dict[str, Any] = {
                "ca_cert": str(registry.ca),
                "client_cert": str(registry.client_cert),
                "client_key": str(registry.client_key),
            }
            with shelf(tmp_path, **reach) as shop:
                shop.push(IMAGE, f"{registry.host}/{NAME}:1")
                report = shop.push(IMAGE, f"{registry.host}/{NAME}:1")[0]
                assert report.ending is Ending.PRESENT
