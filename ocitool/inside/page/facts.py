"""What the page says beside the tree, as one JSON document."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ocitool.image.instructions import shortened
from ocitool.inside.entries import HOWS, image_columns
from ocitool.inside.image import Inside
from ocitool.inside.page.document import page_document
from ocitool.inside.sizing import LayerSize, SizeReport
from ocitool.inside.waste import wastes
from ocitool.oci.amounts import counted

_MOST_WASTE: Final = 200
_TOTALS: Final = (
    "stored",
    "tar_size",
    "file_bytes",
    "live_bytes",
    "wasted_bytes",
    "wasted_stored",
    "duplicate_bytes",
    "files",
    "directories",
    "efficiency",
)


def image_page(inside: Inside, report: SizeReport, *, title: str) -> bytes:
    """Return the page of an image that was measured: one HTML file that needs nothing else.

    Above `MOST_NODES` paths small files are added up. Everything from the image is text there.
    """
    return page_document(title, _facts(inside, report), image_columns(inside.tree))


def _facts(inside: Inside, report: SizeReport) -> Mapping[str, Any]:
    return {
        "identity": [str(report.platform), str(report.digest)],
        "totals": {name: getattr(report, name) for name in _TOTALS},
        "layers": [_layer(layer) for layer in report.layers],
        "wasted": [
            {
                "path": _text(waste.path),
                "bytes": waste.bytes,
                "layer": waste.layer,
                "hidden_by": waste.hidden_by,
                "how": waste.how,
                "files": waste.files,
            }
            for waste in wastes(inside.tree, top=_MOST_WASTE)
        ],
        "how": HOWS,
        "problems": list(_problems(report)),
    }


def _layer(layer: LayerSize) -> Mapping[str, Any]:
    return {
        "number": layer.number,
        "instruction": _text(shortened(layer.instruction or "")),
        "stored": layer.stored,
        "file_bytes": layer.file_bytes or 0,
        "hidden_bytes": layer.hidden_bytes or 0,
        "problem": layer.problem and _text(layer.problem),
    }


def _problems(report: SizeReport) -> Iterator[str]:
    if report.read < len(report.layers):
        yield f"These are the numbers of {report.read} of {counted(len(report.layers), 'layer')}."
    for problem in report.problems:
        yield _text(": ".join(filter(None, (f"layer {problem.layer}", problem.path, problem.text))))


def _text(text: str) -> str:
    """Return text without lone surrogates, which no UTF-8 can have."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
