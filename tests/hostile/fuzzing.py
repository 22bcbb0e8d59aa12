"""Mutations of good inputs, and what must hold for each: used by the fuzz tests."""

import contextlib
import json
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from fixtures.hostile import BLOCK, LAYER, TAR, block, docker, layout, pax, record, tar
from ocitool.errors import OcitoolError
from ocitool.formats.compression import DecompressingReader
from ocitool.formats.tar import StreamInput, TarReader, entries
from ocitool.inside.hashes import Hashes
from ocitool.inside.members import TableBuilder
from ocitool.inside.tree import MergedTree
from ocitool.oci import Digest, ImageConfig, Platform, Reference, parse_manifest
from ocitool.oci.document import decode_object
from ocitool.operations.load import load
from ocitool.operations.verify import verify
from ocitool.places.archive import open_archive
from ocitool.places.archive.docker import parse_docker_manifest
from ocitool.places.layout import Layout

SEEDS: tuple[bytes, ...] = (
    tar(layout()),
    tar(docker()),
    tar({**layout(), **docker()}),
    tar(pax(record("mtime", "1.5")), layout()),
)
_WORDS = (
    b"null",
    b"[]",
    b"{}",
    b'""',
    b"-1",
    b"1e3",
    b"true",
    b"9" * 30,
    b'"\\ud800"',
    b"sha256:" + b"0" * 64,
    b"../../canary/secret",
    b"\x1b[35m",
)
_FIELDS = ((0, 100), (100, 8), (108, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8))


def mutated(seed: bytes, chance: random.Random, steps: int) -> bytes:
    """Return an archive with some changes of kinds that parsers stumble over."""
    data = bytearray(seed)
    changes: Sequence[Callable[[bytearray, random.Random], None]] = (
        _flip,
        _overwrite,
        _cut,
        _insert,
        _repeat_blocks,
        _drop_blocks,
        _swap_blocks,
        _rewrite_header,
        _rewrite_header,
        _rewrite_json,
        _rewrite_json,
    )
    for _ in range(steps):
        if len(data) >= 2 * BLOCK:
            chance.choice(changes)(data, chance)
    return bytes(data)


def _flip(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _overwrite(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    noise = chance.randbytes(chance.choice((1, 4, 64, BLOCK)))
    data[at : at + len(noise)] = noise


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def _insert(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    data[at:at] = chance.choice((*_WORDS, bytes(BLOCK), chance.randbytes(7)))


def _blocks(data: bytearray, chance: random.Random) -> slice:
    first = chance.randrange(len(data) // BLOCK)
    return slice(first * BLOCK, (first + chance.randint(1, 3)) * BLOCK)


def _repeat_blocks(data: bytearray, chance: random.Random) -> None:
    part = bytes(data[_blocks(data, chance)])
    at = chance.randrange(len(data) // BLOCK) * BLOCK
    data[at:at] = part


def _drop_blocks(data: bytearray, chance: random.Random) -> None:
    del data[_blocks(data, chance)]


def _swap_blocks(data: bytearray, chance: random.Random) -> None:
    one, other = _blocks(data, chance), _blocks(data, chance)
    data[one], data[other] = data[other], data[one]


def _rewrite_header(data: bytearray, chance: random.Random) -> None:
    """Change a field of a header and make its checksum right again."""
    headers = [
        at for at in range(0, len(data) - BLOCK + 1, BLOCK) if data[at + 257 : at + 262] == b"ustar"
    ]
    if not headers:
        return
    at = chance.choice(headers)
    start, length = chance.choice(_FIELDS)
    value = chance.choice(
        (
            chance.randbytes(length),
            b"\xff" * length,
            b"7" * length,
            b"\x80" + bytes(length - 1),
            b"index.json".ljust(length, b"\0")[:length],
            chance.choice(b"0123457xgLKSZ").to_bytes(),
        )
    )
    data[at + start : at + start + len(value)] = value
    data[at + 148 : at + 156] = b" " * 8
    data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + BLOCK])


def _rewrite_json(data: bytearray, chance: random.Random) -> None:
    """Put something else where a value of JSON was, of the same length if that goes."""
    places = [
        at for at in range(len(data) - 1) if bytes(data[at : at + 2]) in (b'":', b',"', b':"')
    ]
    if not places:
        return
    at = chance.choice(places) + 1
    word = chance.choice(_WORDS)
    if chance.random() < 0.5:
        data[at : at + len(word)] = word
    else:
        # A member keeps its place in the tar when as much is taken away behind it.
        data[at:at] = word
        del data[at + len(word) : at + 2 * len(word)]


def survives(data: bytes, folder: Path) -> bool:
    """Load an archive and tell whether that went well; what is stored must be sound either way."""
    path = folder / "image.tar"
    path.write_bytes(data)
    with Layout.create(str(folder / "store"), store=True) as store:
        before = store.index()
        try:
            with open_archive(str(path)) as archive:
                load(archive, store)
                loaded = True
        except OcitoolError:
            loaded = False
        assert (store.index() == before) is not loaded
        report = verify(store)
        # A layer need not unpack to what its config promises: that is for verify to say.
        assert {problem.kind for problem in report.problems} <= {"diff-id", "document"}
        assert report.unreferenced == ()
        assert report.unknown_files == ()
    return loaded


# The parsers by themselves. Whatever they are given, they return or raise an error of ours.


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _tar(data: bytes) -> None:
    source = memoryview(data)
    position = 0

    def read(size: int) -> bytes:
        nonlocal position
        part = bytes(source[position : position + size])
        position += len(part)
        return part

    for entry in entries(StreamInput(read)):
        assert entry.size >= 0
        assert entry.header_offset < len(data)


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int, /) -> bytes:
        part, self._data = self._data[:size], self._data[size:]
        return part


def _layer(data: bytes) -> None:
    reader = DecompressingReader(_Bytes(data))
    members = TarReader(StreamInput(reader.read))
    table = TableBuilder(reader.codec).read(members, Hashes.ALL)
    tree = MergedTree()
    for number in (1, 2):
        tree.apply(number, table)
    paths = [node.path for node in tree.walk()]
    assert len(paths) == len(set(paths))


def _compressed(data: bytes) -> None:
    reader = DecompressingReader(_Bytes(data))
    while reader.read(1 << 16) and reader.bytes_out < 1 << 24:
        pass


def _json(data: bytes) -> None:
    value = decode_object(data, what="it")
    json.dumps(value).encode("ascii")


def _documents(data: bytes) -> None:
    for parse in (
        partial(parse_manifest, media_type=None),
        ImageConfig.parse,
        partial(parse_docker_manifest, what="it"),
    ):
        try:
            parse(data)
        except OcitoolError:
            continue


def _digest(data: bytes) -> None:
    digest = Digest.parse(_text(data))
    assert str(digest).encode() == data
    assert "/" not in digest.hex + digest.algorithm


def _reference(data: bytes) -> None:
    reference = Reference.parse(_text(data))
    assert Reference.parse(str(reference)) == reference
    assert str(reference).isascii()


def _platform(data: bytes) -> None:
    platform = Platform.parse(_text(data))
    assert platform.normalized() == platform


TARGETS: dict[str, Callable[[bytes], None]] = {
    "tar": _tar,
    "layer": _layer,
    "compressed": _compressed,
    "json": _json,
    "documents": _documents,
    "digest": _digest,
    "reference": _reference,
    "platform": _platform,
}
EXAMPLES: dict[str, tuple[bytes, ...]] = {
    "tar": (TAR, tar(docker()), block("x", kind=b"x", size=10) + b"10 path=a\n".ljust(BLOCK)),
    "layer": (LAYER, TAR),
    "compressed": (LAYER,),
    "json": tuple(data for data in layout().values() if data.startswith(b"{")),
    "documents": tuple(data for data in layout().values() if data.startswith(b"{")),
    "digest": (b"sha256:" + b"0" * 64, b"sha512:" + b"a" * 128),
    "reference": (b"docker.io/library/a:1", b"localhost:5000/a/b@sha256:" + b"0" * 64),
    "platform": (b"linux/arm64/v8", b"windows(10.0+a)/amd64", b"amd64"),
}


def tried(target: str, data: bytes) -> None:
    """Run one parser on some bytes; an error of ours is as good as a result."""
    with contextlib.suppress(OcitoolError):
        TARGETS[target](data)


def changed(target: str, chance: random.Random) -> bytes:
    """Return an example of a target with a few changes."""
    data = bytearray(chance.choice(EXAMPLES[target]))
    for _ in range(chance.randint(1, 4)):
        change = chance.choice((_flip, _overwrite, _insert, _cut))
        if data:
            change(data, chance)
    if target in ("tar", "layer"):
        return mutated(bytes(data), chance, chance.randint(0, 3))
    return bytes(data)
