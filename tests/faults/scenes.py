"""The commands that faults strike, the store they meet, and what must hold afterwards."""

import functools
import hashlib
import json
import random
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ocitool.bundles.inventory import Base
from ocitool.garbage import Choice, plan, sweep
from ocitool.places.layout import Layout
from tests.faults.power import Tree
from tests.support.images import build_image, build_index, docker_archive, oci_archive
from tests.support.layouts import bring, names_of, store, temporaries
from tests.support.made_bundles import made
from tests.support.registry import EmulatedRegistry
from tests.support.stores import checked

Names = Mapping[str, str]
"""What every name of a store means: a digest."""

HUB = "docker.io/library/"
GC = ("gc", "-f", "--containers", "none")
_SHARED = {"shared": b"a layer of several images " * 200}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A command on a small store. IN and OUT in `arguments` stand for paths, REGISTRY for a host.

    `fresh` begins without a store, `swept` with one whose garbage waits in its trash. `again` is
    the exit code of a second run after a first one. `undoable` are names that it takes away and
    that can come back.
    """

    arguments: tuple[str, ...]
    fresh: bool = False
    swept: bool = False
    again: int = 0
    undoable: tuple[str, ...] = ()

    @property
    def writes_a_file(self) -> bool:
        """Whether its result is a file beside the store."""
        return any("OUT/file" in argument for argument in self.arguments)


SCENES: Mapping[str, Scene] = {
    "load": Scene(arguments=("load", "IN/docker.tar")),
    "load-oci": Scene(arguments=("load", "IN/oci.tar")),
    "first-load": Scene(arguments=("load", "IN/docker.tar"), fresh=True),
    "tag": Scene(arguments=("tag", "old:1", "more:1", "both:2")),
    "untag": Scene(arguments=("untag", "both:2"), again=4),
    "rm": Scene(arguments=("rm", "gone:1"), again=4),
    "save": Scene(arguments=("save", "old:1", "both:1", "-o", "OUT/file.tar")),
    "copy": Scene(arguments=("copy", "both:1", "oci:OUT/layout:both")),
    "gc": Scene(arguments=(*GC, "-a", "--filter", "reference=gone"), undoable=(f"{HUB}gone:1",)),
    "undo": Scene(arguments=("gc", "--undo"), swept=True, again=4),
    "pin": Scene(arguments=("pin", "both:1", "--reason", "a release")),
    "bundle-create": Scene(
        arguments=("bundle", "create", "old:1", "both:1", "-o", "OUT/file.tar"),
    ),
    "bundle-join": Scene(arguments=("bundle", "join", "IN/volumes", "-o", "OUT/file.tar")),
    "bundle-load": Scene(arguments=("bundle", "load", "IN/next.delta.tar")),
    "bundle-load-layout": Scene(
        arguments=("bundle", "load", "IN/full.tar", "--to", "oci:OUT/layout")
    ),
    "pull": Scene(arguments=("pull", "--plain-http", "REGISTRY/team/image:1")),
}
COPIES: Mapping[str, Scene] = {
    "files-cp": Scene(arguments=("files", "cp", "old:1", "/old", "OUT/file.tar"), again=6)
}
"""What reads a store and writes beside it: only what it promises of that is put to the test."""


@functools.cache
def _images() -> dict[str, object]:
    return {
        "old": build_image([_SHARED, {"old": b"1"}]),
        "both": build_image([_SHARED, {"both": b"2"}]),
        "gone": build_image([_SHARED, {"gone": b"3" * 3000}]),
    }


def serve(registry: EmulatedRegistry) -> None:
    """Put the image into a registry that the scene "pull" brings: one layer comes in parts."""
    noise = random.Random(1).randbytes(5 << 19)
    image = build_image([_SHARED, {"noise": noise}])
    registry.add_image("team/image", image, "1")


def prepare(folder: Path, registry: str) -> None:
    """Write the archives and the store that scenes begin with, and where the registry is."""
    new = build_image([_SHARED, {"new": b"4" * 5000}])
    arm = build_image([_SHARED], platform="linux/arm64")
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "registry").write_text(registry)
    # One name is new, the other moves from an image that keeps another name.
    (folder / "in" / "docker.tar").write_bytes(docker_archive({"new:1": new, "both:2": new}))
    index = build_index([new, arm], attested=True)
    (folder / "in" / "oci.tar").write_bytes(oci_archive({f"{HUB}new:1": index}))
    with store(folder / "store") as layout:
        for name, image in _images().items():
            bring(layout, image, f"{HUB}{name}:1")  # type: ignore[arg-type]
        bring(layout, _images()["both"], f"{HUB}both:1", f"{HUB}both:2")  # type: ignore[arg-type]
    known = Base(digests=frozenset(_images()["both"].blobs))  # type: ignore[attr-defined]
    made(
        folder / "in" / "next.delta.tar", {f"{HUB}new:1": index, f"{HUB}both:2": new}, base=[known]
    )
    made(folder / "in" / "full.tar", {f"{HUB}new:1": index, f"{HUB}both:2": new})
    prepare_volumes(folder / "in" / "volumes")
    shutil.copytree(folder / "store", folder / "swept")
    with Layout.existing(str(folder / "swept")) as layout:
        found = plan(layout, Choice(everything=True, references=("gone",)), now=time.time())
        assert len(sweep(layout, found, now=time.time()).images) == 1


def prepare_volumes(folder: Path) -> None:
    """Write volumes of which one is lost, and the parity that gives it back."""
    folder.mkdir()
    noise = random.Random(2).randbytes(1_200_000)
    large = build_image([_SHARED, {"noise": noise}], compression="none")
    made(folder / "disk.tar", {f"{HUB}large:1": large}, volume_size=1_100_000, parity=True)
    shutil.rmtree(folder / "disk.layout")
    min(folder.glob("disk.v01of*.tar")).unlink()


class Stage:
    """A copy of the store on which one scene is played."""

    def __init__(self, scene: Scene, prepared: Path, folder: Path) -> None:
        self.scene = scene
        self.folder = folder
        self.store = folder / "store"
        self.out = folder / "out"
        self.out.mkdir(parents=True)
        self.inputs = prepared / "in"
        if not scene.fresh:
            shutil.copytree(prepared / ("swept" if scene.swept else "store"), self.store)

    @property
    def changed(self) -> Path:
        """The layout that the scene changes."""
        writes_a_layout = any("oci:OUT/layout" in text for text in self.scene.arguments)
        return self.out / "layout" if writes_a_layout else self.store

    @property
    def command(self) -> list[str]:
        """The words of the command, but for the program's name."""
        paths = {"IN": self.inputs, "OUT": self.out}
        words = [
            text
            if not (found := next((p for p in paths if f"{p}/" in text), None))
            else text.replace(found, str(paths[found]), 1)
            for text in self.scene.arguments
        ]
        host = (self.inputs / "registry").read_text()
        words = [text.replace("REGISTRY", host) for text in words]
        return ["--store", str(self.store), "--progress", "none", *words]

    def names(self) -> Names:
        """Return the names of the layout that the scene changes; none when it is not there."""
        return names_in(self.changed)

    def file(self) -> bytes | None:
        """Return the file that the scene writes, or None."""
        path = self.out / "file.tar"
        return path.read_bytes() if path.exists() else None

    def remove(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.folder)


def names_in(path: Path) -> Names:
    """Return what every name of a layout means; none when there is no layout yet."""
    if not (path / "oci-layout").exists():
        return {}
    with Layout.existing(str(path)) as layout:
        names = names_of(layout)
        labels = {r.label: str(r.descriptor.digest) for r in layout.roots() if r.label}
        pins = {f"pin {pin.digest}": pin.reason or "" for pin in layout.pins()}
        return {**names, **labels, **pins}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the command does when nothing disturbs it."""

    before: Names
    after: Names
    file: bytes | None


def assert_old_or_new(stage: Stage, expected: Expected) -> None:
    """Fail unless the store is sound and at its old or its new state, and the file whole."""
    for path in {stage.store, stage.changed}:
        if (path / "oci-layout").exists():
            json.loads((path / "index.json").read_bytes())
            report = checked(path)
            assert report.problems == ()
            assert report.unknown_files == ()
    assert stage.names() in (expected.before, expected.after)
    assert stage.file() in (None, expected.file)


def assert_done(stage: Stage, expected: Expected) -> None:
    """Fail unless the store is at its new state and nothing temporary is left."""
    assert_old_or_new(stage, expected)
    assert stage.names() == expected.after
    assert stage.file() == expected.file
    assert temporaries(stage.changed) == []


# The same on a tree in memory, with a reader of its own: it shares no code with ocitool.


@functools.lru_cache(maxsize=4096)
def _digest(data: bytes, algorithm: str) -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def _fits(data: bytes, digest: str) -> bool:
    return _digest(data, digest.partition(":")[0]) == digest


def names_in_tree(tree: Tree, store: str) -> dict[str, str] | None:
    """Return what every name in the tree of a layout means; None when it is not complete.

    Fails when index.json cannot be read, or leads to a blob that is absent or damaged.
    """
    if f"{store}/oci-layout" not in tree:
        return None
    raw = tree[f"{store}/index.json"]
    assert raw is not None, "index.json is a folder"
    names: dict[str, str] = {}
    for entry in json.loads(raw)["manifests"]:
        _follow(tree, store, entry)
        annotations = entry.get("annotations", {})
        name = annotations.get("org.opencontainers.image.ref.name")
        name = annotations.get("io.containerd.image.name", name)
        if name is not None:
            names[name] = entry["digest"]
    pins = json.loads(tree.get(f"{store}/.ocitool/pins.json") or b'{"pins":[]}')["pins"]
    return {**names, **{f"pin {pin['digest']}": pin["reason"] for pin in pins}}


def undoable_in_tree(tree: Tree, store: str, digest: str) -> bool:
    """Tell whether what was under a removed digest is all there, in the trash or still a blob."""
    runs = [path for path in tree if path.startswith(f"{store}/.ocitool/trash/")]
    records = [tree[path] or b"" for path in runs if path.endswith("/run.json")]
    found: dict[str, bytes | None] = {
        path.partition("/trash/")[2].partition("/")[2].replace("/", ":"): tree[path]
        for path in runs
    }
    found |= {
        path.partition("/blobs/")[2].replace("/", ":"): data
        for path, data in tree.items()
        if path.startswith(f"{store}/blobs/")
    }
    return any(
        digest in {entry["digest"] for entry in json.loads(record)["entries"]}
        and all(_fits(found.get(need) or b"", need) for need in json.loads(record)["needs"])
        for record in records
    )


def _follow(tree: Tree, store: str, descriptor: dict[str, object]) -> None:
    digest = str(descriptor["digest"])
    data = tree.get(f"{store}/blobs/{digest.replace(':', '/')}")
    assert data is not None, f"a name leads to {digest}, which is not there"
    assert _fits(data, digest), f"a name leads to {digest}, which is damaged"
    if "manifest" in str(descriptor["mediaType"]) or "index" in str(descriptor["mediaType"]):
        document = json.loads(data)
        parts = [*document.get("manifests", ()), *document.get("layers", ())]
        for part in [*parts, *([document["config"]] if "config" in document else [])]:
            _follow(tree, store, part)


def reflog_in_tree(tree: Tree, store: str) -> set[tuple[str, str | None, str | None]]:
    """Return the changes of names that the reflog of a tree remembers."""
    found = set()
    for line in (tree.get(f"{store}/.ocitool/reflog") or b"").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # A cut line is no line.
        found.add((entry["name"], entry["old"], entry["new"]))
    return found
