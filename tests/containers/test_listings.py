"""Lists of containers that other tools print: what is understood, and what is refused."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from ocitool.containers.providers import FileProvider
from ocitool.containers.uses import ContainerUse, containers_by_image, describe_uses
from ocitool.errors import Refused
from ocitool.events import SILENT, Observer
from ocitool.places.layout import Layout
from tests.containers.listed import (
    APP,
    CRI,
    INSPECTED,
    LISTED,
    OF_CONTAINERD,
    OF_PODMAN,
    OTHER,
    OTHER_CONFIG,
    POD,
    Remarks,
)


def read(
    tmp_path: Path, kind: str, data: str | bytes, observer: Observer = SILENT
) -> list[ContainerUse]:
    path = tmp_path / "listing"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return FileProvider(f"{kind}:{path}", observer).uses()


def workload(kind: str, image: str) -> dict[str, Any]:
    """Return an object of Kubernetes whose pods would run an image."""
    template = {"spec": {"containers": [{"name": "main", "image": image}]}}
    spec: dict[str, Any] = {"template": template, "replicas": 0}
    if kind == "CronJob":
        spec = {"jobTemplate": {"spec": {"template": template}}, "suspend": True}
    found = {"kind": kind, "metadata": {"namespace": "prod", "name": "w"}, "spec": spec}
    if kind == "ControllerRevision":
        found["data"] = {"spec": found.pop("spec")}
    return found


class TestListings:
    @pytest.mark.parametrize(
        ("kind", "data"),
        [
            ("docker", json.dumps([INSPECTED])),
            ("docker", json.dumps(LISTED) + "\n"),
            ("docker", f"{json.dumps(LISTED)}\n{json.dumps(LISTED)}\n"),
            ("docker", json.dumps([{**LISTED, "Image": APP.config.digest.hex[:12]}])),
            ("podman", json.dumps([OF_PODMAN], indent=2)),
            ("podman", json.dumps([{**INSPECTED, "ImageName": "app:1"}])),
            ("cri", json.dumps({"containers": [CRI]})),
            ("cri", json.dumps({"status": CRI, "info": {}})),
            ("cri", json.dumps([{"status": CRI}, {"status": CRI}])),
            ("cri", 2 * json.dumps({"containers": [CRI]}, indent=2)),
            ("containerd", 2 * json.dumps(OF_CONTAINERD, indent=4)),
            ("kube", json.dumps({"kind": "List", "items": [POD]})),
            ("kube", "\n".join([json.dumps({"kind": "List", "items": []}), json.dumps(POD)])),
            ("kube", json.dumps(POD)),
        ],
    )
    def test_each_form_is_understood(
        self, layout: Layout, tmp_path: Path, kind: str, data: str
    ) -> None:
        found = read(tmp_path, kind, data)
        assert APP.descriptor.digest in containers_by_image(layout, found)
        assert all(one.provider == f"{kind}:{tmp_path}/listing" for one in found)
        assert {one.name for one in found} <= {"web", "prod/web-1/web", "prod/web-1/setup"}
        assert {one.state for one in found} <= {"exited", "running", "unknown"}

    def test_what_a_pod_prepares_itself_with_counts_too(
        self, layout: Layout, tmp_path: Path
    ) -> None:
        found = read(tmp_path, "kube", json.dumps({"items": [POD]}))
        assert set(containers_by_image(layout, found)) == {
            APP.descriptor.digest,
            OTHER.descriptor.digest,
        }

    def test_a_pod_that_waits_is_known_by_what_it_shall_run(
        self, layout: Layout, tmp_path: Path
    ) -> None:
        pod = {**POD, "status": {"phase": "Pending"}}
        found = read(tmp_path, "kube", json.dumps({"items": [pod]}))
        assert [one.state for one in found] == ["pending", "pending"]
        assert APP.descriptor.digest in containers_by_image(layout, found)

    @pytest.mark.parametrize(
        ("kind", "data"),
        [
            ("docker", [{**LISTED, "Mounts": [{"Type": "image", "Source": "other:1"}]}]),
            ("docker", [{**LISTED, "Mounts": [{"Type": "image", "Source": OTHER_CONFIG}]}]),
            (
                "docker",
                [
                    {
                        **INSPECTED,
                        "HostConfig": {
                            "Mounts": [{"Type": "image", "Source": "other:1", "Target": "/x"}]
                        },
                        "Mounts": [{"Type": "image", "Source": "/var/x", "Destination": "/x"}],
                    }
                ],
            ),
            (
                "podman",
                [{**OF_PODMAN, "Mounts": ["/x", {"Type": "image", "Source": "other:1"}]}],
            ),
            (
                "kube",
                {
                    **POD,
                    "spec": {
                        "containers": [{"name": "web", "image": "app:1"}],
                        "volumes": [
                            {"name": "data", "image": {"reference": "other:1"}},
                            {"name": "tmp", "emptyDir": {}},
                        ],
                    },
                },
            ),
            ("cri", {"status": {**CRI, "mounts": [{"image": {"image": "other:1"}}, {}]}}),
        ],
    )
    def test_an_image_that_is_mounted_as_a_volume_is_in_use(
        self, layout: Layout, tmp_path: Path, kind: str, data: object
    ) -> None:
        found = read(tmp_path, kind, json.dumps(data))
        assert set(containers_by_image(layout, found)) == {
            APP.descriptor.digest,
            OTHER.descriptor.digest,
        }

    @pytest.mark.parametrize(
        "kind",
        [
            "Deployment",
            "ReplicaSet",
            "DaemonSet",
            "StatefulSet",
            "Job",
            "CronJob",
            "ControllerRevision",
            "Rollout",
        ],
    )
    def test_what_a_workload_would_run_counts_also_without_pods(
        self, layout: Layout, tmp_path: Path, kind: str
    ) -> None:
        told = Remarks()
        items = [workload(kind, "other:1"), {"kind": "Service", "metadata": {}, "spec": {}}]
        found = read(tmp_path, "kube", json.dumps({"items": [*items, POD]}), told)
        held = containers_by_image(layout, found)[OTHER.descriptor.digest]
        assert f"container prod/w/main ({found[0].provider}, template of {kind})" in describe_uses(
            held
        )
        assert told.texts == []

    def test_a_list_of_pods_alone_is_remarked_once(self, layout: Layout, tmp_path: Path) -> None:
        told = Remarks()
        read(tmp_path, "kube", json.dumps({"items": [POD, POD]}), told)
        (text,) = told.texts
        assert "workloads without pods are not seen" in text
        assert "cronjob,controllerrevision,pod -A -o json" in text

    @pytest.mark.parametrize("kind", ["docker", "containerd"])
    def test_a_file_without_a_line_is_a_host_without_containers(
        self, tmp_path: Path, kind: str
    ) -> None:
        told = Remarks()
        assert read(tmp_path, kind, "\n", told) == []
        assert [text.partition(" is ")[2] for text in told.texts] == [
            "empty: it counts as a host without containers"
        ]

    def test_containers_of_docker_in_containerd_are_for_docker_to_tell(
        self, tmp_path: Path
    ) -> None:
        of_docker = {**OF_CONTAINERD, "Image": "", "Labels": {"com.docker/engine.bundle.path": ""}}
        assert read(tmp_path, "containerd", json.dumps(of_docker)) == []

    def test_no_containers_may_be_said_but_only_in_words(self, tmp_path: Path) -> None:
        assert read(tmp_path, "podman", "[]") == []
        assert read(tmp_path, "cri", '{"containers":[]}') == []
        assert read(tmp_path, "kube", '{"items":[]}') == []

    @pytest.mark.parametrize(
        ("kind", "data"),
        [
            ("podman", ""),
            ("cri", " \n"),
            ("kube", ""),
            ("containerd", '[{"ID":"x","Image":"","SnapshotKey":"x"}]'),
            ("containerd", '{"ID":"x"}'),
            ("kube", '{"items":[{"kind":"ReplicaSet","metadata":{"name":"x"},"spec":{}}]}'),
            ("docker", '[{"Id":"x","Image":"app:1","Mounts":[{"Type":"image","Source":"/x"}]}]'),
            ("docker", "Cannot connect to the Docker daemon"),
            ("docker", '[{"Id":"a"'),
            ("docker", b"\xff\xfe"),
            ("docker", '[{"Id":"a"}]'),
            ("docker", "[1]"),
            ("docker", "null"),
            ("podman", '[{"Image":null}]'),
            ("cri", "[]"),
            ("cri", "{}"),
            ("cri", '{"containers":[{"id":"x"}]}'),
            ("cri", '{"containers":null}'),
            ("kube", '{"items":[{"metadata":{"name":"x"},"spec":{}}]}'),
            ("kube", '{"items":[{}]}'),
            ("kube", '{"items":[{"metadata":{"name":"x"},"spec":{"containers":[{"name":"c"}]}}]}'),
            ("kube", '{"metadata":{"continue":"abc"},"items":[]}'),
            ("docker", '[{"Id":"x","Image":""}]'),
            ("docker", '[{"Id":"x","Image":"sha256:zz"}]'),
            ("docker", '[{"Id":"x","Image":"???"}]'),
            ("docker", '[{"Id":"x","Image":"SHA256:ABCD"}]'),
            ("kube", '{"items":{}}'),
            ("kube", "[" * 100_000),
        ],
    )
    def test_what_is_not_understood_is_not_taken_for_no_containers(
        self, tmp_path: Path, kind: str, data: str | bytes
    ) -> None:
        with pytest.raises(Refused) as caught:
            read(tmp_path, kind, data)
        assert caught.value.hint

    def test_a_file_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(Refused):
            FileProvider(f"docker:{tmp_path}/none").uses()
        with pytest.raises(Refused):
            FileProvider(f"docker:{tmp_path}").uses()

    def test_a_container_made_from_nothing_uses_no_image(self, tmp_path: Path) -> None:
        (one,) = read(tmp_path, "podman", '[{"Id":"x","Image":"","ImageID":""}]')
        assert (one.digests, one.names) == ((), ())

    def test_a_pipe_is_read_as_well(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        thread = threading.Thread(
            target=(tmp_path / "pipe").write_text, args=(json.dumps([OF_PODMAN]),)
        )
        thread.start()
        (one,) = FileProvider(f"podman:{tmp_path}/pipe").uses()
        thread.join()
        assert one.name == "web"
