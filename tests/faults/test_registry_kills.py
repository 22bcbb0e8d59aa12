"""A bundle is loaded into a registry and the command killed at a request: at each, in the soak.

The registry obeys the request; the command never sees its answer.
"""

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests.faults import figures
from tests.faults.zygote import Running, Zygote
from tests.places.registry.pushes import whole
from tests.support.http_exchange import Exchange
from tests.support.images import Built, build_artifact, build_image, build_index
from tests.support.made_bundles import made
from tests.support.registry import EmulatedRegistry, Quirks
from tests.support.registry_state import StoredManifest

SHARED = {"shared": b"a layer of several images " * 200}
FIRST = build_image([SHARED, {"first": b"1"}])
BOTH = build_index(
    [build_image([SHARED, {"x": b"2"}]), build_image([SHARED], platform="linux/arm64")]
)
NEXT = build_image([SHARED, {"next": b"3"}])
SBOM = build_artifact(FIRST.descriptor, b"an SBOM")
SIGNATURE = build_artifact(SBOM.descriptor, b"a signature of the SBOM")
ATTACHED = (SBOM, SIGNATURE)
IMAGES: dict[str, Built] = {"mirror/t/first": FIRST, "mirror/t/both": BOTH}
KINDS = {
    "full": Quirks(),
    "delta": Quirks(),
    "without mounts": Quirks(mount_status=202),
    "without referrers": Quirks(referrers="404"),
}


class Killing(EmulatedRegistry):
    """Kills the command when it has sent so many requests; each is obeyed."""

    def __init__(self, quirks: Quirks) -> None:
        super().__init__(quirks)
        self.victim: Future[Running] = Future()
        self._kill_at = 0
        self._numbers = itertools.count(1)

    def count_to(self, kill_at: int) -> None:
        """Kill the command, which is about to be told, at its request of this number; 0: never."""
        self.victim, self._kill_at = Future(), kill_at
        self._numbers = itertools.count(1)

    def respond(self, exchange: Exchange) -> None:
        if next(self._numbers) == self._kill_at:
            self.victim.result(timeout=30).kill()
        super().respond(exchange)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with full.tar and, over it, delta.tar."""
    folder = tmp_path_factory.mktemp("bundles")
    images: dict[str, Built] = {"reg.example/t/first:1": FIRST, "reg.example/t/both:1": BOTH}
    full = made(folder / "full.tar", images, ATTACHED)
    made(folder / "delta.tar", {"reg.example/t/first:2": NEXT}, base=[full])
    return folder


def assert_nothing_half(registry: EmulatedRegistry) -> None:
    """Fail if a tag or a list leads to something of which a part is not there."""
    for path, tags in registry.tags.items():
        for digest in tags.values():
            assert_there(registry, path, registry.manifests[path][digest])
        for stored in registry.manifests[path].values():
            assert_there(registry, path, stored)


def assert_there(registry: EmulatedRegistry, path: str, stored: StoredManifest) -> None:
    """Fail unless all that a manifest lists is in its repository."""
    document: Any = stored.fields
    parts = [*document.get("layers", ()), *document.get("manifests", ())]
    for part in [*parts, *([document["config"]] if "config" in document else [])]:
        held = {*map(str, registry.blobs[path]), *map(str, registry.manifests[path])}
        assert part["digest"] in held, f"{path} names {part['digest']}, which is not there"


def assert_all_there(registry: EmulatedRegistry, kind: str) -> None:
    """Fail unless each image has its tag, and is whole with all that is attached to it."""
    assert_nothing_half(registry)
    wanted = {**IMAGES, "mirror/t/first": NEXT} if kind == "delta" else IMAGES
    for path, image in wanted.items():
        assert image.descriptor.digest in registry.tags[path].values()
        assert whole(registry, image, path)
    for artifact in ATTACHED:
        assert whole(registry, artifact, "mirror/t/first")
    if kind == "without referrers":
        tags = registry.tags["mirror/t/first"]
        lists = [digest for tag, digest in tags.items() if tag.startswith("sha256-")]
        fields: list[Any] = [registry.manifests["mirror/t/first"][one].fields for one in lists]
        listed = {entry["digest"] for one in fields for entry in one["manifests"]}
        assert listed == {str(artifact.descriptor.digest) for artifact in ATTACHED}


def killed_at_each(
    kind: str, parent: Zygote, bundles: Path, folder: Path, step: int
) -> Iterator[int]:
    """Kill the command at every `step`th request of it; yield the number of each."""
    for number in itertools.count(1, step):
        store = folder / str(number)
        with Killing(KINDS[kind]) as registry:
            words = ["--store", str(store), "--progress", "none", "bundle", "load"]
            to = ["--to", f"{registry.host}/mirror", "--plain-http"]
            if kind == "delta":
                ended = parent.run([*words, str(bundles / "full.tar"), *to])
                assert ended.code == 0, ended.err
            command = [*words, str(bundles / ("delta.tar" if kind == "delta" else "full.tar")), *to]
            if not _is_killed(parent, registry, command, number):
                assert_all_there(registry, kind)
                return
            assert_nothing_half(registry)
            ended = parent.run(command)
            assert ended.code == 0, ended.err
            assert_all_there(registry, kind)
        yield number


def _is_killed(parent: Zygote, registry: Killing, command: Sequence[str], number: int) -> bool:
    registry.count_to(number)
    running = parent.start(command)
    registry.victim.set_result(running)
    ended = running.end()
    registry.count_to(0)
    assert ended.code in (None, 0), ended.err
    return ended.code is None


class TestKilledAtARequest:
    @pytest.mark.parametrize("kind", KINDS)
    def test_a16_a_sample(self, kind: str, parent: Zygote, bundles: Path, tmp_path: Path) -> None:
        turns = 0
        for _ in killed_at_each(kind, parent, bundles, tmp_path, 7 if kind != "delta" else 2):
            figures.current.count("G1 G2", "kills of bundle load at a request to a registry")
            turns += 1
        assert turns >= 4

    @pytest.mark.soak
    @pytest.mark.parametrize("kind", KINDS)
    def test_a16_each_request(
        self, kind: str, parent: Zygote, bundles: Path, tmp_path: Path
    ) -> None:
        for _ in figures.current.in_time(killed_at_each(kind, parent, bundles, tmp_path, 1)):
            figures.current.count("G1 G2", "kills of bundle load at a request to a registry")
