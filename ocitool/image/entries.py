"""The entries of an index.json as images: their names, and one name on several entries.

One name on several entries has three meanings, which the descriptors tell apart. Entries for
different platforms are one multi-platform image without an index of its own: an index is made. A
signature or attestation under the name of its image is attached to that. Anything else is
ambiguous: the user must choose an image (image-spec image-layout.md, "index.json File").
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from ocitool.errors import NotFound, Refused
from ocitool.image.attached import attach, says_it_is_attached
from ocitool.image.content import Root
from ocitool.oci import Descriptor, Digest, mediatype
from ocitool.oci.annotations import (
    KIND,
    REFERENCE_TYPE,
    all_names,
    base_name,
    beside,
    full_name,
    label,
    refused_name,
    without_names,
)
from ocitool.oci.document import encode
from ocitool.oci.quoting import quoted


class Entries(Struct, frozen=True, kw_only=True):
    """The images of an index.json.

    `roots` are what it offers; `originals` are the entries as written, each digest once.
    `indexes` are the bytes of the indexes that were made. `remarks` say, by the digest of a root,
    what was made or left out.
    """

    roots: tuple[Root, ...]
    originals: tuple[Root, ...]
    indexes: Mapping[Digest, bytes]
    remarks: Mapping[Digest, tuple[str, ...]]

    def resolve(self, name: str, what: str) -> Root:
        """Return the image with this name, label or digest.

        NotFound lists what `what` holds; Refused when the name stands for several images.
        """
        found = [root for root in self.roots if _is_called(root, name)]
        if not found:
            found = [root for root in self.originals if name == str(root.descriptor.digest)]
        if not found:
            names = [name for root in self.roots for name in root.names or (root.label,) if name]
            raise NotFound(
                f"there is no image {quoted(name)} in {what!r}",
                hint=f"it holds {', '.join(names)}" if names else "its images have no names",
            )
        if len(found) > 1:
            raise ambiguous(name, found)
        return found[0]


def entry_root(entry: Descriptor) -> Root:
    """Return an entry of an index.json under the name that it has there."""
    name = full_name(entry.annotations, entry.digest) or base_name(entry.annotations)
    names = (name,) if name else ()
    tag = None if name else label(entry.annotations, entry.digest)
    others = beside(all_names(entry.annotations, entry.digest), names, tag)
    return Root(descriptor=entry, names=names, label=tag, other_names=others)


def root_of(entries: Sequence[Descriptor]) -> Root:
    """Return the entries of one digest in an index.json as a root with all their names."""
    names = dict.fromkeys(name for entry in entries if (name := full_name(entry.annotations)))
    labels = [text for entry in entries if (text := label(entry.annotations))]
    tag = labels[0] if labels and not names else None
    texts = [text for entry in entries for text in all_names(entry.annotations)]
    others = beside(texts, names, tag)
    return Root(descriptor=entries[0], names=tuple(names), label=tag, other_names=others)


def attach_entries(entries: Sequence[Descriptor]) -> tuple[Descriptor, ...]:
    """Return the entries of an index.json, with the subject of each that is attached to another."""
    if not any(KIND in e.annotations or REFERENCE_TYPE in e.annotations for e in entries):
        return tuple(entries)
    return tuple(root.descriptor for root in attach([entry_root(entry) for entry in entries]))


def arrange(
    entries: Sequence[Root],
    *,
    join_nameless: bool,
    refused: Mapping[Digest, Sequence[str]] | None = None,
) -> Entries:
    """Sort out names that stand on several entries, and remark on names that cannot be used.

    With `join_nameless`, an index.json that has only nameless entries, for different platforms, is
    one multi-platform image. `refused` is what is wrong with names that no entry has, by digest.
    """
    originals = _merge(entries)
    roots, indexes = _join_platforms(attach(originals), join_nameless=join_nameless)
    remarks: dict[Digest, tuple[str, ...]] = {}
    for root in originals:
        digest = root.descriptor.digest
        reasons = list((refused or {}).get(digest, ()))
        if not reasons and (why := refused_name(root.descriptor.annotations, digest)):
            reasons = [why]
        if reasons:
            remarks[digest] = tuple(f"a name is left out: {reason}" for reason in reasons)
    for root in roots:
        if root.descriptor.digest in indexes:
            remarks[root.descriptor.digest] = (_made(root),)
    return Entries(roots=roots, originals=originals, indexes=indexes, remarks=remarks)


def ambiguous(name: str, roots: Iterable[Root], *, example: str | None = None) -> Refused:
    """Return the error for a name that stands for several images.

    `example` names one of them by its digest; without it, the digest alone is the example.
    """
    digests = [str(root.descriptor.digest) for root in roots]
    how = example or f"@{digests[0]} behind the file or folder"
    return Refused(
        f"{quoted(name)} names more than one image: {', '.join(digests)}",
        hint=f"choose one by its digest, for example {how}, or by its --platform",
    )


def ambiguous_names(roots: Iterable[Root]) -> dict[str, list[Root]]:
    """Return the names that stand for several images, with those."""
    owners = _owners(roots)
    return {name: found for name, found in owners.items() if len(found) > 1}


def _is_called(root: Root, name: str) -> bool:
    return name in (*root.names, *root.other_names, root.label, str(root.descriptor.digest))


def _merge(roots: Iterable[Root]) -> tuple[Root, ...]:
    """Return one root per digest, with all its names; a label counts only without a name."""
    merged: dict[Digest, Root] = {}
    for root in roots:
        known = merged.setdefault(root.descriptor.digest, root)
        if known is not root:
            names = tuple(dict.fromkeys((*known.names, *root.names)))
            # An entry of index.json may have a media type that says nothing.
            is_document = mediatype.is_document(known.descriptor.media_type)
            tag = None if names else known.label or root.label
            texts = (known.label, *known.other_names, root.label, *root.other_names)
            merged[root.descriptor.digest] = Root(
                descriptor=known.descriptor if is_document else root.descriptor,
                names=names,
                label=tag,
                other_names=beside(texts, names, tag),
            )
    return tuple(merged.values())


def _owners(roots: Iterable[Root]) -> dict[str, list[Root]]:
    owners: dict[str, list[Root]] = {}
    for root in roots:
        for name in root.names or ((root.label,) if root.label else ()):
            owners.setdefault(name, []).append(root)
    return owners


def _join_platforms(
    roots: tuple[Root, ...], *, join_nameless: bool
) -> tuple[tuple[Root, ...], dict[Digest, bytes]]:
    """Make an index of entries that share a name and are for different platforms."""
    groups: dict[tuple[Digest, ...], tuple[list[Root], list[str]]] = {}
    for name, group in _shared(roots, join_nameless=join_nameless):
        if _differ_in_platform(group):
            key = tuple(root.descriptor.digest for root in group)
            groups.setdefault(key, (group, []))[1].extend([name] if name else [])
    indexes: dict[Digest, bytes] = {}
    joined = list(roots)
    for group, names in groups.values():
        index, raw = _index_of(group, names)
        indexes[index.descriptor.digest] = raw
        digests = [root.descriptor.digest for root in joined]
        joined.insert(digests.index(group[0].descriptor.digest), index)
        members = {root.descriptor.digest for root in group}
        joined = [kept for root in joined for kept in _without(root, names, members)]
    return tuple(joined), indexes


def _shared(roots: Sequence[Root], *, join_nameless: bool) -> Iterator[tuple[str, list[Root]]]:
    """Yield the names that several roots have, with those; "" for all, when none has a name."""
    yield from ambiguous_names(roots).items()
    images = [root for root in roots if not says_it_is_attached(root.descriptor)]
    nameless = all(not root.names and root.label is None for root in images)
    if join_nameless and nameless and len(images) > 1:
        yield "", images


def _differ_in_platform(roots: Sequence[Root]) -> bool:
    known = [
        str(root.descriptor.platform.normalized())
        for root in roots
        if root.descriptor.platform is not None
        and not root.descriptor.platform.is_unknown
        and mediatype.is_document(root.descriptor.media_type)
    ]
    return len(set(known)) == len(roots)


def _index_of(roots: Sequence[Root], names: Sequence[str]) -> tuple[Root, bytes]:
    children = [
        replace(root.descriptor, annotations=without_names(root.descriptor.annotations)).to_json()
        for root in roots
    ]
    raw = encode({"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": children})
    descriptor = Descriptor(media_type=mediatype.OCI_INDEX, digest=Digest.of(raw), size=len(raw))
    full = tuple(name for name in names if any(name in root.names for root in roots))
    label = next((name for name in names if name not in full), None)
    return Root(descriptor=descriptor, names=full, label=None if full else label), raw


def _without(root: Root, names: Sequence[str], members: set[Digest]) -> list[Root]:
    """Return the root unless the index that was made has taken all its names."""
    if root.descriptor.digest not in members:
        return [root]
    left = tuple(name for name in root.names if name not in names)
    return [replace(root, names=left)] if left else []


def _made(root: Root) -> str:
    return f"{root.called} lacks an index of its platforms: one was made, {root.descriptor.digest}"
