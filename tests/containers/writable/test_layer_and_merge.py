"""Random writable layers: the image with the layer of the changes is what the container sees."""

import os
import random
import stat
from pathlib import Path
from typing import Any, cast

import pytest

from ocitool.containers.bundle_facts import BundleFacts
from ocitool.containers.writable.files import Files
from ocitool.containers.writable.layer import LayerTar
from ocitool.containers.writable.marks import Marks
from ocitool.containers.writable.merged import walk_files
from ocitool.containers.writable.opening import Writable
from ocitool.fsops import Directory
from ocitool.image.layers import Extraction, Keep
from tests.containers.writable.trees import Trees, needs_root

pytestmark = needs_root
NAMES = ("a", "b", "c", ".wh-like", "d\n")
FACTS = BundleFacts(config={}, mounts=frozenset(), is_rootless=False)


class Maker:
    """Fills the two folders, by the numbers of one seed."""

    def __init__(self, trees: Trees, seed: int) -> None:
        self._random = random.Random(seed)
        self._trees = trees
        self._files: list[Path] = []
        self._fill(trees.lower, depth=0)
        self._files = []
        self._write(Path(), depth=0)

    def _fill(self, folder: Path, *, depth: int) -> None:
        for name in self._some():
            path = folder / name
            if depth < 3 and self._random.random() < 0.5:
                path.mkdir(mode=self._random.choice([0o755, 0o700]))
                self._fill(path, depth=depth + 1)
            else:
                self._leaf(path)

    def _leaf(self, path: Path) -> None:
        what = self._random.randrange(5)
        if what == 0:
            path.symlink_to(self._random.choice(["a", "/b", "../c"]))
        elif what == 1 and self._files:
            os.link(self._random.choice(self._files), path, follow_symlinks=False)
        else:
            path.write_text(str(self._random.randrange(3)))
            path.chmod(self._random.choice([0o644, 0o4755]))
            os.chown(path, self._random.randrange(2), 0)
            os.utime(path, (1000, 1000 + self._random.randrange(2)))
            self._files.append(path)

    def _some(self) -> list[str]:
        return [name for name in NAMES if self._random.random() < 0.6]

    def _write(self, inside: Path, *, depth: int) -> None:
        """Write to the upper folder as an overlay would: over files, folders and nothing."""
        upper, lower = self._trees.upper / inside, self._trees.lower / inside
        for name in self._some():
            old = lower / name
            there = os.path.lexists(old)
            if there and self._random.random() < 0.3:
                os.mknod(upper / name, stat.S_IFCHR, 0)
            elif depth < 3 and self._random.random() < 0.5:
                (upper / name).mkdir(mode=self._random.choice([0o755, 0o711]))
                if there and (not old.is_dir() or old.is_symlink() or self._random.random() < 0.3):
                    self._trees.mark(str(inside / name), "opaque")
                self._write(inside / name, depth=depth + 1)
            else:
                self._leaf(upper / name)


def seen(files: Files) -> dict[str, tuple[Any, ...]]:
    """Return what is at each path: type, mode, owner, content; and which names are one file."""
    found: dict[str, tuple[Any, ...]] = {}
    first: dict[tuple[int, int], str] = {}
    for one in walk_files(files):
        status = one.status
        content: object = None
        if stat.S_ISREG(status.st_mode):
            content = one.folder.read_file(one.name, 1000)
        elif stat.S_ISLNK(status.st_mode):
            content = one.folder.link_target(one.name)
        same = ""
        if not stat.S_ISDIR(status.st_mode):
            same = first.setdefault((status.st_dev, status.st_ino), one.path)
        found[one.path] = (status.st_mode, status.st_uid, status.st_gid, content, same)
    return found


@pytest.mark.parametrize("seed", range(30))
def test_the_image_and_the_layer_are_what_the_container_sees(tmp_path: Path, seed: int) -> None:
    trees = Trees(tmp_path)
    Maker(trees, seed)
    assert os.spawnvp(os.P_WAIT, "cp", ["cp", "-a", str(trees.lower), str(tmp_path / "image")]) == 0
    with (
        Directory.open(str(trees.upper)) as upper,
        Directory.open(str(trees.lower)) as lower,
        Directory.open(str(tmp_path / "image")) as image,
    ):
        writable = Writable(cast("Any", None), cast("Any", None), FACTS, upper, lower)
        changes = writable.changes()
        keep = Keep(owners=True, set_id=True, attributes=True, special=True)
        with Extraction(image, keep=keep) as extraction:
            extraction.tar(LayerTar(writable, changes).pieces())
            extraction.finish()
        assert seen(Files(image, None, Marks(None))) == seen(writable.files)
        # And a layer without anything superfluous: each letter is a difference.
        before = seen(Files(lower, None, Marks(None)))
        after = seen(writable.files)
        for change in changes:
            if change.letter == "A":
                assert change.path not in before or change.hidden
            elif change.letter == "D":
                assert change.path in before
                assert change.path not in after
