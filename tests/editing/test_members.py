"""What an edit is not about survives it, whatever it is."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ocitool.editing.layers import append_entries
from ocitool.editing.parts import ImageParts
from ocitool.editing.settings import Settings, apply_settings
from ocitool.oci import ImageConfig, Manifest, parse_manifest
from ocitool.oci.members import put, put_or_drop
from tests.editing.test_layers import entry, layer
from tests.support.images import as_json, build_image

VALUES: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.text(min_size=1).map(lambda text: f"x.{text}")
UNKNOWN = st.dictionaries(NAMES, VALUES, max_size=4)


@settings(max_examples=40)
@given(UNKNOWN, UNKNOWN, UNKNOWN)
def test_m2_unknown_members_survive_every_edit(
    manifest: dict[str, object], config: dict[str, object], runtime: dict[str, object]
) -> None:
    image = build_image()
    fields = json.loads(image.blobs[image.config.digest])
    raw = as_json({**config, **fields, "config": {**runtime, "Labels": {"a": "1"}}})
    document = parse_manifest(as_json({**json.loads(image.manifest), **manifest}), None)
    assert isinstance(document, Manifest)
    parts = ImageParts(manifest=document, config=ImageConfig.parse(raw))
    for new in (
        append_entries(parts, [entry(layer())]),
        apply_settings(parts, Settings(labels={"b": "2"}, annotations={"k": "v"})),
    ):
        after, made = json.loads(new.config.raw), json.loads(new.manifest.raw)
        assert {key: after[key] for key in config} == config
        assert {key: after["config"][key] for key in runtime} == runtime
        assert {key: made[key] for key in manifest} == manifest
        assert list(after) == list(json.loads(raw))


ORDER = ("a", "b", "c", "d")


@given(st.lists(st.sampled_from("abcdxyz"), unique=True), st.sampled_from(ORDER))
def test_m2_a_new_member_goes_before_those_that_follow_it(keys: list[str], key: str) -> None:
    fields: dict[str, object] = dict.fromkeys(keys, 0)
    put(fields, key, 1, ORDER)
    assert [one for one in fields if one in keys] == keys
    assert fields[key] == 1
    if key not in keys and sorted(one for one in keys if one in ORDER) == [
        one for one in keys if one in ORDER
    ]:
        known = [one for one in fields if one in ORDER]
        assert known == sorted(known)


def test_m2_what_is_empty_and_stays_so_is_left_as_it_was_written() -> None:
    empties: list[object] = [None, "", [], {}]
    for empty in empties:
        fields: dict[str, object] = {"a": empty}
        put_or_drop(fields, "a", None, ORDER)
        assert fields == {"a": empty}
    fields = {"a": "x"}
    put_or_drop(fields, "a", "", ORDER)
    assert fields == {}
