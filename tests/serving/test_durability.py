"""S11: what was answered is on the disk, whenever the power fails; and no sync is superfluous."""

import contextlib
import os
import random
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from ocitool.oci import Digest
from tests.faults.power import Disk, Tree
from tests.faults.power_checks import Violation
from tests.faults.scenes import names_in_tree
from tests.faults.sites import syncs
from tests.faults.watched import Change, Plan, Site, Watch
from tests.serving.test_faults import CONFIG, LAYER, MANIFEST
from tests.serving.test_upstream import caching, settled
from tests.support.layouts import store
from tests.support.registry import EmulatedRegistry
from tests.support.serving import manifest_of, writing

SYNCS = syncs(for_requests=True)
HALF = len(LAYER) // 2
PUSHED = "localhost/app:1"


@dataclass(frozen=True)
class Promise:
    """An answer that a client has got: this is stored, and stays. An empty one promises nothing."""

    blob: str = ""
    name: str = ""
    digest: str = ""


Event = Change | Promise
Tell = Callable[[Promise], None]
Story = Callable[[Path, Tell], None]


def push(folder: Path, tell: Tell) -> None:
    """Push an image: a layer in two parts, its configuration at once."""
    with writing(folder) as registry:
        where = registry.ask("POST", "/v2/app/blobs/uploads/").headers["Location"]
        for part in (LAYER[:HALF], LAYER[HALF:]):
            assert registry.ask("PATCH", where, part).status == 202
        assert registry.ask("PUT", f"{where}?digest={Digest.of(LAYER)}").status == 201
        tell(Promise(blob=str(Digest.of(LAYER))))
        tell(Promise(blob=str(registry.push_blob("app", CONFIG))))
        assert registry.put_manifest("app", "1", MANIFEST).status == 201
        tell(Promise(name=PUSHED, digest=str(Digest.of(MANIFEST))))


def push_layer(folder: Path, tell: Tell) -> None:
    """Push one blob at once."""
    with writing(folder) as registry:
        tell(Promise(blob=str(registry.push_blob("app", LAYER))))


def pull_through(upstream: EmulatedRegistry) -> Story:
    """Pull an image through a cache; one of its blobs has a folder of its own."""
    layer = upstream.state.add_blob("t/a", LAYER, "sha512").digest
    config = upstream.state.add_blob("t/a", CONFIG).digest
    raw = manifest_of(CONFIG, LAYER).replace(str(Digest.of(LAYER)).encode(), str(layer).encode())
    kind = "application/vnd.oci.image.manifest.v1+json"
    upstream.state.add_manifest("t/a", raw, kind, "1", "sha256")

    def story(folder: Path, tell: Tell) -> None:
        with caching(folder, upstream) as cache:
            assert cache.get("/v2/t/a/manifests/1").body == raw
            for digest in (layer, config):
                assert cache.get(f"/v2/t/a/blobs/{digest}").status == 200
            settled(cache, "/t/a:1")
        # No answer promises that a cache keeps something, but what it names must be whole.
        tell(Promise())

    return story


class Played:
    """What changed the disk during a story and what was promised, in their order.

    With `dies` the process is killed when a blob has just got its name, and the story is told once
    more. The sync at `skipped` is left out.
    """

    def __init__(
        self, story: Story, folder: Path, skipped: Site | None = None, *, dies: bool = False
    ) -> None:
        with store(folder / "store"):
            pass
        self.disk = Disk(folder)
        self.events: list[Event] = []
        self.skipped = 0
        for killed in (True, False) if dies else (False,):
            plan = Plan(root=str(folder), record=True, skipped=(skipped,) if skipped else ())
            for kind, value in in_a_child(story, folder / "store", plan, dies=killed):
                assert kind != "failed", value
                self.skipped += kind == "skipped"
                if kind == "change":
                    # Files are numbered in each process from 1.
                    number = value.file + 1000 if value.file >= 0 and not killed else value.file
                    self.events.append(replace(value, file=number))
                elif kind == "promise":
                    self.events.append(value)


def in_a_child(story: Story, folder: Path, plan: Plan, *, dies: bool) -> Iterator[tuple[str, Any]]:
    """Tell a story in a process of its own, and yield what happens there."""
    ours, theirs = Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        try:
            _tell(story, folder, plan, theirs, dies=dies)
        except BaseException:
            theirs.send(("failed", traceback.format_exc()))
        finally:
            os._exit(0)
    theirs.close()
    with ours, contextlib.suppress(EOFError):
        while True:
            yield ours.recv()
    os.waitpid(child, 0)


def _tell(story: Story, folder: Path, plan: Plan, events: Connection, *, dies: bool) -> None:
    # A cache has threads that change the disk, and a connection is for one at a time.
    one = threading.Lock()

    def send(event: tuple[str, Any]) -> None:
        with one:
            events.send(event)

    def happened(event: tuple[str, Any]) -> None:
        send(event)
        if dies and event[1].kind == "rename" and "/blobs/" in event[1].target:
            os.kill(os.getpid(), signal.SIGKILL)

    Watch(plan, happened, lambda: None).install()
    story(folder, lambda promise: send(("promise", promise)))
    with one:
        os._exit(0)


class Check:
    """Whether every state that the disk may be in keeps what was promised."""

    def __init__(self) -> None:
        self.states = 0

    def all_of(self, played: Played, *, step: int = 0) -> None:
        """Check at each answer, and at every `step`th change; Violation if something is lost."""
        promises: list[Promise] = []
        for number, event in enumerate(played.events, 1):
            if isinstance(event, Promise):
                promises.append(event)
            else:
                played.disk.apply(event)
            if isinstance(event, Promise) or (step and number % step == 0):
                for tree in played.disk.after_power_loss(random.Random(1), 0):
                    self._state(tree, promises)

    def _state(self, tree: Tree, promises: list[Promise]) -> None:
        self.states += 1
        try:
            # It fails when a name leads to what is not there.
            names = names_in_tree(tree, "store")
        except AssertionError as error:
            raise Violation(str(error)) from error
        for one in promises:
            algorithm, _, encoded = one.blob.partition(":")
            data = tree.get(f"store/blobs/{algorithm}/{encoded}")
            if one.blob and (data is None or str(Digest.of(data, algorithm)) != one.blob):
                raise Violation(f"blob {one.blob} was acknowledged and is lost")
            if one.name and (names or {}).get(one.name) != one.digest:
                raise Violation(f"{one.name} was acknowledged and means another image")


@pytest.fixture(scope="module")
def cached() -> Iterator[Story]:
    with EmulatedRegistry() as upstream:
        yield pull_through(upstream)


def test_what_was_answered_is_there_when_the_power_fails(tmp_path: Path, cached: Story) -> None:
    check = Check()
    check.all_of(Played(push, tmp_path / "push"), step=7)
    check.all_of(Played(push_layer, tmp_path / "again", dies=True))
    check.all_of(Played(cached, tmp_path / "cached"), step=7)
    assert check.states > 500


def test_there_are_syncs_to_remove() -> None:
    assert {site.file for site in SYNCS} >= {
        "ocitool/places/layout/uploads.py",
        "ocitool/serving/writing/storing.py",
    }


@pytest.mark.parametrize("site", SYNCS, ids=str)
def test_without_this_sync_something_is_lost_when_the_power_fails(
    site: Site, tmp_path: Path, cached: Story
) -> None:
    stories: list[tuple[Story, bool]] = [(push, False), (push_layer, True), (cached, False)]

    def play() -> None:
        for number, (story, dies) in enumerate(stories):
            played = Played(story, tmp_path / str(number), site, dies=dies)
            # Without it in a story, there is nothing to miss.
            if played.skipped:
                Check().all_of(played)

    with pytest.raises(Violation):
        play()
