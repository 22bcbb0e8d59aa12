"""The bytes of bundles, told apart by the headers of their tar alone; and what verify says."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ocitool.bundles.files import Unreadable, open_bundles
from ocitool.operations.bundle.verify import BundleReport, verify_bundle
from tests.support.made_bundles import opened

BLOCK = 512


class Region(NamedTuple):
    """Some bytes of a tar: the header, content or padding of a member, or the rest at the end."""

    member: str
    kind: str
    begin: int
    end: int

    @property
    def size(self) -> int:
        """How many bytes these are."""
        return self.end - self.begin


def regions(data: bytes) -> Iterator[Region]:
    """Yield the regions of a plain ustar file; each byte is in one of them."""
    position = 0
    while data[position]:
        header = data[position : position + BLOCK]
        name = header[:100].rstrip(b"\0").decode()
        size = int(header[124:135], 8)
        assert header[156:157] in b"05"
        yield Region(name, "header", position, position + BLOCK)
        position += BLOCK
        yield Region(name, "content", position, position + size)
        yield Region(name, "padding", position + size, position + size + -size % BLOCK)
        position += size + -size % BLOCK
    yield Region("", "rest", position, len(data))


def members(data: bytes) -> dict[str, bytes]:
    """Return the members of a plain ustar file by their path."""
    return {one.member: data[one.begin : one.end] for one in regions(data) if one.kind == "content"}


def sha256(data: bytes) -> str:
    """Return the digest of some bytes as text."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def flipped(data: bytes, *positions: int) -> bytes:
    """Return the bytes with one bit of each of some bytes changed."""
    changed = bytearray(data)
    for position in positions:
        changed[position] ^= 1 << position % 8
    return bytes(changed)


def verified(*files: Path) -> BundleReport:
    """Verify the one bundle that is in some files."""
    with opened(*files) as bundle:
        return verify_bundle(bundle, jobs=1)


def attempted(*paths: Path) -> tuple[list[BundleReport], list[Unreadable]]:
    """Verify all bundles in some files or folders; return also what could not be read."""
    bad: list[Unreadable] = []
    with open_bundles([*map(str, paths)], on_unreadable=bad.append) as found:
        return [verify_bundle(one, jobs=1) for one in found], bad
