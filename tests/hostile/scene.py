"""Where a hostile input is set loose: its own folder, a store, and a canary beside them."""

import hashlib
import json
import os
import shutil
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from fixtures.hostile import CANARY, SECRET, Case

_HASHED = 1 << 20
_UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")

Snapshot = dict[str, tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Scene:
    """A folder with `input`, `store`, `scratch` and the canary in it."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, template: Path) -> "Scene":
        """Lay out the scene with a copy of a store."""
        canary = folder / CANARY
        canary.mkdir(parents=True)
        (canary / "secret").write_bytes(SECRET)
        (canary / "hard").hardlink_to(canary / "secret")
        (canary / "link").symlink_to("secret")
        (canary / "deep" / "folder").mkdir(parents=True)
        (folder / "input").mkdir()
        (folder / "scratch").mkdir()
        shutil.copytree(template, folder / "store", symlinks=True)
        return cls(folder)

    @property
    def input(self) -> Path:
        """The folder that a case is built into."""
        return self.folder / "input"

    @property
    def store(self) -> Path:
        """The store."""
        return self.folder / "store"

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a command."""
        return {
            "OCITOOL_STORE": str(self.store),
            "OCITOOL_TMP_DIR": str(self.folder / "scratch"),
        }

    def around_the_store(self) -> Snapshot:
        """Return everything outside the store, to the inode and the nanosecond."""
        found = snapshot(self.folder, but=self.store)
        status = os.lstat(self.store)
        found["store itself"] = (status.st_ino, status.st_mode)
        return found

    def in_the_store(self) -> Snapshot:
        """Return what the store holds: names and blobs, not its locks and caches."""
        kept = snapshot(self.store)
        ours = (".ocitool/lock", ".ocitool/cache", ".ocitool/reflog", ".ocitool/reserve")
        return {
            path: facts
            for path, facts in kept.items()
            if not path.startswith(ours) and not stat.S_ISDIR(int(str(facts[0])))
        }

    def leftovers(self) -> list[str]:
        """Return temporary files and leases that commands have left."""
        found = []
        for name in ("tmp", "leases"):
            folder = self.store / ".ocitool" / name
            if folder.is_dir() and not folder.is_symlink():
                found += [str(path) for path in folder.iterdir() if path.name != "x"]
        return found

    def listed(self) -> list[object] | None:
        """Return the entries of index.json, None where an attack left nothing to read."""
        path = self.store / "index.json"
        try:
            entries: list[object] = json.loads(path.read_bytes())["manifests"]
        except ValueError:
            return None
        return entries


def snapshot(folder: Path, *, but: Path | None = None) -> Snapshot:
    """Return what can be known of everything below a folder without following a link."""
    found: Snapshot = {}
    stack = [str(folder)]
    while stack:
        path = stack.pop()
        status = os.lstat(path)
        content: object = None
        if stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        elif stat.S_ISREG(status.st_mode) and status.st_size <= _HASHED:
            content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        elif stat.S_ISDIR(status.st_mode):
            stack += [entry.path for entry in os.scandir(path) if entry.path != str(but)]
        found[os.path.relpath(path, folder)] = (
            status.st_mode,
            status.st_ino,
            status.st_nlink,
            status.st_uid,
            status.st_gid,
            status.st_size,
            status.st_mtime_ns,
            content,
        )
    return found


def words(case: Case, path: Path) -> tuple[list[str], list[str], list[str]]:
    """Return the arguments of load, inspect and verify for a case."""
    text = str(path)
    if case.place == "store":
        return ["load", text], ["inspect", "--no-trunc", "example/app:1"], ["verify"]
    if case.place == "oci":
        text = f"oci:{text}"
    elif case.place == "folder":
        text = f"dir:{text}"
    return ["load", text], ["inspect", "--no-trunc", text], ["verify", text]


def control_characters(data: bytes) -> set[str]:
    """Return the characters that can control a terminal or hide in a log, but for newlines."""
    text = data.decode()
    return {c for c in set(text) if c != "\n" and unicodedata.category(c) in _UNSAFE}
