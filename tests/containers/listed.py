"""Containers as tools list them; each uses the image `APP`."""

from ocitool.events import Observer
from tests.support.layouts import image

APP, OTHER = image("app"), image("other")
CONFIG, OTHER_CONFIG = str(APP.config.digest), str(OTHER.config.digest)
NAME = "docker.io/library/app:1"

POD = {
    "kind": "Pod",
    "metadata": {"namespace": "prod", "name": "web-1"},
    "spec": {
        "containers": [{"name": "web", "image": "app:1"}],
        "initContainers": [{"name": "setup", "image": "other:1"}],
    },
    "status": {
        "phase": "Running",
        "containerStatuses": [
            {
                "name": "web",
                "image": "docker.io/library/app:1",
                "imageID": f"docker-pullable://app@{APP.descriptor.digest}",
                "containerID": "containerd://abc",
            }
        ],
    },
}
CRI = {
    "id": "f" * 64,
    "metadata": {"name": "web"},
    "image": {"image": CONFIG},
    "imageRef": CONFIG,
    "state": "CONTAINER_EXITED",
}
INSPECTED = {
    "Id": "a" * 64,
    "Name": "/web",
    "State": {"Status": "exited"},
    "Image": CONFIG,
    "Config": {"Image": "app:1"},
}
LISTED = {"ID": "a" * 12, "Names": "web", "Image": "app:1", "State": "exited"}
OF_PODMAN = {
    "Id": "b" * 64,
    "Names": ["web"],
    "Image": "docker.io/library/app:1",
    "ImageID": APP.config.digest.hex,
    "State": "exited",
}


OF_CONTAINERD = {
    "ID": "web",
    "Labels": {"io.cri-containerd.kind": "container", "io.kubernetes.container.name": "web"},
    "Image": "docker.io/library/app:1",
    "Runtime": {"Name": "io.containerd.runc.v2"},
    "SnapshotKey": "web",
    "Snapshotter": "overlayfs",
    "Spec": {"root": {"path": "rootfs"}},
}


class Remarks(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def remark(self, text: str) -> None:
        self.texts.append(text)
