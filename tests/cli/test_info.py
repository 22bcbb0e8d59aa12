"""ocitool info: what is found on this machine, and nothing secret."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.garbage.test_engine import FakeEngine
from tests.places.registry.homes import SECRET, Home, auths, entry
from tests.support.command import Command


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def found(ocitool: Command, home: Home, *arguments: str, **variables: str) -> dict[str, Any]:
    everything = {**home.variables, "DOCKER_HOST": "unix:///none/docker.sock", **variables}
    done = ocitool("info", *arguments, "--json", variables=everything)
    assert done.code == 0, done.err
    text = ocitool("info", *arguments, variables=everything)
    assert text.code == 0, text.err
    assert SECRET not in done.out + done.err + text.out + text.err
    value = json.loads(done.out)
    assert isinstance(value, dict)
    return value


def test_the_store_with_its_images_and_free_space(loaded: Command, home: Home) -> None:
    store = found(loaded, home)["store"]
    assert store["path"] == str(loaded.store)
    assert store["exists"] is True
    assert store["images"] == 3
    assert store["stored"] > 1000
    assert store["free"] > 0
    text = loaded("info", variables=home.variables).out
    assert str(loaded.store) in text
    assert "3 images" in text


def test_a_store_that_does_not_exist_or_is_damaged(ocitool: Command, home: Home) -> None:
    store = found(ocitool, home)["store"]
    assert (store["exists"], store["images"]) == (False, None)
    ocitool.store.write_text("x")
    damaged = found(ocitool, home)["store"]
    assert damaged["problem"]


def test_engines_with_where_they_were_found(ocitool: Command, home: Home, tmp_path: Path) -> None:
    fake = FakeEngine(tmp_path)
    with fake.running():
        docker, podman = found(ocitool, home, DOCKER_HOST=f"unix://{fake.socket}")["engines"]
    assert docker["kind"] == "docker"
    assert docker["origin"] == "DOCKER_HOST"
    assert docker["url"] == f"unix://{fake.socket}"
    assert docker["version"] == "20.10.24"
    assert podman["version"] is None
    assert podman["problem"] == "not there"


def test_where_the_credential_of_a_host_comes_from(ocitool: Command, home: Home) -> None:
    path = home.docker(
        {
            "auths": {"one.example": entry("ann", SECRET)},
            "credHelpers": {"two.example": "fake"},
        }
    )
    home.helpers.keeper("fake", **{"two.example": ("bob", SECRET)})
    value = found(ocitool, home, "one.example", "two.example", "three.example")
    one, two, three = value["hosts"]
    assert (one["credential"], one["credential_kind"]) == (path, "password")
    assert two["credential"] == "helper docker-credential-fake"
    assert three["credential"] is None
    (place,) = value["registries"]["credentials"]
    assert place["path"] == path
    assert place["registries"] == ["one.example"]
    assert place["helpers"] == ["docker-credential-fake for two.example"]


def test_a_file_that_cannot_be_read_is_a_problem_and_no_failure(
    ocitool: Command, home: Home
) -> None:
    home.docker("{ not json")
    value = found(ocitool, home, "one.example")
    assert "not JSON" in value["registries"]["credentials"][0]["problem"]
    assert "not JSON" in value["hosts"][0]["problem"]


def test_proxies_without_their_password_and_who_is_exempt(ocitool: Command, home: Home) -> None:
    variables = {"HTTPS_PROXY": f"http://me:{SECRET}@proxy.example:3128", "NO_PROXY": "two.example"}
    value = found(ocitool, home, "one.example", "two.example", **variables)
    assert value["registries"]["proxies"] == [
        {"variable": "HTTPS_PROXY", "value": "http://***@proxy.example:3128"},
        {"variable": "NO_PROXY", "value": "two.example"},
    ]
    one, two = value["hosts"]
    assert one["proxy"] == "http://***@proxy.example:3128"
    assert two["proxy"] is None


def test_certificates_for_a_host(ocitool: Command, home: Home) -> None:
    folder = home.folder / ".config" / "containers" / "certs.d" / "one.example:5000"
    folder.mkdir(parents=True)
    for name in ("ca.crt", "client.cert", "client.key", "README"):
        (folder / name).write_text("")
    (one,) = found(ocitool, home, "one.example:5000")["hosts"]
    assert one["certificates"] == [
        str(folder / name) for name in ("ca.crt", "client.cert", "client.key")
    ]


def test_what_is_no_host_is_a_usage_error(ocitool: Command, home: Home) -> None:
    home.docker(auths())
    assert ocitool("info", "a/b/c", variables=home.variables).code == 2
