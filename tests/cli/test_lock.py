"""ocitool lock: digests of names, from registries and the store; its file is an input of -f."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.command import Command
from tests.support.images import build_image, oci_archive
from tests.support.registry import EmulatedRegistry

ONE, TWO = build_image([{"a": b"1"}]), build_image([{"b": b"2"}])
DIGEST = ONE.descriptor.digest
POD = "kind: Pod\nspec:\n  containers:\n  - image: {}\n  - image: {}\n    args: [--x=quay.io/c:3]\n"


@pytest.fixture
def registry() -> Iterator[EmulatedRegistry]:
    with EmulatedRegistry() as registry:
        registry.add_image("t/a", ONE, "1")
        registry.add_image("t/b", TWO, "2")
        yield registry


@pytest.fixture
def stored(ocitool: Command, tmp_path: Path) -> Command:
    path = tmp_path / "in.tar"
    path.write_bytes(oci_archive({"app:1": ONE, "r.example/b:2": TWO}))
    assert ocitool("load", path).code == 0
    return ocitool


def locked(data: str) -> list[tuple[str, str | None]]:
    """Return the images of a lock with the names that are noted."""
    found = yaml.safe_load(data)
    assert set(found) == {"apiVersion", "kind", "images"}
    return [
        (one["image"], one.get("annotations", {}).get("ocitool/name")) for one in found["images"]
    ]


def test_names_and_files_are_locked_in_registries(
    ocitool: Command, registry: EmulatedRegistry, tmp_path: Path
) -> None:
    pod = tmp_path / "pod.yaml"
    pod.write_text(POD.format(f"{registry.host}/t/a:1", f"{registry.host}/t/b:2"))
    out = tmp_path / "images.lock.yml"
    name = f"{registry.host}/t/b@{TWO.descriptor.digest}"
    done = ocitool("lock", name, "-f", pod, "-o", out)
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        name,
        f"{registry.host}/t/a:1@{DIGEST}",
        f"{registry.host}/t/b:2@{TWO.descriptor.digest}",
    ]
    assert "pod.yaml:6: quay.io/c:3 looks like an image and is not taken" in done.err
    assert "--include-candidates" in done.err
    assert locked(out.read_text()) == [
        (f"{registry.host}/t/a@{DIGEST}", f"{registry.host}/t/a:1"),
        (f"{registry.host}/t/b@{TWO.descriptor.digest}", f"{registry.host}/t/b:2"),
        (f"{registry.host}/t/b@{TWO.descriptor.digest}", None),
    ]
    # It costs a request for each name, and nothing is fetched.
    assert ocitool("lock", "-f", out, "-o", "-").out == out.read_text()


def test_names_of_the_store_need_no_registry(stored: Command, tmp_path: Path) -> None:
    expected = [(f"docker.io/library/app@{DIGEST}", "docker.io/library/app:1")]
    assert locked(stored("lock", "store:app:1").out) == expected
    assert locked(stored("lock", "--from-store", "app:1").out) == expected
    assert locked(stored("lock", f"store:{DIGEST.hex[:12]}").out) == expected
    names = tmp_path / "names"
    names.write_text("app:1\nr.example/b:2 # b\n")
    done = stored("lock", "-q", "--from-store", "-f", names, "-o", tmp_path / "lock")
    assert done.out.splitlines() == [str(DIGEST), str(TWO.descriptor.digest)]


def test_all_that_fail_are_told_and_nothing_is_written(
    ocitool: Command, registry: EmulatedRegistry, tmp_path: Path
) -> None:
    names = [f"{registry.host}/t/{name}" for name in ("a:1", "none:1", "a:7")]
    done = ocitool("lock", *names, "-o", tmp_path / "lock")
    assert done.code == 4
    assert f"warning: {names[1]} does not exist" in done.err
    assert f"warning: {names[2]} does not exist" in done.err
    assert "2 of 3 failed" in done.err
    assert not (tmp_path / "lock").exists()
    found: Any = ocitool("lock", *names, "--json").json
    assert found[0] == {
        "asked": names[0],
        "name": names[0],
        "image": f"{names[0]}@{DIGEST}",
        "digest": str(DIGEST),
    }
    assert [one["name"] for one in found[1:]] == names[1:]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ((), 2, "-f LIST"),
        (("-f", "-", "-f", "-"), 2, "read once"),
        (("store:none",), 4, "none"),
        (("oci:here",), 2, "not a name in a registry"),
    ],
)
def test_what_cannot_be_locked(
    stored: Command, words: tuple[str, ...], code: int, told: str
) -> None:
    done = stored("lock", *words)
    assert (done.code, told in done.err) == (code, True), done.err


def test_an_image_without_a_name_is_in_no_lock(stored: Command) -> None:
    assert stored("untag", "app:1").code == 0
    done = stored("lock", f"store:{DIGEST.hex[:12]}")
    assert done.code == 2
    assert "ocitool tag" in done.err


class TestA19InputOfEveryCommand:
    """A lock and YAML are lists too, for every command that takes -f."""

    def test_pull_save_and_push(
        self, ocitool: Command, registry: EmulatedRegistry, tmp_path: Path
    ) -> None:
        pod, lock = tmp_path / "pod.yaml", tmp_path / "images.lock.yml"
        name = f"{registry.host}/t/a:1"
        pod.write_text(POD.format(name, name))
        assert ocitool("lock", "-f", pod, "-o", lock).code == 0
        done = ocitool("pull", "-f", lock)
        assert done.code == 0, done.err
        assert done.out == f"{registry.host}/t/a@{DIGEST}\n"
        done = ocitool("save", "-f", lock, "-f", pod, "-o", tmp_path / "out.tar")
        assert done.out.splitlines()[0] == f"Saved image: {name}", done.err
        with EmulatedRegistry() as other:
            done = ocitool("push", "-f", pod, "--to", f"{other.host}/m")
            assert done.code == 0, done.err
            assert set(other.tags) == {"m/t/a"}

    def test_a_lock_means_the_same_image_when_the_tag_has_moved(
        self, ocitool: Command, registry: EmulatedRegistry, tmp_path: Path
    ) -> None:
        lock = tmp_path / "images.lock.yml"
        assert ocitool("lock", f"{registry.host}/t/a:1", "-o", lock).code == 0
        registry.add_image("t/a", TWO, "1")
        assert ocitool("pull", "-f", lock).out == f"{registry.host}/t/a@{DIGEST}\n"
        assert f"{DIGEST}" in ocitool("lock", "-f", lock).out

    def test_from_a_pipe_with_candidates(self, stored: Command) -> None:
        text = "kind: X\nspec: {image: app:1}\n---\nservices: {a: {image: r.example/b:2}}\n"
        done = stored(
            "lock", "--from-store", "-f", "-", "--include-candidates", stdin=text.encode()
        )
        assert [name for _, name in locked(done.out)] == [
            "docker.io/library/app:1",
            "r.example/b:2",
        ]
        done = stored("lock", "--from-store", "-f", "-", stdin=text.encode())
        assert [name for _, name in locked(done.out)] == ["r.example/b:2"]
        assert "stdin:2: app:1 looks like an image" in done.err

    def test_no_image_at_all_is_an_error(self, stored: Command) -> None:
        done = stored("lock", "-f", "-", stdin=b"kind: Service\nspec: {}\n")
        assert done.code == 2
        assert "stdin names no image" in done.err
