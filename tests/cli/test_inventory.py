"""ocitool inventory: have.json of a store, a layout, a registry or a bundle."""

import json
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.images import build_image, write_layout
from tests.support.registry import EmulatedRegistry

IMAGE = build_image([{"a": b"1"}])
OTHER = build_image([{"a": b"1"}, {"b": b"2"}])
DIGESTS = sorted(map(str, IMAGE.blobs))


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return write_layout(tmp_path / "layout", {"x/app:1": IMAGE})


class TestPlaces:
    def test_a_layout_to_a_file(self, ocitool: Command, layout: Path, tmp_path: Path) -> None:
        done = ocitool("inventory", f"oci:{layout}", "-o", tmp_path / "have.json")
        assert done.code == 0, done.err
        assert done.out == ""
        assert "3 blobs of 1 image" in done.err
        written = (tmp_path / "have.json").read_bytes()
        assert written.endswith(b"}\n")
        assert json.loads(written) == {
            "format": "ocitool-have/1",
            "place": "layout",
            "scope": "",
            "blobs": DIGESTS,
            "repositories": {},
            "images": {"docker.io/x/app:1": str(IMAGE.descriptor.digest)},
        }

    def test_the_store_to_stdout(self, ocitool: Command, layout: Path) -> None:
        assert ocitool("load", layout).code == 0
        done = ocitool("inventory")
        assert done.code == 0, done.err
        assert json.loads(done.out)["blobs"] == DIGESTS
        assert json.loads(done.out)["place"] == "store"

    def test_a_store_that_does_not_exist_has_nothing(self, ocitool: Command) -> None:
        done = ocitool("inventory", "store")
        assert done.code == 0
        assert json.loads(done.out)["blobs"] == []
        assert "does not exist" in done.err
        assert not ocitool.store.exists()

    def test_a_bundle(self, ocitool: Command, layout: Path, tmp_path: Path) -> None:
        done = ocitool("bundle", "create", f"oci:{layout}", "-o", tmp_path / "b.tar")
        assert done.code == 0, done.err
        done = ocitool("inventory", tmp_path / "b.tar")
        assert done.code == 0, done.err
        assert json.loads(done.out)["blobs"] == DIGESTS
        assert json.loads(done.out)["place"] == "bundle"

    def test_a_registry(self, ocitool: Command) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image("mirror/app", IMAGE, "1")
            registry.add_image("mirror/other", OTHER, "1")
            done = ocitool(
                *("inventory", f"{registry.host}/mirror", "--plain-http"),
                *("--repository", "app"),
            )
            assert done.code == 0, done.err
        assert json.loads(done.out)["blobs"] == DIGESTS
        assert json.loads(done.out)["repositories"] == {"mirror/app": [0, 1, 2]}


class TestRefused:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("docker",), "does not tell which blobs it has"),
            (("store", "--repository", "a"), "--repository is for registries"),
            (("reg.example/a", "--unreferenced"), "--unreferenced is for stores"),
            (("oci:nowhere",), "nowhere"),
        ],
    )
    def test_what_cannot_be_asked(
        self, ocitool: Command, words: tuple[str, ...], message: str
    ) -> None:
        done = ocitool("inventory", *words)
        assert done.code in (2, 4)
        assert message in done.err
        assert done.out == ""


def test_a_delta_leaves_out_what_an_inventory_has(
    ocitool: Command, layout: Path, tmp_path: Path
) -> None:
    """A7."""
    newer = write_layout(tmp_path / "newer", {"x/app:2": OTHER})
    assert ocitool("inventory", f"oci:{layout}", "-o", tmp_path / "have.json").code == 0
    done = ocitool(
        *("bundle", "create", f"oci:{newer}", "--have", tmp_path / "have.json"),
        *("-o", tmp_path / "d.delta.tar", "--json"),
    )
    assert done.code == 0, done.err
    made = done.json
    assert isinstance(made, dict)
    assert [blob["digest"] for blob in made["requires"]] == [str(IMAGE.layers[0].digest)]
