"""The engine: blobs first, manifests after them, names last, and nothing twice."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ocitool.errors import DigestMismatch, NotFound
from ocitool.events import Outcome
from ocitool.image.content import Blob, PlannedImage, Root
from ocitool.image.graph import closure_of
from ocitool.oci import Descriptor, Digest
from ocitool.places.layout import Layout, Writing
from ocitool.transfer.copy import TransferReport, transfer
from tests.support.images import Built, build_image, build_index
from tests.support.sources import MemorySource
from tests.support.stores import Listener, assert_whole, contents, roots_of

NAME = "docker.io/library/a:1"
IMAGE = build_image([{"a": b"1"}, {"b": bytes(5000)}, {"c": b"3"}])


class MemoryTarget:
    """A target that notes in which order it was filled (`Target`)."""

    def __init__(self, present: Sequence[Digest] = ()) -> None:
        self.stored: list[Digest] = []
        self.announced: set[Digest] = set()
        self.roots: list[tuple[Digest, tuple[str, ...]]] = []
        self._present = set(present)
        self._lock = threading.Lock()

    def announce(self, descriptors: Sequence[Descriptor]) -> None:
        self.announced |= {descriptor.digest for descriptor in descriptors}

    def has(self, descriptor: Descriptor) -> bool:
        assert descriptor.digest in self.announced
        return descriptor.digest in self._present

    def put(self, descriptor: Descriptor, open_blob: Callable[[], Blob]) -> Outcome:
        with open_blob() as blob:
            while blob.read():
                pass
        with self._lock:
            self.stored.append(descriptor.digest)
        return Outcome.STORED

    def root(self, descriptor: Descriptor, names: Sequence[str]) -> None:
        self.roots.append((descriptor.digest, tuple(names)))


def planned(source: MemorySource, built: Built, *names: str) -> PlannedImage:
    root = Root(descriptor=built.descriptor, names=names)
    return PlannedImage(root=root, closure=closure_of(source, built.descriptor))


def moved(
    built: Built, target: MemoryTarget, *, jobs: int = 4, observer: Listener | None = None
) -> TransferReport:
    source = MemorySource(built)
    return transfer(source, target, [planned(source, built, NAME)], jobs=jobs, observer=observer)


@pytest.mark.parametrize("jobs", [1, 2, 8])
def test_everything_arrives(jobs: int) -> None:
    target = MemoryTarget()
    moved(IMAGE, target, jobs=jobs)
    assert set(target.stored) == set(IMAGE.blobs)
    assert len(target.stored) == len(IMAGE.blobs)


def test_manifests_come_after_all_blobs_and_the_root_last() -> None:
    index = build_index([IMAGE, build_image(platform="linux/arm64")], attested=True)
    target = MemoryTarget()
    moved(index, target)
    documents = [child.digest for child in index.children] + [index.descriptor.digest]
    assert target.stored[-len(documents) :] == documents


def test_names_are_given_at_the_end() -> None:
    target = MemoryTarget()
    moved(IMAGE, target)
    assert target.roots == [(IMAGE.descriptor.digest, (NAME,))]


def test_what_is_there_is_not_read() -> None:
    source = MemorySource(IMAGE)
    plan = planned(source, IMAGE, NAME)
    source.opened.clear()
    transfer(source, MemoryTarget([IMAGE.layers[1].digest]), [plan])
    assert set(source.opened) == {IMAGE.layers[0].digest, IMAGE.layers[2].digest} | {
        IMAGE.config.digest
    }


def test_the_report_counts_what_was_stored_and_what_was_there() -> None:
    layer = IMAGE.layers[1]
    report = moved(IMAGE, MemoryTarget([layer.digest]))
    total = sum(map(len, IMAGE.blobs.values()))
    assert (report.stored_blobs, report.stored_bytes) == (len(IMAGE.blobs) - 1, total - layer.size)
    assert (report.existing_blobs, report.existing_bytes) == (1, layer.size)
    outcomes = {moved.descriptor.digest: moved.outcome for moved in report.blobs}
    assert outcomes.pop(layer.digest) is Outcome.EXISTED
    assert set(outcomes.values()) == {Outcome.STORED}


def test_two_images_share_a_layer_once() -> None:
    other = build_image([{"a": b"1"}, {"z": b"9"}])
    source = MemorySource(IMAGE, other)
    target = MemoryTarget()
    transfer(source, target, [planned(source, IMAGE, NAME), planned(source, other)])
    assert target.stored.count(IMAGE.layers[0].digest) == 1


def test_progress_adds_up_to_what_was_announced() -> None:
    listener = Listener()
    moved(IMAGE, MemoryTarget([IMAGE.layers[0].digest]), observer=listener)
    ((_, total),) = listener.begun
    assert listener.advanced == total
    assert listener.ended == 1


def test_every_config_and_layer_is_reported_done_with_its_outcome() -> None:
    done: dict[Digest, Outcome] = {}

    class Finished(Listener):
        def finish(self, descriptor: Descriptor, outcome: Outcome) -> None:
            done[descriptor.digest] = outcome

    layer = IMAGE.layers[0].digest
    moved(IMAGE, MemoryTarget([layer]), observer=Finished())
    blobs = {IMAGE.config.digest, *(layer.digest for layer in IMAGE.layers)}
    assert done == dict.fromkeys(blobs, Outcome.STORED) | {layer: Outcome.EXISTED}


@pytest.mark.parametrize("jobs", [1, 4])
def test_after_a_failure_no_name_is_given_and_no_manifest_stored(jobs: int) -> None:
    source = MemorySource(IMAGE)
    plan = planned(source, IMAGE, NAME)
    source.blobs[IMAGE.layers[1].digest] = bytes(IMAGE.layers[1].size)
    target = MemoryTarget()
    listener = Listener()
    with pytest.raises(DigestMismatch):
        transfer(source, target, [plan], jobs=jobs, observer=listener)
    assert target.roots == []
    assert IMAGE.descriptor.digest not in target.stored
    assert listener.ended == 1


def test_the_failure_itself_is_raised_and_not_that_others_were_stopped() -> None:
    image = build_image([{f"{n}": bytes(n)} for n in range(30)])
    source = MemorySource(image)
    plan = planned(source, image, NAME)
    del source.blobs[image.layers[7].digest]
    with pytest.raises(NotFound, match=image.layers[7].digest.hex):
        transfer(source, MemoryTarget(), [plan], jobs=8)


def into(layout: Layout, source: MemorySource, built: Built) -> TransferReport:
    plan = planned(source, built, NAME)
    with Writing(layout) as writing:
        return transfer(source, writing, [plan])


def test_a_transfer_into_a_layout_is_whole(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with Layout.create(str(store), store=True) as layout:
        into(layout, MemorySource(IMAGE), IMAGE)
    assert roots_of(store) == {NAME: IMAGE.descriptor.digest}
    assert_whole(store)


def test_a_second_transfer_stores_nothing(tmp_path: Path) -> None:
    with Layout.create(str(tmp_path), store=True) as layout:
        into(layout, MemorySource(IMAGE), IMAGE)
        report = into(layout, MemorySource(IMAGE), IMAGE)
    assert report.stored_blobs == 0
    assert report.existing_blobs == len(IMAGE.blobs)


def test_a_truncated_blob_is_never_published(tmp_path: Path) -> None:
    with Layout.create(str(tmp_path), store=True) as layout:
        before = contents(tmp_path)
        source = MemorySource(IMAGE)
        plan = planned(source, IMAGE, NAME)
        layer = IMAGE.layers[1].digest
        source.blobs[layer] = source.blobs[layer][:-1]
        with pytest.raises(Exception, match="ends after"), Writing(layout) as writing:
            transfer(source, writing, [plan])
    assert contents(tmp_path) == before
