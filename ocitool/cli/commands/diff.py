"""ocitool diff: how two images differ."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.completing import store_names
from ocitool.cli.elsewhere import says_where_else
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.registry import REGISTRY, connected_to, source_at
from ocitool.cli.options.shared import OnePlatform, one_platform, usual_platform
from ocitool.cli.options.tables import table_cache
from ocitool.cli.output import OUTPUT, Output, nothing
from ocitool.cli.render import console
from ocitool.errors import NotFound, UsageError

if TYPE_CHECKING:
    from ocitool.images.opening import Opened
    from ocitool.inside.comparing import DiffOptions
    from ocitool.inside.differences import Comparison, Unread, What
    from ocitool.places.registry import RegistryOptions

_DIFFERENT = 3
_IGNORABLE = ("mtime", "owner", "mode", "xattrs")

First = Annotated[
    str,
    typer.Argument(
        metavar="A", help="NAME, ID, oci:DIR:TAG, ./FILE, …", autocompletion=store_names
    ),
]
Second = Annotated[
    str, typer.Argument(metavar="B", help="The same forms.", autocompletion=store_names)
]
Layers = Annotated[bool, typer.Option("--layers", help="Compare the layers; read none of them.")]
Config = Annotated[
    bool, typer.Option("--config", help="Compare configuration and history; read no layer.")
]
Files = Annotated[
    bool, typer.Option("--files", help="Compare the files, and list every path that differs.")
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore",
        metavar="WHAT,…",
        help="Do not compare these: mtime (all times), owner, mode, xattrs.",
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="GLOB",
        help="Compare only these files, such as 'etc/**' or '*.conf'; may be repeated.",
    ),
]
Content = Annotated[
    bool, typer.Option("--content", help="Show how small text files differ, line by line.")
]
Markdown = Annotated[
    bool, typer.Option("--markdown", help="Print Markdown, for a comment on a pull request.")
]


@with_options(out=OUTPUT, registry=REGISTRY)
@says_where_else("ocitool diff SRC …", "ocitool diff SRC …")
def diff(
    a: First,
    b: Second,
    *,
    layers: Layers = False,
    config: Config = False,
    files: Files = False,
    ignore: Ignore = None,
    only: Only = None,
    content: Content = False,
    markdown: Markdown = False,
    platform: OnePlatform = None,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Compare two images: files, configuration, history, layers and size.

    Files are compared by their content, as a container would see them, however they are split into
    layers. Paths of which only the time differs are counted. Layers are the same by digest, or by
    diff ID if they are only stored in another form. The exit code is 3 if anything differs that
    was compared, 0 if not, 4 or 7 if a layer is missing or damaged, 4 if no path fits --only.
    """
    from ocitool.cli import documents

    if markdown and out.is_json:
        raise UsageError("--markdown and --json exclude each other")
    sections = {"layers": layers, "config": config, "files": files or bool(only)}
    options = _options(sections, ignore or [], only or [], content=content)
    found = _compare((a, b), options, platform, out, registry)
    out.result(
        found,
        text=lambda found: _lines(found, every_path=files, markdown=markdown),
        ids=nothing,
        view=documents.COMPARED,
    )
    out.remark(_remarks(found))
    _end(found, has_patterns=bool(only))


def _remarks(found: "Comparison") -> Iterator[str]:
    """Yield what limits the comparison."""
    from ocitool.inside.problems import BROKEN

    yield from (_unread(one) for one in found.problems if one.kind not in BROKEN)
    if found.a.platform != found.b.platform:
        yield f"A is for {found.a.platform} and B for {found.b.platform}"


def _end(found: "Comparison", *, has_patterns: bool) -> None:
    """End with the code of the answer, and with an error if something was not there to compare."""
    from ocitool.cli.unread import end_for

    end_for((one.kind, _unread(one)) for one in found.problems)
    files = found.files
    if has_patterns and files is not None and files.same and not files.compared:
        # A mistyped pattern must not pass a gate.
        raise NotFound(
            "neither image has a path that fits --only",
            hint="patterns begin at the root of the image, such as 'etc/**'",
        )
    if not found.same:
        raise typer.Exit(_DIFFERENT)


def _unread(one: "Unread") -> str:
    return f"layer {one.layer} of {one.image.upper()} is not compared: {one.text}"


def _options(
    asked: dict[str, bool], ignore: Sequence[str], only: Sequence[str], *, content: bool
) -> "DiffOptions":
    from ocitool.inside.comparing import EVERYTHING, DiffOptions
    from ocitool.inside.differences import Section
    from ocitool.inside.globs import path_matcher

    sections = {Section(name) for name, wanted in asked.items() if wanted} or EVERYTHING
    if content and Section.FILES not in sections:
        raise UsageError("--content compares files, which are not asked for", hint="add --files")
    return DiffOptions(
        sections=sections,
        ignored=_ignored(ignore),
        wanted=path_matcher(only) if only else None,
        content=content,
    )


def _ignored(texts: Sequence[str]) -> "set[What]":
    from ocitool.inside.differences import What

    words = {word.strip() for text in texts for word in text.split(",")}
    unknown = sorted(words - set(_IGNORABLE))
    if unknown:
        raise UsageError(
            f"--ignore {unknown[0]!r} is not possible", hint=f"use {', '.join(_IGNORABLE)}"
        )
    return {What(word) for word in words}


def _compare(
    texts: tuple[str, str],
    options: "DiffOptions",
    platform: str | None,
    out: Output,
    registry: "RegistryOptions",
) -> "Comparison":
    from ocitool.images.opening import one_root
    from ocitool.inside.comparing import Image, compare, look_inside_both

    wanted = one_platform(platform)
    with _opened(texts, out, registry) as both:
        one, other = (
            Image(source=opened.source, root=one_root(opened), cache=table_cache(opened))
            for opened in both
        )
        insides = look_inside_both(
            one,
            other,
            options,
            platform=wanted or usual_platform(),
            required=wanted is not None,
            observer=out.bar,
        )
        return compare(*insides, options, observer=out.bar)


@contextlib.contextmanager
def _opened(
    texts: tuple[str, str], out: Output, registry: "RegistryOptions"
) -> "Iterator[tuple[Opened, Opened]]":
    """Yield both places, open for reading."""
    from ocitool.images.locations import parse_place

    a, b = map(parse_place, texts)
    if a.text == b.text == "-":
        raise UsageError("both images cannot come from the one pipe")
    with (
        connected_to(registry, out.bar, a, b) as connected,
        source_at(a, out.options, connected, out.bar) as one,
        source_at(b, out.options, connected, out.bar) as other,
    ):
        yield one, other


def _lines(found: "Comparison", *, every_path: bool, markdown: bool) -> Iterator[str]:
    from ocitool.cli.render.comparison import Layout, comparison_lines
    from ocitool.cli.render.comparison_markdown import markdown_lines

    if markdown:
        return markdown_lines(found, every_path=every_path)
    return comparison_lines(found, Layout(width=console.room(), every_path=every_path))
