"""A27, A15: a bundle in a pipe is stored as it arrives, and what has arrived stays."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ocitool.bundles.stream import BundleStream
from ocitool.errors import IntegrityError, NotFound, OcitoolError
from ocitool.operations.bundle.check import NotApplicable
from ocitool.operations.bundle.receive import receive_into_layout
from ocitool.operations.inventory import inventory_of_layout
from ocitool.places.layout import Layout
from tests.support.images import build_image
from tests.support.made_bundles import list_of, made
from tests.support.stores import assert_whole

A, B = "registry.example/a:1", "registry.example/b:1"
BASE = {"base": b"base" * 1000}


@contextmanager
def piped(data: bytes) -> Iterator[BundleStream]:
    """Yield the stream of a pipe that other hands fill."""
    reading, writing = os.pipe()

    def feed() -> None:
        with open(writing, "wb") as pipe:
            try:
                pipe.write(data)
            except BrokenPipeError:
                return

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        yield BundleStream(reading, "the pipe")
    finally:
        os.close(reading)
        feeder.join()


def receive(data: bytes, store: Path) -> int:
    """Load bytes from a pipe into a store; return how many blobs were new there."""
    with piped(data) as stream:
        assert stream.is_whole
        loaded = receive_into_layout(stream, str(store), is_store=True)
        assert stream.read(1) == b""
    assert loaded.copied is not None
    assert loaded.copied.transfer is not None
    return loaded.copied.transfer.stored_blobs


def images(store: Path) -> set[str]:
    with Layout.existing(str(store)) as layout:
        return {name for root in layout.roots() for name in root.names}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    first = build_image([BASE, {"a": os.urandom(200_000)}])
    return made(tmp_path / "b.tar", {A: first, B: build_image([BASE, {"b": b"b"}])})


def test_a_bundle_is_stored_once_and_named(bundle: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert receive(bundle.read_bytes(), store) == len(list_of(bundle).blobs)
    assert images(store) == {A, B}
    assert_whole(store)
    assert receive(bundle.read_bytes(), store) == 0


def test_a_delta_is_applied_or_nothing_is_written(bundle: Path, tmp_path: Path) -> None:
    new = build_image([BASE, {"a": b"new"}])
    delta = made(tmp_path / "n.delta.tar", {A: new}, base=[bundle]).read_bytes()
    with piped(delta) as stream, pytest.raises(NotApplicable):
        receive_into_layout(stream, str(tmp_path / "none"), is_store=True)
    assert not (tmp_path / "none").exists()
    receive(bundle.read_bytes(), tmp_path / "store")
    receive(delta, tmp_path / "store")
    assert_whole(tmp_path / "store")


def test_cut_anywhere_it_names_nothing_and_keeps_what_arrived(bundle: Path, tmp_path: Path) -> None:
    data, blobs = bundle.read_bytes(), list_of(bundle).blobs
    kept = []
    for number, end in enumerate(range(512, len(data) - 10_240, 23_552)):
        store = tmp_path / str(number)
        with pytest.raises(OcitoolError), piped(data[:end]) as stream:
            receive_into_layout(stream, str(store), is_store=True)
        if not store.exists():
            continue
        assert images(store) == set()
        with Layout.existing(str(store)) as layout:
            kept.append(len(inventory_of_layout(layout, unreferenced=True).blobs))
        receive(data, store)
        assert images(store) == {A, B}
    assert kept == sorted(kept)
    assert 0 < kept[-1] < len(blobs)


@pytest.mark.parametrize("position", [600, 3000, 60_000, 215_000])
def test_a_changed_byte_names_nothing(position: int, bundle: Path, tmp_path: Path) -> None:
    data = bytearray(bundle.read_bytes())
    data[position] ^= 1
    with pytest.raises((IntegrityError, NotFound)), piped(bytes(data)) as stream:
        receive_into_layout(stream, str(tmp_path / "store"), is_store=True)
    if (tmp_path / "store").exists():
        assert images(tmp_path / "store") == set()


def test_what_is_no_bundle_in_one_tar_is_not_taken(tmp_path: Path) -> None:
    image = build_image([{"a": os.urandom(3 << 20)}])
    made(tmp_path / "v.tar", {A: image}, volume_size=2 << 20)
    volumes = sorted(tmp_path.glob("v.v*.tar"))
    assert volumes
    for data in (volumes[0].read_bytes(), b"\x1f\x8b" + bytes(600), b"x" * 600, b""):
        with piped(data) as stream:
            assert not stream.is_whole
            rest = b"".join(iter(lambda: stream.read(100_000), b""))
        assert rest == data
