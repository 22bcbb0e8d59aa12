"""The picture of an image: identity, platforms, configuration, and layers with their shares."""

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from ocitool.cli.render.columns import age, bar, cells, clip, counted, padded, size, styled, when
from ocitool.cli.render.console import safe
from ocitool.cli.render.texts import one_line

if TYPE_CHECKING:
    from ocitool.oci.runtime import Healthcheck
    from ocitool.operations.inspect import ImageReport, LayerReport

_LABEL = 12
_WIDE = 110
_DIGEST = re.compile(r"sha\d+:[0-9a-f]+")
_KINDS = {
    "application/vnd.oci.image.manifest.v1+json": "OCI image",
    "application/vnd.oci.image.index.v1+json": "OCI index",
    "application/vnd.docker.distribution.manifest.v2+json": "Docker image",
    "application/vnd.docker.distribution.manifest.list.v2+json": "Docker manifest list",
}
_LARGE, _SMALL = 0.1, 0.01
_NOTABLE = 0.001
"""Waste of a smaller part of the files is not worth a line."""
_SECOND = 1_000_000_000
_Rows = list[tuple[str, str | None]]


class View(Struct, frozen=True, kw_only=True):
    """How much room there is (None: as much as is needed), and whether small layers are listed."""

    width: int | None
    every_layer: bool

    @property
    def is_wide(self) -> bool:
        """Whether there is room for digests beside other things."""
        return self.width is None or self.width >= _WIDE


def picture(report: "ImageReport", view: View) -> list[str]:
    """Return the lines that show an image."""
    lines = _identity(report)
    for title, rows in (
        ("Platforms", _platforms(report, view)),
        ("Configuration", _settings(report)),
    ):
        if rows:
            lines += [("", None), (title, None), *rows]
    shown = [line for label, value in lines for line in _row(label, value, view.width)]
    return [*shown, *_layers(report, view)]


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
    unpacked = f", {size(report.unpacked)} unpacked" if report.unpacked is not None else ""
    where = "stored" if report.engine is None else f"in {report.engine}, uncompressed"
    amount = f"{size(report.size)} {where}{unpacked}, {counted(len(report.layers), 'layer')}"
    rows: _Rows = [(names[0] if names else safe(report.label or "<none>"), None)]
    rows += [("also", name) for name in (*names[1:], *map(safe, report.other_names))]
    rows += [
        ("digest", str(report.digest or "")),
        ("image ID", str(report.image_id or "")),
        ("platform", safe(str(report.platform)) or "-"),
        ("created", _created(report.created)),
        ("size", amount),
        ("waste", _waste(report)),
        ("", "`ocitool size` lists where" if _waste(report) else ""),
        ("type", _KINDS.get(report.media_type) or safe(report.media_type)),
    ]
    rows = [row for row in rows if row[1] != ""]
    if report.config.author:
        rows.append(("author", safe(report.config.author)))
    return rows + _pairs("annotations", report.annotations.items())


def _waste(report: "ImageReport") -> str:
    """Return how much of the files cannot be seen; nothing where that is unknown or little."""
    if report.waste is None:
        return ""
    wasted, whole = report.waste.wasted_bytes, report.waste.file_bytes
    if not wasted or wasted < _NOTABLE * whole:
        return ""
    first, *more = report.waste.largest
    does = "deletes" if first.is_deleted else "replaces"
    origin = "its own" if first.layer == first.hidden_by else f"layer {first.layer}"
    return (
        f"{_percent(wasted / whole)} ({size(wasted)}) is hidden: layer {first.hidden_by} {does} "
        f"{size(first.bytes)} of {origin}{', …' if more else ''}"
    )


def _platforms(report: "ImageReport", view: View) -> _Rows:
    if report.index_digest is None:
        return []
    rows: _Rows = [("index", str(report.index_digest))]
    for item in report.platforms:
        digest = item.digest if view.is_wide else item.digest.short
        mark = "*" if item.digest == report.digest else " "
        name = safe(str(item.platform)) if item.platform is not None else "unknown"
        amount = size(item.size) if item.size is not None else "not here"
        text = f"{padded(name, 16)} {padded(amount, 9, right=True)}  {digest}"
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
        ("healthcheck", _healthcheck(config.healthcheck) if config.healthcheck else ""),
    )
    rows: _Rows = [(label, safe(value)) for label, value in single if value]
    rows += [("" if n else "env", safe(variable)) for n, variable in enumerate(config.env)]
    return rows + _pairs("labels", config.labels.items())


def _created(text: str | None) -> str:
    if text is None:
        return "not set"
    return f"{when(text)}  ({age(text, dt.datetime.now(dt.UTC))})"


def _healthcheck(check: "Healthcheck") -> str:
    """Return a check as a command, with its times where they are not docker's usual ones."""
    kind, *words = check.test or ("",)
    if kind == "NONE":
        return "none: a check of the base image is switched off"
    command = " ".join(words) if kind == "CMD-SHELL" else _command(words)
    times = (
        ("every", check.interval),
        ("timeout", check.timeout),
        ("starts within", check.start_period),
    )
    parts = [f"{word} {_duration(time)}" for word, time in times if time > 0]
    parts += [f"{check.retries} retries"] if check.retries > 0 else []
    return command + (f"  ({', '.join(parts)})" if parts else "")


def _duration(nanoseconds: int) -> str:
    seconds = nanoseconds / _SECOND
    minutes = seconds / 60
    return f"{minutes:g} min" if minutes >= 1 and minutes.is_integer() else f"{seconds:g} s"


def _layers(report: "ImageReport", view: View) -> list[str]:
    """Return the table of layers, with each one's share of all and a bar of it."""
    table = _LayerTable(report.layers, view)
    shown = [layer for layer in report.layers if view.every_layer or not table.is_small(layer)]
    if len(report.layers) - len(shown) < 2:
        shown = list(report.layers)
    small = [layer for layer in report.layers if layer not in shown]
    lines = ["", styled("Layers", "bold"), table.header(), *map(table.line, shown)]
    if small:
        amount = size(sum(layer.size for layer in small))
        count = counted(len(small), "layer")
        about = f"and {count} below 1 % each, {amount} stored; --all shows them"
        lines.append(styled(f"  {about}", "dim"))
    if report.layers:
        lines.append(table.total())
    empty = sum(step.layer is None for step in report.steps)
    if empty:
        about = f"and {counted(empty, 'step')} that made no layer; `ocitool history` lists all"
        lines.append(styled(f"  {about}", "dim"))
    return lines


class _LayerTable:
    """Lines of layers in columns."""

    def __init__(self, layers: "Sequence[LayerReport]", view: View) -> None:
        self._layers = layers
        self._view = view
        self._whole = sum(map(_weight, layers))
        self._largest = max(map(_weight, layers), default=0)
        self._bar = 24 if view.is_wide else 10

    def header(self) -> str:
        digest = f"{'DIGEST':14}" if self._view.is_wide else ""
        start = f"  {'#':>3} {'STORED':>9} {'UNPACKED':>9} {'SHARE':>6}  {'':{self._bar}} "
        return styled(f"{start}{digest}INSTRUCTION", "dim")

    def line(self, layer: "LayerReport") -> str:
        stored = size(layer.size if layer.is_stored else None)
        share = self._share(layer)
        start = f"  {layer.number:>3} {stored:>9} {size(layer.tar_size):>9} {_percent(share):>6}  "
        middle = f"{layer.digest.short:14}" if self._view.is_wide else ""
        text = self._text(layer)
        if self._view.width is not None:
            text = clip(text, self._view.width - len(start) - self._bar - 1 - len(middle))
        styles = ("bold",) if share > _LARGE else ()
        drawn = styled(bar(_weight(layer), self._largest, self._bar), "cyan")
        return f"{styled(start, *styles)}{drawn} {middle}{styled(text, *styles)}".rstrip()

    def total(self) -> str:
        stored = sum({x.digest: x.size for x in self._layers if x.is_stored}.values())
        sizes = [layer.tar_size for layer in self._layers]
        known = [found for found in sizes if found is not None]
        unpacked = size(sum(known) if len(known) == len(sizes) else None)
        count = counted(len(self._layers), "layer")
        return f"  {'':>3} {size(stored):>9} {unpacked:>9} {'':>6}  total, {count}"

    def is_small(self, layer: "LayerReport") -> bool:
        """Tell whether a layer is left out where not every one is listed."""
        return self._share(layer) < _SMALL and layer.problem is None

    def _share(self, layer: "LayerReport") -> float:
        return _weight(layer) / self._whole if self._whole else 0.0

    def _text(self, layer: "LayerReport") -> str:
        made_by = layer.instruction or ("" if layer.problem else "(no history)")
        text = one_line(made_by, shorten=self._view.width is not None)
        return f"{text}  [{safe(layer.problem)}]".strip() if layer.problem else text


def _percent(share: float) -> str:
    return "< 1 %" if 0 < share < _SMALL else f"{share * 100:.0f} %"


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
