"""ocitool export: the files of an image, or one of its layers, as one tar."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from ocitool.cli.elsewhere import says_where_else
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.inside import Looking, looking_into
from ocitool.cli.options.registry import REGISTRY
from ocitool.cli.options.shared import OnePlatform, one_platform
from ocitool.cli.options.sources import ImageSource
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render import console
from ocitool.concurrency import prefetched
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.inside.image import Inside
    from ocitool.oci import Digest, Platform
    from ocitool.places.registry import RegistryOptions


_MOST_ODDITIES = 5


class _Exported(Struct, frozen=True, kw_only=True):
    """What was written; `layer` is the number of the only layer in it, if it was one."""

    digest: "Digest"
    platform: "Platform"
    layer: int | None
    destination: str
    bytes_written: int


Destination = Annotated[
    str, typer.Option("--output", "-o", metavar="FILE|-", help="Write to this file or to stdout.")
]
Sorted = Annotated[
    bool, typer.Option("--sorted", help="Sort by path, with headers that depend on the tree alone.")
]
OneLayer = Annotated[
    int | None,
    typer.Option("--layer", min=1, metavar="N", help="Write the tar of layer N alone, as it is."),
]


@with_options(out=OUTPUT, registry=REGISTRY)
@says_where_else("ocitool export SRC", "ocitool export SRC")
def export(
    source: ImageSource,
    *,
    output: Destination = "-",
    is_sorted: Sorted = False,
    layer: OneLayer = None,
    platform: OnePlatform = None,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Write the files of an image as one tar, as a container would see them.

    Modes, owners, times, links, devices and extended attributes are kept. With --sorted the same
    tree always gives the same bytes, whatever its layers are. Layers are verified while they are
    read: the FILE appears only if they are right.
    """
    from ocitool.cli.delivery import check_destination, written_to
    from ocitool.inside.layer_tar import layer_tar

    if layer is not None and is_sorted:
        raise UsageError("--layer writes a layer's own tar, which --sorted cannot change")
    if not output:
        raise UsageError("-o is empty")
    check_destination(output, out)
    looking = Looking(platform=one_platform(platform), layer=None, up_to=None)
    with (
        looking_into(source, looking, out, registry, scan=layer is None, keep=True) as inside,
        written_to(output) as write,
    ):
        if layer is None:
            pieces = _tree(inside, out.options.temporary, is_sorted=is_sorted)
        else:
            pieces = layer_tar(inside, layer)
        written = 0
        # Reading, hashing and decompressing go on while the disk or the pipe is busy.
        for piece in prefetched(pieces):
            write(piece)
            written += len(piece)
    _report(inside, output, layer, written, out)


def _tree(inside: "Inside", scratch: str | None, *, is_sorted: bool) -> Iterator[bytes]:
    from ocitool.inside.taking import require_layers
    from ocitool.inside.tarring import merged_tar, sorted_tar

    require_layers(inside)
    root = inside.tree.find("")
    return (
        sorted_tar(inside, root, "", scratch=scratch) if is_sorted else merged_tar(inside, root, "")
    )


def _report(inside: "Inside", output: str, layer: int | None, written: int, out: Output) -> None:
    from ocitool.cli import documents
    from ocitool.cli.render.columns import size
    from ocitool.cli.render.summary import duration

    image = inside.chosen.image
    if output != "-":
        out.result(
            _Exported(
                digest=image.descriptor.digest,
                platform=image.platform,
                layer=layer,
                destination=output,
                bytes_written=written,
            ),
            text=lambda exported: [f"Exported: {console.safe(exported.destination)}"],
            ids=lambda exported: [console.safe(exported.destination)],
            view=documents.EXPORTED,
        )
    if layer is None:
        out.remark(_odd(inside))
    what = "the tar" if output == "-" else output
    out.summary([f"wrote {what}  {size(written)}, {duration(out.seconds)}"])


def _odd(inside: "Inside") -> Iterator[str]:
    """Yield what other tools may read in another way; whiteouts of nothing are no matter here."""
    from ocitool.cli.render.texts import oddity

    odd = [problem for problem in inside.problems if problem.kind != "stray_whiteout"]
    yield from map(oddity, odd[:_MOST_ODDITIES])
    if len(odd) > _MOST_ODDITIES:
        yield f"and {len(odd) - _MOST_ODDITIES} more like these: `ocitool size` lists them"
