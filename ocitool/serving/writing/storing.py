"""The store as it is written to by this process, for as long as it serves."""

from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from ocitool.fsops import TemporaryFile
from ocitool.oci import Descriptor, Digest
from ocitool.oci.annotations import REPOSITORIES
from ocitool.places.layout import Layout, NameChange
from ocitool.places.layout.exclusive import edit_index
from ocitool.places.layout.index import IndexFile, drop_name, entry_names, set_roots
from ocitool.places.layout.lease import TEMPORARY, Lease
from ocitool.serving.shelves import repositories_of

_CONTROL = ".ocitool"


class Storing:
    """Stores manifests and changes names. The lock is held only while index.json changes."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.control = layout.folder.subdirectory(_CONTROL, create=True)
        # What is being written belongs to a lease, so that others know whether its owner lives.
        self._lease = Lease.take(self.control, layout.observer, patience=layout.patience)
        self._temporary = self.control.subdirectory(TEMPORARY, create=True, lasting=False)

    def close(self) -> None:
        """Release the lease; harmless when repeated."""
        self._temporary.close()
        self._lease.release()
        self.control.close()

    def put(self, digest: Digest, data: bytes) -> None:
        """Store a small blob durably; one that is there is kept, and marked as used now."""
        folder = self.layout.blob_folder(digest.algorithm, create=True)
        if folder.size_of(digest.hex) == len(data):
            folder.touch(digest.hex)
        else:
            temporary = TemporaryFile.create(self._temporary, f"{self._lease.name}.")
            try:
                temporary.write(data)
                temporary.publish(folder, digest.hex)
            finally:
                temporary.discard()
        folder.sync()

    def name(
        self,
        descriptor: Descriptor,
        repository: str,
        names: Sequence[str],
        check: Callable[[IndexFile], None],
    ) -> list[NameChange]:
        """Put a stored manifest into a repository, under these names or by its digest alone.

        `check` sees the index before the change, under the lock, and may raise.
        """

        def edit(index: IndexFile) -> tuple[IndexFile, list[NameChange]]:
            check(index)
            if _is_there(index, descriptor.digest, repository, names):
                return index, []
            entries, changes = set_roots(
                index.entries, [(descriptor, names)], is_store=self.layout.is_store
            )
            # What a tag leaves can still be pulled by its digest.
            here = {descriptor.digest, *(change.old for change in changes if change.old)}
            for digest in here:
                entries = _pushed_to(entries, digest, repository)
            return index.with_entries(entries), changes

        return edit_index(self.layout, edit)

    def unname(
        self, digest: Digest, repository: str, names: Sequence[str], *, stays: bool
    ) -> list[NameChange]:
        """Remove names of a manifest; without `stays` it also leaves the repository."""

        def edit(index: IndexFile) -> tuple[IndexFile, list[NameChange]]:
            entries = _pushed_to(index.entries, digest, repository, leaves=not stays)
            changes: list[NameChange] = []
            for name in names:
                entries, dropped = drop_name(entries, name)
                changes += dropped
            return index.with_entries(entries), changes

        return edit_index(self.layout, edit, removes=True)


def _is_there(index: IndexFile, digest: Digest, repository: str, names: Sequence[str]) -> bool:
    """Tell whether nothing would change: the same push once more writes no line of the reflog."""
    entries = [entry for entry in index.entries if entry.digest == digest]
    known = {name for entry in entries for name in entry_names(entry)}
    pushed = all(repository in repositories_of(entry) for entry in entries)
    return bool(entries) and pushed and known.issuperset(names)


def _pushed_to(
    entries: Iterable[Descriptor], digest: Digest, repository: str, *, leaves: bool = False
) -> tuple[Descriptor, ...]:
    """Return the entries in which those of a digest say that it is in a repository, or left it."""
    entries = tuple(entries)
    known = {name for e in entries if e.digest == digest for name in repositories_of(e)}
    known = known - {repository} if leaves else known | {repository}
    return tuple(
        _with_repositories(entry, sorted(known)) if entry.digest == digest else entry
        for entry in entries
    )


def _with_repositories(entry: Descriptor, repositories: Sequence[str]) -> Descriptor:
    annotations = {key: text for key, text in entry.annotations.items() if key != REPOSITORIES}
    if repositories:
        annotations[REPOSITORIES] = " ".join(repositories)
    return replace(entry, annotations=annotations)
