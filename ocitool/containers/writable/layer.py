"""The layer of an image that holds exactly what a container changed (image-spec layer.md)."""

import os
from collections.abc import Iterator, Sequence

from ocitool.containers.writable.changes import Change, Letter
from ocitool.containers.writable.members import Members
from ocitool.containers.writable.opening import Writable
from ocitool.errors import NotFound, Refused
from ocitool.formats.tar.writing import ended
from ocitool.image.layers import OPAQUE_WHITEOUT, WHITEOUT_PREFIX, Tree
from ocitool.image.layers.tree import below

_WHITEOUT_MODE = 0o600
_PERMISSIONS = 0o777


class LayerTar:
    """The tar of a layer. `left_out` counts the sockets that are not in it, once it was read."""

    def __init__(
        self, writable: Writable, changes: Sequence[Change], *, newest: int | None = None
    ) -> None:
        self._writable = writable
        self._changes = changes
        owners = writable.owners({one.path for one in changes if one.letter is Letter.ADDED})
        self._members = Members(owners, newest=newest)

    @property
    def left_out(self) -> int:
        """How many sockets and unusable devices were left out so far."""
        return self._members.left_out

    def pieces(self) -> Iterator[bytes]:
        """Yield the tar: each folder before what is in it, whiteouts in place of what is deleted.

        Equal changes give equal bytes. Refused if something changes while it is read.
        """
        return ended(self._pieces())

    def _pieces(self) -> Iterator[bytes]:
        tree = Tree(self._writable.upper)
        try:
            for change in self._changes:
                if change.letter is not Letter.DELETED:
                    yield from self._member(tree, change)
                elif not change.hidden:
                    parent, _, name = change.path.rpartition("/")
                    whiteout = below(parent, f"{WHITEOUT_PREFIX}{name}")
                    yield self._members.empty(whiteout, mode=_WHITEOUT_MODE)
        except NotFound as error:
            raise _changed(error.message) from error
        finally:
            tree.close()

    def _member(self, tree: Tree, change: Change) -> Iterator[bytes]:
        spot = tree.spot(change.path)
        status = spot.folder.status(spot.name) if spot is not None else None
        if spot is None or status is None:
            raise _changed(f"{change.path!r} was removed while the layer was made")
        yield from self._members.member(spot.folder, spot.name, change.path, status)
        if change.opaque:
            yield self._opaque(change.path, status)

    def _opaque(self, path: str, status: os.stat_result) -> bytes:
        return self._members.empty(
            f"{path}/{OPAQUE_WHITEOUT}",
            mode=status.st_mode & _PERMISSIONS,
            owner=self._members.owner(path, status),
        )


def _changed(text: str) -> Refused:
    return Refused(text, hint="stop the container first, or let it be paused meanwhile")
