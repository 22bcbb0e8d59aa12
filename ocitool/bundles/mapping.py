"""Under which names images go on: below a prefix, by rules `A=B`, or one by one.

`ocitool-map/1` is the file that says where the images of a bundle went; `rewrite` reads it.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Self, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ocitool.errors import LimitExceeded, MalformedDocument, OcitoolError, UsageError
from ocitool.oci import Digest, Reference
from ocitool.oci.quoting import quoted

MAP: Final = "ocitool-map/1"
LARGEST_MAP: Final = 64 << 20
"""Bytes of a map: about two hundred thousand images."""

_Key = TypeVar("_Key", Reference, "Below")
_SHAPE = "write HOST or HOST/PREFIX, such as localhost:5000/mirror or docker.io/NAMESPACE"
_RULE = "write OLD=NEW, such as registry.example/team=registry.site/mirror/team"


class Below(Struct, frozen=True, kw_only=True):
    """Where images keep their names: below a prefix of one registry, instead of their own one.

    `flatten` keeps only the last component of each repository.
    """

    domain: str
    path: str = ""
    flatten: bool = False

    @classmethod
    def parse(cls, text: str, *, flatten: bool = False) -> Self:
        """Return the meaning of HOST[/PREFIX], also with docker:// or a slash at its end.

        Raises UsageError for other text. The host is required: a lone word could be a host or a
        namespace of Docker Hub.
        """
        place = text.removeprefix("docker:").removeprefix("//").rstrip("/")
        if not place:
            raise UsageError(f"{quoted(text)} names no registry", hint=_SHAPE)
        host, _, path = place.partition("/")
        try:
            found = Reference.parse(f"{place}/x")
        except UsageError as error:
            message = f"{quoted(text)} is not a prefix in a registry: {error.message}"
            raise UsageError(message, hint=_SHAPE) from None
        if found.domain != host:
            raise UsageError(f"{quoted(text)} does not name a registry", hint=_SHAPE)
        return cls(domain=host, path=path, flatten=flatten)

    def destination(self, name: str) -> Reference:
        """Return where the image of a name goes; UsageError where the name becomes invalid."""
        old = Reference.parse(name)
        return self._with(old, old.path.rpartition("/")[2] if self.flatten else old.path)

    def beyond(self, reference: Reference) -> str | None:
        """Return the path of a repository below this prefix, or None when it is not below it.

        The prefix ends at a slash: `host/team` holds `host/team/app` and not `host/teams/app`. The
        path is empty when the prefix is the repository itself.
        """
        if reference.domain != self.domain:
            return None
        if not self.path:
            return reference.path
        if reference.path == self.path:
            return ""
        below = f"{self.path}/"
        return reference.path.removeprefix(below) if reference.path.startswith(below) else None

    def moved(self, reference: Reference, old: "Below") -> Reference | None:
        """Return where an image below another prefix goes, or None when it is not below that one.

        UsageError when nothing would be left of its name.
        """
        rest = old.beyond(reference)
        if rest is None:
            return None
        if not (self.path or rest):
            raise UsageError(
                f"{old.written}={self.written} leaves {reference.familiar} without a name",
                hint=f"write {old.written}={self.written}/NAME",
            )
        return self._with(reference, rest)

    @property
    def written(self) -> str:
        """The prefix as a user writes it."""
        return f"{self.domain}/{self.path}" if self.path else self.domain

    def _with(self, old: Reference, path: str) -> Reference:
        parts = [part for part in (self.domain, self.path, path) if part]
        return Reference.parse("/".join(parts) + str(old).removeprefix(old.repository))


class MappedImage(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """One image of a map: the name that it had, the name that it has there, and its digest there.

    Both names are full; each may have a digest beside its tag, or in place of it.
    """

    from_: str
    to: str
    digest: str


class Mapping(Struct, frozen=True, kw_only=True):
    """Where images go: whole names first, then the longest prefix, then all others `below`.

    An image that none of these is about keeps its name.
    """

    names: tuple[tuple[Reference, Reference], ...] = ()
    prefixes: tuple[tuple[Below, Below], ...] = ()
    below: Below | None = None

    @classmethod
    def parse(cls, rules: Iterable[str], below: Below | None = None) -> Self:
        """Return the meaning of several OLD=NEW: each two prefixes, or two names with their tags.

        UsageError for other text, and for one OLD with two meanings.
        """
        names: dict[Reference, Reference] = {}
        prefixes: dict[Below, Below] = {}
        for text in rules:
            old, equals, new = text.partition("=")
            if not equals:
                raise UsageError(f"--map {quoted(text)} has no =", hint=_RULE)
            if _is_whole_name(old):
                _note(names, _whole_name(old), _whole_name(new), text)
            else:
                _note(prefixes, _prefix(old, text), _prefix(new, text), text)
        # The longest first, so that the first one that fits is the one that counts.
        ordered = sorted(prefixes.items(), key=lambda pair: -len(pair[0].written))
        return cls(names=tuple(names.items()), prefixes=tuple(ordered), below=below)

    def destination(self, name: str) -> Reference:
        """Return where the image of a name goes; UsageError where the name becomes invalid.

        A digest in the name is kept.
        """
        reference = Reference.parse(name)
        for old, new in self.names:
            if old in (reference, replace(reference, digest=None)):
                return new if reference.digest is None else new.with_digest(reference.digest)
        for old_prefix, new_prefix in self.prefixes:
            found = new_prefix.moved(reference, old_prefix)
            if found is not None:
                return found
        return reference if self.below is None else self.below.destination(name)


def destinations(
    images: Iterable[tuple[str, Digest | None]],
    destination: Callable[[str], Reference],
    *,
    hint: str,
) -> dict[str, Reference]:
    """Return where each name goes; UsageError, with `hint`, if different images would meet.

    Images without a digest count as different when their names are.
    """
    going: dict[str, dict[str, object]] = {}
    found: dict[str, Reference] = {}
    for name, digest in images:
        found[name] = destination(name)
        # Two digests under one tag would meet too: the tag can only have one of them.
        going.setdefault(found[name].name, {})[name] = digest or name
    clashes = {to: names for to, names in going.items() if len(set(names.values())) > 1}
    if not clashes:
        return found
    told = "; ".join(
        f"{', '.join(Reference.parse(name).familiar for name in sorted(names))} -> "
        f"{Reference.parse(to).familiar}"
        for to, names in clashes.items()
    )
    raise UsageError(f"different images would get the same name: {told}", hint=hint)


def encode_map(images: Iterable[MappedImage]) -> bytes:
    """Return a map as ASCII JSON, one image a line, sorted by what they were called."""
    order = sorted(set(images), key=lambda one: (one.from_, one.to, one.digest))
    lines = ",\n".join(_compact(msgspec.to_builtins(one)) for one in order)
    return f'{{"format":{_compact(MAP)},"images":[\n{lines}\n]}}\n'.encode("ascii")


def parse_map(raw: bytes, what: str) -> tuple[MappedImage, ...]:
    """Decode a map; unknown keys are ignored.

    MalformedDocument for another format, for what is no name or digest, and for one image in two
    places; LimitExceeded for more than LARGEST_MAP bytes.
    """
    if len(raw) > LARGEST_MAP:
        raise LimitExceeded(f"{what} is larger than {LARGEST_MAP} bytes")
    try:
        told = msgspec.json.decode(raw, type=_Version).format
        if told != MAP:
            raise MalformedDocument(f"{what} has the format {quoted(told)}, not {MAP}")
        images = msgspec.json.decode(raw, type=_Map).images
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedDocument(
            f"{what} is no map of images: {error}",
            hint="`bundle load --map-out FILE` writes one",
        ) from error
    _check(images, what)
    return images


class _Version(Struct):
    format: str


class _Map(Struct):
    images: tuple[MappedImage, ...]


def _check(images: Sequence[MappedImage], what: str) -> None:
    seen: dict[str, MappedImage] = {}
    for number, image in enumerate(images):
        try:
            Reference.parse(image.from_)
            Reference.parse(image.to)
            Digest.parse(image.digest)
        except OcitoolError as error:
            raise MalformedDocument(f"{what}: images[{number}]: {error.message}") from None
        if seen.setdefault(image.from_, image) != image:
            raise MalformedDocument(f"{what} has {quoted(image.from_)} in two places")


def _is_whole_name(text: str) -> bool:
    return "@" in text or ("/" in text and ":" in text.rpartition("/")[2])


def _whole_name(text: str) -> Reference:
    found = Reference.parse(text)
    if not _is_whole_name(text) or found.digest is not None:
        raise UsageError(
            f"{quoted(text)} is not a name with a tag", hint="write HOST/NAME:TAG=HOST/NAME:TAG"
        )
    return found


def _prefix(text: str, rule: str) -> Below:
    try:
        return Below.parse(text)
    except UsageError as error:
        raise UsageError(f"--map {quoted(rule)}: {error.message}", hint=_RULE) from None


def _note(found: dict[_Key, _Key], old: _Key, new: _Key, text: str) -> None:
    if found.setdefault(old, new) != new:
        raise UsageError(f"--map {quoted(text)}: its first half has two meanings")


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))
