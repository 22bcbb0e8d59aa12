"""The roots of a layout sorted into what is kept and what is removed, by one walk for every verb.

`rm` and `gc` choose differently what may be removed. What follows from their choice is decided
here: which blobs stay, and what becomes of the roots that are attached to something.
"""

from collections.abc import Iterable, Mapping

from ocitool.errors import IntegrityError, NotFound, OcitoolError
from ocitool.garbage.reachable import (
    OnMissing,
    Reachable,
    StoredDocuments,
    mark_reachable,
    mark_readable,
    refuse_missing,
)
from ocitool.garbage.roots import RootEntry
from ocitool.image.attached import is_in
from ocitool.oci.reference import familiar


class Partition:
    """Collects what is reachable from the roots that stay, and what the removed roots contain.

    `kept` may hold what was marked before. `contents` maps each removed root to all digests below
    it, as far as they can be read. Errors are those of `mark_reachable`.
    """

    def __init__(
        self,
        documents: StoredDocuments,
        roots: Mapping[str, RootEntry],
        kept: Reachable,
        on_missing: OnMissing = refuse_missing,
        *,
        paths: bool = False,
    ) -> None:
        self.kept = kept
        self.contents: dict[str, frozenset[str]] = {}
        self._documents = documents
        self._roots = roots
        self._on_missing = on_missing
        self._paths = paths

    def keep(self, digests: Iterable[str]) -> None:
        """Mark everything under some roots as needed."""
        chosen = list(digests)
        try:
            self._mark(chosen, self.kept)
        except (IntegrityError, NotFound) as error:
            raise self._naming(chosen, error) from error

    def _mark(self, digests: Iterable[str], reachable: Reachable) -> None:
        refs = [ref for digest in digests for ref in self._roots[digest].refs]
        mark_reachable(self._documents, refs, reachable, self._on_missing, paths=self._paths)

    def _naming(self, digests: Iterable[str], error: OcitoolError) -> OcitoolError:
        """Return an error with the image that it is about, found by looking at each alone."""
        for digest in digests:
            try:
                self._mark([digest], Reachable())
            except (IntegrityError, NotFound) as found:
                root = self._roots[digest].root
                called = familiar(root.names[0]) if root.names else root.called
                return type(found)(f"{called} is damaged: {found.message}", hint=found.hint)
        return error

    def remove(self, digests: Iterable[str]) -> None:
        """Note what some roots contain that are removed."""
        for digest in digests:
            found = Reachable()
            mark_readable(self._documents, self._roots[digest].refs, found)
            self.contents[digest] = frozenset(found.digests)

    def decide_attached(self, attached: Mapping[str, str], *, orphans: bool = False) -> list[str]:
        """Keep or remove each attached root as its subject is kept or removed; return the removed.

        `attached` maps roots to their subjects. A root whose subject is neither is an orphan, and
        stays unless `orphans` are to be removed. An artifact may be attached to an artifact, so
        this looks again until nothing changes.
        """
        undecided = dict(attached)
        to_remove: list[str] = []
        while undecided:
            removed = frozenset().union(*self.contents.values())
            decided = {d for d, subject in undecided.items() if is_in(subject, self.kept.digests)}
            if decided:
                self.keep(d for d in undecided if d in decided)
            else:
                decided = {d for d, s in undecided.items() if orphans or is_in(s, removed)}
                if not decided:
                    self.keep(undecided)
                    break
                chosen = [d for d in undecided if d in decided]
                self.remove(chosen)
                to_remove += chosen
            undecided = {d: s for d, s in undecided.items() if d not in decided}
        return to_remove
