"""Measure bundles across the air gap: `python -m tests.bench.airgap`.

Twenty images in four groups share their base, as a month's releases do; a second state has another
code layer in each. Prints one markdown table of ratios, each pair measured in turns. Needs
sha256sum and docker-registry; with dockerd what `docker save` writes is measured as well, with
imgpkg its copy. Takes about three gigabytes in the work folder.
"""

import argparse
import contextlib
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.measure import CommandFailed, Series, Work, alternate, built_elsewhere, run
from tests.support.docker_registry import running_registry

_MEGABYTE = 1_000_000
_BASE = (60, 14)
_GROUP, _VENDOR, _CODE = 11, 6, 0.3
"""Compressed megabytes: of the two common layers, of each group's, of each image's own two."""
_IMAGES, _GROUPS = 20, 4
_SMALL = 1_000
"""Images of the bundle whose memory is measured."""
_MEMORY_LIMIT = 120 * _MEGABYTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; `met` is None for what has no target."""

    work: str
    peer: str
    ours: str
    result: str
    target: str
    met: bool | None


class Builder:
    """Writes images into a layout: layers of noise that gzip halves."""

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs" / "sha256"
        self._blobs.mkdir(parents=True)
        self._folder = folder
        self._entries: list[dict[str, object]] = []
        self._layers: dict[str, tuple[dict[str, object], str]] = {}

    def layer(self, name: str, megabytes: float) -> tuple[dict[str, object], str]:
        """Return a layer of that name and its diff ID; the same name gives the same layer."""
        if name not in self._layers:
            noise = random.Random(name)
            out = io.BytesIO()
            with tarfile.open(fileobj=out, mode="w") as tar:
                for number in range(max(1, round(megabytes * 2))):
                    size = round(megabytes * _MEGABYTE / max(1, round(megabytes * 2)))
                    data = noise.randbytes(size) + bytes(size)
                    member = tarfile.TarInfo(f"{name}/{number}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
            plain = out.getvalue()
            diff_id = f"sha256:{hashlib.sha256(plain).hexdigest()}"
            packed = gzip.compress(plain, 1, mtime=0)
            kind = "application/vnd.oci.image.layer.v1.tar+gzip"
            self._layers[name] = self._put(packed, kind), diff_id
        return self._layers[name]

    def image(self, name: str, layers: Sequence[tuple[dict[str, object], str]]) -> None:
        """Add an image of some layers."""
        config = {
            "os": "linux",
            "architecture": "amd64",
            "config": {"Labels": {"name": name}},
            "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
        }
        kind = "application/vnd.oci.image.manifest.v1+json"
        manifest = {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": self._put(_json(config), "application/vnd.oci.image.config.v1+json"),
            "layers": [descriptor for descriptor, _ in layers],
        }
        annotations = {"io.containerd.image.name": name}
        self._entries.append({**self._put(_json(manifest), kind), "annotations": annotations})

    def finish(self) -> None:
        """Write what makes the folder a layout."""
        (self._folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        (self._folder / "index.json").write_bytes(
            _json({"schemaVersion": 2, "manifests": self._entries})
        )

    def _put(self, data: bytes, media_type: str) -> dict[str, object]:
        name = hashlib.sha256(data).hexdigest()
        (self._blobs / name).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{name}", "size": len(data)}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def names(state: int) -> list[str]:
    """Return the names of the images of a state."""
    return [f"registry.example/team{n % _GROUPS}/app{n}:{state}" for n in range(_IMAGES)]


def build_states(folder: Path, scale: float) -> None:
    """Write the images of both states into one layout; `scale` makes the layers smaller."""
    builder = Builder(folder)
    common = [builder.layer(f"base{n}", size * scale) for n, size in enumerate(_BASE)]
    for state in (1, 2):
        for number, name in enumerate(names(state)):
            group = builder.layer(f"deps{number % _GROUPS}", _GROUP * scale)
            vendor = builder.layer(f"vendor{number}", _VENDOR * scale)
            code = builder.layer(f"code{number}-{state}", _CODE * scale)
            builder.image(name, [*common, group, vendor, code])
    builder.finish()


def build_many(folder: Path, count: int) -> None:
    """Write so many images of ten small blobs of their own."""
    builder = Builder(folder)
    base = builder.layer("base", 0.01)
    for number in range(count):
        own = [builder.layer(f"own{number}-{n}", 0.0005) for n in range(8)]
        builder.image(f"registry.example/many/app{number}:1", [base, *own])
    builder.finish()


class Bench:
    """The work folder of one run, and the measured rows."""

    def __init__(self, folder: Path, rounds: int, scale: float) -> None:
        self.folder = folder
        self.rounds = rounds
        self.scale = scale
        self.full = folder / "full.tar"
        self.delta = folder / "next.delta.tar"
        self.peaks: dict[str, int] = {}
        self._count = 0

    def prepare(self) -> None:
        """Build the images and bring them into the store."""
        built_elsewhere(build_states, self.folder / "images", self.scale)
        run(self.ours("load", f"oci:{self.folder / 'images'}"))

    def ours(self, *words: str, store: str = "store") -> list[str]:
        """Return a command of ours."""
        script = os.path.join(os.path.dirname(sys.executable), "ocitool")
        start = [script] if os.access(script, os.X_OK) else [sys.executable, "-m", "ocitool"]
        return [*start, "--store", str(self.folder / store), "--progress", "none", *words]

    def rows(self, only: Sequence[str]) -> Iterator[Row]:
        """Measure everything, or what is named in `only`."""
        measures = {
            "create": self._create,
            "delta": self._delta,
            "verify": self._verify,
            "volumes": self._volumes,
            "docker": self._docker,
            "registry": self._registry,
            "many": self._many,
        }
        for name, measure in measures.items():
            if not only or name in only:
                yield from measure()
            elif name in ("create", "delta"):
                list(measure())

    def _create(self) -> Iterator[Row]:
        saved = self.folder / "saved.tar"
        save, create = alternate(
            [
                Work(command=self.ours("save", *names(1), "-o", str(saved))),
                Work(command=self.ours("bundle", "create", *names(1), "-o", str(self.full))),
            ],
            self.rounds,
        )
        yield _at_most("`bundle create` of 20 images (peer: `save`)", save, create, 1.1)
        yield _bytes("its bytes", saved, self.full, 1.01)
        saved.unlink()

    def _delta(self) -> Iterator[Row]:
        words = ("bundle", "create", *names(2), "--base", str(self.full), "-o", str(self.delta))
        full, delta = alternate(
            [
                Work(command=self.ours("bundle", "create", *names(1), "-o", str(self.full))),
                Work(command=self.ours(*words)),
            ],
            self.rounds,
        )
        yield _bytes("a delta, 1 % changed (peer: the full bundle)", self.full, self.delta, 0.03)
        yield _at_most("its time (peer: the full bundle)", full, delta, 1.0)
        new = _new_bytes(self.delta)
        ratio = self.delta.stat().st_size / new
        yield Row(
            work="overhead of the delta over its new blobs",
            peer=f"{new:,} bytes",
            ours=f"{self.delta.stat().st_size:,} bytes",
            result=f"{(ratio - 1) * 100:.2f} %",
            target="at most 2 %",
            met=ratio <= 1.02,
        )

    def _verify(self) -> Iterator[Row]:
        peer, ours = alternate(
            [
                Work(command=["sha256sum", str(self.full)]),
                Work(command=self.ours("bundle", "verify", str(self.full))),
            ],
            self.rounds,
        )
        yield _at_most("`bundle verify` (peer: `sha256sum`)", peer, ours, 1.1)

    def _volumes(self) -> Iterator[Row]:
        size = self.full.stat().st_size // 20 + _MEGABYTE
        output = self.folder / "volumes" / "disk.tar"
        output.parent.mkdir()
        run(
            self.ours(
                "bundle", "split", str(self.full), "--volume-size", str(size), "-o", str(output)
            )
        )
        files = list(output.parent.iterdir())
        total, whole = sum(file.stat().st_size for file in files), self.full.stat().st_size
        yield Row(
            work=f"{len(files)} volumes (peer: the bundle in one file)",
            peer=f"{whole:,} bytes",
            ours=f"{total:,} bytes",
            result=f"{total / whole:.4f}",
            target="at most 1.01 at 20 volumes",
            met=total <= 1.01 * whole,
        )
        shutil.rmtree(output.parent)
        yield from self._parity(output, size)

    def _parity(self, output: Path, size: int) -> Iterator[Row]:
        """Measure what the parity costs: to make it, and to load without one volume."""
        fresh = partial(_emptied, output.parent)
        words = ("bundle", "split", str(self.full), "--volume-size", str(size), "-o", str(output))
        plain, with_parity = alternate(
            [
                Work(command=self.ours(*words), prepare=fresh),
                Work(command=self.ours(*words, "--parity"), prepare=fresh),
            ],
            self.rounds,
        )
        yield _ratio("`bundle split --parity` (peer: without)", plain, with_parity)
        files = sorted(output.parent.iterdir())
        lost = next(file for file in files if ".v03of" in file.name)
        load = ("bundle", "load", *map(str, files))
        without = ("bundle", "load", *(str(file) for file in files if file != lost))
        store = partial(shutil.rmtree, self.folder / "parity-store", ignore_errors=True)
        whole, rebuilt = alternate(
            [
                Work(command=self.ours(*load, store="parity-store"), prepare=store),
                Work(command=self.ours(*without, store="parity-store"), prepare=store),
            ],
            self.rounds,
        )
        yield _ratio("`bundle load` without one volume (peer: with all)", whole, rebuilt)
        shutil.rmtree(output.parent)

    def _docker(self) -> Iterator[Row]:
        from tests.interop.peers import Docker, missing_tools

        if missing_tools("docker", "dockerd"):
            print("without dockerd nothing is compared with docker save", file=sys.stderr)
            return
        with tempfile.TemporaryDirectory() as short, Docker(Path(short)).running() as docker:
            run(docker.command("load", "-q", "-i", str(self.full)))
            saved = self.folder / "docker.tar"
            words = self.ours(
                *("bundle", "create", *names(2), "--base", str(self.full)),
                *("-o", str(self.delta)),
            )
            peer, ours = alternate(
                [
                    Work(command=docker.command("save", "-o", str(saved), *names(1))),
                    Work(command=words),
                ],
                self.rounds,
            )
            yield _bytes("a delta, 1 % changed (peer: `docker save`)", saved, self.delta, 0.015)
            yield _at_most("its time (peer: `docker save`)", peer, ours, 0.1)
            saved.unlink()

    def _registry(self) -> Iterator[Row]:
        with running_registry(self.folder / "registry") as registry:
            pushes = [
                self.ours(
                    "push", f"oci-archive:{self.full}:{name}", f"{registry.host}/$PREFIX/{path}"
                )
                for name, path in ((name, name.partition("/")[2]) for name in names(1))
            ]
            loads = self.ours("bundle", "load", str(self.full), "--to", f"{registry.host}/$PREFIX")
            prefix = partial(self._fresh, registry.root)
            works = [
                Work(command=self._shell(pushes), prepare=prefix),
                Work(command=self._shell([loads]), prepare=prefix),
            ]
            peer, ours = alternate(works, self.rounds)
            yield _at_most("into 20 repositories (peer: 20 `push` calls)", peer, ours, 0.2)
            again = [Work(command=self._shell([loads]))]
            (series,) = alternate(again, self.rounds)
            yield _at_most("the same again (peer: the first time)", ours, series, 0.2)

    def _fresh(self, root: Path) -> None:
        """Begin with an empty registry, for names that no earlier run has used."""
        shutil.rmtree(root / "docker", ignore_errors=True)
        self._count += 1
        (self.folder / "prefix").write_text(f"run{self._count}")

    def _shell(self, commands: Sequence[Sequence[str]]) -> list[str]:
        """Return one command that runs others with the current prefix, and without a cache."""
        lines = [" ".join(f'"{word}"' for word in command) for command in commands]
        store = self.folder / "elsewhere"
        text = "; ".join(["set -e", f"PREFIX=$(cat {self.folder / 'prefix'})", *lines])
        return ["sh", "-c", text.replace(str(self.folder / "store"), str(store))]

    def _many(self) -> Iterator[Row]:
        cpu: dict[int, Mapping[str, Series]] = {}
        for count in (_SMALL // 2, _SMALL):
            built_elsewhere(build_many, self.folder / f"many{count}", count)
            cpu[count] = self._cycle(count)
        for name, series in cpu[_SMALL].items():
            half = cpu[_SMALL // 2][name]
            ratio = series.cpu / half.cpu
            yield Row(
                work=f"`{name}`, {_SMALL} images (peer: half of them)",
                peer=f"{half.cpu:.2f} CPU-s",
                ours=f"{series.cpu:.2f} CPU-s, {series.peak / _MEGABYTE:.0f} MB",
                result=f"{ratio:.2f} times the CPU",
                target="at most 2.2 times, 120 MB",
                met=ratio <= 2.2 and series.peak <= _MEMORY_LIMIT,
            )

    def _cycle(self, count: int) -> dict[str, Series]:
        """Make, verify and load a bundle of many small images."""
        source, file = f"oci:{self.folder / f'many{count}'}", str(self.folder / f"many{count}.tar")
        store = str(self.folder / "many-store")
        works = {
            "bundle create": Work(command=self.ours("bundle", "create", source, "-o", file)),
            "bundle verify": Work(command=self.ours("bundle", "verify", file)),
            "bundle load": Work(
                command=self.ours("bundle", "load", file, store="many-store"),
                prepare=partial(shutil.rmtree, store, ignore_errors=True),
            ),
        }
        return dict(zip(works, alternate(list(works.values()), self.rounds), strict=True))


def _new_bytes(delta: Path) -> int:
    """Return the bytes of the layers and documents that a delta brings."""
    with tarfile.open(delta) as tar:
        return sum(member.size for member in tar if member.name.startswith("blobs/"))


def _at_most(work: str, peer: Series, ours: Series, limit: float) -> Row:
    ratio, cpu = ours.median / peer.median, ours.cpu / max(peer.cpu, 0.001)
    return Row(
        work=work,
        peer=_seconds(peer),
        ours=_seconds(ours),
        result=f"{ratio:.2f} ({cpu:.2f} in CPU)",
        target=f"at most {limit:g}",
        met=ratio <= limit,
    )


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def _ratio(work: str, peer: Series, ours: Series) -> Row:
    """Return a row without a target."""
    return Row(
        work=work,
        peer=_seconds(peer),
        ours=f"{_seconds(ours)}, {ours.peak / _MEGABYTE:.0f} MB",
        result=f"{ours.median / peer.median:.2f} ({ours.cpu / max(peer.cpu, 0.001):.2f} in CPU)",
        target="",
        met=None,
    )


def _bytes(work: str, peer: Path, ours: Path, limit: float) -> Row:
    sizes = peer.stat().st_size, ours.stat().st_size
    ratio = sizes[1] / sizes[0]
    return Row(
        work=work,
        peer=f"{sizes[0]:,} bytes",
        ours=f"{sizes[1]:,} bytes",
        result=f"{ratio:.4f}",
        target=f"at most {limit:g}",
        met=ratio <= limit,
    )


def _seconds(series: Series) -> str:
    return f"{series.minimum:.2f} / {series.median:.2f} s, {series.cpu:.2f} CPU-s"


def main() -> int:
    """Build the images, measure, print the table. 1 when a target was missed."""
    options = _arguments()
    with contextlib.ExitStack() as stack:
        folder = Path(options.work_dir or stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(folder, options.rounds, options.scale)
        print("building the images ...", file=sys.stderr)
        bench.prepare()
        print("| work | peer: min / median | ocitool: min / median | result | target | met |")
        print("| --- | --- | --- | --- | --- | --- |")
        missed = 0
        try:
            for row in bench.rows(options.only):
                met = {None: "", True: "yes", False: "**no**"}[row.met]
                cells = (row.work, row.peer, row.ours, row.result, row.target, met)
                print(f"| {' | '.join(cells)} |", flush=True)
                missed += row.met is False
        except CommandFailed as error:
            print(error, file=sys.stderr)
            return 2
    return 1 if missed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.airgap", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each command (5)")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the layers (1)")
    parser.add_argument("--work-dir", help="folder for images and results (temporary)")
    parser.add_argument("only", nargs="*", help="create, delta, verify, volumes, docker, …")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
