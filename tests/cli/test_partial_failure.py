"""Commands that take several names: one failure does not keep the others, and JSON lists it."""

from collections.abc import Iterator

import pytest

from tests.support.command import Command
from tests.support.images import build_image
from tests.support.registry import EmulatedRegistry

IMAGE = build_image()
DIGEST = str(IMAGE.descriptor.digest)


@pytest.fixture
def host() -> Iterator[str]:
    with EmulatedRegistry() as registry:
        registry.add_image("x", IMAGE, "1")
        yield registry.host


def test_pull_lists_what_failed_and_why(ocitool: Command, host: str) -> None:
    done = ocitool("pull", f"{host}/x:1", f"{host}/x:none", "--json")
    assert done.code == 4
    value = done.json
    assert isinstance(value, dict)
    assert [image["images"][0]["digest"] for image in value["images"]] == [DIGEST]
    (failed,) = value["failed"]
    assert failed["name"] == f"{host}/x:none"
    assert "none" in failed["error"]


def test_registry_digest_lists_what_failed_and_why(ocitool: Command, host: str) -> None:
    done = ocitool("registry", "digest", f"{host}/x:none", f"{host}/x:1", "--json")
    assert done.code == 4
    value = done.json
    assert isinstance(value, list)
    assert {row["name"]: row.get("digest") for row in value} == {
        f"{host}/x:1": DIGEST,
        f"{host}/x:none": None,
    }
    assert next(row for row in value if row["name"].endswith(":none"))["error"]


@pytest.mark.parametrize("command", [("pull",), ("registry", "digest")])
def test_the_last_message_counts_and_the_exit_code_is_that_of_the_first_failure(
    ocitool: Command, host: str, command: tuple[str, ...]
) -> None:
    done = ocitool(*command, f"{host}/x:1", f"{host}/x:none")
    assert done.code == 4
    assert DIGEST in done.out
    assert "1 of 2 failed; the first: " in done.err
