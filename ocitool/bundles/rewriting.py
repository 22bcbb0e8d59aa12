"""Other names in the place of those that a file has; every other byte of it stays.

An image is found in the map by its name, or by its repository and its digest, and also under the
name that it already got, so that a file that is rewritten twice is rewritten once.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from ocitool.bundles.mapping import MappedImage
from ocitool.bundles.names.found import Entry, NamedImage, NamesFound, Span
from ocitool.bundles.names.lines import text_of
from ocitool.errors import UsageError
from ocitool.oci import Digest, Reference
from ocitool.oci.quoting import quoted

Pin = Literal["both", "digest", "tag"]
"""How a new name is written: NAME:TAG@DIGEST, NAME@DIGEST or NAME:TAG."""
PINS: Final[tuple[Pin, ...]] = ("both", "digest", "tag")

# What YAML takes for a text although no quotes say so.
_PLAIN = re.compile(
    r"[a-z0-9][a-z0-9._:-]*/.+|sha(256|512):[0-9a-f]+|[A-Za-z_]+[._-][A-Za-z0-9._-]*"
)


class Change(Struct, frozen=True, kw_only=True):
    """An image that gets another name, and where it stands; `new` is None if the map lacks it."""

    file: str
    line: int
    column: int
    old: str
    new: str | None


class Rewritten(Struct, frozen=True, kw_only=True):
    """A file with its new names, and what of it changed; `missing` are images that stay."""

    data: bytes
    changes: tuple[Change, ...]
    missing: tuple[Change, ...]


class NewNames:
    """The names that images get by a map."""

    def __init__(self, images: Iterable[MappedImage], pin: Pin = "both") -> None:
        """Raise UsageError where the map leads one image on and on: rewriting would not end."""
        self._pin = pin
        entries = [_parsed(image) for image in images]
        self._old = _Index((old, new) for old, new in entries)
        self._new = _Index((new, new) for _, new in entries)
        for old, new in entries:
            written = self.written(new, pin)
            if self._written(written) != self._written(old):
                raise UsageError(
                    f"the map leads {old.familiar} to {written.familiar} and that one further on",
                    hint="rewriting twice would not be the same as once; use one map for each step",
                )

    def find(self, reference: Reference) -> Reference | None:
        """Return the new name of an image with its digest, or None when the map lacks it."""
        return self._old.find(reference) or self._new.find(reference)

    def under_another_digest(self, name: str) -> Reference | None:
        """Return the new name of an image that is pinned here to other content, or None."""
        try:
            reference = Reference.parse(name)
        except UsageError:
            return None
        return self.find(replace(reference, digest=None)) if reference.digest else None

    def of(self, image: NamedImage) -> Reference | None:
        """Return what is to be written for an image, or None when the map lacks it.

        A lock holds digests alone. UsageError for a line of a list that is no name.
        """
        found = self.find(image.reference)
        return found and self.written(found, "digest" if image.form == "lock" else self._pin)

    def _written(self, old: Reference) -> Reference | None:
        found = self.find(old)
        return found and self.written(found, self._pin)

    def written(self, new: Reference, pin: Pin) -> Reference:
        """Return a new name with its tag, its digest or both; what it lacks is not left out."""
        if pin == "digest" or new.tag is None:
            return replace(new, tag=None)
        return replace(new, digest=None) if pin == "tag" else new


class _Index:
    """New names by names, and by repositories with digests."""

    def __init__(self, pairs: Iterable[tuple[Reference, Reference]]) -> None:
        self._by_name: dict[str, set[Reference]] = {}
        self._by_digest: dict[tuple[str, Digest | None], list[tuple[str | None, Reference]]] = {}
        for old, new in pairs:
            self._by_name.setdefault(replace(old, digest=None).name, set()).add(new)
            place = (old.repository, old.digest)
            self._by_digest.setdefault(place, []).append((old.tag, new))

    def find(self, reference: Reference) -> Reference | None:
        if reference.digest is None:
            # A tag that the map has with two digests means neither of them.
            found = self._by_name.get(reference.name, set())
            return next(iter(found)) if len(found) == 1 else None
        same = self._by_digest.get((reference.repository, reference.digest), [])
        return next(
            (new for tag, new in same if tag == reference.tag), same[0][1] if same else None
        )


def rewrite(data: bytes, found: NamesFound, names: NewNames) -> Rewritten:
    """Return a file with the new names of its images; `found` is what `names_in` found in it.

    UsageError where one value would have to become two.
    """
    text = text_of(data, found.what)
    edits: dict[tuple[int, int], str] = {}
    changes, missing = [], []
    for image in found.images:
        new = names.of(image)
        if new is None:
            missing.append(_change(found, image, None))
            continue
        own = list(_edits(text, image, new))
        for start, end, put in own:
            # What stays as it is counts too: another image may want it changed.
            if edits.setdefault((start, end), put) != put:
                raise UsageError(
                    f"{found.where(image)}: a value of {quoted(image.name)} is another image's too",
                    hint="they get different names: write the value out in both places",
                )
        if any(text[start:end] != put for start, end, put in own):
            changes.append(_change(found, image, new))
    done = _spliced(text, edits).encode()
    return Rewritten(data=done, changes=tuple(changes), missing=tuple(missing))


def _change(found: NamesFound, image: NamedImage, new: Reference | None) -> Change:
    written = str(new) if new is not None else None
    return Change(
        file=found.what, line=image.line, column=image.column, old=image.name, new=written
    )


_Edit = tuple[int, int, str]


def _parsed(image: MappedImage) -> tuple[Reference, Reference]:
    """Return both names of an image of a map, each with the digest that it has there."""
    digest = Digest.parse(image.digest)
    old = Reference.parse(image.from_)
    new = Reference.parse(image.to).with_digest(digest)
    return old if old.digest else old.with_digest(digest), new


def _spliced(text: str, edits: dict[tuple[int, int], str]) -> str:
    pieces, done = [], 0
    for (start, end), put in sorted(edits.items()):
        pieces += [text[done:start], put]
        done = end
    return "".join([*pieces, text[done:]])


def _edits(text: str, image: NamedImage, new: Reference) -> Iterator[_Edit]:
    slot = image.slot
    if isinstance(slot, Entry):
        yield from _edits_of_entry(text, slot, new)
    elif image.form == "list":
        yield slot.start, slot.end, str(new)
    else:
        yield _replaced(slot, str(new))


def _replaced(span: Span, new: str) -> _Edit:
    put = _scalar(new) if span.is_plain else new
    return span.start, span.end, f"{span.before}{put}{span.after}"


def _same(text: str, span: Span) -> _Edit:
    return span.start, span.end, text[span.start : span.end]


def _edits_of_entry(text: str, entry: Entry, new: Reference) -> Iterator[_Edit]:
    """Yield the changes of a Kustomization: its fields are set, and added where they lack."""
    digest = str(new.digest) if new.digest is not None else None
    wanted = {"newName": new.repository, "newTag": new.tag, "digest": digest}
    added = []
    for key, value in wanted.items():
        if value is not None and key in entry.spans:
            is_same = entry.texts.get(key) == value
            yield _same(text, entry.spans[key]) if is_same else _replaced(entry.spans[key], value)
        elif value is not None and (key, value) != ("newName", entry.texts["name"]):
            added.append((key, value))
    if added:
        yield entry.at, entry.at, _further(text, entry, added)


def _further(text: str, entry: Entry, added: Sequence[tuple[str, str]]) -> str:
    if entry.is_flow:
        quote = '"' if text[entry.at] == '"' else ""
        return "".join(f'{quote}{key}{quote}: "{value}", ' for key, value in added)
    begin = max(text.rfind("\n", 0, entry.at), text.rfind("\r", 0, entry.at)) + 1
    end = re.search(r"\r\n?|\n", text[entry.at :])
    gap = (end[0] if end else "\n") + " " * (entry.at - begin)
    return "".join(f"{key}: {_scalar(value)}{gap}" for key, value in added)


def _scalar(value: str) -> str:
    """Return a value as YAML without quotes, if that is a text and not a number or a list."""
    return value if _PLAIN.fullmatch(value) else f'"{value}"'
