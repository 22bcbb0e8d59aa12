"""The two documents of an image, manifest and configuration, and how new ones are made of them."""

from typing import Self, cast

from msgspec import Struct

from ocitool.errors import MalformedDocument
from ocitool.image.content import Source
from ocitool.image.graph import kind_of, read_config, read_document
from ocitool.oci import Descriptor, Digest, ImageConfig, Manifest, parse_manifest
from ocitool.oci.document import encode
from ocitool.oci.members import CONFIG_ORDER, members_of, put


class ImageParts(Struct, frozen=True, kw_only=True):
    """The manifest of an image and the configuration that it names, each with its bytes."""

    manifest: Manifest
    config: ImageConfig

    @classmethod
    def read(cls, source: Source, descriptor: Descriptor) -> Self:
        """Read both, verified; MalformedDocument for what is not an image for one platform."""
        manifest = read_document(source, descriptor)
        if not isinstance(manifest, Manifest) or not manifest.is_image:
            raise MalformedDocument(f"{descriptor.digest.short} is not an image{kind_of(manifest)}")
        return cls(manifest=manifest, config=read_config(source, manifest))

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of the manifest."""
        raw = self.manifest.raw
        return Descriptor(media_type=self.manifest.media_type, digest=Digest.of(raw), size=len(raw))

    @property
    def has_full_history(self) -> bool:
        """Whether the history has exactly one entry for each layer (config.md, "history")."""
        made = sum(not entry.empty_layer for entry in self.config.history)
        return made == len(self.config.diff_ids)

    def with_members(
        self, *, config: dict[str, object] | None = None, manifest: dict[str, object] | None = None
    ) -> Self:
        """Return an image with these members; a document that stays equal keeps its bytes.

        The manifest names the new configuration by its digest and size. Raises MalformedDocument
        for members that make no image.
        """
        new = self.config
        if config is not None and config != members_of(new.raw):
            new = ImageConfig.parse(encode(config))
        fields = members_of(self.manifest.raw) if manifest is None else manifest
        if new is not self.config:
            _name_config(fields, new.raw)
        if fields == members_of(self.manifest.raw):
            return type(self)(manifest=self.manifest, config=new)
        media_type = fields.get("mediaType") or self.manifest.media_type
        document = parse_manifest(encode(fields), str(media_type))
        return type(self)(manifest=cast("Manifest", document), config=new)


def _name_config(fields: dict[str, object], raw: bytes) -> None:
    """Let the manifest name a configuration; data embedded of the old one is of no use."""
    named = cast("dict[str, object]", fields["config"])
    named.update(digest=str(Digest.of(raw)), size=len(raw))
    named.pop("data", None)


def set_created(fields: dict[str, object], created: str | None) -> None:
    """Set when the image was created, in the members of its configuration; None keeps it."""
    if created is not None:
        put(fields, "created", created, CONFIG_ORDER)
