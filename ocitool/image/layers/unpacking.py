"""A layer as the tar that it unpacks to, verified against its diff ID, and how to read it."""

from collections.abc import Iterator

from ocitool.errors import DigestMismatch
from ocitool.formats.compression import CHUNK_SIZE, Codec, DecompressingReader, Readable
from ocitool.oci import Digest


def unpacked(raw: Readable, diff_id: Digest, *, stored: Digest) -> Iterator[bytes]:
    """Yield the tar of a layer whose stored bytes are `raw`, with the digest `stored`.

    Raises DigestMismatch at the end unless it hashes to `diff_id` (image-spec layer.md, config.md
    "Layer DiffID"), and whatever decompressing raises. `raw` has to verify `stored` itself.
    """
    reader = DecompressingReader(raw)
    # The stored bytes of a plain layer are its tar, so its digest has been verified already.
    verified = reader.codec is Codec.NONE and stored == diff_id
    hasher = diff_id.hasher()
    while part := reader.read(CHUNK_SIZE):
        if not verified:
            hasher.update(part)
        yield part
    if verified:
        return
    actual = Digest.from_hasher(diff_id.algorithm, hasher)
    if actual != diff_id:
        raise DigestMismatch(
            f"layer {stored.short} unpacks to {actual}; the image's config promises {diff_id}"
        )


class Pieces:
    """Pieces of bytes, read in portions."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`; `b""` only at the end."""
        if not self._rest:
            self._rest = next(self._pieces, b"")
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def drain(self) -> None:
        """Take all pieces that are left."""
        for _ in self._pieces:
            pass
