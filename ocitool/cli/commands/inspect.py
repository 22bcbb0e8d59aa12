"""ocitool inspect: a picture of an image."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.completing import store_names
from ocitool.cli.elsewhere import says_where_else
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.registry import REGISTRY, opened_each
from ocitool.cli.options.shared import NoTruncation, OnePlatform, one_platform, usual_platform
from ocitool.cli.options.tables import table_cache
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render import console
from ocitool.cli.render.columns import counted
from ocitool.cli.render.formatted import Format, formatted, is_template
from ocitool.cli.render.picture import View, picture
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.events import Observer
    from ocitool.image.content import Root
    from ocitool.images.listing import ListedImage
    from ocitool.images.locations import Place
    from ocitool.images.opening import Opened
    from ocitool.oci import Platform
    from ocitool.operations.inspect import ImageReport
    from ocitool.places.registry import RegistryOptions

Raw = Annotated[
    bool, typer.Option("--raw", help="Print the bytes of the manifest or index that SRC names.")
]
ManifestFlag = Annotated[
    bool, typer.Option("--manifest", help="Print the bytes of the image's manifest.")
]
ConfigFlag = Annotated[
    bool, typer.Option("--config", help="Print the bytes of the image's configuration.")
]


EveryOne = Annotated[
    bool,
    typer.Option("--all", "-a", help="Show every image of a place, and every layer of an image."),
]
Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SRC…", help="NAME, ID, oci:DIR:TAG, ./FILE, -, …", autocompletion=store_names
    ),
]


@with_options(out=OUTPUT, registry=REGISTRY)
@says_where_else("ocitool inspect SRC", "ocitool inspect SRC")
def inspect(
    sources: Sources,
    *,
    platform: OnePlatform = None,
    raw: Raw = False,
    manifest: ManifestFlag = False,
    config: ConfigFlag = False,
    show_all: EveryOne = False,
    template: Format = None,
    no_trunc: NoTruncation = False,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Show an image: its identity, its configuration, and its layers with their build steps.

    For a multi-platform image this shows the image for --platform, DOCKER_DEFAULT_PLATFORM, this
    machine, or else the first one, and lists the others. A place with several images is listed;
    --all shows each of them. With --json one image gives an object, several give an array.
    """
    if raw + manifest + config > 1:
        raise UsageError("--raw, --manifest and --config exclude each other")
    wanted = one_platform(platform)
    if raw or manifest or config:
        _print_documents(sources, wanted, out, registry, raw=raw, config=config)
        return
    lists = out.is_text and not is_template(template, json=out.is_json) and not show_all
    reports = _reports(sources, wanted, out, registry, lists=lists)
    if template is not None and is_template(template, json=out.is_json):
        _print_formatted(reports, template, out)
    elif reports:
        view = View(
            width=None if no_trunc else console.room(),
            every_layer=show_all or no_trunc or console.terminal_width() is None,
        )
        _print(reports, view, out, is_single=len(sources) == len(reports) == 1)


def _reports(
    sources: Sequence[str],
    wanted: "Platform | None",
    out: Output,
    registry: "RegistryOptions",
    *,
    lists: bool,
) -> "list[ImageReport]":
    """Return what each image is; with `lists`, a place of several images is only listed."""
    from ocitool.images.locations import parse_place

    reports: list[ImageReport] = []
    places = [parse_place(text) for text in sources]
    asked = [ask_engine(place, wanted) for place in places]
    read = [place for place, report in zip(places, asked, strict=True) if report is None]
    with opened_each(read, out.options, registry, out.bar) as each:
        for report in asked:
            if report is not None:
                reports.append(report)
                continue
            opened = next(each)
            several = _meant(opened)
            if lists and several:
                _list(opened, several, out)
                continue
            reports += [
                read_report(opened, _with_all_names(opened, root), wanted, out.bar)
                for root in _roots_of(opened, several)
            ]
    return reports


def _print_documents(
    sources: Sequence[str],
    wanted: "Platform | None",
    out: Output,
    registry: "RegistryOptions",
    *,
    raw: bool,
    config: bool,
) -> None:
    """Print the exact bytes of a document of each image."""
    from ocitool.images.locations import parse_place

    places = [parse_place(text) for text in sources]
    with opened_each(places, out.options, registry, out.bar) as each:
        for opened in each:
            console.out_bytes(_document(opened, wanted, raw=raw, config=config))


def _print(reports: "list[ImageReport]", view: View, out: Output, *, is_single: bool) -> None:
    from ocitool.cli import documents

    out.result(
        reports,
        text=lambda reports: _pictures(reports, view),
        ids=lambda reports: [str(report.digest or report.image_id) for report in reports],
        view=lambda reports: documents.INSPECTED(reports[0] if is_single else reports),
    )


def _print_formatted(reports: "list[ImageReport]", template: str, out: Output) -> None:
    from ocitool.cli.render.records import inspect_record

    out.lines(formatted(template, map(inspect_record, reports)))


def _meant(opened: "Opened") -> "Sequence[ListedImage]":
    """Return the images of a place that holds several; nothing when one of them is meant."""
    from ocitool.images.listing import list_source

    named = [root for root in opened.roots if root.names or root.label] or opened.roots
    if len(named) < 2:
        return []
    listed = [one for one in list_source(opened.source, named) if one.kind != "artifact"]
    return listed if len(listed) > 1 else []


def _roots_of(opened: "Opened", several: "Sequence[ListedImage]") -> "list[Root]":
    """Return the roots of several listed images, or the one that is meant."""
    from ocitool.images.opening import one_root

    digests = {image.digest for image in several}
    roots = [root for root in opened.roots if root.descriptor.digest in digests]
    return roots or [one_root(opened)]


def _list(opened: "Opened", several: "Sequence[ListedImage]", out: Output) -> None:
    """List the images of a place that holds several, and say how to name one of them."""
    from ocitool.cli.render.images import ImageRow, image_lines
    from ocitool.images.hints import how_to_name

    rows = [ImageRow(image=image) for image in several]
    first = how_to_name(opened.place, _roots_of(opened, several)[0])
    out.lines(image_lines(rows, digests=False, no_trunc=False))
    out.remark(
        [
            f"{opened.place.text} holds {counted(len(rows), 'image')}; --all shows every one",
            f"one of them: ocitool inspect {first}",
        ]
    )


def ask_engine(place: "Place", wanted: "Platform | None") -> "ImageReport | None":
    """Return what an engine tells of its image; None for other places.

    None as well if the engine told of another platform than the wanted one.
    """
    from ocitool.images.locations import ENGINES
    from ocitool.images.opening import engine_of

    if place.kind not in ENGINES or not place.name:
        return None
    from ocitool.operations.inspect_engine import inspect_engine

    with engine_of(place) as engine:
        report = inspect_engine(engine, place.name)
    return report if wanted is None or wanted.rank(report.platform) is not None else None


def read_report(
    opened: "Opened", root: "Root", wanted: "Platform | None", observer: "Observer"
) -> "ImageReport":
    """Read what `inspect` shows of the image for a platform, by default that of this machine."""
    from ocitool.images.locations import PlaceKind
    from ocitool.operations import inspect as inspection

    return inspection.inspect(
        opened.source,
        root,
        platform=wanted or usual_platform(),
        required=wanted is not None,
        measure=opened.place.kind is not PlaceKind.REGISTRY,
        cache=opened.cache("layers"),
        tables=table_cache(opened),
        observer=observer,
    )


def _with_all_names(opened: "Opened", root: "Root") -> "Root":
    """Return a root with every name that its layout has for it."""
    from msgspec.structs import replace

    if opened.layout is None:
        return root
    for known in [opened.found.root] if opened.found is not None else opened.layout.roots():
        if known.descriptor.digest == root.descriptor.digest:
            return replace(root, names=tuple(dict.fromkeys((*root.names, *known.names))))
    return root


def _pictures(reports: "list[ImageReport]", view: View) -> Iterator[str]:
    for number, report in enumerate(reports):
        if number:
            yield ""
        yield from picture(report, view)


def _document(opened: "Opened", wanted: "Platform | None", *, raw: bool, config: bool) -> bytes:
    from ocitool.image.choosing import choose_image
    from ocitool.image.graph import read_document
    from ocitool.images.opening import one_root
    from ocitool.oci import Manifest

    root = one_root(opened)
    if raw:
        return read_document(opened.source, root.descriptor).raw
    if wanted is None and not config:
        document = read_document(opened.source, root.descriptor)
        if isinstance(document, Manifest):
            return document.raw
    image = choose_image(
        opened.source, root, wanted or usual_platform(), required=wanted is not None
    ).image
    return image.read_config(opened.source).raw if config else image.manifest.raw
