"""Archives too large for memory, written as `docker save` wrote them before version 25."""

import hashlib
import json
import random
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

MIB = 1 << 20
_BLOCK = 512
Layer = Callable[[], Iterable[bytes]]
"""Yields the bytes of a layer's tar, the same ones each time."""


def large_file(size: int, seed: int) -> Layer:
    """Return a layer with one file, of which half can be compressed."""

    def layer() -> Iterator[bytes]:
        chance = random.Random(seed)
        yield _header(f"data/{seed}", size)
        written = 0
        block = chance.randbytes(MIB // 2) + bytes(MIB // 2)
        while written < size:
            part = block[: size - written]
            yield part
            written += len(part)
            # Every block differs from the one before, so no window is large enough.
            block = chance.randbytes(16) + block[:-16]
        yield bytes(-size % _BLOCK + 2 * _BLOCK)

    return layer


def many_files(count: int) -> Layer:
    """Return a layer with so many small files."""

    def layer() -> Iterator[bytes]:
        for start in range(0, count, 1000):
            parts = (
                _header(f"usr/share/{n // 500}/file-{n}", 5) + b"small".ljust(_BLOCK, b"\0")
                for n in range(start, min(start + 1000, count))
            )
            yield b"".join(parts)
        yield bytes(2 * _BLOCK)

    return layer


def write_archive(path: Path, name: str, layers: Iterable[Layer]) -> Path:
    """Write an archive of one image."""
    kept = list(layers)
    measured = [_measured(layer) for layer in kept]
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{d}" for d, _ in measured]},
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps(
        [
            {
                "Config": config_name,
                "RepoTags": [name],
                "Layers": [f"{digest}/layer.tar" for digest, _ in measured],
            }
        ]
    ).encode()
    with path.open("wb") as out:
        for layer, (digest, size) in zip(kept, measured, strict=True):
            out.write(_header(f"{digest}/layer.tar", size))
            out.writelines(layer())
            out.write(bytes(-size % _BLOCK))
        for member, data in ((config_name, config), ("manifest.json", manifest)):
            out.write(_header(member, len(data)) + data + bytes(-len(data) % _BLOCK))
        out.write(bytes(2 * _BLOCK))
    return path


def _measured(layer: Layer) -> tuple[str, int]:
    hasher, size = hashlib.sha256(), 0
    for part in layer():
        hasher.update(part)
        size += len(part)
    return hasher.hexdigest(), size


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.USTAR_FORMAT)
