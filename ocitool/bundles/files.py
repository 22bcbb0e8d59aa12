"""Files of bundles, opened: which of them belong together, and what they hold together."""

import contextlib
import os
import stat
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, Self

from msgspec import Struct

from ocitool.bundles.head import HEAD, Head, NotABundle, kind_of, read_head
from ocitool.bundles.objects import ObjectAddress, ObjectFile, is_object
from ocitool.bundles.parity import is_covered, rebuilt
from ocitool.bundles.volume_format import PARITY_NUMBER
from ocitool.errors import NotFound, OcitoolError, UsageError
from ocitool.events import SILENT, Observer
from ocitool.fsops import translated
from ocitool.image.content import ReadAt
from ocitool.oci import Digest
from ocitool.places.archive.bundle import FULL
from ocitool.places.archive.members import Member
from ocitool.places.archive.opening import Stdin, open_plain

_SUFFIX = ".tar"


class Readable(Protocol):
    """Something that is read at any offset, from several threads."""

    @property
    def what(self) -> str:
        """What to call it in messages."""

    @property
    def size(self) -> int:
        """Its bytes."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from an offset on, fewer only at the end."""

    def close(self) -> None:
        """Release it; harmless when repeated."""


class PlainFile:
    """A file of the disk, which is read at any offset and closed with this. A `Readable`."""

    def __init__(self, file: int, what: str) -> None:
        self.what = what
        self.size = os.fstat(file).st_size
        self._file = file

    def read_at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from an offset on, fewer only at the end."""
        with translated("read", self.what):
            return os.pread(self._file, size, offset)

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


class BundleFile:
    """One open file: a bundle, or a volume of one. Thread-safe; a context manager.

    `is_rebuilt` tells that it is no file, but a volume that the others and the parity give back.
    """

    def __init__(self, file: Readable, *, is_rebuilt: bool = False) -> None:
        self.what = file.what
        self.size = file.size
        self.is_rebuilt = is_rebuilt
        self.read_at = file.read_at
        self._file = file
        self.head = read_head(file.read_at, file.what)

    @classmethod
    def open(
        cls,
        path: str,
        *,
        stdin: Stdin | None = None,
        scratch: str | None = None,
        observer: Observer = SILENT,
    ) -> Self:
        """Open a file (see `open_plain`) or an object. NotABundle when it is not one."""
        opened: Readable
        if is_object(path):
            opened = ObjectFile(ObjectAddress(path))
        else:
            plain = open_plain(path, stdin=stdin, scratch=scratch, observer=observer)
            opened = PlainFile(*plain)
        try:
            return cls(opened)
        except BaseException:
            opened.close()
            raise

    @property
    def number(self) -> int:
        """The number of a volume; -1 for a bundle that is not in volumes."""
        return self.head.volume.volume if self.head.volume is not None else -1

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Unreadable(Struct, frozen=True, kw_only=True):
    """A file that was named and cannot be used, and why."""

    path: str
    error: OcitoolError


class BundleSet:
    """The files of one bundle: the bundle itself, or some or all of its volumes.

    `all_files` are the files, and behind them the volumes that the parity volume gives back.
    `unsound` are members that are not to be used, each as the position of its file and its path;
    `is_checked` tells that these are all.
    """

    def __init__(
        self,
        all_files: Sequence[BundleFile],
        unsound: Iterable[tuple[int, str]] = (),
        *,
        is_checked: bool = False,
    ) -> None:
        self.all_files = tuple(all_files)
        self.unsound = frozenset(unsound)
        self.is_checked = is_checked

    @property
    def files(self) -> Sequence[BundleFile]:
        """The files themselves."""
        return tuple(file for file in self.all_files if not file.is_rebuilt)

    @property
    def head(self) -> Head:
        """The beginning of the first file; the list is the same in all of them."""
        return self.all_files[0].head

    @property
    def what(self) -> str:
        """What to call it in messages."""
        others = f" and {len(self.files) - 1} more" if len(self.files) > 1 else ""
        return f"{self.files[0].what}{others}"

    @property
    def volumes(self) -> int:
        """How many volumes the bundle has; 0 for a bundle in one file."""
        return max(file.head.volume.of if file.head.volume else 0 for file in self.files)

    @property
    def lost_volumes(self) -> tuple[int, ...]:
        """The numbers of the volumes that are not here."""
        return self.numbers_without(())

    def numbers_without(self, positions: Container[int]) -> tuple[int, ...]:
        """Return the numbers of the volumes that are not here but in files at these positions."""
        numbers = {file.number for n, file in enumerate(self.files) if n not in positions}
        return tuple(sorted(set(range(1, self.volumes + 1)) - numbers))

    @property
    def rebuilt_volumes(self) -> tuple[int, ...]:
        """The numbers of the volumes that the parity volume gives back."""
        return tuple(sorted(file.number for file in self.all_files if file.is_rebuilt))

    @property
    def has_parity(self) -> bool:
        """Whether a parity volume is here."""
        return any(file.number == PARITY_NUMBER for file in self.files)

    @property
    def has_spares(self) -> bool:
        """Whether some of it is here more than once, or can be made again.

        Each volume has all documents, so that is so wherever there are several.
        """
        return len(self.files) > 1

    def rebuild(self, number: int, damaged: Container[int] = ()) -> BundleFile | None:
        """Return a volume as the parity gives it back; None where that is impossible.

        `damaged` are the positions of files that are used only if there is no other copy. What
        stands in the volume behind its beginning is still to be checked.
        """
        order = sorted(enumerate(self.files), key=lambda one: one[0] in damaged, reverse=True)
        volumes = {file.number: file for _, file in order}
        for parity in [file for _, file in reversed(order) if file.number == PARITY_NUMBER]:
            found = rebuilt(parity, number, volumes)
            with contextlib.suppress(OcitoolError):
                file = BundleFile(found, is_rebuilt=True) if found is not None else None
                if file is not None and is_covered(parity, number, file):
                    return file
        return None

    def with_rebuilt(self) -> "BundleSet":
        """Return the same with a volume that is lost or cut, if it is one and the parity is here.

        Other damage shows only when the volumes are read.
        """
        cut = self._cut()
        absent = self.numbers_without(cut)
        found = self.rebuild(absent[0], cut) if len(absent) == 1 else None
        return BundleSet([*self.files, found]) if found is not None else self

    def _cut(self) -> set[int]:
        """Return the positions of volumes that are shorter than the parity tells."""
        volumes = [file.head.volume for file in self.files]
        told = next((one.covers for one in volumes if one is not None and one.is_parity), ())
        return {
            position
            for position, file in enumerate(self.files)
            if 0 < file.number <= len(told) and file.size < told[file.number - 1].size
        }


@contextlib.contextmanager
def open_bundles(
    paths: Sequence[str],
    *,
    stdin: Stdin | None = None,
    scratch: str | None = None,
    observer: Observer = SILENT,
    on_unreadable: Callable[[Unreadable], None] | None = None,
) -> Iterator[list[BundleSet]]:
    """Open files and folders; those with the same list are one bundle, whatever their names.

    In a folder all bundles and volumes count. With `on_unreadable` that is called for a file that
    cannot be used, else it is raised. UsageError when nothing is left.
    """
    with contextlib.ExitStack() as stack:
        sets: dict[tuple[Digest, int | None], list[BundleFile]] = {}
        for path, is_sure in _files(paths):
            try:
                opened = BundleFile.open(path, stdin=stdin, scratch=scratch, observer=observer)
            except OcitoolError as error:
                if isinstance(error, NotFound | NotABundle) and not is_sure:
                    continue
                if on_unreadable is None:
                    raise
                on_unreadable(Unreadable(path=path, error=error))
                continue
            file = stack.enter_context(opened)
            volume = file.head.volume
            key = (file.head.digest, volume.of if volume is not None else None)
            sets.setdefault(key, []).append(file)
        if not sets and on_unreadable is None:
            raise UsageError(f"there is no bundle in {', '.join(paths)}")
        yield [BundleSet(_ordered(files)).with_rebuilt() for files in sets.values()]


def holds_bundle(path: str, *, only_partial: bool = False) -> bool:
    """Tell whether a path is a bundle, a volume or a folder with some; looks at their first bytes.

    With `only_partial` whole bundles, which are archives as any other, do not count.
    """
    try:
        return any(_is_bundle(file, only_partial=only_partial) for file, _ in _files([path]))
    except (OcitoolError, OSError):
        return False


def _is_bundle(path: str, *, only_partial: bool) -> bool:
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        kind = kind_of(file.read(HEAD))
    return kind is not None and not (only_partial and kind == FULL)


def _files(paths: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Yield each file once, with whether the user named it."""
    seen: set[str] = set()
    for path in paths:
        if path == "-" or is_object(path) or not _is_folder(path):
            if path not in seen:
                yield path, True
            seen.add(path)
            continue
        with translated("read", path):
            names = sorted(os.listdir(path))
        for name in names:
            inner = os.path.join(path, name)
            if name.endswith(_SUFFIX) and os.path.isfile(inner) and inner not in seen:
                seen.add(inner)
                yield inner, False


def _is_folder(path: str) -> bool:
    with translated("open", path):
        return stat.S_ISDIR(os.stat(path).st_mode)


def _ordered(files: Sequence[BundleFile]) -> list[BundleFile]:
    """Return the files in the order of their volumes, the parity at the end."""
    return sorted(files, key=lambda file: (file.number == PARITY_NUMBER, file.number))


class Extent(Struct, frozen=True):
    """Where some bytes of a blob are: in which file, from which offset on, and how many."""

    file: int
    offset: int
    size: int


class BundleMembers:
    """The members of a bundle in one file or in volumes, as those of one archive. Thread-safe.

    A blob in parts is one member here. Of a volume that is not here the blobs are absent.
    """

    def __init__(self, bundle: BundleSet, extents: Mapping[str, Sequence[Extent]]) -> None:
        self.what = bundle.what
        self._bundle = bundle
        self._extents = extents

    @property
    def first_paths(self) -> Sequence[str]:
        """The paths of some members."""
        return list(self._extents)[:1000]

    def find(self, path: str) -> Member | None:
        """Return a member by its exact path; None when it is not here."""
        found = self._extents.get(path)
        return Member(path=path, size=sum(one.size for one in found)) if found else None

    def open(self, member: Member) -> tuple[Callable[[int], bytes], Callable[[], None]]:
        """Return how to read a member's bytes once, and how to be done with it."""
        position = 0

        def read(count: int) -> bytes:
            nonlocal position
            part = self._read_at(member.path, position, count)
            position += len(part)
            return part

        return read, lambda: None

    @contextlib.contextmanager
    def positioned(self, member: Member) -> Iterator[ReadAt]:
        """Return a block in which a member can be read at any offset."""
        yield lambda offset, size: self._read_at(member.path, offset, size)

    def located(self, member: Member) -> tuple[int, int]:
        """Raise NotFound: a member may be in several files."""
        raise NotFound(f"{member.path} is not in one piece", hint="`ocitool bundle join` joins it")

    def stamp(self, member: Member) -> str | None:  # noqa: ARG002
        """Return None: nothing of a bundle is cached."""
        return None

    def close(self) -> None:
        """Do nothing: the files belong to whoever opened the bundle."""

    def _read_at(self, path: str, offset: int, size: int) -> bytes:
        """Return some bytes of a member, at most to the end of the part that they are in."""
        for extent in self._extents[path]:
            if offset < extent.size:
                count = max(0, min(size, extent.size - offset))
                return self._bundle.all_files[extent.file].read_at(extent.offset + offset, count)
            offset -= extent.size
        return b""
