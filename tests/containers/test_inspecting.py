"""What `container inspect` knows: the options come back in docker's words."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ocitool.containers.inspecting import inspect_container
from ocitool.containers.options import (
    Bind,
    MountOptions,
    NetworkOptions,
    ProcessOptions,
    ResourceLimits,
    SecurityOptions,
    Tmpfs,
    Ulimit,
)
from ocitool.containers.records import Container
from ocitool.errors import NotFound
from ocitool.places.layout import Layout
from tests.containers.kept import app, container, needs_root
from tests.support.layouts import names_of, store

pytestmark = needs_root


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    with store(tmp_path / "s", app=app()) as layout:
        yield layout


def inspected(layout: Layout, one: Container, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(inspect_container(layout, one, **options))
    return found


def test_a_container_without_options_is_what_its_image_says(layout: Layout) -> None:
    one = container(layout, alone=True)
    found = inspected(layout, one)
    config, host = found["Config"], found["HostConfig"]
    assert (found["Id"], found["Name"], found["Created"]) == (one.id, "/web", one.created)
    assert found["ImageDigest"] == names_of(layout)["docker.io/library/app:1"]
    assert (found["Path"], found["Args"]) == ("/bin/app", ("-v",))
    assert (config["Entrypoint"], config["Cmd"]) == (("/bin/app",), ("-v",))
    assert (config["User"], config["Labels"], config["WorkingDir"]) == ("1000:100", {"a": "b"}, "/")
    assert found["State"]["Status"] == "created"
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (0, 0, None)
    assert (host["NetworkMode"], host["SecurityOpt"]) == ("none", ("no-new-privileges",))
    assert (host["CapAdd"], host["CapDrop"], host["Binds"]) == ((), (), ())
    assert (found["Mounts"], found["SizeRw"]) == ((), None)
    assert found["GraphDriver"] == {"Name": "copy", "Data": {"RootDir": f"{one.bundle}/rootfs"}}


def test_options_come_back(layout: Layout, tmp_path: Path) -> None:
    one = container(
        layout,
        alone=True,
        command=("x",),
        labels={"k": "v"},
        process=ProcessOptions(
            env={"A": "1", "LEVEL": None}, user="5:6", workdir="/w", entrypoint=("/e",)
        ),
        limits=ResourceLimits(
            memory=64 << 20,
            cpus=1_500_000_000,
            pids=9,
            ulimits=(Ulimit(name="core", soft=0, hard=-1),),
        ),
        mounts=MountOptions(
            binds=(Bind(source=str(tmp_path), target="/in", read_only=True),),
            tmpfs=(Tmpfs(target="/t"),),
            read_only=True,
        ),
        network=NetworkOptions(mode="host"),
        security=SecurityOptions(
            cap_add=("NET_ADMIN",), cap_drop=("CHOWN",), unconfined=True, no_new_privileges=False
        ),
    )
    found = inspected(layout, one)
    config, host = found["Config"], found["HostConfig"]
    assert (config["Entrypoint"], config["Cmd"]) == (None, ("/e", "x"))
    assert (config["User"], config["WorkingDir"]) == ("5:6", "/w")
    assert "A=1" in config["Env"]
    assert not [line for line in config["Env"] if line.startswith("LEVEL=")]
    assert config["Labels"] == {"a": "b", "k": "v"}
    assert (host["Memory"], host["MemorySwap"]) == (64 << 20, 128 << 20)
    assert (host["NanoCpus"], host["PidsLimit"]) == (1_500_000_000, 9)
    assert host["Ulimits"] == ({"Name": "core", "Soft": 0, "Hard": -1},)
    assert (host["NetworkMode"], host["ReadonlyRootfs"]) == ("host", True)
    assert (host["CapAdd"], host["CapDrop"]) == (("CAP_NET_ADMIN",), ("CAP_CHOWN",))
    assert host["SecurityOpt"] == ("seccomp=unconfined",)
    assert host["Binds"] == (f"{tmp_path}:/in:ro",)
    points = {
        one["Destination"]: (one["Type"], one["Source"], one["RW"]) for one in found["Mounts"]
    }
    assert points == {"/in": ("bind", str(tmp_path), False), "/t": ("tmpfs", "", True)}


def test_an_overlay_tells_its_folders_and_sizes_only_if_asked(layout: Layout) -> None:
    one = container(layout)
    (Path(one.bundle) / "upper/new").write_bytes(b"x" * 5000)
    found = inspected(layout, one, sizes=True)
    data = found["GraphDriver"]["Data"]
    assert data["UpperDir"] == f"{one.bundle}/upper"
    assert Path(data["LowerDir"]).name == one.tree
    assert found["SizeRw"] == 8192
    assert found["SizeRootFs"] > found["SizeRw"]


def test_a_lost_bundle_is_told(layout: Layout) -> None:
    one = container(layout, alone=True)
    Path(one.bundle).rename(f"{one.bundle}-away")
    with pytest.raises(NotFound, match="the bundle of container web is gone"):
        inspect_container(layout, one)
