"""Measure ocitool against skopeo and the shell, in turns: `python -m tests.bench`.

Prints one markdown table. Needs skopeo, zcat and sha256sum, and twice to four times the size of
the image in the work folder.
"""

import argparse
import contextlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

from tests.bench.image import LAYERS, NAME, BenchImage, build_image, build_many
from tests.bench.measure import CommandFailed, Series, Work, alternate, run

_MEGABYTE = 1_000_000
_SKOPEO = ["skopeo", "--insecure-policy", "copy", "--quiet"]
_SMALL_IMAGES = 100
_QUICK_ROUNDS = 4  # Commands of a tenth of a second are run this many times as often.


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; `met` is None where the target is not a number to compare."""

    work: str
    peer: str
    ours: str
    ratio: str
    target: str
    met: bool | None


class Bench:
    """The places of one run below a work folder, and the measured rows."""

    def __init__(self, folder: str, image: BenchImage, rounds: int) -> None:
        self.image = image
        self.rounds = rounds
        self.store = os.path.join(folder, "store")
        self.layout = os.path.join(folder, "skopeo")
        self.small_store = os.path.join(folder, "small-store")
        self.small = os.path.join(folder, "small.tar")
        self.output = os.path.join(folder, "ours.tar")
        self.peer_output = os.path.join(folder, "skopeo.tar")
        self.memory: list[tuple[str, int]] = []
        self.peer_memory: list[int] = []

    def rows(self, only: Sequence[str]) -> Iterator[Row]:
        """Measure everything, or what is named in `only`."""
        for name, measure in (
            ("load", self._load),
            ("again", self._again),
            ("save", self._save),
            ("verify", self._verify),
            ("start", self._start),
        ):
            if not only or name in only:
                yield from measure()
            elif name == "load":
                run(self._loading())
        if self.memory:
            yield self._memory()

    def _ours(self, *arguments: str) -> list[str]:
        return [*_ocitool(), "--store", self.store, "--progress", "none", *arguments]

    def _loading(self, store: str | None = None) -> list[str]:
        chosen = ["--store", store or self.store, "--progress", "none"]
        return [*_ocitool(), *chosen, "load", self.image.path]

    def _peer_loading(self) -> list[str]:
        return [*_SKOPEO, f"docker-archive:{self.image.path}", f"oci:{self.layout}:{NAME}"]

    def _load(self) -> Iterator[Row]:
        peer, ours = alternate(
            [
                Work(command=self._peer_loading(), prepare=partial(_remove, self.layout)),
                Work(command=self._loading(), prepare=partial(_remove, self.store)),
            ],
            self.rounds,
        )
        self._remember("load", ours, peer)
        yield _faster("docker archive (plain layers) -> OCI layout, gzip", peer, ours, 4)
        sizes = _size_of(self.layout), _size_of(self.store)
        ratio = sizes[1] / sizes[0]
        yield Row(
            work="size of that layout",
            peer=_megabytes(sizes[0]),
            ours=_megabytes(sizes[1]),
            ratio=f"{ratio:.3f}",
            target="at most 1.07",
            met=ratio <= 1.07,
        )

    def _again(self) -> Iterator[Row]:
        before = _inodes(self.store)
        fresh = f"{self.store}-first"
        first, ours = alternate(
            [
                Work(command=self._loading(fresh), prepare=partial(_remove, fresh)),
                Work(command=self._loading()),
            ],
            self.rounds,
        )
        _remove(fresh)
        self._remember("load again", ours)
        ratio = ours.median / first.median
        unchanged = _inodes(self.store) == before
        blobs = "no blob written twice" if unchanged else "BLOBS WERE WRITTEN AGAIN"
        yield Row(
            work="loading the same archive again (peer: our first load)",
            peer=_seconds(first),
            ours=_seconds(ours),
            ratio=f"{ratio:.2f} of the first; {blobs}",
            target="less than 0.5; no blob written twice",
            met=ratio < 0.5 and unchanged,
        )

    def _save(self) -> Iterator[Row]:
        source = f"oci:{self.store}:{NAME}"
        peer, ours = alternate(
            [
                Work(
                    command=[*_SKOPEO, source, f"docker-archive:{self.peer_output}:{NAME}"],
                    prepare=partial(_remove, self.peer_output),
                ),
                Work(
                    command=self._ours("save", NAME, "-o", self.output),
                    prepare=partial(_remove, self.output),
                ),
            ],
            self.rounds,
        )
        _remove(self.peer_output)
        _remove(self.output)
        self._remember("save", ours, peer)
        yield _faster("OCI layout -> tar that docker loads", peer, ours, 10)

    def _verify(self) -> Iterator[Row]:
        blobs = os.path.join(self.store, "blobs", "sha256")
        files = sorted(os.path.join(blobs, name) for name in os.listdir(blobs))
        layers = " ".join(shlex.quote(path) for path in files if _is_gzip(path))
        shell = f'for layer in {layers}; do zcat < "$layer" | sha256sum; done'
        peer, ours = alternate(
            [Work(command=["sh", "-c", shell]), Work(command=self._ours("verify"))], self.rounds
        )
        self._remember("verify", ours)
        yield _faster("`verify` (peer: `zcat` of each layer piped to `sha256sum`)", peer, ours, 1)

    def _start(self) -> Iterator[Row]:
        build_many(self.small, _SMALL_IMAGES)
        _remove(self.small_store)
        small = [*_ocitool(), "--store", self.small_store]
        run([*small, "load", self.small])
        works = [
            Work(command=[sys.executable, "-c", "import typer"]),
            Work(command=[*_ocitool(), "--version"]),
            Work(command=[*small, "images"]),
        ]
        alternate(works, 1)  # Writes the bytecode.
        bare, version, images = alternate(works, self.rounds * _QUICK_ROUNDS)
        self._remember("images", images)
        for work, ours, factor, limit in (
            ("`--version`", version, 1.6, 0.12),
            (f"`images`, {_SMALL_IMAGES} images", images, 3.5, 0.25),
        ):
            ratio = ours.median / bare.median
            yield Row(
                work=f"{work} (peer: bare `import typer`)",
                peer=_seconds(bare, 3),
                ours=_seconds(ours, 3),
                ratio=f"{ratio:.2f} times the import",
                target=f"at most {limit} s or {factor} times",
                met=ours.median <= limit or ratio <= factor,
            )

    def _memory(self) -> Row:
        name, peak = max(self.memory, key=lambda item: item[1])
        peer = _megabytes(max(self.peer_memory)) if self.peer_memory else "not measured"
        return Row(
            work="peak memory, all of these",
            peer=peer,
            ours=f"{_megabytes(peak)} ({name})",
            ratio=", ".join(f"{work} {_megabytes(size)}" for work, size in self.memory),
            target="at most 100 MB, at 500 MB and at 5 GB",
            met=peak <= 100 * _MEGABYTE,
        )

    def _remember(self, name: str, ours: Series, peer: Series | None = None) -> None:
        self.memory.append((name, ours.peak))
        if peer is not None:
            self.peer_memory.append(peer.peak)


def main() -> int:
    """Build the image, measure, print the table. 1 when a target was missed."""
    options = _arguments()
    with contextlib.ExitStack() as stack:
        folder = options.work_dir or stack.enter_context(tempfile.TemporaryDirectory())
        os.makedirs(folder, exist_ok=True)
        print(f"building an image of {options.size} MB ...", file=sys.stderr)
        image = _built(os.path.join(folder, "image.tar"), options.size * _MEGABYTE)
        bench = Bench(folder, image, options.rounds)
        print(_machine(image, options.rounds))
        print()
        print("| work | peer: min / median | ocitool: min / median | result | target | met |")
        print("| --- | --- | --- | --- | --- | --- |")
        missed = 0
        try:
            for row in bench.rows(options.only):
                met = {None: "", True: "yes", False: "**no**"}[row.met]
                cells = (row.work, row.peer, row.ours, row.ratio, row.target, met)
                print(f"| {' | '.join(cells)} |", flush=True)
                missed += row.met is False
        except CommandFailed as error:
            print(error, file=sys.stderr)
            return 2
    return 1 if missed else 0


def _built(path: str, size: int) -> BenchImage:
    # In another process: what this one has in memory would be counted as a peak of the commands.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(build_image, path, size).result()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--size", type=int, default=550, help="MB of plain layers (550)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each command (5)")
    parser.add_argument("--work-dir", help="folder for the image and the results (temporary)")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=["load", "again", "save", "verify", "start"],
        help="measure only this; repeatable",
    )
    return parser.parse_args()


def _ocitool() -> list[str]:
    script = os.path.join(os.path.dirname(sys.executable), "ocitool")
    return [script] if os.access(script, os.X_OK) else [sys.executable, "-m", "ocitool"]


def _faster(work: str, peer: Series, ours: Series, target: int) -> Row:
    ratio = peer.median / ours.median
    return Row(
        work=work,
        peer=_seconds(peer),
        ours=_seconds(ours),
        ratio=f"{ratio:.1f} times faster ({ours.cpu:.1f} CPU-s against {peer.cpu:.1f})",
        target=f"at least {target} times faster" if target > 1 else "at least as fast",
        met=ratio >= target,
    )


def _machine(image: BenchImage, rounds: int) -> str:
    skopeo = subprocess.run(
        ["skopeo", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    layers = ", ".join(_megabytes(size) for size in image.layers)
    return (
        f"Image: {_megabytes(image.size)} in {LAYERS} plain layers ({layers}). "
        f"{len(os.sched_getaffinity(0))} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {skopeo}. {rounds} runs each, in turns; "
        "warm page cache; ocitool makes every blob durable (fsync), skopeo does not."
    )


def _seconds(series: Series, digits: int = 2) -> str:
    return f"{series.minimum:.{digits}f} / {series.median:.{digits}f} s"


def _megabytes(size: int) -> str:
    return f"{size / _MEGABYTE:.0f} MB"


def _size_of(folder: str) -> int:
    return sum(
        os.path.getsize(os.path.join(top, name))
        for top, _, names in os.walk(folder)
        for name in names
    )


def _inodes(store: str) -> dict[str, int]:
    folder = os.path.join(store, "blobs", "sha256")
    return {name: os.stat(os.path.join(folder, name)).st_ino for name in os.listdir(folder)}


def _is_gzip(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


if __name__ == "__main__":
    sys.exit(main())
