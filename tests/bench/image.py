"""The image that is measured: real files of this machine as a `docker save` archive.

The same machine gives the same bytes: names are sorted, times and owners are zero. Nothing of it
is ever committed.
"""

import hashlib
import io
import itertools
import json
import os
import stat
import sysconfig
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NAME = "bench.example/image:1"
_LIBRARIES = f"/usr/lib/{os.uname().machine}-linux-gnu"
_PYTHON = sysconfig.get_paths()
# What each layer is made of, as in a real image: programs, libraries, a Python, data.
_TREES = (
    ("/usr/bin", "/usr/sbin"),
    (_LIBRARIES,),
    (_PYTHON["purelib"], _PYTHON["stdlib"]),
    ("/usr/share",),
    ("/usr/lib",),
)
LAYERS = len(_TREES)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchImage:
    """A docker archive on the disk: its path, its size and the sizes of its layers in bytes."""

    path: str
    size: int
    layers: tuple[int, ...]


def build_image(path: str, size: int) -> BenchImage:
    """Write a docker archive with LAYERS plain layers of about `size` bytes together."""
    layers: list[tuple[str, int]] = []
    spare = itertools.cycle(_files(tuple(itertools.chain.from_iterable(_TREES))))
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as outer:
        for number, tree in enumerate(_TREES):
            layer = f"{path}.layer"
            # What a small machine lacks in one tree comes from the others.
            files = itertools.chain(_files(tree), spare)
            digest = _write_layer(layer, files, size // LAYERS, number)
            layers.append((digest, os.path.getsize(layer)))
            with open(layer, "rb") as content:
                _add(outer, f"{digest}/layer.tar", content, layers[-1][1])
            os.unlink(layer)
        _add_documents(outer, [(NAME, [digest for digest, _ in layers])])
    return BenchImage(
        path=path, size=os.path.getsize(path), layers=tuple(length for _, length in layers)
    )


def build_many(path: str, count: int, prefix: str = "bench.example/") -> list[str]:
    """Write a docker archive with `count` small images of four layers each; they share three.

    Returns their names.
    """
    names = [f"{prefix}small-{number}:1" for number in range(count)]
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as outer:
        shared = [_small_layer(outer, text) for text in ("base", "libraries", "program")]
        _add_documents(outer, [(name, [*shared, _small_layer(outer, name)]) for name in names])
    return names


def build_random(path: str, name: str, *, layers: int, size: int) -> None:
    """Write a docker archive whose layers are `size` bytes of noise each: no codec helps."""
    digests = []
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as outer:
        for number in range(layers):
            layer = f"{path}.layer"
            with (
                tarfile.open(layer, "w", format=tarfile.PAX_FORMAT) as inner,
                open("/dev/urandom", "rb") as noise,
            ):
                _add(inner, f"noise{number}", noise, size)
            with open(layer, "rb") as content:
                digests.append(hashlib.file_digest(content, "sha256").hexdigest())
            outer.add(layer, f"{digests[-1]}/layer.tar")
            os.unlink(layer)
        _add_documents(outer, [(name, digests)])


def _files(folders: Sequence[str]) -> Iterator[str]:
    """Yield every regular file and symbolic link below some folders, each once, in order."""
    seen: set[str] = set()
    for top in folders:
        for folder, below, names in os.walk(top):
            below.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                if path not in seen:
                    seen.add(path)
                    yield path


def _write_layer(path: str, files: Iterator[str], size: int, number: int) -> str:
    """Write one layer of at least `size` bytes and return its sha256 in hex."""
    written = 0
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as layer:
        for source in files:
            name = f"layer{number}{source}"
            try:
                status = os.lstat(source)
                if stat.S_ISLNK(status.st_mode):
                    member = tarfile.TarInfo(name)
                    member.type, member.linkname = tarfile.SYMTYPE, os.readlink(source)
                    layer.addfile(member)
                elif stat.S_ISREG(status.st_mode):
                    with open(source, "rb") as content:
                        _add(layer, name, content, status.st_size)
                    written += status.st_size
            except PermissionError:
                continue
            if written >= size:
                break
    with open(path, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _small_layer(outer: tarfile.TarFile, text: str) -> str:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as layer:
        _add(layer, "text", io.BytesIO(text.encode()), len(text.encode()))
    data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    _add(outer, f"{digest}/layer.tar", io.BytesIO(data), len(data))
    return digest


def _add_documents(outer: tarfile.TarFile, images: list[tuple[str, list[str]]]) -> None:
    entries = []
    for name, layers in images:
        config = _config(name, layers)
        config_path = f"{hashlib.sha256(config).hexdigest()}.json"
        _add(outer, config_path, io.BytesIO(config), len(config))
        paths = [f"{layer}/layer.tar" for layer in layers]
        entries.append({"Config": config_path, "RepoTags": [name], "Layers": paths})
    manifest = json.dumps(entries).encode()
    _add(outer, "manifest.json", io.BytesIO(manifest), len(manifest))


def _config(name: str, layers: list[str]) -> bytes:
    created = "2024-01-01T00:00:00Z"
    history = [{"created": created, "created_by": f"COPY {n} /"} for n, _ in enumerate(layers)]
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{layer}" for layer in layers]}
    document = {
        "architecture": "amd64",
        "os": "linux",
        "created": created,
        "config": {"Labels": {"name": name}},
        "history": history,
        "rootfs": rootfs,
    }
    return json.dumps(document).encode()


def _add(archive: tarfile.TarFile, name: str, content: io.BufferedIOBase, size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    archive.addfile(member, content)
