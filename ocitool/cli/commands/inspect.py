"""ocitool inspect: a picture of an image."""

import datetime as dt
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.registry import connected_to, source_at, with_reach
from ocitool.cli.options.shared import (
    Json,
    NoTruncation,
    OnePlatform,
    Quiet,
    Settings,
    one_platform,
    settings,
    usual_platform,
)
from ocitool.cli.render import console
from ocitool.cli.render.columns import age, bar, cells, clip, counted, padded, size, styled, when
from ocitool.cli.render.console import safe
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.image.content import Root
    from ocitool.images.locations import Opened
    from ocitool.oci import Platform
    from ocitool.operations.inspect import ImageReport, LayerReport
    from ocitool.places.registry import RegistryOptions

_LABEL = 12
_DIGEST = re.compile(r"sha\d+:[0-9a-f]+")
_Rows = list[tuple[str, str | None]]


@with_reach
def inspect(
    context: typer.Context,
    sources: Annotated[
        list[str], typer.Argument(metavar="SRC…", help="NAME, ID, oci:DIR:TAG, ./FILE, -, …")
    ],
    *,
    platform: OnePlatform = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="The bytes of the manifest or index that it names.")
    ] = False,
    manifest: Annotated[
        bool, typer.Option("--manifest", help="The bytes of the image's manifest.")
    ] = False,
    config: Annotated[
        bool, typer.Option("--config", help="The bytes of the image's configuration.")
    ] = False,
    no_trunc: NoTruncation = False,
    quiet: Quiet = False,
    json: Json = False,
    reach: "RegistryOptions",
) -> None:
    """Show an image: identity, configuration, and its layers with the steps that made them.

    Of an index the image for --platform, DOCKER_DEFAULT_PLATFORM, this machine or else the first
    is shown, and the others are listed. With --json one SRC gives an object, several an array.
    """
    from ocitool.images.locations import PlaceKind, parse_place
    from ocitool.operations import inspect as inspection

    options = settings(context)
    if raw + manifest + config > 1:
        raise UsageError("--raw, --manifest and --config exclude each other")
    wanted = one_platform(platform)
    reports: list[ImageReport] = []
    observer = options.observer(quiet=quiet or not _on_terminal())
    for text in sources:
        place = parse_place(text)
        with (
            connected_to(reach, observer, place) as connected,
            source_at(place, options, connected) as opened,
        ):
            if raw or manifest or config:
                console.out_bytes(_document(opened, wanted, raw=raw, config=config))
                continue
            reports.append(
                inspection.inspect(
                    opened.source,
                    _with_all_names(opened),
                    platform=wanted or usual_platform(),
                    required=wanted is not None,
                    measure=place.kind is not PlaceKind.REGISTRY,
                    cache=opened.cache("layers"),
                    observer=observer,
                )
            )
    if json and reports:
        values = [_as_json(report) for report in reports]
        console.out_json(values[0] if len(sources) == 1 else values)
    else:
        _print(reports, options, quiet=quiet, no_trunc=no_trunc)


def _with_all_names(opened: "Opened") -> "Root":
    """Return the one root, with every name that its layout has for it."""
    from msgspec.structs import replace

    from ocitool.images.locations import one_root

    root = one_root(opened)
    if opened.layout is None:
        return root
    for known in opened.layout.roots():
        if known.descriptor.digest == root.descriptor.digest:
            return replace(root, names=tuple(dict.fromkeys((*root.names, *known.names))))
    return root


def _on_terminal() -> bool:
    return console.is_terminal(sys.stderr)


def _print(reports: "list[ImageReport]", options: Settings, *, quiet: bool, no_trunc: bool) -> None:
    for number, report in enumerate(reports):
        if quiet or options.quiet:
            console.out(str(report.digest))
            continue
        if number:
            console.out()
        for line in picture(report, None if no_trunc else console.width()):
            console.out(line)


def _document(opened: "Opened", wanted: "Platform | None", *, raw: bool, config: bool) -> bytes:
    from ocitool.image.graph import read_document
    from ocitool.images.locations import one_root
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
        # A digest is there to be copied: it gets a line of its own before it is cut.
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
        start = f"  {layer.number:>3} {size(layer.size):>9} {size(layer.tar_size):>9}  "
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


def _as_json(report: "ImageReport") -> dict[str, object]:
    config = report.config.config
    return {
        "names": list(report.names),
        "label": report.label,
        "digest": str(report.digest),
        "media_type": report.media_type,
        "index_digest": str(report.index_digest) if report.index_digest else None,
        "image_id": str(report.image_id),
        "platform": str(report.platform),
        "created": report.created,
        "author": report.config.author or None,
        "size": report.size,
        "unpacked": report.unpacked,
        "annotations": dict(report.annotations),
        "config": {
            "user": config.user or None,
            "working_dir": config.working_dir or None,
            "entrypoint": list(config.entrypoint),
            "cmd": list(config.cmd),
            "env": list(config.env),
            "exposed_ports": list(config.exposed_ports),
            "volumes": list(config.volumes),
            "labels": dict(config.labels),
            "stop_signal": config.stop_signal or None,
            "shell": list(config.shell),
            "healthcheck": list(config.healthcheck.test) if config.healthcheck else None,
        },
        "layers": [_layer_json(layer) for layer in report.layers],
        "platforms": [
            {
                "platform": str(item.platform) if item.platform is not None else None,
                "digest": str(item.digest),
                "size": item.size,
            }
            for item in report.platforms
        ],
        "attestations": report.attestations,
    }


def _layer_json(layer: "LayerReport") -> dict[str, object]:
    return {
        "digest": str(layer.digest),
        "diff_id": str(layer.diff_id) if layer.diff_id else None,
        "media_type": layer.media_type,
        "size": layer.size,
        "unpacked": layer.tar_size,
        "file_bytes": layer.file_bytes,
        "entries": layer.entries,
        "instruction": layer.instruction,
        "created_by": layer.created_by,
        "created": layer.created,
        "problem": layer.problem,
    }
