"""Digests are canonical or they do not exist."""

import hashlib

import pytest

from ocitool.errors import MalformedDocument
from ocitool.oci.digest import Digest

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_sha256_digest_reads_and_prints_the_same() -> None:
    assert str(Digest.parse(f"sha256:{EMPTY}")) == f"sha256:{EMPTY}"


def test_a_sha512_digest_is_accepted() -> None:
    assert Digest.parse("sha512:" + "0" * 128).algorithm == "sha512"


@pytest.mark.parametrize(
    "text",
    [
        "",
        EMPTY,
        f"sha256:{EMPTY}\n",
        f" sha256:{EMPTY}",
        f"sha256:{EMPTY[:-1]}",
        f"sha256:{EMPTY}0",
        f"SHA256:{EMPTY}",
        f"sha512:{EMPTY}",
        f"md5:{'0' * 32}",
        "sha256:" + "0" * 63 + "g",
        "sha256:" + "0" * 63 + "０",
        "sha256:../../../../etc/passwd",
        f"sha256:sha256:{EMPTY}",
    ],
)
def test_what_is_not_a_canonical_digest_is_refused(text: str) -> None:
    with pytest.raises(MalformedDocument):
        Digest.parse(text)


def test_a_digest_with_upper_case_hex_is_refused() -> None:
    with pytest.raises(MalformedDocument):
        Digest.parse(f"sha256:{EMPTY.upper()}")


def test_a_digest_built_from_unsound_parts_is_refused() -> None:
    with pytest.raises(MalformedDocument):
        Digest("sha256", "../" + "0" * 61)


def test_the_error_shows_control_characters_escaped() -> None:
    with pytest.raises(MalformedDocument) as caught:
        Digest.parse("sha256:\x1b[31m")
    assert r"\x1b" in caught.value.message
    assert "\x1b" not in caught.value.message


def test_the_error_does_not_repeat_megabytes() -> None:
    with pytest.raises(MalformedDocument) as caught:
        Digest.parse("x" * 1_000_000)
    assert len(caught.value.message) < 300


def test_hashing_bytes_gives_their_digest() -> None:
    assert Digest.of(b"") == Digest("sha256", EMPTY)
    assert Digest.of(b"a", "sha512").hex == hashlib.sha512(b"a").hexdigest()


def test_an_unknown_algorithm_cannot_hash() -> None:
    with pytest.raises(MalformedDocument):
        Digest.of(b"", "md5")


def test_a_hasher_of_the_same_algorithm_verifies_content() -> None:
    digest = Digest.of(b"content", "sha512")
    hasher = digest.hasher()
    hasher.update(b"con")
    hasher.update(b"tent")
    assert Digest.from_hasher("sha512", hasher) == digest


def test_the_short_form_has_twelve_hex_digits() -> None:
    assert Digest.of(b"").short == "e3b0c44298fc"
