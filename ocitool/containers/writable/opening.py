"""Opening the writable layer of a container, and the image below it."""

import contextlib
import datetime as dt
import os
from collections.abc import Collection, Iterator
from functools import cached_property

from ocitool.containers.bundle_facts import BundleFacts, open_bundle, read_facts
from ocitool.containers.bundles import ROOT_FOLDER, UPPER_FOLDER
from ocitool.containers.images import look_at_image
from ocitool.containers.records import Container
from ocitool.containers.staging import TREES
from ocitool.containers.unpacking import is_root
from ocitool.containers.writable.changes import Change, Letter
from ocitool.containers.writable.cursor import Cursor
from ocitool.containers.writable.files import Files
from ocitool.containers.writable.lower import ImageLower, TreeLower
from ocitool.containers.writable.marks import Marks
from ocitool.containers.writable.members import Owner
from ocitool.containers.writable.walking import find_changes
from ocitool.errors import NotFound, Refused
from ocitool.fsops import Directory
from ocitool.inside.hashes import Hashes
from ocitool.inside.image import Inside
from ocitool.places.layout import Layout
from ocitool.places.layout.layout import CONTROL

_OF_THE_RUNTIME = frozenset(
    {
        "dev",
        "proc",
        "sys",
        "etc/hosts",
        "etc/hostname",
        "etc/resolv.conf",
        "run/.containerenv",
    }
)
"""Paths that runtimes and engines make in every container: they are not changes."""


class Writable:
    """The files of a container: `upper` is what it wrote, `tree` the unpacked image below it.

    `tree` is None if `upper` is a copy of the whole image.
    """

    def __init__(
        self,
        layout: Layout,
        container: Container,
        facts: BundleFacts,
        upper: Directory,
        tree: Directory | None,
    ) -> None:
        self.container = container
        self.facts = facts
        self.upper = upper
        self.tree = tree
        self._layout = layout

    @property
    def marks(self) -> Marks:
        """How the overlay marks what is deleted."""
        if self.tree is None:
            return Marks(None)
        return Marks("user.overlay." if self.facts.is_rootless else "trusted.overlay.")

    @property
    def files(self) -> Files:
        """What the container sees outside of its mounts."""
        return Files(self.upper, self.tree, self.marks)

    @property
    def skip(self) -> frozenset[str]:
        """The paths that are not the container's: mounts, and what runtimes make."""
        return _OF_THE_RUNTIME | self.facts.mounts

    def changes(self) -> list[Change]:
        """Return what the container changed, each folder before what is in it."""
        if self.tree is None:
            inside = look_at_image(self._layout, self.container, Hashes.ALL)
            made = int(dt.datetime.fromisoformat(self.container.created).timestamp() * 10**9)
            lower = ImageLower(inside, made=made, rootless=self.facts.is_rootless)
            return find_changes(self.upper, lower, skip=self.skip, marks=self.marks)
        with Cursor(self.tree) as cursor:
            return find_changes(self.upper, TreeLower(cursor), skip=self.skip, marks=self.marks)

    def added(self) -> set[str]:
        """Return the paths that the container added, where their owners need them to be known."""
        if not self.facts.is_rootless:
            return set()
        return {one.path for one in self.changes() if one.letter is Letter.ADDED}

    def owners(self, added: Collection[str]) -> Owner:
        """Return what tells the owner of a path as the image would have it.

        In a rootless container all files of the image seem to belong to its one user. So they keep
        the owner that the image gives them; only those in `added` are the container's own.
        """
        if not self.facts.is_rootless:
            return lambda _, status: (status.st_uid, status.st_gid)
        tree = self.image.tree

        def owner(path: str, status: os.stat_result) -> tuple[int, int]:
            if path not in added:
                with contextlib.suppress(NotFound):
                    node = tree.find(path, follow=False)
                    return node.uid, node.gid
            return self.facts.owner(status.st_uid, status.st_gid)

        return owner

    @cached_property
    def image(self) -> Inside:
        """The image as its layers have it, with the owners that a rootless container cannot see."""
        return look_at_image(self._layout, self.container)


@contextlib.contextmanager
def open_writable(layout: Layout, container: Container) -> Iterator[Writable]:
    """Open the files of a container for the block.

    NotFound if its bundle or the unpacked image is gone, Refused if this user cannot see what root
    has written in it.
    """
    with contextlib.ExitStack() as opened:
        bundle = opened.enter_context(open_bundle(container))
        facts = read_facts(bundle)
        if not facts.is_rootless and not is_root():
            raise Refused(
                f"container {container.name} was made by root, and only root can read its files",
                hint="run the command as root",
            )
        if container.tree is None:
            upper = opened.enter_context(bundle.subdirectory(ROOT_FOLDER))
            yield Writable(layout, container, facts, upper, None)
            return
        upper = opened.enter_context(bundle.subdirectory(UPPER_FOLDER))
        tree = opened.enter_context(_open_tree(layout, container))
        yield Writable(layout, container, facts, upper, tree)


def container_changes(layout: Layout, container: Container) -> list[Change]:
    """Return what a container changed in the files of its image, as `docker diff` tells it.

    A folder stands before what is in it. Raises what `open_writable` raises.
    """
    with open_writable(layout, container) as writable:
        return [change for change in writable.changes() if change.letter is not None]


def _open_tree(layout: Layout, container: Container) -> Directory:
    try:
        with layout.folder.subdirectory(CONTROL) as control, control.subdirectory(TREES) as trees:
            return trees.subdirectory(container.tree or "")
    except NotFound as error:
        raise NotFound(
            f"the unpacked image of container {container.name} is gone from the store",
            hint=f"its own files are still in {container.bundle!r}; a new container unpacks again",
        ) from error
