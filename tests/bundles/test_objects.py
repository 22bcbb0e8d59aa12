"""A26: bundles as objects: whole or not at all, and read by ranges."""

import datetime as dt
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from obstore.store import HTTPStore, LocalStore, MemoryStore, S3Store

from ocitool.bundles.files import BundleFile, BundleSet, PlainFile
from ocitool.bundles.objects import ObjectAddress, ObjectFile, ObjectOutput, is_object
from ocitool.errors import NotFound, OcitoolError, Unavailable, UsageError
from ocitool.operations.bundle.verify import verify_bundle
from tests.support.images import build_image
from tests.support.made_bundles import made
from tests.support.terminal import wait_until

URL = "s3://bucket/folder/b.tar"
NAME = "registry.example/app:1"


class Ranges(http.server.BaseHTTPRequestHandler):
    """Serves one object by ranges and counts the bytes that were asked for."""

    data = b""
    asked: list[tuple[int, int]]

    def do_HEAD(self) -> None:
        self._begin(200, len(self.data))

    def do_GET(self) -> None:
        first, last = self.headers["Range"].removeprefix("bytes=").split("-")
        begin, end = int(first), int(last) + 1
        self.asked.append((begin, end))
        self._begin(206, end - begin, f"bytes {begin}-{end - 1}/{len(self.data)}")
        self.wfile.write(self.data[begin:end])

    def _begin(self, status: int, length: int, extent: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        if extent is not None:
            self.send_header("Content-Range", extent)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle of more than 5 MB."""
    return made(tmp_path / "b.tar", {NAME: build_image([{"a": os.urandom(5_000_000)}])})


@pytest.fixture
def served(bundle: Path) -> Iterator[tuple[ObjectAddress, list[tuple[int, int]]]]:
    """The bundle as an object of a server, and the ranges that are asked for."""
    asked: list[tuple[int, int]] = []
    handler = type("Handler", (Ranges,), {"data": bundle.read_bytes(), "asked": asked})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        store = HTTPStore.from_url(url, client_options={"allow_http": True})
        yield ObjectAddress(URL, store), asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class TestA26Reading:
    def test_of_the_beginning_only_the_beginning_is_fetched(
        self, served: tuple[ObjectAddress, list[tuple[int, int]]], bundle: Path
    ) -> None:
        address, asked = served
        with BundleFile(ObjectFile(address)) as file:
            assert file.size == bundle.stat().st_size
            assert [image.name for image in file.head.listing.images] == [NAME]
        assert asked == [(0, 2 << 20)]

    def test_a_bundle_is_verified_and_no_byte_is_fetched_twice(
        self, served: tuple[ObjectAddress, list[tuple[int, int]]], bundle: Path
    ) -> None:
        address, asked = served
        with BundleFile(ObjectFile(address)) as file:
            assert verify_bundle(BundleSet([file]), jobs=1).sound
        assert sum(end - begin for begin, end in asked) == bundle.stat().st_size

    def test_a26_the_next_block_is_fetched_while_one_is_used(
        self, served: tuple[ObjectAddress, list[tuple[int, int]]]
    ) -> None:
        address, asked = served
        file = ObjectFile(address)
        block = 2 << 20
        file.read_at(0, 1000)
        file.read_at(block, 1000)
        # The third block is on its way, though it was not asked for.
        wait_until(lambda: len(asked) == 3)
        assert sorted(asked)[2][0] == 2 * block
        assert len(file.read_at(2 * block, 1000)) == 1000
        assert len(asked) == 3
        file.close()

    def test_every_range_is_that_of_the_file(
        self, served: tuple[ObjectAddress, list[tuple[int, int]]], bundle: Path
    ) -> None:
        whole = ObjectFile(served[0])
        plain = PlainFile(os.open(bundle, os.O_RDONLY), "b.tar")
        size, edge = plain.size, 2 << 20
        for offset in (0, 1, edge - 1, edge, size - 5, size, size + 5):
            for count in (0, 1, 512, edge + 1, size):
                assert whole.read_at(offset, count) == plain.read_at(offset, count)
        plain.close()

    def test_an_object_that_is_not_there(self) -> None:
        with pytest.raises(NotFound, match="there is no object s3://bucket/folder/b"):
            ObjectFile(ObjectAddress(URL, MemoryStore()))

    def test_a_server_that_is_not_there_is_told_with_what_configures_it(self) -> None:
        store = S3Store(
            "bucket",
            config={"endpoint": "http://127.0.0.1:1", "access_key_id": "a"},
            client_options={"allow_http": True},
            retry_config={"max_retries": 0, "retry_timeout": dt.timedelta(seconds=1)},
            secret_access_key="b",
            region="x",
        )
        with pytest.raises(Unavailable, match="s3://bucket/folder/b") as caught:
            ObjectFile(ObjectAddress(URL, store))
        assert "AWS_ENDPOINT_URL" in str(caught.value.hint)


class TestA26Writing:
    @pytest.mark.parametrize("sizes", [(), (0,), (1,), (5, 0, 7), (3 << 20,) * 12])
    def test_it_appears_when_it_is_published(self, sizes: tuple[int, ...]) -> None:
        store = MemoryStore()
        output = ObjectOutput(ObjectAddress(URL, store))
        pieces = [os.urandom(size) for size in sizes]
        for piece in pieces:
            output.write(piece)
        assert not store.list().collect()
        output.publish()
        output.close()
        data = b"".join(pieces)
        assert output.written == len(data)
        assert bytes(store.get("folder/b.tar").bytes()) == data

    @pytest.mark.parametrize("size", [0, 100, 40 << 20])
    def test_without_publish_nothing_is_left(self, size: int, tmp_path: Path) -> None:
        output = ObjectOutput(ObjectAddress(URL, LocalStore(tmp_path)))
        output.write(bytes(size))
        output.close()
        output.close()
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    def test_what_was_there_stays_until_the_new_one_is_whole(self) -> None:
        store = MemoryStore()
        store.put("folder/b.tar", b"old")
        output = ObjectOutput(ObjectAddress(URL, store))
        output.write(b"new")
        output.close()
        assert bytes(store.get("folder/b.tar").bytes()) == b"old"

    def test_a_failure_ends_the_writing(self, tmp_path: Path) -> None:
        (tmp_path / "folder").write_text("in the way")
        output = ObjectOutput(ObjectAddress(URL, LocalStore(tmp_path)))

        def write() -> None:
            for _ in range(100):
                output.write(bytes(1 << 20))
            output.publish()

        with pytest.raises(Unavailable, match="s3://bucket/folder/b"):
            write()
        output.close()


class TestA26Addresses:
    def test_which_texts_mean_objects(self) -> None:
        assert all(map(is_object, ("s3://b/k", "gs://b/k", "az://c/k")))
        assert not any(map(is_object, ("s3", "./s3://b/k", "docker://b/k", "S3:/b/k")))

    @pytest.mark.parametrize("url", ["s3://", "s3://bucket", "s3://bucket/", "s3://b/k?x=1"])
    def test_an_address_without_a_key_is_refused(self, url: str) -> None:
        with pytest.raises(UsageError, match="does not name an object"):
            ObjectAddress(url, MemoryStore())

    def test_without_obstore_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        with pytest.raises(OcitoolError, match="need the package obstore"):
            ObjectAddress(URL)
