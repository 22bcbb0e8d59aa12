"""Short ways to load into a store and to look at what it holds."""

from collections.abc import Sequence
from pathlib import Path

from ocitool.events import Observer
from ocitool.image.content import Root
from ocitool.oci import Digest, Platform
from ocitool.operations.load import load
from ocitool.operations.save import save
from ocitool.operations.verify import VerifyReport, verify
from ocitool.places.archive import open_archive
from ocitool.places.layout import Layout
from ocitool.transfer.pipeline import TransferOptions
from ocitool.transfer.report import CopyReport


class Listener(Observer):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.begun: list[tuple[str, int]] = []
        self.advanced = 0
        self.ended = 0

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def begin(self, label: str, total: int) -> None:
        self.begun.append((label, total))

    def advance(self, count: int) -> None:
        self.advanced += count

    def end(self) -> None:
        self.ended += 1


def written(path: Path, data: bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(data)
    return path


def load_archive(
    archive: Path,
    store: Path,
    *,
    name: str | None = None,
    platforms: Sequence[Platform] = (),
    compression: str | None = None,
    clobber: bool = True,
    strict: bool = False,
    observer: Observer | None = None,
) -> CopyReport:
    """Load everything that a file or folder holds into a store, made when absent."""
    with open_archive(str(archive)) as source, Layout.create(str(store), store=True) as layout:
        return load(
            source,
            layout,
            TransferOptions(
                name=name, platforms=tuple(platforms), compression=compression, strict=strict
            ),
            clobber=clobber,
            observer=observer,
        )


def save_bytes(
    store: Path,
    names: Sequence[str] | None = None,
    *,
    platforms: Sequence[Platform] = (),
    featured: Platform | None = None,
    strict: bool = False,
    observer: Observer | None = None,
) -> bytes:
    """Save images of a layout, by default all that are images, and return the archive."""
    parts: list[bytes] = []
    with Layout.existing(str(store)) as layout:
        roots = named_roots(layout) if names is None else [layout.resolve(n) for n in names]
        save(
            layout,
            roots,
            parts.append,
            TransferOptions(platforms=tuple(platforms), strict=strict),
            featured=featured,
            observer=observer,
        )
    return b"".join(parts)


def named_roots(layout: Layout) -> list[Root]:
    """Return the roots of a layout that have a name or a label; all of them when none has."""
    roots = layout.roots()
    return [root for root in roots if root.names or root.label] or list(roots)


def roots_of(store: Path) -> dict[str, Digest]:
    """Return the digest behind every name of a store."""
    with Layout.existing(str(store)) as layout:
        return {name: root.descriptor.digest for root in layout.roots() for name in root.names}


def checked(store: Path) -> VerifyReport:
    """Verify everything in a layout."""
    with Layout.existing(str(store)) as layout:
        return verify(layout)


def assert_whole(store: Path) -> None:
    """Fail unless a layout is sound and holds nothing that no image needs."""
    report = checked(store)
    assert report.problems == ()
    assert report.unreferenced == ()
    assert report.unknown_files == ()


def contents(folder: Path) -> dict[str, bytes]:
    """Return index.json and all blobs of a layout by their path, to see whether they changed."""
    paths = [folder / "index.json", *sorted((folder / "blobs").rglob("*"))]
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths if p.is_file()}


def platform(text: str) -> Platform:
    """Return the platform that a text means."""
    return Platform.parse(text)
