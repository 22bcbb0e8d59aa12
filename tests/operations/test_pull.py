"""pull: whole images into a store, whatever happens on the way."""

import base64
import json
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ocitool.errors import DigestMismatch, NotFound, OcitoolError
from ocitool.oci import Digest, Platform, Reference
from ocitool.operations.pull import pull
from ocitool.places.layout import Layout, Writing
from ocitool.places.registry import Repository
from ocitool.transfer.pipeline import TransferOptions
from ocitool.transfer.report import CopyReport
from tests.places.registry.reading import NAME, reading
from tests.support.certificates import Authority
from tests.support.command import ROOT, Command, environment
from tests.support.fault_proxy import FaultProxy, TcpFault
from tests.support.images import BuiltImage, build_artifact, build_image, build_index
from tests.support.registry import EmulatedRegistry, Quirks
from tests.support.registry_faults import Drop, FlippedByte, Stall, Status
from tests.support.registry_quirks import Access
from tests.support.stores import Listener, assert_whole, checked, roots_of
from tests.support.trap import Trap

MEGABYTE = 1_000_000
BLOBS = "/blobs/"


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def image_of(*sizes: int, platform: str = "linux/amd64") -> BuiltImage:
    """Build an image whose layers hold so many bytes that cannot be compressed."""
    layers = [{f"f{n}": noise(size, n)} for n, size in enumerate(sizes)]
    return build_image(layers, compression="none", platform=platform)


SMALL = image_of(2000, 3000)
WITH_WINDOWS = image_of(2000, 5000)
WINDOWS = WITH_WINDOWS.tars[1]
MEDIUM = image_of(3 * MEGABYTE, 2 * MEGABYTE, 50_000)


@pytest.fixture
def registry() -> Iterator[EmulatedRegistry]:
    with EmulatedRegistry() as registry:
        yield registry


def pulled(
    host: str,
    store: Path,
    *tags: str,
    platforms: Sequence[str] = (),
    attached: bool = False,
    observer: Listener | None = None,
    **options: Any,
) -> CopyReport:
    with Layout.create(str(store), store=True) as layout, reading(host, **options) as reader:
        references = [Reference.parse(f"{host}/{NAME}:{tag}") for tag in tags]
        return pull(
            Repository(reader.session),
            layout,
            references,
            TransferOptions(
                platforms=tuple(Platform.parse(text) for text in platforms), attached=attached
            ),
            observer=observer,
        )


def sent(registry: EmulatedRegistry) -> int:
    return sum(one.sent_bytes for one in registry.requests("GET", BLOBS))


def size_of(image: BuiltImage) -> int:
    return sum(
        len(data) for digest, data in image.blobs.items() if digest != image.descriptor.digest
    )


class TestWhatIsBrought:
    def test_an_image_comes_whole_under_its_name(
        self, registry: EmulatedRegistry, tmp_path: Path
    ) -> None:
        registry.add_image(NAME, MEDIUM, "1")
        pulled(registry.host, tmp_path / "s", "1")
        assert roots_of(tmp_path / "s") == {f"{registry.host}/{NAME}:1": MEDIUM.descriptor.digest}
        assert_whole(tmp_path / "s")

    def test_an_index_comes_whole_with_its_digest(
        self, registry: EmulatedRegistry, tmp_path: Path
    ) -> None:
        index = build_index(
            [image_of(9, platform="linux/amd64"), image_of(8, platform="linux/arm64")]
        )
        registry.add_image(NAME, index, "1")
        pulled(registry.host, tmp_path / "s", "1")
        assert list(roots_of(tmp_path / "s").values()) == [index.descriptor.digest]
        assert_whole(tmp_path / "s")

    def test_of_a_platform_only_its_blobs_are_fetched(
        self, registry: EmulatedRegistry, tmp_path: Path
    ) -> None:
        one, other = image_of(9, platform="linux/amd64"), image_of(8, platform="linux/arm64")
        registry.add_image(NAME, build_index([one, other]), "1")
        pulled(registry.host, tmp_path / "s", "1", platforms=["linux/arm64"])
        asked = " ".join(logged.target for logged in registry.log)
        assert str(other.layers[0].digest) in asked
        assert str(one.layers[0].digest) not in asked
        assert str(one.descriptor.digest) not in asked
        assert_whole(tmp_path / "s")

    def test_what_is_attached_comes_when_asked_for(
        self, registry: EmulatedRegistry, tmp_path: Path
    ) -> None:
        artifact = build_artifact(SMALL.descriptor)
        registry.add_image(NAME, SMALL, "1")
        registry.add_image(NAME, artifact)
        pulled(registry.host, tmp_path / "s", "1", attached=True)
        with Layout.existing(str(tmp_path / "s")) as layout:
            assert layout.has(artifact.content)
        assert_whole(tmp_path / "s")

    def test_several_tags_come_at_once(self, registry: EmulatedRegistry, tmp_path: Path) -> None:
        registry.add_image(NAME, SMALL, "1")
        registry.add_image(NAME, MEDIUM, "2")
        pulled(registry.host, tmp_path / "s", "1", "2")
        assert len(roots_of(tmp_path / "s")) == 2

    def test_a_tag_that_is_absent_changes_nothing(
        self, registry: EmulatedRegistry, tmp_path: Path
    ) -> None:
        registry.add_image(NAME, SMALL, "1")
        with pytest.raises(NotFound):
            pulled(registry.host, tmp_path / "s", "1", "2")
        assert roots_of(tmp_path / "s") == {}


class TestFewQuestions:
    def test_a_first_pull_asks_for_each_thing_once(
        self, registry: EmulatedRegistry, tmp_path: Path
    ) -> None:
        registry.add_image(NAME, MEDIUM, "1")
        pulled(registry.host, tmp_path / "s", "1")
        asked = [(one.method, one.target) for one in registry.log]
        assert len(asked) == len(set(asked))
        assert len(registry.requests("HEAD")) == 1
        assert len(registry.requests("GET", "/manifests/")) == 1
        assert len(registry.requests("GET", BLOBS)) == 4

    def test_what_is_there_costs_one_head(self, registry: EmulatedRegistry, tmp_path: Path) -> None:
        registry.add_image(NAME, MEDIUM, "1")
        pulled(registry.host, tmp_path / "s", "1")
        registry.log.clear()
        pulled(registry.host, tmp_path / "s", "1")
        assert [one.method for one in registry.log] == ["HEAD"]

    def test_a_registry_without_head_costs_one_get(self, tmp_path: Path) -> None:
        with EmulatedRegistry(Quirks(head_405=True)) as registry:
            registry.add_image(NAME, SMALL, "1")
            pulled(registry.host, tmp_path / "s", "1")
            assert len(registry.requests("GET", "/manifests/")) == 1

    def test_only_new_blobs_are_fetched(self, registry: EmulatedRegistry, tmp_path: Path) -> None:
        registry.add_image(NAME, image_of(5000), "1")
        registry.add_image(NAME, image_of(5000, 6000), "2")
        pulled(registry.host, tmp_path / "s", "1")
        registry.log.clear()
        pulled(registry.host, tmp_path / "s", "2")
        assert len(registry.requests("GET", BLOBS)) == 2

    def test_a_head_that_lies_about_the_digest_is_corrected_by_the_bytes(
        self, tmp_path: Path
    ) -> None:
        with EmulatedRegistry(Quirks(digest_header="wrong")) as registry:
            registry.add_image(NAME, SMALL, "1")
            pulled(registry.host, tmp_path / "s", "1")
            assert list(roots_of(tmp_path / "s").values()) == [SMALL.descriptor.digest]

    def test_progress_ends_at_the_whole_and_never_goes_back(
        self, registry: EmulatedRegistry, tmp_path: Path
    ) -> None:
        registry.add_image(NAME, MEDIUM, "1")
        registry.fail("GET", BLOBS, Drop(after=30_000), times=4)
        listener = _Progress()
        pulled(registry.host, tmp_path / "s", "1", observer=listener)
        assert listener.advanced == size_of(MEDIUM)
        assert listener.least >= 0


class _Progress(Listener):
    least = 0

    def advance(self, count: int) -> None:
        super().advance(count)
        self.least = min(self.least, count)


class TestForeignLayers:
    def test_no_url_of_an_image_is_visited(
        self, registry: EmulatedRegistry, tmp_path: Path
    ) -> None:
        with Trap(200, b"foreign") as trap:
            layer = {
                "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                "digest": "sha256:" + "a" * 64,
                "size": 7,
                "urls": [f"{trap.url}/layer"],
            }
            own = SMALL.layers[0].to_json() | {"urls": [f"{trap.url}/own"]}
            layers = [{"f0": noise(2000, 0)}, {"windows": b""}]
            image = build_image(layers, compression="none", manifest={"layers": [own, layer]})
            registry.add_image(NAME, image, "1")
            pulled(registry.host, tmp_path / "s", "1")
            assert trap.log == []
        assert len(roots_of(tmp_path / "s")) == 1

    @pytest.fixture
    def elsewhere(self, tmp_path: Path) -> Iterator[tuple[Trap, Path]]:
        """Return a server of foreign layers by TLS, and the authority that vouches for it."""
        authority = Authority(tmp_path / "ca")
        with Trap(200, WINDOWS, tls=authority.server().serve()) as trap:
            yield trap, authority.certificate

    @staticmethod
    def with_foreign(*urls: str, size: int = len(WINDOWS)) -> BuiltImage:
        layer = {
            "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar",
            "digest": str(Digest.of(WINDOWS)),
            "size": size,
            "urls": list(urls),
        }
        own = WITH_WINDOWS.layers[0].to_json()
        layers = [{f"f{n}": noise(size, n)} for n, size in enumerate((2000, 5000))]
        image = build_image(layers, compression="none", manifest={"layers": [own, layer]})
        rest = {digest: data for digest, data in image.blobs.items() if data != WINDOWS}
        return replace(image, blobs=rest)

    def test_its_own_url_is_visited_when_that_is_allowed_and_nobody_logs_in_there(
        self, tmp_path: Path, elsewhere: tuple[Trap, Path]
    ) -> None:
        trap, authority = elsewhere
        url = f"{trap.url.replace('127.0.0.1', 'localhost')}/layer"
        image = self.with_foreign("http://127.0.0.1:1/plain", url)
        auths = {
            host: {"auth": base64.b64encode(b"user:secret").decode()}
            for host in ("127.0.0.1", "localhost", trap.host)
        }
        (tmp_path / "auth.json").write_text(json.dumps({"auths": auths}))
        with EmulatedRegistry(Quirks(access=Access(scheme="basic"))) as registry:
            registry.add_image(NAME, image, "1")
            auths[registry.host] = {"auth": base64.b64encode(b"user:pass").decode()}
            (tmp_path / "auth.json").write_text(json.dumps({"auths": auths}))
            pulled(
                registry.host,
                tmp_path / "s",
                "1",
                allow_foreign_layers=True,
                ca_cert=str(authority),
                authfile=str(tmp_path / "auth.json"),
            )
        assert [one.target for one in trap.log] == ["/layer"]
        assert trap.credentials == []
        digest = Digest.of(WINDOWS)
        assert (tmp_path / "s" / "blobs" / "sha256" / digest.hex).read_bytes() == WINDOWS
        assert_whole(tmp_path / "s")

    def test_who_wants_a_name_there_gets_none(
        self, registry: EmulatedRegistry, tmp_path: Path
    ) -> None:
        authority = Authority(tmp_path / "ca")
        challenge = {"WWW-Authenticate": 'Basic realm="x"'}
        with Trap(401, b"{}", challenge, authority.server().serve()) as trap:
            auth = {"auth": base64.b64encode(b"user:secret").decode()}
            (tmp_path / "auth.json").write_text(json.dumps({"auths": {trap.host: auth}}))
            registry.add_image(NAME, self.with_foreign(f"{trap.url}/layer"), "1")
            with pytest.raises(OcitoolError, match="401"):
                pulled(
                    registry.host,
                    tmp_path / "s",
                    "1",
                    allow_foreign_layers=True,
                    ca_cert=str(authority.certificate),
                    authfile=str(tmp_path / "auth.json"),
                )
            assert len(trap.log) > 0
            assert trap.credentials == []

    def test_what_the_registry_holds_comes_from_there(
        self, registry: EmulatedRegistry, tmp_path: Path, elsewhere: tuple[Trap, Path]
    ) -> None:
        trap, authority = elsewhere
        registry.add_image(NAME, self.with_foreign(f"{trap.url}/layer"), "1")
        registry.add_blob(NAME, WINDOWS)
        pulled(
            registry.host, tmp_path / "s", "1", allow_foreign_layers=True, ca_cert=str(authority)
        )
        assert trap.log == []
        assert_whole(tmp_path / "s")

    @pytest.mark.parametrize("size", [len(WINDOWS) - 1, len(WINDOWS) + 1])
    def test_other_bytes_are_refused(
        self,
        registry: EmulatedRegistry,
        tmp_path: Path,
        elsewhere: tuple[Trap, Path],
        size: int,
    ) -> None:
        trap, authority = elsewhere
        registry.add_image(NAME, self.with_foreign(f"{trap.url}/layer", size=size), "1")
        with pytest.raises(OcitoolError):
            pulled(
                registry.host,
                tmp_path / "s",
                "1",
                allow_foreign_layers=True,
                ca_cert=str(authority),
            )
        assert roots_of(tmp_path / "s") == {}

    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1:1/layer",
            "https://user:secret@127.0.0.1:1/layer",
            "ftp://127.0.0.1/x",
            "https://[",
            "/layer",
        ],
    )
    def test_an_address_that_will_not_do_is_as_none(
        self, registry: EmulatedRegistry, tmp_path: Path, url: str
    ) -> None:
        registry.add_image(NAME, self.with_foreign(url), "1")
        pulled(registry.host, tmp_path / "s", "1", allow_foreign_layers=True)
        assert len(roots_of(tmp_path / "s")) == 1


class TestCuts:
    """Connections that end at random bytes."""

    @pytest.mark.parametrize("seed", range(6))
    def test_a_pull_with_cuts_is_complete_and_fetches_little_twice(
        self, tmp_path: Path, seed: int
    ) -> None:
        cut_pull(tmp_path, seed)

    @pytest.mark.soak
    @pytest.mark.parametrize("seed", range(1000, 1200))
    def test_two_hundred_of_them(self, tmp_path: Path, seed: int) -> None:
        cut_pull(tmp_path, seed)


def lost_by(fault: TcpFault) -> int:
    """Return how many bytes may have to come again, for a cut."""
    # A reset takes with it what the kernel had for us and we had not read yet.
    return fault.after if fault.action == "reset" else 1 << 20


def cut_pull(folder: Path, seed: int) -> None:
    """Pull through a proxy that cuts some connections at random bytes."""
    chance = random.Random(seed)
    faults = [
        TcpFault(
            action=chance.choice(["close", "reset"]), after=chance.randrange(400, 4 * MEGABYTE)
        )
        for _ in range(chance.randrange(1, 6))
    ]
    with EmulatedRegistry() as registry, FaultProxy(registry.host, *faults) as proxy:
        registry.add_image(NAME, MEDIUM, "1")
        pulled(proxy.host, folder / "s", "1", plain_http=True)
        assert proxy.passed["down"] <= size_of(MEDIUM) + sum(map(lost_by, faults)) + 100_000
    assert list(roots_of(folder / "s").values()) == [MEDIUM.descriptor.digest]
    assert_whole(folder / "s")


def started(store: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "ocitool", *arguments],
        cwd=ROOT,
        env=environment(store),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def peak_of(process: int) -> int:
    """Return the most memory that a process has had, in bytes; 0 when it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    return 1024 * int(found[1]) if found else 0


def wait_until(holds: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def nothing_left(store: Path) -> None:
    """Fail unless a store is sound; parts of blobs may be kept for the next try."""
    report = checked(store)
    assert report.problems == ()
    assert report.unknown_files == ()


class TestTheRealCommand:
    def test_a_killed_pull_goes_on_where_it_was(self, tmp_path: Path) -> None:
        layer = 60 * MEGABYTE
        image = image_of(layer)
        store = tmp_path / "s"
        with EmulatedRegistry(Quirks(bytes_per_second=6.0 * MEGABYTE)) as registry:
            registry.add_image(NAME, image, "1")
            name = f"{registry.host}/{NAME}:1"
            with started(store, "pull", name) as process:
                wait_until(lambda: sent(registry) > 0.92 * layer)
                process.kill()
            first = sent(registry)
            assert roots_of(store) == {}
            nothing_left(store)
            done = Command(store, tmp_path)("pull", name)
            assert done.code == 0, done.err
            assert sent(registry) - first <= 0.15 * layer
        assert list(roots_of(store).values()) == [image.descriptor.digest]
        assert_whole(store)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_ends_a_stalled_pull_within_two_seconds(
        self, tmp_path: Path, number: signal.Signals
    ) -> None:
        store = tmp_path / "s"
        image = image_of(20 * MEGABYTE, 3 * MEGABYTE)
        with EmulatedRegistry() as registry:
            registry.add_image(NAME, image, "1")
            for each in image.layers:
                registry.fail("GET", str(each.digest), Stall(seconds=60, after=MEGABYTE), times=9)
            with started(store, "pull", f"{registry.host}/{NAME}:1") as process:
                wait_until(lambda: sent(registry) > 2 * MEGABYTE)
                time.sleep(0.3)
                began = time.monotonic()
                process.send_signal(number)
                _, errors = process.communicate(timeout=20)
                assert time.monotonic() - began < 2
            assert process.returncode == 128 + number, errors.decode()
            assert b"Traceback" not in errors
        assert roots_of(store) == {}
        nothing_left(store)

    def test_a_signal_ends_a_pull_over_several_connections(self, tmp_path: Path) -> None:
        store = tmp_path / "s"
        image = image_of(40 * MEGABYTE)
        with EmulatedRegistry(Quirks(bytes_per_second=2.0 * MEGABYTE)) as registry:
            registry.add_image(NAME, image, "1")
            with started(store, "pull", f"{registry.host}/{NAME}:1") as process:
                wait_until(lambda: len(registry.requests("GET", str(image.layers[0].digest))) > 3)
                began = time.monotonic()
                process.send_signal(signal.SIGINT)
                _, errors = process.communicate(timeout=20)
                assert time.monotonic() - began < 2
            assert process.returncode == 130, errors.decode()
        assert roots_of(store) == {}
        nothing_left(store)

    @pytest.mark.parametrize("killed", [False, True], ids=["both live", "one is killed"])
    def test_two_processes_that_pull_the_same_fetch_it_once(
        self, tmp_path: Path, *, killed: bool
    ) -> None:
        store = tmp_path / "s"
        layer = 20 * MEGABYTE
        image = image_of(layer)
        with EmulatedRegistry(Quirks(bytes_per_second=6.0 * MEGABYTE)) as registry:
            registry.add_image(NAME, image, "1")
            name = f"{registry.host}/{NAME}:1"
            first = started(store, "pull", name)
            wait_until(lambda: sent(registry) > 0.1 * layer)
            second = started(store, "pull", name)
            assert second.stderr is not None
            # It may take long to start, and only then does it meet the first one.
            waits = f"another process is fetching {image.layers[0].digest.short}".encode()
            assert any(waits in line for line in second.stderr)
            if killed:
                first.kill()
            told = second.communicate(timeout=60)[1].decode()
            first.communicate(timeout=60)
            assert (first.returncode, second.returncode) == (-9 if killed else 0, 0), told
            # Who is killed has read what the other cannot know of.
            assert sent(registry) <= (1.4 if killed else 1.1) * layer
        assert_whole(store)

    def test_a_manifest_of_eight_mebibytes_is_pulled_and_read_from_the_store(
        self, registry: EmulatedRegistry, tmp_path: Path
    ) -> None:
        large = build_image([{"a": b"1"}], manifest={"annotations": {"a": "x" * 8_000_000}})
        registry.add_image(NAME, large, "1")
        pulled(registry.host, tmp_path, "1")
        assert_whole(tmp_path)

    @pytest.mark.parametrize("arrived", [0, MEGABYTE])
    def test_who_gets_nowhere_is_not_waited_for_and_what_arrived_is_not_fetched_again(
        self,
        registry: EmulatedRegistry,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        arrived: int,
    ) -> None:
        monkeypatch.setattr("ocitool.transfer.copy._PATIENCE", 0.1)
        registry.add_image(NAME, MEDIUM, "1")
        store, layer = tmp_path / "s", MEDIUM.layers[0]
        with Layout.create(str(store), store=True) as layout, Writing(layout) as writing:
            other = writing.ingest(layer)
            assert other is not None
            if arrived:
                other.write(0, MEDIUM.blobs[layer.digest][:arrived])
            pulled(registry.host, store, "1")
            other.close()
        assert sent(registry) <= size_of(MEDIUM) - arrived / 2
        assert_whole(store)

    def test_a_blob_that_the_other_stores_after_all_is_not_fetched_to_its_end(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ocitool.transfer.copy._PATIENCE", 0.1)
        store, layer = tmp_path / "s", MEDIUM.layers[0]
        data = MEDIUM.blobs[layer.digest]
        with (
            EmulatedRegistry(Quirks(bytes_per_second=1.0 * MEGABYTE)) as registry,
            Layout.create(str(store), store=True) as layout,
            Writing(layout, keep=True) as writing,
            ThreadPoolExecutor() as pool,
        ):
            registry.add_image(NAME, MEDIUM, "1")
            other = writing.ingest(layer)
            assert other is not None
            other.write(0, data[:MEGABYTE])
            pulling = pool.submit(pulled, registry.host, store, "1")
            path = f"{BLOBS}{layer.digest}"
            wait_until(lambda: any(r.sent_bytes for r in registry.requests("GET", path)))
            other.write(MEGABYTE, data[MEGABYTE:])
            other.commit()
            report = pulling.result(timeout=20)
            outcomes = {m.descriptor.digest: m.outcome for m in report.transfer.blobs}
            assert outcomes[layer.digest] == "existed"
            assert sum(r.sent_bytes for r in registry.requests("GET", path)) < len(data) / 2
        assert_whole(store)

    @pytest.mark.parametrize("registry_is_damaged", [False, True])
    def test_what_a_power_failure_left_of_a_layer_is_fetched_anew_within_the_same_run(
        self, registry: EmulatedRegistry, tmp_path: Path, *, registry_is_damaged: bool
    ) -> None:
        registry.add_image(NAME, MEDIUM, "1")
        store, layer = tmp_path / "s", MEDIUM.layers[0]
        with Layout.create(str(store), store=True) as layout, Writing(layout) as writing:
            earlier = writing.ingest(layer)
            assert earlier is not None
            # The journal reached the disk, and the bytes did not.
            earlier.write(0, bytes(MEGABYTE))
            earlier.close()
        if registry_is_damaged:
            registry.fail("GET", str(layer.digest), FlippedByte(at=2 * MEGABYTE), times=9)
            with pytest.raises(DigestMismatch):
                pulled(registry.host, store, "1")
            assert roots_of(store) == {}
            return
        pulled(registry.host, store, "1")
        assert size_of(MEDIUM) <= sent(registry) <= 2 * size_of(MEDIUM)
        assert_whole(store)

    def test_memory_stays_flat(self, tmp_path: Path) -> None:
        store = tmp_path / "s"
        image = image_of(200 * MEGABYTE, 100 * MEGABYTE)
        with EmulatedRegistry() as registry:
            registry.add_image(NAME, image, "1")
            with started(store, "pull", f"{registry.host}/{NAME}:1") as process:
                peak = 0
                while process.poll() is None:
                    peak = max(peak, peak_of(process.pid))
                    time.sleep(0.002)
            assert process.returncode == 0
            assert 10 * MEGABYTE < peak < 120 * MEGABYTE
        assert list(roots_of(store).values()) == [image.descriptor.digest]

    def test_one_image_that_fails_does_not_keep_the_others_back(self, tmp_path: Path) -> None:
        store = tmp_path / "s"
        with EmulatedRegistry() as registry:
            registry.add_image("a/one", SMALL, "1")
            registry.add_image("a/two", image_of(5000), "1")
            registry.add_image("a/three", image_of(7000), "1")
            registry.fail("GET", "/a/two/blobs/", Status(status=404), times=99)
            names = [f"{registry.host}/a/{name}:1" for name in ("one", "two", "three", "gone")]
            done = Command(store, tmp_path)("pull", *names)
            assert done.code == 4
            assert "2 of 4 failed" in done.err
            assert sorted(roots_of(store)) == sorted([names[0], names[2]])
            assert len(done.out.splitlines()) == 2
            done = Command(store, tmp_path)("pull", "--fail-fast", names[3], names[0])
            assert done.code == 4
            assert done.out == ""
        nothing_left(store)

    def test_a_pull_by_digest_gives_that_digest_or_an_error(self, tmp_path: Path) -> None:
        store = tmp_path / "s"
        with EmulatedRegistry() as registry:
            registry.add_image(NAME, SMALL, "1")
            name = f"{registry.host}/{NAME}@{SMALL.descriptor.digest}"
            lie = Status(
                status=200,
                headers={"Content-Type": SMALL.descriptor.media_type},
                body=MEDIUM.manifest,
            )
            registry.fail("GET", "/manifests/", lie)
            assert Command(store, tmp_path)("pull", name).code == 7
            done = Command(store, tmp_path)("pull", name)
            assert done.code == 0
            assert done.out.strip() == name

    def test_all_tags_of_a_repository_come(self, tmp_path: Path) -> None:
        with EmulatedRegistry(Quirks(page_size=1)) as registry:
            registry.add_image(NAME, SMALL, "b")
            registry.add_image(NAME, image_of(7), "a")
            done = Command(tmp_path / "s", tmp_path)(
                "pull", "--all-tags", f"{registry.host}/{NAME}"
            )
            assert done.code == 0, done.err
            assert sorted(roots_of(tmp_path / "s")) == [f"{registry.host}/{NAME}:{t}" for t in "ab"]

    def test_no_secret_is_shown_whatever_goes_wrong(self, tmp_path: Path) -> None:
        secret = "canary-s3cret"
        config = tmp_path / "docker"
        config.mkdir()
        access = Access(scheme="bearer", users={"ann": secret})
        with EmulatedRegistry(Quirks(access=access)) as registry:
            registry.add_image(NAME, SMALL, "1")
            Command(tmp_path / "s", tmp_path)(
                "login",
                registry.host,
                "-u",
                "ann",
                "--password-stdin",
                stdin=secret.encode(),
                variables={"DOCKER_CONFIG": str(config)},
            )
            registry.fail("GET", "/blobs/", Status(status=500), times=99)
            done = Command(tmp_path / "s", tmp_path)(
                "--debug",
                "pull",
                "--retry-max-wait",
                "20ms",
                f"{registry.host}/{NAME}:1",
                variables={"DOCKER_CONFIG": str(config)},
            )
        assert done.code == 8
        tokens = re.findall(r"Bearer \S+|Basic \S+", done.out + done.err)
        assert secret not in done.out + done.err
        assert tokens == []
