"""The options of gc: what may be removed, and what to do."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.completing import words
from ocitool.cli.options.expand import Group
from ocitool.cli.options.quantities import parse_seconds

if TYPE_CHECKING:
    from ocitool.garbage import Choice

Everything = Annotated[
    bool, typer.Option("--all", "-a", help="Also remove tagged images that nothing uses.")
]
Filters = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        metavar="KEY=VALUE",
        help="unused-for=TIME, label=KEY[=VALUE], label!=KEY[=VALUE], reference=PATTERN",
    ),
]
KeepLast = Annotated[
    int,
    typer.Option(
        "--keep-last",
        min=0,
        metavar="N",
        help="Keep the N most recently used images of each repository.",
    ),
]
Grace = Annotated[
    str | None,
    typer.Option(
        "--grace",
        metavar="TIME",
        help="Keep what is younger than TIME; default: 0 in the store, but 10m for blobs without "
        "an image, which another tool may be writing; 1h in a layout.",
    ),
]
Untagged = Annotated[
    bool, typer.Option("--untagged", help="In a layout: also remove images without a name.")
]
OrphanReferrers = Annotated[
    bool,
    typer.Option(
        "--orphan-referrers", help="Also remove artifacts attached to images that are not here."
    ),
]
Containers = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PROVIDER",
        autocompletion=words("docker", "podman", "containerd", "cri", "kube:", "none"),
        help="Keep the images of these containers: docker, podman, containerd, cri, "
        "docker:unix://SOCKET, docker:FILE, podman:FILE, containerd:FILE, cri:FILE, kube:FILE or "
        "none; may be repeated. The store's own containers always count. Default: the store and "
        "every engine and runtime whose socket exists.",
    ),
]
Engine = Annotated[
    str | None,
    typer.Option(
        metavar="docker|podman",
        autocompletion=words("docker", "podman"),
        help="Collect the garbage of this engine, through its API.",
    ),
]
Archive = Annotated[
    str | None,
    typer.Option(
        "--archive",
        metavar="FILE",
        help="With --engine: save the images to this new archive before they are removed.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which images may be removed."""

    everything: bool
    filters: list[str] | None
    keep_last: int
    grace: str | None
    untagged: bool
    orphan_referrers: bool

    def options(self) -> dict[str, object]:
        """Return the options besides --all, with their values."""
        return {
            "--filter": self.filters,
            "--keep-last": self.keep_last,
            "--grace": self.grace,
            "--untagged": self.untagged,
            "--orphan-referrers": self.orphan_referrers,
        }

    def choice(self) -> "Choice":
        """Return what the options say to the library."""
        from ocitool.garbage.choice import choice_of

        return choice_of(
            self.filters or (),
            parse_seconds,
            everything=self.everything,
            keep_last=self.keep_last,
            grace=parse_seconds(self.grace) if self.grace is not None else None,
            untagged=self.untagged,
            orphans=self.orphan_referrers,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """What to do; without any of these: show the plan, ask, and remove."""

    dry_run: bool
    check: bool
    explain: str | None
    undo: bool
    purge: bool
    force: bool

    @property
    def only_shows(self) -> bool:
        """Whether the plan is shown and nothing removed."""
        return self.dry_run or self.check


SELECTION = Group(
    {
        "everything": (Everything, False),
        "filters": (Filters, None),
        "keep_last": (KeepLast, 0),
        "grace": (Grace, None),
        "untagged": (Untagged, False),
        "orphan_referrers": (OrphanReferrers, False),
    },
    lambda _, **options: Selection(**options),
)


def _flag(*names: str, text: str) -> tuple[object, bool]:
    return Annotated[bool, typer.Option(*names, help=text)], False


MODE = Group(
    {
        "dry_run": _flag("--dry-run", text="Show the plan and remove nothing."),
        "check": _flag("--check", text="Like --dry-run; exit code 3 when there is garbage."),
        "explain": (
            Annotated[
                str | None,
                typer.Option(
                    "--explain",
                    metavar="NAME|DIGEST",
                    help="Say why an image or a blob is kept or removed.",
                ),
            ],
            None,
        ),
        "undo": _flag("--undo", text="Restore what the last gc or rm removed."),
        "purge": _flag("--purge", text="Empty the trash for good."),
        "force": _flag("--force", "-f", text="Do not ask for confirmation."),
    },
    lambda _, **options: Mode(**options),
)
