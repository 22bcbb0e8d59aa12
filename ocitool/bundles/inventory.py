"""What a place has, and what it lacks: the two small files that travel beside bundles.

An inventory, `have.json`, names the blobs that the other side has, so that a delta can leave them
out. `need.json` names those that it lacks, so that a further bundle can bring just these.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

import msgspec
from msgspec import Struct, field

from ocitool.errors import LimitExceeded, MalformedDocument
from ocitool.oci import Digest
from ocitool.oci.quoting import quoted
from ocitool.places.archive.bundle import LARGEST_LIST, BundleList, parse_list

HAVE: Final = "ocitool-have/1"
NEED: Final = "ocitool-need/1"
_LISTS: Final = "ocitool-bundle/"


class Have(Struct, frozen=True, kw_only=True):
    """The blobs of a place: "store", "layout", "registry" or "bundle".

    `scope` is the prefix in a registry, with its host, or the digest of a bundle's list.
    `repositories` gives, for a registry, the positions in `blobs` that each repository has, by its
    path on the host; `images` gives the digest of each full name.
    """

    format: str = HAVE
    place: str = "store"
    scope: str = ""
    blobs: tuple[str, ...] = ()
    repositories: dict[str, tuple[int, ...]] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)


class NeededBlob(Struct, frozen=True, kw_only=True):
    """A blob that is lacking."""

    digest: str
    size: int


class Need(Struct, frozen=True, kw_only=True):
    """The blobs of a bundle that are lacking; `bundle` is the digest of its list."""

    format: str = NEED
    bundle: str
    blobs: tuple[NeededBlob, ...]


_Value = TypeVar("_Value", Have, Need)


class Base(Struct, frozen=True, kw_only=True):
    """What the other side has: blobs, and the repositories that are known to hold some of them.

    `lists` are the digests of the lists of those bundles that are among it.
    """

    digests: frozenset[Digest] = frozenset()
    lists: frozenset[Digest] = frozenset()
    repositories: Mapping[Digest, tuple[str, ...]] = field(default_factory=dict)

    def __or__(self, other: "Base") -> "Base":
        repositories = dict(self.repositories)
        for digest, names in other.repositories.items():
            repositories[digest] = tuple(sorted({*repositories.get(digest, ()), *names}))
        return Base(
            digests=self.digests | other.digests,
            lists=self.lists | other.lists,
            repositories=repositories,
        )


def base_of_list(listing: BundleList, digest: Digest) -> Base:
    """Return what a place has that took a bundle: its blobs and those that it required.

    `digest` is that of the list.
    """
    known = {Digest.parse(one.digest): one.from_ for one in listing.requires if one.from_}
    return Base(digests=listing.digests(), lists=frozenset([digest]), repositories=known)


def base_of_have(have: Have) -> Base:
    """Return what an inventory names."""
    digests = [Digest.parse(text) for text in have.blobs]
    host = have.scope.partition("/")[0]
    holders: dict[Digest, list[str]] = {}
    for path, positions in sorted(have.repositories.items()):
        for position in positions:
            holders.setdefault(digests[position], []).append(f"{host}/{path}")
    known = {digest: tuple(names) for digest, names in holders.items()}
    return Base(digests=frozenset(digests), repositories=known)


def parse_base(raw: bytes, what: str) -> Base:
    """Return what a JSON file says that the other side has: an inventory or the list of a bundle.

    MalformedDocument for anything else.
    """
    if _format(raw, what).startswith(_LISTS):
        return base_of_list(parse_list(raw, what), Digest.of(raw))
    return base_of_have(parse_have(raw, what))


def parse_have(raw: bytes, what: str) -> Have:
    """Decode an inventory; MalformedDocument when it is none or contradicts itself."""
    have = _decode(raw, Have, HAVE, what)
    count = len(have.blobs)
    if any(not 0 <= p < count for positions in have.repositories.values() for p in positions):
        raise MalformedDocument(f"{what} gives a repository a blob that it does not list")
    for text in (*have.blobs, *have.images.values()):
        Digest.parse(text)
    return have


def parse_need(raw: bytes, what: str) -> Need:
    """Decode a need.json; MalformedDocument when it is none."""
    need = _decode(raw, Need, NEED, what)
    for blob in need.blobs:
        Digest.parse(blob.digest)
    return need


def encode_value(value: Have | Need) -> bytes:
    """Return an inventory or a need as compact ASCII JSON with a newline."""
    text = json.dumps(msgspec.to_builtins(value), ensure_ascii=True, separators=(",", ":"))
    return f"{text}\n".encode("ascii")


def need_of(bundle: Digest, blobs: Iterable[tuple[str, int]]) -> Need:
    """Return the need of some blobs, in the order of their digests."""
    found = [NeededBlob(digest=digest, size=size) for digest, size in sorted(set(blobs))]
    return Need(bundle=str(bundle), blobs=tuple(found))


class _Any(Struct):
    format: str


def _format(raw: bytes, what: str) -> str:
    if len(raw) > LARGEST_LIST:
        raise LimitExceeded(f"{what} is larger than {LARGEST_LIST} bytes")
    try:
        return msgspec.json.decode(raw, type=_Any).format
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedDocument(f"{what} is no inventory or list of a bundle: {error}") from error


def _decode(raw: bytes, kind: type[_Value], wanted: str, what: str) -> _Value:
    told = _format(raw, what)
    if told != wanted:
        raise MalformedDocument(f"{what} has the format {quoted(told)}, not {wanted}")
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedDocument(f"{what} is damaged: {error}") from error
