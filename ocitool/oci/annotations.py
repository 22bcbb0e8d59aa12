"""Annotations that name an entry of index.json (image-spec annotations.md, "Pre-Defined").

Most tools look up `org.opencontainers.image.ref.name`, which may be a full reference or only a tag.
`io.containerd.image.name` is containerd's full name, so it takes precedence in reading.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from ocitool.errors import UsageError
from ocitool.oci.digest import Digest
from ocitool.oci.quoting import quoted
from ocitool.oci.reference import Reference

REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"
BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"
SUBJECT = "io.containerd.manifest.subject"
REFERENCE_TYPE = "vnd.docker.reference.type"
REFERENCE_DIGEST = "vnd.docker.reference.digest"
ATTESTATION = "attestation-manifest"
_ABOUT_BYTES = (
    "containerd.io/snapshot/stargz/",
    "io.containers.estargz.",
    "io.containers.zstd-chunked.",
    "io.github.containers.zstd-chunked.",
)
KIND = "kind"
"""What an entry is: cosign and hauler write it."""
REPOSITORIES = "io.ocitool.repositories"
"""On an entry of index.json: the repositories to which clients of `registry serve` pushed it, by
their full names, separated by spaces. There it is found by its digest when it has no tag."""

CACHED = "io.ocitool.cached"
"""On an entry of index.json: the repository of another registry from which `registry serve` fetched
it for a client."""


def full_name(annotations: Mapping[str, str], digest: Digest | None = None) -> str | None:
    """Return the full reference in the annotations of an entry, or None.

    A bare word in `ref.name` is a tag without a repository, so it is not a full name. With
    the `digest` of the entry, a name that is only the digest of something else does not count.
    """
    image_name, ref_name = annotations.get(IMAGE_NAME), annotations.get(REF_NAME)
    if image_name:
        name, reference = _parsed(image_name)
        if reference is not None and (digest is None or _is_true(reference, digest)):
            return name
    if ref_name and ("/" in ref_name or ":" in ref_name):
        name, reference = _parsed(ref_name)
        if reference is not None and (digest is None or _is_true(reference, digest)):
            return name
    return None


def refused_name(annotations: Mapping[str, str], digest: Digest) -> str | None:
    """Return why the name of an entry cannot be used; None if it can, or if there is no name."""
    if full_name(annotations, digest) is not None:
        return None
    image_name, ref_name = annotations.get(IMAGE_NAME), annotations.get(REF_NAME, "")
    if text := image_name or (ref_name if "/" in ref_name or ":" in ref_name else ""):
        message, reference = _parsed(text)
        if reference is None:
            return message
        return f"{quoted(text)}: the image has another digest, {digest}"
    return None


def label(annotations: Mapping[str, str], digest: Digest | None = None) -> str | None:
    """Return the name of an entry if it is not a full reference, or None.

    With the `digest` of the entry, the digest of something else is not a label either.
    """
    for key in (REF_NAME, IMAGE_NAME):
        if text := annotations.get(key):
            if digest is None:
                return text
            _, reference = _parsed(text)
            if reference is None or _is_true(reference, digest):
                return text
    return None


def all_names(annotations: Mapping[str, str], digest: Digest | None = None) -> Iterator[str]:
    """Yield what either annotation calls the entry: full references in full, all else as written.

    With the `digest` of the entry, a name that is only the digest of something else does not count.
    """
    for key in (IMAGE_NAME, REF_NAME):
        text = annotations.get(key, "")
        name, reference = _parsed(text) if text else ("", None)
        if not text or (reference and digest and not _is_true(reference, digest)):
            continue
        is_bare = key == REF_NAME and not {"/", ":"} & set(text)
        yield text if is_bare or reference is None else name


def beside(texts: Iterable[str | None], names: Iterable[str], label: str | None) -> tuple[str, ...]:
    """Return the texts that say more than the full `names` and the `label` of the same image.

    Many tools write the tag alone beside the full name: that says nothing more.
    """
    known = {"", None, label, *names}
    known |= {reference.tag for name in names if (reference := _parsed(name)[1]) is not None}
    return tuple(text for text in dict.fromkeys(texts) if text and text not in known)


def is_full(text: str) -> bool:
    """Tell whether a name is a full reference with nothing left out, as it is kept here."""
    name, reference = _parsed(text)
    return reference is not None and name == text


def base_name(annotations: Mapping[str, str]) -> str | None:
    """Return the full reference in `base.name` of an entry that has no name of its own, or None.

    Zarf names the images of its layouts there alone. By the specification it is the image that
    this one was built on, so a registry host and a tag or digest must be written out.
    """
    text = annotations.get(BASE_NAME, "")
    host, slash, rest = text.partition("/")
    if label(annotations) is not None or not slash or not {".", ":"} & set(host):
        return None
    if not {":", "@"} & set(rest):
        return None
    name, reference = _parsed(text)
    return name if reference is not None else None


def is_about_bytes(key: str) -> bool:
    """Tell whether an annotation of a layer tells where in its stored bytes its files are."""
    return key.startswith(_ABOUT_BYTES)


def written_name(annotations: Mapping[str, str]) -> str:
    """Return the name of an entry as it is written, not validated; empty if it has none."""
    return annotations.get(IMAGE_NAME) or annotations.get(REF_NAME) or ""


def without_names(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return the annotations that do not name the entry."""
    return {key: value for key, value in annotations.items() if key not in (REF_NAME, IMAGE_NAME)}


def _is_true(reference: Reference, digest: Digest) -> bool:
    # A reference with a tag is named by the tag, whatever its digest.
    return reference.tag is not None or reference.digest == digest


# One command parses the same names of a large store several times.
@lru_cache(maxsize=1 << 15)
def _parsed(text: str) -> tuple[str, Reference | None]:
    """Return a name and its reference, or the message that says what is wrong with it and None."""
    try:
        reference = Reference.parse(text)
    except UsageError as error:
        return error.message, None
    return reference.name, reference
