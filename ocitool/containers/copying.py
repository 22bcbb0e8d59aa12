"""Copying files into a container and out of it, by docker's rules.

On both sides what is copied is a tar in between. It is unpacked into a private folder and moved to
its place when it is complete. Paths of the container are resolved inside its root, also while it
runs: then that is the root of its process, with its mounts.
"""

import contextlib
import os
import posixpath
import stat
from collections.abc import Iterator
from typing import Protocol

from msgspec import Struct

from ocitool.containers.bundle_facts import open_bundle
from ocitool.containers.freezing import at_rest_if_possible
from ocitool.containers.records import Container
from ocitool.containers.running import process_in
from ocitool.containers.unpacking import is_root
from ocitool.containers.writable.files import Files, Located
from ocitool.containers.writable.marks import Marks
from ocitool.containers.writable.members import Members, Owner
from ocitool.containers.writable.merged import walk_files
from ocitool.containers.writable.opening import Writable, open_writable
from ocitool.containers.writable.placing import place
from ocitool.errors import NotFound, Refused, UsageError
from ocitool.formats.compression import CHUNK_SIZE, DecompressingReader, Readable
from ocitool.formats.tar.writing import ended, in_chunks
from ocitool.fsops import Directory, staging_folder, sync_file_system
from ocitool.image.layers import Extracted, Extraction, Keep
from ocitool.image.layers.tree import below
from ocitool.oci.quoting import quoted
from ocitool.places.layout import Layout


class CopyOptions(Struct, frozen=True, kw_only=True):
    """With `archive` owners are kept, else what comes in belongs to the container's root, and what
    goes out to this user. With `follow` a link as the source stands for what it leads to.
    """

    archive: bool = False
    follow: bool = False


class Copied(Struct, frozen=True, kw_only=True):
    """What was copied: where it is now, how much of it, and how many sockets were left out."""

    destination: str
    extracted: Extracted
    sockets: int = 0


class _Source(Struct, frozen=True, kw_only=True):
    """What to copy: a real path below `files`, under a name; `contents` is what is in it alone."""

    files: Files
    path: str
    name: str
    is_folder: bool
    contents: bool
    owner: Owner


class _Target(Struct, frozen=True, kw_only=True):
    """Where to put it: in the folder at a real path, under a name; None is the folder itself."""

    folder: str
    name: str | None


class _Look(Protocol):
    def __call__(self, path: str, *, follow: bool) -> Located:
        """Return where a path leads to; NotFound if its folder is not there."""


def copy_out(
    layout: Layout, container: Container, path: str, destination: str, options: CopyOptions
) -> Copied:
    """Copy a path of a container to a path of this machine; return where it is.

    The rules are those of `docker cp`: in a folder it gets its own name, a folder that is not there
    is made from the contents, `/.` takes the contents alone, and files are overwritten. Nothing
    outside the destination is written. NotFound if nothing is at the path, Refused for a folder
    over a file.
    """
    with _files_of(layout, container, [path]) as (writable, files):
        source = _source(files, path, options, _owners(writable, files, options))
        exact = os.path.realpath(destination) if os.path.exists(destination) else destination
        target = _target(source, exact, _here, slash=destination.endswith("/"))
        folder_path = target.folder or "/"
        with Directory.open(folder_path) as folder, staging_folder(folder) as staging:
            keep = _kept(archive=options.archive, owners=options.archive and is_root())
            here = Files(folder, None, Marks(None))
            copied = _bring(source, here, "", target.name, staging, keep)
    where = os.path.join(folder_path, target.name) if target.name else folder_path
    return Copied(destination=where, extracted=copied.extracted, sockets=copied.sockets)


def copy_in(
    layout: Layout, container: Container, path: str, destination: str, options: CopyOptions
) -> Copied:
    """Copy a path of this machine into a container, by the rules of `copy_out`.

    It goes to the writable layer, or through the root of a process that runs. Refused for a
    read-only container, and for a path in a mount of a container that does not run.
    """
    with _local(path, options) as source:
        return _copy_in(layout, container, source, destination, options)


def tar_out(
    layout: Layout, container: Container, path: str, options: CopyOptions
) -> Iterator[bytes]:
    """Yield a tar of a path of a container; it has the name that the path ends with."""
    with _files_of(layout, container, [path]) as (writable, files):
        archive = CopyOptions(archive=True, follow=options.follow)
        source = _source(files, path, options, _owners(writable, files, archive))
        yield from _tar(source, source.name or ".", Members(source.owner))


def tar_in(
    layout: Layout, container: Container, tar: Readable, destination: str, options: CopyOptions
) -> Copied:
    """Unpack a tar, compressed or not, into a folder of a container, which must exist."""
    content = DecompressingReader(tar)
    pieces = iter(lambda: content.read(CHUNK_SIZE), b"")
    return _copy_in(layout, container, pieces, destination, options)


def _copy_in(
    layout: Layout,
    container: Container,
    source: "_Source | Iterator[bytes]",
    destination: str,
    options: CopyOptions,
) -> Copied:
    with _files_of(layout, container, [destination]) as (writable, files):
        if isinstance(source, _Source):
            target = _target(source, destination, files.locate, slash=destination.endswith("/"))
        else:
            found = files.locate(destination)
            if not found.is_folder:
                raise NotFound(
                    f"{quoted(destination)} is not a folder of container {container.name}",
                    hint="a tar is unpacked into a folder that is there",
                )
            target = _Target(folder=found.path, name=None)
        _check_writable(writable, files, target)
        keep = _kept(archive=True, owners=is_root() and options.archive)
        with at_rest_if_possible(container), _staging(writable, files, target) as staging:
            copied = _bring(source, files, target.folder, target.name, staging, keep)
    inside = below(target.folder, target.name) if target.name else target.folder
    where = f"{container.name}:/{inside}"
    return Copied(destination=where, extracted=copied.extracted, sockets=copied.sockets)


def _bring(
    source: "_Source | Iterator[bytes]",
    files: Files,
    folder: str,
    name: str | None,
    staging: Directory,
    keep: Keep,
) -> Copied:
    """Unpack into a private folder, then move everything to its place, durably."""
    members = None
    if isinstance(source, _Source):
        members = Members(source.owner)
        source = _tar(source, name or ".", members)
    with (
        _private(staging, "new") as staged,
        _private(staging, "up") as other,
    ):
        with Extraction(staged, keep=keep, whiteouts=False) as extraction:
            extraction.tar(source)
            extracted = extraction.finish()
        # Before a file is replaced, what replaces it is on the disk.
        sync_file_system(staging)
        place(staged, files, folder, staging=other, owners=keep.owners)
        sync_file_system(staging)
    sockets = members.left_out if members is not None else 0
    return Copied(destination="", extracted=extracted, sockets=sockets)


def _tar(source: _Source, name: str, members: Members) -> Iterator[bytes]:
    """Yield the tar of a source; what it is called there is `name`, "." for its contents alone."""
    return in_chunks(ended(_pieces(source, name, members)))


def _pieces(source: _Source, name: str, members: Members) -> Iterator[bytes]:
    parent, _, leaf = source.path.rpartition("/")
    with source.files.folders(parent) as (upper, lower):
        folder = upper if upper is not None and upper.kind(leaf or ".") else lower
        status = source.files.status(source.path)
        if folder is None or status is None:
            raise NotFound(f"{quoted('/' + source.path)} was removed meanwhile")
        if name != "." or not source.contents:
            yield from members.member(folder, leaf or ".", name, status)
    if stat.S_ISDIR(status.st_mode):
        cut = len(source.path) + 1 if source.path else 0
        for seen in walk_files(source.files, source.path):
            inner = below(name, seen.path[cut:]) if name != "." else seen.path[cut:]
            yield from members.member(seen.folder, seen.name, inner, seen.status)


def _source(
    files: Files, path: str, options: CopyOptions, owner: Owner, *, called: str | None = None
) -> _Source:
    """Find what to copy. NotFound if nothing is there, UsageError for a file with a slash."""
    called = path if called is None else called
    contents = called.rstrip("/").rpartition("/")[2] in (".", "")
    found = files.locate(path, follow=options.follow or contents or called.endswith("/"))
    if found.status is None:
        raise NotFound(f"{quoted(called)} is not there")
    if (contents or called.endswith("/")) and not found.is_folder:
        raise UsageError(f"{quoted(called)} is not a folder", hint="write it without the slash")
    name = posixpath.basename(called.rstrip("/"))
    return _Source(
        files=files,
        path=found.path,
        name="" if contents else (found.path.rpartition("/")[2] if name == ".." else name),
        is_folder=found.is_folder,
        contents=contents,
        owner=owner,
    )


@contextlib.contextmanager
def _local(path: str, options: CopyOptions) -> Iterator[_Source]:
    """Open a path of this machine. The folder that it is in is the user's choice, links and all."""
    whole = path.rstrip("/") or "/"
    parent, name = os.path.split(whole)
    contents = name in (".", "", "..")
    follow = options.follow or path.endswith("/")
    if follow and not contents and os.path.islink(whole):
        real = os.path.realpath(whole)
        parent, leaf = os.path.split(real)
    else:
        leaf = name
    owner: Owner = _owner_on_disk if options.archive else _owner_root
    with Directory.open(whole if contents else parent or ".") as folder:
        files = Files(folder, None, Marks(None))
        found = _source(files, "" if contents else leaf, CopyOptions(), owner, called=path)
        yield _Source(
            files=files,
            path=found.path,
            name=name
            if not contents
            else ("" if name != ".." else os.path.basename(os.path.realpath(whole))),
            is_folder=found.is_folder,
            contents=contents and name != "..",
            owner=owner,
        )


def _target(source: _Source, path: str, look: _Look, *, slash: bool) -> _Target:
    """Apply docker's rules: in which folder, and under which name."""
    found = look(path, follow=True)
    if found.is_folder:
        return _Target(folder=found.path, name=None if source.contents else source.name or None)
    if found.status is not None:
        if source.is_folder:
            raise Refused(f"{quoted(path)} is a file, and a folder cannot replace it")
        if slash:
            raise UsageError(f"{quoted(path)} is a file", hint="write it without the slash")
    elif slash and not source.is_folder:
        raise NotFound(f"there is no folder {quoted(path)} to copy into", hint="make it first")
    folder, _, name = found.path.rpartition("/")
    return _Target(folder=folder, name=name)


def _here(path: str, *, follow: bool) -> Located:  # noqa: ARG001
    """Look at a path of this machine; its folder must exist."""
    absolute = os.path.abspath(path)
    try:
        return Located(absolute, os.stat(absolute))
    except (FileNotFoundError, NotADirectoryError):
        if os.path.isdir(os.path.dirname(absolute)):
            return Located(absolute, None)
    raise NotFound(f"there is no folder {quoted(os.path.dirname(absolute))} to copy into")


@contextlib.contextmanager
def _files_of(
    layout: Layout, container: Container, paths: list[str]
) -> Iterator[tuple[Writable, Files]]:
    """Open the files of a container: of one that runs by its process, with its mounts."""
    with open_writable(layout, container) as writable:
        process = process_in(container.bundle)
        if process is None:
            for path in paths:
                _refuse_mounts(writable, writable.files, path)
            yield writable, writable.files
            return
        with Directory.open(f"/proc/{process}/root/") as root:
            _check_process(container, process)
            yield writable, Files(root, None, Marks(None))


def _check_process(container: Container, process: int) -> None:
    """Refuse the root of a process that has ended: its number may be another program's by now."""
    if process_in(container.bundle) != process:
        raise Refused(
            f"container {container.name} has ended or was started meanwhile", hint="try again"
        )


def _is_stopped(writable: Writable, files: Files) -> bool:
    return files.upper is writable.upper


def _refuse_mounts(writable: Writable, files: Files, path: str) -> None:
    """Refuse a path in a mount that is there only while the container runs."""
    with contextlib.suppress(NotFound):
        real = files.locate(path).path
        for mount in writable.facts.mounts:
            if real == mount or real.startswith(f"{mount}/"):
                raise Refused(
                    f"{quoted(path)} lies in a mount of container {writable.container.name}, which "
                    "is there only while it runs",
                    hint="start the container first, or copy where the mount comes from",
                )


def _check_writable(writable: Writable, files: Files, target: _Target) -> None:
    if not _is_stopped(writable, files):
        # The kernel tells by itself what is read-only.
        return
    if writable.facts.is_read_only:
        raise Refused(
            f"the root of container {writable.container.name} is read-only",
            hint="make a container without --read-only",
        )
    if target.name is not None:
        _refuse_mounts(writable, files, below(target.folder, target.name))


def _owners(writable: Writable, files: Files, options: CopyOptions) -> Owner:
    """Return what tells the owner of what goes out; only with `archive` does it matter."""
    if not options.archive:
        return _owner_root
    if not _is_stopped(writable, files):
        facts = writable.facts
        return lambda _, status: facts.owner(status.st_uid, status.st_gid)
    return writable.owners(writable.added())


def _owner_on_disk(_: str, status: os.stat_result) -> tuple[int, int]:
    return status.st_uid, status.st_gid


def _owner_root(_path: str, _status: os.stat_result) -> tuple[int, int]:
    return 0, 0


def _kept(*, archive: bool, owners: bool) -> Keep:
    """Return what is kept; what goes out without `archive` must not run as another user."""
    return Keep(owners=owners, set_id=archive, attributes=archive, special=archive)


@contextlib.contextmanager
def _staging(writable: Writable, files: Files, target: _Target) -> Iterator[Directory]:
    """Yield a private folder of the file system to which the target belongs."""
    if _is_stopped(writable, files):
        with open_bundle(writable.container) as bundle, staging_folder(bundle) as staging:
            yield staging
        return
    with files.folders(target.folder) as (folder, _):
        if folder is None:
            raise NotFound(f"{quoted('/' + target.folder)} was removed meanwhile")
        with staging_folder(folder) as staging:
            yield staging


@contextlib.contextmanager
def _private(staging: Directory, name: str) -> Iterator[Directory]:
    with staging.subdirectory(name, create=True, lasting=False) as folder:
        yield folder
