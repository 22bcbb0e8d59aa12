"""Find an image of the store by what a user types: a name, a digest or the start of an ID."""

import bisect
import functools
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from msgspec import Struct

from ocitool.errors import NotFound, NotInStore, Refused, UsageError
from ocitool.image.content import Root
from ocitool.image.graph import closure_of, images_of
from ocitool.images.hints import is_named_as_file
from ocitool.images.locations import refuse_bare_host
from ocitool.oci import Descriptor, Reference
from ocitool.oci.annotations import is_full
from ocitool.oci.quoting import quoted
from ocitool.oci.reference import DEFAULT_TAG, familiar, is_address
from ocitool.places.layout import Layout

Wanted = TypeVar("Wanted")
Result = TypeVar("Result")

_MOST_NAMED = 5
_ID = re.compile(r"(?:sha256:|sha512:)?[0-9a-f]{4,128}")


class Found(Struct, frozen=True, kw_only=True):
    """An image and how it was named: `name` is None when it was found by an ID.

    `whole` is the index of which the image is one platform, when the ID was that platform's.
    """

    root: Root
    name: str | None
    whole: Root | None = None


def find_image(layout: Layout, text: str) -> Found:
    """Return the image that `text` names. See `ImageFinder.find`."""
    return ImageFinder(layout).find(text)


def find_images(layout: Layout, texts: Iterable[str]) -> list[Found]:
    """Return the images that texts name, from one reading of the layout. See `find_each`."""
    finder = ImageFinder(layout)
    return find_each(finder.find, tuple(texts))


def full_name(text: str) -> str | None:
    """Return the full name that `text` stands for, or None when it is no name."""
    try:
        return Reference.parse(text).name
    except UsageError:
        return None


def new_name(name: str) -> str:
    """Return the full name that an image is to get; UsageError when it cannot be one."""
    reference = Reference.parse(name)
    if reference.path in ("library/sha256", "library/sha512"):
        raise UsageError(f"{name!r} would look like a digest", hint="choose another name")
    if is_address(name):
        refuse_bare_host(name)
    if reference.digest is not None:
        raise UsageError(
            f"{name!r} has a digest, and a name cannot promise one",
            hint=f"name it {reference.with_tag(reference.tag or DEFAULT_TAG).familiar}; the digest "
            "is the image's own",
        )
    return reference.name


class ImageFinder:
    """The images of a layout as they were at one moment, to be found by many texts."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._roots = layout.roots()
        self._by_name: dict[str, Root] = {}
        self._by_digest = {root.descriptor.digest: root for root in self._roots}
        for root in self._roots:
            for name in (*root.names, *self._others(root)):
                self._by_name.setdefault(name, root)

    def find(self, text: str) -> Found:
        """Return the image that `text` names.

        A name is tried first, in its full and its short form, then a prefix of 4 or more hex
        digits of a config or manifest digest. NotFound says what is close; Refused lists what an
        ambiguous prefix could mean.
        """
        if not text:
            raise UsageError(
                "the name of the image is empty", hint="is a variable of the shell unset?"
            )
        found = self._named(text)
        if found is None and _ID.fullmatch(text):
            found = self._with_id(text)
        if found is None:
            if "@" in text:
                # A digest that is cut short names nothing, and the reason is worth more than that.
                Reference.parse(text)
            raise _not_found(self.layout, self._roots, text)
        return found

    def _named(self, text: str) -> Found | None:
        name = full_name(text)
        if name is None:
            return self._labelled(text)
        reference = Reference.parse(text)
        if reference.digest is not None:
            # The digest decides and not the tag; the repository has to be one of the image's.
            root = self._by_digest.get(reference.digest)
            if root is not None and _in_repository(root, reference):
                return Found(root=root, name=name if name in root.names else None)
            return None
        root = self._by_name.get(name)
        if root is not None and (name in root.names or name in root.other_names):
            return Found(root=root, name=name)
        return self._labelled(text)

    def _labelled(self, text: str) -> Found | None:
        root = self._by_name.get(text)
        is_other = root is not None and text in root.further_names
        return Found(root=root, name=text) if root is not None and is_other else None

    def _others(self, root: Root) -> tuple[str, ...]:
        """Return the further names by which an image can be found; a tag alone names none here."""
        if not self.layout.is_store:
            return root.further_names
        return tuple(name for name in root.other_names if is_full(name))

    def _with_id(self, text: str) -> Found | None:
        algorithm, _, prefix = text.rpartition(":")
        matches: dict[str, Found] = {}
        for digest, root, is_own in self._with_prefix(prefix):
            if not _has_prefix(digest, algorithm, prefix):
                continue
            if is_own:
                matches[str(root.descriptor.digest)] = Found(root=root, name=None)
            elif str(root.descriptor.digest) not in matches:
                for child in _platforms_with(self.layout, root, algorithm, prefix):
                    found = Found(root=Root(descriptor=child), name=None, whole=root)
                    matches.setdefault(str(child.digest), found)
        if len(matches) > 1:
            raise _ambiguous(text, matches)
        return next(iter(matches.values()), None)

    def _with_prefix(self, prefix: str) -> Iterator[tuple[str, Root, bool]]:
        """Yield the digests that begin so, by their hex digits, an image's own ones first."""
        first = bisect.bisect_left(self._ids, (prefix,))
        listed = itertools.takewhile(
            lambda entry: entry[0].startswith(prefix), itertools.islice(self._ids, first, None)
        )
        for _, other, position, digest in sorted(listed, key=lambda entry: entry[1:3]):
            yield digest, self._roots[position], not other

    @functools.cached_property
    def _ids(self) -> list[tuple[str, bool, int, str]]:
        """The digests by which images are found, sorted by their hex digits.

        Each with whether it is only of a part of the root, and the position of the root.
        """
        from ocitool.images.summaries import image_summaries

        known = image_summaries(self.layout, self._roots)
        ids: list[tuple[str, bool, int, str]] = []
        for position, root in enumerate(self._roots):
            summary = known[root.descriptor.digest]
            own = {str(root.descriptor.digest)}
            own.update(summary.image_ids if summary.kind == "image" else ())
            ids += [
                (digest.partition(":")[2], digest not in own, position, digest)
                for digest in own | set(summary.children)
            ]
        return sorted(ids)


def find_each(find: Callable[[Wanted], Result], wanted: Sequence[Wanted]) -> list[Result]:
    """Return what `find` finds for each; NotInStore tells all that the store does not have."""
    found, absent = [], []
    for one in wanted:
        try:
            found.append(find(one))
        except NotInStore as error:
            absent.append(error)
    if len(absent) == 1:
        raise absent[0]
    if absent:
        names = ", ".join(quoted(error.name) for error in absent[:_MOST_NAMED])
        more = f" and {len(absent) - _MOST_NAMED} more" if len(absent) > _MOST_NAMED else ""
        raise NotInStore(
            f"{len(absent)} of {len(wanted)} images are not in the store: {names}{more}",
            hint=absent[0].hint,
            name=absent[0].name,
            is_near=absent[0].is_near,
        )
    return found


def _in_repository(root: Root, reference: Reference) -> bool:
    repositories = {Reference.parse(name).repository for name in root.names}
    return not repositories or reference.repository in repositories


def _ambiguous(text: str, matches: Mapping[str, Found]) -> Refused:
    names = {d: map(familiar, (one.whole or one.root).names) for d, one in matches.items()}
    listed = ", ".join(
        f"{digest[:19]} ({', '.join(names[digest]) or '<none>'})" for digest in sorted(names)
    )
    return Refused(
        f"{quoted(text)} could be one of {len(matches)} images: {listed}",
        hint="give more digits, of the digest where the image IDs are equal",
    )


def _platforms_with(layout: Layout, root: Root, algorithm: str, prefix: str) -> list[Descriptor]:
    """Return the images of an index whose manifest or config digest begins so."""
    return [
        descriptor
        for descriptor, manifest in images_of(closure_of(layout, root.descriptor))
        if any(
            _has_prefix(str(digest), algorithm, prefix)
            for digest in (descriptor.digest, manifest.config.digest)
        )
    ]


def _has_prefix(digest: str, algorithm: str, prefix: str) -> bool:
    own, _, hex_digits = digest.partition(":")
    return algorithm in ("", own) and hex_digits.startswith(prefix)


def _not_found(layout: Layout, roots: tuple[Root, ...], text: str) -> NotFound:
    names = [name for root in roots for name in root.names]
    near = _near(names, text)
    hint = f"did you mean {', '.join(near)}?" if near else "`ocitool images` lists what is there"
    message = f"there is no image {quoted(text)} in the store {layout.path!r}"
    if is_named_as_file(text) and not os.path.exists(text):
        message = f"there is no file {quoted(text)}, and no image of that name in the store"
        hint = f"did you mean {', '.join(near)}?" if near else "look at the path of the file"
    return NotInStore(message, hint=hint, name=text, is_near=bool(near))


def _near(names: list[str], text: str) -> list[str]:
    import difflib

    familiar = {Reference.parse(name).familiar: name for name in names if name != text}
    familiar.pop(text, None)
    repository = text.partition(":")[0]
    same = [short for short in familiar if short.rpartition(":")[0] == repository]
    return same[:5] or difflib.get_close_matches(text, familiar, n=3)
