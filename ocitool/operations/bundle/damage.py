"""Which bytes of the files of a bundle are not what its list says."""

import threading
from collections.abc import Iterator, Mapping

from msgspec import Struct

from ocitool.bundles.extents import expected_size, located, told_size
from ocitool.bundles.files import BundleFile, BundleSet
from ocitool.concurrency import DEFAULT_JOBS, Stop
from ocitool.events import SILENT, Observer
from ocitool.formats.tar.writing import padding
from ocitool.image.content import CHUNK
from ocitool.oci import Digest
from ocitool.oci.amounts import counted, size_text
from ocitool.operations.hashing import share_out
from ocitool.places.archive.sections import Section


class Damage(Struct, frozen=True, kw_only=True):
    """A member that is not what the list says, in which file, and the images that need it.

    `kind` is header, content, padding, cut, rest (behind the last member), list or document.
    """

    file: str
    member: str
    kind: str
    message: str
    images: tuple[str, ...] = ()


def is_intact(file: BundleFile, *, jobs: int = DEFAULT_JOBS) -> bool:
    """Tell whether every byte of a file is what its list says."""
    return not check_files(BundleSet([file]), jobs, SILENT).damage


class Checked(Struct, frozen=True, kw_only=True):
    """What is wrong in some files, each by its position, and which contents must not be used."""

    damage: tuple[tuple[int, Damage], ...] = ()
    unsound: frozenset[tuple[int, str]] = frozenset()


class _Check(Struct, frozen=True):
    """One section to check: which file, where it begins, and which bytes it has."""

    number: int
    file: BundleFile
    section: Section
    position: int

    @property
    def size(self) -> int:
        return self.section.size


def check_files(bundle: BundleSet, jobs: int, observer: Observer) -> Checked:
    """Check each byte of each file, those of volumes that the parity gives back too."""
    checks = [
        _Check(number, file, section, position)
        for number, file in enumerate(bundle.all_files)
        for section, position in located(file)
    ]
    found: list[tuple[_Check, str]] = []
    lock = threading.Lock()

    def check(one: _Check, stop: Stop) -> None:
        for kind in _wrong(one, stop, observer):
            with lock:
                found.append((one, kind))

    with observer.work("verifying", sum(one.size for one in checks)):
        share_out(checks, check, jobs)
    found.sort(key=lambda pair: (pair[0].number, pair[0].position))
    needed_by = bundle.head.listing.needed_by() if found else {}
    damage = [(one.number, _damage(one, kind, needed_by)) for one, kind in found]
    for number, file in enumerate(bundle.all_files):
        damage += [(number, one) for one in _check_end(file)]
    unsound = {(one.number, one.section.path) for one, kind in found if kind in _LOSES}
    return Checked(damage=tuple(damage), unsound=frozenset(unsound))


_LOSES = ("content", "cut")
_TEXTS = {
    "header": "its header was changed",
    "content": "its content was changed",
    "padding": "the bytes behind it were changed",
    "cut": "the file ends before it, or within it",
}


def _wrong(one: _Check, stop: Stop, observer: Observer) -> Iterator[str]:
    """Yield what is wrong with a section: cut alone, or any of header, content, padding."""
    section, read_at = one.section, one.file.read_at
    header = section.header
    position = one.position + len(header)
    end = position + section.size
    if end > one.file.size:
        yield "cut"
        return
    if read_at(one.position, len(header)) != header:
        yield "header"
    if section.content is not None:
        hasher = section.content.digest.hasher()
        while position < end:
            stop.check()
            part = read_at(position, min(CHUNK, end - position))
            if not part:
                break
            hasher.update(part)
            position += len(part)
            observer.advance(len(part))
        if Digest.from_hasher(section.content.digest.algorithm, hasher) != section.content.digest:
            yield "content"
    fill = padding(section.size)
    if read_at(end, len(fill)) != fill:
        yield "padding"


def _damage(one: _Check, kind: str, needed_by: Mapping[str, tuple[str, ...]]) -> Damage:
    path = one.section.path
    digest = ":".join(path.split("/")[1:3])
    return Damage(
        file=one.file.what,
        member=path,
        kind=kind,
        message=f"{path} of {one.file.what}: {_TEXTS[kind]}",
        images=needed_by.get(digest, ()),
    )


def _check_end(file: BundleFile) -> Iterator[Damage]:
    """Look at what is behind the last member, and whether the file has the size that it says."""
    length = sum(section.length for section, _ in located(file))
    expected = expected_size(file)
    if told_size(file) != expected:
        told = told_size(file)
        message = f"the list of {file.what} says that it has {told} bytes, not {expected}"
        yield Damage(file=file.what, member="", kind="list", message=message)
    if file.size < expected:
        lacking = size_text(expected - file.size)
        message = f"{file.what} is cut: {lacking} of its {size_text(expected)} are missing"
        yield Damage(file=file.what, member="", kind="cut", message=message)
    elif file.size > expected:
        message = f"{file.what} has {counted(file.size - expected, 'byte')} too many behind its end"
        yield Damage(file=file.what, member="", kind="rest", message=message)
    rest = file.read_at(length, max(0, min(file.size, expected) - length))
    if rest.strip(b"\0"):
        message = f"the end of {file.what} was changed"
        yield Damage(file=file.what, member="", kind="rest", message=message)
