"""Count what `ocitool sync` asks and sends for each image: `python -m tests.bench.mirroring`.

Two registries in this process, repositories with images of ten layers, real commands. Requests and
bytes are exact, and do not depend on the size of the layers; times are those of one client here.
"""

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.bench.measure import run
from tests.support.images import Built, build_artifact, build_image
from tests.support.registry import EmulatedRegistry, Quirks

_LAYERS, _BYTES = 10, 20_000
_BASE = [{f"base{n}": random.Random(n).randbytes(_BYTES)} for n in range(_LAYERS - 1)]


def image(name: str, state: int) -> Built:
    """Return an image of which the last layer is of its own state."""
    own = random.Random(f"{name} {state}").randbytes(_BYTES)
    return build_image([*_BASE, {"code": own}])


class Bench:
    """A source and a target, and the commands between them."""

    def __init__(self, folder: Path, source: EmulatedRegistry, target: EmulatedRegistry) -> None:
        self.folder, self.source, self.target = folder, source, target
        (folder / "sync.yaml").write_text(
            f"sync:\n- source: {source.host}\n  target: {target.host}/m\n  type: registry\n"
        )
        (folder / "attached.yaml").write_text(
            f"sync:\n- source: {source.host}\n  target: {target.host}/m\n  type: registry\n"
            "  referrers: true\n"
        )

    def run(self, what: str, images: int, *words: str) -> str:
        """Run a command; return a row with what it asked and sent for each image."""
        before = [len(one.log) for one in (self.source, self.target)]
        began, cpu = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "ocitool", "--store", str(self.folder / "store"), "sync"]
        subprocess.run([*command, *words], cwd=self.folder, check=True, capture_output=True)
        seconds = time.monotonic() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        busy = used.ru_utime + used.ru_stime - cpu.ru_utime - cpu.ru_stime
        logs = [one.log[n:] for one, n in zip((self.source, self.target), before, strict=True)]
        asked = [Counter(entry.method for entry in log) for log in logs]
        sent = sum(entry.received_bytes for entry in logs[1])
        cells = (
            what,
            str(images),
            _each(asked[0], images),
            _each(asked[1], images),
            f"{sent / images:,.0f}",
            f"{seconds:.1f} s ({busy:.1f} CPU-s)",
        )
        return f"| {' | '.join(cells)} |"


def _each(asked: Counter[str], images: int) -> str:
    total = sum(asked.values())
    if not total:
        return "0"
    parts = ", ".join(f"{count / images:.2f} {method}" for method, count in sorted(asked.items()))
    return f"{total / images:.2f} ({parts})"


def measure(repositories: int, tags: int) -> list[str]:
    """Return the rows of the table."""
    names = {f"app{n}": [f"{tag}.0" for tag in range(tags)] for n in range(repositories)}
    count = repositories * tags
    with (
        tempfile.TemporaryDirectory() as folder,
        EmulatedRegistry() as source,
        EmulatedRegistry(Quirks(referrers="404")) as target,
    ):
        bench = Bench(Path(folder), source, target)
        for name, listed in names.items():
            for tag in listed:
                source.add_image(name, image(f"{name}:{tag}", 1), tag)
        rows = [bench.run("plan", count, "sync.yaml", "--plan-out", "plan")]
        rows.append(bench.run("first copy", count, "--plan", "plan"))
        rows.append(bench.run("nothing changed", count, "--plan", "plan"))
        for name in names:
            changed = image(f"{name}:0.0", 2)
            source.add_image(name, changed, "0.0")
        bench.run("plan", count, "sync.yaml", "--plan-out", "plan")
        rows.append(
            bench.run(
                "one layer changed in one tag a repository",
                repositories,
                "--plan",
                _only(bench, "plan"),
            )
        )
        for name in names:
            found = image(f"{name}:0.0", 2)
            source.add_image(name, build_artifact(found.descriptor, name.encode()))
        rows.append(
            bench.run("plan with referrers", count, "attached.yaml", "--plan-out", "attached")
        )
        rows.append(bench.run("a signature each", repositories, "--plan", _only(bench, "attached")))
        rows.append(
            bench.run("the same, nothing changed", repositories, "--plan", _only(bench, "attached"))
        )
    return rows


def measure_many(images: int) -> str:
    """Return what a plan of many images costs that are all there, in words."""
    with (
        tempfile.TemporaryDirectory() as folder,
        EmulatedRegistry() as source,
        EmulatedRegistry() as target,
    ):
        bench = Bench(Path(folder), source, target)
        built = build_image([{"a": b"1"}])
        for number in range(images):
            name, tag = f"app{number // 10}", f"{number % 10}.0"
            source.add_image(name, built, tag)
            target.add_image(f"m/{name}", built, tag)
        command = [sys.executable, "-m", "ocitool", "--store", f"{folder}/store", "sync"]
        usages = []
        for words in (("sync.yaml", "--plan-out", "plan"), ("--plan", "plan")):
            # The working folder of a command that is measured is this one's.
            paths = [f"{bench.folder}/{word}" if word[0] != "-" else word for word in words]
            usages.append(run([*command, *paths]))
        return "; ".join(
            f"{what} of {images} images: {usage.seconds:.1f} s ({usage.cpu_seconds:.1f} CPU-s), "
            f"{usage.peak_bytes / 1e6:.0f} MB"
            for what, usage in zip(("plan", "repetition"), usages, strict=True)
        )


def _only(bench: Bench, plan: str) -> str:
    """Return a plan of the images that have changed."""
    lines = (bench.folder / plan).read_text().splitlines(keepends=True)
    part = [line for line in lines if '"tag":"0.0"' in line]
    (bench.folder / f"{plan}-part").write_text("".join(part))
    return f"{plan}-part"


def main(words: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repositories", type=int, default=50)
    parser.add_argument("--tags", type=int, default=4)
    parser.add_argument("--many", type=int, default=10_000)
    chosen = parser.parse_args(words)
    print("| work | images | source requests | target requests | bytes sent | time |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in measure(chosen.repositories, chosen.tags):
        print(row)
    print(f"\n{measure_many(chosen.many)}")


if __name__ == "__main__":
    main()
