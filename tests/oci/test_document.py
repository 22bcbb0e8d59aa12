"""Strict JSON: one document, one reading."""

import time

import pytest

from ocitool.errors import LimitExceeded, MalformedDocument
from ocitool.oci import document
from ocitool.oci.document import decode_array, decode_object


def refused(data: bytes) -> str:
    with pytest.raises(MalformedDocument) as caught:
        decode_object(data, what="index.json")
    return caught.value.message


def test_a_sound_document_is_decoded() -> None:
    assert decode_object(b' {"a": [1, "\\u00e9", null, 1.5]}\n', what="x") == {
        "a": [1, "é", None, 1.5]
    }


def test_an_array_is_decoded_where_one_is_expected() -> None:
    assert decode_array(b"[{}]", what="manifest.json") == [{}]


def test_an_object_is_refused_where_an_array_is_expected() -> None:
    with pytest.raises(MalformedDocument, match=r"manifest\.json must be an array, not an object"):
        decode_array(b"{}", what="manifest.json")


def test_an_array_is_refused_where_an_object_is_expected() -> None:
    assert refused(b"[]") == "index.json must be an object, not an array"


def test_broken_json_is_refused_with_its_place() -> None:
    assert "line 2, column 1" in refused(b'{"a":\n}')


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"{}{}",
        b"{}]",
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":01}',
        b'{"a":"\n"}',
        b'{"a":"\\x"}',
        b"{}\x00",
        b'{"a":"',
        b'{"a":"\\',
    ],
)
def test_what_is_not_json_is_refused(data: bytes) -> None:
    assert refused(data).startswith("index.json is not JSON")


def test_a_byte_order_mark_is_refused() -> None:
    assert "byte order mark" in refused(b"\xef\xbb\xbf{}")


def test_utf_16_is_refused() -> None:
    refused('{"a":1}'.encode("utf-16-le"))


def test_bytes_that_are_not_utf_8_are_refused_with_their_place() -> None:
    assert refused(b'{"a":"\xff"}') == "index.json is not UTF-8 at byte 6"


def test_a_key_twice_in_one_object_is_refused() -> None:
    assert "'size' twice" in refused(b'{"a":[{"size":1,"size":2}]}')


def test_a_key_twice_by_way_of_an_escape_is_refused() -> None:
    assert "twice" in refused(b'{"size":1,"s\\u0069ze":2}')


def test_one_key_in_two_objects_is_fine() -> None:
    assert decode_object(b'{"a":{"a":{"a":1}}}', what="x") == {"a": {"a": {"a": 1}}}


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 5000])
def test_numbers_that_others_read_differently_are_refused(number: bytes) -> None:
    refused(b'{"a":' + number + b"}")


def test_half_of_a_surrogate_pair_is_refused() -> None:
    assert "surrogate" in refused(b'{"a":{"b":["\\uD83d"]}}')


def test_half_of_a_surrogate_pair_in_a_key_is_refused() -> None:
    assert "surrogate" in refused(b'{"\\udc00":1}')


def test_a_whole_surrogate_pair_is_fine() -> None:
    assert decode_object(b'{"a":"\\ud83d\\ude00"}', what="x") == {"a": "\U0001f600"}


def test_a_document_of_exactly_the_limit_is_accepted() -> None:
    assert decode_object(b"{}", what="x", limit=2) == {}


def test_a_document_above_the_limit_is_refused() -> None:
    with pytest.raises(LimitExceeded, match="config is larger than 2 bytes"):
        decode_object(b"{} ", what="config", limit=2)


def nested(depth: int) -> bytes:
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_64_levels_are_accepted() -> None:
    assert decode_object(nested(64), what="x")


def test_65_levels_are_refused() -> None:
    with pytest.raises(LimitExceeded, match="x is nested more than 64 levels deep"):
        decode_object(nested(65), what="x")


def test_levels_of_objects_count_like_levels_of_arrays() -> None:
    with pytest.raises(LimitExceeded):
        decode_object(b'{"a":' * 65 + b"1" + b"}" * 65, what="x")


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"a":' * 100_000, b"[]" * 99 + b"[" * 99])
def test_brackets_that_never_close_are_refused(data: bytes) -> None:
    with pytest.raises(LimitExceeded):
        decode_object(data, what="x")


@pytest.mark.parametrize(
    "text",
    [b"[" * 100, b'\\"' + b"[" * 100, b"\\\\", b'\\\\\\"' + b"{" * 100, b"[\\n", b"\\\\n["],
)
def test_brackets_in_strings_do_not_count(text: bytes) -> None:
    data = b'{"a":[' + b",".join([b'"' + text + b'"'] * 100) + b"]}"
    assert len(decode_object(data, what="x")) == 1


@pytest.mark.parametrize("text", [b"\\\\", b'\\"', b"]", b'\\\\\\"]', b"\\n"])
def test_strings_do_not_hide_brackets(text: bytes) -> None:
    string = b'"' + text + b'"'
    data = b'{"a":' + (b"[" + string + b",") * 80 + string + b"]" * 80 + b"}"
    with pytest.raises(LimitExceeded):
        decode_object(data, what="x")


def test_a_wide_document_is_not_a_deep_one() -> None:
    data = b'{"a":[' + b",".join([b'{"b":[[],{}]}'] * 1000) + b"]}"
    assert len(decode_object(data, what="x")) == 1


@pytest.mark.parametrize(
    ("brackets", "depth"),
    [
        (b"", 0),
        (b"[]", 1),
        (b"[][[]]", 2),
        (b"[" * 40 + b"]" * 40, 40),
        ((b"[" * 40 + b"]" * 40) * 3, 40),
        (b"[" + (b"[" * 40 + b"]" * 40) * 3 + b"]", 41),
        (b"[[]" * 40 + b"]" * 40, 41),
        (b"[" * 30 + b"]" * 20 + b"[" * 25 + b"]" * 35, 35),
    ],
)
def test_the_depth_of_brackets_is_their_deepest(brackets: bytes, depth: int) -> None:
    assert document._depth(brackets) == depth


def test_scanning_four_mebibytes_of_nested_brackets_takes_no_seconds() -> None:
    data = b"[" + b",".join([b"[" * 63 + b"]" * 63] * 33_000) + b"]"
    start = time.perf_counter()
    assert document._is_shallow(data, 64)
    assert time.perf_counter() - start < 1


def test_a_key_that_differs_from_a_known_one_in_case_is_refused() -> None:
    with pytest.raises(MalformedDocument, match=r"x has the key 'Layers' in place of 'layers'"):
        document.refuse_case_twins({"Layers": 1}, frozenset({"layers"}), "x")


def test_a_key_that_only_unicode_folds_to_a_known_one_is_refused() -> None:
    with pytest.raises(MalformedDocument):
        document.refuse_case_twins({"layerſ": 1}, frozenset({"layers"}), "x")


def test_unknown_keys_are_no_twins() -> None:
    document.refuse_case_twins({"layers": 1, "other": 2}, frozenset({"layers"}), "x")


@pytest.mark.parametrize("value", [True, 1.0, 1000.0, "1", None, -1, 2**63])
def test_what_is_no_size_is_refused_with_its_path(value: object) -> None:
    with pytest.raises(MalformedDocument, match=r"^manifest\.config\.size "):
        document.integer({"size": value}, "size", "manifest.config")


def test_a_size_in_exponent_form_is_refused() -> None:
    obj = decode_object(b'{"size":1e3}', what="x")
    with pytest.raises(MalformedDocument, match="must be an integer, not a fraction"):
        document.integer(obj, "size", "x")


def test_the_largest_size_is_accepted() -> None:
    assert document.integer({"size": 2**63 - 1}, "size", "x") == 2**63 - 1


def test_an_array_may_be_null_but_not_missing() -> None:
    assert document.array({"layers": None}, "layers", "x") == []
    with pytest.raises(MalformedDocument, match=r"x\.layers is missing"):
        document.array({}, "layers", "x")


def test_a_required_string_may_not_be_empty() -> None:
    with pytest.raises(MalformedDocument, match=r"x\.mediaType is empty"):
        document.string({"mediaType": ""}, "mediaType", "x")


def test_an_array_of_strings_names_the_item_that_is_none() -> None:
    with pytest.raises(MalformedDocument, match=r"x\.urls\[1\] must be a string, not a boolean"):
        document.strings({"urls": ["a", True]}, "urls", "x")


def test_a_mapping_of_strings_names_the_key_that_holds_none() -> None:
    with pytest.raises(MalformedDocument, match=r"x\.labels\['a'\] must be a string, not null"):
        document.mapping_of_strings({"labels": {"a": None}}, "labels", "x")


def test_encoding_is_compact_and_keeps_the_order() -> None:
    assert document.encode({"b": "é", "a": [1, None]}) == '{"b":"é","a":[1,null]}'.encode()
