"""The options of registry prune: the rules, and what to do with the plan."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ocitool.cli.completing import words
from ocitool.cli.options.expand import Group

if TYPE_CHECKING:
    from ocitool.pruning.policy import Written

_KEEPING = "What stays"
_GOING = "What may go"


def _texts(name: str, metavar: str, text: str, panel: str) -> tuple[Any, object]:
    option = typer.Option(name, metavar=metavar, help=text, rich_help_panel=panel)
    return Annotated[list[str] | None, option], None


_KEEP = {
    "keep_last": _texts(
        "--keep-last",
        "N[:REGEX]",
        "The N newest images, of the tags that match; each rule counts on its own.",
        _KEEPING,
    ),
    "keep_within": _texts(
        "--keep-within", "T[:REGEX]", "Images younger than T, such as 30d.", _KEEPING
    ),
    "keep_tags": _texts("--keep-tags", "REGEX", "Tags that match as a whole.", _KEEPING),
    "keep_semver": _texts(
        "--keep-semver", "RANGE", "Versions in a range, such as '>=1.2 <3' or '^2'.", _KEEPING
    ),
    "keep_semver_last": _texts(
        "--keep-semver-last",
        "LEVEL=N,…",
        "The highest version of each of the N highest majors and minors, and the N highest: "
        "major=1,minor=3,patch=5.",
        _KEEPING,
    ),
    "keep_daily": _texts(
        "--keep-daily", "N", "The last image of each of the last N days that have one.", _KEEPING
    ),
    "keep_weekly": _texts("--keep-weekly", "N", "The same for weeks.", _KEEPING),
    "keep_monthly": _texts("--keep-monthly", "N", "The same for months.", _KEEPING),
    "containers": _texts(
        "--containers",
        "KIND:FILE",
        "Images that containers use: kube:FILE, docker:FILE and the others of gc.",
        _KEEPING,
    ),
}


def _option(kind: Any, default: object, *names: str, **more: Any) -> tuple[Any, object]:
    return Annotated[kind, typer.Option(*names, rich_help_panel=_GOING, **more)], default


_DELETE: dict[str, tuple[Any, object]] = {
    "delete_tags": _texts(
        "--delete-tags", "REGEX", "Tags that may go, if nothing keeps them; no others do.", _GOING
    ),
    "untagged": _option(
        bool, False, "--untagged", help="Also what has no tag, where the registry lists that."
    ),
    "orphans": _option(
        bool, False, "--orphans", help="Also what is attached to images that are gone."
    ),
    "older_than": _option(
        str | None,
        None,
        "--older-than",
        metavar="T",
        help="Only what is older than T; pulled:T counts from the last pull (ECR).",
    ),
    "min_keep": _option(
        int | None,
        None,
        "--min-keep",
        min=0,
        metavar="N",
        help="Leave at least N images; default: 1.",
    ),
    "max_delete": _option(
        str | None,
        None,
        "--max-delete",
        metavar="N|P%",
        help="Delete at most N images, or P percent of those with a tag; default: 50%.",
    ),
    "api": _option(
        str | None,
        None,
        "--api",
        metavar="auto|oci|ghcr|ecr",
        autocompletion=words("auto", "oci", "ghcr", "ecr"),
        help="Which interface deletes; auto goes by the host.",
    ),
}


def _written(_: typer.Context, **options: Any) -> "Written":
    from ocitool.pruning.policy import KEEPING, Written

    keep = {name: tuple(options[name.replace("-", "_")] or ()) for name in KEEPING}
    return Written(
        keep=keep,
        delete_tags=tuple(options["delete_tags"] or ()),
        containers=tuple(options["containers"] or ()),
        **{name: options[name] for name in _DELETE if name != "delete_tags"},
    )


RULES = Group({**_KEEP, **_DELETE}, _written)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """What to do; without any of these: show the plan, and delete nothing."""

    policy: str | None
    apply: str | None
    allow_new: bool
    plan_out: str | None
    archive: str | None
    check: bool
    explain: str | None
    ignore_unreadable: list[str] | None
    rate: float | None
    force: bool


DOING = Group(
    {
        "policy": (
            Annotated[
                str | None,
                typer.Option(
                    "--policy", metavar="FILE", help="Rules in YAML, with the words of the options."
                ),
            ],
            None,
        ),
        "plan_out": (
            Annotated[
                str | None, typer.Option("--plan-out", metavar="F", help="Write the plan to F.")
            ],
            None,
        ),
        "apply": (
            Annotated[
                str | None,
                typer.Option(
                    "--apply",
                    metavar="PLAN",
                    help="Do what a plan says, if the repository is still as it was then.",
                ),
            ],
            None,
        ),
        "allow_new": (
            Annotated[
                bool,
                typer.Option(
                    "--allow-new", help="With --apply: tags may have come since; they stay."
                ),
            ],
            False,
        ),
        "archive": (
            Annotated[
                str | None,
                typer.Option(
                    "--archive",
                    metavar="FILE",
                    help="First write all that goes to this OCI archive, and verify it.",
                ),
            ],
            None,
        ),
        "check": (
            Annotated[
                bool,
                typer.Option("--check", help="Exit with 3 if anything would go; delete nothing."),
            ],
            False,
        ),
        "explain": (
            Annotated[
                str | None,
                typer.Option("--explain", metavar="TAG|DIGEST", help="Say why it stays or goes."),
            ],
            None,
        ),
        "ignore_unreadable": (
            Annotated[
                list[str] | None,
                typer.Option(
                    "--ignore-unreadable",
                    metavar="DIGEST",
                    help="Go on although this manifest cannot be read or is missing.",
                ),
            ],
            None,
        ),
        "rate": (
            Annotated[
                float | None,
                typer.Option("--rate", min=0.01, metavar="N", help="Send N requests a second."),
            ],
            None,
        ),
        "force": (
            Annotated[bool, typer.Option("--force", "-f", help="Delete what the plan lists.")],
            False,
        ),
    },
    lambda _, **options: Doing(**options),
)
