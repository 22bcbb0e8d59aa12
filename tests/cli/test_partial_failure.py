"""Commands that take several names: one failure does not keep the others, and JSON lists it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.images import build_image, write_layout
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


@pytest.mark.parametrize("place", ["oci:{}/new:1", "oci-archive:{}/new.tar", "store:new:1"])
def test_a_copy_that_fails_is_in_its_document(ocitool: Command, tmp_path: Path, place: str) -> None:
    layer = IMAGE.layers[0].digest
    source = f"oci:{write_layout(tmp_path / 'from', {'1': IMAGE})}:1"
    (tmp_path / "from" / "blobs" / layer.algorithm / layer.hex).write_bytes(b"wrong")
    done = ocitool("copy", source, place.format(tmp_path), "--json")
    assert done.code == 7
    value = done.json
    assert isinstance(value, dict)
    assert (value["images"], value["destination"]) == ([], place.format(tmp_path))
    (failed,) = value["failed"]
    assert failed["name"] == source
    assert layer.hex[:12] in failed["error"]
    assert failed["error"] in done.err


def test_a_save_that_fails_is_in_its_document(ocitool: Command, tmp_path: Path) -> None:
    out = tmp_path / "out.tar"
    done = ocitool("save", "none:1", "-o", out, "--json")
    assert done.code == 4
    value = done.json
    assert isinstance(value, dict)
    assert value["images"] == []
    assert [failed["name"] for failed in value["failed"]] == [str(out)]
    assert not out.exists()


@pytest.mark.parametrize("command", [("pull",), ("registry", "digest")])
def test_the_last_message_counts_and_the_exit_code_is_that_of_the_first_failure(
    ocitool: Command, host: str, command: tuple[str, ...]
) -> None:
    done = ocitool(*command, f"{host}/x:1", f"{host}/x:none")
    assert done.code == 4
    assert DIGEST in done.out
    assert "1 of 2 failed; the first: " in done.err
