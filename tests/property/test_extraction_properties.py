"""Generated layers of links, folders, files and whiteouts, unpacked and compared with an oracle."""

import contextlib
import copy
import io
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocitool.errors import MalformedArchive
from ocitool.fsops import Directory
from ocitool.image.layers import Extraction
from ocitool.oci import Digest
from tests.support.examples import part_of
from tests.support.root_tree import Kind, Member, Nonsense, RootTree, Seen, seen_on_disk

_TYPES = {
    "folder": tarfile.DIRTYPE,
    "file": tarfile.REGTYPE,
    "link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
}
_KINDS: list[Kind | None] = ["folder", "file", "file", "link", "link", "hard link", None]
"""None is a whiteout."""
OUTSIDE = "outside"
_PARTS = st.sampled_from(["a", "b", "c", "..", "."])
_PATHS = st.lists(_PARTS, min_size=1, max_size=4).map("/".join)
_NAMES = st.sampled_from(["a", "b", "c"])
_TARGETS = st.one_of(
    _PATHS,
    _PATHS.map(lambda path: f"/{path}"),
    st.sampled_from(
        ["/", "..", "../..", f"../{OUTSIDE}", f"/../{OUTSIDE}/canary", f"../../{OUTSIDE}/folder"]
    ),
    st.just(f"ABSOLUTE/{OUTSIDE}"),
)


@st.composite
def members(draw: st.DrawFn) -> Member:
    """A member that may be anything; most are sensible."""
    kind = draw(st.sampled_from(_KINDS))
    path = draw(_PATHS | _PATHS.map(lambda path: f"/{path}"))
    if kind is None:
        hidden = draw(_NAMES | st.sampled_from([".wh..opq", ".wh..opq", ".wh.aufs", "", "."]))
        return Member(path=f"{path}/.wh.{hidden}", kind="file")
    text = draw(_TARGETS) if kind in ("link", "hard link") else draw(st.text("xyz", max_size=3))
    mode = draw(st.sampled_from([0o755, 0o700, 0o555, 0o000, 0o1777]))
    return Member(path=path, kind=kind, text=text, mode=mode, time=draw(st.integers(1, 1 << 31)))


LAYERS = st.lists(st.lists(members(), max_size=10), min_size=1, max_size=3)


def as_tar(layer: Sequence[Member]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in layer:
            info = tarfile.TarInfo(member.path)
            info.type, info.mode, info.mtime = _TYPES[member.kind], member.mode, member.time
            data = member.text.encode() if member.kind == "file" else b""
            info.size = len(data)
            info.linkname = member.text if member.kind in ("link", "hard link") else ""
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class Scene:
    """A folder to unpack into, beside one that must never change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.outside = folder / OUTSIDE
        self.root.mkdir(mode=0o700)
        (self.outside / "folder").mkdir(parents=True)
        (self.outside / "canary").write_text("a canary of the host")
        (self.outside / "folder" / "deeper").write_text("another")
        self._before = self._state()

    def _state(self) -> tuple[object, ...]:
        inodes = {
            str(path): (path.lstat().st_nlink, path.lstat().st_mode, path.lstat().st_mtime_ns)
            for path in (self.outside, *self.outside.rglob("*"))
        }
        return sorted(self.folder.iterdir()), inodes, seen_on_disk(self.outside)

    def placed(self, layers: Sequence[Sequence[Member]]) -> list[list[Member]]:
        """Return the layers with targets that name the real folder outside."""
        return [
            [
                Member(
                    path=member.path,
                    kind=member.kind,
                    text=member.text.replace("ABSOLUTE", str(self.folder)),
                    mode=member.mode,
                    time=member.time,
                )
                for member in layer
            ]
            for layer in layers
        ]

    def unpack(self, layers: Sequence[Sequence[Member]]) -> Seen | None:
        """Unpack; None when it was refused."""
        try:
            with Directory.open(str(self.root)) as root, Extraction(root) as extraction:
                for layer in layers:
                    data = as_tar(layer)
                    digest = Digest.of(data)
                    extraction.layer(io.BytesIO(data), digest, stored=digest)
                extraction.finish()
        except MalformedArchive:
            return None
        return seen_on_disk(self.root)

    def assert_nothing_outside_changed(self) -> None:
        assert self._state() == self._before
        for path in self.root.rglob("*"):
            if path.is_file() and not path.is_symlink():
                assert "canary of the host" not in path.read_text()


def meaning(layers: Sequence[Sequence[Member]]) -> Seen | None:
    tree = RootTree()
    try:
        for number, layer in enumerate(layers):
            tree.apply(number, layer)
    except Nonsense:
        return None
    return tree.seen()


def sensible(layers: Sequence[Sequence[Member]]) -> list[list[Member]]:
    """Return the layers without what has to be refused, so that more of the rest is seen."""
    tree = RootTree()
    kept: list[list[Member]] = []
    for number, layer in enumerate(layers):
        kept.append([])
        for member in layer:
            trial = copy.deepcopy(tree)
            with contextlib.suppress(Nonsense):
                trial.apply(number, [member])
                kept[-1].append(member)
                tree = trial
    return kept


def without_unknown_times(seen: Seen | None, known: Seen | None) -> Seen | None:
    """Return what is on the disk, without the times of folders that no member described."""
    if seen is None or known is None:
        return seen
    return {
        path: (*what[:2], None)
        if what[0] == "folder" and known.get(path, (0, 0, 0))[2] is None
        else what
        for path, what in seen.items()
    }


def check(layers: Sequence[Sequence[Member]], *, nonsense: bool) -> None:
    folder = Path(tempfile.mkdtemp(prefix="extraction-"))
    try:
        scene = Scene(folder)
        placed = scene.placed(layers)
        if not nonsense:
            placed = sensible(placed)
        expected = meaning(placed)
        unpacked = scene.unpack(placed)
        scene.assert_nothing_outside_changed()
        assert without_unknown_times(unpacked, expected) == expected
    finally:
        shutil.rmtree(folder)


@settings(max_examples=part_of(75), deadline=None)
@given(LAYERS, st.sampled_from([False, False, True]))
def test_a_tree_is_what_a_process_in_it_would_have_made(
    layers: list[list[Member]], nonsense: bool
) -> None:
    check(layers, nonsense=nonsense)


@pytest.mark.soak
@settings(max_examples=20_000, deadline=None)
@given(LAYERS, st.sampled_from([False, False, True]))
def test_twenty_thousand_trees_are(layers: list[list[Member]], nonsense: bool) -> None:
    check(layers, nonsense=nonsense)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_the_canary_would_be_seen(scene: Scene) -> None:
    (scene.outside / "canary").chmod(0o600)
    with pytest.raises(AssertionError):
        scene.assert_nothing_outside_changed()
