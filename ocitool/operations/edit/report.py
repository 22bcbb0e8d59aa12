"""What an edit is asked for, and what it did."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from msgspec import Struct, field

from ocitool.concurrency import DEFAULT_JOBS
from ocitool.events import SILENT, Observer
from ocitool.image.choosing import PlatformImage
from ocitool.image.content import Root
from ocitool.oci import Descriptor, Digest, Platform
from ocitool.operations.push_report import OnExisting

if TYPE_CHECKING:
    from ocitool.images.opening import Opened
    from ocitool.inside.scanning import TableCache
    from ocitool.places.registry import Registries
    from ocitool.transfer.derived import DerivedImages


class AttachedPolicy(StrEnum):
    """What becomes of what is attached to an image that gets another digest."""

    LIST = "list"
    COPY = "copy"
    FAIL = "fail"


class EditOptions(Struct, frozen=True, kw_only=True):
    """Options of all edits.

    `targets` are the texts of places that get the result; with `in_place` it is what was read,
    and `force` allows that for a signed image. `platforms` are those of an index to edit (default:
    all). `epoch` is the time for the image and for new history, as in RFC 3339 (default: what the
    image has). Without `history` no entry is added to it. `keep_attestations` keeps BuildKit's
    attestations of images that change. With `dry_run` nothing is written.
    """

    targets: tuple[str, ...] = ()
    in_place: bool = False
    force: bool = False
    platforms: tuple[Platform, ...] = ()
    epoch: str | None = None
    history: bool = True
    author: str | None = None
    attached: AttachedPolicy = AttachedPolicy.LIST
    keep_attestations: bool = False
    on_existing: OnExisting = OnExisting.OVERWRITE
    dry_run: bool = False
    jobs: int = DEFAULT_JOBS
    scratch: str | None = None


class PlaceAccess(Struct, frozen=True, kw_only=True):
    """How places are reached: see `open_source`, `copy` and `deliver`.

    `tables` returns where the tables of the layers of an open image are kept, if anywhere.
    """

    store: str | None = None
    registries: "Registries | None" = None
    stdin: int | None = None
    write: Callable[[bytes], object] | None = None
    featured: Platform | None = None
    observer: Observer = SILENT
    tables: "Callable[[Opened], TableCache | None]" = lambda _: None


class EditedImage(Struct, frozen=True, kw_only=True):
    """One image for one platform: the digests of its manifest, and its new image ID."""

    platform: Platform
    old: Digest
    new: Digest
    image_id: Digest

    @classmethod
    def same(cls, image: PlatformImage) -> Self:
        """Return an image that stays as it is."""
        digest = image.descriptor.digest
        return cls(
            platform=image.platform,
            old=digest,
            new=digest,
            image_id=image.manifest.config.digest,
        )

    @property
    def changed(self) -> bool:
        """Whether its manifest is another one now."""
        return self.old != self.new


class AttachedArtifact(Struct, frozen=True, kw_only=True):
    """Something that is attached to an image.

    `kind` is signature, sbom, attestation or artifact. `tag` is the tag by which it was found, if
    it was by one. `copied_as` is the digest of the copy that is attached to the new image.
    """

    digest: Digest
    media_type: str
    size: int
    subject: Digest
    kind: str
    artifact_type: str | None = None
    tag: str | None = None
    copied_as: Digest | None = None


class Edit(Struct, frozen=True, kw_only=True):
    """New images that are read from `source`, before they are delivered.

    `old` is the digest of what was read (None where there was nothing before), `renamed` has the
    new descriptor by the digest of each document that was changed. `attestations` are the children
    of an index that were dropped or, with `keeps_attestations`, kept although they tell of the old
    image. `artifacts` are new ones that are attached to the new images. `remarks` is what a user
    should know.
    """

    source: "DerivedImages"
    root: Root
    old: Digest | None
    images: tuple[EditedImage, ...] = ()
    renamed: Mapping[Digest, Descriptor] = field(default_factory=dict)
    attestations: tuple[Digest, ...] = ()
    keeps_attestations: bool = False
    artifacts: tuple[Root, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether the whole has another digest now."""
        return self.root.descriptor.digest != self.old


class Delivered(Struct, frozen=True, kw_only=True):
    """A place that has the result: how to name it there by its digest.

    `moved_from` is what the name stood for before. `sent_bytes` is what had to be stored or sent.
    """

    destination: str
    pinned: str
    moved_from: Digest | None = None
    sent_blobs: int = 0
    sent_bytes: int = 0


class EditReport(Struct, frozen=True, kw_only=True):
    """What an edit did. `new` is the digest of the result; see `Edit` for the rest."""

    old: Digest | None
    new: Digest
    media_type: str
    images: tuple[EditedImage, ...] = ()
    attestations: tuple[Digest, ...] = ()
    keeps_attestations: bool = False
    attached: tuple[AttachedArtifact, ...] = ()
    remarks: tuple[str, ...] = ()
    delivered: tuple[Delivered, ...] = field(default_factory=tuple)
    dry_run: bool = False

    @property
    def changed(self) -> bool:
        """Whether the whole has another digest now."""
        return self.new != self.old
