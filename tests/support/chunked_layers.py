"""Layers with a table of their own contents: eStargz, and zstd:chunked of containers/storage.

Both write a regular file's content apart from its header, in chunks that can be unpacked alone.
"""

import base64
import datetime as dt
import gzip
import hashlib
import json
import struct
import sys
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.support.images import OCI, BuiltImage, build_image, describe
from tests.support.root_files import Node, member_of

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Form = Literal["estargz", "zstd:chunked"]
FORMS: tuple[Form, ...] = ("estargz", "zstd:chunked")

_TYPES = {
    tarfile.REGTYPE: "reg",
    tarfile.DIRTYPE: "dir",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
    tarfile.FIFOTYPE: "fifo",
}
_END = bytes(1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkedLayer:
    """A stored layer, the tar that it unpacks to, and the annotations that the manifest has of it.

    `table` is where its table of contents lies: (first byte, byte after the last).
    """

    blob: bytes
    tar: bytes
    annotations: dict[str, str]
    table: tuple[int, int]
    media_type: str


@dataclass(slots=True)
class _Writer:
    """What was written so far: packed in pieces that can be unpacked alone."""

    pack: Callable[[bytes], bytes]
    blob: bytearray = field(default_factory=bytearray)
    tar: bytearray = field(default_factory=bytearray)
    waiting: bytearray = field(default_factory=bytearray)

    def add(self, data: bytes) -> None:
        self.tar += data
        self.waiting += data

    def flush(self) -> int:
        """Pack what waits, and return where the next piece begins."""
        if self.waiting:
            self.blob += self.pack(bytes(self.waiting))
            self.waiting.clear()
        return len(self.blob)


def chunked_layer(form: Form, nodes: Sequence[Node], *, chunk: int = 1 << 16) -> ChunkedLayer:
    """Return a layer of these members, with files in chunks of `chunk` bytes."""
    return estargz(nodes, chunk=chunk) if form == "estargz" else zstd_chunked(nodes, chunk=chunk)


def estargz(
    nodes: Sequence[Node], *, chunk: int = 1 << 16, change: Callable[[Any], None] = lambda _: None
) -> ChunkedLayer:
    """Return an eStargz; `change` may change the entries of its table before it is written."""
    writer = _Writer(lambda data: gzip.compress(data, mtime=0))
    entries = _write(writer, nodes, chunk)
    for entry in entries:
        entry.pop("endOffset", None)
    change(entries)
    start = writer.flush()
    table = json.dumps({"version": 1, "entries": entries}, indent="\t").encode()
    info = tarfile.TarInfo("stargz.index.json")
    info.size, info.mode = len(table), 0
    writer.add(info.tobuf() + table + bytes(-len(table) % 512) + _END)
    end = writer.flush()
    # An empty gzip member with the offset in an extra field.
    extra = b"SG" + struct.pack("<H", 22) + b"%016xSTARGZ" % start
    writer.blob += b"\x1f\x8b\x08\x04" + bytes(4) + b"\0\xff" + struct.pack("<H", 26) + extra
    writer.blob += b"\x01\0\0\xff\xff" + bytes(8)
    digest = f"sha256:{hashlib.sha256(table).hexdigest()}"
    return ChunkedLayer(
        blob=bytes(writer.blob),
        tar=bytes(writer.tar),
        annotations={"containerd.io/snapshot/stargz/toc.digest": digest},
        table=(start, end),
        media_type=f"{OCI}.layer.v1.tar+gzip",
    )


def zstd_chunked(
    nodes: Sequence[Node], *, chunk: int = 1 << 16, change: Callable[[Any], None] = lambda _: None
) -> ChunkedLayer:
    """Return a zstd:chunked layer; `change` may change the entries of its table."""
    writer = _Writer(zstd.compress)
    entries = _write(writer, nodes, chunk)
    change(entries)
    writer.add(_END)
    writer.flush()
    raw = json.dumps({"version": 1, "entries": entries}).encode()
    table = zstd.compress(raw)
    start = len(writer.blob) + 8
    position = f"{start}:{len(table)}:{len(raw)}:1"
    # Two frames that decoders skip: the table, and a footer.
    for frame in (table, struct.pack("<QQQQ", start, len(table), len(raw), 1) + b"GNUlInUx"):
        writer.blob += struct.pack("<II", 0x184D2A50, len(frame)) + frame
    checksum = f"sha256:{hashlib.sha256(table).hexdigest()}"
    prefix = "io.github.containers.zstd-chunked"
    return ChunkedLayer(
        blob=bytes(writer.blob),
        tar=bytes(writer.tar),
        annotations={
            f"{prefix}.manifest-checksum": checksum,
            f"{prefix}.manifest-position": position,
        },
        table=(start, start + len(table)),
        media_type=f"{OCI}.layer.v1.tar+zstd",
    )


def chunked_image(*layers: ChunkedLayer, annotated: bool = True) -> BuiltImage:
    """Build an image of such layers; without `annotated` the manifest promises no table."""
    built = build_image([layer.tar for layer in layers], compression="none")
    descriptors = [
        describe(layer.blob, layer.media_type, annotations=layer.annotations if annotated else {})
        for layer in layers
    ]
    manifest = json.loads(built.manifest)
    manifest["layers"] = [descriptor.to_json() for descriptor in descriptors]
    raw = json.dumps(manifest).encode()
    root = describe(raw, built.descriptor.media_type, platform=built.descriptor.platform)
    blobs = {d.digest: layer.blob for d, layer in zip(descriptors, layers, strict=True)}
    blobs |= {built.config.digest: built.blobs[built.config.digest], root.digest: raw}
    return BuiltImage(
        descriptor=root,
        blobs=blobs,
        config=built.config,
        layers=tuple(descriptors),
        diff_ids=built.diff_ids,
        tars=built.tars,
    )


def _write(writer: _Writer, nodes: Sequence[Node], chunk: int) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for node in nodes:
        writer.add(member_of(node).tobuf(tarfile.PAX_FORMAT))
        entry = _entry(node)
        entries.append(entry)
        if not node.data:
            continue
        entry["digest"] = _digest(node.data)
        for position in range(0, len(node.data), chunk):
            part = node.data[position : position + chunk]
            start = writer.flush()
            writer.add(part)
            end = writer.flush()
            about = {
                "offset": start,
                "endOffset": end,
                "chunkSize": len(part),
                "chunkDigest": _digest(part),
            }
            if position:
                about |= {"name": node.path, "type": "chunk", "chunkOffset": position}
                entries.append(about)
            else:
                entry |= about
        writer.add(bytes(-len(node.data) % 512))
    return entries


def _entry(node: Node) -> dict[str, Any]:
    moment = dt.datetime.fromtimestamp(node.time, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    entry: dict[str, Any] = {
        "name": node.path,
        "type": _TYPES[node.type],
        "mode": node.mode,
        "modtime": moment,
        "uid": node.owner[0],
        "gid": node.owner[1],
    }
    if node.target:
        entry["linkName"] = node.target
    if node.data:
        entry["size"] = len(node.data)
    if node.device != (0, 0):
        entry["devMajor"], entry["devMinor"] = node.device
    if node.attributes:
        entry["xattrs"] = _encoded(node.attributes)
    return entry


def _encoded(attributes: Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in attributes.items()}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
