"""JSON documents, decoded strictly, and typed access to their fields.

Two parsers that read the same document differently are a security hole, so everything ambiguous is
refused: duplicate keys, NaN, lone surrogates, a byte order mark, and keys that only Go's decoder
would accept as known ones (image-spec considerations.md, "JSON", asks for I-JSON, RFC 7493).
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NoReturn, TypeVar

from ocitool.errors import LimitExceeded, MalformedDocument
from ocitool.oci.limits import DEFAULT_LIMITS
from ocitool.oci.quoting import quoted

Value = TypeVar("Value")

LARGEST_INTEGER = 2**63 - 1

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONGEST_INTEGER = 20
_MANY_PAIRS = 16
_FILE_NAMES = ("'", '"', ".json")
_NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in b'[]{}"')
_BRACES_TO_BRACKETS = bytes.maketrans(b"{}", b"[]")
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_KINDS: dict[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a fraction",
    type(None): "null",
}


def decode_object(
    data: bytes,
    *,
    what: str,
    limit: int = DEFAULT_LIMITS.manifest_bytes,
    depth: int = DEFAULT_LIMITS.json_depth,
) -> dict[str, object]:
    """Decode a JSON document that must be an object.

    Raises `LimitExceeded` for more than `limit` bytes or `depth` levels, or too many values, and
    `MalformedDocument`; messages begin with `what`.
    """
    return as_object(_decode(data, what, limit, depth), what)


def decode_array(
    data: bytes,
    *,
    what: str,
    limit: int = DEFAULT_LIMITS.docker_manifest_bytes,
    depth: int = DEFAULT_LIMITS.json_depth,
) -> list[object]:
    """Decode a JSON document that must be an array; raises as `decode_object` does."""
    return as_array(_decode(data, what, limit, depth), what)


def encode(value: object) -> bytes:
    """Encode as compact UTF-8 JSON, keys in the order given: equal input, equal bytes."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()


def _decode(data: bytes, what: str, limit: int, depth: int) -> object:
    if len(data) > limit:
        raise LimitExceeded(f"{what} is larger than {limit} bytes")
    if data.startswith(_BYTE_ORDER_MARK):
        raise MalformedDocument(f"{what} begins with a byte order mark")
    if structure(data) > DEFAULT_LIMITS.json_structure:
        limit = DEFAULT_LIMITS.json_structure
        raise LimitExceeded(f"{what} has more than {limit} values")
    if not _is_shallow(data, depth):
        raise LimitExceeded(f"{what} is nested more than {depth} levels deep")
    try:
        value: object = _DECODER.decode(data.decode())
    except UnicodeDecodeError as error:
        raise MalformedDocument(f"{what} is not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise MalformedDocument(f"{what} is not JSON: {error.msg} at {place}") from error
    except MalformedDocument as error:
        raise MalformedDocument(f"{what} {error.message}") from None
    except RecursionError:
        raise MalformedDocument(f"{what} is nested too deeply") from None
    if _ESCAPED_SURROGATE.search(data):
        _refuse_lone_surrogates(value, what)
    return value


def structure(data: bytes) -> int:
    """Count braces, brackets and commas: they, and not the bytes, are what decoding costs."""
    return data.count(b"{") + data.count(b"[") + data.count(b",")


def _is_shallow(data: bytes, depth: int) -> bool:
    """Tell whether brackets outside of strings nest at most `depth` deep.

    It uses whole-buffer operations: a loop over the bytes of 4 MiB takes seconds. Removing two
    adjacent quotes does not change whether the number of quotes before a bracket is odd.
    """
    if data.count(b"[") + data.count(b"{") <= depth:
        return True
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    structure = data.translate(_BRACES_TO_BRACKETS, _NOT_STRUCTURE).replace(b'""', b"")
    return _depth(b"".join(structure.split(b'"')[::2])) <= depth


def _depth(brackets: bytes) -> int:
    """Return how deep balanced brackets nest.

    Removing the innermost pairs takes time proportional to the text and lowers the depth by one, so
    it pays while there are many pairs. The loop afterwards takes time proportional to their number.
    """
    lowered = 0
    while brackets and brackets.count(b"[]") * _MANY_PAIRS >= len(brackets):
        brackets = brackets.replace(b"[]", b"")
        lowered += 1
    level = deepest = 0
    # Each piece opens and then closes; the brackets that the separator removes cancel out.
    for piece in brackets.split(b"]["):
        opened = piece.count(b"[")
        deepest = max(deepest, level + opened)
        level += 2 * opened - len(piece)
    return lowered + deepest


def _refuse_lone_surrogates(value: object, what: str) -> None:
    try:
        encode(value)
    except UnicodeEncodeError:
        message = f"{what} has a string with half of a surrogate pair"
        raise MalformedDocument(message) from None


def _unique_keys(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise MalformedDocument(f"has the key {quoted(twice)} twice in one object")
    return result


def _small_integer(text: str) -> int:
    if len(text) > _LONGEST_INTEGER:
        raise MalformedDocument(f"has a number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise MalformedDocument(f"has a number too large: {quoted(text)}")
    return number


def _refuse_constant(text: str) -> NoReturn:
    raise MalformedDocument(f"has {text}, which is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_keys,
    parse_int=_small_integer,
    parse_float=_finite,
    parse_constant=_refuse_constant,
)


def refuse_case_twins(obj: Mapping[str, object], known: frozenset[str], path: str) -> None:
    """Refuse a key that differs from a known key only in case.

    Go's decoder would accept it as the known key, other decoders would ignore it.
    """
    unknown = obj.keys() - known
    if not unknown:
        return
    folded = _folded(known)
    for key in sorted(unknown):
        twin = folded.get(key.casefold())
        if twin is not None:
            raise MalformedDocument(f"{path} has the key {quoted(key)} in place of {twin!r}")


@lru_cache(maxsize=64)
def _folded(known: frozenset[str]) -> dict[str, str]:
    return {key.casefold(): key for key in known}


def field(path: str, key: str) -> str:
    """Return the path of a field for messages; the name of a file is kept apart from it."""
    return f"{path}: {key}" if path.endswith(_FILE_NAMES) else f"{path}.{key}"


def as_object(value: object, path: str) -> dict[str, object]:
    """Return `value` if it is an object."""
    if type(value) is not dict:
        _mismatch(path, "an object", value)
    return value


def as_array(value: object, path: str) -> list[object]:
    """Return `value` if it is an array."""
    if type(value) is not list:
        _mismatch(path, "an array", value)
    return value


def as_string(value: object, path: str) -> str:
    """Return `value` if it is a string."""
    if type(value) is not str:
        _mismatch(path, "a string", value)
    return value


def as_strings(value: object, path: str) -> tuple[str, ...]:
    """Return `value` if it is an array of strings."""
    items = as_array(value, path)
    return tuple(as_string(item, f"{path}[{number}]") for number, item in enumerate(items))


def string(obj: Mapping[str, object], key: str, path: str) -> str:
    """Return a field that has to be a string, and not an empty one."""
    text = as_string(_required(obj, key, path), field(path, key))
    if not text:
        raise MalformedDocument(f"{field(path, key)} is empty")
    return text


def integer(
    obj: Mapping[str, object], key: str, path: str, *, maximum: int = LARGEST_INTEGER
) -> int:
    """Return a field that has to be an integer of 0 to `maximum`; a boolean is none, nor 1e3."""
    value = _required(obj, key, path)
    if type(value) is not int:
        _mismatch(field(path, key), "an integer", value)
    if not 0 <= value <= maximum:
        raise MalformedDocument(f"{field(path, key)} is {value}, not between 0 and {maximum}")
    return value


def array(obj: Mapping[str, object], key: str, path: str) -> list[object]:
    """Return a field that has to be an array; null counts as empty, as Go writes it so."""
    if key not in obj:
        _required(obj, key, path)
    return optional_array(obj, key, path)


def optional_string(obj: Mapping[str, object], key: str, path: str) -> str | None:
    """Return a field that is a string, or None if it is absent or null."""
    return _optional(obj, key, path, as_string)


def optional_array(obj: Mapping[str, object], key: str, path: str) -> list[object]:
    """Return a field that is an array, empty if it is absent or null."""
    return _optional(obj, key, path, as_array) or []


def optional_object(obj: Mapping[str, object], key: str, path: str) -> dict[str, object] | None:
    """Return a field that is an object, or None if it is absent or null."""
    return _optional(obj, key, path, as_object)


def optional_integer(obj: Mapping[str, object], key: str, path: str) -> int | None:
    """Return a field that is an integer, not a negative one, or None if absent or null."""
    return None if obj.get(key) is None else integer(obj, key, path)


def optional_boolean(obj: Mapping[str, object], key: str, path: str) -> bool:
    """Return a field that is a boolean, False if it is absent or null."""
    value = obj.get(key)
    if value is not None and type(value) is not bool:
        _mismatch(field(path, key), "a boolean", value)
    return value is True


def strings(obj: Mapping[str, object], key: str, path: str) -> tuple[str, ...]:
    """Return a field that is an array of strings, empty if it is absent or null."""
    return _optional(obj, key, path, as_strings) or ()


def mapping_of_strings(obj: Mapping[str, object], key: str, path: str) -> dict[str, str]:
    """Return a field that maps strings to strings, empty if it is absent or null."""
    value = optional_object(obj, key, path) or {}
    return {
        name: as_string(text, f"{field(path, key)}[{quoted(name)}]") for name, text in value.items()
    }


def _required(obj: Mapping[str, object], key: str, path: str) -> object:
    if key not in obj:
        raise MalformedDocument(f"{field(path, key)} is missing")
    return obj[key]


def _optional(
    obj: Mapping[str, object], key: str, path: str, convert: Callable[[object, str], Value]
) -> Value | None:
    value = obj.get(key)
    return None if value is None else convert(value, field(path, key))


def _mismatch(path: str, wanted: str, value: object) -> NoReturn:
    raise MalformedDocument(f"{path} must be {wanted}, not {_KINDS[type(value)]}")
