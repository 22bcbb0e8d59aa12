"""Where ocitool syncs and locks, found in its source, so that no new place is forgotten."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import ocitool
from tests.faults.watched import Site

PACKAGE = Path(ocitool.__file__).parent
SYNCING = {"fsync", "sync", "sync_path"}
LOCKING = {"flock", "locked", "_acquire"}
_CALLED = re.compile(rf"\b({'|'.join(sorted(SYNCING | LOCKING))})\(")
# A login and a pulled file are no content of a store, and what gc finds lying about is none yet;
# their own tests prove what they promise, and fail without the lock.
ELSEWHERE = {
    PACKAGE / "places" / "registry" / "credentials" / "store.py",
    PACKAGE / "artifacts" / "placing.py",
    PACKAGE / "places" / "layout" / "leftovers.py",
    # Where index.json is lost no other command can use the store.
    PACKAGE / "operations" / "rebuild.py",
    # Which container runs is no content either: tests/containers/test_lifecycle.py needs the locks.
    PACKAGE / "fsops" / "locks.py",
}
# No command but `registry serve` comes to their syncs: stories of requests prove these.
_FOR_REQUESTS = ("ocitool/places/layout/uploads.py", "ocitool/serving/")


def sites() -> list[Site]:
    """Return every call that syncs a file or folder, or that takes a lock between processes."""
    return sorted(_sites(), key=lambda site: (site.file, site.first))


def syncs(*, for_requests: bool) -> list[Site]:
    """Return the calls that sync: those for which tests/serving/test_durability.py has stories, or
    the others, for which scenes are.
    """
    found = [site for site in sites() if site.kind == "fsync"]
    return [site for site in found if site.file.startswith(_FOR_REQUESTS) == for_requests]


def _sites() -> Iterator[Site]:
    for path in set(PACKAGE.rglob("*.py")) - ELSEWHERE:
        source = path.read_text(encoding="utf-8")
        if _CALLED.search(source):
            yield from _calls(path, source)


def _calls(path: Path, source: str) -> Iterator[Site]:
    tree = ast.parse(source)
    # What a `with` enters is called from the line of the `with` in some versions of Python.
    begun = {
        item.context_expr: node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        for item in node.items
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        name = node.func.id if isinstance(node.func, ast.Name) else name
        for kind, names in (("fsync", SYNCING), ("flock", LOCKING)):
            if name in names:
                file = str(path.relative_to(PACKAGE.parent))
                first = begun.get(node, node.lineno)
                yield Site(kind, file, first, node.end_lineno or node.lineno)
