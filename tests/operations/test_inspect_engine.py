"""inspect and history of an engine's image: the engine is asked, and no layer is read."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Command, Done
from tests.support.engine import engine

ID, MANIFEST = "sha256:" + "1" * 64, "sha256:" + "2" * 64
LAYERS = ["sha256:" + digit * 64 for digit in "345"]
IMAGE: dict[str, Any] = {
    "Id": ID,
    "RepoTags": ["acme/shop:2.4", "localhost:5000/shop:x"],
    "RepoDigests": [f"acme/shop@{MANIFEST}"],
    "Created": "2024-05-06T07:08:09.123456789Z",
    "Architecture": "amd64",
    "Os": "linux",
    "Size": 3_000_000,
    "Config": {"Hostname": "", "Cmd": ["/bin/shop"], "Env": ["A=b"], "Labels": None},
    "RootFS": {"Type": "layers", "Layers": LAYERS},
}
# The newest first, as engines tell it; a layer that only makes a folder has no bytes.
HISTORY = [
    {"Created": 1_714_979_289, "CreatedBy": 'CMD ["/bin/shop"]', "Size": 0, "Comment": "buildkit"},
    {"Created": 1_714_979_289, "CreatedBy": "WORKDIR /srv", "Size": 0},
    {"Created": 1_714_979_289, "CreatedBy": "COPY shop /bin # buildkit", "Size": 1_000_000},
    {"Created": 0, "CreatedBy": "/bin/sh -c #(nop)  ENV A=b", "Size": 0},
    {"Created": 0, "CreatedBy": "/bin/sh -c #(nop) ADD file:1 in / ", "Size": 2_000_000},
]
STEPS = ["ADD file:1 in /", "COPY shop /bin", "WORKDIR /srv"]


class Engine:
    """An engine that knows one image, by its names and its ID."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._command = Command(folder / "store", folder)
        self.image = dict(IMAGE)
        self.history = list(HISTORY)
        self.asked: list[str] = []

    def __call__(self, *arguments: str) -> Done:
        """Run a command beside the engine."""
        address = f"unix://{self._folder}/e"
        variables = {"DOCKER_HOST": address, "CONTAINER_HOST": address}
        with engine(self._folder / "e", self._answer) as self.asked:
            return self._command(*arguments, variables=variables)

    def _answer(self, _: str, path: str) -> tuple[int, bytes]:
        if "shop" not in path and "1111" not in path:
            return 404, b'{"message":"No such image"}'
        value = self.history if path.endswith("/history") else self.image
        return 200, json.dumps(value).encode()


@pytest.fixture
def ocitool(tmp_path: Path) -> Engine:
    return Engine(tmp_path)


@pytest.mark.parametrize("kind", ["docker", "podman"])
def test_an_image_of_an_engine_is_described_by_two_questions(ocitool: Engine, kind: str) -> None:
    prefix = {"docker": "docker-daemon:", "podman": "podman:"}[kind]
    done = ocitool("inspect", f"{prefix}acme/shop:2.4", "--json")
    assert done.code == 0, done.err
    assert ocitool.asked == [
        "GET /images/acme/shop:2.4/json",
        "GET /images/acme/shop:2.4/history",
    ]
    report = done.json
    assert isinstance(report, dict)
    assert report["names"] == ["docker.io/acme/shop:2.4", "localhost:5000/shop:x"]
    assert (report["digest"], report["image_id"], report["engine"]) == (MANIFEST, ID, kind)
    assert (report["size"], report["unpacked"]) == (3_000_000, None)
    assert (report["platform"], report["config"]["env"]) == ("linux/amd64", ["A=b"])
    layers = report["layers"]
    assert [layer["digest"] for layer in layers] == LAYERS
    assert [layer["size"] for layer in layers] == [2_000_000, 1_000_000, 0]
    assert [layer["instruction"] for layer in layers] == STEPS


def test_the_picture_says_where_the_image_is_and_that_it_is_uncompressed(ocitool: Engine) -> None:
    done = ocitool("inspect", "docker-daemon:acme/shop:2.4")
    assert "3.00 MB in docker, uncompressed, 3 layers" in done.out
    assert "COPY shop /bin" in done.out


def test_history_lists_the_steps_with_the_layers_they_made(ocitool: Engine) -> None:
    rows = ocitool("history", "docker-daemon:acme/shop:2.4", "--json").json
    assert isinstance(rows, list)
    assert [row["layer"] for row in rows] == [LAYERS[0], None, LAYERS[1], LAYERS[2], None]
    assert rows[2]["created"] == "2024-05-06T07:08:09Z"
    text = ocitool("history", "docker-daemon:acme/shop:2.4").out
    (line,) = [line for line in text.splitlines() if "COPY shop /bin" in line]
    assert "1.00 MB" in line
    sizes = ocitool("history", "docker-daemon:acme/shop:2.4", "--format", "{{.Size}}").out
    assert sizes.split("\n")[0] == "2.00 MB"


def test_a_history_that_does_not_fit_the_layers_is_not_guessed_at(ocitool: Engine) -> None:
    ocitool.history = HISTORY[:1]
    report = ocitool("inspect", "docker-daemon:acme/shop:2.4", "--json").json
    assert isinstance(report, dict)
    assert [layer["instruction"] for layer in report["layers"]] == [None] * 3
    assert report["size"] == 3_000_000


def test_the_containerd_store_of_docker_calls_an_image_by_its_digest(ocitool: Engine) -> None:
    media_type = "application/vnd.oci.image.index.v1+json"
    ocitool.image |= {"Descriptor": {"mediaType": media_type, "digest": ID, "size": 5}}
    report = ocitool("inspect", "docker-daemon:acme/shop:2.4", "--json").json
    assert isinstance(report, dict)
    assert (report["digest"], report["image_id"]) == (ID, None)
    assert report["media_type"] == media_type
    assert "image ID" not in ocitool("inspect", "docker-daemon:acme/shop:2.4").out


def test_an_image_that_the_engine_does_not_have_is_not_found(ocitool: Engine) -> None:
    assert ocitool("inspect", "docker-daemon:nosuch:1").code == 4
    assert ocitool("history", "podman:nosuch:1").code == 4


@pytest.mark.parametrize("image", ["null", "[]", "{}", '{"Id":"x","RootFS":{"Layers":["x"]}}'])
def test_an_answer_that_is_no_image_is_an_error(ocitool: Engine, image: str) -> None:
    ocitool.image = json.loads(image)
    done = ocitool("inspect", "docker-daemon:acme/shop:2.4")
    assert done.code == 8
    assert done.err.startswith("ocitool: ")
