"""Reading back what the page carries, and trees of any size for it."""

import base64
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from ocitool.inside.columns import FILE, FOLDER, ColumnEntry
from tests.support.images import BuiltImage, Compression
from tests.support.root_files import hard_link, link
from tests.support.small_images import file, gone, opaque, small_image


@dataclass(frozen=True)
class Row:
    """A node as a browser sees it."""

    path: str
    kind: int
    hidden: bool
    size: int
    layer: int
    hidden_by: int
    how: int
    files: int


def facts_of(page: bytes) -> dict[str, Any]:
    """Return the data of a page."""
    found = re.search(rb'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def rows_of(facts: dict[str, Any]) -> list[Row]:
    """Return the nodes of a page."""
    return unpacked(base64.b64decode(facts["tree"]), facts["nodes"])


def unpacked(packed: bytes, count: int) -> list[Row]:
    """Return the nodes of packed columns."""
    data = zlib.decompress(packed, -15)
    flags, numbers = data[:count], _Numbers(data, count)
    depths, sizes = numbers.take(count), numbers.take(count)
    files = [node for node in range(count) if flags[node] & 7]
    layers = dict(zip(files, numbers.take(len(files)), strict=True))
    hidden = [node for node in files if flags[node] & 8]
    by = dict(zip(hidden, numbers.take(len(hidden)), strict=True))
    how = dict(zip(hidden, numbers.take(len(hidden)), strict=True))
    folded = [node for node in files if flags[node] & 7 == 5]
    counts = dict(zip(folded, numbers.take(len(folded)), strict=True))
    names = data[numbers.at :].decode("utf-8", "replace").split("/")
    assert len(names) == count
    rows, way = [], [""] * (max(depths) + 1)
    for node in range(count):
        depth = depths[node]
        way[depth] = f"{way[depth - 1]}/{names[node]}" if depth > 1 else names[node]
        rows.append(
            Row(
                way[depth],
                flags[node] & 7,
                bool(flags[node] & 8),
                sizes[node],
                layers.get(node, 0),
                by.get(node, 0),
                how.get(node, 0),
                counts.get(node, 1),
            )
        )
    return rows


class _Numbers:
    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at

    def take(self, count: int) -> list[int]:
        return [self._one() for _ in range(count)]

    def _one(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value


def sums(rows: list[Row]) -> dict[tuple[int, bool], int]:
    """Return the bytes of each layer, live and hidden."""
    found: dict[tuple[int, bool], int] = {}
    for row in rows:
        if row.kind != FOLDER:
            key = (row.layer, row.hidden)
            found[key] = found.get(key, 0) + row.size
    return found


def sinful_image(codec: Compression = "none") -> BuiltImage:
    """Return an image with the usual sins, hard links and names of all kinds."""
    return small_image(
        [
            file("opt/model", 4000),
            file("opt/a", 300),
            hard_link("opt/b", "opt/a"),
            link("opt/c", "a"),
            file("cache/x", 500),
            file("cache/y", 700),
            file("empty", 0),
            file("f", 10),
        ],
        [file("opt/model", 4000, text="/opt/model\n"), file("opt/a", 20), file("f/inner", 7)],
        [gone("cache"), file("</script>\udcff\x1b", 9), file("twice", 1), file("twice", 2)],
        [file("opt/model", 4000, text="/opt/model\n", owner=(1, 1)), opaque("opt")],
        codec=codec,
        steps=["COPY . /", "RUN </script>", "RUN rm", "RUN chown"],
    )


_WORDS = "lib python3 site packages share doc locale include zoneinfo bin ssl perl5 core test"
_ENDS = (".py", ".so", ".txt", ".h", ".json", "")


def generated(files: int, layers: int = 9, seed: int = 1) -> Iterator[ColumnEntry]:
    """Yield folders and files as a walk of a file system yields them: sorted, 8 files a folder."""
    random = Random(seed)
    paths: set[str] = set()
    words = _WORDS.split()
    while len(paths) < files // 8:
        depth = random.randint(1, 6)
        folder = [f"{random.choice(words)}{random.randint(0, 40)}" for _ in range(depth)]
        paths.update("/".join(folder[:length]) for length in range(1, depth + 1))
    folders = sorted(paths)
    entries = {folder: ColumnEntry(folder, FOLDER, 0, 1) for folder in folders}
    for number in range(files):
        name = f"{random.choice(words)}-{number:x}{random.choice(_ENDS)}"
        path = f"{random.choice(folders)}/{name}"
        size = int(random.lognormvariate(8, 2))
        entries[path] = ColumnEntry(path, FILE, size, random.randint(1, layers))
    yield from sorted(entries.values(), key=lambda entry: entry.path.split("/"))
