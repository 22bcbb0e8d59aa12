"""Any sequence of loads, tags, untags and removals leaves what a simple model says."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ocitool.errors import NotFound, Refused
from ocitool.garbage import remove
from ocitool.images.lookup import find_image
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
    build_index([TWO], others=[build_index([ARM, ONE])]),
    build_image(algorithm="sha512"),
)
SIGNATURE = build_artifact(ONE.descriptor)
NAMES = [f"docker.io/library/{name}" for name in ("a:1", "a:2", "b:1", "c:latest")]
BY_DIGEST = {str(built.descriptor.digest): built for built in (*IMAGES, SIGNATURE)}

numbers = st.integers(0, len(IMAGES) - 1)
names = st.sampled_from(NAMES)


class Broken(Exception):
    """What interrupts a writer."""


class LayoutModel(RuleBasedStateMachine):
    """A store on the disk beside a dictionary of names and a set of images without one."""

    def __init__(self) -> None:
        super().__init__()
        # Every change is synced; in memory that costs nothing.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="ocitool-model-", dir=memory))
        self.path = self.folder / "store"
        self.layout = Layout.create(str(self.path), store=True)
        self.named: dict[str, str] = {}
        self.nameless: set[str] = set()

    def teardown(self) -> None:
        self.layout.close()
        shutil.rmtree(self.folder)

    def moved(self, name: str, digest: str | None) -> None:
        """Let a name mean another image, or none; who loses the last name has none."""
        old = self.named.pop(name, None)
        if digest is not None:
            self.named[name] = digest
            self.nameless.discard(digest)
        if old is not None and old not in self.named.values():
            self.nameless.add(old)

    @initialize(number=numbers, name=names)
    def begin_with_an_image(self, number: int, name: str) -> None:
        self.load(number, [name])

    @rule(number=numbers, chosen=st.lists(names, max_size=2, unique=True))
    def load(self, number: int, chosen: list[str]) -> None:
        built = IMAGES[number]
        digest = str(built.descriptor.digest)
        bring(self.layout, built, *chosen)
        for name in chosen:
            self.moved(name, digest)
        if digest not in self.named.values():
            self.nameless.add(digest)

    @rule(pairs=st.lists(st.tuples(numbers, names), min_size=2, max_size=3))
    def load_several_at_once(self, pairs: list[tuple[int, str]]) -> None:
        with Writing(self.layout) as writing:
            for number, name in pairs:
                store_blobs(writing, IMAGES[number])
                writing.root(IMAGES[number].descriptor, [name])
        for number, name in pairs:
            self.moved(name, str(IMAGES[number].descriptor.digest))

    @rule(number=numbers, name=names)
    def fail_to_load(self, number: int, name: str) -> None:
        try:
            with Writing(self.layout) as writing:
                store_blobs(writing, IMAGES[number])
                writing.root(IMAGES[number].descriptor, [name])
                raise Broken
        except Broken:
            pass

    @rule(name=names)
    def load_an_image_with_its_signature(self, name: str) -> None:
        bring(self.layout, ONE, name)
        self.moved(name, str(ONE.descriptor.digest))
        bring(self.layout, SIGNATURE)
        self.nameless.add(str(SIGNATURE.descriptor.digest))

    @precondition(lambda self: self.named)
    @rule(data=st.data(), new=names)
    def tag(self, data: st.DataObject, new: str) -> None:
        old = data.draw(st.sampled_from(sorted(self.named)))
        root = find_image(self.layout, old).root
        with Writing(self.layout) as writing:
            writing.root(root.descriptor, [new])
        self.moved(new, self.named[old])

    @rule(name=names)
    def untag(self, name: str) -> None:
        try:
            untag(self.layout, [name])
        except NotFound:
            assert name not in self.named
        else:
            assert name in self.named
            self.moved(name, None)

    @rule(name=names)
    def remove_by_name(self, name: str) -> None:
        try:
            removal = remove(self.layout, [find_image(self.layout, name)])
        except NotFound:
            assert name not in self.named
            return
        digest = self.named.pop(name)
        assert [change.name for change in removal.dropped] == [name]
        if digest not in self.named.values():
            self.removed(digest, {str(image) for image in removal.images})
        else:
            assert removal.images == ()

    @precondition(lambda self: self.named or self.nameless)
    @rule(data=st.data(), force=st.booleans())
    def remove_by_id(self, data: st.DataObject, force: bool) -> None:
        digest = data.draw(st.sampled_from(sorted({*self.named.values(), *self.nameless})))
        own = [name for name, other in self.named.items() if other == digest]
        found = find_image(self.layout, digest)
        try:
            removal = remove(self.layout, [found], force=force)
        except Refused:
            assert len(own) > 1
            assert not force
            return
        for name in own:
            del self.named[name]
        self.removed(digest, {str(image) for image in removal.images})

    def removed(self, digest: str, images: set[str]) -> None:
        """Take an image from the model, and the signature when its subject is gone with it."""
        self.nameless.discard(digest)
        expected = {digest}
        signature = str(SIGNATURE.descriptor.digest)
        gone = str(ONE.descriptor.digest) in self.reached([digest])
        kept = str(ONE.descriptor.digest) in self.reached([*self.named.values(), *self.nameless])
        if signature in self.nameless and gone and not kept:
            self.nameless.discard(signature)
            expected.add(signature)
        assert images == expected

    def reached(self, digests: list[str]) -> set[str]:
        return {str(blob) for digest in digests for blob in BY_DIGEST[digest].blobs}

    @rule()
    def reopen(self) -> None:
        self.layout.close()
        self.layout = Layout.existing(str(self.path))

    @invariant()
    def names_are_those_of_the_model(self) -> None:
        roots = self.layout.roots()
        assert {
            name: str(root.descriptor.digest) for root in roots for name in root.names
        } == self.named
        nameless = {str(root.descriptor.digest) for root in roots if not root.names}
        assert nameless == self.nameless

    @invariant()
    def blobs_are_those_that_the_roots_need(self) -> None:
        needed = self.reached([*self.named.values(), *self.nameless])
        assert blobs_in(self.path) == {digest.partition(":")[2] for digest in needed}
        assert temporaries(self.path) == []

    @invariant()
    def nothing_is_damaged(self) -> None:
        report = verify(self.layout, jobs=1)
        assert report.problems == ()
        assert report.unreferenced == ()


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


LayoutModel.TestCase.settings = _settings(20)
TestLayoutModel = LayoutModel.TestCase


class LongLayoutModel(LayoutModel):
    """The same with twenty times as many steps."""


LongLayoutModel.TestCase.settings = _settings(400)
TestLongLayoutModel = pytest.mark.soak(LongLayoutModel.TestCase)
