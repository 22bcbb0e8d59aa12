"""How often something is read: a manifest once for each command, whatever the command does."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from ocitool.image.content import Root
from ocitool.oci import Platform, Reference
from ocitool.operations.inspect import inspect
from ocitool.operations.load import load
from ocitool.operations.pull import pull
from ocitool.operations.push import push
from ocitool.operations.save import save
from ocitool.places.archive import framing, open_archive
from ocitool.places.layout import Layout
from ocitool.places.registry import Registries, RegistryOptions, Repository
from ocitool.transfer.pipeline import TransferOptions
from tests.support.command import Command
from tests.support.images import Built, BuiltImage, build_artifact, build_image, build_index
from tests.support.registry import EmulatedRegistry
from tests.support.sources import MemorySource

NAME = "docker.io/library/a:1"
ONE = build_image([{"a": b"1"}, {"b": b"2"}])
TWO = build_image([{"a": b"1"}, {"c": b"3"}], platform="linux/arm64")
INDEX = build_index([ONE, TWO], attested=True)
SIGNATURE = build_artifact(subject=ONE.descriptor)
MANIFESTS = {d for d, raw in INDEX.blobs.items() if raw.startswith(b'{"schemaVersion"')}
CONFIGS = {ONE.config.digest, TWO.config.digest}


class Shelf(MemorySource):
    """A source with a catalogue: the first image has a name, the others have none."""

    def __init__(self, *built: Built) -> None:
        super().__init__(*built)
        self._roots = tuple(
            Root(descriptor=one.descriptor, names=() if number else (NAME,))
            for number, one in enumerate(built)
        )

    def roots(self) -> tuple[Root, ...]:
        """Return the images."""
        return self._roots

    def resolve(self, name: str) -> Root:
        """Return the image with the name."""
        assert name == NAME
        return self._roots[0]


def opened(source: MemorySource) -> tuple[set[int], int]:
    """Return how often manifests were opened, and how often at most a configuration."""
    counts = Counter(source.opened)
    return {counts[digest] for digest in MANIFESTS}, max(counts[digest] for digest in CONFIGS)


def test_inspect_reads_the_manifests_and_one_configuration() -> None:
    source = Shelf(INDEX)
    inspect(source, source.roots()[0], measure=False)
    assert Counter(source.opened) == Counter([*MANIFESTS, ONE.config.digest])


def test_inspect_of_one_image_reads_two_documents() -> None:
    source = Shelf(ONE)
    inspect(source, source.roots()[0], measure=False)
    assert source.opened == [ONE.descriptor.digest, ONE.config.digest]


def test_load_reads_a_manifest_once_and_a_configuration_to_check_it_and_to_copy_it(
    tmp_path: Path,
) -> None:
    source = Shelf(INDEX)
    with Layout.create(str(tmp_path / "store"), store=True) as layout:
        load(source, layout)
    assert opened(source) == ({1}, 2)


def test_load_of_one_platform_reads_a_manifest_once(tmp_path: Path) -> None:
    source = Shelf(INDEX)
    with Layout.create(str(tmp_path / "store"), store=True) as layout:
        load(source, layout, TransferOptions(platforms=(Platform.parse("linux/arm64"),)))
    assert opened(source) == ({1}, 2)


def test_load_reads_what_is_attached_once(tmp_path: Path) -> None:
    source = Shelf(ONE, SIGNATURE)
    with Layout.create(str(tmp_path / "store"), store=True) as layout:
        report = load(source, layout)
    assert report.attached == 1
    assert source.opened.count(SIGNATURE.descriptor.digest) == 1


def test_save_reads_a_manifest_once() -> None:
    source = Shelf(INDEX)
    save(source, source.roots(), lambda _: None)
    assert opened(source) == ({1}, 2)


def test_push_reads_a_manifest_once() -> None:
    source = Shelf(INDEX)
    with EmulatedRegistry() as registry, Registries(RegistryOptions(plain_http=True)) as connected:
        push(source, source.roots(), [Reference.parse(f"{registry.host}/t/a:1")], connected)
    assert opened(source) == ({1}, 2)


def requests(registry: EmulatedRegistry) -> Counter[str]:
    """Return how often each manifest and blob was fetched."""
    return Counter(
        logged.target for logged in registry.requests("GET") if "sha256" in logged.target
    )


def fetched_once(registry: EmulatedRegistry, image: BuiltImage) -> bool:
    counts = requests(registry)
    return counts[f"/v2/t/a/blobs/{image.config.digest}"] == 1 and max(counts.values()) == 1


def test_pull_fetches_everything_once(tmp_path: Path) -> None:
    with EmulatedRegistry() as registry, Registries(RegistryOptions(plain_http=True)) as connected:
        registry.add_image("t/a", INDEX, "1")
        reference = Reference.parse(f"{registry.host}/t/a:1")
        with Layout.create(str(tmp_path / "store"), store=True) as layout:
            pull(Repository.of(connected, reference), layout, [reference])
        assert fetched_once(registry, ONE)


@pytest.fixture
def ocitool(tmp_path: Path) -> Command:
    return Command(tmp_path / "store", tmp_path)


class TestCommands:
    """The same, with nothing but the commands."""

    def test_inspect_and_history_of_a_registry_fetch_one_configuration_once(
        self, ocitool: Command
    ) -> None:
        for command in ("inspect", "history"):
            with EmulatedRegistry() as registry:
                registry.add_image("t/a", ONE, "1")
                done = ocitool(command, "--plain-http", f"docker://{registry.host}/t/a:1")
                assert done.code == 0, done.err
                assert requests(registry) == Counter([f"/v2/t/a/blobs/{ONE.config.digest}"])

    def test_copy_from_a_registry_fetches_everything_once(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        for target in ("store:a:1", f"oci:{tmp_path}/layout:1", f"oci-archive:{tmp_path}/a.tar:1"):
            with EmulatedRegistry() as registry:
                registry.add_image("t/a", ONE, "1")
                done = ocitool("copy", "--plain-http", f"docker://{registry.host}/t/a:1", target)
                assert done.code == 0, done.err
                assert fetched_once(registry, ONE)

    def test_copy_between_registries_fetches_everything_once(self, ocitool: Command) -> None:
        with EmulatedRegistry() as registry, EmulatedRegistry() as other:
            registry.add_image("t/a", ONE, "1")
            source, target = (f"docker://{one.host}/t/a:1" for one in (registry, other))
            done = ocitool("copy", "--plain-http", source, target)
            assert done.code == 0, done.err
            assert fetched_once(registry, ONE)


class TestAPlainArchiveOfFiveGigabytes:
    """`inspect` looks at headers, and reads no layer that is not compressed."""

    SIZE = 5 << 30

    @pytest.fixture
    def archive(self, tmp_path: Path) -> Path:
        """Return a `docker save` archive whose one layer has one file, all of it a hole."""
        config = {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{'1' * 64}"]},
            "history": [{"created_by": "COPY big /big"}],
        }
        entry = {"Config": "c.json", "RepoTags": ["big:1"], "Layers": ["l/layer.tar"]}
        path = tmp_path / "big.tar"
        with path.open("wb") as file:
            for name, value in (("c.json", config), ("manifest.json", [entry])):
                file.write(framing.file(name, json.dumps(value).encode()))
            inner = framing.header("big", self.SIZE)
            file.write(framing.header("l/layer.tar", len(inner) + self.SIZE + 1024))
            file.write(inner)
            file.seek(self.SIZE + 1024, os.SEEK_CUR)
            file.write(bytes(1024))
        assert path.stat().st_blocks < 1000
        return path

    def test_it_reads_less_than_a_megabyte(self, archive: Path) -> None:
        before = bytes_read()
        with open_archive(str(archive)) as source:
            report = inspect(source, source.roots()[0])
        assert bytes_read() - before < 1 << 20
        assert report.layers[0].file_bytes == self.SIZE
        assert report.unpacked == self.SIZE + 1536

    def test_the_commands_end_at_once(self, ocitool: Command, archive: Path) -> None:
        for command in ("inspect", "history"):
            done = ocitool(command, archive)
            assert done.code == 0, done.err
            assert "5.37 GB" in done.out


def bytes_read() -> int:
    """Return how many bytes this process has read so far, from the cache of the kernel too."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])
