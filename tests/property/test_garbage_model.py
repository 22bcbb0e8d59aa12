"""Any sequence of loads, names, pins, collections and undos leaves what a simple model says."""

import datetime as dt
import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ocitool.containers.uses import ContainerUse
from ocitool.errors import NotFound, Refused
from ocitool.garbage import Choice, plan, purge, remove, sweep, undo
from ocitool.images.lookup import find_image
from ocitool.operations.pin import pin, unpin
from ocitool.operations.restore import restore
from ocitool.operations.verify import verify
from ocitool.places.layout import Layout, Writing, untag
from tests.support.images import Built, build_artifact, build_image, build_index
from tests.support.layouts import blobs_in, bring, store_blobs, temporaries

SHARED = {"shared": b"a layer of several images"}
ONE = build_image([SHARED, {"one": b"1"}])
TWO = build_image([SHARED, {"two": b"2"}])
ARM = build_image([SHARED], platform="linux/arm64")
IMAGES: tuple[Built, ...] = (
    ONE,
    TWO,
    ARM,
    build_index([ONE, ARM]),
    build_index([TWO], others=[build_index([ARM, ONE])], attested=True),
    build_image(algorithm="sha512"),
)
SIGNATURE = build_artifact(ONE.descriptor)
NAMES = [f"docker.io/library/{name}" for name in ("a:1", "a:2", "b:1", "c:latest")]
BY_DIGEST = {str(built.descriptor.digest): built for built in (*IMAGES, SIGNATURE)}
SIGNED, SIGNING = str(ONE.descriptor.digest), str(SIGNATURE.descriptor.digest)

numbers = st.integers(0, len(IMAGES) - 1)
names = st.sampled_from(NAMES)


class Crashed(Exception):
    """What ends a command in the middle."""


class GarbageModel(RuleBasedStateMachine):
    """A store on the disk beside dictionaries of names, pins, containers and what they meant."""

    def __init__(self) -> None:
        super().__init__()
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="ocitool-model-", dir=memory))
        self.path = self.folder / "store"
        self.layout = Layout.create(str(self.path), store=True)
        self.named: dict[str, str] = {}
        self.nameless: set[str] = set()
        self.pinned: set[str] = set()
        self.used: set[str] = set()
        self.meant: dict[str, list[str | None]] = {}
        self.trash: tuple[dict[str, str], set[str]] | None = None

    def teardown(self) -> None:
        self.layout.close()
        shutil.rmtree(self.folder)

    def moved(self, name: str, digest: str | None) -> None:
        old = self.named.pop(name, None)
        if old != digest:
            self.meant.setdefault(name, []).append(digest)
        if digest is not None:
            self.named[name] = digest
            self.nameless.discard(digest)
        if old is not None and old not in self.named.values():
            self.nameless.add(old)

    def reached(self, digests: set[str]) -> set[str]:
        return {str(blob) for digest in digests for blob in BY_DIGEST[digest].blobs}

    def all_roots(self) -> set[str]:
        return {*self.named.values(), *self.nameless}

    @initialize(number=numbers, name=names)
    def begin_with_an_image(self, number: int, name: str) -> None:
        self.load(number, [name])

    @rule(number=numbers, chosen=st.lists(names, max_size=2, unique=True))
    def load(self, number: int, chosen: list[str]) -> None:
        digest = str(IMAGES[number].descriptor.digest)
        bring(self.layout, IMAGES[number], *chosen)
        for name in chosen:
            self.moved(name, digest)
        if digest not in self.named.values():
            self.nameless.add(digest)

    @rule(name=names)
    def load_an_image_with_its_signature(self, name: str) -> None:
        bring(self.layout, ONE, name)
        self.moved(name, SIGNED)
        bring(self.layout, SIGNATURE)
        self.nameless.add(SIGNING)

    @rule(number=numbers, name=names)
    def crash_while_loading(self, number: int, name: str) -> None:
        try:
            with Writing(self.layout, keep=True) as writing:
                store_blobs(writing, IMAGES[number])
                writing.root(IMAGES[number].descriptor, [name])
                raise Crashed
        except Crashed:
            pass

    @rule(name=names)
    def untag(self, name: str) -> None:
        try:
            untag(self.layout, [name])
        except NotFound:
            assert name not in self.named
        else:
            self.moved(name, None)

    @precondition(lambda self: self.named)
    @rule(data=st.data(), new=names)
    def tag(self, data: st.DataObject, new: str) -> None:
        old = data.draw(st.sampled_from(sorted(self.named)))
        root = find_image(self.layout, old).root
        with Writing(self.layout) as writing:
            writing.root(root.descriptor, [new])
        self.moved(new, self.named[old])

    @precondition(lambda self: self.named)
    @rule(data=st.data())
    def remove_by_name(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.named)))
        digest = self.named[name]
        last = digest not in [d for n, d in self.named.items() if n != name]
        try:
            removal = remove(self.layout, [find_image(self.layout, name)])
        except Refused:
            assert last
            assert {digest, SIGNING} & self.pinned
            return
        assert not (last and digest in self.pinned)
        self.moved(name, None)
        if removal.images:
            removed = {str(image) for image in removal.images}
            assert digest in removed
            self.trash = {name: digest}, removed & self.nameless
            self.nameless -= removed

    @precondition(lambda self: self.named)
    @rule(data=st.data(), back=st.integers(0, 3))
    def restore_an_earlier_meaning(self, data: st.DataObject, back: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.named)))
        known = self.meant[name][::-1]
        wanted = known[back] if back < len(known) else None
        try:
            restore(self.layout, name, back)
        except (NotFound, Refused):
            assert wanted is None or wanted not in self.all_roots()
        else:
            assert wanted is not None
            self.moved(name, wanted)

    @precondition(lambda self: self.named or self.nameless)
    @rule(data=st.data())
    def pin(self, data: st.DataObject) -> None:
        digest = data.draw(st.sampled_from(sorted(self.all_roots())))
        root = find_image(self.layout, digest).root
        pin(self.layout, [root], now=dt.datetime.now(dt.UTC))
        self.pinned.add(digest)

    @precondition(lambda self: self.pinned & self.all_roots())
    @rule(data=st.data())
    def unpin(self, data: st.DataObject) -> None:
        digest = data.draw(st.sampled_from(sorted(self.pinned & self.all_roots())))
        unpin(self.layout, [find_image(self.layout, digest).root.descriptor.digest])
        self.pinned.discard(digest)

    @precondition(lambda self: self.named or self.nameless)
    @rule(data=st.data())
    def create_a_container(self, data: st.DataObject) -> None:
        self.used.add(data.draw(st.sampled_from(sorted(self.all_roots()))))

    @precondition(lambda self: self.used)
    @rule(data=st.data())
    def remove_a_container(self, data: st.DataObject) -> None:
        self.used.discard(data.draw(st.sampled_from(sorted(self.used))))

    def uses(self) -> list[ContainerUse]:
        return [
            ContainerUse(provider="docker", id=d[7:19], name="c", state="exited", digests=(d,))
            for d in sorted(self.used & self.all_roots())
        ]

    @rule(everything=st.booleans())
    def collect(self, everything: bool) -> None:
        now = time.time()
        choice = Choice(everything=everything, grace=0.0)
        found = plan(self.layout, choice, uses=self.uses(), now=now)
        before = blobs_in(self.path)
        swept = sweep(self.layout, found, now=now)
        assert swept.spared == 0
        assert before - blobs_in(self.path) == {blob.digest.hex for blob in found.blobs}
        named, nameless = dict(self.named), set(self.nameless)
        kept = self.kept(everything=everything)
        self.named = {name: d for name, d in self.named.items() if d in kept}
        self.nameless &= kept
        images = {str(image.digest) for image in found.images}
        # What a crash left of an image that once had a name is an image that lost it.
        left = images & {str(descriptor.digest) for descriptor in found.facts.unlisted}
        assert images - left == {*named.values(), *nameless} - kept
        for name in named.keys() - self.named.keys():
            self.meant[name].append(None)
        self.only_what_is_needed_is_there()
        if found.images or (found.blobs and self.trash is None):
            gone_names = {n: d for n, d in named.items() if n not in self.named}
            self.trash = gone_names, (nameless - self.nameless) | left

    def kept(self, *, everything: bool) -> set[str]:
        """Return the roots that a collection leaves."""
        held = self.pinned | self.used_roots()
        kept = {digest for digest in self.all_roots() - {SIGNING} if digest in held}
        if not everything:
            kept |= set(self.named.values()) - {SIGNING}
        if SIGNING in self.nameless:
            lost = self.reached(self.all_roots() - {SIGNING} - kept)
            stays = SIGNED in self.reached(kept) or SIGNED not in lost
            if SIGNING in held or stays:
                kept.add(SIGNING)
        if SIGNING in self.named.values():
            kept.add(SIGNING)
        return kept

    def used_roots(self) -> set[str]:
        """Return every root that holds what a container uses: an index holds its images, too."""
        held = set()
        for root in self.all_roots():
            if self.used & self.all_roots() & self.reached({root}):
                held.add(root)
        return held

    @rule()
    def undo(self) -> None:
        try:
            undone = undo(self.layout)
        except NotFound:
            assert self.trash is None
            return
        assert self.trash is not None
        assert undone.lost == ()
        gone_names, gone = self.trash
        self.trash = None
        for name, digest in gone_names.items():
            if name not in self.named:
                self.moved(name, digest)
            elif digest not in self.named.values():
                self.nameless.add(digest)
        for digest in gone:
            if digest not in self.named.values():
                self.nameless.add(digest)

    @rule(data=st.data(), everything=st.booleans(), number=numbers, name=names)
    def collect_and_undo_with_something_between(
        self, data: st.DataObject, everything: bool, number: int, name: str
    ) -> None:
        self.collect(everything)
        if len(self.named) > 0 and data.draw(st.booleans()):
            self.remove_by_name(data)
        if data.draw(st.booleans()):
            self.load(number, [name])
        self.undo()

    @rule()
    def purge(self) -> None:
        purge(self.layout)
        self.trash = None

    @rule()
    def reopen(self) -> None:
        self.layout.close()
        self.layout = Layout.existing(str(self.path))

    def only_what_is_needed_is_there(self) -> None:
        needed = self.reached(self.all_roots())
        assert blobs_in(self.path) == {digest.partition(":")[2] for digest in needed}

    @invariant()
    def names_are_those_of_the_model(self) -> None:
        roots = self.layout.roots()
        found = {name: str(root.descriptor.digest) for root in roots for name in root.names}
        assert found == self.named
        assert {str(r.descriptor.digest) for r in roots if not r.names} == self.nameless

    @invariant()
    def no_blob_that_is_needed_is_missing(self) -> None:
        needed = {digest.partition(":")[2] for digest in self.reached(self.all_roots())}
        assert needed <= blobs_in(self.path)
        assert temporaries(self.path) == []
        assert verify(self.layout, jobs=1).problems == ()


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


GarbageModel.TestCase.settings = _settings(20)
TestGarbageModel = GarbageModel.TestCase


class LongGarbageModel(GarbageModel):
    """The same with twenty times as many steps."""


LongGarbageModel.TestCase.settings = _settings(400)
TestLongGarbageModel = pytest.mark.soak(LongGarbageModel.TestCase)
