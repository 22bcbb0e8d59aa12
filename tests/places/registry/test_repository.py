"""Manifests from a registry: their bytes decide, whatever the headers say."""

from typing import Any

import pytest

from ocitool.errors import (
    AccessDenied,
    DigestMismatch,
    IntegrityError,
    LimitExceeded,
    NotFound,
    OcitoolError,
    Unavailable,
)
from ocitool.oci import Descriptor, Digest, Platform
from ocitool.places.registry.http.problems import Problem
from tests.places.registry.reading import LIMITS, NAME, Reader, reading
from tests.support.images import BuiltImage, build_image, build_index
from tests.support.registry import EmulatedRegistry, Quirks
from tests.support.registry_faults import FlippedByte, Status
from tests.support.trap import Trap

IMAGE = build_image()
ROOT = IMAGE.descriptor
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
MANIFESTS = "/manifests/"


def filled(image: BuiltImage = IMAGE, **quirks: Any) -> EmulatedRegistry:
    registry = EmulatedRegistry(Quirks(**quirks))
    registry.add_image(NAME, image, "1")
    return registry


def headed(
    reader: Reader, tag: str | None = "1", digest: Digest | None = None
) -> Descriptor | None:
    return reader.repository.head(reader.reference(tag, digest))


def plain(descriptor: Descriptor | None) -> tuple[str, str, int] | None:
    if descriptor is None:
        return None
    return descriptor.media_type, str(descriptor.digest), descriptor.size


def answering(content_type: str, raw: bytes = IMAGE.manifest) -> Trap:
    return Trap(200, raw, {"Content-Type": content_type})


class TestFetching:
    def test_a_manifest_comes_byte_for_byte(self) -> None:
        with filled() as registry, reading(registry.host) as reader:
            repository = reader.repository
            found = repository.fetch(reader.reference("1"))
            assert plain(found) == plain(ROOT)
            with repository.open(found) as blob:
                assert blob.read_all(found.size) == IMAGE.manifest
            assert len(registry.requests("GET", MANIFESTS)) == 1

    def test_all_four_kinds_are_accepted_in_one_header_without_weights(self) -> None:
        with filled() as registry, reading(registry.host) as reader:
            reader.fetched("1")
            accept = registry.requests("GET", MANIFESTS)[0].headers["accept"]
            assert accept.count(",") == 3
            assert ";" not in accept
            assert "v1+prettyjws" not in accept

    @pytest.mark.parametrize(
        "said",
        [
            OCI_MANIFEST,
            f"{OCI_MANIFEST}; charset=utf-8",
            OCI_MANIFEST.upper(),
            "text/plain",
            "text/plain; charset=utf-8",
            "application/octet-stream",
            "application/json",
            "",
        ],
    )
    def test_a_content_type_is_read_leniently(self, said: str) -> None:
        with answering(said) as server, reading(server.host) as reader:
            assert reader.fetched("1").media_type == OCI_MANIFEST

    def test_a_content_type_that_contradicts_the_document_is_refused(self) -> None:
        with (
            answering(DOCKER_MANIFEST) as server,
            reading(server.host) as reader,
            pytest.raises(IntegrityError),
        ):
            reader.fetched("1")

    @pytest.mark.parametrize(
        ("content_type", "body"),
        [
            ("application/vnd.docker.distribution.manifest.v1+prettyjws", b'{"schemaVersion": 1}'),
            ("application/vnd.docker.distribution.manifest.v1+json", b'{"schemaVersion": 1}'),
            ("application/json", b'{"schemaVersion": 1, "fsLayers": []}'),
        ],
    )
    def test_a_manifest_of_schema_1_is_refused_with_advice(
        self, content_type: str, body: bytes
    ) -> None:
        with answering(content_type, body) as server, reading(server.host) as reader:
            with pytest.raises(IntegrityError) as caught:
                reader.fetched("1")
            assert "schema" in f"{caught.value.message} {caught.value.hint}".lower()

    def test_a_web_page_is_no_manifest(self) -> None:
        with (
            filled(html=True) as registry,
            reading(registry.host) as reader,
            pytest.raises(IntegrityError, match="web page"),
        ):
            reader.fetched("1")

    def test_a_manifest_that_is_too_large_is_not_read(self) -> None:
        limits = LIMITS.with_limit("pulled_manifest_bytes", 1000)
        with (
            answering(OCI_MANIFEST, b" " * (20 << 20)) as server,
            reading(server.host, limits=limits) as reader,
            pytest.raises(LimitExceeded),
        ):
            reader.fetched("1")

    def test_up_to_eight_mebibytes_are_read(self) -> None:
        raw = IMAGE.manifest + b" " * (5 << 20)
        with answering(OCI_MANIFEST, raw) as server, reading(server.host) as reader:
            assert reader.fetched("1").size == len(raw)

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe"])
    def test_what_is_no_document_is_refused(self, body: bytes) -> None:
        with (
            answering(OCI_MANIFEST, body) as server,
            reading(server.host) as reader,
            pytest.raises(IntegrityError),
        ):
            reader.fetched("1")


class TestDigests:
    def test_a_registry_without_the_header_is_no_trouble(self) -> None:
        with filled(digest_header="none") as registry, reading(registry.host) as reader:
            assert reader.fetched("1").digest == ROOT.digest
            assert reader.fetched(digest=ROOT.digest).digest == ROOT.digest
            assert reader.warnings == []

    def test_a_tag_with_another_digest_in_the_header_is_a_warning(self) -> None:
        with filled(digest_header="wrong") as registry, reading(registry.host) as reader:
            assert reader.fetched("1").digest == ROOT.digest
            assert len(reader.warnings) == 1
            assert str(ROOT.digest) in reader.warnings[0]

    def test_a_digest_with_another_in_the_header_is_refused(self) -> None:
        with (
            filled(digest_header="wrong") as registry,
            reading(registry.host) as reader,
            pytest.raises(DigestMismatch),
        ):
            reader.fetched(digest=ROOT.digest)

    def test_a_digest_with_another_body_is_refused(self) -> None:
        with filled(digest_header="none") as registry, reading(registry.host) as reader:
            registry.fail("GET", MANIFESTS, FlippedByte(-3))
            with pytest.raises(DigestMismatch, match="answers with"):
                reader.fetched(digest=ROOT.digest)

    def test_a_digest_with_another_manifest_that_says_so_is_refused(self) -> None:
        with filled() as registry, reading(registry.host) as reader:
            other = build_image([{"x": b"y"}])
            headers = {
                "Content-Type": OCI_MANIFEST,
                "Docker-Content-Digest": str(other.descriptor.digest),
            }
            registry.fail(
                "GET", MANIFESTS, Status(status=200, headers=headers, body=other.manifest)
            )
            with pytest.raises(DigestMismatch):
                reader.fetched(digest=ROOT.digest)

    def test_a_header_of_another_algorithm_is_not_compared(self) -> None:
        headers = {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": f"sha512:{'0' * 128}"}
        with Trap(200, IMAGE.manifest, headers) as server, reading(server.host) as reader:
            assert reader.fetched(digest=ROOT.digest).digest == ROOT.digest
            assert reader.warnings == []

    def test_a_manifest_named_by_sha512_is_verified_by_it(self) -> None:
        image = build_image(algorithm="sha512")
        with filled(image) as registry, reading(registry.host) as reader:
            digest = image.descriptor.digest
            assert reader.fetched(digest=digest).digest == digest
            registry.fail("GET", MANIFESTS, FlippedByte(-3))
            with pytest.raises(DigestMismatch):
                reader.fetched(digest=digest)


class TestHead:
    def test_a_tag_is_looked_up_by_head_alone(self) -> None:
        with filled() as registry, reading(registry.host) as reader:
            assert plain(headed(reader)) == plain(ROOT)
            assert registry.requests("GET", MANIFESTS) == []

    @pytest.mark.parametrize("quirk", ["plain_head", "head_405"])
    def test_a_head_that_says_too_little_is_followed_by_get(self, quirk: str) -> None:
        with filled(IMAGE, **{quirk: True}) as registry, reading(registry.host) as reader:
            assert plain(headed(reader)) == plain(ROOT)
            assert len(registry.requests("GET", MANIFESTS)) == 1

    def test_a_head_without_a_digest_is_followed_by_get(self) -> None:
        with filled(digest_header="none") as registry, reading(registry.host) as reader:
            assert plain(headed(reader)) == plain(ROOT)

    def test_a_head_with_another_digest_than_was_named_is_not_believed(self) -> None:
        with (
            filled(digest_header="wrong") as registry,
            reading(registry.host) as reader,
            pytest.raises(DigestMismatch),
        ):
            headed(reader, None, ROOT.digest)

    def test_what_is_absent_is_none(self) -> None:
        with filled() as registry, reading(registry.host) as reader:
            assert headed(reader, "2") is None

    @pytest.mark.parametrize("head", [True, False])
    def test_what_is_absent_and_forbidden_is_an_error_of_rights(self, *, head: bool) -> None:
        with (
            filled(missing_manifest_status=403) as registry,
            reading(registry.host) as reader,
            pytest.raises(AccessDenied),
        ):
            (headed if head else Reader.fetched)(reader, "2")


class TestNotFound:
    @pytest.mark.parametrize(
        "body",
        [
            b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}',
            b'{"errors": [{"code": "UNKNOWN", "message": "Not Found"}]}',
            b'{"errors": [{"code": "NOT_FOUND", "message": "artifact not found"}]}',
            b'{"errors": [{"code": "NAME_UNKNOWN"}]}',
            b"404 page not found",
            b"<html><h1>404</h1></html>",
            b"",
        ],
    )
    def test_any_404_means_that_it_is_not_there(self, body: bytes) -> None:
        with Trap(404, body) as server, reading(server.host) as reader:
            with pytest.raises(NotFound) as caught:
                reader.fetched("9")
            assert caught.value.hint is not None

    def test_the_message_names_what_and_where(self) -> None:
        with (
            filled() as registry,
            reading(registry.host) as reader,
            pytest.raises(NotFound, match=f"there is no '9' in {registry.host}/{NAME}"),
        ):
            reader.fetched("9")


class TestQuota:
    def test_a_spent_quota_ends_at_once_and_says_when_it_is_full_again(self) -> None:
        with filled(hub_quota=0) as registry, reading(registry.host) as reader:
            with pytest.raises(Unavailable) as caught:
                reader.fetched("1")
            assert len(registry.requests("GET", MANIFESTS)) == 1
            assert caught.value.hint is not None
            assert "6 hours" in caught.value.hint

    def test_head_costs_no_quota(self) -> None:
        with filled(hub_quota=1) as registry, reading(registry.host) as reader:
            for _ in range(5):
                assert headed(reader) is not None
            reader.fetched("1")


class TestIndexes:
    def test_an_index_is_read_with_its_children(self) -> None:
        images = [build_image(platform=text) for text in ("linux/amd64", "linux/arm64")]
        index = build_index(images)
        with EmulatedRegistry() as registry, reading(registry.host) as reader:
            registry.add_image(NAME, index, "1")
            repository = reader.repository
            found = repository.fetch(reader.reference("1"))
            assert plain(found) == plain(index.descriptor)
            for image in images:
                with repository.open(image.descriptor) as blob:
                    assert blob.read_all(1 << 20) == image.manifest
        assert Platform.parse("linux/arm64") in [image.descriptor.platform for image in images]

    def test_a_foreign_layer_is_asked_for_and_nothing_else_is(self) -> None:
        foreign = Descriptor(
            media_type="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            digest=Digest.of(b"windows"),
            size=7,
        )
        with filled() as registry, reading(registry.host) as reader:
            assert not reader.repository.has(foreign)
            assert reader.repository.has(IMAGE.config)
            assert [one.method for one in registry.requests(None, "/blobs/")] == ["HEAD"]


class TestProblems:
    @pytest.mark.parametrize(
        ("body", "text"),
        [
            (b'{"errors": [{"code": "A", "message": "b", "detail": "c"}]}', "A: b, c"),
            (b'{"errors": [{"code": "A"}, {"message": "b"}]}', "A; UNKNOWN: b"),
            (b'{"errors": [{"code": "A", "message": "b", "detail": {"x": 1}}]}', "A: b"),
            (b'{"details": "incorrect username or password"}', "incorrect username or password"),
            (b'{"message": "no"}', "no"),
            (b"<html><style>x{}</style><body><h1>502</h1> Bad\n Gateway</body>", "502 Bad Gateway"),
            (b'{"errors": "none"}', '{"errors": "none"}'),
            (b"", ""),
            (b"[" * 10_000, "[" * 200 + "…"),
        ],
    )
    def test_what_a_registry_says_is_found_in_any_form(self, body: bytes, text: str) -> None:
        assert problem(400, body).text == text

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (401, AccessDenied),
            (403, AccessDenied),
            (404, NotFound),
            (407, AccessDenied),
            (418, OcitoolError),
            (429, Unavailable),
            (500, Unavailable),
            (503, Unavailable),
        ],
    )
    def test_the_status_decides_the_kind(self, status: int, kind: type[OcitoolError]) -> None:
        error = problem(status, b"").error("pull a")
        assert type(error) is kind
        assert error.message == f"cannot pull a: GET ghcr.io answered {status}"


def problem(status: int, body: bytes) -> Problem:
    from ocitool.places.registry.hosts import Host

    return Problem(
        method="GET", host=Host("ghcr.io"), repository=NAME, status=status, headers={}, body=body
    )
