"""ocitool inspect: a picture of an image."""

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.expand import with_options
from ocitool.cli.options.registry import REGISTRY, opened_each
from ocitool.cli.options.shared import NoTruncation, OnePlatform, one_platform, usual_platform
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render import console
from ocitool.cli.render.columns import age, bar, cells, clip, counted, padded, size, styled, when
from ocitool.cli.render.console import safe
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.events import Observer
    from ocitool.image.content import Root
    from ocitool.images.opening import Opened
    from ocitool.oci import Platform
    from ocitool.operations.inspect import ImageReport, LayerReport
    from ocitool.places.registry import RegistryOptions

_LABEL = 12
_DIGEST = re.compile(r"sha\d+:[0-9a-f]+")
_Rows = list[tuple[str, str | None]]


Raw = Annotated[
    bool, typer.Option("--raw", help="Print the bytes of the manifest or index that SRC names.")
]
ManifestFlag = Annotated[
    bool, typer.Option("--manifest", help="Print the bytes of the image's manifest.")
]
ConfigFlag = Annotated[
    bool, typer.Option("--config", help="Print the bytes of the image's configuration.")
]


Sources = Annotated[
    list[str], typer.Argument(metavar="SRC…", help="NAME, ID, oci:DIR:TAG, ./FILE, -, …")
]


@with_options(out=OUTPUT, registry=REGISTRY)
def inspect(
    sources: Sources,
    *,
    platform: OnePlatform = None,
    raw: Raw = False,
    manifest: ManifestFlag = False,
    config: ConfigFlag = False,
    no_trunc: NoTruncation = False,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Show an image: its identity, its configuration, and its layers with their build steps.

    For a multi-platform image this shows the image for --platform, DOCKER_DEFAULT_PLATFORM, this
    machine, or else the first one, and lists the others. With --json, one SRC gives an object,
    several give an array.
    """
    from ocitool.cli import documents
    from ocitool.images.locations import parse_place

    if raw + manifest + config > 1:
        raise UsageError("--raw, --manifest and --config exclude each other")
    wanted = one_platform(platform)
    reports: list[ImageReport] = []
    places = [parse_place(text) for text in sources]
    with opened_each(places, out.options, registry, out.bar) as each:
        for opened in each:
            if raw or manifest or config:
                console.out_bytes(_document(opened, wanted, raw=raw, config=config))
            else:
                reports.append(read_report(opened, _with_all_names(opened), wanted, out.bar))
    if reports:
        single = len(sources) == 1
        out.result(
            reports,
            text=lambda reports: _pictures(reports, None if no_trunc else console.width()),
            ids=lambda reports: [str(report.digest) for report in reports],
            view=lambda reports: documents.INSPECTED(reports[0] if single else reports),
        )


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
        observer=observer,
    )


def _with_all_names(opened: "Opened") -> "Root":
    """Return the one root, with every name that its layout has for it."""
    from msgspec.structs import replace

    from ocitool.images.opening import one_root

    root = one_root(opened)
    if opened.layout is None:
        return root
    for known in [opened.found.root] if opened.found is not None else opened.layout.roots():
        if known.descriptor.digest == root.descriptor.digest:
            return replace(root, names=tuple(dict.fromkeys((*root.names, *known.names))))
    return root


def _pictures(reports: "list[ImageReport]", width: int | None) -> Iterator[str]:
    for number, report in enumerate(reports):
        if number:
            yield ""
        yield from picture(report, width)


def _document(opened: "Opened", wanted: "Platform | None", *, raw: bool, config: bool) -> bytes:
    from ocitool.image.graph import read_document
    from ocitool.images.opening import one_root
    from ocitool.oci import Manifest
    from ocitool.operations import inspect as inspection

    root = one_root(opened)
    if raw:
        return read_document(opened.source, root.descriptor).raw
    if wanted is None and not config:
        document = read_document(opened.source, root.descriptor)
        if isinstance(document, Manifest):
            return document.raw
    image = inspection.choose_image(
        opened.source, root, wanted or usual_platform(), required=wanted is not None
    ).image
    return image.read_config(opened.source).raw if config else image.manifest.raw


def picture(report: "ImageReport", width: int | None) -> list[str]:
    """Return the lines that show an image, clipped to a width unless that is None."""
    lines = _identity(report)
    for title, rows in (("Platforms", _platforms(report)), ("Configuration", _settings(report))):
        if rows:
            lines += [("", None), (title, None), *rows]
    shown = [line for label, value in lines for line in _row(label, value, width)]
    return [*shown, *_layers(report, width)]


def _row(label: str, value: str | None, width: int | None) -> list[str]:
    """Return the lines of a labelled value, or of a title when the value is None."""
    if value is None:
        return [styled(label, "bold")]
    room = None if width is None else width - _LABEL - 2
    start = f"  {styled(padded(label, _LABEL), 'dim')}"
    if room is None or cells(value) <= room:
        return [start + value]
    if _DIGEST.fullmatch(value):
        # Users copy the digest: it gets a line of its own instead of being cut.
        return [start.rstrip(), f"    {value}"]
    return [start + clip(value, room)]


def _identity(report: "ImageReport") -> _Rows:
    from ocitool.cli.render import texts

    names = [texts.familiar(name) for name in report.names]
    now = dt.datetime.now(dt.UTC)
    unpacked = f", {size(report.unpacked)} unpacked" if report.unpacked is not None else ""
    amount = f"{size(report.size)} stored{unpacked}, {counted(len(report.layers), 'layer')}"
    rows: _Rows = [(names[0] if names else safe(report.label or "<none>"), None)]
    rows += [("also", name) for name in names[1:]]
    rows += [
        ("digest", str(report.digest)),
        ("image ID", str(report.image_id)),
        ("platform", safe(str(report.platform)) or "-"),
        ("created", f"{when(report.created)}  ({age(report.created, now)})"),
        ("size", amount),
        ("type", safe(report.media_type)),
    ]
    if report.config.author:
        rows.append(("author", safe(report.config.author)))
    return rows + _pairs("annotations", report.annotations.items())


def _platforms(report: "ImageReport") -> _Rows:
    if report.index_digest is None:
        return []
    rows: _Rows = [("index", str(report.index_digest))]
    for item in report.platforms:
        mark = "*" if item.digest == report.digest else " "
        name = safe(str(item.platform)) if item.platform is not None else "unknown"
        amount = size(item.size) if item.size is not None else "not here"
        text = f"{padded(name, 16)} {padded(amount, 9, right=True)}  {item.digest}"
        rows.append((f"{mark:>{_LABEL - 1}}", text))
    if report.attestations:
        rows.append(("beside", counted(report.attestations, "attestation")))
    return rows


def _settings(report: "ImageReport") -> _Rows:
    config = report.config.config
    single = (
        ("user", config.user),
        ("workdir", config.working_dir),
        ("entrypoint", _command(config.entrypoint)),
        ("command", _command(config.cmd)),
        ("shell", _command(config.shell)),
        ("stop signal", config.stop_signal),
        ("ports", ", ".join(config.exposed_ports)),
        ("volumes", ", ".join(config.volumes)),
        ("healthcheck", _command(config.healthcheck.test) if config.healthcheck else ""),
    )
    rows: _Rows = [(label, safe(value)) for label, value in single if value]
    rows += [("" if n else "env", safe(variable)) for n, variable in enumerate(config.env)]
    return rows + _pairs("labels", config.labels.items())


def _layers(report: "ImageReport", width: int | None) -> list[str]:
    """Return the table of layers; the bar shows each one's share of the largest."""
    lines = ["", styled("Layers", "bold")]
    wide = width is None or width >= 110
    bar_width = 24 if wide else 10
    header = f"  {'#':>3} {'STORED':>9} {'UNPACKED':>9}  {'':{bar_width}} "
    header += f"{'DIGEST':14}INSTRUCTION" if wide else "INSTRUCTION"
    lines.append(styled(header, "dim"))
    weights = [_weight(layer) for layer in report.layers]
    largest = max(weights, default=0)
    for layer, weight in zip(report.layers, weights, strict=True):
        stored = size(layer.size if layer.is_stored else None)
        start = f"  {layer.number:>3} {stored:>9} {size(layer.tar_size):>9}  "
        middle = f"{layer.digest.short:14}" if wide else ""
        text = _one_line(layer.instruction or ("" if layer.problem else "(no history)"))
        if layer.problem:
            text = f"{text}  [{safe(layer.problem)}]".strip()
        room = None if width is None else width - len(start) - bar_width - 1 - len(middle)
        shown = text if room is None else clip(text, room)
        share = styled(bar(weight, largest, bar_width), "cyan")
        lines.append(f"{start}{share} {middle}{shown}".rstrip())
    empty = [step for step in report.steps if step.layer is None]
    if empty:
        lines.append(
            styled(
                f"  and {counted(len(empty), 'step')} that made no layer; "
                "`ocitool history` lists all",
                "dim",
            )
        )
    return lines


def _weight(layer: "LayerReport") -> int:
    return layer.tar_size if layer.tar_size is not None else layer.size


def _pairs(label: str, items: Iterable[tuple[str, str]]) -> _Rows:
    return [
        ("" if number else label, f"{safe(key)} = {safe(value)}")
        for number, (key, value) in enumerate(items)
    ]


def _command(words: Iterable[str]) -> str:
    import shlex

    return shlex.join(words)


def _one_line(text: str) -> str:
    return safe(" ".join(text.split()))
