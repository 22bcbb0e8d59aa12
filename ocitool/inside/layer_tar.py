"""The tar of one layer, read from its beginning to its verified end."""

import contextlib
from collections.abc import Callable, Iterator

from ocitool.formats.compression import DecompressingReader
from ocitool.formats.tar import PositionedInput
from ocitool.image.content import CHUNK, ReadAt
from ocitool.image.layers import unpacked
from ocitool.inside.image import Inside


def layer_tar(inside: Inside, number: int) -> Iterator[bytes]:
    """Yield the tar of a layer, uncompressed and as it is.

    It is verified: DigestMismatch at its end unless it is what its digest and diff ID say.
    """
    layer = inside.layer(number)
    stored = layer.descriptor.digest
    with inside.source.open(layer.descriptor) as blob:
        if layer.diff_id is not None:
            yield from unpacked(blob, layer.diff_id, stored=stored)
            return
        content = DecompressingReader(blob)
        yield from iter(lambda: content.read(CHUNK), b"")


def kept_tar(inside: Inside, number: int) -> ReadAt | None:
    """Return what reads the tar of a layer at any offset; None if it was not kept."""
    return inside.kept.read_at(inside.layer(number).descriptor) if inside.kept else None


@contextlib.contextmanager
def open_tar(inside: Inside, number: int) -> Iterator[Callable[[int], bytes]]:
    """Yield what reads the tar of a layer from its beginning, as `Readable` reads.

    When the block ends without an error, the rest is read too, so that all of it was verified; a
    tar that is kept was so before.
    """
    kept = kept_tar(inside, number)
    if kept is not None:
        yield PositionedInput(kept, inside.table(number).tar_size).read
        return
    with inside.source.open(inside.layer(number).descriptor) as blob:
        content = DecompressingReader(blob)
        yield content.read
        content.drain()
