"""What is attached to an image: by the API, by the fallback tag, by cosign's tags."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ocitool.errors import MalformedDocument, NotFound, Unavailable
from ocitool.image.attached import referrers_tag
from ocitool.oci import Descriptor, Digest, parse_manifest
from ocitool.places.registry.paging import IncompleteList
from ocitool.places.registry.referrers import add_to_fallback, cosign_tags, referrers
from tests.places.registry.reading import NAME, reading
from tests.support.http_exchange import Exchange
from tests.support.images import BuiltArtifact, as_json, build_artifact, build_image
from tests.support.registry import EmulatedRegistry, Quirks
from tests.support.registry_faults import Status

INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE = build_image()
SUBJECT = IMAGE.descriptor.digest
ATTACHED = [build_artifact(IMAGE.descriptor, f"signature {n}".encode()) for n in range(5)]
DIGESTS = {artifact.descriptor.digest for artifact in ATTACHED}


def filled(**quirks: object) -> EmulatedRegistry:
    registry = EmulatedRegistry(Quirks(**quirks))  # type: ignore[arg-type]
    registry.add_image(NAME, IMAGE, "1")
    for artifact in ATTACHED:
        registry.add_image(NAME, artifact)
    return registry


def listed(*descriptors: Descriptor) -> bytes:
    entries = [one.to_json() for one in descriptors]
    return as_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})


def add_fallback(registry: EmulatedRegistry) -> None:
    raw = listed(*(artifact.descriptor for artifact in ATTACHED))
    registry.add_manifest(NAME, raw, INDEX, referrers_tag(SUBJECT))


def found(registry: EmulatedRegistry) -> set[Digest]:
    with reading(registry.host) as reader:
        return {one.digest for one in referrers(reader.repository, SUBJECT)}


def test_the_api_is_asked_and_nothing_else() -> None:
    with filled() as registry:
        assert found(registry) == DIGESTS
        assert registry.requests("GET", "/manifests/") == []


def test_all_pages_are_read() -> None:
    with filled(page_size=2) as registry:
        assert found(registry) == DIGESTS
        assert len(registry.requests("GET", "/referrers/")) == 3


@pytest.mark.parametrize(
    "link",
    ['<https://{host}{path}?{query}>; rel="next"', '</repository/x{path}?{query}>; rel="next"'],
)
def test_a_wrong_link_loses_none(link: str) -> None:
    with filled(page_size=2, link=link) as registry:
        assert found(registry) == DIGESTS


@pytest.mark.parametrize(
    "answer", [Status(status=404), Status(status=200, body=b"<html>")], ids=str
)
def test_a_list_that_breaks_off_is_an_error(answer: Status) -> None:
    with filled(page_size=2) as registry, reading(registry.host) as reader:
        add_fallback(registry)
        registry.fail("GET", "start=2", answer, times=9)
        with pytest.raises(IncompleteList):
            referrers(reader.repository, SUBJECT)


def test_each_comes_once() -> None:
    twice = listed(ATTACHED[0].descriptor, ATTACHED[0].descriptor)
    with filled() as registry:
        answer = Status(status=200, headers={"Content-Type": INDEX}, body=twice)
        registry.fail("GET", "/referrers/", answer)
        with reading(registry.host) as reader:
            assert len(referrers(reader.repository, SUBJECT)) == 1


@pytest.mark.parametrize("api", ["404", "400", "405", "406", "html"])
def test_without_the_api_the_fallback_tag_is_read(api: str) -> None:
    with filled(referrers=api) as registry:
        add_fallback(registry)
        assert found(registry) == DIGESTS


@pytest.mark.parametrize("api", ["404", "html"])
def test_neither_the_api_nor_a_tag_means_nothing_is_attached(api: str) -> None:
    with filled(referrers=api) as registry:
        assert found(registry) == set()


def test_a_tag_that_is_the_subject_itself_lists_nothing() -> None:
    with filled(referrers="404", gitlab_referrers_tag=True) as registry:
        assert found(registry) == set()


def test_a_tag_that_is_no_index_lists_nothing() -> None:
    with filled(referrers="404") as registry:
        registry.add_image(NAME, build_image([{"x": b"y"}]), referrers_tag(SUBJECT))
        assert found(registry) == set()


def test_a_registry_that_forbids_what_it_does_not_have_has_nothing_attached() -> None:
    with filled(referrers="406", missing_manifest_status=403) as registry:
        assert found(registry) == set()
        with reading(registry.host) as reader:
            assert list(cosign_tags(reader.repository, SUBJECT)) == []


def test_a_missing_repository_is_told_from_a_missing_api() -> None:
    body = b'{"errors": [{"code": "NAME_UNKNOWN", "message": "no such repository"}]}'
    with EmulatedRegistry() as registry, reading(registry.host) as reader:
        registry.fail("GET", "/referrers/", Status(status=404, body=body))
        with pytest.raises(NotFound, match="no repository"):
            referrers(reader.repository, SUBJECT)


def test_a_denied_api_is_followed_by_the_tag() -> None:
    with filled() as registry:
        add_fallback(registry)
        registry.fail("GET", "/referrers/", Status(status=403), times=9)
        assert found(registry) == DIGESTS


def test_cosigns_tags_are_found_by_their_names() -> None:
    with filled() as registry, reading(registry.host) as reader:
        for ending in (".sig", ".att"):
            registry.add_image(NAME, ATTACHED[0], f"{referrers_tag(SUBJECT)}{ending}")
        names = [tag for tag, _ in cosign_tags(reader.repository, SUBJECT)]
        assert names == [f"sha256-{SUBJECT.hex}.sig", f"sha256-{SUBJECT.hex}.att"]


def test_a_fallback_tag_has_room_for_any_digest() -> None:
    assert referrers_tag(SUBJECT) == f"sha256-{SUBJECT.hex}"
    long = Digest.of(b"", "sha512")
    assert referrers_tag(long) == f"sha512-{long.hex[:64]}"


class _Crowd(EmulatedRegistry):
    """Answers who reads the fallback list first only when all of them have asked."""

    def __init__(self, quirks: Quirks) -> None:
        super().__init__(quirks)
        self._all = threading.Barrier(len(ATTACHED), timeout=5)

    def respond(self, exchange: Exchange) -> None:
        is_first = len(self.requests("GET", "/manifests/sha256-")) <= len(ATTACHED)
        if exchange.method == "GET" and "/manifests/sha256-" in exchange.path and is_first:
            self._all.wait()
        super().respond(exchange)


@pytest.mark.parametrize("etags", [False, True])
def test_all_who_add_to_a_fallback_list_at_once_are_in_it(etags: bool) -> None:
    def add(artifact: BuiltArtifact) -> None:
        with reading(registry.host, retry_max_wait=0.3) as reader:
            document = parse_manifest(
                artifact.blobs[artifact.descriptor.digest], artifact.descriptor.media_type
            )
            repository = reader.repository
            add_to_fallback(repository, SUBJECT, artifact.descriptor, document)

    with _Crowd(Quirks(referrers="404", etags=etags)) as registry:
        registry.add_image(NAME, IMAGE)
        for artifact in ATTACHED:
            registry.add_image(NAME, artifact)
        with ThreadPoolExecutor(len(ATTACHED)) as pool:
            assert list(pool.map(add, ATTACHED)) == [None] * len(ATTACHED)
        assert found(registry) == DIGESTS


def test_an_entry_that_others_always_lose_is_an_error() -> None:
    with filled(referrers="404") as registry, reading(registry.host) as reader:
        registry.fail("PUT", "/manifests/sha256-", Status(status=201), times=9)
        document = parse_manifest(
            ATTACHED[0].blobs[ATTACHED[0].descriptor.digest], ATTACHED[0].descriptor.media_type
        )
        with pytest.raises(Unavailable, match="cannot be listed as attached"):
            add_to_fallback(reader.repository, SUBJECT, ATTACHED[0].descriptor, document)
        assert len(registry.requests("PUT")) == 6


def test_an_entry_that_is_no_descriptor_is_refused() -> None:
    body = b'{"schemaVersion": 2, "manifests": [{"digest": "sha256:zz"}]}'
    with filled() as registry, reading(registry.host) as reader:
        answer = Status(status=200, headers={"Content-Type": INDEX}, body=body)
        registry.fail("GET", "/referrers/", answer)
        with pytest.raises(MalformedDocument):
            referrers(reader.repository, SUBJECT)


def test_what_cannot_be_read_at_all_is_an_error() -> None:
    with EmulatedRegistry() as registry, reading(registry.host) as reader:
        registry.fail("GET", ".", Status(status=500), times=99)
        with pytest.raises(Unavailable, match="500"):
            referrers(reader.repository, SUBJECT)
