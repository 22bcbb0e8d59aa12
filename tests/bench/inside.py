"""Measure looking inside images against dive and others: `python -m tests.bench.inside`.

Prints one markdown table. Peers that are not installed are left out. Every row is measured in
turns with its peer, ours with the start of the interpreter.
"""

import argparse
import hashlib
import io
import json
import os
import random
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from tests.bench.measure import CommandFailed, Series, Work, alternate, built_elsewhere, run

NAME = "bench.example/inside:1"
_POOL = 128 << 20
_CHANGED = 300


DIVE = {
    "whiteouts": 15.0,
    "plain": 1.0,
    "whiteouts-gzip": 6.0,
    "plain-gzip": 2.0,
    "million": 15.0,
}
"""How many times faster than dive `size` has to be, by the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """Our command, that of a peer for the same work, and how many times faster ours has to be.

    With `by_the_clock` only the time that passes counts, for a peer whose work a daemon does.
    """

    work: str
    ours: Sequence[str]
    peer: str
    theirs: Sequence[str]
    target: float
    by_the_clock: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: what was raced, and how long both took."""

    race: Race
    ours: Series
    theirs: Series

    @property
    def wall(self) -> float:
        """How many times faster ours is."""
        return self.theirs.median / self.ours.median

    @property
    def cpu(self) -> float:
        """How many times less CPU ours takes."""
        return self.theirs.cpu / self.ours.cpu

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return (self.wall if self.race.by_the_clock else min(self.wall, self.cpu)) >= (
            self.race.target
        )


@cache
def real_content(size: int) -> bytes:
    """Return so many bytes of programs, libraries and data of this machine, in pieces of files."""
    pieces, left = [], size
    libraries = f"/usr/lib/{os.uname().machine}-linux-gnu"
    for top in (libraries, "/usr/bin", "/usr/share", "/usr/lib/python3", "/usr/lib"):
        part = size // 5
        for path in sorted(path for path in Path(top).rglob("*") if path.is_file()):
            if part <= 0 or not os.access(path, os.R_OK) or path.is_symlink():
                continue
            with path.open("rb") as file:
                pieces.append(file.read(min(part, 1 << 20)))
            part -= len(pieces[-1])
            left -= len(pieces[-1])
    return b"".join(pieces) or bytes(size)


class Layers:
    """Writes plain layers of a docker archive, one after the other."""

    def __init__(self, path: Path, seed: int) -> None:
        self._outer = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._random = random.Random(seed)
        self._pool = real_content(_POOL)
        self._names: list[str] = []

    def content(self, size: int) -> bytes:
        """Return so many bytes that compress about as those of real images do."""
        start = self._random.randrange(len(self._pool))
        piece = self._pool[start : start + size]
        return piece + bytes(size - len(piece))

    def size(self, mean: int) -> int:
        """Return a size as those of files are: many are small, few are large."""
        return min(int(self._random.lognormvariate(0, 1.6) * mean / 3.6), 8 << 20)

    def add(self, members: Iterator[tuple[tarfile.TarInfo, bytes]]) -> None:
        """Write one layer."""
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for member, data in members:
                tar.addfile(member, io.BytesIO(data))
        data = layer.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        self._names.append(digest)
        self._add(f"{digest}/layer.tar", data)

    def close(self) -> None:
        """Write the documents."""
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{name}" for name in self._names]},
            "history": [{"created_by": f"RUN step {n}"} for n in range(len(self._names))],
        }
        raw = json.dumps(config).encode()
        name = f"{hashlib.sha256(raw).hexdigest()}.json"
        self._add(name, raw)
        layers = [f"{digest}/layer.tar" for digest in self._names]
        listed = [{"Config": name, "RepoTags": [NAME], "Layers": layers}]
        self._add("manifest.json", json.dumps(listed).encode())
        self._outer.close()

    def _add(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self._outer.addfile(member, io.BytesIO(data))


def file(path: str, data: bytes, owner: int = 0) -> tuple[tarfile.TarInfo, bytes]:
    """Return a member with content."""
    member = tarfile.TarInfo(path)
    member.size, member.uid, member.mtime = len(data), owner, 1_700_000_000
    return member, data


def folder(path: str) -> tuple[tarfile.TarInfo, bytes]:
    """Return a folder."""
    member = tarfile.TarInfo(path)
    member.type, member.mode = tarfile.DIRTYPE, 0o755
    return member, b""


def build_image(path: Path, *, whiteouts: bool, files: int = 25_000, mean: int = 24_000) -> None:
    """Write an image of five layers: most files in two, one that changes owners, whiteouts."""
    layers = Layers(path, seed=1)
    names = [f"usr/share/package-{n // 12:04}/component/{n:06}.dat" for n in range(files)]
    half = len(names) // 2

    def tree(some: Sequence[str]) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
        seen = set()
        for name in some:
            for end, character in enumerate(name):
                if character == "/" and name[:end] not in seen:
                    seen.add(name[:end])
                    yield folder(name[:end])
            yield file(name, layers.content(layers.size(mean)))

    layers.add(tree(names[:half]))
    layers.add(tree(names[half:]))
    layers.add(file(name, layers.content(layers.size(mean)), 1000) for name in names[:_CHANGED])
    gone = names[half : half + _CHANGED] if whiteouts else []
    layers.add(file(f"{n.rpartition('/')[0]}/.wh.{n.rpartition('/')[2]}", b"") for n in gone)
    layers.add(tree([f"opt/app/{name}" for name in names[:500]]))
    layers.close()


def build_million(path: Path, *, layers: int = 60, files: int = 1_000_000) -> None:
    """Write an image of a million small files in 60 layers, which delete and replace some."""
    image = Layers(path, seed=2)
    each = files // layers

    def name(number: int) -> str:
        return f"srv/data/region-{number // 500:05}/bucket/object-name-{number:08}.bin"

    for layer in range(layers):
        start = layer * each

        def members(start: int = start) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
            for number in range(start, start + each):
                yield file(name(number), image.content(1 + number % 511))
            for number in range(max(0, start - each), start, each // 100 or 1):
                path, _, leaf = name(number).rpartition("/")
                yield file(f"{path}/.wh.{leaf}", b"")
            for number in range(max(0, start - 2 * each), start - each, each // 1000 or 1):
                yield file(name(number), image.content(400), 7)

        image.add(members())
    image.close()


class Bench:
    """The images in a folder, and the commands that are measured on them."""

    def __init__(self, folder: Path, rounds: int, *, million: bool) -> None:
        self._folder = folder
        self._rounds = rounds
        self._million = million
        for name, whiteouts in (("whiteouts", True), ("plain", False)):
            self._make(name, partial(build_image, whiteouts=whiteouts))
            self._compress(name)
        if million:
            self._make("million", build_million)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.tar"

    def _make(self, name: str, build: Callable[[Path], None]) -> None:
        if not self._path(name).exists():
            built_elsewhere(build, self._path(name))

    def _compress(self, name: str) -> None:
        """Make the same image with gzip layers."""
        target = self._path(f"{name}-gzip")
        if not target.exists():
            store = ("--store", str(self._folder / name))
            run(_ours("load", str(self._path(name)), *store))
            run(_ours("save", NAME, "-o", str(target), *store))

    def rows(self, only: str) -> Iterator[Row]:
        """Measure all work whose name has `only` in it, as far as the peer is installed."""
        for make in (self._sizes, self._exports, self._docker_exports, self._unpackings):
            for race in make(only):
                works = [Work(command=race.ours), Work(command=race.theirs)]
                ours, theirs = alternate(works, self._rounds)
                yield Row(race=race, ours=ours, theirs=theirs)

    def _sizes(self, only: str) -> Iterator[Race]:
        for race in self._every_size():
            if only in race.work:
                yield race

    def _every_size(self) -> Iterator[Race]:
        for name, target in DIVE.items() if shutil.which("dive") else ():
            if self._path(name).exists():
                yield Race(
                    work=f"`size`, {name}",
                    ours=self._size(name),
                    peer="dive",
                    theirs=self._dive(name),
                    target=target,
                )
        layers = f"{self._folder}/plain/blobs/sha256/*"
        gunzip = _shell(f"for f in {layers}; do gzip -dcq $f > /dev/null; done; true")
        yield Race(
            work="`size`, plain-gzip",
            ours=self._size("plain-gzip"),
            peer="gzip -dc",
            theirs=gunzip,
            target=2.0,
        )
        for name in ("whiteouts", "whiteouts-gzip"):
            again = _ours("size", "--json", str(self._path(name)))
            run(again)
            yield Race(
                work=f"`size` again, {name}",
                ours=again,
                peer="the first time",
                theirs=self._size(name),
                target=1.0,
            )

    def _exports(self, only: str) -> Iterator[Race]:
        for name, target in {"whiteouts": 1.4, "whiteouts-gzip": 2.5}.items():
            work = f"`export`, {name}"
            if shutil.which("crane") and only in work:
                crane = _shell(f"crane export - - < {self._path(name)} > /dev/null")
                ours = self._export(name)
                yield Race(work=work, ours=ours, peer="crane", theirs=crane, target=target)

    def _docker_exports(self, only: str) -> Iterator[Race]:
        """Yield the export of a container, which has been loaded and created before."""
        name = "whiteouts"
        work = f"`export`, {name}, from an engine"
        if only not in work or not _answers("docker", "version"):
            return
        run(["docker", "load", "-i", str(self._path(name))])
        container = f"bench-inside-{os.getpid()}"
        run(["docker", "create", "--name", container, NAME, "/none"])
        try:
            yield Race(
                work=work,
                ours=self._export(name),
                peer="docker export",
                theirs=_shell(f"docker export {container} > /dev/null"),
                target=2.0,
                by_the_clock=True,
            )
        finally:
            run(["docker", "rm", container])
            run(["docker", "rmi", NAME])

    def _unpackings(self, only: str) -> Iterator[Race]:
        """Yield `export` into tar, against what unpacks a layout."""
        for name in ("whiteouts-gzip",):
            work = f"`export` into tar, {name}"
            if only not in work or not shutil.which("umoci"):
                continue
            layout = self._folder / "layout"
            if not layout.exists():
                run(_ours("copy", str(self._path(name)), f"oci:{layout}:bench"))
            out = self._folder / "unpacked"
            root = "" if os.geteuid() == 0 else "--rootless "
            theirs = f"umoci unpack {root}--image {layout}:bench {out}"
            ours = (
                f"mkdir {out}; {' '.join(_ours('export', f'oci:{layout}:bench'))} | tar -C {out} -x"
            )
            yield Race(
                work=work,
                ours=_shell(f"rm -rf {out}; {ours}"),
                peer="umoci unpack",
                theirs=_shell(f"rm -rf {out}; {theirs}"),
                target=1.0,
            )

    def _export(self, name: str) -> list[str]:
        return _shell(f"{' '.join(_ours('export', str(self._path(name))))} > /dev/null")

    def _size(self, name: str) -> list[str]:
        return _ours("size", "--no-cache", "--json", str(self._path(name)))

    def _dive(self, name: str) -> list[str]:
        out = str(self._folder / "dive.json")
        return ["dive", f"docker-archive://{self._path(name)}", "--json", out]


def _answers(*command: str) -> bool:
    if not shutil.which(command[0]):
        return False
    try:
        run(command)
    except CommandFailed:
        return False
    return True


def _shell(command: str) -> list[str]:
    return ["sh", "-c", command]


def _ours(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ocitool", *arguments]


def lines(rows: Iterator[Row]) -> Iterator[str]:
    """Yield the lines of the table; a ratio is that of the peer to ours."""
    figures = "median, CPU, peak"
    yield f"| work | peer: {figures} | ocitool: {figures} | times faster | target | met |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for row in rows:
        race = row.race
        cpu = "" if race.by_the_clock else f" ({row.cpu:.1f} in CPU)"
        yield (
            f"| {race.work} | {race.peer} {_figures(row.theirs)} | {_figures(row.ours)} "
            f"| {row.wall:.1f}{cpu} | {race.target} | {'yes' if row.met else '**no**'} |"
        )


def _figures(series: Series) -> str:
    return f"{series.median:.2f} s, {series.cpu:.2f} s, {series.peak / 1e6:.0f} MB"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.inside", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--million", action="store_true", help="also an image of a million files")
    parser.add_argument("--only", default="", help="only work whose name has this text in it")
    parser.add_argument("--folder", help="where to work and to keep the images")
    options = parser.parse_args(arguments)
    os.environ.pop("OCITOOL_STORE", None)
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(Path(options.folder or temporary), options.rounds, million=options.million)
        for line in lines(bench.rows(options.only)):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
