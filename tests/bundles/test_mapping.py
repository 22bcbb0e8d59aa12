"""Where images go: by prefixes, by whole names, below a prefix, and the file that says so."""

import json

import pytest

from ocitool.bundles.mapping import (
    Below,
    MappedImage,
    Mapping,
    destinations,
    encode_map,
    parse_map,
)
from ocitool.errors import MalformedDocument, UsageError
from ocitool.oci import Digest

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32


class TestA21Prefixes:
    MAPPING = Mapping.parse(
        [
            "registry.example=registry.site/mirror",
            "registry.example/team/app=registry.site/apps/one",
            "registry.example/team=other.site",
            "docker.io=registry.site/hub",
        ]
    )

    @pytest.mark.parametrize(
        ("name", "goes"),
        [
            ("registry.example/a:1", "registry.site/mirror/a:1"),
            ("registry.example/team/x/y:1", "other.site/x/y:1"),
            ("registry.example/team/app:1", "registry.site/apps/one:1"),
            ("registry.example/team/app/sub:1", "registry.site/apps/one/sub:1"),
            ("registry.example/team/apple:1", "other.site/apple:1"),
            ("registry.example/teams/a:1", "registry.site/mirror/teams/a:1"),
            ("registry.example:5000/a:1", "registry.example:5000/a:1"),
            ("registry.example.org/a:1", "registry.example.org/a:1"),
            ("nginx", "registry.site/hub/library/nginx:latest"),
            (f"registry.example/a@{DIGEST}", f"registry.site/mirror/a@{DIGEST}"),
            (f"registry.example/a:1@{DIGEST}", f"registry.site/mirror/a:1@{DIGEST}"),
        ],
    )
    def test_the_longest_prefix_of_whole_components_counts(self, name: str, goes: str) -> None:
        assert str(self.MAPPING.destination(name)) == goes

    def test_the_order_of_the_rules_does_not_matter(self) -> None:
        rules = ["a.example/b=x.site", "a.example=y.site", "a.example/b/c=z.site"]
        for order in (rules, rules[::-1]):
            assert str(Mapping.parse(order).destination("a.example/b/c/d:1")) == "z.site/d:1"

    def test_a_whole_name_comes_before_every_prefix(self) -> None:
        mapping = Mapping.parse(["a.example/b:1=x.site/one:v1", "a.example=y.site"])
        assert str(mapping.destination("a.example/b:1")) == "x.site/one:v1"
        assert str(mapping.destination(f"a.example/b:1@{DIGEST}")) == f"x.site/one:v1@{DIGEST}"
        assert str(mapping.destination("a.example/b:2")) == "y.site/b:2"

    def test_all_others_go_below_a_prefix_or_stay(self) -> None:
        below = Below.parse("site.example/m")
        mapping = Mapping.parse(["a.example=x.site"], below)
        assert str(mapping.destination("a.example/b:1")) == "x.site/b:1"
        assert str(mapping.destination("c.example/b:1")) == "site.example/m/b:1"
        assert str(Mapping.parse([]).destination("c.example/b:1")) == "c.example/b:1"

    @pytest.mark.parametrize(
        ("rule", "told"),
        [
            ("registry.example", "has no ="),
            ("team=registry.site", "does not name a registry"),
            ("registry.example=mirror", "does not name a registry"),
            ("=registry.site", "names no registry"),
            ("registry.example=", "names no registry"),
            ("registry.example/a:1=registry.site/b", "not a name with a tag"),
            ("registry.example/A=registry.site", "must be lower case"),
        ],
    )
    def test_what_is_no_rule(self, rule: str, told: str) -> None:
        with pytest.raises(UsageError) as caught:
            Mapping.parse([rule])
        assert told in caught.value.message
        assert caught.value.hint

    def test_one_prefix_cannot_go_to_two_places(self) -> None:
        with pytest.raises(UsageError, match="two meanings"):
            Mapping.parse(["a.example=b.site", "a.example/=c.site"])

    def test_a_name_is_never_left_empty(self) -> None:
        with pytest.raises(UsageError, match="without a name"):
            Mapping.parse(["a.example/b=c.site"]).destination("a.example/b:1")


class TestA21Meeting:
    MAPPING = Mapping.parse(["a.example=site.example", "b.example=site.example"])

    def test_two_images_that_would_meet_are_refused_with_both_names(self) -> None:
        images = [
            ("a.example/app:1", Digest.parse(DIGEST)),
            ("b.example/app:1", Digest.parse(OTHER)),
            ("b.example/app:2", Digest.parse(OTHER)),
        ]
        with pytest.raises(UsageError) as caught:
            destinations(images, self.MAPPING.destination, hint="do this")
        assert caught.value.message == (
            "different images would get the same name: "
            "a.example/app:1, b.example/app:1 -> site.example/app:1"
        )
        assert caught.value.hint == "do this"

    def test_so_are_two_digests_under_one_tag(self) -> None:
        images = [(f"a.example/app:1@{digest}", None) for digest in (DIGEST, OTHER)]
        with pytest.raises(UsageError, match="the same name"):
            destinations(images, self.MAPPING.destination, hint="")

    def test_one_image_may_get_one_name_twice(self) -> None:
        images = [(f"{host}.example/app:1", Digest.parse(DIGEST)) for host in ("a", "b")]
        going = destinations(images, self.MAPPING.destination, hint="")
        assert {str(to) for to in going.values()} == {"site.example/app:1"}

    def test_images_without_a_digest_are_different(self) -> None:
        images = [("a.example/app:1", None), ("b.example/app:1", None)]
        with pytest.raises(UsageError, match="the same name"):
            destinations(images, self.MAPPING.destination, hint="")


class TestA21File:
    IMAGES = (
        MappedImage(from_="b.example/b:1", to="s.example/b:1", digest=OTHER),
        MappedImage(from_="a.example/a:1", to="s.example/a:1", digest=DIGEST),
    )

    def test_the_file_is_as_described_and_the_same_for_every_order(self) -> None:
        raw = encode_map(self.IMAGES)
        assert raw == encode_map(self.IMAGES[::-1])
        assert json.loads(raw) == {
            "format": "ocitool-map/1",
            "images": [
                {"from": "a.example/a:1", "to": "s.example/a:1", "digest": DIGEST},
                {"from": "b.example/b:1", "to": "s.example/b:1", "digest": OTHER},
            ],
        }
        assert list(json.loads(raw)["images"][0]) == ["from", "to", "digest"]
        assert parse_map(raw, "map.json") == self.IMAGES[::-1]
        assert parse_map(encode_map([]), "map.json") == ()

    def test_unknown_keys_are_ignored(self) -> None:
        raw = json.loads(encode_map(self.IMAGES))
        raw["images"][0]["more"] = raw["more"] = 1
        assert parse_map(json.dumps(raw).encode(), "map.json") == self.IMAGES[::-1]

    @pytest.mark.parametrize(
        ("raw", "told"),
        [
            (b"", "map.json is no map"),
            (b"kind: Pod", "map.json is no map"),
            (b"[" * 100_000, "map.json is no map"),
            (b'{"format":"ocitool-map/2","images":[]}', "'ocitool-map/2', not ocitool-map/1"),
            (b'{"format":"ocitool-map/1"}', "images"),
            (
                b'{"format":"ocitool-map/1","images":[{"from":"A","to":"b","digest":"x"}]}',
                "images[0]",
            ),
            (
                b'{"format":"ocitool-map/1","images":[{"from":"a","to":"b","digest":"x"}]}',
                "images[0]",
            ),
        ],
    )
    def test_what_is_no_map(self, raw: bytes, told: str) -> None:
        with pytest.raises(MalformedDocument) as caught:
            parse_map(raw, "map.json")
        assert told in caught.value.message

    def test_one_image_is_not_in_two_places(self) -> None:
        images = [MappedImage(from_="a:1", to=f"s.example/{x}:1", digest=DIGEST) for x in "ab"]
        with pytest.raises(MalformedDocument, match="in two places"):
            parse_map(encode_map(images), "map.json")
