"""Small images whose waste was worked out by hand, and what dive 0.13.1 says of each.

Each also has /keep, of 1,000 bytes, in its first layer. The figures are those of a person with a
pencil: no program made them.
"""

from dataclasses import dataclass

from tests.support.images import BuiltImage, Compression
from tests.support.root_files import Node, folder, hard_link, link
from tests.support.small_images import file, gone, opaque, small_image


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """An image and its figures; bytes, one number a layer in tuples.

    `wasted` are (path, bytes, layer, layer that hid it, how). `dive` is its efficiency and wasted
    bytes as it prints them, which are wrong where `dive_is_wrong` says why. `dive_stops` marks the
    one image that dive's analysis gives up on; `dive` then holds what its own rules give.
    """

    name: str
    layers: tuple[tuple[Node, ...], ...]
    file_bytes: tuple[int, ...]
    hidden_bytes: tuple[int, ...]
    dive: tuple[float, int]
    wasted: tuple[tuple[str, int, int, int, str], ...] = ()
    repeated_bytes: tuple[int, ...] = ()
    duplicate_bytes: int = 0
    metadata_only: tuple[str, ...] = ()
    problems: tuple[tuple[int, str, str], ...] = ()
    added: tuple[tuple[str, ...], ...] = ()
    changed: tuple[tuple[str, ...], ...] = ()
    deleted: tuple[tuple[str, ...], ...] = ()
    dive_is_wrong: str | None = None
    dive_stops: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def total(self) -> int:
        """The bytes of all files of all layers."""
        return sum(self.file_bytes)

    @property
    def waste(self) -> int:
        """The bytes that no container sees."""
        return sum(self.hidden_bytes)

    @property
    def efficiency(self) -> float:
        """The share that a container sees."""
        return (self.total - self.waste) / self.total

    def count(self, paths: tuple[tuple[str, ...], ...], layer: int) -> int:
        """Return how many paths there are for a layer, which is counted from 0."""
        return len(paths[layer]) if layer < len(paths) else 0

    def as_fates(self) -> list[tuple[str, int, int, int, str]]:
        """Return `wasted` as the tree tells it, which does not compare content."""
        return [
            (path, size, layer, by, "overwritten" if how == "metadata" else how)
            for path, size, layer, by, how in self.wasted
        ]

    def image(self, codec: Compression = "none") -> BuiltImage:
        """Build the image."""
        return small_image(*self.layers, codec=codec)


KEEP = file("keep", 1000)
A = file("a", 1000)
D = (folder("d"), file("d/x", 1000), file("d/y", 1000))

EXAMPLES = (
    Example(
        name="file whiteout",
        layers=((KEEP, A), (gone("a"),)),
        file_bytes=(2000, 0),
        hidden_bytes=(1000, 0),
        wasted=(("a", 1000, 1, 2, "deleted"),),
        added=(("a", "keep"), ()),
        deleted=((), ("a",)),
        dive=(0.5, 1000),
    ),
    Example(
        name="directory whiteout",
        layers=((KEEP, *D), (gone("d"),)),
        file_bytes=(3000, 0),
        hidden_bytes=(2000, 0),
        wasted=(("d/x", 1000, 1, 2, "deleted"), ("d/y", 1000, 1, 2, "deleted")),
        added=(("d", "d/x", "d/y", "keep"), ()),
        deleted=((), ("d", "d/x", "d/y")),
        dive=(1.0, 0),
        dive_is_wrong="it counts a removed folder as if nothing else had its path",
    ),
    Example(
        name="opaque",
        layers=((KEEP, *D), (folder("d"), opaque("d"), file("d/z", 10))),
        file_bytes=(3000, 10),
        hidden_bytes=(2000, 0),
        wasted=(("d/x", 1000, 1, 2, "opaque"), ("d/y", 1000, 1, 2, "opaque")),
        added=(("d", "d/x", "d/y", "keep"), ("d/z",)),
        deleted=((), ("d/x", "d/y")),
        dive=(1.0, 0),
        dive_is_wrong="it ignores opaque folders",
    ),
    Example(
        name="delete, re-add",
        layers=((KEEP, A), (gone("a"),), (A,)),
        file_bytes=(2000, 0, 1000),
        hidden_bytes=(1000, 0, 0),
        wasted=(("a", 1000, 1, 2, "deleted"),),
        added=(("a", "keep"), (), ("a",)),
        deleted=((), ("a",), ()),
        dive=(1000 / 3000, 2000),
        dive_is_wrong="it counts the copy that stays, too",
    ),
    Example(
        name="re-added 3 times",
        layers=((KEEP, A), (file("a", 1000, "two"),), (file("a", 500, "three"),)),
        file_bytes=(2000, 1000, 500),
        hidden_bytes=(1000, 1000, 0),
        wasted=(("a", 1000, 1, 2, "overwritten"), ("a", 1000, 2, 3, "overwritten")),
        added=(("a", "keep"), (), ()),
        changed=((), ("a",), ("a",)),
        dive=(1500 / 3500, 2500),
        dive_is_wrong="it counts the copy that stays, too",
    ),
    Example(
        name="grows",
        layers=((KEEP, file("a", 10)), (file("a", 100_000),)),
        file_bytes=(1010, 100_000),
        hidden_bytes=(10, 0),
        wasted=(("a", 10, 1, 2, "overwritten"),),
        added=(("a", "keep"), ()),
        changed=((), ("a",)),
        dive=(1010 / 101_010, 100_010),
        dive_is_wrong="10 bytes could be saved, not 100,010",
    ),
    Example(
        name="metadata only",
        layers=((KEEP, A), (file("a", 1000, owner=(1000, 1000)),)),
        file_bytes=(2000, 1000),
        hidden_bytes=(1000, 0),
        wasted=(("a", 1000, 1, 2, "metadata"),),
        metadata_only=("a",),
        added=(("a", "keep"), ()),
        changed=((), ("a",)),
        dive=(2000 / 3000, 2000),
        dive_is_wrong="it counts the copy that stays, too",
    ),
    Example(
        name="hard link, one name replaced",
        layers=((KEEP, A, hard_link("b", "a")), (file("b", 1000),)),
        file_bytes=(2000, 1000),
        hidden_bytes=(0, 0),
        added=(("a", "b", "keep"), ()),
        changed=((), ("b",)),
        dive=(2000 / 3000, 1000),
        dive_is_wrong="the file still has another name: nothing could be saved",
    ),
    Example(
        name="hard link, all names gone",
        layers=((KEEP, A, hard_link("b", "a")), (gone("a"), gone("b"))),
        file_bytes=(2000, 0),
        hidden_bytes=(1000, 0),
        wasted=(("a", 1000, 1, 2, "deleted"),),
        added=(("a", "b", "keep"), ()),
        deleted=((), ("a", "b")),
        dive=(0.5, 1000),
    ),
    Example(
        name="hard link to a lower layer",
        layers=((KEEP, A), (hard_link("b", "a"),)),
        file_bytes=(2000, 0),
        hidden_bytes=(0, 0),
        problems=((2, "b", "cross_layer_hard_link"),),
        added=(("a", "keep"), ("b",)),
        dive=(1.0, 0),
    ),
    Example(
        name="file to directory",
        layers=((KEEP, file("x", 1000)), (folder("x"), file("x/y", 500))),
        file_bytes=(2000, 500),
        hidden_bytes=(1000, 0),
        wasted=(("x", 1000, 1, 2, "replaced"),),
        added=(("keep", "x"), ("x/y",)),
        changed=((), ("x",)),
        dive=(1.0, 0),
        dive_is_wrong="it does not see that a folder replaces a file",
    ),
    Example(
        name="directory to file",
        layers=((KEEP, folder("x"), file("x/y", 500)), (file("x", 1000),)),
        file_bytes=(1500, 1000),
        hidden_bytes=(500, 0),
        wasted=(("x/y", 500, 1, 2, "replaced"),),
        added=(("keep", "x", "x/y"), ()),
        changed=((), ("x",)),
        deleted=((), ("x/y",)),
        dive=(1.0, 0),
        dive_is_wrong="it does not see that a file replaces a folder",
    ),
    Example(
        name="twice in one layer",
        layers=((KEEP, A, A),),
        file_bytes=(3000,),
        hidden_bytes=(1000,),
        repeated_bytes=(1000,),
        wasted=(("a", 1000, 1, 1, "repeated"),),
        added=(("a", "keep"),),
        dive=(1.0, 0),
        dive_is_wrong="it does not see that a layer stores a file twice",
    ),
    Example(
        name="whiteout of nothing",
        layers=((KEEP, file("b", 4000)), (gone("ghost"), file("b", 4000, "new"))),
        file_bytes=(5000, 4000),
        hidden_bytes=(4000, 0),
        wasted=(("b", 4000, 1, 2, "overwritten"),),
        problems=((2, "ghost", "stray_whiteout"),),
        added=(("b", "keep"), ()),
        changed=((), ("b",)),
        dive=(5000 / 9000, 8000),
        dive_is_wrong="it skips the rest of the layer after the whiteout of what is not there",
        dive_stops=True,
    ),
    Example(
        name="removed and recreated in one layer",
        layers=(
            (KEEP, folder("d"), file("d/x", 1000)),
            (gone("d"), folder("d"), file("d/y", 100)),
        ),
        file_bytes=(2000, 100),
        hidden_bytes=(1000, 0),
        wasted=(("d/x", 1000, 1, 2, "deleted"),),
        added=(("d", "d/x", "keep"), ("d/y",)),
        deleted=((), ("d/x",)),
        dive=(1.0, 0),
        dive_is_wrong="it counts a removed folder as if nothing else had its path",
    ),
    Example(
        name="same content elsewhere",
        layers=((KEEP, file("a", 5000, "same")), (file("b", 5000, "same"),)),
        file_bytes=(6000, 5000),
        hidden_bytes=(0, 0),
        duplicate_bytes=5000,
        added=(("a", "keep"), ("b",)),
        dive=(1.0, 0),
    ),
    Example(
        name="below a lower symlink",
        layers=(
            (
                KEEP,
                folder("usr"),
                folder("usr/lib"),
                file("usr/lib/a", 1000),
                link("lib", "usr/lib"),
            ),
            (file("lib/a", 1000, "new"),),
        ),
        file_bytes=(2000, 1000),
        hidden_bytes=(1000, 0),
        wasted=(("usr/lib/a", 1000, 1, 2, "overwritten"),),
        problems=((2, "lib", "through_symlink"),),
        added=(("keep", "lib", "usr", "usr/lib", "usr/lib/a"), ()),
        changed=((), ("usr/lib/a",)),
        dive=(1.0, 0),
        dive_is_wrong="it does not follow the link, and does not see that the file is replaced",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiveRule:
    """A rule of dive's that the examples do not show, and what it prints: reckoned by hand."""

    name: str
    layers: tuple[tuple[Node, ...], ...]
    efficiency: float
    wasted_bytes: int

    def __str__(self) -> str:
        return self.name


X, Y = file("d/x", 1000), file("d/y", 500)

DIVE_RULES = (
    DiveRule(
        name="a whiteout of a folder counts what was in it",
        layers=((folder("d"), X), (gone("d"),), (file("d", 10),)),
        efficiency=(1000 + 10) / (1000 + 1010),
        wasted_bytes=1010,
    ),
    DiveRule(
        name="but not of one without a member of its own",
        layers=((X,), (gone("d"),), (file("d", 10),)),
        efficiency=1000 / (1000 + 10),
        wasted_bytes=10,
    ),
    DiveRule(
        name="nor of one that had none in the last layer with something in it",
        layers=((folder("d"), X), (Y,), (gone("d"),), (file("d", 10),)),
        efficiency=1500 / (1500 + 10),
        wasted_bytes=10,
    ),
    DiveRule(
        name="what was removed before does not count again",
        layers=(
            (folder("d"), X),
            (gone("d"), folder("d"), Y),
            (gone("d"),),
        ),
        efficiency=(1000 + 500 + 500) / (1000 + 500 + 1500),
        wasted_bytes=1500,
    ),
    DiveRule(
        name="an opaque marker makes an empty folder",
        layers=((KEEP, file("d/f", 56)), (opaque("d/f"),)),
        efficiency=1000 / 1056,
        wasted_bytes=56,
    ),
    DiveRule(
        name="a file with something below it is no file",
        layers=((KEEP, file("d", 70), Y), (file("d", 30),)),
        efficiency=1.0,
        wasted_bytes=0,
    ),
    DiveRule(
        name="a whiteout of a dot file acts after the members of its layer",
        layers=(
            (KEEP, folder(".c"), file(".c/x", 100)),
            (folder(".c"), file(".c/y", 50), gone(".c")),
            (folder(".c"), file(".c/z", 7)),
            (gone(".c"),),
        ),
        efficiency=(1000 + 100 + 50 + 7 + 7) / (1000 + 100 + 50 + 7 + 107),
        wasted_bytes=107,
    ),
)
