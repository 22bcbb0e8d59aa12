"""Measure registry transfers against crane and skopeo: `python -m tests.bench.registries`.

Prints one markdown table. Needs docker-registry, crane, skopeo and openssl, and about six
gigabytes in the work folder. All servers listen on this machine alone and end with the run.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.image import build_image, build_many, build_random
from tests.bench.measure import CommandFailed, Series, Work, alternate, run
from tests.support.docker_registry import DockerRegistry, running_registry

_MEGABYTE = 1_000_000
_LARGE = "bench/large:1"
_PACKED = "bench/packed:1"
_SMALL_IMAGES = 100
_SLOW = 20 * _MEGABYTE
_SLOW_BLOB = 500 * _MEGABYTE
_MEMORY_LIMIT = 120 * _MEGABYTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    work: str
    peers: str
    ours: str
    result: str
    target: str
    met: bool


class Bench:
    """The registry, the stores and the images of one run."""

    def __init__(self, folder: Path, registry: DockerRegistry, rounds: int) -> None:
        self.folder = folder
        self.registry = registry
        self.rounds = rounds
        self.peak = 0
        self._count = 0

    def name(self, image: str) -> str:
        """Return the image's name in the registry."""
        return f"{self.registry.host}/{image}"

    def fresh(self, what: str) -> str:
        """Return a name in a repository that does not exist yet."""
        self._count += 1
        return f"{self.registry.host}/fresh/{what}{self._count}:1"

    def prepare(self) -> None:
        """Build the images and put them into the registry."""
        large, self.plain = self.folder / "large.tar", self.folder / "plain.tar"
        build_random(str(large), self.name(_LARGE), layers=5, size=220 * _MEGABYTE)
        build_image(str(self.plain), 550 * _MEGABYTE)
        self.ours("load", "--compression", "none", str(large))
        large.unlink()
        self.ours("push", self.name(_LARGE))
        self.ours("load", "--tag", self.name(_PACKED), str(self.plain))
        self.layout = self.folder / "layout"
        self.ours("copy", self.name(_PACKED), f"oci:{self.layout}:1")

    def ours(self, *words: str) -> None:
        """Run a command of ours that is not measured."""
        run(self.command(*words))

    def command(self, *words: str, store: str = "store") -> list[str]:
        """Return a command of ours."""
        script = os.path.join(os.path.dirname(sys.executable), "ocitool")
        start = [script] if os.access(script, os.X_OK) else [sys.executable, "-m", "ocitool"]
        return [*start, "--store", str(self.folder / store), "--progress", "none", *words]

    def measured(self, works: Sequence[Work]) -> list[Series]:
        """Measure peers and, last, a command of ours."""
        found = alternate(works, self.rounds)
        self.peak = max(self.peak, found[-1].peak)
        return found

    def rows(self) -> Iterator[Row]:
        """Measure everything."""
        yield from self._pull()
        yield from self._push()
        yield from self._slow()
        yield from self._again()
        yield from self._many()
        yield Row(
            work="peak memory of ours, all of these",
            peers="",
            ours=f"{self.peak / _MEGABYTE:.0f} MB",
            result="",
            target="at most 120 MB",
            met=self.peak <= _MEMORY_LIMIT,
        )

    def _pull(self) -> Iterator[Row]:
        crane, skopeo, ours = self.measured(self._pulls(self.name(_LARGE)))
        ratio, other = crane.median / ours.median, skopeo.median / ours.median
        yield Row(
            work="pull of 1.1 GB in 5 layers into a layout",
            peers=f"crane {_seconds(crane)}, skopeo {_seconds(skopeo)}",
            ours=_seconds(ours),
            result=f"{ratio:.2f} of crane's speed, {other:.1f} times skopeo's",
            target="at least 0.95 and 2.5",
            met=ratio >= 0.95 and other >= 2.5,
        )

    def _pulls(self, name: str) -> list[Work]:
        crane, skopeo = str(self.folder / "crane"), str(self.folder / "skopeo")
        pulled = str(self.folder / "pulled")
        return [
            Work(
                command=["crane", "pull", "--format=oci", name, crane],
                prepare=partial(_remove, crane),
            ),
            Work(
                command=[*_skopeo(), "--src-tls-verify=false", f"docker://{name}", f"oci:{skopeo}"],
                prepare=partial(_remove, skopeo),
            ),
            Work(
                command=self.command("pull", name, store="pulled"),
                prepare=partial(_remove, pulled),
            ),
        ]

    def pull_by_tls(self, secure: DockerRegistry) -> Iterator[Row]:
        """Measure the same over TLS, from another registry."""
        name = f"{secure.host}/{_LARGE}"
        keys = ["--ca-cert", str(secure.ca)]
        self.ours("push", self.name(_LARGE), name, *keys)
        crane, pulled = str(self.folder / "crane"), str(self.folder / "pulled")
        os.environ["SSL_CERT_FILE"] = str(secure.ca)
        try:
            peer, ours = self.measured(
                [
                    Work(
                        command=["crane", "pull", "--format=oci", name, crane],
                        prepare=partial(_remove, crane),
                    ),
                    Work(
                        command=self.command("pull", name, *keys, store="pulled"),
                        prepare=partial(_remove, pulled),
                    ),
                ]
            )
        finally:
            del os.environ["SSL_CERT_FILE"]
        ratio = peer.median / ours.median
        yield Row(
            work="the same over TLS",
            peers=f"crane {_seconds(peer)}",
            ours=_seconds(ours),
            result=f"{ratio:.2f} of crane's speed",
            target="at least 0.8",
            met=ratio >= 0.8,
        )

    def _push(self) -> Iterator[Row]:
        crane = _Fresh(self, "crane", ["crane", "push", str(self.layout)])
        ours = _Fresh(self, "ours", self.command("push", self.name(_PACKED)))
        peer, mine = self._in_turns(crane, ours)
        ratio = peer.median / mine.median
        yield Row(
            work=f"push of {_megabytes(self.layout)} MB in 5 layers from a layout",
            peers=f"crane {_seconds(peer)}",
            ours=_seconds(mine),
            result=f"{ratio:.2f} of crane's speed",
            target="at least 0.9",
            met=ratio >= 0.9,
        )
        crane = _Fresh(self, "crane", ["crane", "push", str(self.plain)])
        ours = _Fresh(self, "ours", self.command("push", str(self.plain)))
        peer, mine = self._in_turns(crane, ours)
        ratio = peer.median / mine.median
        yield Row(
            work=f"push of a `docker save` tar with {_megabytes(self.plain)} MB of plain layers",
            peers=f"crane {_seconds(peer)}",
            ours=_seconds(mine),
            result=f"{ratio:.1f} times faster",
            target="at least 6 times faster",
            met=ratio >= 6,
        )

    def _in_turns(self, *pushes: "_Fresh") -> list[Series]:
        series = [Series() for _ in pushes]
        for _ in range(self.rounds):
            for push, runs in zip(pushes, series, strict=True):
                os.sync()
                self._forget_mounts()
                runs.runs.append(run([*push.command, self.fresh(push.what)]))
        self.peak = max(self.peak, series[-1].peak)
        return series

    def _forget_mounts(self) -> None:
        """Let the next push send every blob, instead of mounting what an earlier one sent."""
        cache = self.folder / "store" / ".ocitool" / "cache"
        (cache / "blobs-in-registries.jsonl").unlink(missing_ok=True)

    def _slow(self) -> Iterator[Row]:
        with _server(_SLOW_BLOB, _SLOW) as host:
            name, pulled = f"{host}/slow/image:1", str(self.folder / "pulled")
            crane = str(self.folder / "crane")
            peer, ours = alternate(
                [
                    Work(
                        command=["crane", "pull", "--format=oci", name, crane],
                        prepare=partial(_remove, crane),
                    ),
                    Work(
                        command=self.command("pull", name, "--plain-http", store="pulled"),
                        prepare=partial(_remove, pulled),
                    ),
                ],
                1,
            )
        self.peak = max(self.peak, ours.peak)
        yield Row(
            work="pull of one 500 MB layer at 20 MB/s a connection",
            peers=f"crane {_seconds(peer)}",
            ours=_seconds(ours),
            result=f"{peer.median / ours.median:.1f} times faster",
            target="at most 8 s",
            met=ours.median <= 8,
        )

    def _again(self) -> Iterator[Row]:
        name = self.name(_LARGE)
        self.ours("pull", name)
        pull, push = self.measured(
            [Work(command=self.command("pull", name)), Work(command=self.command("push", name))]
        )
        for what, series in (("pull", pull), ("push", push)):
            yield Row(
                work=f"{what} again, nothing changed",
                peers="",
                ours=_seconds(series),
                result="",
                target="under 0.6 s",
                met=series.median < 0.6,
            )

    def _many(self) -> Iterator[Row]:
        archive = self.folder / "many.tar"
        names = build_many(str(archive), _SMALL_IMAGES, prefix=f"{self.registry.host}/many/")
        self.ours("load", str(archive))
        for name in names:
            self.ours("push", name)
        crane, pulled = str(self.folder / "crane"), str(self.folder / "pulled")
        loop = f'for n in {" ".join(names)}; do crane pull --format=oci "$n" {crane}; done'
        peer, ours = self.measured(
            [
                Work(command=["sh", "-c", loop], prepare=partial(_remove, crane)),
                Work(
                    command=self.command("pull", *names, store="pulled"),
                    prepare=partial(_remove, pulled),
                ),
            ]
        )
        ratio = peer.median / ours.median
        yield Row(
            work=f"pull of {_SMALL_IMAGES} small images that share layers",
            peers=f"crane in a loop {_seconds(peer)}",
            ours=_seconds(ours),
            result=f"{ratio:.1f} times faster",
            target="at least as fast",
            met=ratio >= 1,
        )


@dataclass(frozen=True, slots=True)
class _Fresh:
    """A push whose last word is a name that nobody has used."""

    bench: Bench
    what: str
    command: list[str]


@contextlib.contextmanager
def _server(size: int, speed: int) -> Iterator[str]:
    words = [sys.executable, "-m", "tests.bench.slow_server", str(size), str(speed)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        try:
            assert one.stdout is not None
            yield one.stdout.readline().strip()
        finally:
            one.kill()


def main() -> int:
    """Start the registries, measure, print the table. 1 when a target was missed."""
    options = _arguments()
    missing = [tool for tool in ("crane", "skopeo", "docker-registry") if not shutil.which(tool)]
    if missing:
        print(f"needs {', '.join(missing)}", file=sys.stderr)
        return 2
    with contextlib.ExitStack() as stack:
        folder = Path(options.work_dir or stack.enter_context(tempfile.TemporaryDirectory()))
        registry = stack.enter_context(running_registry(folder / "plain"))
        bench = Bench(folder, registry, options.rounds)
        bench.prepare()
        print("| work | peers: min / median | ocitool: min / median | result | target | met |")
        print("| --- | --- | --- | --- | --- | --- |")
        missed = 0
        try:
            serving = running_registry(folder / "secure", "tls", ask_clients=False)
            secure = stack.enter_context(serving)
            for row in (*bench.pull_by_tls(secure), *bench.rows()):
                met = "yes" if row.met else "**no**"
                cells = (row.work, row.peers, row.ours, row.result, row.target, met)
                print(f"| {' | '.join(cells)} |", flush=True)
                missed += not row.met
        except CommandFailed as error:
            print(error, file=sys.stderr)
            return 2
    return 1 if missed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.registries", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each command (5)")
    parser.add_argument("--work-dir", help="folder for images and results (temporary)")
    return parser.parse_args()


def _skopeo() -> list[str]:
    return ["skopeo", "--insecure-policy", "copy", "--quiet"]


def _seconds(series: Series) -> str:
    return f"{series.minimum:.2f} / {series.median:.2f} s"


def _megabytes(path: Path) -> int:
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return round(sum(one.stat().st_size for one in files) / _MEGABYTE)


def _remove(path: str) -> None:
    shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
