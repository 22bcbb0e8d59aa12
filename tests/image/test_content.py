"""Blobs: a stream that cannot reach its end unless size and digest are right."""

import io

import pytest

from ocitool.errors import DigestMismatch, LimitExceeded, SizeMismatch
from ocitool.image.content import Blob, Closure
from ocitool.oci import Descriptor, Digest, parse_manifest
from tests.support.images import build_image, describe

DATA = bytes(range(256)) * 20


def blob_of(data: bytes, *, promised: bytes = DATA, algorithm: str = "sha256") -> Blob:
    """Return a blob that promises some bytes and delivers others."""
    descriptor = describe(promised, "application/octet-stream", algorithm=algorithm)
    return Blob(descriptor, io.BytesIO(data).read, where="the blob")


def read_whole(blob: Blob, size: int = 100) -> bytes:
    parts = []
    while part := blob.read(size):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("size", [1, 7, len(DATA), 1 << 20])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_what_was_promised_is_delivered(size: int, algorithm: str) -> None:
    assert read_whole(blob_of(DATA, algorithm=algorithm), size) == DATA


def test_no_read_returns_more_than_it_was_asked_for() -> None:
    blob = blob_of(DATA)
    assert len(blob.read(10)) == 10


def test_a_truncated_blob_never_reaches_its_end() -> None:
    blob = blob_of(DATA[:-1])
    with pytest.raises(SizeMismatch, match=rf"ends after {len(DATA) - 1} of {len(DATA)} bytes"):
        read_whole(blob)


def test_a_blob_that_is_too_long_never_reaches_its_end() -> None:
    with pytest.raises(SizeMismatch, match="longer than"):
        read_whole(blob_of(DATA + b"x"))


def test_the_last_bytes_are_withheld_until_they_are_verified() -> None:
    wrong = DATA[:-1] + b"!"
    blob = blob_of(wrong)
    assert blob.read(len(DATA) - 1) == wrong[:-1]
    with pytest.raises(DigestMismatch, match="the blob is damaged"):
        blob.read(1)


def test_one_wrong_byte_anywhere_is_found() -> None:
    with pytest.raises(DigestMismatch):
        read_whole(blob_of(b"\xff" + DATA[1:]))


def test_an_empty_blob_is_verified_as_well() -> None:
    assert read_whole(blob_of(b"", promised=b"")) == b""
    with pytest.raises(SizeMismatch):
        read_whole(blob_of(b"x", promised=b""))


def test_an_empty_blob_of_another_digest_is_refused() -> None:
    descriptor = Descriptor(media_type="x", digest=Digest.of(b"something"), size=0)
    with pytest.raises(DigestMismatch):
        read_whole(Blob.of(descriptor, b"", where="the blob"))


def test_after_the_end_comes_nothing_and_no_error() -> None:
    blob = blob_of(DATA)
    read_whole(blob)
    assert blob.read() == b""


def test_bytes_in_memory_are_verified_like_any_others() -> None:
    descriptor = describe(DATA, "x")
    assert read_whole(Blob.of(descriptor, DATA, where="memory")) == DATA
    with pytest.raises(DigestMismatch):
        read_whole(Blob.of(descriptor, DATA[::-1], where="memory"))


def test_a_blob_over_the_limit_is_not_read_into_memory() -> None:
    with pytest.raises(LimitExceeded, match="limit here is 10"):
        blob_of(DATA).read_all(10)


def test_a_blob_of_exactly_the_limit_is_read() -> None:
    assert blob_of(DATA).read_all(len(DATA)) == DATA


def test_whoever_watches_hears_of_every_byte() -> None:
    heard: list[int] = []
    read_whole(blob_of(DATA).watched(heard.append))
    assert sum(heard) == len(DATA)


def test_the_origin_is_released_once_and_also_after_an_error() -> None:
    closed: list[str] = []
    descriptor = describe(DATA, "x")
    with (
        pytest.raises(SizeMismatch),
        Blob(descriptor, lambda _: b"", where="x", close=lambda: closed.append("x")) as blob,
    ):
        blob.read()
    blob.close()
    assert closed == ["x"]


def test_a_closure_counts_the_bytes_of_documents_and_blobs() -> None:
    image = build_image([{"a": b"1"}])
    document = parse_manifest(image.manifest, None)
    closure = Closure(
        root=image.descriptor,
        documents=((image.descriptor, document),),
        blobs=(image.config, *image.layers),
    )
    assert closure.size == sum(map(len, image.blobs.values()))
    assert {d.digest for d in closure.descriptors} == set(image.blobs)
    assert closure.document(image.descriptor.digest) is document
    assert closure.document(image.config.digest) is None
