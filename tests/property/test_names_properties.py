"""What holds for every file that names images: an answer or one error; only names change."""

import contextlib
import json
from typing import Any

import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ocitool.bundles.mapping import MappedImage, Mapping, encode_map, parse_map
from ocitool.bundles.names import names_in
from ocitool.bundles.rewriting import NewNames, rewrite
from ocitool.errors import IntegrityError, UsageError
from tests.property.test_oci_properties import DIGESTS, PATHS, TAGS
from tests.support.examples import part_of

UNTIMED = settings(deadline=None, max_examples=part_of(40), phases=[Phase.generate])

PIECES = st.sampled_from(
    [
        *(
            "kind: Pod\n",
            "spec:\n",
            "  containers:\n",
            "  - image: ",
            "a:1",
            "&x ",
            "*x",
            "<<: *x\n",
        ),
        *("images:\n", "- name: a\n", "  newTag: ", "services: {", "image: ", "}", "[", "]", ", "),
        *(
            "'",
            '"',
            ">-\n    ",
            "|\n",
            "{{ .x }}",
            "# c\n",
            "---\n",
            "\r\n",
            "\t",
            "\ufeff",
            "? ",
            ": ",
        ),
        *(
            "!t ",
            "\\x3a",
            "\u00e9",
            "\x00",
            "\x85",
            "- ",
            "  ",
            "quay.io/x/y:2",
            "@sha256:",
            "ab" * 32,
        ),
    ]
)
NAMES = st.builds(lambda path, tag: f"r.example/{'/'.join(path)}:{tag}", PATHS, TAGS)
NO_NAME = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=12), st.lists(st.text(max_size=4))
)


@UNTIMED
@given(st.one_of(st.lists(PIECES, max_size=30).map("".join), st.text(), st.binary()))
def test_any_bytes_are_answered_or_refused(text: str | bytes) -> None:
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    try:
        found = names_in(data, "in")
    except (UsageError, IntegrityError):
        return
    assert found.images
    lines = data.decode().count("\n") + data.decode().count("\r") + 1
    assert all(1 <= image.line <= lines and image.column >= 1 for image in found.images)


@st.composite
def manifests(draw: st.DrawFn) -> tuple[list[dict[str, Any]], set[str]]:
    """Return documents as values, and the images of their containers."""
    images = draw(st.lists(NAMES, min_size=1, max_size=6))
    documents = []
    for image in images:
        value: Any = {"containers": [{"name": draw(st.text(max_size=5)), "image": image}]}
        for key in draw(st.lists(st.text(max_size=6), max_size=4)):
            value = [draw(NO_NAME), value] if not key else {key: value, "other": draw(NO_NAME)}
        documents.append({"kind": "Pod", "spec": value})
    return documents, set(images)


STYLES = st.fixed_dictionaries(
    {
        "default_style": st.sampled_from([None, "'", '"', "|", ">"]),
        "default_flow_style": st.sampled_from([None, True, False]),
        "line_break": st.sampled_from(["\n", "\r\n"]),
        "allow_unicode": st.booleans(),
        "width": st.sampled_from([20, 80, 1000]),
        "explicit_start": st.just(True),
    }
)


@UNTIMED
@given(manifests(), STYLES, st.booleans())
def test_a19_and_a20_hold_in_every_style(
    made: tuple[list[dict[str, Any]], set[str]], style: dict[str, Any], marked: bool
) -> None:
    documents, images = made
    text = "\ufeff" * marked + yaml.safe_dump_all(documents, **style)
    digest = "sha256:" + "ab" * 32
    names = NewNames(
        MappedImage(from_=one, to=one.replace("r.example", "s.example/m", 1), digest=digest)
        for one in images
    )
    data = text.encode()
    found = names_in(data, "in")
    assert set(found.names) == images
    done = rewrite(data, found, names)
    assert done.missing == ()

    def new(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: new(item) for key, item in value.items()}
        if isinstance(value, list):
            return [new(item) for item in value]
        if isinstance(value, str) and value.strip() in images:
            return value.replace("r.example", "s.example/m", 1) + f"@{digest}"
        return value

    got = list(yaml.safe_load_all(done.data.decode().removeprefix("\ufeff")))
    # PyYAML does not read back all that it writes, so what counts is what it read before.
    assert got == new(list(yaml.safe_load_all(text.removeprefix("\ufeff"))))
    assert rewrite(done.data, names_in(done.data, "in"), names).data == done.data


@UNTIMED
@given(manifests(), st.sampled_from([None, 2, "\t"]), st.booleans())
def test_a19_json_is_read_as_well(
    made: tuple[list[dict[str, Any]], set[str]], indent: Any, ascii_only: bool
) -> None:
    documents, images = made
    text = json.dumps({"items": documents}, indent=indent, ensure_ascii=ascii_only)
    assert set(names_in(text.encode(), "in").names) == images


@UNTIMED
@given(
    st.lists(
        st.builds(MappedImage, from_=NAMES, to=NAMES, digest=DIGESTS.map(str)),
        unique_by=lambda one: one.from_,
    )
)
def test_a21_a_map_is_read_as_it_was_written(images: list[MappedImage]) -> None:
    assert set(parse_map(encode_map(images), "map")) == set(images)


@UNTIMED
@given(st.binary())
def test_a21_any_bytes_are_a_map_or_refused(data: bytes) -> None:
    with contextlib.suppress(IntegrityError):
        parse_map(data, "map")


@UNTIMED
@given(st.lists(PATHS, max_size=4, unique_by=tuple), PATHS, TAGS)
def test_a21_the_longest_prefix_by_the_definition(
    prefixes: list[list[str]], path: list[str], tag: str
) -> None:
    rules = {tuple(prefix): f"s{number}.example" for number, prefix in enumerate(prefixes)}
    mapping = Mapping.parse(f"r.example/{'/'.join(prefix)}={to}/x" for prefix, to in rules.items())
    fitting = [prefix for prefix in rules if tuple(path[: len(prefix)]) == prefix]
    goes = str(mapping.destination(f"r.example/{'/'.join(path)}:{tag}"))
    if not fitting:
        assert goes == f"r.example/{'/'.join(path)}:{tag}"
        return
    longest = max(fitting, key=len)
    rest = "/".join(["x", *path[len(longest) :]])
    assert goes == f"{rules[longest]}/{rest}:{tag}"
