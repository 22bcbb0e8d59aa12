"""Many commands on one store at once: none is lost, none sees half of another."""

import itertools
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from ocitool.places.layout import Layout
from tests.support.command import Command
from tests.support.commands import finished, run
from tests.support.images import build_image, docker_archive
from tests.support.layouts import image, names_of, paused, program, store, temporaries
from tests.support.stores import assert_whole, checked, load_archive, written

TWENTY = 20
SHARED = {"shared": b"a layer of all of them" * 500}


def archives(folder: Path, count: int) -> list[Path]:
    """Write archives of images that share a layer, each named app:N."""
    return [
        written(
            folder / f"{n}.tar",
            docker_archive({f"app:{n}": build_image([SHARED, {"own": str(n).encode() * 999}])}),
        )
        for n in range(count)
    ]


def loaded_at_once(store: Path, paths: Sequence[Path]) -> list[str]:
    """Load archives, each by a process of its own, all at the same time."""
    command = Command(store, store.parent)
    with ThreadPoolExecutor(len(paths)) as pool:
        done = list(pool.map(lambda path: command("load", path), paths))
    assert [one.err for one in done if one.code != 0] == []
    return [one.out for one in done]


def names_in(store: Path) -> dict[str, str]:
    with Layout.existing(str(store)) as layout:
        return names_of(layout)


def test_twenty_processes_load_twenty_images_into_a_store_that_none_of_them_found(
    tmp_path: Path,
) -> None:
    store = tmp_path / "store"
    for output in loaded_at_once(store, archives(tmp_path, TWENTY)):
        assert "Loaded image" in output
    assert set(names_in(store)) == {f"docker.io/library/app:{n}" for n in range(TWENTY)}
    assert_whole(store)
    assert temporaries(store) == []
    assert run(store, "verify")


def test_processes_that_load_the_same_image_all_succeed(tmp_path: Path) -> None:
    store = tmp_path / "store"
    (path,) = archives(tmp_path, 1)
    loaded_at_once(store, [path] * 6)
    assert list(names_in(store)) == ["docker.io/library/app:0"]
    assert_whole(store)


# Each line of the script is one operation of a process on names that all of them use.
WORKER = """
    import sys
    import time
    from pathlib import Path
    from ocitool.errors import NotFound
    from ocitool.garbage import remove
    from ocitool.image.graph import closure_of
    from ocitool.places.layout import Layout, Writing, exclusive, untag
    from ocitool.images.lookup import find_image
    from tests.support.layouts import image, store_blobs

    def put(layout, built, name):
        with Writing(layout) as writing:
            store_blobs(writing, built)
            # Time for the others, between the moment a blob was seen and its use.
            time.sleep(0.01)
            writing.root(built.descriptor, [name])
        return writing.changes

    def check(layout):
        # While the lock is held nobody else deletes: every image must be whole.
        with exclusive(layout) as moment:
            for entry in moment.index.entries:
                closure_of(layout, entry)

    store, script = Path(sys.argv[1]), Path(sys.argv[2])
    sys.stdin.read()
    with Layout.create(str(store), store=True) as layout:
        for number, line in enumerate(script.read_text().splitlines()):
            verb, name, *text = line.split()
            if verb == "check":
                check(layout)
                continue
            try:
                if verb == "put":
                    changes = put(layout, image(text[0]), name)
                elif verb == "untag":
                    changes = untag(layout, [name])
                else:
                    changes = remove(layout, [find_image(layout, name)]).dropped
            except NotFound:
                changes = ()
            for change in changes:
                print(number, change.name, change.old, change.new)
"""


@dataclass(frozen=True)
class Step:
    """What one process saw itself do to one name."""

    name: str
    old: str
    new: str


def steps_of(output: str) -> list[Step]:
    return [Step(*line.split()[1:]) for line in output.splitlines()]


def run_workers(folder: Path, scripts: Iterable[str]) -> list[list[Step]]:
    workers = []
    for number, script in enumerate(scripts):
        path = folder / f"script-{number}"
        path.write_text(script)
        workers.append(program(WORKER, str(folder / "store"), str(path)))
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.close()
        worker.stdin = None
    return [steps_of(output) for output in finished(workers)]


def assert_serial(steps: list[Step], final: dict[str, str]) -> None:
    """Fail unless the steps can be put in an order that leads from no names to the final ones.

    Every step goes from what a name meant to what it means, so a serial order is a walk along
    all steps of a name, each once. Such a walk from "nothing" exists if and only if, apart from
    its two ends, every value is left as often as it is reached, and all hang together.
    """
    for name in {step.name for step in steps}:
        own = [step for step in steps if step.name == name]
        balance: Counter[str] = Counter()
        for step in own:
            balance[step.old] += 1
            balance[step.new] -= 1
        balance["None"] -= 1
        balance[final.get(name, "None")] += 1
        assert not any(balance.values()), f"an update of {name} was lost: {own}, now {final}"
        reached = {"None"}
        while fresh := {step.new for step in own if step.old in reached} - reached:
            reached |= fresh
        assert {step.old for step in own} <= reached


def test_the_checker_sees_a_lost_update() -> None:
    one, two = Step("a", "None", "1"), Step("a", "None", "2")
    with pytest.raises(AssertionError, match="lost"):
        assert_serial([one, two], {"a": "2"})
    assert_serial([one, Step("a", "1", "2")], {"a": "2"})


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_eight_processes_that_move_the_same_names_lose_no_update(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    names = ["docker.io/library/a:1", "docker.io/library/b:1", "docker.io/library/c:1"]
    texts = ["one", "two", "three"]
    scripts = []
    for _ in range(8):
        lines = []
        for _ in range(15):
            verb = chance.choice(["put", "put", "put", "untag", "rm"])
            lines.append(f"{verb} {chance.choice(names)} {chance.choice(texts)}")
        scripts.append("\n".join(lines))
    steps = list(itertools.chain(*run_workers(tmp_path, scripts)))
    assert len(steps) > 30
    assert_serial(steps, names_in(tmp_path / "store"))
    report = checked(tmp_path / "store")
    assert report.problems == ()
    assert temporaries(tmp_path / "store") == []


def test_names_that_no_other_process_touches_are_all_there_at_the_end(tmp_path: Path) -> None:
    scripts = [
        "\n".join(f"put docker.io/library/p{process}:{n} text{process}-{n}" for n in range(15))
        for process in range(4)
    ]
    run_workers(tmp_path, scripts)
    assert set(names_in(tmp_path / "store")) == {
        f"docker.io/library/p{process}:{n}" for process in range(4) for n in range(15)
    }
    assert_whole(tmp_path / "store")


READER = """
    import sys
    from ocitool.image.graph import closure_of
    from ocitool.places.layout import Layout
    with Layout.existing(sys.argv[1]) as layout:
        print("ready", flush=True)
        for _ in range(150):
            for root in layout.roots():
                for descriptor in closure_of(layout, root.descriptor).descriptors:
                    with layout.open(descriptor) as blob:
                        while blob.read():
                            pass
"""


def test_a_reader_never_sees_half_an_image(tmp_path: Path) -> None:
    store = tmp_path / "store"
    for path in archives(tmp_path, 2):
        load_archive(path, store)
    reader = program(READER, str(store))
    assert reader.stdout is not None
    assert reader.stdout.readline() == "ready\n"
    scripts = ["\n".join(f"put docker.io/library/x:{n} t{w}-{n}" for n in range(20)) for w in "ab"]
    run_workers(tmp_path, scripts)
    finished([reader])


def test_images_that_share_all_they_have_can_come_and_go_at_once(tmp_path: Path) -> None:
    # One process removes what the other one is about to reuse; only leases keep it from that.
    bring_it = "\n".join(["put docker.io/library/a:1 same"] * 30)
    take_it = "\n".join(["rm docker.io/library/a:1", "rm docker.io/library/b:1", "check all"] * 30)
    other = "\n".join(["put docker.io/library/b:1 same"] * 30)
    steps = list(itertools.chain(*run_workers(tmp_path, [bring_it, take_it, other, take_it])))
    assert_serial(steps, names_in(tmp_path / "store"))
    assert checked(tmp_path / "store").problems == ()


REUSER = """
    import sys
    from pathlib import Path
    from ocitool.places.layout import Writing
    from tests.support.layouts import image, store, store_blobs
    with store(Path(sys.argv[1])) as layout, Writing(layout) as writing:
        store_blobs(writing, image("same"))
        pause()
        writing.root(image("same").descriptor, ["docker.io/library/b:1"])
"""


def test_an_image_that_is_removed_while_another_command_reuses_its_blobs_stays_whole(
    tmp_path: Path,
) -> None:
    with store(tmp_path, a=image("same")):
        pass
    with paused(REUSER, str(tmp_path)) as reuser:
        run(tmp_path, "rm", "a:1")
        assert names_in(tmp_path) == {}
        assert reuser.stdin is not None
        reuser.stdin.close()
        reuser.stdin = None
        finished([reuser])
    assert list(names_in(tmp_path)) == ["docker.io/library/b:1"]
    assert_whole(tmp_path)
