"""A25: the plan: JSON lines that freeze what goes where, and its parts by repository."""

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocitool.bundles.sync.plan import (
    PlanLine,
    PlannedArtifact,
    Shard,
    encode_plan,
    parse_plan,
)
from ocitool.errors import MalformedDocument, UsageError
from ocitool.oci import Descriptor, Digest, Platform, Reference

ONE, TWO = Digest.of(b"1"), Digest.of(b"2")
LINE = PlanLine(
    source=Reference.parse(f"h.io/t/a:1@{ONE}"),
    target=Reference.parse("g.io/m/t/a:1"),
    digest=TWO,
    platforms=(Platform.parse("linux/arm64"),),
    referrers=(
        PlannedArtifact(
            descriptor=Descriptor(media_type="application/x", digest=ONE, size=3), subject=TWO
        ),
    ),
    rule="sync.yaml:3 allow ü",
)
# By hand: the format of a plan is an interface.
WRITTEN = (
    f'{{"format":"ocitool-plan/1","source":"h.io/t/a:1@{ONE}","target":"g.io/m/t/a","tag":"1",'
    f'"digest":"{TWO}","platforms":["linux/arm64"],"referrers":[{{"digest":"{ONE}",'
    f'"mediaType":"application/x","size":3,"subject":"{TWO}"}}],'
    '"rule":"sync.yaml:3 allow \\u00fc"}\n'
).encode()


class TestFormat:
    def test_a25_a_line_is_one_object_in_ascii(self) -> None:
        assert encode_plan([LINE]) == WRITTEN
        assert parse_plan(WRITTEN, "p") == [LINE]

    def test_a25_lines_may_be_joined_and_know_more_than_we_do(self) -> None:
        more = WRITTEN.replace(b'"rule"', b'"later":{"a":[1]},"rule"')
        assert parse_plan(WRITTEN + b"\n" + more, "p") == [LINE]

    def test_a25_an_image_without_a_tag_goes_by_its_digest(self) -> None:
        (line,) = parse_plan(WRITTEN.replace(b'"tag":"1"', b'"tag":null'), "p")
        assert str(line.destination) == f"g.io/m/t/a@{TWO}"

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            (b"ocitool-plan/1", b"ocitool-plan/2", "p:1 is no line of a plan: its format is"),
            (f"@{ONE}".encode(), b"", "its source has no digest"),
            (b'"g.io/m/t/a"', b'"m"', "not the full name of a repository"),
            (b'"g.io/m/t/a"', b'"g.io/m:2"', "not the full name of a repository"),
            (b'"tag":"1"', b'"tag":"a b"', "'a b' is not a tag"),
            (b'"size":3', b'"size":-3', "wrong"),
            (b'"size":3', b'"size":"3"', "p:1"),
            (f',"subject":"{TWO}"'.encode(), b"", "neither a subject nor a tag"),
            (b"linux/arm64", b"linux", "p:1"),
            (b"}\n", b"\n", "p:1"),
            (b'"digest":"sha256:', b'"digest":"sha256:x', "p:1"),
        ],
    )
    def test_a25_what_is_no_line_is_named(self, old: bytes, new: bytes, said: str) -> None:
        with pytest.raises(MalformedDocument) as caught:
            parse_plan(WRITTEN.replace(old, new), "p")
        assert said in caught.value.message

    def test_a25_a_plan_that_holds_nothing_is_none(self) -> None:
        with pytest.raises(MalformedDocument, match="holds no plan"):
            parse_plan(b"\n\n", "p")

    def test_a25_two_images_for_one_tag_are_refused(self) -> None:
        other = WRITTEN.replace(f'"digest":"{TWO}","p'.encode(), f'"digest":"{ONE}","p'.encode())
        with pytest.raises(UsageError, match=r"g\.io/m/t/a:1 would be both"):
            parse_plan(WRITTEN + other, "p")

    @settings(deadline=None)
    @given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
    def test_a25_any_bytes_are_a_plan_or_refused(self, data: bytes) -> None:
        with pytest.raises(MalformedDocument):
            parse_plan(data, "p")


class TestShards:
    @settings(deadline=None)
    @given(st.integers(1, 50), st.text("abc", min_size=1, max_size=9))
    def test_a25_each_repository_is_in_one_shard(self, count: int, path: str) -> None:
        target = Reference.parse(f"h.io/{path}:1")
        holding = [n for n in range(count) if Shard.parse(f"{n}/{count}").has(target)]
        whole = int(hashlib.sha256(f"h.io/{path}".encode()).hexdigest(), 16)
        assert holding == [whole % count]
        assert Shard.parse(f"{holding[0]}/{count}").has(Reference.parse(f"h.io/{path}:other"))

    def test_a25_numbers_from_one_on_are_the_same_shards(self) -> None:
        assert Shard.parse("4/4") == Shard.parse("0/4") == Shard(number=0, count=4)
        assert Shard.parse("0/1").has(Reference.parse("h.io/a:1"))

    @pytest.mark.parametrize(
        "text", ["", "1", "5/4", "-1/4", "1/0", "a/b", "1/", "/4", "1/2/3", "٣/4"]
    )
    def test_a25_anything_else_is_no_shard(self, text: str) -> None:
        with pytest.raises(UsageError, match="is no shard"):
            Shard.parse(text)

    def test_a25_the_lines_are_json(self) -> None:
        assert json.loads(WRITTEN)["format"] == "ocitool-plan/1"
