"""Tokens and repositories of Amazon's registry, against moto's server for it."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping

import pytest

from ocitool.places.registry import Registries, Session
from ocitool.places.registry.aws.client import AwsClient
from ocitool.places.registry.aws.ecr import call, create_repository, host_of, login_credential
from ocitool.places.registry.aws.identity import require_keys
from ocitool.places.registry.vendors.amazon import AmazonService
from tests.pruning.repositories import image
from tests.support.aws import ROLE

pytestmark = pytest.mark.interop

ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
_SECONDS = 30


@pytest.fixture
def environment(require: Callable[..., None]) -> Iterator[Mapping[str, str]]:
    """The variables that lead to moto's server, and credentials that it accepts."""
    require("moto_server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["moto_server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port)
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
    finally:
        server.kill()
        server.wait()


def test_it_gives_a_token_and_makes_a_repository_once(environment: Mapping[str, str]) -> None:
    found = login_credential(environment, ECR)
    assert found.username == "AWS"
    assert found.password
    assert create_repository(environment, ECR, "team/app")
    assert not create_repository(environment, ECR, "team/app")


def test_it_exchanges_a_web_identity(environment: Mapping[str, str]) -> None:
    endpoint = {"AWS_ENDPOINT_URL": environment["AWS_ENDPOINT_URL"]}
    job = {**endpoint, "AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN": "a.b.c"}
    assert login_credential(job, ECR).username == "AWS"


def test_p12_it_lists_and_deletes_images(environment: Mapping[str, str]) -> None:
    assert create_repository(environment, ECR, "team/app")
    host, images = host_of(ECR), [image(f"n{number}") for number in range(3)]
    with AwsClient(environment) as client:
        keys = require_keys(client, host)
        for tag, one in zip(("a", "b", "b2"), (images[0], images[1], images[1]), strict=True):
            manifest = one.blobs[one.descriptor.digest].decode()
            value = {"repositoryName": "team/app", "imageManifest": manifest, "imageTag": tag}
            call(client, host, keys, "PutImage", value)
    with Registries(environment=environment) as registries:
        service = AmazonService(Session(registries, ECR, "team/app"))
        found = service.versions() or ()
        assert {one.tags for one in found} == {("a",), ("b", "b2")}
        assert all(one.at is not None and one.source == "imagePushedAt" for one in found)
        assert service.untag("b2")
        assert not service.untag("b2")
        # moto calculates digests in its own way.
        gone = [one.digest for one in found if one.tags == ("a",)] + [images[2].descriptor.digest]
        assert service.delete(gone, {}) == {}
        assert [one.tags for one in service.versions() or ()] == [("b",)]


def _wait_for(port: int) -> None:
    end = time.monotonic() + _SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return
