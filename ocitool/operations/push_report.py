"""What a push is to do when a tag exists, and what came of it at one destination."""

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct, field

from ocitool.oci import Digest, Reference
from ocitool.transfer.copy import TransferReport
from ocitool.transfer.report import Conversion, CopiedImage

if TYPE_CHECKING:
    from ocitool.places.registry.writing import SubjectRefused


class OnExisting(StrEnum):
    """What to do when a tag exists already."""

    OVERWRITE = "overwrite"
    SAME = "same"
    SKIP = "skip"
    ERROR = "error"


class Ending(StrEnum):
    """How the push to one destination ended."""

    PUSHED = "pushed"
    PRESENT = "present"
    SKIPPED = "skipped"
    PLANNED = "planned"


class RefusedArtifact(Struct, frozen=True, kw_only=True):
    """An attached artifact that the registry of an image did not take, and why."""

    digest: Digest
    error: "SubjectRefused"


class PushReport(Struct, frozen=True, kw_only=True):
    """The result for one image at one destination. `moved_from` is what the tag named before.

    `kept` is the other image that the tag still names, where the push was skipped for it. `name` is
    what the image was called before, if it had a name. Without `is_final` it may get another digest
    when it is converted. `seconds` is how long it took, with what was
    converted for it. `attached` artifacts went along; the registry lacked `attached_new` of them.
    """

    destination: Reference
    name: str | None = None
    ending: Ending
    image: CopiedImage
    moved_from: Digest | None = None
    kept: Digest | None = None
    conversions: tuple[Conversion, ...] = ()
    attached: int = 0
    attached_new: int = 0
    refused: tuple[RefusedArtifact, ...] = ()
    is_final: bool = True
    seconds: float = 0.0
    transfer: TransferReport = field(default_factory=TransferReport)

    @property
    def digest(self) -> Digest:
        """What the destination names now."""
        return self.kept or self.image.digest

    @property
    def pinned(self) -> str:
        """The image at its destination by its digest, such as `ghcr.io/a/b@sha256:…`.

        What is only planned may still get another digest, and is called by its name.
        """
        if self.ending is Ending.PLANNED:
            return str(self.destination)
        return f"{self.destination.repository}@{self.digest}"
