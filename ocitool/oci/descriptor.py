"""Content descriptors. OCI image-spec, descriptor.md."""

import binascii
from collections.abc import Mapping
from typing import Self

from msgspec import Struct, field

from ocitool.errors import DigestMismatch, MalformedDocument, SizeMismatch
from ocitool.oci import document
from ocitool.oci.digest import Digest
from ocitool.oci.platform import Platform

_REQUIRED_KEYS = {"mediaType", "digest", "size"}
"""The fields that every descriptor has: mediaType, digest and size."""
_NAMED_KEYS = _REQUIRED_KEYS | {"annotations"}
"""Those of an entry of index.json that has a name."""
_NO_ANNOTATIONS: dict[str, object] = {}
_STRINGS = {str}
_KNOWN_KEYS = frozenset(
    {
        "mediaType",
        "digest",
        "size",
        "urls",
        "annotations",
        "data",
        "artifactType",
        "platform",
    }
)


class Descriptor(Struct, frozen=True, kw_only=True):
    """A content descriptor: type, digest and size of a blob (descriptor.md, "Properties").

    `size` is in bytes. `data`, if present, is the content itself and matches size and digest.
    `extra` holds unknown fields, so that writing the descriptor again keeps them.
    """

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    urls: tuple[str, ...] = ()
    artifact_type: str | None = None
    data: bytes | None = None
    extra: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: object, path: str) -> Self:
        """Decode a descriptor; `path` is its place in the document, for messages.

        Raises `MalformedDocument`, and `SizeMismatch` or `DigestMismatch` for embedded data that
        does not match the descriptor.
        """
        obj = document.as_object(value, path)
        # Most descriptors have only these keys, and a large store has a hundred thousand of them.
        if obj.keys() in (_REQUIRED_KEYS, _NAMED_KEYS):
            annotations = obj.get("annotations", _NO_ANNOTATIONS)
            bare = cls._bare(obj["mediaType"], obj["digest"], obj["size"], annotations)
            if bare is not None:
                return bare
        document.refuse_case_twins(obj, _KNOWN_KEYS, path)
        digest = digest_field(document.string(obj, "digest", path), f"{path}.digest")
        size = document.integer(obj, "size", path)
        media_type = document.string(obj, "mediaType", path)
        platform = obj.get("platform")
        return cls(
            media_type=media_type,
            digest=digest,
            size=size,
            annotations=document.mapping_of_strings(obj, "annotations", path),
            platform=None if platform is None else Platform.from_json(platform, f"{path}.platform"),
            urls=document.strings(obj, "urls", path),
            artifact_type=document.optional_string(obj, "artifactType", path),
            data=_decode_data(document.optional_string(obj, "data", path), digest, size, path),
            extra={key: item for key, item in obj.items() if key not in _KNOWN_KEYS},
        )

    @classmethod
    def _bare(
        cls, media_type: object, digest: object, size: object, annotations: object
    ) -> Self | None:
        """Return a descriptor without other fields; None if something is wrong with it."""
        if type(media_type) is not str or type(digest) is not str or type(size) is not int:
            return None
        if not media_type or not 0 <= size <= document.LARGEST_INTEGER:
            return None
        if type(annotations) is not dict or not {*map(type, annotations.values())} <= _STRINGS:
            return None
        try:
            parsed = Digest.parse(digest)
        except MalformedDocument:
            return None
        return cls(media_type=media_type, digest=parsed, size=size, annotations=annotations)

    def __hash__(self) -> int:
        return hash((self.digest, self.size, self.media_type))

    @property
    def alone(self) -> Self:
        """Its type, digest and size alone, as a `subject` has them."""
        return type(self)(media_type=self.media_type, digest=self.digest, size=self.size)

    def to_json(self) -> dict[str, object]:
        """Return the JSON object, keys in the order of the specification, annotations sorted."""
        result: dict[str, object] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.urls:
            result["urls"] = list(self.urls)
        if self.annotations:
            result["annotations"] = dict(sorted(self.annotations.items()))
        if self.data is not None:
            result["data"] = binascii.b2a_base64(self.data, newline=False).decode()
        if self.artifact_type is not None:
            result["artifactType"] = self.artifact_type
        if self.platform is not None:
            result["platform"] = self.platform.to_json()
        return {**result, **self.extra}


def digest_field(text: str, path: str) -> Digest:
    """Read the digest found at `path`; raises `MalformedDocument` that names it."""
    try:
        return Digest.parse(text)
    except MalformedDocument as error:
        raise MalformedDocument(f"{path}: {error.message}", hint=error.hint) from None


def _decode_data(text: str | None, digest: Digest, size: int, path: str) -> bytes | None:
    if text is None:
        return None
    try:
        data = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        raise MalformedDocument(f"{path}.data is not base64") from None
    if len(data) != size:
        raise SizeMismatch(f"{path}.data has {len(data)} bytes, the descriptor says {size}")
    if Digest.of(data, digest.algorithm) != digest:
        raise DigestMismatch(f"{path}.data does not hash to {digest}")
    return data
