"""Find an image of the store by what a user types: a name, a digest or the start of an ID."""

import re

from msgspec import Struct

from ocitool.errors import NotFound, Refused, UsageError
from ocitool.image.content import Root
from ocitool.image.graph import closure_of, images_of
from ocitool.oci import Descriptor, Reference
from ocitool.oci.quoting import quoted
from ocitool.oci.reference import familiar
from ocitool.places.layout import Layout

_ID = re.compile(r"(?:sha256:|sha512:)?[0-9a-f]{4,128}")


class Found(Struct, frozen=True, kw_only=True):
    """An image and how it was named: `name` is None when it was found by an ID.

    `whole` is the index of which the image is one platform, when the ID was that platform's.
    """

    root: Root
    name: str | None
    whole: Root | None = None


def find_image(layout: Layout, text: str) -> Found:
    """Return the image that `text` names.

    A name is tried first, in its full and its short form, then a prefix of 4 or more hex digits
    of a config or manifest digest. NotFound says what is close; Refused lists what an ambiguous
    prefix could mean.
    """
    roots = layout.roots()
    by_name = _by_name(layout, roots, text)
    if by_name is not None:
        return by_name
    if _ID.fullmatch(text):
        by_id = _by_id(layout, roots, text)
        if by_id is not None:
            return by_id
    raise _not_found(layout, roots, text)


def full_name(text: str) -> str | None:
    """Return the full name that `text` stands for, or None when it is no name."""
    try:
        return Reference.parse(text).name
    except UsageError:
        return None


def _by_name(layout: Layout, roots: tuple[Root, ...], text: str) -> Found | None:
    try:
        reference = Reference.parse(text)
    except UsageError:
        if layout.is_store:
            return None
        reference = None
    for root in roots:
        digest = root.descriptor.digest
        if reference is not None and reference.digest is not None:
            # The digest decides and not the tag; the repository has to be one of the image's.
            if reference.digest == digest and _in_repository(root, reference):
                known = reference.name in root.names
                return Found(root=root, name=reference.name if known else None)
        elif reference is not None and reference.name in root.names:
            return Found(root=root, name=reference.name)
        elif not layout.is_store and text == root.label:
            return Found(root=root, name=text)
    return None


def _in_repository(root: Root, reference: Reference) -> bool:
    repositories = {Reference.parse(name).repository for name in root.names}
    return not repositories or reference.repository in repositories


def _by_id(layout: Layout, roots: tuple[Root, ...], text: str) -> Found | None:
    algorithm, _, prefix = text.rpartition(":")
    from ocitool.images.summaries import image_summaries

    known = image_summaries(layout, roots)
    matches: dict[str, Found] = {}
    for root in roots:
        summary = known[root.descriptor.digest]
        own = (str(root.descriptor.digest), *(summary.image_ids if summary.kind == "image" else ()))
        if any(_has_prefix(candidate, algorithm, prefix) for candidate in own):
            matches[str(root.descriptor.digest)] = Found(root=root, name=None)
        elif any(_has_prefix(text, algorithm, prefix) for text in summary.children):
            for child in _platforms_with(layout, root, algorithm, prefix):
                found = Found(root=Root(descriptor=child), name=None, whole=root)
                matches.setdefault(str(child.digest), found)
    if len(matches) > 1:
        names = {d: map(familiar, (one.whole or one.root).names) for d, one in matches.items()}
        listed = ", ".join(
            f"{digest[:19]} ({', '.join(names[digest]) or '<none>'})" for digest in sorted(names)
        )
        raise Refused(
            f"{quoted(text)} could be one of {len(matches)} images: {listed}",
            hint="give more digits, of the digest where the image IDs are equal",
        )
    return next(iter(matches.values()), None)


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
    return NotFound(f"there is no image {quoted(text)} in the store {layout.path!r}", hint=hint)


def _near(names: list[str], text: str) -> list[str]:
    import difflib

    familiar = {Reference.parse(name).familiar: name for name in names}
    repository = text.partition(":")[0]
    same = [short for short in familiar if short.rpartition(":")[0] == repository]
    return same[:5] or difflib.get_close_matches(text, familiar, n=3)
