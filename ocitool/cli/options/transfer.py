"""Options of the commands that copy images: what to copy, and how."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ocitool.cli.completing import words
from ocitool.cli.options.expand import Group
from ocitool.cli.options.registry import ChunkSize, Jobs, Referrers
from ocitool.cli.options.shared import SomePlatforms, platforms, settings
from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.operations.push_report import OnExisting
    from ocitool.transfer.pipeline import TransferOptions

Compression = Annotated[
    str | None,
    typer.Option(
        "--compression",
        metavar="keep|gzip|zstd|none",
        autocompletion=words("keep", "gzip", "zstd", "none"),
        help="Convert layers; digests change, the image ID stays the same.",
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Refuse a multi-platform image if some of its platforms are missing."
    ),
]
OnExistingOption = Annotated[
    str,
    typer.Option(
        "--on-existing",
        metavar="same|overwrite|skip|error",
        autocompletion=words("same", "overwrite", "skip", "error"),
        help="If the tag exists: accept only the same image, move it, keep it, or fail.",
    ),
]
DigestFile = Annotated[
    str | None,
    typer.Option("--digestfile", metavar="F", help="Write the digests to this file, one per line."),
]
CreateRepository = Annotated[
    bool,
    typer.Option(
        "--create-repo", help="Create the repository first (Amazon ECR, with AWS credentials)."
    ),
]
Flatten = Annotated[
    bool,
    typer.Option(
        "--flatten",
        help="Below a prefix keep only the last component of each repository.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only show what would go where; nothing is sent.")
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failure.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """How images are sent to a registry."""

    on_existing: str
    digestfile: str | None
    create_repo: bool
    chunk_size: str | None
    flatten: bool
    dry_run: bool

    @property
    def policy(self) -> "OnExisting":
        """What to do when a tag exists; UsageError for another word."""
        from ocitool.operations.push_report import OnExisting

        try:
            return OnExisting(self.on_existing)
        except ValueError:
            words = ", ".join(OnExisting)
            raise UsageError(f"--on-existing {self.on_existing!r} is not one of {words}") from None

    def check(self) -> None:
        """Refuse, before any work, an unknown policy or a digest file that cannot be written."""
        from ocitool.cli.render.texts import begin_digest_file

        _ = self.policy
        begin_digest_file(self.digestfile, dry_run=self.dry_run)


def _transfer(
    context: typer.Context, *, platform: str | None = None, referrers: bool = False, **same: Any
) -> "TransferOptions":
    from ocitool.transfer.pipeline import TransferOptions

    return TransferOptions(
        platforms=platforms(platform),
        attached=referrers,
        scratch=settings(context).temporary,
        **same,
    )


_PLATFORM = (SomePlatforms, None)
_REFERRERS = (Referrers, False)
_JOBS = (Jobs, DEFAULT_JOBS)
_CONVERSION = {
    "platform": _PLATFORM,
    "compression": (Compression, None),
    "strict": (Strict, False),
}
CONVERSION = Group(_CONVERSION, _transfer)
"""For archives: load and save."""
MIRRORING = Group({"jobs": _JOBS}, _transfer)
"""For sync, whose file says the rest."""
PULLING = Group({"platform": _PLATFORM, "referrers": _REFERRERS, "jobs": _JOBS}, _transfer)
COPYING = Group({**_CONVERSION, "referrers": _REFERRERS, "jobs": _JOBS}, _transfer)
"""For push and copy."""
SENDING = Group(
    {
        "on_existing": (OnExistingOption, "overwrite"),
        "digestfile": (DigestFile, None),
        "create_repo": (CreateRepository, False),
        "chunk_size": (ChunkSize, None),
        "flatten": (Flatten, False),
        "dry_run": (DryRun, False),
    },
    lambda _, **options: Sending(**options),
)
