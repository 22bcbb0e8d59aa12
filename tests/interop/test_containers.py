"""Containers that run: ours started by runc and crun, and those of docker, podman and buildah.

The program in them is a few lines of C, compiled here without libraries to load.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ocitool.containers.providers import FileProvider, find_providers
from ocitool.containers.uses import ContainerUse, containers_by_image
from ocitool.places.layout import Layout
from tests.interop.peers import Containerd, Docker, Ocitool, Podman, attempt, fresh_files, run
from tests.support.images import build_image, oci_archive
from tests.support.root_files import Node, folder, layer_of, program
from tests.support.stores import contents

pytestmark = pytest.mark.interop

_SOURCE = r"""
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int count, char **words) {
    char text[100] = "", place[100] = "", said[100] = "";
    FILE *file = fopen("/marker", "r");
    if (file && fgets(text, sizeof text, file)) fclose(file);
    if ((file = fopen("/written", "r")) && fgets(said, sizeof said, file)) fclose(file);
    if ((file = fopen("/written", "w")) && fputs(text, file) >= 0) fclose(file);
    if ((file = fopen("own", "w")) && fputs(text, file) >= 0) printf("owned ");
    printf("marker=%s uid=%d gid=%d cwd=%s before=%s words=%d\n", text, getuid(), getgid(),
           getcwd(place, sizeof place), said, count - 1);
    fflush(stdout);
    if (count > 1 && !strcmp(words[1], "wait")) for (;;) pause();
    return count > 1 ? 7 : 0;
}
"""
NAME = "docker.io/library/app:latest"


@pytest.fixture(scope="session")
def binary(require: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the program, linked statically."""
    require("gcc")
    place = tmp_path_factory.mktemp("program")
    (place / "app.c").write_text(_SOURCE)
    run(["gcc", "-static", "-O1", "-o", str(place / "app"), str(place / "app.c")])
    return (place / "app").read_bytes()


Load = Callable[..., None]


@pytest.fixture
def load(ocitool: Ocitool, binary: bytes, tmp_path: Path) -> Load:
    """Return what loads an image with a marker under a name."""

    def load(marker: str, name: str = NAME, **config: Any) -> None:
        layer = layer_of(
            folder("etc"),
            Node(path="etc/passwd", data=b"root:x:0:0::/:/\nme:x:1000:100::/:/\n"),
            program("bin/app", binary),
            Node(path="marker", data=marker.encode()),
            folder("w", 0o777),
            folder("mine", 0o700, owner=(1000, 100)),
        )
        image = build_image([layer], config={"config": {"Entrypoint": ["/bin/app"], **config}})
        archive = tmp_path / "image.tar"
        archive.write_bytes(oci_archive({name: image}))
        ocitool.run("load", "-q", str(archive))

    return load


class Runc:
    """runc with a folder of its own for what it remembers."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def command(self, *arguments: str) -> list[str]:
        return ["runc", "--root", str(self._state), *arguments]

    def start(self, bundle: str, name: str) -> str:
        """Run a container to its end and return what it prints."""
        return run(self.command("run", "--bundle", bundle, name)).decode().strip()

    @contextlib.contextmanager
    def waiting(self, bundle: str, name: str) -> Iterator[str]:
        """Run a container that waits, for the block; yields what it prints."""
        process = subprocess.Popen(
            self.command("run", "--bundle", bundle, name), stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            attempt(self.command("kill", name, "KILL"))
            process.communicate(timeout=30)
            attempt(self.command("delete", "--force", name))


@pytest.fixture
def runc(require: Callable[..., None], tmp_path: Path) -> Runc:
    require("runc")
    return Runc(tmp_path / "runc")


def create(ocitool: Ocitool, *arguments: str) -> str:
    """Make a container of app:latest and return its bundle."""
    return ocitool.run("container", "create", *arguments).decode().strip()


class TestOurContainers:
    @pytest.mark.parametrize("options", [(), ("--copy",)])
    def test_runc_starts_one(
        self, ocitool: Ocitool, load: Load, runc: Runc, options: tuple[str, ...]
    ) -> None:
        load("one", WorkingDir="/w")
        bundle = create(ocitool, "--name", "a", *options, "app:latest")
        assert runc.start(bundle, "a") == "owned marker=one uid=0 gid=0 cwd=/w before= words=0"
        # What it wrote is its own, and there when it starts again.
        assert "before=one" in runc.start(bundle, "a")

    def test_those_that_share_a_tree_do_not_see_what_the_other_wrote(
        self, ocitool: Ocitool, load: Load, runc: Runc
    ) -> None:
        load("one")
        first, second = (create(ocitool, "--name", name, "app:latest") for name in "ab")
        for bundle, name in ((first, "a"), (second, "b")):
            assert "before= " in runc.start(bundle, name)
        assert not list((ocitool.store / ".ocitool/trees").glob("*/written"))

    def test_the_user_of_the_image_is_whom_it_runs_as(
        self, ocitool: Ocitool, load: Load, runc: Runc
    ) -> None:
        load("one", User="me", WorkingDir="/w")
        assert "uid=1000 gid=100 cwd=/w" in runc.start(create(ocitool, "app:latest"), "u")

    def test_a_volume_has_what_the_image_has_there(
        self, ocitool: Ocitool, load: Load, runc: Runc
    ) -> None:
        load("one", Volumes={"/w": {}, "/fresh": {}}, WorkingDir="/fresh")
        assert "cwd=/fresh" in runc.start(create(ocitool, "app:latest"), "v")

    @pytest.mark.parametrize("options", [(), ("--copy",)])
    def test_a_volume_belongs_to_the_user_that_it_belongs_to_in_the_image(
        self, ocitool: Ocitool, load: Load, runc: Runc, options: tuple[str, ...]
    ) -> None:
        load("one", Volumes={"/mine": {}}, WorkingDir="/mine", User="me")
        said = runc.start(create(ocitool, *options, "app:latest"), "v")
        assert said.startswith("owned marker=one uid=1000 gid=100 cwd=/mine")

    @pytest.mark.parametrize("options", [(), ("--copy",)])
    def test_a_container_that_runs_is_seen_through_links(
        self, ocitool: Ocitool, load: Load, runc: Runc, tmp_path: Path, options: tuple[str, ...]
    ) -> None:
        load("one")
        link = tmp_path / "link"
        link.symlink_to(ocitool.store)
        (tmp_path / "place").mkdir()
        (tmp_path / "there").symlink_to("place")
        through = ("--store", str(link))
        words = ("container", "create", *options, "--name")
        inside = ocitool.run(*through, *words, "a", "app:latest", "--", "wait").decode().strip()
        elsewhere = ("--bundle", str(tmp_path / "there/b"))
        outside = ocitool.run(*words, "b", *elsewhere, "app:latest", "--", "wait").decode().strip()
        with runc.waiting(inside, "a"), runc.waiting(outside, "b"):
            for store in ((), through):
                assert ocitool.run(*store, "container", "ls").count(b"running") == 2
                for name in ("a", "b"):
                    assert ocitool.attempt(*store, "container", "rm", name).returncode == 6

    @pytest.mark.parametrize("options", [(), ("--copy",)])
    def test_a_container_goes_on_with_the_old_content_when_its_name_has_moved(
        self, ocitool: Ocitool, load: Load, runc: Runc, options: tuple[str, ...]
    ) -> None:
        load("old")
        bundle = create(ocitool, "--name", "web", *options, "app:latest", "wait")
        with runc.waiting(bundle, "web") as said:
            assert "marker=old" in said
            old = json.loads(ocitool.run("container", "ls", "--json"))[0]["digest"]
            load("new")
            assert b"running" in ocitool.run("container", "ls")
            refused = ocitool.attempt("container", "rm", "web")
            assert refused.returncode == 6
            assert b"is running" in refused.stderr
            in_use = ocitool.attempt("rm", "-f", old)
            assert in_use.returncode == 6
            assert b"of a running container" in in_use.stderr
        assert b"created" in ocitool.run("container", "ls")
        fresh = create(ocitool, "--name", "fresh", "app:latest")
        assert "marker=new" in runc.start(fresh, "fresh")

    def test_the_whole_story_of_a_rebuilt_image(
        self, ocitool: Ocitool, load: Load, runc: Runc
    ) -> None:
        load("old")
        old = ocitool.images()[0].digest
        before = contents(ocitool.store)
        before.pop("index.json")
        bundle = create(ocitool, "--name", "web", "app:latest")
        load("new")
        kept = ocitool.run("gc", "-f", "--containers", "store").decode()
        assert "container web (store, created)" in kept
        assert "marker=old" in runc.start(bundle, "web")
        ocitool.run("container", "rm", "web")
        ocitool.run("gc", "-f", "--containers", "store")
        assert [image.names for image in ocitool.images()] == [{NAME}]
        ocitool.run("gc", "--undo")
        assert old in {image.digest for image in ocitool.images()}
        assert before.items() <= contents(ocitool.store).items()

    @pytest.mark.parametrize("options", [(), ("--copy",)])
    def test_who_is_not_root_makes_and_starts_one(
        self,
        require: Callable[..., None],
        ocitool: Ocitool,
        load: Load,
        short_folder: Path,
        options: tuple[str, ...],
    ) -> None:
        require("runc", "setpriv")
        load("one", User="me")
        place = short_folder / f"rootless{len(options)}"
        store = place / "store"
        # The folder is for that user alone; what leads to it lets everybody pass.
        short_folder.chmod(0o711)
        shutil.copytree(ocitool.store, store, ignore=shutil.ignore_patterns(".ocitool"))
        shutil.copytree(ocitool.store / ".ocitool", store / ".ocitool")
        for path in (place, *place.rglob("*")):
            os.chown(path, 65534, 65534)
        other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        if attempt([*other, sys.executable, "-m", "ocitool", "--version"]).returncode != 0:
            pytest.skip("this Python is for its owner alone")
        command = [
            *other,
            *Ocitool(store).command("container", "create", "--json", *options, "app"),
        ]
        made = json.loads(run(command))
        assert made["rootless"] is True
        assert (made["shared_tree"] is None) == bool(options)
        started = [*other, "env", f"XDG_RUNTIME_DIR={place}", "runc", "--root", f"{place}/runc"]
        assert b"marker=one uid=0" in run([*started, "run", "--bundle", made["bundle"], "r"])
        # Nobody else gets in, and it goes away again although runc locked some folders.
        assert Path(made["bundle"]).stat().st_mode & 0o077 == 0
        run([*other, *Ocitool(store).command("container", "rm", made["id"])])
        assert not Path(made["bundle"]).exists()

    def test_crun_starts_one_where_its_cgroups_allow(
        self, require: Callable[..., None], ocitool: Ocitool, load: Load, tmp_path: Path
    ) -> None:
        require("crun", "unshare")
        load("one")
        bundle = Path(create(ocitool, "--copy", "app:latest"))
        # Rules for devices need rights that a virtual machine in a cloud may lack.
        config = json.loads((bundle / "config.json").read_bytes())
        del config["linux"]["resources"]
        config["mounts"] = [m for m in config["mounts"] if m["type"] != "cgroup"]
        (bundle / "config.json").write_text(json.dumps(config))
        script = 'mount -t cgroup2 none /sys/fs/cgroup && exec crun --root "$0" run -b "$1" c'
        done = attempt(["unshare", "-m", "sh", "-c", script, str(tmp_path / "crun"), str(bundle)])
        assert b"marker=one" in done.stdout, done.stderr


@pytest.fixture
def images(docker: Docker, tmp_path: Path) -> Iterator[dict[str, str]]:
    """An image of docker that is dangling, one that has its name now, and their IDs."""
    context = fresh_files(tmp_path / "context", "first", "second")
    old = docker.build(context, 'FROM scratch\nCOPY first /\nCMD ["/x"]\n', "moving:1")
    new = docker.build(context, 'FROM scratch\nCOPY second /\nCMD ["/x"]\n', "moving:1")
    yield {"old": old, "new": new}
    for container in docker.run("ps", "-aq").decode().split():
        docker.run("rm", "-f", container)
    for image in (old, new):
        docker.attempt("image", "rm", "-f", image)


@pytest.fixture
def loaded(ocitool: Ocitool, docker: Docker, images: dict[str, str]) -> Layout:
    """A store with both, the old one without its name."""
    for identity in ("old", "new"):
        docker.run("tag", images[identity], "moving:1")
        ocitool.run("load", "-q", data=docker.run("save", "moving:1"))
    return Layout.existing(str(ocitool.store))


def held(layout: Layout, uses: list[ContainerUse]) -> dict[str, set[str]]:
    """Return which images are held, by the ID of each, and by the names of which containers."""
    from ocitool.images.summaries import image_summaries

    summaries = image_summaries(layout, layout.roots())
    return {
        summaries[digest].image_ids[0]: {use.name for use in holders}
        for digest, holders in containers_by_image(layout, uses).items()
    }


class TestDocker:
    @pytest.mark.parametrize("way", ["socket", "inspect", "ps"])
    def test_a_stopped_container_holds_the_image_it_was_made_from(
        self,
        docker: Docker,
        loaded: Layout,
        images: dict[str, str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        way: str,
    ) -> None:
        docker.run("create", "--name", "stopped", images["old"])
        listing = tmp_path / "containers"
        if way == "socket":
            monkeypatch.setenv("DOCKER_HOST", docker.host)
            provider = find_providers(["docker"], layout=loaded)[-1]
        elif way == "inspect":
            listing.write_bytes(docker.run("inspect", "stopped"))
            provider = FileProvider(f"docker:{listing}")
        else:
            listing.write_bytes(docker.run("ps", "-a", "--no-trunc", "--format", "json"))
            provider = FileProvider(f"docker:{listing}")
        (use,) = provider.uses()
        assert (use.name, use.state) == ("stopped", "created")
        assert held(loaded, [use]) == {images["old"]: {"stopped"}}
        loaded.close()

    def test_gc_keeps_what_a_container_of_docker_uses(
        self, ocitool: Ocitool, docker: Docker, loaded: Layout, images: dict[str, str]
    ) -> None:
        loaded.close()
        ocitool.environment = {"DOCKER_HOST": docker.host}
        docker.run("create", "--name", "stopped", images["old"])
        said = ocitool.run("gc", "-f", "--containers", "docker").decode()
        assert "container stopped (docker, created)" in said
        assert images["old"] in {image.image_id for image in ocitool.images()}
        docker.run("rm", "stopped")
        ocitool.run("gc", "-f", "--containers", "docker")
        assert {image.image_id for image in ocitool.images()} == {images["new"]}

    def test_gc_of_the_engine_removes_what_no_container_uses(
        self, docker: Docker, images: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ocitool.garbage.engine import sweep_engine
        from ocitool.garbage.engine_planning import plan_engine

        monkeypatch.setenv("DOCKER_HOST", docker.host)
        docker.run("create", "--name", "stopped", images["old"])
        plan = plan_engine("docker")
        assert [one.image.id for one in plan.held] == [images["old"]]
        assert [use.name for use in plan.held[0].holders] == ["stopped"]
        assert images["old"] not in [image.id for image in plan.to_remove]
        docker.run("rm", "stopped")
        plan = plan_engine("docker")
        assert images["old"] in [image.id for image in plan.to_remove]
        assert images["new"] not in [image.id for image in plan.to_remove]
        assert docker.has(images["old"])
        swept = sweep_engine(plan)
        assert images["old"] in swept.deleted
        assert swept.freed
        assert not docker.has(images["old"])
        assert docker.has(images["new"])

    def test_what_gc_of_the_engine_removes_can_be_loaded_again_from_the_archive(
        self, docker: Docker, ocitool: Ocitool, images: dict[str, str], tmp_path: Path
    ) -> None:
        archive = tmp_path / "saved.tar"
        engine = Ocitool(ocitool.store, {"DOCKER_HOST": docker.host})
        engine.run("gc", "--engine", "docker", "-f", "--archive", str(archive))
        assert not docker.has(images["old"])
        docker.run("load", "--input", str(archive))
        assert docker.has(images["old"])

    def test_an_image_that_got_a_container_since_the_plan_is_refused_by_the_engine(
        self, docker: Docker, images: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ocitool.garbage.engine import sweep_engine
        from ocitool.garbage.engine_planning import plan_engine

        monkeypatch.setenv("DOCKER_HOST", docker.host)
        plan = plan_engine("docker")
        docker.run("create", "--name", "late", images["old"])
        swept = sweep_engine(plan)
        assert images["old"] in [refused.image.id for refused in swept.refused]
        assert docker.has(images["old"])

    def test_names_that_no_container_holds_go_when_everything_is_wanted(
        self, docker: Docker, images: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ocitool.garbage import Choice
        from ocitool.garbage.engine import sweep_engine
        from ocitool.garbage.engine_planning import plan_engine

        monkeypatch.setenv("DOCKER_HOST", docker.host)
        docker.run("tag", images["new"], "another:2")
        plan = plan_engine("docker", Choice(everything=True))
        (new,) = [image for image in plan.to_remove if image.id == images["new"]]
        assert set(new.names) == {"moving:1", "another:2"}
        sweep_engine(plan)
        assert not docker.has(images["new"])


class TestPodman:
    @pytest.fixture
    def image(self, podman: Podman, tmp_path: Path) -> Iterator[str]:
        context = fresh_files(tmp_path / "context", "only")
        yield podman.build(context, "FROM scratch\nCOPY only /\nCMD /x\n", "localhost/only:1")
        podman.run("rm", "--all", "--force")
        podman.buildah("rm", "--all")
        podman.run("image", "prune", "--all", "--force")

    def test_containers_of_podman_and_of_buildah_hold_their_image(
        self,
        podman: Podman,
        ocitool: Ocitool,
        image: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        podman.run("create", "--name", "ours", image.removeprefix("sha256:"))
        podman.buildah("from", "--name", "external", "localhost/only:1")
        listing = tmp_path / "listing"
        listing.write_bytes(podman.run("ps", "--all", "--external", "--format", "json"))
        podman.run("save", "-o", str(tmp_path / "x.tar"), "localhost/only:1")
        ocitool.run("load", "-q", str(tmp_path / "x.tar"))
        with podman.service() as address, Layout.existing(str(ocitool.store)) as layout:
            monkeypatch.setenv("CONTAINER_HOST", address)
            provider = find_providers(["podman"], layout=layout)[-1]
            for uses in (provider.uses(), FileProvider(f"podman:{listing}").uses()):
                assert held(layout, uses) == {image: {"ours", "external"}}

    def test_an_image_that_is_mounted_into_a_container_is_in_use(
        self,
        podman: Podman,
        ocitool: Ocitool,
        image: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        context = fresh_files(tmp_path / "volume", "data")
        volume = podman.build(context, "FROM scratch\nCOPY data /\n", "localhost/volume:1")
        mount = "type=image,source=localhost/volume:1,destination=/data"
        podman.run("create", "--name", "ours", "--mount", mount, image.removeprefix("sha256:"))
        listing = tmp_path / "listing"
        listing.write_bytes(podman.run("inspect", "ours"))
        names = ("localhost/only:1", "localhost/volume:1")
        podman.run("save", "--multi-image-archive", "-o", str(tmp_path / "x.tar"), *names)
        ocitool.run("load", "-q", str(tmp_path / "x.tar"))
        with podman.service() as address, Layout.existing(str(ocitool.store)) as layout:
            monkeypatch.setenv("CONTAINER_HOST", address)
            provider = find_providers(["podman"], layout=layout)[-1]
            for uses in (provider.uses(), FileProvider(f"podman:{listing}").uses()):
                assert held(layout, uses) == {image: {"ours"}, volume: {"ours"}}

    def test_gc_of_the_engine_keeps_what_buildah_uses(
        self, podman: Podman, image: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ocitool.garbage.engine import sweep_engine
        from ocitool.garbage.engine_planning import plan_engine

        podman.buildah("from", "--name", "external", "localhost/only:1")
        podman.run("untag", "localhost/only:1")
        with podman.service() as address:
            monkeypatch.setenv("CONTAINER_HOST", address)
            plan = plan_engine("podman")
            assert [use.name for one in plan.held for use in one.holders] == ["external"]
            assert plan.to_remove == ()
            podman.buildah("rm", "external")
            plan = plan_engine("podman")
            assert [one.id.removeprefix("sha256:") for one in plan.to_remove] == [
                image.removeprefix("sha256:")
            ]
            sweep_engine(plan)
            assert plan_engine("podman").to_remove == ()


def test_an_engine_that_was_asked_for_and_is_not_there_stops_the_run(
    ocitool: Ocitool, load: Load, tmp_path: Path
) -> None:
    load("one")
    ocitool.environment = {"DOCKER_HOST": f"unix://{tmp_path}/none"}
    done = ocitool.attempt("gc", "--dry-run", "--containers", "docker")
    assert done.returncode == 6
    assert b"cannot say which images its containers use" in done.stderr


def test_containers_of_containerd_hold_their_image_in_every_namespace(
    containerd: Containerd, ocitool: Ocitool, tmp_path: Path
) -> None:
    images = [build_image([{"fresh": f"{tmp_path} {number}".encode()}]) for number in (1, 2)]
    names = ("docker.io/engines/first:1", "docker.io/engines/second:1")
    archive = tmp_path / "x.tar"
    archive.write_bytes(oci_archive(dict(zip(names, images, strict=True))))
    ocitool.run("load", "-q", str(archive))
    listing = b""
    for name, namespace in zip(names, ("default", "k8s.io"), strict=True):
        containerd.load(namespace, archive)
        containerd.run(namespace, "containers", "create", "--snapshotter", "native", name, "web")
        listing += containerd.run(namespace, "containers", "info", "web")
    (tmp_path / "listing").write_bytes(listing)
    words = (f"containerd:unix://{containerd.socket}", f"containerd:{tmp_path}/listing")
    for word in words:
        with Layout.existing(str(ocitool.store)) as layout:
            uses = find_providers([word], layout=layout)[-1].uses()
            found = containers_by_image(layout, uses)
        assert set(found) == {image.descriptor.digest for image in images}
    containerd.run("default", "containers", "delete", "web")
    ocitool.run("gc", "-a", "-f", "--containers", words[0])
    assert {name for image in ocitool.images() for name in image.names} == {names[1]}
