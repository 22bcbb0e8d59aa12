"""Mounts across commands: what an earlier push put into a registry is not sent again."""

from pathlib import Path
from typing import Any

import pytest

from ocitool.oci import Digest
from ocitool.places.layout import Layout
from ocitool.places.registry.known_blobs import KnownBlobs
from tests.places.registry.pushes import UPLOADS, whole
from tests.support.command import Command
from tests.support.images import build_image, docker_archive, write_layout
from tests.support.registry import EmulatedRegistry, Quirks

BASE = {"base": b"b" * 5000}
ONE = build_image([BASE, {"a": b"1"}])
TWO = build_image([BASE, {"a": b"2"}])
SHARED = str(ONE.layers[0].digest)
DIGEST = ONE.layers[0].digest


@pytest.fixture
def ocitool(tmp_path: Path) -> Command:
    command = Command(tmp_path / "store", tmp_path)
    for name, image in (("one", ONE), ("two", TWO)):
        write_layout(tmp_path / name, {"1": image})
    with Layout.create(str(command.store), store=True):
        return command


def push(ocitool: Command, registry: EmulatedRegistry, name: str, verb: str = "push") -> str:
    """Push the image of a layout to the repository of its name; return what became of the base."""
    prefix = "docker://" if verb == "copy" else ""
    done = ocitool(verb, f"oci:{name}:1", f"{prefix}{registry.host}/{name}:1", "--json")
    rows: Any = done.json
    assert done.code == 0, done.err
    return str({blob["digest"]: blob["outcome"] for blob in rows[0]["blobs"]}[SHARED])


@pytest.mark.parametrize("verb", ["push", "copy"])
def test_a_second_command_mounts_what_the_first_one_sent(ocitool: Command, verb: str) -> None:
    with EmulatedRegistry() as registry, EmulatedRegistry() as other:
        assert push(ocitool, registry, "one", verb) == "uploaded"
        assert push(ocitool, other, "two", verb) == "uploaded"
        assert push(ocitool, registry, "two", verb) == "mounted"
        assert whole(registry, TWO, "two")


def test_a_layer_of_an_archive_is_mounted_before_it_is_sent(ocitool: Command) -> None:
    for name, image in (("a.tar", ONE), ("b.tar", TWO)):
        (ocitool.cwd / name).write_bytes(docker_archive({"app:1": image}))
    with EmulatedRegistry() as registry:
        for name in ("a", "b"):
            done = ocitool("push", f"./{name}.tar", f"{registry.host}/{name}:1", "--json")
            assert done.code == 0, done.err
        rows: Any = done.json
        outcomes = [blob["outcome"] for blob in rows[0]["blobs"]]
        assert outcomes.count("mounted") == 1


@pytest.mark.parametrize("case", ["gone", "refused"])
def test_what_the_registry_does_not_mount_is_sent(ocitool: Command, case: str) -> None:
    with EmulatedRegistry(Quirks(mount_status=403 if case == "refused" else None)) as registry:
        push(ocitool, registry, "one")
        if case == "gone":
            registry.state.blobs["one"].clear()
        assert push(ocitool, registry, "two") == "uploaded"
        assert whole(registry, TWO, "two")
        assert len(registry.requests("POST", f"{UPLOADS}.*mount=")) == 1


def test_without_a_store_nothing_is_remembered_nor_made(tmp_path: Path) -> None:
    ocitool = Command(tmp_path / "none", tmp_path)
    for name, image in (("one", ONE), ("two", TWO)):
        write_layout(tmp_path / name, {"1": image})
    with EmulatedRegistry() as registry:
        assert [push(ocitool, registry, name) for name in ("one", "two")] == ["uploaded"] * 2
    assert not ocitool.store.exists()


def test_the_latest_repositories_are_known_and_no_more_than_a_few(tmp_path: Path) -> None:
    with Layout.create(str(tmp_path / "store"), store=True) as layout:
        known = KnownBlobs(layout.cache("x"))
        for path in ("a", "b", "c", "d", "b"):
            known.learn("h", path, [DIGEST])
        assert KnownBlobs(layout.cache("x")).repositories("h", DIGEST) == ("b", "d", "c")
        assert known.repositories("other", DIGEST) == ()


def test_the_memory_is_bounded_and_keeps_the_latest(tmp_path: Path) -> None:
    with Layout.create(str(tmp_path / "store"), store=True) as layout:
        digests = [Digest.of(bytes([number])) for number in range(25)]
        for digest in digests:
            KnownBlobs(layout.cache("x", 10)).learn("h", "a", [digest])
        (file,) = (tmp_path / "store" / ".ocitool" / "cache").iterdir()
        assert len(file.read_text().split()) <= 10 * 3
        known = KnownBlobs(layout.cache("x", 10))
        found = [digest for digest in digests if known.repositories("h", digest)]
        assert 5 <= len(found) <= 10
        assert found == digests[-len(found) :]


def test_a_file_that_something_else_wrote_is_ignored(tmp_path: Path) -> None:
    with Layout.create(str(tmp_path / "store"), store=True) as layout:
        KnownBlobs(layout.cache("x")).learn("h", "a", [DIGEST])
        (file,) = (tmp_path / "store" / ".ocitool" / "cache").iterdir()
        file.write_text(f'["h {DIGEST}", 5]\nrubbish\n[1, 2]\n')
        assert KnownBlobs(layout.cache("x")).repositories("h", DIGEST) == ()
