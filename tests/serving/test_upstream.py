"""S19 to S22: a cache of other registries."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocitool.errors import UsageError
from ocitool.oci import Digest
from ocitool.oci.annotations import CACHED
from ocitool.places.layout import Layout
from ocitool.places.registry import Registries, RegistryOptions
from ocitool.serving.application import Application
from ocitool.serving.library import Library
from ocitool.serving.messages import Parts, Request
from ocitool.serving.names import NameRules
from ocitool.serving.shelves import LayoutShelf
from ocitool.serving.upstream.cache import UpstreamCache
from ocitool.serving.upstream.options import UpstreamOptions
from ocitool.serving.upstream.origins import parse_origin
from ocitool.serving.writing.writer import StoreWriter
from tests.serving.test_pushing import collect
from tests.support.images import BuiltImage, build_image, build_index
from tests.support.layouts import image, names_of
from tests.support.registry import Access, EmulatedRegistry, Quirks
from tests.support.registry_faults import Status
from tests.support.serving import Asked, Registry
from tests.support.stores import checked

TTL = 60.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Cache(Registry):
    """A cache in front of an emulated registry."""

    clock: Clock
    folder: Path
    upstream: EmulatedRegistry

    def asked(self, *parts: str) -> list[str]:
        """Return the requests to the registry behind, those with all of these parts."""
        lines = [f"{one.method} {one.target}" for one in self.upstream.log]
        return [line for line in lines if all(part in line for part in parts)]


@contextlib.contextmanager
def caching(
    folder: Path, upstream: EmulatedRegistry, environment: dict[str, str] | None = None
) -> Iterator[Cache]:
    host = upstream.host
    clock = Clock()
    with (
        Layout.create(str(folder), store=True) as layout,
        Registries(RegistryOptions(retry_max_wait=0.01), environment=environment or {}) as found,
    ):
        library = Library([LayoutShelf(layout)], NameRules(host=host))
        writer = StoreWriter(layout, library)
        told: list[str] = []
        cache = UpstreamCache(
            library,
            writer.storing,
            writer.claims,
            found,
            UpstreamOptions(origins=(parse_origin(host),), ttl=TTL),
            told.append,
            clock=clock,
        )
        application = Application(library, upstream=cache, tell=told.append)
        asked = Cache(application, library, told)
        asked.clock, asked.folder, asked.upstream = clock, folder, upstream
        try:
            yield asked
        finally:
            writer.close()


@pytest.fixture
def upstream() -> Iterator[EmulatedRegistry]:
    with EmulatedRegistry() as registry:
        yield registry


@pytest.fixture
def cache(tmp_path: Path, upstream: EmulatedRegistry) -> Iterator[Cache]:
    with caching(tmp_path / "store", upstream) as found:
        yield found


def pulled(cache: Cache, built: BuiltImage, name: str = "t/a", tag: str = "1") -> Asked:
    """Pull an image through the cache, and compare every byte."""
    manifest = cache.get(f"/v2/{name}/manifests/{tag}")
    assert manifest.body == built.manifest, manifest.body
    for descriptor in (built.config, *built.layers):
        got = cache.get(f"/v2/{name}/blobs/{descriptor.digest}")
        assert got.body == built.blobs[descriptor.digest]
    return manifest


def settled(cache: Cache, name: str, digest: str = "") -> dict[str, str]:
    """Return the names in the store, once that one is there (for that digest)."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with Layout.existing(str(cache.folder)) as layout:
            found = names_of(layout)
        if any(text.endswith(name) and digest in ("", found[text]) for text in found):
            return found
        time.sleep(0.01)
    raise AssertionError(f"{name} is not in {found}")


class TestS19Tags:
    def test_a_tag_is_asked_for_once_in_a_while(
        self, cache: Cache, upstream: EmulatedRegistry
    ) -> None:
        built = image("one")
        upstream.add_image("t/a", built, "1")
        for _ in range(3):
            pulled(cache, built)
        assert len(cache.asked("HEAD", "/manifests/1")) == 1
        assert len(cache.asked("GET", "/manifests/")) == 1
        assert len(cache.asked("GET", "/blobs/")) == 2
        cache.clock.now += TTL + 1
        pulled(cache, built)
        assert len(cache.asked("HEAD", "/manifests/1")) == 2
        assert len(cache.asked("GET", "/manifests/")) == 1

    def test_a_tag_that_moved(self, cache: Cache, upstream: EmulatedRegistry) -> None:
        old, new = image("old"), image("new")
        upstream.add_image("t/a", old, "1")
        pulled(cache, old)
        upstream.add_image("t/a", new, "1")
        pulled(cache, old)
        cache.clock.now += TTL + 1
        pulled(cache, new)
        settled(cache, "t/a:1", str(new.descriptor.digest))

    @pytest.mark.parametrize("status", [500, 503, 429])
    def test_when_it_does_not_answer_the_last_answer_counts(
        self, cache: Cache, upstream: EmulatedRegistry, status: int
    ) -> None:
        built = image("one")
        upstream.add_image("t/a", built, "1")
        pulled(cache, built)
        settled(cache, "t/a:1")
        upstream.fail("*", "/manifests/", Status(status=status), times=99)
        cache.clock.now += TTL + 1
        manifest = pulled(cache, built)
        assert manifest.headers["Warning"].startswith("110 ")
        assert any("from the cache" in text for text in cache.told)

    def test_unreachable_and_unknown(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as upstream:
            upstream.add_image("t/a", image("one"), "1")
            host = upstream.host
        with caching(tmp_path / "store", upstream) as cache:
            got = cache.get("/v2/t/a/manifests/1")
            assert got.status == 503
            assert host in got.json["errors"][0]["message"]

    def test_what_is_gone_there_is_gone_here_after_a_while(
        self, cache: Cache, upstream: EmulatedRegistry
    ) -> None:
        built = image("one")
        upstream.add_image("t/a", built, "1")
        pulled(cache, built)
        settled(cache, "t/a:1")
        del upstream.state.tags["t/a"]["1"]
        assert cache.get("/v2/t/a/manifests/1").status == 200
        cache.clock.now += TTL + 1
        assert cache.get("/v2/t/a/manifests/1").status == 404
        # Its content stays until gc.
        assert cache.get(f"/v2/t/a/manifests/{built.descriptor.digest}").status == 200

    def test_digests_never_ask(self, cache: Cache, upstream: EmulatedRegistry) -> None:
        built = image("one")
        upstream.add_image("t/a", built, "1")
        digest = built.descriptor.digest
        pulled(cache, built, tag=str(digest))
        before = len(upstream.log)
        pulled(cache, built, tag=str(digest))
        assert len(upstream.log) == before

    def test_no_registry_without_its_name(self, cache: Cache, upstream: EmulatedRegistry) -> None:
        upstream.add_image("t/a", image("one"), "1")
        assert cache.get("/v2/t/a/manifests/1?ns=example.com").status == 404
        assert cache.get("/v2/example.com/t/a/manifests/1").status == 404
        assert upstream.log == []

    @pytest.mark.parametrize("text", ["", "library", "ghcr.io/*", "ghcr.io/a:1", "a b"])
    def test_what_is_no_registry(self, text: str) -> None:
        with pytest.raises(UsageError, match="--upstream"):
            parse_origin(text)

    def test_only_below_a_prefix(self) -> None:
        origin = parse_origin("ghcr.io/team")
        assert origin.covers("ghcr.io/team/app")
        assert not origin.covers("ghcr.io/teams/app")
        assert not origin.covers("ghcr.io/other")


class TestS20Blobs:
    def test_one_fetch_for_many_clients_who_see_it_arrive(self, tmp_path: Path) -> None:
        built = build_image([bytes(range(256)) * 4000], compression="none")
        layer = built.layers[0]
        with (
            EmulatedRegistry(Quirks(bytes_per_second=2_000_000)) as upstream,
            caching(tmp_path / "store", upstream) as cache,
        ):
            upstream.add_image("t/a", built, "1")
            cache.get("/v2/t/a/manifests/1")
            firsts: list[float] = []
            wholes: list[bytes] = []

            def read() -> None:
                began = time.monotonic()
                source = pieces(cache, f"/v2/t/a/blobs/{layer.digest}")
                data = next(source)
                firsts.append(time.monotonic() - began)
                wholes.append(data + b"".join(source))

            threads = [threading.Thread(target=read) for _ in range(5)]
            began = time.monotonic()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            took = time.monotonic() - began
            assert set(wholes) == {built.blobs[layer.digest]}
            assert max(firsts) < took * 0.8
            assert len(cache.asked("GET", "/blobs/")) == 1
            got = cache.get(f"/v2/t/a/blobs/{layer.digest}", range="bytes=1000-1999")
            assert got.body == built.blobs[layer.digest][1000:2000]

    def test_a_client_that_leaves_ends_nothing(
        self, cache: Cache, upstream: EmulatedRegistry
    ) -> None:
        built = build_image([bytes(range(256)) * 4000], compression="none")
        upstream.add_image("t/a", built, "1")
        cache.get("/v2/t/a/manifests/1")
        cache.get(f"/v2/t/a/blobs/{built.config.digest}")
        source = pieces(cache, f"/v2/t/a/blobs/{built.layers[0].digest}")
        next(source)
        source.close()
        assert settled(cache, "t/a:1")
        assert checked(cache.folder).problems == ()

    @pytest.mark.parametrize("quirk", ["other", "short"])
    def test_a_lie_is_cut_before_its_end_and_never_kept(
        self, cache: Cache, upstream: EmulatedRegistry, quirk: str
    ) -> None:
        built = build_image([bytes(range(256)) * 4000], compression="none")
        upstream.add_image("t/a", built, "1")
        cache.get("/v2/t/a/manifests/1")
        layer = built.layers[0].digest
        true = built.blobs[layer]
        lie = true[:-9] + b"something" if quirk == "other" else true[:-9]
        upstream.state.blobs["t/a"][layer] = lie
        got = b""
        with contextlib.suppress(Exception):
            for piece in pieces(cache, f"/v2/t/a/blobs/{layer}"):
                got += piece
        assert len(got) < len(true)
        with Layout.existing(str(cache.folder)) as layout:
            assert layout.blob_size(layer) is None
        upstream.state.blobs["t/a"][layer] = true
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            with contextlib.suppress(Exception):
                assert cache.get(f"/v2/t/a/blobs/{layer}").body == true
                break
            time.sleep(0.02)
        else:
            pytest.fail("the true bytes were not taken")

    def test_a_blob_of_no_manifest_is_not_fetched(
        self, cache: Cache, upstream: EmulatedRegistry
    ) -> None:
        descriptor = upstream.add_blob("t/a", b"something else")
        assert cache.get(f"/v2/t/a/blobs/{descriptor.digest}").status == 404
        assert cache.asked("/blobs/") == []

    def test_a_head_fetches_nothing(self, cache: Cache, upstream: EmulatedRegistry) -> None:
        built = image("one")
        upstream.add_image("t/a", built, "1")
        cache.get("/v2/t/a/manifests/1")
        request = Request(method="HEAD", target=f"/v2/t/a/blobs/{built.layers[0].digest}")
        answer = cache.application.answer(request)
        assert (answer.status, len(answer.body)) == (200, built.layers[0].size)
        assert cache.asked("/blobs/") == []


class TestS21Credentials:
    def test_a_private_image_is_not_shown_to_clients_without_a_user(self, tmp_path: Path) -> None:
        quirks = Quirks(access=Access(scheme="basic"))
        with EmulatedRegistry(quirks) as upstream, caching(tmp_path / "s", upstream) as cache:
            upstream.add_image("t/a", image("private"), "1")
            got = cache.ask(
                "GET", "/v2/t/a/manifests/1", headers={"authorization": "Basic dXNlcjpwYXNz"}
            )
            assert got.status == 404
            # The credentials of the client are its own.
            assert not [one for one in upstream.log if "authorization" in one.headers]


class TestS22WhatIsKept:
    def test_an_image_has_its_name_when_it_is_whole(
        self, cache: Cache, upstream: EmulatedRegistry
    ) -> None:
        built = image("one")
        upstream.add_image("t/a", built, "1")
        cache.get("/v2/t/a/manifests/1")
        cache.get(f"/v2/t/a/blobs/{built.config.digest}")
        time.sleep(0.1)
        with Layout.existing(str(cache.folder)) as layout:
            assert names_of(layout) == {}
        collect(cache.folder)
        pulled(cache, built)
        assert settled(cache, "t/a:1")
        with Layout.existing(str(cache.folder)) as layout:
            (root,) = layout.roots()
            assert root.descriptor.annotations[CACHED] == f"{upstream.host}/t/a"
        report = checked(cache.folder)
        assert (report.problems, report.unreferenced) == ((), ())

    def test_an_index_has_its_name_with_its_first_platform(
        self, cache: Cache, upstream: EmulatedRegistry
    ) -> None:
        one, other = image("amd"), build_image([{"x": b"arm"}], platform="linux/arm64")
        both = build_index([one, other])
        upstream.add_image("t/multi", both, "1")
        assert cache.get("/v2/t/multi/manifests/1").status == 200
        pulled(cache, one, "t/multi", str(one.descriptor.digest))
        assert settled(cache, "t/multi:1")
        with Layout.existing(str(cache.folder)) as layout:
            assert [root.descriptor.digest for root in layout.roots()] == [both.descriptor.digest]
        assert checked(cache.folder).problems == ()
        # The other platform, later.
        pulled(cache, other, "t/multi", str(other.descriptor.digest))

    def test_serving_counts_as_use(self, cache: Cache, upstream: EmulatedRegistry) -> None:
        import os

        built = image("one")
        upstream.add_image("t/a", built, "1")
        pulled(cache, built)
        settled(cache, "t/a:1")
        path = cache.folder / "blobs/sha256" / built.descriptor.digest.hex
        os.utime(path, (1, 1))
        with caching(cache.folder, upstream) as again:
            again.get("/v2/t/a/manifests/1")
            assert time.time() - path.stat().st_mtime < 60
            os.utime(path, (1, 1))
            again.get("/v2/t/a/manifests/1")
            assert path.stat().st_mtime == 1


def pieces(cache: Cache, target: str) -> Any:
    """Return the pieces of a body as they come."""
    answer = cache.application.answer(Request(method="GET", target=target))
    assert answer.status == 200
    if not isinstance(answer.body, Parts):
        return iter([bytes(len(Digest.of(b"").hex))])

    def read(body: Parts) -> Iterator[bytes]:
        try:
            yield from body.source
        finally:
            body.close()

    return read(answer.body)
