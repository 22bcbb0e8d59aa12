"""What became of a plan: what went, what did not, and what is broken."""

from msgspec import Struct, field

from ocitool.errors import IntegrityError, OcitoolError
from ocitool.oci import Digest


class Spared(Struct, frozen=True, kw_only=True):
    """A tag or digest that the plan lists and that was not deleted, and why."""

    name: str
    reason: str


class PruneOutcome(Struct, kw_only=True):
    """What was done: tags and manifests that went, what did not, and what is broken now.

    `refused` are manifests that the registry would not delete, `still_there` those and tags
    that it said it had. `broken` says what of the images that were to stay is missing,
    `archive` is the file that has what went.
    """

    name: str
    tags: list[str] = field(default_factory=list)
    digests: list[Digest] = field(default_factory=list)
    size: int = 0
    spared: list[Spared] = field(default_factory=list)
    refused: list[Spared] = field(default_factory=list)
    still_there: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    checked: int = 0
    archive: str | None = None

    @property
    def problem(self) -> OcitoolError | None:
        """What makes this a failure, the worst of it; None for nothing."""
        if self.broken:
            more = f", and {len(self.broken) - 1} more" if len(self.broken) > 1 else ""
            hint = "push it again; until then keep the registry from collecting its garbage"
            if self.archive is not None:
                hint = (
                    f"`ocitool push {self.archive} --original-names --referrers` puts back what "
                    f"went; for anything else: {hint}"
                )
            return IntegrityError(
                f"{self.name} is not whole after the deletion: {self.broken[0]}{more}", hint=hint
            )
        if self.refused:
            first = self.refused[0]
            return OcitoolError(f"{self.name}: {first.name} was not deleted: {first.reason}")
        if self.still_there:
            return OcitoolError(
                f"{self.name}: the registry said that it deleted {self.still_there[0]}, and still "
                "has it",
                hint="look at its settings; the same command tries again",
            )
        return None
