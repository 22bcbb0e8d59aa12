"""ocitool rewrite: the names of images in files, as they are on the other side."""

import os
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from ocitool.cli.completing import words
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.lists import candidate_remarks, read_input
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render import console
from ocitool.cli.render.columns import counted
from ocitool.cli.render.console import safe
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ocitool.bundles.rewriting import Change, NewNames, Rewritten

_LACKING = 3
_STDIN = "-"

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE…", help="YAML, JSON, a lock or a list that names images; - is stdin."
    ),
]
MapFiles = Annotated[
    list[str],
    typer.Option(
        "--map-file",
        metavar="F",
        help="A map that `bundle load --map-out` wrote; may be repeated: the last one counts.",
    ),
]
LeaveMissing = Annotated[
    bool,
    typer.Option("--leave-missing", help="Leave images as they are that no map has; name them."),
]
InPlace = Annotated[
    bool, typer.Option("--in-place", "-i", help="Change the files instead of printing the result.")
]
PinAs = Annotated[
    str,
    typer.Option(
        "--pin",
        metavar="both|digest|tag",
        autocompletion=words("both", "digest", "tag"),
        help="Write new names as NAME:TAG@DIGEST, NAME@DIGEST or NAME:TAG.",
    ),
]
IncludeCandidates = Annotated[
    bool,
    typer.Option(
        "--include-candidates",
        help="Also change the values of YAML files that only look like images.",
    ),
]


class _Result(Struct, frozen=True, kw_only=True):
    """What a run did: the files that it wrote, and each image in them."""

    files: "tuple[str, ...]"
    changes: "tuple[Change, ...]"
    missing: "tuple[Change, ...]"


@with_options(out=OUTPUT)
def rewrite(
    files: Files,
    *,
    map_file: MapFiles,
    in_place: InPlace = False,
    pin: PinAs = "both",
    include_candidates: IncludeCandidates = False,
    leave_missing: LeaveMissing = False,
    out: Output,
) -> None:
    """Put the names that images have on the other side into files, by digest.

    Only the names change: comments, quotes, anchors and line breaks stay, and a second run changes
    nothing. Ends with 3 and changes no file if the maps lack an image of any of them.
    """
    from ocitool.cli import documents

    _check(files, out, in_place=in_place)
    names = _new_names(map_file, pin)
    done = _rewrite_all(files, names, out, include_candidates=include_candidates)
    missing = tuple(one for rewritten in done.values() for one in rewritten.missing)
    changed = {
        path: one for path, one in done.items() if one.changes and (leave_missing or not missing)
    }
    result = _Result(
        files=tuple(changed),
        changes=tuple(change for one in changed.values() for change in one.changes),
        missing=missing,
    )
    if in_place:
        _write(changed)
        out.result(result, text=_lines, ids=_new, view=documents.REWRITTEN)
    _tell_missing(missing, names)
    if missing and not leave_missing:
        _tell_nothing_changed(map_file, len(missing))
        raise typer.Exit(_LACKING)
    if in_place:
        out.summary([_summary(result, len(done))])
    else:
        console.out_bytes(next(iter(done.values())).data)


def _check(files: "Sequence[str]", out: Output, *, in_place: bool) -> None:
    if in_place and _STDIN in files:
        raise UsageError("standard input cannot be changed in place", hint="leave out -i")
    if in_place:
        return
    if len(files) > 1:
        raise UsageError(
            "several files cannot go to stdout as one", hint="use -i to change them in place"
        )
    if out.is_json:
        raise UsageError("--json and the file cannot both go to stdout", hint="use -i")


def _new_names(map_files: "Sequence[str]", pin: str) -> "NewNames":
    from ocitool.bundles.mapping import LARGEST_MAP, parse_map
    from ocitool.bundles.rewriting import PINS, NewNames

    known = next((one for one in PINS if one == pin), None)
    if known is None:
        raise UsageError(f"--pin {pin!r} is not one of {', '.join(PINS)}")
    maps = [parse_map(read_input(path, path, LARGEST_MAP), path) for path in map_files]
    images = {image.from_: image for one in maps for image in one}
    return NewNames(images.values(), known)


def _rewrite_all(
    files: "Sequence[str]", names: "NewNames", out: Output, *, include_candidates: bool
) -> "dict[str, Rewritten]":
    """Return every file that names an image with its new names; nothing is written.

    A file without an image is told, and is an error only if there is no other.
    """
    from ocitool.bundles.names import LARGEST, NoImage, names_in
    from ocitool.bundles.rewriting import rewrite as rewrite_file

    done: dict[str, Rewritten] = {}
    without: list[NoImage] = []
    # One file may have been named in two ways.
    for path in {os.path.realpath(path): path for path in files}.values():
        what = "stdin" if path == _STDIN else path
        data = read_input(path, what, LARGEST)
        try:
            found = names_in(data, what, include_candidates=include_candidates)
        except NoImage as error:
            without.append(error)
            continue
        out.remark(candidate_remarks(found))
        done[path] = rewrite_file(data, found, names)
    if not done:
        raise without[0]
    out.remark(safe(error.message) for error in without)
    return done


def _write(changed: "dict[str, Rewritten]") -> None:
    from ocitool.fsops import write_outputs

    if changed:
        write_outputs({path: one.data for path, one in changed.items()})


def _lines(result: _Result) -> "Iterator[str]":
    for one in result.changes:
        yield f"{safe(one.file)}:{one.line}: {safe(one.old)} -> {safe(one.new or '')}"


def _new(result: _Result) -> "Iterator[str]":
    yield from dict.fromkeys(safe(one.new or "") for one in result.changes)


def _tell_missing(missing: "Sequence[Change]", names: "NewNames") -> None:
    for one in missing:
        other = names.under_another_digest(one.old)
        why = f" with this digest; it has {other.digest}" if other is not None else ""
        console.note(f"{one.file}:{one.line}: {one.old} is not in the map{why}")


def _tell_nothing_changed(maps: "Sequence[str]", missing: int) -> None:
    lacks = f"{' and '.join(maps)} {'lacks' if len(maps) == 1 else 'lack'}"
    console.note(f"ocitool: {lacks} {counted(missing, 'image')}; no file was changed")
    console.note("  bring them with a bundle and its map, or --leave-missing keeps their names")


def _summary(result: _Result, read: int) -> str:
    if not result.changes:
        return f"nothing to change in {counted(read, 'file')}"
    count = counted(len(result.changes), "name")
    return f"changed {count} in {len(result.files)} of {counted(read, 'file')}"
