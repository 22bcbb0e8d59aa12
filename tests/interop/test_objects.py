"""A26: bundles in a bucket of moto's S3."""

import os
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.peers import Ocitool, server
from tests.support.images import build_image, oci_archive
from tests.support.ports import free_port, listens

pytestmark = pytest.mark.interop

NAMES = ("registry.example/a:1", "registry.example/b:1")


class Bucket:
    """A bucket, and ocitool that reaches it."""

    def __init__(self, port: int, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{port}/bucket"
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }
        self.ocitool = Ocitool(folder / "store", self.environment)

    def has_unfinished_uploads(self) -> bool:
        with urllib.request.urlopen(f"{self.url}?uploads") as answer:
            return b"<Upload>" in answer.read()

    def keys(self) -> int:
        with urllib.request.urlopen(self.url) as answer:
            return int(answer.read().count(b"<Key>"))


@pytest.fixture
def bucket(require: Callable[..., None], tmp_path: Path) -> Iterator[Bucket]:
    require("moto_server")
    port = free_port()
    command = ["moto_server", "-H", "127.0.0.1", "-p", str(port)]
    with server(command, tmp_path / "moto.log", lambda: listens(port)):
        made = Bucket(port, tmp_path)
        urllib.request.urlopen(urllib.request.Request(made.url, method="PUT")).close()
        yield made


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive of two images."""
    path = tmp_path / "images.tar"
    base = {"base": b"x" * 1000}
    images = {name: build_image([base, {name: bytes(2_000_000)}]) for name in NAMES}
    path.write_bytes(oci_archive(images))
    return path


def test_a26_a_bundle_goes_into_a_bucket_and_out_of_it(
    bucket: Bucket, archive: Path, tmp_path: Path
) -> None:
    ocitool, url = bucket.ocitool, "s3://bucket/folder/b.tar"
    ocitool.run("bundle", "create", str(archive), "-o", url)
    ocitool.run("bundle", "create", str(archive), "-o", str(tmp_path / "b.tar"))
    with urllib.request.urlopen(f"{bucket.url}/folder/b.tar") as answer:
        assert answer.read() == (tmp_path / "b.tar").read_bytes()
    assert NAMES[0] in ocitool.run("bundle", "show", url).decode()
    ocitool.run("bundle", "verify", url)
    ocitool.run("bundle", "load", url)
    assert {name for image in ocitool.images() for name in image.names} == set(NAMES)


def test_a26_volumes_and_deltas_are_objects_as_well(
    bucket: Bucket, archive: Path, tmp_path: Path
) -> None:
    ocitool = bucket.ocitool
    words = ("--volume-size", "2m", "-o", "s3://bucket/v.tar")
    volumes = ocitool.run("bundle", "create", str(archive), *words, "-q").decode().split()
    again = ocitool.run("bundle", "create", str(archive), *words).decode()
    assert again.count("(kept)") == len(volumes)
    ocitool.run("bundle", "load", *volumes)
    delta = ("--base", volumes[0], "-o", "s3://bucket/d.tar")
    ocitool.run("bundle", "create", str(archive), *delta)
    ocitool.run("bundle", "check", "s3://bucket/d.tar")


def test_a17_a_lost_object_is_given_back_by_the_parity(bucket: Bucket, tmp_path: Path) -> None:
    ocitool = bucket.ocitool
    images = {name: build_image([{name: os.urandom(2_000_000)}]) for name in NAMES}
    (tmp_path / "images.tar").write_bytes(oci_archive(images))
    create = ("bundle", "create", str(tmp_path / "images.tar"), "-o")
    words = ("s3://bucket/v.tar", "--volume-size", "2100k", "--parity", "-q")
    files = ocitool.run(*create, *words).decode().split()
    assert [name.rpartition("/")[2] for name in files[-2:]] == ["v.v02of02.tar", "v.parity.tar"]
    kept = ocitool.run(*create, *words[:-1]).decode()
    assert kept.count("(kept)") == len(files)
    done = ocitool.attempt("bundle", "verify", *files[1:])
    assert (done.returncode, b"rebuilt: volume 1 of 2" in done.stdout) == (3, True)
    ocitool.run("bundle", "join", *files[1:], "-o", str(tmp_path / "joined.tar"))
    ocitool.run(*create, str(tmp_path / "whole.tar"))
    assert (tmp_path / "joined.tar").read_bytes() == (tmp_path / "whole.tar").read_bytes()


def test_a26_what_fails_leaves_nothing_behind(bucket: Bucket, tmp_path: Path) -> None:
    image = build_image([{"a": bytes(100)}])
    data = bytearray(oci_archive({NAMES[0]: image}))
    layer = image.blobs[image.layers[0].digest]
    data[data.index(layer) + 20] ^= 1
    (tmp_path / "damaged.tar").write_bytes(data)
    words = ("bundle", "create", str(tmp_path / "damaged.tar"), "-o", "s3://bucket/b.tar")
    assert bucket.ocitool.attempt(*words).returncode == 7
    assert (bucket.keys(), bucket.has_unfinished_uploads()) == (0, False)
    done = bucket.ocitool.attempt("bundle", "show", "s3://bucket/none.tar")
    assert (done.returncode, b"there is no object" in done.stderr) == (4, True)
