"""ocitool files: list, find, read and copy the files of an image, also of one layer alone."""

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from ocitool.cli.completing import store_names
from ocitool.cli.elsewhere import says_where_else
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.inside import LOOKING, Looking, looking_for, looking_into
from ocitool.cli.options.query import QUERY
from ocitool.cli.options.registry import REGISTRY
from ocitool.cli.output import JSON_OUTPUT, OUTPUT, Output
from ocitool.cli.parsing import command_group
from ocitool.cli.render import console
from ocitool.errors import NotFound, UsageError

if TYPE_CHECKING:
    from ocitool.inside.image import Inside
    from ocitool.inside.listing import FileEntry
    from ocitool.inside.searching import FileQuery
    from ocitool.inside.story import Event
    from ocitool.inside.taking import Taken
    from ocitool.places.registry import RegistryOptions

_MOST_IN_JSON = 64 << 20

files = command_group()


class _Shown(Struct, frozen=True):
    """A file, and with --why what the layers did to it."""

    entry: "FileEntry"
    story: "Sequence[Event] | None" = None


SourceAndPath = Annotated[
    str,
    typer.Argument(
        metavar="SRC[:PATH]",
        help="An image, and a path in it that begins with a slash.",
        autocompletion=store_names,
    ),
]
MaybePath = Annotated[
    str | None, typer.Argument(metavar="[PATH]", help="The path, if it is not behind SRC.")
]
Destination = Annotated[
    str | None,
    typer.Argument(
        metavar="DEST|-", help="A folder, a new name, or - for a tar.", show_default=False
    ),
]
Why = Annotated[
    bool, typer.Option("--why", help="Show what each layer did to the files, with its build step.")
]
Long = Annotated[
    bool, typer.Option("--long", "-l", help="Show modes, owners, sizes, times, links and layers.")
]


@files.command("ls")
@with_options(looking=LOOKING, out=JSON_OUTPUT, registry=REGISTRY)
@says_where_else("ocitool files ls SRC", "ocitool files ls SRC")
def ls(
    source: SourceAndPath,
    path: MaybePath = None,
    *,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-R", help="List what is in the folders below, too.")
    ] = False,
    long: Long = False,
    why: Why = False,
    looking: Looking,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """List a folder of an image as a container would see it, or as one layer has it.

    Links in the path are followed inside the image. With --layer the list ends with the paths that
    this layer hides.
    """
    from ocitool.inside.listing import list_files

    text, path = _split(source, path)
    with _inside(text, looking, out, registry, why=why) as inside:
        entries = list_files(
            inside, path, recursive=recursive, with_whiteouts=looking.layer is not None
        )
        _show(inside, entries, out, long=long, why=why, name_only=not recursive)
        _end(inside)


@files.command("find")
@with_options(query=QUERY, looking=LOOKING, out=JSON_OUTPUT, registry=REGISTRY)
@says_where_else("ocitool files find SRC", "ocitool files find SRC")
def find(
    source: SourceAndPath,
    path: MaybePath = None,
    *,
    query: "FileQuery",
    hidden: Annotated[
        bool, typer.Option("--hidden", help="Files that are stored and that nothing can see.")
    ] = False,
    long: Long = False,
    why: Why = False,
    looking: Looking,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Find files of an image by name, type, size, time or mode, also those out of sight.

    What --hidden finds was deleted, overwritten or replaced by a layer above, which is named. With
    --layer N it was stored by that layer.
    """
    from ocitool.inside.duplicates import hash_doubtful
    from ocitool.inside.searching import find_files

    text, path = _split(source, path)
    # What one layer has out of sight shows only in the whole image.
    whole = Looking(platform=looking.platform, layer=None, up_to=looking.up_to)
    with _inside(text, whole if hidden else looking, out, registry, why=why) as inside:
        if hidden:
            hash_doubtful(inside, observer=out.bar)
        entries = find_files(
            inside, query, path, hidden=hidden, with_whiteouts=looking.layer is not None
        )
        if hidden and looking.layer is not None:
            entries = (entry for entry in entries if entry.layer == looking.layer)
        found = list(entries)
        _show(inside, found, out, long=long, why=why)
        if not (found or hidden):
            out.remark(_also_hidden(inside, query, path))
        _end(inside)


def _also_hidden(inside: "Inside", query: "FileQuery", path: str) -> "Iterator[str]":
    """Yield how many files that are out of sight fit a query that nothing in sight fits."""
    from ocitool.inside.searching import find_files

    count = sum(1 for _ in find_files(inside, query, path, hidden=True))
    if count:
        fits, it = ("file that fits is", "it") if count == 1 else ("files that fit are", "them")
        yield f"{count} {fits} stored in a layer and hidden: --hidden lists {it}"


def _end(inside: "Inside", about: str = "") -> None:
    """Fail if a layer is missing or damaged: what was listed may lack files, or have too many."""
    from ocitool.cli.unread import end_for

    end_for(
        (problem.kind, f"{about}layer {problem.layer} could not be read: {problem.text}")
        for problem in inside.unread
    )


@files.command("cat")
@with_options(looking=LOOKING, out=JSON_OUTPUT, registry=REGISTRY)
@says_where_else("ocitool files cat SRC PATH", "ocitool files cat SRC PATH")
def cat(
    source: SourceAndPath,
    path: MaybePath = None,
    *,
    why: Why = False,
    looking: Looking,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Print the content of a file of an image; links are followed inside the image.

    On a terminal, characters that could control it are escaped. With --json the content is in the
    document, as text if it is UTF-8.
    """
    from ocitool.inside.listing import entry_of
    from ocitool.inside.taking import read_file, require_layers

    source, path = _split(source, path)
    if why or out.is_json:
        with _inside(source, looking, out, registry, why=why) as inside:
            if why:
                _show(inside, [entry_of(inside, inside.tree.find(path))], out, long=False, why=True)
                return
            require_layers(inside)
            _cat_json(inside, path, read_file(inside, path), out)
        return
    with looking_for(source, path, looking, out, registry) as (inside, real):
        require_layers(inside)
        content = read_file(inside, real)
        if console.is_terminal(sys.stdout):
            _cat_safe(content)
            return
        for part in content:
            console.out_bytes(part)


@files.command("cp")
@with_options(looking=LOOKING, out=OUTPUT, registry=REGISTRY)
@says_where_else("ocitool files cp SRC PATH DEST", "ocitool files cp SRC PATH DEST")
def cp(
    source: SourceAndPath,
    path: MaybePath = None,
    destination: Destination = None,
    *,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Replace a file that is there already.")
    ] = False,
    why: Why = False,
    looking: Looking,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Copy a file or a folder out of an image, and say where it is now.

    It appears whole or not at all, belongs to this user, and has no set-user-ID bit; links below a
    folder stay links. A tar (-) keeps owners, modes, times, attributes and devices.
    """
    from ocitool.cli.delivery import check_destination
    from ocitool.inside.taking import require_layers, take, take_tar

    source, path, destination = _what_and_where(source, path, destination)
    check_destination(destination, out)
    with _inside_for(source, path, looking, out, registry, why=why) as (inside, real):
        require_layers(inside)
        if destination == "-":
            for piece in take_tar(inside, real, called=path):
                console.out_bytes(piece)
            return
        taken = take(inside, real, destination, called=path, overwrite=force)
        _report(inside, taken, out, why=why)


def _what_and_where(source: str, path: str | None, destination: str | None) -> tuple[str, str, str]:
    """Return the image, the path and the destination of SRC PATH DEST, or of SRC:PATH DEST."""
    from ocitool.images.locations import source_and_path

    if path is not None and destination is not None:
        return source, path, destination
    text, found = source_and_path(source)
    if path is None or found is None:
        raise UsageError(
            "say which path of the image to copy, and to where",
            hint="ocitool files cp SRC PATH DEST, or SRC:PATH DEST",
        )
    return text, found, path


def _split(source: str, path: str | None) -> tuple[str, str]:
    """Return the image, and the path in it; without one it is the root."""
    from ocitool.images.locations import source_and_path

    if path is not None:
        return source, path
    text, found = source_and_path(source)
    return text, found or "/"


@contextlib.contextmanager
def _inside(
    source: str, looking: Looking, out: Output, registry: "RegistryOptions", *, why: bool
) -> "Iterator[Inside]":
    """Open an image, and say which of its layers could not be read."""
    from ocitool.inside.hashes import Hashes

    hashes = Hashes.ALL if why else Hashes.NONE
    with looking_into(source, looking, out, registry, hashes, ranges=True) as inside:
        bad = [layer for layer in inside.layers if layer.problem is not None]
        out.remark(f"layer {one.number} of {len(inside.layers)}: {one.problem}" for one in bad)
        try:
            yield inside
        except NotFound as error:
            # A layer that was not read may have it.
            _end(inside, f"{error.message}, but ")
            raise


@contextlib.contextmanager
def _inside_for(
    source: str, path: str, looking: Looking, out: Output, registry: "RegistryOptions", *, why: bool
) -> "Iterator[tuple[Inside, str]]":
    """Open an image for one path; for --why all of its layers are needed."""
    if why:
        with _inside(source, looking, out, registry, why=True) as inside:
            yield inside, path
        return
    with looking_for(source, path, looking, out, registry) as found:
        yield found


def _show(
    inside: "Inside",
    entries: "Iterable[FileEntry]",
    out: Output,
    *,
    long: bool,
    why: bool,
    name_only: bool = False,
) -> None:
    """Print files as a list, as a table, or with what the layers did to them."""
    from ocitool.cli import documents
    from ocitool.cli.render import files as render
    from ocitool.inside.story import stories

    if not (why or long or out.is_json):
        out.lines(render.short_line(entry, name_only=name_only) for entry in entries)
        return
    shown = list(entries)
    found = stories(inside, [entry.path for entry in shown]) if why else {}
    out.document(
        [_Shown(entry, found.get(entry.path)) for entry in shown],
        documents.LISTED_FILE.under(
            "files",
            digest=inside.chosen.image.descriptor.digest,
            platform=inside.chosen.image.platform,
            problems=documents.ODDITY(inside.problems),
        ),
    )
    if why:
        out.lines(render.story_lines(found))
    else:
        out.lines(render.long_lines(shown, name_only=name_only))


def _cat_safe(content: Iterable[bytes]) -> None:
    """Print text for people: what could control the terminal is escaped."""
    rest = b""
    for part in content:
        if b"\0" in part:
            raise UsageError(
                "the file is not text, and is not written to a terminal",
                hint="pipe it into a command, or copy it with `ocitool files cp`",
            )
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            console.out(_safe_line(line))
    if rest:
        console.out(_safe_line(rest))


def _safe_line(line: bytes) -> str:
    text = line.decode("utf-8", "surrogateescape")
    return "\t".join(console.safe(cell) for cell in text.split("\t"))


def _cat_json(inside: "Inside", path: str, content: Iterable[bytes], out: Output) -> None:
    from ocitool.cli import documents
    from ocitool.inside.listing import entry_of

    entry = entry_of(inside, inside.tree.find(path))
    if entry.size > _MOST_IN_JSON:
        raise UsageError(
            f"the file has {entry.size} bytes, too many for a JSON document",
            hint="without --json it is printed as it is",
        )
    data = b"".join(content)
    out.document(entry, documents.FILE.beside(**documents.content(data)))


def _report(inside: "Inside", taken: "Taken", out: Output, *, why: bool) -> None:
    """Say where what was copied is now, and what was left out of it."""
    from ocitool.cli import documents
    from ocitool.cli.render import files as render
    from ocitool.inside.story import stories

    out.result(
        taken,
        text=render.taken_lines,
        ids=lambda taken: [console.safe(taken.destination)],
        view=documents.TAKEN,
    )
    out.remark(render.left_out(taken))
    if why:
        out.remark(render.story_lines(stories(inside, [taken.path])))
