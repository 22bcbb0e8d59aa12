"""Storing a new layer: its tar is checked and hashed while it is compressed and written."""

import hashlib
from collections.abc import Callable, Iterator

from ocitool.concurrency import prefetched
from ocitool.editing.layers import NewLayer
from ocitool.errors import MalformedArchive
from ocitool.formats.compression import CHUNK_SIZE, Codec, Compressor, DecompressingReader, Readable
from ocitool.formats.tar import Entry, EntryType, StreamInput, TarReader
from ocitool.formats.tar.writing import in_chunks
from ocitool.image.layers import Pieces
from ocitool.oci import Digest, mediatype
from ocitool.oci.mediatype import Compression
from ocitool.oci.quoting import quoted
from ocitool.places.layout import Writing
from ocitool.places.layout.writing import BlobWriter

_CODECS: dict[Compression, Codec] = {"gzip": Codec.GZIP, "zstd": Codec.ZSTD, "none": Codec.NONE}
_KEPT: dict[Codec, Compression] = {Codec.GZIP: "gzip", Codec.ZSTD: "zstd"}
_DEVICES = (EntryType.CHARACTER, EntryType.BLOCK)
Check = Callable[[Entry], None]


def store_tar(writing: Writing, pieces: Iterator[bytes], compression: Compression) -> NewLayer:
    """Store a layer of which the pieces of the tar are given, made here and therefore sound."""
    hasher = hashlib.sha256()
    writer = writing.writer()
    try:
        # Reading and hashing, compressing, and writing with another hash: each on a thread.
        tar = prefetched(_hashed(pieces, hasher.update))
        for data in prefetched(_compressed(tar, _CODECS[compression])):
            writer.write(data)
        return _committed(writer, hasher, compression)
    finally:
        writer.close()


def _compressed(pieces: Iterator[bytes], codec: Codec) -> Iterator[bytes]:
    if codec is Codec.NONE:
        yield from pieces
        return
    compressor = Compressor(codec)
    for piece in pieces:
        if data := compressor.compress(piece):
            yield data
    yield compressor.flush()


def _committed(writer: BlobWriter, hasher: "hashlib._Hash", compression: Compression) -> NewLayer:
    """Give the blob its name, and return the layer of which the tar was hashed."""
    blob = writer.commit(mediatype.OCI_LAYER)
    return NewLayer(
        digest=blob.digest,
        size=blob.size,
        diff_id=Digest.from_hasher("sha256", hasher),
        compression=compression,
    )


def store_layer(
    writing: Writing, raw: Readable, compression: Compression, check: Check
) -> NewLayer:
    """Store a layer as it is read from `raw`: a tar, plain or compressed.

    With gzip and zstd the stored bytes are those that were read; another tar gets `compression`.
    `check` sees each member, and raises for one that is not wanted. MalformedArchive for what is
    not a tar. Only the first layer's worth of one chunk is in memory.
    """
    head: list[bytes] = []
    source = _Tee(raw, head.append)
    reader = DecompressingReader(source)
    kept = _KEPT.get(reader.codec or Codec.NONE)
    pieces = iter(lambda: reader.read(CHUNK_SIZE), b"")
    if kept is None:
        source.watch = None
        return _store(writing, pieces, None, compression, check)
    return _store(writing, pieces, (source, head), kept, check)


def _store(
    writing: Writing,
    pieces: Iterator[bytes],
    stored: "tuple[_Tee, list[bytes]] | None",
    compression: Compression,
    check: Check,
) -> NewLayer:
    codec = _CODECS[compression] if stored is None else Codec.NONE
    compressor = None if codec is Codec.NONE else Compressor(codec)
    hasher = hashlib.sha256()
    writer = writing.writer()
    try:
        if stored is not None:
            source, head = stored
            source.watch = writer.write
            writer.write(b"".join(head))

        def write(piece: bytes) -> None:
            if stored is None:
                writer.write(piece if compressor is None else compressor.compress(piece))

        # Reading and hashing go on in another thread while this one compresses.
        tar = _Tee(Pieces(prefetched(_hashed(pieces, hasher.update))), write)
        for entry in TarReader(StreamInput(tar.read)):
            check(entry)
        while tar.read(CHUNK_SIZE):
            pass
        if compressor is not None:
            writer.write(compressor.flush())
        return _committed(writer, hasher, compression)
    finally:
        writer.close()


class _Tee:
    """A stream of which another one sees all that is read."""

    def __init__(self, raw: Readable, watch: Callable[[bytes], object] | None) -> None:
        self._raw = raw
        self.watch = watch

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""
        data = self._raw.read(size)
        if data and self.watch is not None:
            self.watch(data)
        return data


def _hashed(pieces: Iterator[bytes], update: Callable[[bytes], object]) -> Iterator[bytes]:
    """Yield the same bytes in larger pieces, hashed."""
    for data in in_chunks(pieces, CHUNK_SIZE):
        update(data)
        yield data


def check_member(entry: Entry, *, devices: bool, called: str) -> None:
    """Raise MalformedArchive for a member that could reach out of a container, or is a device.

    `called` is the layer in the message; devices are let through with `devices`.
    """
    names = [entry.name]
    if entry.type is EntryType.HARD_LINK:
        names.append(entry.link_name)
    for name in names:
        if name.startswith("/") or ".." in name.split("/"):
            raise MalformedArchive(
                f"{called} has the path {quoted(name)}, which leads out of the layer",
                hint="make the tar anew, with paths below the folder: tar -C DIR -c .",
            )
    if entry.type in _DEVICES and not devices:
        raise MalformedArchive(
            f"{called} has the {entry.type} {quoted(entry.name)}",
            hint="--allow-devices takes it into the layer",
        )
