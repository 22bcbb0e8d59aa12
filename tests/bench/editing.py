"""Measure edits of images against crane: `python -m tests.bench.editing`.

Prints one markdown table. Needs docker-registry and crane, and some gigabytes in the work folder.
Of two commands on a busy machine the seconds of CPU are the steady figure: both are shown.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from tests.bench.measure import Series, Work, alternate, built_elsewhere, run
from tests.support.docker_registry import DockerRegistry, running_registry

_MEGABYTE = 1_000_000
_FILE = 24_000
_FOLDERS = 250
_MEMORY_LIMIT = 100 * _MEGABYTE
_SENT_LIMIT = 100_000
Command = Callable[[], list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    work: str
    crane: str
    ours: str
    ratio: str
    target: str


def write_tree(path: str, size: int, every: int = 1) -> None:
    """Write a tar of files, half random and half text; with `every` new ones for some of them.

    Of these, every other one is deleted instead.
    """
    noise = random.Random(size)
    with tarfile.open(path, "w") as tar:
        for number in range(0, size // _FILE, every):
            name = f"srv/{number % _FOLDERS}/{number}"
            if every > 1 and number % (2 * every):
                folder, _, leaf = name.rpartition("/")
                tar.addfile(tarfile.TarInfo(f"{folder}/.wh.{leaf}"))
                continue
            text = f"lorem ipsum {number} dolor\n".encode()
            data = noise.randbytes(_FILE // 2) + text * (_FILE // 2 // len(text))
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, BytesIO(data))


class Bench:
    """A registry with images, and what is measured there."""

    def __init__(self, folder: Path, registry: DockerRegistry, rounds: int, size: int) -> None:
        self.folder = folder
        self.host = registry.host
        self.rounds = rounds
        self.size = size
        self.peak = 0
        self._count = 0

    def prepare(self) -> None:
        """Put a base, an image of two layers and a large one into the registry."""
        self.big, self.change = self.folder / "big.tar", self.folder / "change.tar"
        built_elsewhere(write_tree, str(self.big), self.size * _MEGABYTE)
        built_elsewhere(write_tree, str(self.change), self.size * _MEGABYTE, 5)
        run(self.ours("load", "fixtures/docker20-app-single.tar"))
        run(self.ours("push", "fmt/app:1.0", f"{self.host}/app:base"))
        source, target = f"docker://{self.host}/app", f"docker://{self.host}/app"
        layers = (str(self.big), str(self.change))
        run(self.ours("append", f"{source}:base", *layers, "-t", f"{target}:layers"))

    def ours(self, *words: str) -> list[str]:
        """Return a command of ours."""
        script = os.path.join(os.path.dirname(sys.executable), "ocitool")
        start = [script] if os.access(script, os.X_OK) else [sys.executable, "-m", "ocitool"]
        return [*start, "--store", str(self.folder / "store"), "--progress", "none", *words]

    def fresh(self) -> str:
        """Return a name in a repository that does not exist yet."""
        self._count += 1
        return f"{self.host}/fresh{self._count}:1"

    def rows(self) -> Iterator[Row]:
        """Measure everything."""
        yield from self._set()
        base, big = f"{self.host}/app:base", str(self.big)
        yield self._against(
            f"append a layer of {self.size} MB",
            lambda: ["crane", "append", "-b", base, "-f", big, "-t", self.fresh()],
            lambda: self.ours("append", f"docker://{base}", big, "-t", f"docker://{self.fresh()}"),
            "at least as quick",
        )
        layers = f"{self.host}/app:layers"
        yield self._against(
            "flatten that image and one that changes a fifth of it",
            lambda: ["crane", "flatten", layers, "-t", self.fresh()],
            lambda: self.ours("flatten", f"docker://{layers}", "-t", f"docker://{self.fresh()}"),
            "1.5 times as quick",
        )
        yield Row(
            work="peak memory of ours, all of these",
            crane="",
            ours=f"{self.peak / _MEGABYTE:.0f} MB",
            ratio="",
            target="at most 100 MB" if self.peak <= _MEMORY_LIMIT else "missed: at most 100 MB",
        )

    def _set(self) -> Iterator[Row]:
        source = f"{self.host}/app:layers"
        words = ("set", f"docker://{source}", "--label", "a=b", "-t", f"docker://{source}-set")
        report = json.loads(
            subprocess.run(self.ours(*words, "--json"), capture_output=True, check=True).stdout
        )
        sent = report["delivered"][0]["sent_bytes"]
        yield Row(
            work="bytes sent for a label",
            crane="",
            ours=f"{sent} B",
            ratio="",
            target="below 100 kB" if sent < _SENT_LIMIT else "missed: below 100 kB",
        )
        target = f"{source}-label"
        yield self._against(
            "a label on that image",
            lambda: ["crane", "mutate", "-l", f"n={self.fresh()}", source, "-t", target],
            lambda: self.ours(
                *("set", f"docker://{source}", "--label", f"n={self.fresh()}"),
                *("-t", f"docker://{target}"),
            ),
            "below 1 s",
        )

    def _against(self, work: str, crane: Command, ours: Command, target: str) -> Row:
        theirs, own = Series(), Series()
        for _ in range(self.rounds):
            one, two = alternate([Work(command=crane()), Work(command=ours())], 1)
            theirs.runs += one.runs
            own.runs += two.runs
        self.peak = max(self.peak, own.peak)
        return Row(
            work=work,
            crane=_shown(theirs),
            ours=_shown(own),
            ratio=f"{theirs.median / own.median:.2f}, CPU {theirs.cpu / own.cpu:.2f}",
            target=target,
        )


def _shown(series: Series) -> str:
    return f"{series.median:.2f} s, CPU {series.cpu:.2f} s"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default=None, help="where to work")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=600, metavar="MB", help="size of the layer")
    options = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(dir=options.folder) as name,
        running_registry(Path(name) / "registry") as registry,
    ):
        bench = Bench(Path(name), registry, options.rounds, options.size)
        bench.prepare()
        print("| work | crane | ocitool | crane / ocitool | target |")
        print("| --- | --- | --- | --- | --- |")
        for row in bench.rows():
            print(f"| {row.work} | {row.crane} | {row.ours} | {row.ratio} | {row.target} |")


if __name__ == "__main__":
    main()
