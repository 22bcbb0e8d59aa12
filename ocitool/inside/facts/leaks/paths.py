"""Secrets in the paths of a layer: tokens that are the name of a file or a folder."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from ocitool.inside.facts.leaks.finding import Found
from ocitool.inside.facts.leaks.patterns import PATTERNS, known_forms
from ocitool.inside.facts.leaks.places import is_quiet
from ocitool.inside.table import LayerTable


class Named(Struct, frozen=True):
    """A secret in a path: the path, and its row unless it is a folder without a member."""

    path: str
    row: int | None
    found: Found


def secrets_in_paths(table: LayerTable) -> Iterator[Named]:
    """Yield the secrets in the paths of a layer, each once and where it comes first.

    Folders of documents, examples and tests are left out.
    """
    seen: set[str] = set()
    rows = ((table.path(row), row) for row in _suspects(table.names))
    folders = ((table.folders[index], None) for index in _suspects(table.folders))
    for path, row in (*rows, *folders):
        *above, name = path.split("/")
        # Of a member only its name is looked at: a folder above it is in `folders`.
        for part in (name,) if row is not None else (*above, name):
            for found in known_forms(part):
                if found.value not in seen and not is_quiet(path):
                    seen.add(found.value)
                    yield Named(path, row, found)


def _suspects(names: Sequence[str]) -> Iterator[int]:
    """Yield the positions of the names that may have a known form.

    One look at all of them for each form: a layer may have a million names.
    """
    everything = "\n".join(names)
    anchors = [anchor for anchor in {one.anchor for one in PATTERNS} if anchor in everything]
    if anchors:
        for index, name in enumerate(names):
            if any(anchor in name for anchor in anchors):
                yield index
