"""What belongs to an image without being part of it: signatures, attestations, SBOMs.

An attached artifact is saved, copied, pushed and removed together with its image. There are five
ways to attach one: the manifest's `subject` (image-spec manifest.md), an annotation of its entry in
index.json, a tag made from the digest (distribution-spec, "Referrers Tag Schema"; cosign adds an
ending), BuildKit's annotations of an attestation, and the `kind` that cosign and hauler write.

A subject is the text of a digest. A tag has only the first 64 hex digits of a longer digest, and
then the text is cut too: use `is_in` to compare.
"""

import bisect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from msgspec.structs import replace

from ocitool.errors import MalformedDocument
from ocitool.image.content import Root
from ocitool.oci import Descriptor, Digest, Index, Manifest
from ocitool.oci.annotations import (
    ATTESTATION,
    KIND,
    REFERENCE_DIGEST,
    REFERENCE_TYPE,
    SUBJECT,
    without_names,
)

TAG_ENDINGS = (".sig", ".att", ".sbom")
"""What cosign appends to the digest: for signatures, attestations, SBOMs."""
_KIND_PREFIXES = ("dev.cosignproject.cosign/", "dev.hauler/")
_ENDING_OF_KIND = {"sigs": ".sig", "atts": ".att", "sboms": ".sbom"}
_REFERRERS = "referrers"
"""What hauler calls an artifact whose manifest has a `subject`."""
_IMAGE_KINDS = ("image", "imageIndex")
_HAULER_SUBJECT = "hauler.dev/subject-digest"
_ALGORITHM_LENGTH, _DIGEST_LENGTH = 32, 64
_TAG = re.compile(r"(sha256|sha512)-([0-9a-f]{64}|[0-9a-f]{128})(\.sig|\.att|\.sbom)?")


class Content(NamedTuple):
    """What a document says about itself: its subject, and whether it is an image."""

    subject: str | None
    is_image: bool


def content_of(document: Manifest | Index) -> Content:
    """Return what a document says about itself."""
    subject = str(document.subject.digest) if document.subject is not None else None
    return Content(subject, document.is_image)


def subject_of(
    annotations: Mapping[str, str], names: Sequence[str], read: Callable[[], Content | None]
) -> str | None:
    """Return what a root is attached to, or None.

    `names` are all its names. A root that has names is attached only if they are tags made from a
    digest. `read` returns what its document says, or None if that cannot be read; it is called only
    if nothing else decides.
    """
    if names:
        return _subject_of_tags([name.rpartition(":")[2] for name in names], read)
    declared = _declared(annotations)
    if declared is not None:
        return declared
    content = read()
    return content.subject if content is not None else None


def subject_of_root(root: Root, document: Manifest | Index | None) -> str | None:
    """Return what a root is attached to, or None; its document was read before, if possible."""
    content = content_of(document) if document is not None else None
    return subject_of(root.descriptor.annotations, names_of(root), lambda: content)


def declared_subject(root: Root, document: Manifest | Index | None) -> str | None:
    """Return the subject that a root or its document declares, whatever it is called."""
    declared = _declared(root.descriptor.annotations)
    if declared is not None or document is None:
        return declared
    return content_of(document).subject


def names_of(root: Root) -> tuple[str, ...]:
    """Return all names of a root, or else its label."""
    return root.names or ((root.label,) if root.label is not None else ())


def is_in(subject: str, digests: AbstractSet[str]) -> bool:
    """Tell whether a subject is among digests."""
    if subject in digests:
        return True
    if subject.startswith("sha512:") and len(subject) < len("sha512:") + 128:
        return any(digest.startswith(subject) for digest in digests)
    return False


def subject_texts(digest: str) -> tuple[str, ...]:
    """Return the texts of subjects that mean a digest: see `is_in`."""
    algorithm, _, hex_digits = digest.partition(":")
    cut = f"{algorithm}:{hex_digits[:_DIGEST_LENGTH]}"
    return (digest,) if cut == digest else (digest, cut)


def referrers_tag(subject: Digest) -> str:
    """Return the tag for the list of attached artifacts, for registries that keep no such list.

    A digest that is longer than one of sha256 is cut, to fit into a tag.
    """
    return f"{subject.algorithm[:_ALGORITHM_LENGTH]}-{subject.hex[:_DIGEST_LENGTH]}"


def is_referrers_tag(tag: str) -> bool:
    """Tell whether a tag is one under which clients list what is attached to an image."""
    found = _TAG.fullmatch(tag)
    return found is not None and found[3] is None


def is_tag_of_digest(tag: str) -> bool:
    """Tell whether a tag is made from the digest of an image, for what is attached to it."""
    return _TAG.fullmatch(tag) is not None


def tags_of_attached(root: Root, subject: str) -> tuple[str, ...]:
    """Return the tags under which clients look for an attached root in a registry.

    None for an artifact that registries list by its `subject`.
    """
    tags = [name.rpartition(":")[2] for name in names_of(root)]
    found = tuple(dict.fromkeys(tag for tag in tags if _TAG.fullmatch(tag)))
    ending = _ENDING_OF_KIND.get(_kind(root.descriptor))
    if found or ending is None:
        return found
    algorithm, _, hex_digits = subject.partition(":")
    return (f"{algorithm}-{hex_digits[:_DIGEST_LENGTH]}{ending}",)


def is_attestation(descriptor: Descriptor) -> bool:
    """Tell whether a child of an index is BuildKit's attestation of another child."""
    return descriptor.annotations.get(REFERENCE_TYPE) == ATTESTATION


def attested(descriptor: Descriptor) -> str | None:
    """Return the digest text of the image that an attestation is about, or None."""
    if not is_attestation(descriptor):
        return None
    return descriptor.annotations.get(REFERENCE_DIGEST)


def attach(roots: Sequence[Root]) -> tuple[Root, ...]:
    """Set the subject of each entry of an index.json that says it is attached to another.

    cosign and hauler list an artifact after its image, under the same name if the image has one;
    BuildKit's attestation gives the digest. The name then belongs only to the image, and is
    removed from the artifact.
    """
    images = _Images(roots)
    return tuple(
        images.attach(root, position) if says_it_is_attached(root.descriptor) else root
        for position, root in enumerate(roots)
    )


def says_it_is_attached(entry: Descriptor) -> bool:
    """Tell whether the annotations of an entry say that it is attached to another."""
    return SUBJECT in entry.annotations or is_attestation(entry) or is_attached_kind(entry)


class _Images:
    """Where the images of an index.json are: by each of their names, and without a name."""

    def __init__(self, roots: Sequence[Root]) -> None:
        self._roots = roots
        self._positions: dict[str, list[int]] = {}
        self._pairs: set[tuple[str, str]] = set()
        for position, root in enumerate(roots):
            if says_it_is_attached(root.descriptor):
                continue
            for name in names_of(root):
                self._add(name, root, position)
            if _kind(root.descriptor) in _IMAGE_KINDS:
                self._add("", root, position)

    def _add(self, name: str, root: Root, position: int) -> None:
        self._positions.setdefault(name, []).append(position)
        self._pairs.add((name, str(root.descriptor.digest)))

    def attach(self, root: Root, position: int) -> Root:
        """Return a root with its subject, without a name; unchanged if its image is not here."""
        names = [name for name in names_of(root) or ("",) if name in self._positions]
        if not names:
            return root
        annotations = without_names(root.descriptor.annotations)
        subject = self._subject(root.descriptor, names[0], position)
        if subject is not None:
            annotations.setdefault(SUBJECT, subject)
        return Root(descriptor=replace(root.descriptor, annotations=annotations))

    def _subject(self, entry: Descriptor, name: str, position: int) -> str | None:
        if _kind(entry) == _REFERRERS:
            return None
        told = attested(entry)
        if told is not None and (name, told) in self._pairs:
            return told
        if _HAULER_SUBJECT in entry.annotations:
            return entry.annotations[_HAULER_SUBJECT]
        positions = self._positions[name]
        if len(positions) > 1 and not is_attached_kind(entry):
            return None
        nearest = max(bisect.bisect(positions, position) - 1, 0)
        return str(self._roots[positions[nearest]].descriptor.digest)


def is_attached_kind(entry: Descriptor) -> bool:
    """Tell whether cosign or hauler say that an entry is a signature, an attestation or an SBOM."""
    kind = _kind(entry)
    return kind in _ENDING_OF_KIND or kind == _REFERRERS


def _kind(entry: Descriptor) -> str:
    """Return what cosign or hauler call an entry, such as "image" or "sigs"; "" if they do not.

    hauler may write a digest behind it.
    """
    text = entry.annotations.get(KIND, "")
    for prefix in _KIND_PREFIXES:
        if text.startswith(prefix):
            return text.removeprefix(prefix).partition("/")[0]
    return ""


def _declared(annotations: Mapping[str, str]) -> str | None:
    for key in (SUBJECT, REFERENCE_DIGEST):
        if key == REFERENCE_DIGEST and annotations.get(REFERENCE_TYPE) != ATTESTATION:
            continue
        try:
            return str(Digest.parse(annotations.get(key, "")))
        except MalformedDocument:
            continue
    return None


def _subject_of_tags(tags: Iterable[str], read: Callable[[], Content | None]) -> str | None:
    """Return what tags say that a root is attached to; None if one of them is an ordinary tag.

    An ordinary image may have such a tag, too, and is not attached to anything. What cannot be read
    is taken for a signature if the tag has an ending, and for an image if it has none.
    """
    found = [_TAG.fullmatch(tag) for tag in tags]
    subjects = {f"{match[1]}:{match[2]}" if match is not None else None for match in found}
    if len(subjects) != 1 or None in subjects:
        return None
    content = read()
    if content is not None:
        is_image = content.is_image
    else:
        is_image = any(match is not None and match[3] is None for match in found)
    if is_image:
        return None
    return subjects.pop()
