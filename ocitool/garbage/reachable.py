"""What is reached from some roots, over a whole layout, with every manifest verified again.

Digests are texts here: there may be a hundred thousand of them.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from msgspec import Struct, field

from ocitool.errors import IntegrityError, NotFound, OcitoolError
from ocitool.garbage.references import Document, Edge, read_edges
from ocitool.oci import mediatype
from ocitool.places.layout import Layout

_STOPPED = "garbage cannot be told from it"
_REPAIR = "`ocitool verify` lists the damage; load or pull that image again, or `ocitool rm` it"
_LEAVES = frozenset(
    {
        mediatype.OCI_CONFIG,
        mediatype.DOCKER_CONFIG,
        *(mediatype.layer_type(c) for c in ("none", "gzip", "zstd")),
        *(mediatype.layer_type(c, docker=True) for c in ("none", "gzip", "zstd")),
    }
)


class Marks(Struct):
    """What walks came to: all digests, the documents that were entered, and what was absent.

    `found_by` says from where each was reached first; it stays empty unless that is wanted.
    """

    reached: set[str] = field(default_factory=set)
    entered: dict[str, Document] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    found_by: dict[str, str] = field(default_factory=dict)

    def copy(self) -> "Marks":
        """Return marks to which more can be added while these stay as they are."""
        return Marks(set(self.reached), dict(self.entered), set(self.absent), dict(self.found_by))


class Marker:
    """Walks a layout whose blobs were listed before: what is not in the list is absent.

    With `paths` it notes from where each blob was reached. Not thread-safe.
    """

    def __init__(self, layout: Layout, present: AbstractSet[str], *, paths: bool = False) -> None:
        self.present = present
        self._layout = layout
        self._paths = paths
        self._documents: dict[str, Document | None] = {}

    def mark(self, roots: Iterable[Edge], marks: Marks, *, tolerant: bool = False) -> None:
        """Add everything under the roots to the marks.

        IntegrityError for a blob that a stored manifest or index.json names and that is absent or
        damaged, unless `tolerant`: then what cannot be read leads nowhere.
        """
        stack = [(root, True) for root in roots]
        while stack:
            edge, of_an_index = stack.pop()
            marks.reached.add(edge.digest)
            if edge.digest in marks.entered or not self._is_present(edge, marks, tolerant):
                continue
            if not (of_an_index or mediatype.is_document(edge.media_type)):
                continue
            document = self._enter(edge, tolerant)
            if document is None:
                continue
            marks.entered[edge.digest] = document
            if self._paths:
                for child in document.edges:
                    marks.found_by.setdefault(child.digest, edge.digest)
            inside = not mediatype.is_manifest(edge.media_type)
            for child in document.edges:
                # Most are leaves, and there are many: these need no turn of their own.
                if child.media_type in _LEAVES and child.digest in self.present:
                    marks.reached.add(child.digest)
                else:
                    stack.append((child, inside))

    def document(self, edge: Edge) -> Document | None:
        """Return what a root leads to; None when it is no document or cannot be read."""
        return self._enter(edge, tolerant=True) if edge.digest in self.present else None

    def _is_present(self, edge: Edge, marks: Marks, tolerant: bool) -> bool:
        if edge.digest in self.present:
            return True
        if not (edge.optional or tolerant):
            raise IntegrityError(
                f"blob {edge.digest} is missing, and an image needs it; {_STOPPED}",
                hint=_REPAIR,
            )
        marks.absent.add(edge.digest)
        return False

    def _enter(self, edge: Edge, tolerant: bool) -> Document | None:
        if edge.digest in self._documents:
            return self._documents[edge.digest]
        try:
            document = read_edges(self._layout, edge)
        except NotFound as error:
            # It was listed a moment ago.
            if tolerant or edge.optional:
                return None
            raise IntegrityError(f"{error.message}; {_STOPPED}", hint=_REPAIR) from error
        except IntegrityError as error:
            if tolerant:
                return None
            message = f"{error.message}; {_STOPPED}"
            raise type(error)(message, hint=error.hint or _REPAIR) from error
        except OcitoolError:
            if tolerant:
                return None
            raise
        self._documents[edge.digest] = document
        return document


def path_to(digest: str, found_by: Mapping[str, str]) -> list[str]:
    """Return the digests that lead from a root to a digest, both included."""
    path = [digest]
    while (parent := found_by.get(path[-1])) is not None and parent not in path:
        path.append(parent)
    return path[::-1]
