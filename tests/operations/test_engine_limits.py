"""What an engine cannot hold is refused before anything is sent to it."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from ocitool.errors import OcitoolError, Refused
from ocitool.operations.copy import copy
from tests.support.engine import engine
from tests.support.images import BuiltArtifact, BuiltImage, build_artifact, build_image, oci_archive

ONE = build_image()
CHART = build_artifact(None, artifact_type="application/vnd.cncf.helm.config.v1+json")
LAYERED = build_image([{"a": b"x"}] * 126)
WINDOWS = build_image(platform="windows/amd64")
Image = BuiltImage | BuiltArtifact
CLASSIC: dict[str, object] = {"OSType": "linux", "DriverStatus": [["Backing Filesystem", "extfs"]]}
CONTAINERD: dict[str, object] = {
    "OSType": "windows",
    "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
}


class Sending:
    """Sends images to an engine that describes itself in a given way."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self.asked: list[str] = []
        for name in ("DOCKER_HOST", "CONTAINER_HOST"):
            monkeypatch.setenv(name, f"unix://{folder}/e")

    def send(
        self,
        image: Image,
        info: Mapping[str, object] = CLASSIC,
        kind: str = "docker-daemon:",
        answer: tuple[int, bytes] = (200, b"{}"),
    ) -> None:
        """Send an image; `answer` is what the engine says to it."""
        archive = self._folder / "x.tar"
        archive.write_bytes(oci_archive({"app:1": image}))

        def answered(method: str, _: str) -> tuple[int, bytes]:
            return answer if method == "POST" else (200, json.dumps(info).encode())

        with engine(self._folder / "e", answered) as self.asked:
            copy(f"oci-archive:{archive}", kind)

    @property
    def was_sent(self) -> bool:
        """Whether the engine got anything."""
        return "POST /images/load?quiet=1" in self.asked


@pytest.fixture
def sending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sending:
    return Sending(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (CHART, "is an artifact, which the docker engine"),
        (LAYERED, "has 126 layers, and the docker engine at .* takes at most 125"),
        (WINDOWS, "is an image for windows, and the docker engine at .* runs on linux"),
    ],
    ids=["chart", "layers", "windows"],
)
def test_what_docker_cannot_hold_is_not_sent(sending: Sending, image: Image, why: str) -> None:
    with pytest.raises(Refused, match=why) as caught:
        sending.send(image)
    assert caught.value.hint
    assert not sending.was_sent


@pytest.mark.parametrize(
    ("image", "info", "kind"),
    [
        (LAYERED, CONTAINERD, "docker-daemon:"),
        (LAYERED, CLASSIC, "podman:"),
        (WINDOWS, CONTAINERD, "docker-daemon:"),
        (WINDOWS, {}, "docker-daemon:"),
    ],
)
def test_what_another_engine_can_hold_is_sent(
    sending: Sending, image: Image, info: Mapping[str, object], kind: str
) -> None:
    sending.send(image, info, kind)
    assert sending.was_sent


def test_an_ordinary_image_costs_no_question(sending: Sending) -> None:
    sending.send(ONE)
    assert sending.asked == ["POST /images/load?quiet=1"]


@pytest.mark.parametrize("status", [200, 400, 409, 500])
def test_a_no_of_the_engine_is_never_called_damage(sending: Sending, status: int) -> None:
    body = b'{"error":"invalid checksum digest format","message":"unexpected EOF"}'
    with pytest.raises(OcitoolError) as caught:
        sending.send(ONE, answer=(status, body))
    assert type(caught.value) in (OcitoolError, Refused)
