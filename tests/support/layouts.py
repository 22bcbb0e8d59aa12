"""Layouts filled through their own writer, and programs that use one in another process."""

import contextlib
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ocitool
from ocitool.image.content import Blob
from ocitool.oci import Descriptor
from ocitool.places.layout import Layout, Writing
from tests.support.images import Built, BuiltImage, build_image

ROOT = Path(ocitool.__file__).parent.parent
A = "docker.io/library/a:1"
B = "docker.io/library/b:1"
C = "docker.io/library/c:1"


def image(text: str, **options: Any) -> BuiltImage:
    """Build a small image that differs from those of other texts."""
    return build_image([{"text": text.encode()}], **options)


def blob_of(descriptor: Descriptor, data: bytes) -> Blob:
    """Return bytes as a blob that verifies itself."""
    return Blob.of(descriptor, data, where="the test")


def described(built: Built) -> dict[Descriptor, bytes]:
    """Return what is under a root with its bytes; the media type of anything but the root is lost.

    The root comes last.
    """
    parts = {
        Descriptor(media_type="application/octet-stream", digest=digest, size=len(data)): data
        for digest, data in built.blobs.items()
        if digest != built.descriptor.digest
    }
    parts[built.descriptor] = built.blobs[built.descriptor.digest]
    return parts


def store_blobs(writing: Writing, built: Built) -> None:
    """Announce and store everything under a root, the root last."""
    parts = described(built)
    writing.announce(list(parts))
    for descriptor, data in parts.items():
        writing.put(descriptor, lambda d=descriptor, b=data: blob_of(d, b))  # type: ignore[misc]


def bring(layout: Layout, built: Built, *names: str) -> Writing:
    """Store an image under these names, or without one; return the writing that did."""
    with Writing(layout) as writing:
        store_blobs(writing, built)
        writing.root(built.descriptor, names)
    return writing


@contextlib.contextmanager
def store(path: Path, **images: Built) -> Iterator[Layout]:
    """Open a store, made when absent; the images get the names docker.io/library/KEYWORD:1."""
    with Layout.create(str(path), store=True) as layout:
        for name, built in images.items():
            bring(layout, built, f"docker.io/library/{name}:1")
        yield layout


def names_of(layout: Layout) -> dict[str, str]:
    """Return the digest behind every full name."""
    return {name: str(root.descriptor.digest) for root in layout.roots() for name in root.names}


def entries(path: Path) -> list[dict[str, Any]]:
    """Return the entries of an index.json as they are on the disk."""
    found: list[dict[str, Any]] = json.loads((path / "index.json").read_bytes())["manifests"]
    return found


def tag_as_umoci(path: Path, name: str, tag: str) -> None:
    """Give an image of a layout a tag as `umoci tag` does: a copy of its entry, one annotation new.

    The name of containerd, which umoci does not know, stays in the copy.
    """
    document = json.loads((path / "index.json").read_bytes())
    entry = next(e for e in document["manifests"] if name in e.get("annotations", {}).values())
    annotations = {**entry["annotations"], "org.opencontainers.image.ref.name": tag}
    document["manifests"].append({**entry, "annotations": annotations})
    (path / "index.json").write_text(json.dumps(document))


def blobs_in(path: Path) -> set[str]:
    """Return the names of the files under blobs/."""
    return {file.name for file in (path / "blobs").rglob("*") if not file.is_dir()}


def temporaries(path: Path) -> list[str]:
    """Return the names of temporary files and leases that a layout holds."""
    control = path / ".ocitool"
    return sorted(p.name for part in ("tmp", "leases") for p in (control / part).glob("*"))


def program(source: str, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
    """Start a Python program that finds the code under test; its output is piped."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source), *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


_PAUSE = """
import sys

def pause():
    print("here", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def paused(source: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a program up to its line `pause()`, for the block; it goes on when stdin is closed."""
    process = program(_PAUSE + textwrap.dedent(source), *arguments)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if line != "here\n":
            raise AssertionError(f"the program ended: {line}{process.communicate()[1]}")
        yield process
    finally:
        process.kill()
        process.communicate()
