"""Measure what containers change against docker: `python -m tests.bench.containers`.

Prints one markdown table. Needs root, dockerd, runc and busybox (static). Docker's work is done by
its daemon, so that only the time on the clock can be compared.
"""

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measure import Series, Work, alternate, built_elsewhere, run
from tests.interop.peers import Docker
from tests.support.images import build_image, docker_archive, oci_archive
from tests.support.root_files import Node, folder, layer_of, link, program

NAME = "bench.example/many:1"
_FOLDERS, _FILES = 250, 100
_CHANGED_FOLDERS = 1000
_FEW = "echo new > /d1/f1; echo x > /d2/new; /bin/busybox rm /d3/f3"
_MUCH = (
    "/bin/busybox dd if=/dev/urandom of=/random bs=1M count=100 2>/dev/null; "
    "while read n; do /bin/busybox cat /bin/busybox >> /text; done < /fifty"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; `met` is None where there is no target."""

    work: str
    ours: Series
    peer: Series | None
    target: str
    met: bool | None


def build(folder_path: str) -> None:
    """Write the image as archives for docker and for us."""
    busybox = Path(shutil.which("busybox") or "busybox").read_bytes()
    nodes = [folder("bin"), program("bin/busybox", busybox), link("bin/sh", "busybox")]
    nodes.append(Node(path="fifty", data=b"x\n" * 50))
    for number in range(_FOLDERS):
        nodes.append(folder(f"d{number}"))
        nodes += [
            Node(path=f"d{number}/f{inner}", data=b"%d-%d\n" % (number, inner) * 40)
            for inner in range(_FILES)
        ]
    image = build_image([layer_of(*nodes)], config={"config": {"Cmd": ["/bin/sh"]}})
    Path(folder_path, "docker.tar").write_bytes(docker_archive({NAME: image}))
    Path(folder_path, "oci.tar").write_bytes(oci_archive({NAME: image}))


class Bench:
    """An engine and a store with the same image and the same containers."""

    def __init__(self, place: Path, docker: Docker, rounds: int) -> None:
        self._place = place
        self._docker = docker
        self._rounds = rounds
        built_elsewhere(build, str(place))
        docker.run("load", "-qi", str(place / "docker.tar"))
        run(self._ours("load", "-q", str(place / "oci.tar")))

    def rows(self) -> Iterator[Row]:
        """Measure everything."""
        self._container("few", _FEW)
        self._container("much", _MUCH)
        yield self._race("diff of 3 changes in 25,000 files", "diff", "few")
        yield self._commit("commit of 3 changes in 25,000 files", "few", "at most 1.3 s", 1.3)
        yield self._commit("commit of 200 MB", "much", "docker's speed", None)
        yield self._race("export of 25,000 files to a pipe", "export", "few")
        upper = self._upper("few")
        for number in range(_CHANGED_FOLDERS):
            inner = upper / f"n{number}"
            inner.mkdir()
            for name in range(100):
                os.close(os.open(inner / f"file{name}", os.O_CREAT | os.O_WRONLY))
        (series,) = alternate([Work(command=self._ours("container", "diff", "few"))], self._rounds)
        met = series.median <= 2 and series.peak <= 100_000_000
        work = "diff of 100,000 new files"
        yield Row(work=work, ours=series, peer=None, target="2 s, 100 MB", met=met)
        command = self._ours("container", "commit", "few", "many:3")
        (series,) = alternate([Work(command=command)], self._rounds)
        met = series.peak <= 100_000_000
        yield Row(
            work="commit of 100,000 new files", ours=series, peer=None, target="100 MB", met=met
        )

    def _container(self, name: str, script: str) -> None:
        words = ("--name", name, "--network", "none", NAME, "sh", "-c", script)
        self._docker.run("create", *words)
        self._docker.run("start", "-a", name)
        run(self._ours("container", "create", "--name", name, NAME, "sh", "-c", script))
        bundle = str(self._upper(name).parent)
        run(["runc", "--root", str(self._place / "runc"), "run", "-b", bundle, f"bench-{name}"])

    def _upper(self, name: str) -> Path:
        for record in (self._place / "store/.ocitool/containers").iterdir():
            found = json.loads(record.read_bytes())
            if found["name"] == name:
                return Path(found["bundle"]) / "upper"
        raise LookupError(name)

    def _race(self, work: str, verb: str, name: str) -> Row:
        ours = _quiet(self._ours("container", verb, name))
        theirs = _quiet(self._docker.command(verb, name))
        series = alternate([Work(command=ours), Work(command=theirs)], self._rounds)
        met = series[0].median <= series[1].median
        return Row(work=work, ours=series[0], peer=series[1], target="docker's speed", met=met)

    def _commit(self, work: str, name: str, target: str, most: float | None) -> Row:
        ours = Work(command=self._ours("container", "commit", name, "kept:1"), prepare=self._forget)
        theirs = Work(command=self._docker.command("commit", name, "kept:1"))
        series = alternate([ours, theirs], self._rounds)
        met = series[0].median <= (series[1].median if most is None else most)
        return Row(work=work, ours=series[0], peer=series[1], target=target, met=met)

    def _forget(self) -> None:
        """Remove an earlier result, whose layer would only be hashed again."""
        remove = " ".join(self._ours("rm", "-f", "kept:1"))
        run(["sh", "-c", f"{remove} 2>/dev/null || true"])
        run(self._ours("gc", "-f", "--containers", "none"))
        run(self._ours("gc", "-f", "--purge"))

    def _ours(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "ocitool", "--store", str(self._place / "store"), *arguments]


def _quiet(command: Sequence[str]) -> list[str]:
    return ["sh", "-c", f"{' '.join(command)} > /dev/null"]


def lines(rows: Iterator[Row]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| work | docker 20.10: median | ocitool: median, CPU, peak | target | met |"
    yield "| --- | --- | --- | --- | --- |"
    for row in rows:
        peer = "" if row.peer is None else f"{row.peer.median:.2f} s"
        ours = f"{row.ours.median:.2f} s, {row.ours.cpu:.2f} s, {row.ours.peak / 1e6:.0f} MB"
        met = "" if row.met is None else "yes" if row.met else "**no**"
        yield f"| {row.work} | {peer} | {ours} | {row.target} | {met} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.containers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        # A unix socket's path has at most 107 bytes.
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="oc", dir="/var/tmp")))
        (place / "d").mkdir()
        docker = stack.enter_context(Docker(place / "d").running())
        for line in lines(Bench(place, docker, options.rounds).rows()):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
