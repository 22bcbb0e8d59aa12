"""manifest.json: keys in any case, tags of all kinds, and what is no image."""

import json

import pytest

from ocitool.errors import LimitExceeded, MalformedDocument
from ocitool.oci.limits import Limits
from ocitool.places.archive.docker import DockerImage, parse_docker_manifest

WHAT = "manifest.json of 'x.tar'"


def parsed(*entries: object) -> tuple[DockerImage, ...]:
    return parse_docker_manifest(json.dumps(entries).encode(), what=WHAT)


def entry(**fields: object) -> dict[str, object]:
    return {"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["l/layer.tar"], **fields}


def test_an_entry_is_config_names_and_layers() -> None:
    (image,) = parsed(entry())
    assert image == DockerImage(
        position=0,
        config="c.json",
        layers=("l/layer.tar",),
        names=("docker.io/library/a:1",),
    )


def test_entries_keep_their_order() -> None:
    images = parsed(entry(Config="1"), entry(Config="2"))
    assert [(image.position, image.config) for image in images] == [(0, "1"), (1, "2")]


def test_the_case_of_keys_is_ignored() -> None:
    (image,) = parsed({"config": "c", "repoTags": ["a:1"], "LAYERS": ["l"]})
    assert (image.config, image.layers, image.names) == ("c", ("l",), ("docker.io/library/a:1",))


def test_a_key_in_two_spellings_is_refused() -> None:
    with pytest.raises(MalformedDocument, match=r"\[0\] has the key 'config' in two spellings"):
        parsed(entry(config="d"))


@pytest.mark.parametrize("tags", [None, []])
def test_an_image_may_have_no_tags(tags: object) -> None:
    assert parsed(entry(RepoTags=tags))[0].names == ()


def test_tags_may_be_left_out() -> None:
    assert parsed({"Config": "c", "Layers": []})[0].names == ()


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("a:1", "docker.io/library/a:1"),
        ("a/b:1", "docker.io/a/b:1"),
        ("localhost/a:1", "localhost/a:1"),
        ("registry.example.com:5000/a/b:1", "registry.example.com:5000/a/b:1"),
        ("a", "docker.io/library/a:latest"),
    ],
)
def test_tags_become_full_names(tag: str, name: str) -> None:
    assert parsed(entry(RepoTags=[tag]))[0].names == (name,)


def test_equal_tags_count_once() -> None:
    tags = ["a:1", "docker.io/library/a:1", "a:2"]
    names = parsed(entry(RepoTags=tags))[0].names
    assert names == ("docker.io/library/a:1", "docker.io/library/a:2")


def test_the_tag_that_crane_makes_up_is_no_name() -> None:
    assert parsed(entry(RepoTags=["a:i-was-a-digest"]))[0].names == ()


def test_a_tag_that_is_not_a_name_is_left_out_and_told() -> None:
    (image,) = parsed(entry(RepoTags=["Upper:1", "a:1"]))
    assert image.names == ("docker.io/library/a:1",)
    assert "must be lower case" in image.refused["Upper:1"]


@pytest.mark.parametrize("layers", [None, []])
def test_an_image_may_have_no_layers(layers: object) -> None:
    assert parsed(entry(Layers=layers))[0].layers == ()


def test_unknown_keys_are_no_matter() -> None:
    assert parsed(entry(Parent="x", LayerSources={"a": {}}))[0].config == "c.json"


@pytest.mark.parametrize("data", [b"null", b" null\n"])
def test_null_holds_no_image(data: bytes) -> None:
    with pytest.raises(MalformedDocument, match="is null: the archive holds no image"):
        parse_docker_manifest(data, what=WHAT)


def test_an_empty_list_holds_no_image() -> None:
    with pytest.raises(MalformedDocument, match="is empty: the archive holds no image"):
        parsed()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[1]",
        b"[null]",
        b'[{"Layers": []}]',
        b'[{"Config": "", "Layers": []}]',
        b'[{"Config": 1, "Layers": []}]',
        b'[{"Config": "c", "Layers": "l"}]',
        b'[{"Config": "c", "Layers": [1]}]',
        b'[{"Config": "c", "Config": "d"}]',
        b'[{"Config": "c", "RepoTags": "a:1"}]',
    ],
)
def test_what_is_no_manifest_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(MalformedDocument, match=r"manifest\.json of 'x\.tar'"):
        parse_docker_manifest(data, what=WHAT)


def test_a_manifest_over_the_limit_is_refused() -> None:
    with pytest.raises(LimitExceeded):
        parse_docker_manifest(
            json.dumps([entry()]).encode(), what=WHAT, limits=Limits(docker_manifest_bytes=10)
        )
