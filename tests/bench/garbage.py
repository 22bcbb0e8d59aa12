"""Measure gc, images and tag on a large store, against umoci: `python -m tests.bench.garbage`.

Prints one markdown table: seconds at a tenth of the images and at all of them, and the ratio to
umoci's gc on a layout with the same blobs. Needs umoci for that row.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.measure import Series, Usage, Work, alternate, run

LAYERS = 8
CONTAINERS = 1000
GROWTH = 12.5
"""Times as long for ten times as many images: more would not be linear."""
_OCI = "application/vnd.oci.image"
_NAMELESS = 10


def build(folder: Path, images: int, *, loose: bool = False) -> None:
    """Write a store of images with ten blobs each; every tenth has lost its name.

    With `loose` it is a layout of no tool in particular, and no entry leads to every tenth image.
    """
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    entries, lost = [], []
    for number in range(images):
        descriptor = _image(blobs, number)
        name = f"docker.io/team/app-{number % 100}:{number}"
        if number % _NAMELESS:
            both = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
            entries.append({**descriptor, "annotations": dict.fromkeys(both, name)})
        elif not loose:
            entries.append(descriptor)
            lost.append(_line(name, str(descriptor["digest"])))
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    if not loose:
        (folder / ".ocitool").mkdir()
        (folder / ".ocitool" / "store.json").write_text('{"version":1}\n')
        (folder / ".ocitool" / "reflog").write_text("".join(lost))


def _image(blobs: Path, number: int) -> dict[str, object]:
    layers = [
        _put(blobs, f"layer {number} {layer}".encode(), f"{_OCI}.layer.v1.tar+gzip")
        for layer in range(LAYERS)
    ]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "config": {"Env": ["PATH=/usr/bin"], "Labels": {"number": str(number)}},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.manifest.v1+json",
        "config": _put(blobs, json.dumps(config).encode(), f"{_OCI}.config.v1+json"),
        "layers": layers,
    }
    return _put(blobs, json.dumps(manifest).encode(), f"{_OCI}.manifest.v1+json")


def _put(blobs: Path, data: bytes, media_type: str) -> dict[str, object]:
    name = hashlib.sha256(data).hexdigest()
    (blobs / name).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{name}", "size": len(data)}


def _line(name: str, digest: str) -> str:
    return (
        json.dumps({"time": "2025-01-01T00:00:00Z", "name": name, "old": digest, "new": None})
        + "\n"
    )


def list_containers(folder: Path, listing: Path, count: int) -> None:
    """Write what `docker inspect` says of containers, each on an image of its own."""
    entries = json.loads((folder / "index.json").read_bytes())["manifests"]
    step = max(1, len(entries) // count)
    listing.write_text(
        json.dumps(
            [
                {
                    "Id": f"{number:064x}",
                    "Name": f"/c{number}",
                    "Image": entries[number * step % len(entries)]["digest"],
                    "Config": {"Image": entries[number * step % len(entries)]["digest"]},
                    "State": {"Status": "exited"},
                }
                for number in range(count)
            ]
        )
    )


class Bench:
    """One size of store, and the commands that are measured on it."""

    def __init__(self, folder: Path, images: int, rounds: int) -> None:
        self.folder = folder / str(images)
        self.rounds = rounds
        self.store = self.folder / "store"
        build(self.store, images)
        self._listing = self.folder / "containers.json"
        list_containers(self.store, self._listing, min(CONTAINERS, images // 10))
        self._loose = self.folder / "loose"
        build(self._loose, images, loose=True)

    def _ours(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "ocitool", "--store", str(self.store), *arguments]

    def _forget(self) -> None:
        shutil.rmtree(self.store / ".ocitool" / "cache", ignore_errors=True)

    def works(self) -> dict[str, Work]:
        """Return what is measured, by its name."""
        dry = ("gc", "--dry-run", "-q", "--containers", f"docker:{self._listing}")
        return {
            "images, without the cache": Work(command=self._ours("images"), prepare=self._forget),
            "images": Work(command=self._ours("images")),
            "gc --dry-run": Work(command=self._ours(*dry)),
            "tag": Work(command=self._ours("tag", "team/app-1:1", "new:1")),
        }

    def measured(self) -> dict[str, Series]:
        """Measure each command some times."""
        return {name: alternate([work], self.rounds)[0] for name, work in self.works().items()}

    def against_umoci(self) -> tuple[Series, Series]:
        """Measure our gc and umoci's on the same loose blobs, in turns."""
        ours, theirs = self.folder / "ours", self.folder / "umoci"
        collect = [*("gc", f"oci:{ours}", "-f", "-q"), *("--grace", "0", "--containers", "none")]
        return tuple(  # type: ignore[return-value]
            alternate(
                [
                    Work(command=self._ours(*collect), prepare=lambda: self._fresh(ours)),
                    Work(
                        command=["umoci", "gc", "--layout", str(theirs)],
                        prepare=lambda: self._fresh(theirs),
                    ),
                ],
                self.rounds,
            )
        )

    def _fresh(self, copy: Path) -> None:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self._loose, copy)


LIMITS = {
    "images, without the cache": 3.0,
    "images": 1.0,
    "gc --dry-run": 4.0,
    "tag": 0.3,
}
_MEMORY = 150_000_000


def rows(small: Bench, large: Bench) -> Iterator[str]:
    """Yield the lines of the table."""
    few, many = small.measured(), large.measured()
    for name, limit in LIMITS.items():
        growth = many[name].minimum / few[name].minimum
        peak = max(series.peak for series in (few[name], many[name]))
        met = many[name].median <= limit and growth <= GROWTH and peak <= _MEMORY
        yield (
            f"| `{name}` | {few[name].median:.2f} s | {many[name].median:.2f} s "
            f"({many[name].cpu:.2f} CPU-s) | {growth:.1f} times | {peak / 1e6:.0f} MB "
            f"| at most {limit} s, {GROWTH} times, 150 MB | {'yes' if met else 'no'} |"
        )
    if shutil.which("umoci") is None:
        return
    few_ours, few_theirs = small.against_umoci()
    ours, theirs = large.against_umoci()
    ratio = theirs.median / ours.median
    yield (
        f"| `gc` of a layout | {few_ours.median:.2f} s (umoci {few_theirs.median:.2f}) "
        f"| {ours.median:.2f} s (umoci {theirs.median:.2f}) "
        f"| {ratio:.1f} times faster than umoci | {ours.peak / 1e6:.0f} MB "
        f"| 3 times faster, 150 MB | {'yes' if ratio >= 3 and ours.peak <= _MEMORY else 'no'} |"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.garbage", description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="where to work; by default a temporary folder")
    options = parser.parse_args(arguments)
    os.environ.pop("OCITOOL_STORE", None)
    # Loaded once, so that bytecode is there and the first run is like the others.
    _: Usage = run([sys.executable, "-m", "ocitool", "--version"])
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        small = Bench(Path(folder), options.images // 10, options.rounds)
        large = Bench(Path(folder), options.images, options.rounds)
        print(
            f"| command | {options.images // 10:,} images | {options.images:,} images "
            "| growth | peak | target | met |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for line in rows(small, large):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
