"""What a client or a user may write: any text is read, or refused with a code, never a failure."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocitool.errors import OcitoolError, UsageError
from ocitool.oci import Digest
from ocitool.serving.documents import read_facts
from ocitool.serving.log import as_json, as_text
from ocitool.serving.messages import Answer, Refusal, Request
from ocitool.serving.names import NameRules, repository_of
from ocitool.serving.ranges import asked_range
from ocitool.serving.transport.connection import Exchange
from ocitool.serving.transport.listening import parse_address
from ocitool.serving.upstream.origins import parse_origin
from tests.support.serving import Registry, writing

TEXTS = st.text(st.characters(codec="latin-1"), max_size=60)
METHODS = st.sampled_from(["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"])
PARTS = st.one_of(
    TEXTS,
    st.sampled_from(
        [
            *("app", "blobs", "uploads", "manifests", "tags", "list", "referrers", "_catalog"),
            *("..", "%2e%2e", "%00", "1", "docker.io", "localhost:5000", "0" * 32),
            str(Digest.of(b"x")),
            "sha512:x",
        ]
    ),
)


@given(text=st.one_of(TEXTS, st.from_regex(r"bytes=\d*-\d*")), size=st.integers(0, 1 << 40))
def test_a_range_lies_in_the_blob(text: str, size: int) -> None:
    found = None
    status = 416
    try:
        found = asked_range(text, size)
    except Refusal as refusal:
        status = refusal.status
    assert status == 416
    if found is not None:
        start, length = found
        assert start >= 0
        assert 0 < length <= size - start


@given(first=st.integers(0, 50), last=st.integers(0, 50), size=st.integers(1, 40))
def test_a_range_is_that_of_the_bytes(first: int, last: int, size: int) -> None:
    data = bytes(range(size))
    expected = data[first : last + 1] if first <= last else b""
    try:
        found = asked_range(f"bytes={first}-{last}", size)
    except Refusal:
        assert expected == b""
        return
    assert found is not None
    assert data[found[0] : found[0] + found[1]] == expected


@given(path=TEXTS, registry=st.none() | TEXTS)
def test_a_path_means_a_repository_or_is_refused(path: str, registry: str | None) -> None:
    name, status = "", 200
    try:
        name = repository_of(path, registry, {}, NameRules())
    except Refusal as refusal:
        status = refusal.status
    assert status in (200, 400, 404)
    if not name:
        return
    host, _, rest = name.partition("/")
    assert host
    assert rest
    assert ".." not in rest.split("/")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> "Registry":  # type: ignore[misc]
    path: Path = tmp_path_factory.mktemp("serving") / "store"
    with writing(path) as served:
        served.push_image("app", "1")
        yield served


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=METHODS,
    parts=st.lists(PARTS, max_size=6),
    query=st.dictionaries(
        st.sampled_from(["digest", "mount", "from", "n", "last", "ns", "tag", "artifactType"]),
        PARTS,
        max_size=3,
    ),
    body=st.binary(max_size=50),
    headers=st.dictionaries(
        st.sampled_from(["range", "content-range", "content-type", "if-match", "if-none-match"]),
        TEXTS,
        max_size=3,
    ),
)
def test_any_request_is_answered(
    registry: Registry,
    method: str,
    parts: list[str],
    query: dict[str, str],
    body: bytes,
    headers: dict[str, str],
) -> None:
    target = "/v2/" + "/".join(parts) + "?" + "&".join(f"{k}={v}" for k, v in query.items())
    answer = registry.ask(method, target, body, headers)
    assert 200 <= answer.status < 500
    if answer.status >= 400:
        assert answer.json["errors"][0]["code"].isupper()
    assert registry.told == []


@given(
    text=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["config", "layers", "manifests", "mediaType", "digest", "size", "x"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=15,
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_manifest_is_read_or_malformed(text: bytes) -> None:
    for media_type in (None, "application/vnd.oci.image.index.v1+json", "application/x"):
        try:
            facts = read_facts(text, media_type)
        except OcitoolError:
            continue
        assert facts.size == len(text)


@given(method=TEXTS, target=TEXTS, asked=TEXTS, note=TEXTS)
def test_a_line_of_the_log_is_one_plain_line(
    method: str, target: str, asked: str, note: str
) -> None:
    request = Request(method=method, target=target, headers={"range": asked}, client="::1")
    answer = Answer(status=200, note={"user": note})
    exchange = Exchange(request=request, answer=answer, sent=0, seconds=0.1, is_whole=True)
    for line in (as_json(exchange), as_text(exchange)):
        assert line.isascii()
        assert line.isprintable()


@given(text=TEXTS)
def test_what_a_user_writes_is_read_or_told(text: str) -> None:
    for parse in (parse_address, parse_origin):
        with contextlib.suppress(UsageError):
            parse(text)
