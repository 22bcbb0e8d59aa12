"""An image that is not in the store: where it is, and the command that reaches it."""

import json
from pathlib import Path

import pytest

from tests.support.command import Command, Done
from tests.support.engine import engine

REGISTRY = {
    "inspect": "ocitool inspect docker://",
    "history": "ocitool history docker://",
    "save": "ocitool copy docker://",
    "push": "ocitool copy docker://",
    "copy": "ocitool copy docker://",
}
MORE = {"save": ("-o", "x.tar"), "copy": ("oci:there",)}


def run(ocitool: Command, verb: str, name: str, has: str = "", status: int = 404) -> Done:
    """Run a command beside a docker that has only the image `has`, and no podman."""
    asked: list[str] = []

    def answer(method: str, path: str) -> tuple[int, bytes]:
        asked.append(f"{method} {path}")
        if has and path == f"/images/{has}/json":
            return 200, json.dumps({"Id": "sha256:" + "1" * 64}).encode()
        return status, b'{"message":"No such image"}'

    socket = ocitool.cwd / "e"
    variables = {
        "DOCKER_HOST": f"unix://{socket}",
        "CONTAINER_HOST": f"unix://{ocitool.cwd}/none",
    }
    with engine(socket, answer):
        done = ocitool(verb, name, *MORE.get(verb, ()), variables=variables)
    assert len(asked) == 1
    assert done.code == 4
    return done


@pytest.mark.parametrize("verb", REGISTRY)
def test_an_engine_that_has_the_image_is_named_with_the_command(loaded: Command, verb: str) -> None:
    done = run(loaded, verb, "acme/shop:2.4", has="acme/shop:2.4")
    assert f"docker has it: ocitool {verb} docker-daemon:acme/shop:2.4" in done.err


@pytest.mark.parametrize("verb", REGISTRY)
def test_else_the_form_for_its_registry_is_shown(loaded: Command, verb: str) -> None:
    done = run(loaded, verb, "ghcr.io/acme/shop:2.4")
    assert f"if it is in a registry: {REGISTRY[verb]}ghcr.io/acme/shop:2.4" in done.err


@pytest.mark.parametrize("verb", ["inspect", "save"])
def test_without_any_store_it_is_the_same(ocitool: Command, verb: str) -> None:
    done = run(ocitool, verb, "acme/shop:2.4", has="acme/shop:2.4")
    assert f"docker has it: ocitool {verb} docker-daemon:acme/shop:2.4" in done.err
    assert REGISTRY[verb] + "acme/shop:2.4" in run(ocitool, verb, "acme/shop:2.4").err


def test_a_name_with_a_host_may_be_that_of_a_registry_although_one_is_near(
    loaded: Command,
) -> None:
    done = run(loaded, "inspect", "localhost:5000/fmt/app:1.0")
    assert "if it is in a registry: ocitool inspect docker://localhost:5000/fmt/app" in done.err


def test_a_name_that_is_nearly_one_of_the_store_is_corrected_first(loaded: Command) -> None:
    done = run(loaded, "inspect", "fmt/ap:1.0")
    assert "did you mean" in done.err
    assert "docker://" not in done.err


def test_an_engine_that_fails_is_not_mentioned(loaded: Command) -> None:
    assert "docker has it" not in run(loaded, "inspect", "acme/shop:2.4", status=500).err


def test_a_file_of_that_name_comes_first_and_no_engine_is_asked(loaded: Command) -> None:
    Path(loaded.cwd, "shop").write_bytes(b"")
    done = loaded("inspect", "shop", variables={"DOCKER_HOST": f"unix://{loaded.cwd}/none"})
    assert "write ./shop" in done.err
