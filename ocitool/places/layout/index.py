"""The entries of index.json, and how their names change. Without disk access.

An entry is a descriptor whose annotations may name it; an image has one entry for each name. An
entry without a name is an image that lost its name, or an artifact that belongs to its subject
(image-spec image-layout.md, "index.json File").
"""

import json
from collections.abc import Iterable, Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from ocitool.errors import MalformedDocument
from ocitool.image.entries import root_of
from ocitool.oci import Descriptor, Digest, mediatype
from ocitool.oci.annotations import (
    IMAGE_NAME,
    REF_NAME,
    REPOSITORIES,
    all_names,
    full_name,
    label,
    without_names,
)
from ocitool.oci.document import array, decode_object
from ocitool.oci.limits import DEFAULT_LIMITS

STORE_INDEX_BYTES = 16 << 20


class NameChange(Struct, frozen=True, kw_only=True):
    """A name moved: from `old` (None: it is new) to `new` (None: it was dropped)."""

    name: str
    old: Digest | None
    new: Digest | None


class IndexFile(Struct, frozen=True):
    """The entries of an index.json, and its other fields, which a rewrite keeps."""

    entries: tuple[Descriptor, ...] = ()
    fields: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: bytes, *, what: str, limit: int, is_store: bool) -> "IndexFile":
        """Decode an index.json.

        `"manifests": null`, as Docker 25.0.0 writes it, is empty. In a store it is damage: ocitool
        and the tools that share its stores write a list.
        """
        document = decode_object(data, what=what, limit=limit)
        if is_store and document.get("manifests", ...) is None:
            raise MalformedDocument(f"{what}: manifests is null")
        # A file without the key is damaged. If it counted as empty, the next write would lose all.
        values = array(document, "manifests", what)
        entries = tuple(
            Descriptor.from_json(value, f"{what}: manifests[{position}]")
            for position, value in enumerate(values)
        )
        fields = {key: value for key, value in document.items() if key != "manifests"}
        return cls(entries, fields)

    def encode(self) -> bytes:
        """Return compact JSON with the keys in the order of the specification."""
        document: dict[str, object] = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX}
        document.update(self.fields)
        document["manifests"] = [entry.to_json() for entry in self.entries]
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()

    def with_entries(self, entries: Iterable[Descriptor]) -> "IndexFile":
        """Return the same file with other entries."""
        return replace(self, entries=tuple(entries))


def index_limit(*, is_store: bool) -> int:
    """Return the largest size of an index.json in bytes; a store may hold many images."""
    return STORE_INDEX_BYTES if is_store else DEFAULT_LIMITS.manifest_bytes


def entry_names(entry: Descriptor) -> tuple[str, ...]:
    """Return every string that a user may name the entry with, the full name first."""
    found = (
        full_name(entry.annotations),
        entry.annotations.get(IMAGE_NAME),
        entry.annotations.get(REF_NAME),
        *all_names(entry.annotations),
    )
    return tuple(dict.fromkeys(name for name in found if name))


def separate_names(entry: Descriptor) -> tuple[str, ...]:
    """Return each name of the entry once, and not the tag that stands beside a full name."""
    root = root_of([entry])
    return tuple(name for name in (*root.names, root.label, *root.other_names) if name)


def is_named(entry: Descriptor) -> bool:
    """Tell whether the entry has a name of any kind."""
    return label(entry.annotations) is not None


def with_name(descriptor: Descriptor, name: str, *, is_store: bool) -> Descriptor:
    """Return the descriptor annotated with a name.

    In a store both annotations hold the full name, because skopeo and umoci take the first of two
    equal short tags. In another layout `ref.name` is what the user typed.
    """
    annotations = without_names(descriptor.annotations)
    if is_store or "/" in name or ":" in name:
        annotations[IMAGE_NAME] = name
    annotations[REF_NAME] = name
    return replace(descriptor, annotations=annotations)


def set_root(
    entries: Iterable[Descriptor], descriptor: Descriptor, names: Iterable[str], *, is_store: bool
) -> tuple[tuple[Descriptor, ...], list[NameChange]]:
    """Return the entries with `descriptor` added under `names`, and which names moved.

    An image that loses its last name keeps an entry without one. Without `names` the descriptor
    gets a nameless entry unless it has an entry already.
    """
    return set_roots(entries, [(descriptor, names)], is_store=is_store)


def set_roots(
    entries: Iterable[Descriptor],
    roots: Iterable[tuple[Descriptor, Iterable[str]]],
    *,
    is_store: bool,
) -> tuple[tuple[Descriptor, ...], list[NameChange]]:
    """Do the same as `set_root` for several roots in order, in one pass over the entries."""
    kept = _Entries(entries)
    changes: list[NameChange] = []
    for root, names in roots:
        descriptor = kept.with_repositories(root)
        for name in names:
            old = kept.take_name(name)
            if old != descriptor.digest:
                changes.append(NameChange(name=name, old=old, new=descriptor.digest))
            kept.drop_nameless(descriptor.digest)
            kept.add(with_name(descriptor, name, is_store=is_store))
        if not kept.holds(descriptor.digest):
            kept.add(_without_names(descriptor))
    return kept.all(), changes


def drop_name(
    entries: Iterable[Descriptor], name: str
) -> tuple[tuple[Descriptor, ...], list[NameChange]]:
    """Return the entries without the name; the image stays, nameless if it was its last name."""
    kept = _Entries(entries)
    old = kept.take_name(name)
    changes = [NameChange(name=name, old=old, new=None)] if old else []
    return kept.all(), changes


class _Entries:
    """Entries in order, found by name and by digest: without the maps, n names cost n squared."""

    def __init__(self, entries: Iterable[Descriptor]) -> None:
        self._kept: dict[int, Descriptor] = {}
        self._called: dict[str, dict[int, None]] = {}
        self._of: dict[Digest, dict[int, None]] = {}
        self._unnamed: dict[Digest, dict[int, None]] = {}
        self._next = 0
        for entry in entries:
            self.add(entry)

    def all(self) -> tuple[Descriptor, ...]:
        return tuple(self._kept[position] for position in sorted(self._kept))

    def holds(self, digest: Digest) -> bool:
        return bool(self._of.get(digest))

    def add(self, entry: Descriptor) -> None:
        self._put(self._next, entry)
        self._next += 1

    def take_name(self, name: str) -> Digest | None:
        """Take a name from every entry that has it; return the digest of the last of them.

        What another tool called the entry besides stays. A digest whose every entry has only this
        name keeps one entry, without it.
        """
        hits = sorted(self._called.get(name, ()))
        taken = [(position, self._drop(position)) for position in hits]
        for position, entry in taken:
            left = _without_name(entry, name)
            if is_named(left):
                self._put(position, left)
        for position, entry in taken:
            if not self.holds(entry.digest):
                self._put(position, _without_names(entry))
        return taken[-1][1].digest if taken else None

    def with_repositories(self, descriptor: Descriptor) -> Descriptor:
        """Return a descriptor with the repositories to which clients have pushed its content.

        There it can be pulled by its digest, whatever names it gets or loses later.
        """
        places = self._of.get(descriptor.digest, ())
        told = (self._kept[place].annotations.get(REPOSITORIES) for place in places)
        known = next(filter(None, told), None)
        if known is None:
            return descriptor
        return replace(descriptor, annotations={**descriptor.annotations, REPOSITORIES: known})

    def drop_nameless(self, digest: Digest) -> None:
        for position in list(self._unnamed.get(digest, ())):
            self._drop(position)

    def _put(self, position: int, entry: Descriptor) -> None:
        self._kept[position] = entry
        self._of.setdefault(entry.digest, {})[position] = None
        if not is_named(entry):
            self._unnamed.setdefault(entry.digest, {})[position] = None
        for name in entry_names(entry):
            self._called.setdefault(name, {})[position] = None

    def _drop(self, position: int) -> Descriptor:
        entry = self._kept.pop(position)
        self._of[entry.digest].pop(position, None)
        self._unnamed.get(entry.digest, {}).pop(position, None)
        for name in entry_names(entry):
            self._called[name].pop(position, None)
        return entry


def _without_name(entry: Descriptor, name: str) -> Descriptor:
    if len(separate_names(entry)) < 2:
        return _without_names(entry)
    kept = {
        key: text
        for key, text in entry.annotations.items()
        if key not in (IMAGE_NAME, REF_NAME) or name not in (text, *all_names({key: text}))
    }
    return replace(entry, annotations=kept)


def _without_names(entry: Descriptor) -> Descriptor:
    return replace(entry, annotations=without_names(entry.annotations))
