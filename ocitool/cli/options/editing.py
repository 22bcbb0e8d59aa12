"""Options that the commands share that edit images."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ocitool.cli.completing import words
from ocitool.cli.options.expand import Group
from ocitool.cli.options.shared import platforms, settings
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.oci.mediatype import Compression
    from ocitool.operations.edit.report import EditOptions

_NOW, _KEEP = "now", "keep"

Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        "-t",
        metavar="DST",
        help="Where the result goes: docker://NAME, a name in the store, oci:DIR:TAG, ./FILE, … "
        "May be repeated.",
    ),
]
InPlace = Annotated[
    bool, typer.Option("--in-place", help="Move the name of SRC to the new image, where it is.")
]
Created = Annotated[
    str | None,
    typer.Option(
        "--created",
        metavar="T|now|keep",
        help="Time of the image and of new history. Default: SOURCE_DATE_EPOCH, else that of SRC.",
    ),
]
NoHistory = Annotated[bool, typer.Option("--no-history", help="Add no entry to the history.")]
Author = Annotated[
    str | None, typer.Option("--author", metavar="A", help="Author of the image and the entry.")
]
Attached = Annotated[
    str,
    typer.Option(
        "--referrers",
        metavar="list|copy|fail",
        autocompletion=words("list", "copy", "fail"),
        help="What is attached to the old image: list it, copy its SBOMs, or fail if there is any.",
    ),
]
KeepAttestations = Annotated[
    bool,
    typer.Option(
        "--keep-attestations",
        help="Keep BuildKit's attestations of images that change, although they tell of the old.",
    ),
]
IfThere = Annotated[
    str,
    typer.Option(
        "--on-existing",
        metavar="same|overwrite|skip|error",
        autocompletion=words("same", "overwrite", "skip", "error"),
        help="If the tag exists: accept only the same image, move it, keep it, or fail.",
    ),
]
EditedPlatforms = Annotated[
    str | None,
    typer.Option("--platform", metavar="P,…", help="Edit only the images for these platforms."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the new digests and write nothing.")]
Force = Annotated[
    bool, typer.Option("--force", "-f", help="With --in-place, also for a signed image.")
]
DigestFile = Annotated[
    str | None,
    typer.Option("--digestfile", metavar="F", help="Write the new digest to this file."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class EditingOptions:
    """What the user said about an edit: `created` only if --created did, and not to keep it."""

    options: "EditOptions"
    created: str | None
    digestfile: str | None


def _editing(
    context: typer.Context,
    *,
    target: list[str] | None = None,
    in_place: bool = False,
    force: bool = False,
    platform: str | None = None,
    created: str | None = None,
    no_history: bool = False,
    author: str | None = None,
    referrers: str = "list",
    keep_attestations: bool = False,
    on_existing: str = "overwrite",
    dry_run: bool = False,
    digestfile: str | None = None,
) -> EditingOptions:
    from ocitool.cli.render.texts import begin_digest_file
    from ocitool.operations.edit.report import AttachedPolicy, EditOptions
    from ocitool.operations.push_report import OnExisting

    begin_digest_file(digestfile, dry_run=dry_run)
    explicit = None if created in (None, _KEEP) else time_of(str(created))
    options = EditOptions(
        targets=tuple(target or ()),
        in_place=in_place,
        force=force,
        platforms=platforms(platform),
        epoch=explicit if created is not None else _epoch(),
        history=not no_history,
        author=author,
        attached=_word(AttachedPolicy, referrers, "--referrers"),
        keep_attestations=keep_attestations,
        on_existing=_word(OnExisting, on_existing, "--on-existing"),
        dry_run=dry_run,
        scratch=settings(context).temporary,
    )
    return EditingOptions(options=options, created=explicit, digestfile=digestfile)


Word = TypeVar("Word", bound=StrEnum)


def _word(kind: type[Word], text: str, option: str) -> Word:
    try:
        return kind(text)
    except ValueError:
        raise UsageError(f"{option} {text!r} is not one of {', '.join(kind)}") from None


def time_of(text: str) -> str:
    """Return the time of --created as in RFC 3339; UsageError for what is none."""
    from ocitool.cli.options.quantities import parse_moment
    from ocitool.oci import parse_time

    if text == _NOW:
        return _written(dt.datetime.now(dt.UTC))
    if text.isdecimal():
        return _of_seconds(text)
    if parse_time(text) is not None:
        return text
    return _written(parse_moment(text, "--created", dt.datetime.now(dt.UTC), ago=True))


def _of_seconds(text: str) -> str:
    try:
        return _written(dt.datetime.fromtimestamp(int(text), dt.UTC))
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"--created {text!r} is not a number of seconds since 1970") from None


def _epoch() -> str | None:
    """Return the time of SOURCE_DATE_EPOCH as in RFC 3339, or None where it is not set."""
    from ocitool.cli.options.times import source_date_epoch

    seconds = source_date_epoch()
    return None if seconds is None else _written(dt.datetime.fromtimestamp(seconds, dt.UTC))


def _written(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def layer_compression(text: str) -> "Compression":
    """Return the compression of --compression; UsageError for another word."""
    known: dict[str, Compression] = {"gzip": "gzip", "zstd": "zstd", "none": "none"}
    if text not in known:
        raise UsageError(f"--compression {text!r} is not one of {', '.join(known)}")
    return known[text]


def pairs(texts: Iterable[str] | None, option: str) -> dict[str, str]:
    """Return the keys and values of an option KEY=VALUE that may be repeated."""
    found: dict[str, str] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UsageError(f"{option} {text!r} is not KEY=VALUE")
        if key in found:
            raise UsageError(f"{option} {key!r} is given twice")
        found[key] = value
    return found


_OUTPUT: dict[str, tuple[Any, object]] = {
    "on_existing": (IfThere, "overwrite"),
    "dry_run": (DryRun, False),
    "digestfile": (DigestFile, None),
}
_ATTACHED: dict[str, tuple[Any, object]] = {
    "referrers": (Attached, "list"),
    "keep_attestations": (KeepAttestations, False),
}
_RECORD: dict[str, tuple[Any, object]] = {
    "created": (Created, None),
    "no_history": (NoHistory, False),
    "author": (Author, None),
}
_TO: dict[str, tuple[Any, object]] = {
    "target": (Targets, None),
    "in_place": (InPlace, False),
    "force": (Force, False),
}
EDITING = Group(
    {**_TO, "platform": (EditedPlatforms, None), **_RECORD, **_ATTACHED, **_OUTPUT}, _editing
)
"""For the commands that change images."""
INDEXING = Group({"on_existing": (IfThere, "overwrite"), "dry_run": (DryRun, False)}, _editing)
"""For `index create`, which names its destination, and reads digest files."""
TAKING = Group({**_TO, "referrers": (Attached, "list"), **_OUTPUT}, _editing)
"""For the commands that change no image, but take some."""
CONVERTING = Group({**_TO, **_ATTACHED, **_OUTPUT}, _editing)
"""For the commands that change the form of images."""
LEAVING = Group(
    {"target": (Targets, None), **_OUTPUT},
    lambda context, **given: _editing(
        context, **{**given, "dry_run": given["dry_run"] or not given["target"]}
    ),
)
"""For a command that needs no destination, because it changes nothing."""
ADDING = Group(
    {
        "target": (Targets, None),
        "force": (Force, False),
        "referrers": (Attached, "list"),
        "on_existing": (IfThere, "overwrite"),
        "dry_run": (DryRun, False),
    },
    lambda context, **given: _editing(context, in_place=not given["target"], **given),
)
"""For changes of an index, which is changed in place unless a destination is given."""
