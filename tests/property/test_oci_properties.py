"""What holds for every reference, digest, platform and document."""

import json
import math
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from ocitool.errors import IntegrityError, UsageError
from ocitool.oci.config import ImageConfig
from ocitool.oci.digest import Digest
from ocitool.oci.document import _depth, _is_shallow, decode_object
from ocitool.oci.manifest import parse_manifest
from ocitool.oci.platform import Platform
from ocitool.oci.reference import Reference

# A busy machine is no failure.
UNTIMED = settings(deadline=None)

DIGESTS = st.builds(
    Digest.of, st.binary(max_size=8), algorithm=st.sampled_from(["sha256", "sha512"])
)
COMPONENTS = st.from_regex(r"[a-z0-9]{1,4}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}", fullmatch=True)
DOMAINS = st.one_of(
    st.sampled_from(["docker.io", "localhost", "index.docker.io", "quay.io", "HOST", "[::1]:5000"]),
    st.from_regex(r"[a-zA-Z0-9]{1,5}(-[a-z0-9]{1,3})?\.[a-z]{2,3}(:[0-9]{1,5})?", fullmatch=True),
)
PATHS = st.lists(COMPONENTS | st.sampled_from(["library", "localhost"]), min_size=1, max_size=4)
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)


def refusal(action: Callable[[], object]) -> str:
    """Return why it was refused, nothing if it was not; any other failure fails the test."""
    try:
        action()
    except (IntegrityError, UsageError) as error:
        return error.message
    return ""


@st.composite
def names(draw: st.DrawFn) -> str:
    domain = draw(st.one_of(st.just(""), DOMAINS.map(lambda text: f"{text}/")))
    tag = draw(st.one_of(st.just(""), TAGS.map(lambda text: f":{text}")))
    digest = draw(st.one_of(st.just(""), DIGESTS.map(lambda value: f"@{value}")))
    return f"{domain}{'/'.join(draw(PATHS))}{tag}{digest}"


def read(text: str) -> Reference | None:
    try:
        return Reference.parse(text)
    except UsageError:
        # Without a domain, a first component with a dot is one, and it may hold `_`.
        assert "_" in text or "." in text
        return None


@UNTIMED
@given(names())
def test_a_reference_reads_back_from_its_text(text: str) -> None:
    reference = read(text)
    assert reference is None or Reference.parse(str(reference)) == reference


@UNTIMED
@given(names())
def test_a_reference_reads_back_from_its_familiar_form(text: str) -> None:
    reference = read(text)
    assert reference is None or Reference.parse(reference.familiar) == reference


@UNTIMED
@given(st.text())
def test_any_text_is_a_reference_or_a_usage_error(text: str) -> None:
    message = refusal(lambda: Reference.parse(text))
    assert message.isprintable()
    if not message:
        assert Reference.parse(text).repository.isascii()


@UNTIMED
@given(DIGESTS)
def test_a_digest_reads_back_from_its_text(digest: Digest) -> None:
    assert Digest.parse(str(digest)) == digest


@UNTIMED
@given(st.text())
def test_any_text_is_a_digest_that_prints_the_same_or_an_integrity_error(text: str) -> None:
    message = refusal(lambda: Digest.parse(text))
    assert message.isprintable()
    assert message or str(Digest.parse(text)) == text


WORDS = st.from_regex(r"[A-Za-z0-9_.-]{1,8}", fullmatch=True)
ARCHITECTURES = WORDS | st.sampled_from(["x86_64", "aarch64", "armhf", "armel", "arm", "i386"])
PLATFORMS = st.builds(
    Platform,
    os=st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True) | st.sampled_from(["macos", "windows"]),
    architecture=ARCHITECTURES | st.sampled_from(["amd64", "arm64"]),
    variant=st.just("") | WORDS | st.from_regex(r"v?[5-9](\.[0-9])?", fullmatch=True),
    os_version=st.just("") | WORDS,
    os_features=st.lists(WORDS, max_size=2).map(tuple),
)


@UNTIMED
@given(PLATFORMS)
def test_a_platform_reads_back_from_its_text(platform: Platform) -> None:
    assert Platform.parse(str(platform)) == platform.normalized()


@UNTIMED
@given(PLATFORMS)
def test_normalising_a_platform_again_changes_nothing(platform: Platform) -> None:
    assert platform.normalized().normalized() == platform.normalized()


@UNTIMED
@given(PLATFORMS)
def test_a_platform_reads_back_from_its_json(platform: Platform) -> None:
    assert Platform.from_json(platform.to_json(), "platform") == platform


@UNTIMED
@given(PLATFORMS)
def test_a_platform_serves_itself_and_is_served_by_its_fallbacks(platform: Platform) -> None:
    ranks = [platform.rank(offered) for offered in (platform, *platform.fallbacks())]
    if not platform.normalized().is_unknown:
        assert ranks == [2 * place for place in range(len(ranks))]


KEYS = st.text(st.characters(codec="utf-8"), max_size=8)
NUMBERS = st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | KEYS | st.text('[]{}"\\\n'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@UNTIMED
@given(st.dictionaries(KEYS, VALUES), st.booleans(), st.sampled_from([None, 1]))
def test_sound_documents_decode_as_the_standard_library_does(
    value: dict[str, object], ascii_only: bool, indent: int | None
) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert decode_object(data, what="x") == json.loads(data)


def depth_of(value: object) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(depth_of, value.values() if isinstance(value, dict) else value), default=0)


@UNTIMED
@given(VALUES)
def test_the_depth_scan_agrees_with_the_decoded_document(value: object) -> None:
    data = json.dumps(value).encode()
    # Brackets ahead, so that the scan does not stop at a count of them.
    padded = b"[" + b"[]," * 3 + data + b"]"
    depth = max(2, 1 + depth_of(value))
    assert _is_shallow(padded, depth)
    assert not _is_shallow(padded, depth - 1)


def nest(inner: list[bytes]) -> bytes:
    return b"[" * (1 + len(inner) * 9) + b"".join(inner) + b"]" * (1 + len(inner) * 9)


@UNTIMED
@given(st.recursive(st.just(b"[]"), lambda inner: st.lists(inner).map(nest)))
def test_the_depth_of_brackets_agrees_with_counting(brackets: bytes) -> None:
    level = deepest = 0
    for byte in brackets:
        level += 1 if byte == ord("[") else -1
        deepest = max(deepest, level)
    assert _depth(brackets) == deepest


@UNTIMED
@given(st.binary() | st.text('{}[]":,\\u0d8e1.-truefalsn ').map(str.encode))
def test_any_bytes_decode_to_json_or_to_an_integrity_error(data: bytes) -> None:
    message = refusal(lambda: decode_object(data, what="x"))
    assert message.startswith("x ") or decode_object(data, what="x") == json.loads(data)


@UNTIMED
@given(st.dictionaries(st.sampled_from(["config", "layers", "manifests", "rootfs"]), VALUES))
def test_any_document_is_read_or_refused_without_a_crash(obj: dict[str, object]) -> None:
    data = json.dumps(obj).encode()
    assert refusal(lambda: ImageConfig.parse(data)).isprintable()
    assert refusal(lambda: parse_manifest(data, None)).isprintable()


@UNTIMED
@given(st.floats())
def test_only_finite_numbers_are_decoded(number: float) -> None:
    data = json.dumps({"a": number}).encode()
    try:
        assert decode_object(data, what="x") == {"a": number}
    except IntegrityError:
        assert not math.isfinite(number)
