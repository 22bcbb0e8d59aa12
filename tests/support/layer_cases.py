"""What layers mean, case by case: decided once, for unpacking and for looking alike.

Each case says by hand what is there when all its layers have been applied.
"""

import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

from tests.support.root_files import Node, folder, hard_link, link
from tests.support.small_images import gone, opaque


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCase:
    """Layers, and the tree that they make.

    In `tree` a file stands as its content, a link as "-> target", a folder as "/", a FIFO as "|".
    Names of one inode are listed in `linked`, sorted. `modes` are some of the paths' modes.
    """

    name: str
    layers: tuple[tuple[Node, ...], ...]
    tree: Mapping[str, str]
    linked: tuple[tuple[str, ...], ...] = ()
    modes: Mapping[str, int] | None = None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Layers that are not unpacked, and what looking at them tells: problems, and the rest."""

    name: str
    layers: tuple[tuple[Node, ...], ...]
    problems: tuple[tuple[int, str, str], ...]
    tree: Mapping[str, str]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Layers that mean one thing all at once, and another in the order of their tars."""

    name: str
    layers: tuple[tuple[Node, ...], ...]
    looked: Mapping[str, str]
    unpacked: Mapping[str, str]

    def __str__(self) -> str:
        return self.name


def f(path: str, text: str = "x", **options: object) -> Node:
    """Return a file with a short content."""
    return Node(path=path, data=text.encode(), **options)  # type: ignore[arg-type]


def fifo(path: str) -> Node:
    """Return a FIFO."""
    return Node(path=path, type=tarfile.FIFOTYPE)


D_OLD = (folder("d"), f("d/old"), folder("d/sub"), f("d/sub/old"))
EVERY_BYTE = "".join(
    bytes([code]).decode("utf-8", "surrogateescape") for code in range(1, 256) if code != ord("/")
)
LONGEST = "/".join(["n" * 255] * 15)

WHITEOUTS = (
    LayerCase(
        name="a whiteout hides a file",
        layers=((f("a"), f("b")), (gone("a"),)),
        tree={"b": "x"},
    ),
    LayerCase(
        name="a whiteout hides a folder and all in it",
        layers=((*D_OLD, f("e")), (gone("d"),)),
        tree={"e": "x"},
    ),
    LayerCase(
        name="a whiteout hides nothing of its own layer, which stands before it",
        layers=((*D_OLD, f("a", "old")), (f("a", "new"), f("d/new"), gone("d"), gone("a"))),
        tree={"a": "new", "d": "/", "d/new": "x"},
    ),
    LayerCase(
        name="a whiteout hides nothing of its own layer, which stands after it",
        layers=((*D_OLD, f("a", "old")), (gone("a"), gone("d"), folder("d", 0o700), f("a", "new"))),
        tree={"a": "new", "d": "/"},
        modes={"d": 0o700},
    ),
    LayerCase(
        name="a whiteout of a dot file that its layer makes again",
        layers=((folder(".c"), f(".c/old")), (folder(".c"), f(".c/new"), gone(".c"))),
        tree={".c": "/", ".c/new": "x"},
    ),
    LayerCase(
        name="a whiteout of nothing is nothing",
        layers=((f("a"),), (gone("ghost"), gone("no/where"), gone("a/b"), f("c"))),
        tree={"a": "x", "c": "x"},
    ),
    LayerCase(
        name="a whiteout twice is one",
        layers=((f("a"), f("b")), (gone("a"), gone("a"))),
        tree={"b": "x"},
    ),
    LayerCase(
        name="a whiteout in the first layer hides nothing",
        layers=((gone("a"), f("a"), gone("b")),),
        tree={"a": "x"},
    ),
    LayerCase(
        name="a whiteout is one whatever its type is",
        layers=(
            (f("a"), f("b"), f("c"), f("d"), f("e"), f("keep")),
            (
                gone("a", data=b"with data"),
                gone("b", type=tarfile.DIRTYPE),
                gone("c", type=tarfile.LNKTYPE, target="keep"),
                gone("d", type=tarfile.SYMTYPE, target="keep"),
                gone("e", type=tarfile.CHRTYPE),
            ),
        ),
        tree={"keep": "x"},
    ),
    LayerCase(
        name="a whiteout of a link hides the link, not what it leads to",
        layers=((folder("t"), f("t/a"), link("l", "t")), (gone("l"),)),
        tree={"t": "/", "t/a": "x"},
    ),
    LayerCase(
        name="a whiteout below a link of a lower layer follows it",
        layers=((folder("t"), f("t/a"), f("t/b"), link("l", "/t")), (gone("l/a"),)),
        tree={"t": "/", "t/b": "x", "l": "-> /t"},
    ),
    LayerCase(
        name="a whiteout of a folder is not undone by a later layer",
        layers=(D_OLD, (gone("d"),), (folder("d"), f("d/new"))),
        tree={"d": "/", "d/new": "x"},
    ),
    LayerCase(
        name="a whiteout of one name of a file leaves the other",
        layers=((f("a"), hard_link("b", "a")), (gone("a"),)),
        tree={"b": "x"},
    ),
    LayerCase(
        name="what aufs kept for itself is no file",
        layers=((f("a"), f(".wh..wh.aufs"), folder(".wh..wh.orph")), (f("d/.wh..wh.aufs"),)),
        tree={"a": "x"},
    ),
)

OPAQUE = (
    LayerCase(
        name="an opaque folder shows its own layer alone",
        layers=(D_OLD, (folder("d"), opaque("d"), f("d/new"))),
        tree={"d": "/", "d/new": "x"},
    ),
    LayerCase(
        name="an opaque folder does so wherever its marker stands",
        layers=(D_OLD, (f("d/sub/new"), opaque("d"), f("d/more"))),
        tree={"d": "/", "d/more": "x", "d/sub": "/", "d/sub/new": "x"},
    ),
    LayerCase(
        name="an opaque folder keeps itself",
        layers=((folder("d", 0o700), f("d/old")), (opaque("d"),)),
        tree={"d": "/"},
        modes={"d": 0o700},
    ),
    LayerCase(
        name="an opaque root shows the layer alone",
        layers=((*D_OLD, f("a")), (f("b"), opaque(""))),
        tree={"b": "x"},
    ),
    LayerCase(
        name="an opaque folder that is not there is nothing",
        layers=((f("a"),), (opaque("no/where"), opaque("a"))),
        tree={"a": "x"},
    ),
    LayerCase(
        name="an opaque folder beside whiteouts in it",
        layers=(D_OLD, (gone("d/old"), opaque("d"), gone("d/sub"), f("d/old", "new"))),
        tree={"d": "/", "d/old": "new"},
    ),
    LayerCase(
        name="an opaque folder below a link of a lower layer",
        layers=((folder("t"), f("t/old"), link("l", "t")), (opaque("l"), f("l/new"))),
        tree={"t": "/", "t/new": "x", "l": "-> t"},
    ),
)

TYPES = (
    LayerCase(
        name="a folder over a folder keeps what is in it and changes its mode",
        layers=((folder("d", 0o755), f("d/a")), (folder("d", 0o500),)),
        tree={"d": "/", "d/a": "x"},
        modes={"d": 0o500},
    ),
    LayerCase(
        name="a folder over a file",
        layers=((f("p"),), (folder("p"), f("p/a"))),
        tree={"p": "/", "p/a": "x"},
    ),
    LayerCase(
        name="a file over a folder",
        layers=(D_OLD, (f("d", "flat"),)),
        tree={"d": "flat"},
    ),
    LayerCase(
        name="a folder over a link to a folder replaces the link",
        layers=((folder("t"), f("t/a"), link("l", "t")), (folder("l"), f("l/b"))),
        tree={"t": "/", "t/a": "x", "l": "/", "l/b": "x"},
    ),
    LayerCase(
        name="a link over a folder replaces all below it",
        layers=((*D_OLD, folder("t")), (link("d", "t"),)),
        tree={"t": "/", "d": "-> t"},
    ),
    LayerCase(
        name="a link over a link",
        layers=((link("l", "a"),), (link("l", "b"),)),
        tree={"l": "-> b"},
    ),
    LayerCase(
        name="a FIFO over a file, a file over a FIFO",
        layers=((f("a"), fifo("b")), (fifo("a"), f("b"))),
        tree={"a": "|", "b": "x"},
    ),
    LayerCase(
        name="to and fro within one layer",
        layers=((folder("d"), f("d/x"), f("d", "flat"), folder("d"), f("d/y")),),
        tree={"d": "/", "d/y": "x"},
    ),
    LayerCase(
        name="to and fro across layers",
        layers=(D_OLD, (f("d", "flat"),), (folder("d"),), (link("d", "e"),), (f("d", "end"),)),
        tree={"d": "end"},
    ),
    LayerCase(
        name="a member that stands twice in its layer is the last one",
        layers=((f("a", "first"), folder("d", 0o700), f("d/x"), f("a", "last"), folder("d")),),
        tree={"a": "last", "d": "/", "d/x": "x"},
        modes={"d": 0o755},
    ),
    LayerCase(
        name="the root may have a member of its own",
        layers=((folder("./", 0o700), f("a")), (folder("."),)),
        tree={"a": "x"},
    ),
)

HARD_LINKS = (
    LayerCase(
        name="hard links are one file",
        layers=((f("a"), hard_link("d/b", "a"), hard_link("c", "/d/b")),),
        tree={"a": "x", "c": "x", "d": "/", "d/b": "x"},
        linked=(("a", "c", "d/b"),),
    ),
    LayerCase(
        name="a later layer replaces one name, and the others stay what they were",
        layers=(
            (f("t1", "123"), hard_link("t2", "t1"), hard_link("t3", "t1")),
            (f("t1", "456"),),
        ),
        tree={"t1": "456", "t2": "123", "t3": "123"},
        linked=(("t2", "t3"),),
    ),
    LayerCase(
        name="the same layer replaces one name, and the others stay what they were",
        layers=((f("a", "old"), hard_link("b", "a"), f("a", "new")),),
        tree={"a": "new", "b": "old"},
    ),
    LayerCase(
        name="a hard link to a file of a lower layer",
        layers=((f("a"),), (hard_link("b", "a"),)),
        tree={"a": "x", "b": "x"},
        linked=(("a", "b"),),
    ),
    LayerCase(
        name="a hard link to itself is the file that was there",
        layers=((f("a"), hard_link("a", "./a")),),
        tree={"a": "x"},
    ),
    LayerCase(
        name="a hard link takes the place of a file and of a folder",
        layers=((f("a"), f("b", "old"), *D_OLD), (hard_link("b", "a"), hard_link("d", "a"))),
        tree={"a": "x", "b": "x", "d": "x"},
        linked=(("a", "b", "d"),),
    ),
    LayerCase(
        name="a hard link to a link is a second name of the link",
        layers=((link("l", "a"), hard_link("m", "l")),),
        tree={"l": "-> a", "m": "-> a"},
        linked=(("l", "m"),),
    ),
    LayerCase(
        name="the target of a hard link is found through links",
        layers=((folder("t"), f("t/a"), link("l", "t"), hard_link("b", "l/a")),),
        tree={"t": "/", "t/a": "x", "l": "-> t", "b": "x"},
        linked=(("b", "t/a"),),
    ),
    LayerCase(
        name="a hard link to what a whiteout of its layer hides finds the new file",
        layers=((f("a", "old"),), (f("a", "new"), hard_link("b", "a"), gone("a"))),
        tree={"a": "new", "b": "new"},
        linked=(("a", "b"),),
    ),
)

PATHS = (
    LayerCase(
        name="folders without members of their own",
        layers=((f("a/b/c"),),),
        tree={"a": "/", "a/b": "/", "a/b/c": "x"},
        modes={"a": 0o755, "a/b": 0o755},
    ),
    LayerCase(
        name="the spellings of one path",
        layers=(
            (f("./a", "1"), f("/b", "1"), folder("c//"), f("c//d", "1"), f("./c/./e", "1")),
            (f("/a", "2"), f("././b", "2"), f("c/d/../d", "2"), f("../../c/e", "2")),
        ),
        tree={"a": "2", "b": "2", "c": "/", "c/d": "2", "c/e": "2"},
    ),
    LayerCase(
        name="a path that leads up stays inside",
        layers=((f("../../etc/passwd"), f("a/../../../b"), gone("../../none")),),
        tree={"etc": "/", "etc/passwd": "x", "b": "x"},
    ),
    LayerCase(
        name="below a link of a lower layer",
        layers=((folder("t"), f("t/a", "old"), link("l", "t")), (f("l/a", "new"), f("l/s/b"))),
        tree={"t": "/", "t/a": "new", "t/s": "/", "t/s/b": "x", "l": "-> t"},
    ),
    LayerCase(
        name="below a link of its own layer",
        layers=((folder("t"), link("l", "/t"), f("l/a")),),
        tree={"t": "/", "t/a": "x", "l": "-> /t"},
    ),
    LayerCase(
        name="below a link to a link that leads up",
        layers=(
            (folder("a/b"), folder("t"), link("a/b/l", "../../m"), link("m", "t"), f("a/b/l/x")),
        ),
        tree={
            "a": "/",
            "a/b": "/",
            "a/b/l": "-> ../../m",
            "m": "-> t",
            "t": "/",
            "t/x": "x",
        },
    ),
    LayerCase(
        name="below a link that leads above the root",
        layers=((link("l", "../../../etc"), folder("etc"), f("l/x")),),
        tree={"l": "-> ../../../etc", "etc": "/", "etc/x": "x"},
    ),
    LayerCase(
        name="below a link to nothing makes what it names",
        layers=((link("l", "no/where"), f("l/x")),),
        tree={"l": "-> no/where", "no": "/", "no/where": "/", "no/where/x": "x"},
    ),
    LayerCase(
        name="a link to the root",
        layers=((link("l", "/"), f("l/x"), f("l/l/y")),),
        tree={"l": "-> /", "x": "x", "y": "x"},
    ),
    LayerCase(
        name="forty links are followed",
        layers=(
            (
                folder("t"),
                *(link(f"l{n}", f"l{n + 1}") for n in range(39)),
                link("l39", "t"),
                f("l0/x"),
            ),
        ),
        tree={"t": "/", "t/x": "x", "l39": "-> t", **{f"l{n}": f"-> l{n + 1}" for n in range(39)}},
    ),
    LayerCase(
        name="names of every byte, of control characters, and longest ones",
        layers=(
            (
                f(EVERY_BYTE),
                f("new\nline"),
                f("\u202egnp.exe"),
                f(LONGEST),
            ),
            (f("\x1b[31m\ttab"), gone("new\nline")),
        ),
        tree={
            EVERY_BYTE: "x",
            "\u202egnp.exe": "x",
            "\x1b[31m\ttab": "x",
            LONGEST: "x",
            **{"/".join(["n" * 255] * count): "/" for count in range(1, 15)},
        },
    ),
)

CASES = WHITEOUTS + OPAQUE + TYPES + HARD_LINKS + PATHS

REFUSALS = (
    *(
        Refusal(
            name=f"a whiteout called {name}",
            layers=((f("a"),), (f(name), f("b"))),
            problems=((2, path, "stray_whiteout"),),
            tree={"a": "x", "b": "x"},
        )
        for name, path in ((".wh.", ""), (".wh..", "."), (".wh...", ".."))
    ),
    Refusal(
        name="a file in place of the root",
        layers=((f("a"), f(".")),),
        problems=((1, "", "root_replaced"),),
        tree={"a": "x"},
    ),
    Refusal(
        name="a link in place of the root",
        layers=((link("./", "/etc"), f("a")),),
        problems=((1, "", "root_replaced"),),
        tree={"a": "x"},
    ),
    Refusal(
        name="a hard link to nothing",
        layers=((hard_link("a", "gone"), f("b")),),
        problems=((1, "a", "hard_link_to_nothing"),),
        tree={"b": "x"},
    ),
    Refusal(
        name="a hard link to a folder",
        layers=((folder("d"), hard_link("a", "d"), hard_link("b", "/")),),
        problems=((1, "a", "hard_link_to_nothing"), (1, "b", "hard_link_to_nothing")),
        tree={"d": "/"},
    ),
    Refusal(
        name="a member below a file",
        layers=((f("a"),), (f("a/b"),)),
        problems=((2, "a", "below_a_file"),),
        tree={"a": "/", "a/b": "x"},
    ),
    Refusal(
        name="a member below a loop of links",
        layers=((link("a", "b"), link("b", "a"), f("a/x"), f("c")),),
        problems=((1, "a", "link_loop"),),
        tree={"a": "-> b", "b": "-> a", "c": "x"},
    ),
    Refusal(
        name="a link to nowhere",
        layers=((link("a", ""), f("b")),),
        problems=(),
        tree={"a": "-> ", "b": "x"},
    ),
    Refusal(
        name="an owner that no file system has",
        layers=((f("a", owner=(2**32 - 1, 0)),),),
        problems=(),
        tree={"a": "x"},
    ),
)

_REPLACED = (
    (folder("l"), f("l/x"), folder("t"), f("t/x")),
    (link("l", "t"), gone("l/x")),
)
# No tool that compares two trees writes such layers.
DIFFERENCES = (
    Difference(
        name="a whiteout below a link of its own layer",
        layers=_REPLACED,
        looked={"l": "-> t", "t": "/", "t/x": "x"},
        unpacked={"l": "-> t", "t": "/"},
    ),
    Difference(
        name="a hard link to a file of a lower layer that its own layer hides",
        layers=((f("a"),), (hard_link("b", "a"), gone("a"))),
        looked={},
        unpacked={"b": "x"},
    ),
)
