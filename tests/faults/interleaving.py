"""Two commands on one store, the second begun wherever the first one is stopped."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ocitool.places.layout import Layout
from tests.faults.scenes import HUB, SCENES, Scene, Stage, prepare
from tests.faults.watched import Plan, Site
from tests.faults.zygote import Zygote
from tests.support.images import build_image, docker_archive, oci_archive
from tests.support.layouts import bring, store, temporaries
from tests.support.stores import checked

Outcome = tuple[int | None, int | None, tuple[tuple[str, tuple[str, ...]], ...]]
"""The two exit codes, and the images at the end, each with its names."""

MORE: dict[str, Scene] = {
    "tag-two": Scene(arguments=("tag", "both:1", "two:1", "both:2")),
    "tag-gone": Scene(arguments=("tag", "gone:1", "kept:1")),
    "save-gone": Scene(arguments=("save", "gone:1", "-o", "OUT/file.tar")),
    "load-gone": Scene(arguments=("load", "IN/gone.tar")),
    # One layer, hence no threads: this one makes its changes in the same order each time.
    "load-solo": Scene(arguments=("load", "IN/solo.tar")),
    "rm-solo": Scene(arguments=("rm", "solo:1")),
    "first-solo": Scene(arguments=("load", "IN/solo.tar"), fresh=True),
    "first-tag": Scene(arguments=("tag", "new:1", "more:1"), fresh=True),
    "first-oci": Scene(arguments=("load", "IN/oci.tar"), fresh=True),
    "first-gone": Scene(arguments=("load", "IN/gone.tar"), fresh=True),
}
ALL: dict[str, Scene] = {**SCENES, **MORE}
PAIRS = (
    ("tag", "tag-two"),
    ("tag", "untag"),
    ("load", "tag-two"),
    ("load", "load-oci"),
    ("load", "rm"),
    ("rm", "load"),
    ("load-gone", "rm"),
    ("rm", "load-gone"),
    ("tag-gone", "rm"),
    ("rm", "tag-gone"),
    ("first-load", "first-oci"),
    ("first-load", "first-gone"),
    ("first-load", "first-load"),
    ("first-load", "first-tag"),
    ("load-solo", "rm-solo"),
    ("save", "rm"),
    ("pull", "pull"),
    ("pull", "tag-two"),
)


class Lost(AssertionError):
    """Two commands at once did what no order of the two does."""


def prepare_more(folder: Path, registry: str) -> None:
    """Write what the scenes begin with, and an archive of an image that is there already."""
    prepare(folder, registry)
    gone = build_image([{"shared": b"a layer of several images " * 200}, {"gone": b"3" * 3000}])
    (folder / "in" / "gone.tar").write_bytes(docker_archive({"back:1": gone}))
    solo = build_image([{"solo": b"5" * 2000}])
    (folder / "in" / "solo.tar").write_bytes(oci_archive({f"{HUB}back:1": solo}))
    with store(folder / "store") as layout:
        bring(layout, solo, f"{HUB}solo:1")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two commands on one store."""

    first: str
    second: str
    parent: Zygote
    prepared: Path
    skipped: tuple[Site, ...] = ()

    def stages(self, folder: Path) -> tuple[Stage, Stage]:
        """Return a store, as both commands see it."""
        one = Stage(ALL[self.first], self.prepared, folder)
        two = Stage.__new__(Stage)
        two.scene, two.folder, two.store = ALL[self.second], one.folder, one.store
        two.out, two.inputs = one.out, one.inputs
        return one, two

    def in_order(self, folder: Path) -> set[Outcome]:
        """Return what happens when one command runs after the other, in either order."""
        outcomes: set[Outcome] = set()
        for number, swapped in enumerate((False, True)):
            stages = self.stages(folder / f"in-order-{number}")
            codes: list[int | None] = [None, None]
            for turn in (1, 0) if swapped else (0, 1):
                codes[turn] = self.parent.run(stages[turn].command).code
            outcomes.add(self._outcome(codes[0], codes[1], stages[0]))
            stages[0].remove()
        return outcomes

    def _outcome(self, one: int | None, two: int | None, stage: Stage) -> Outcome:
        with Layout.existing(str(stage.store)) as layout:
            roots = [(str(r.descriptor.digest), tuple(sorted(r.names))) for r in layout.roots()]
        return one, two, tuple(sorted(roots))

    def preempted(self, folder: Path, at: int, second_at: int = 0) -> Outcome | None:
        """Stop the first command before its change `at`, and let the second one run meanwhile.

        With `second_at` that one is stopped too, and the first goes on until it must wait or has
        ended. None when there is no such change.
        """
        one, two = self.stages(folder)
        plan = Plan(root=str(folder), pause_at=(at,), pause_at_locks=True, skipped=self.skipped)
        first = self.parent.start(one.command, plan)
        if first.until("paused") is None:
            assert first.end().code == 0
            one.remove()
            return None
        pauses = (second_at,) if second_at else ()
        plan = Plan(root=str(folder), pause_at=pauses, pause_at_locks=True, skipped=self.skipped)
        second = self.parent.start(two.command, plan)
        event = second.until("blocked", "paused")
        first.go_on()
        if second_at and event is not None:
            # It may have been blocked first; the first command goes on, so it gets there.
            if event[0] == "paused" or second.until("paused") is not None:
                first.until("blocked")
                second.go_on()
            second.end()
        done = first.end()
        other = second.end()
        found = self._outcome(done.code, other.code, one)
        assert_whole_store(one.store, f"{done.err}{other.err}")
        one.remove()
        return found


def assert_whole_store(store: Path, messages: str = "") -> None:
    """Raise Lost unless the store is sound and nothing temporary is left."""
    problems = [problem.message for problem in checked(store).problems]
    if problems:
        raise Lost(f"damage: {problems} {messages}")
    if temporaries(store):
        raise Lost(f"left behind: {temporaries(store)} {messages}")


def explore(pair: Pair, folder: Path, step: int) -> Iterator[int]:
    """Stop the first command at every `step`th change; raise Lost where no order explains it."""
    possible = pair.in_order(folder)
    for at in range(1, 1000, step):
        found = pair.preempted(folder / str(at), at)
        if found is None:
            return
        if found not in possible:
            raise Lost(f"stopped at {at}: {found} is none of {possible}")
        yield at
