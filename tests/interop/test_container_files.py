"""What containers change, beside docker: the same commands in both, and everything compared.

The containers are ours, started by runc, and docker's; both run busybox.
"""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.peers import Docker, Ocitool, attempt, run
from tests.support.images import build_image, docker_archive, oci_archive
from tests.support.root_files import Node, folder, hard_link, layer_of, link, program

pytestmark = pytest.mark.interop

NAME = "docker.io/library/changing:1"
CHANGES = r"""
echo new > /f1; rm /f2; chmod 600 /chm; chown 5:6 /own; echo more >> /h1
rm -r /op; mkdir -m 750 /op; echo n > /op/1; mkdir /op/in; echo 3 > /op/in/3
rm -r /rm; mv /ren /ren2
rm /todir; mkdir /todir; echo q > /todir/q
rm -r /tofile; echo f > /tofile; rm -r /tlink; ln -s f1 /tlink
touch /touched; chmod 700 /cdir; echo n > "/d/new file"; rm /d/sub/x; ln "/d/new file" /d/hl
mkfifo /fifo; mknod /node b 7 8; mknod /null c 1 3; ln -s /nowhere /dang
mkdir -p /n/e/w; echo 1 > /n/e/w/1; echo x > /gone; rm /gone
echo x > /tmp/t; echo deep > /usr/deep/er/f2; ln /same /same2
dd if=/dev/zero of=/sparse bs=1 count=1 seek=1000000 2>/dev/null; chmod 4755 /sparse
echo hi > /etc/hosts; echo s > /dev/shm/x; mkdir -p /opt/x; rm -r /opt
printf x > "$(printf '/odd\001\377')"; ln -s f1 /sl2; mkdir -m 1777 /sticky
"""
_APPLETS = (
    *("sh", "rm", "chmod", "chown", "mkdir", "mv", "ln", "touch", "mkfifo", "mknod", "dd"),
    *("cat", "sleep", "printf", "echo", "true"),
)
_RUNTIME = {".dockerenv", "dev", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf"}


@pytest.fixture(scope="session")
def busybox(require: Callable[..., None]) -> bytes:
    require("busybox", "runc")
    return Path(shutil.which("busybox") or "").read_bytes()


@pytest.fixture(scope="session")
def image(busybox: bytes) -> Any:
    layer = layer_of(
        folder("bin"),
        program("bin/busybox", busybox),
        *(link(f"bin/{name}", "busybox") for name in _APPLETS),
        folder("etc"),
        Node(path="etc/passwd", data=b"root:x:0:0::/:/bin/sh\n"),
        folder("d"),
        Node(path="d/a", data=b"a"),
        folder("d/sub"),
        Node(path="d/sub/x", data=b"x"),
        folder("op"),
        Node(path="op/1", data=b"1"),
        folder("op/in"),
        Node(path="op/in/2", data=b"2"),
        folder("op/keep"),
        Node(path="op/keep/k", data=b"k"),
        folder("rm"),
        Node(path="rm/1", data=b"1"),
        *(Node(path=path, data=path.encode()) for path in ("f1", "f2", "chm", "own", "todir")),
        Node(path="h1", data=b"hard"),
        hard_link("h2", "h1"),
        folder("ren"),
        Node(path="ren/r", data=b"r"),
        folder("tofile"),
        Node(path="tofile/z", data=b"z"),
        Node(path="touched", data=b"t"),
        folder("cdir"),
        folder("tlink"),
        Node(path="tlink/t", data=b"t"),
        Node(path="same", data=b"s", owner=(1000, 100)),
        folder("tmp", 0o1777),
        folder("usr"),
        folder("usr/deep"),
        folder("usr/deep/er"),
        Node(path="usr/deep/er/f", data=b"f"),
        folder("var", owner=(1000, 100)),
        Node(path="var/data", data=b"data", owner=(1000, 100)),
    )
    return build_image([layer], config={"config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]}})


class Both:
    """An engine and our store with the same image, in which the same is done."""

    def __init__(self, docker: Docker, ocitool: Ocitool, state: Path) -> None:
        self.docker = docker
        self.ocitool = ocitool
        self._state = state

    def ours(self, *options: str, script: str = CHANGES, name: str = "web") -> str:
        """Run a script in a new container of ours; return its bundle."""
        words = ("container", "create", "--name", name, *options, "changing:1")
        bundle = self.ocitool.run(*words, "--", "sh", "-c", script).decode().strip()
        self.start(bundle, name)
        return bundle

    def start(self, bundle: str, name: str) -> str:
        return run(["runc", "--root", str(self._state), "run", "-b", bundle, name]).decode()

    @contextlib.contextmanager
    def running(self, bundle: str, name: str) -> Iterator[None]:
        """Run a container for the block; it has begun when it says so."""
        command = ["runc", "--root", str(self._state)]
        process = subprocess.Popen(
            [*command, "run", "-b", bundle, name], stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "here\n"
            yield
        finally:
            attempt([*command, "kill", name, "KILL"])
            process.communicate(timeout=30)
            attempt([*command, "delete", "--force", name])

    def dockers(self, script: str = CHANGES) -> str:
        """Run a script in a new container of docker; return its ID."""
        words = ("create", "--network", "none", "changing:1", "sh", "-c", script)
        identity = self.docker.run(*words).decode().strip()
        self.docker.run("start", "-a", identity)
        return identity


@pytest.fixture
def both(docker: Docker, ocitool: Ocitool, image: Any, tmp_path: Path) -> Iterator[Both]:
    archive = tmp_path / "image.tar"
    archive.write_bytes(docker_archive({NAME: image}))
    docker.run("load", "-qi", str(archive))
    archive.write_bytes(oci_archive({NAME: image}))
    ocitool.run("load", "-q", str(archive))
    yield Both(docker, ocitool, tmp_path / "runc")
    for identity in docker.run("ps", "-aq").decode().split():
        docker.run("rm", "-f", identity)


def members(data: bytes, *, without: set[str] = frozenset()) -> dict[str, tuple[object, ...]]:  # type: ignore[assignment]
    """Return what the members of a tar are, all but their times."""
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as tar:
        for one in tar:
            name = one.name.removeprefix("./").rstrip("/")
            if name in without or name.partition("/")[0] in without:
                continue
            content = tar.extractfile(one) if one.isreg() else None
            xattrs = {k: v for k, v in one.pax_headers.items() if "xattr" in k}
            found[name] = (
                one.type,
                one.mode & 0o7777,
                (one.uid, one.gid),
                one.linkname if one.type in b"12" else "",
                (one.devmajor, one.devminor),
                content.read() if content is not None else b"",
                xattrs,
            )
    return found


def last_layer(archive: bytes) -> bytes:
    """Return the last layer of what `save` writes."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        (image,) = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
        return tar.extractfile(image["Layers"][-1]).read()  # type: ignore[union-attr]


def letters(output: bytes) -> list[str]:
    """Return the lines of `diff`, sorted; docker prints odd names as they are."""
    text = output.decode("utf-8", "replace").replace("\\x01", "\1").replace("\\udcff", "\ufffd")
    return sorted(text.splitlines())


class TestLikeDocker:
    def test_c7_the_letters_are_dockers(self, both: Both) -> None:
        expected = letters(both.docker.run("diff", both.dockers()))
        both.ours()
        assert letters(both.ocitool.run("container", "diff", "web")) == expected
        both.ours("--copy", name="copy")
        # In a copy both names of a hard link show what was written to one.
        copy = letters(both.ocitool.run("container", "diff", "copy"))
        assert sorted({*expected, "C /h2"}) == copy

    @pytest.mark.parametrize("options", [(), ("--copy",)])
    def test_c8_the_layer_is_dockers(self, both: Both, options: tuple[str, ...]) -> None:
        both.docker.run("commit", both.dockers(), "kept:1")
        expected = members(last_layer(both.docker.run("save", "kept:1")))
        both.ours(*options)
        both.ocitool.run("container", "commit", "web", "kept:1", "--compression", "none")
        found = members(last_layer(both.ocitool.run("save", "kept:1")))
        if options:
            # A copy needs no marks of opaque folders: each path that was deleted has a whiteout.
            for name in ("op/.wh..wh..opq", "todir/.wh..wh..opq"):
                expected.pop(name)
            for name in ("op/in/.wh.2", "op/.wh.keep", "h2"):
                found.pop(name)
        assert found == expected

    @pytest.mark.parametrize("options", [(), ("--copy",)])
    def test_c8_the_image_runs_in_docker_and_sees_the_same(
        self, both: Both, options: tuple[str, ...]
    ) -> None:
        both.ours(*options)
        both.ocitool.run("container", "commit", "web", "kept:1", "-c", 'CMD ["cat", "/op/in/3"]')
        both.docker.run("load", "-q", data=both.ocitool.run("save", "kept:1"))
        assert both.docker.run("run", "--rm", "--network", "none", "kept:1") == b"3\n"
        seen = both.docker.run("create", "--network", "none", "kept:1").decode().strip()
        inside = members(both.docker.run("export", seen), without=_RUNTIME | {"proc", "sys"})
        own = members(
            both.ocitool.run("container", "export", "web"), without=_RUNTIME | {"proc", "sys"}
        )
        assert set(inside) == set(own)
        for name, about in own.items():
            # Which name of a file comes first may differ; /h2 was never linked to the new /h1.
            if about[0] != b"1" and inside[name][0] != b"1" and name != "etc":
                assert inside[name] == about, name
        both.ocitool.run("verify")

    def test_c9_the_export_is_dockers(self, both: Both) -> None:
        expected = both.docker.run("export", both.dockers())
        both.ours()
        without = _RUNTIME | {"proc", "sys"}
        found = both.ocitool.run("container", "export", "web")
        assert members(found, without=without) == members(expected, without=without)

    def test_c10_cp_makes_what_docker_makes(self, both: Both, tmp_path: Path) -> None:
        source = tmp_path / "in"
        (source / "sub").mkdir(parents=True)
        (source / "sub/s").write_text("s")
        (source / "f").write_text("f")
        (source / "l").symlink_to("f")
        identity = both.dockers("true")
        both.ours(script="true")
        for what, where in (
            (source, "/new"),
            (source, "/d"),
            (f"{source}/.", "/d/sub"),
            (source / "f", "/f1"),
            (source / "f", "/op/in"),
            (source / "l", "/link"),
        ):
            both.docker.run("cp", str(what), f"{identity}:{where}")
            both.ocitool.run("container", "cp", str(what), f"web:{where}")
        without = _RUNTIME | {"proc", "sys"}
        assert members(both.ocitool.run("container", "export", "web"), without=without) == members(
            both.docker.run("export", identity), without=without
        )
        for path in ("/d", "/d/.", "/f1", "/link"):
            ours = both.ocitool.run("container", "cp", f"web:{path}", "-")
            dockers = both.docker.run("cp", f"{identity}:{path}", "-")
            # Docker lists the folder whose contents are asked for; we do not.
            assert members(ours) == members(dockers, without={".", ""})

    def test_c11_inspect_says_what_docker_says(self, both: Both) -> None:
        options = "--memory 64m --cpus 1.5 --pids-limit 9 --cap-add NET_ADMIN --cap-drop CHOWN "
        options += "--ulimit nofile=10:20 --read-only -e A=b -w /usr -u 5:6 -v /usr:/u:ro"
        words = (*options.split(), "--label", "k=v")
        made = (
            "create",
            "--name",
            "web",
            *words,
            "--network",
            "none",
            "changing:1",
            "sh",
            "-c",
            "x",
        )
        both.docker.run(*made)
        create = ("create", "--name", "web", *words, "changing:1", "sh", "-c", "x")
        both.ocitool.run("container", *create)
        (theirs,) = json.loads(both.docker.run("inspect", "web"))
        (ours,) = json.loads(both.ocitool.run("container", "inspect", "web"))
        for key in ("Path", "Args", "Name", "Image", "Driver", "Platform"):
            assert ours[key] == theirs[key], key
        for key in (
            *("Memory", "MemorySwap", "NanoCpus", "PidsLimit", "Ulimits", "Binds", "OomScoreAdj"),
            *("ReadonlyRootfs", "NetworkMode", "MaskedPaths", "ReadonlyPaths", "Privileged"),
            *("CpuShares", "CpusetCpus", "MemoryReservation", "AutoRemove"),
        ):
            assert ours["HostConfig"][key] == theirs["HostConfig"][key], key
        for key in ("User", "WorkingDir", "Entrypoint", "Cmd", "Labels", "Tty", "OpenStdin"):
            assert ours["Config"][key] == theirs["Config"][key], key
        assert {*theirs["Config"]["Env"]} <= {*ours["Config"]["Env"]}
        mounts = [
            {k: m[k] for k in ("Type", "Source", "Destination", "RW")} for m in ours["Mounts"]
        ]
        assert mounts == [
            {k: m[k] for k in ("Type", "Source", "Destination", "RW")} for m in theirs["Mounts"]
        ]


class TestRunning:
    LOOP = "echo here; while true; do echo x >> /log; echo y >> /t/log; done"

    def test_c8_a_running_container_stands_still_while_it_is_kept(self, both: Both) -> None:
        words = ("container", "create", "--name", "loop", "--tmpfs", "/t", "changing:1")
        bundle = both.ocitool.run(*words, "--", "sh", "-c", self.LOOP).decode().strip()
        with both.running(bundle, "loop"):
            kept = json.loads(both.ocitool.run("container", "commit", "loop", "kept:1", "--json"))
            if kept["not_paused"] is not None:
                pytest.skip(f"cannot be paused here: {kept['not_paused']}")
            before = _size(bundle)
            deadline = time.monotonic() + 20
            while _size(bundle) == before:
                assert time.monotonic() < deadline, "it did not go on"
                time.sleep(0.05)
        assert both.ocitool.run("files", "cat", "kept:1", "/log")[:2] == b"x\n"
        assert b"/t/log" not in both.ocitool.run("files", "ls", "-R", "kept:1", "/")

    def test_c10_cp_goes_through_the_root_of_a_running_container(
        self, both: Both, tmp_path: Path
    ) -> None:
        words = ("container", "create", "--name", "loop", "--tmpfs", "/t", "changing:1")
        script = "echo here; echo inside > /t/own; ln -s /etc/shadow /t/link; sleep 60"
        bundle = both.ocitool.run(*words, "--", "sh", "-c", script).decode().strip()
        (tmp_path / "mine").write_text("mine\n")
        with both.running(bundle, "loop"):
            deadline = time.monotonic() + 10
            while both.ocitool.attempt("container", "cp", "loop:/t/link", "-").returncode:
                assert time.monotonic() < deadline
            both.ocitool.run("container", "cp", str(tmp_path / "mine"), "loop:/t/mine")
            both.ocitool.run("container", "cp", str(tmp_path / "mine"), "loop:/var")
            both.ocitool.run("container", "cp", "loop:/t/own", str(tmp_path / "own"))
            both.ocitool.run("container", "cp", "loop:/t/mine", str(tmp_path / "back"))
            followed = both.ocitool.attempt("container", "cp", "-L", "loop:/t/link", "-")
            # The mount point, the file, and nothing of the mount.
            changes = both.ocitool.run("container", "diff", "loop").decode().splitlines()
            state = both.ocitool.run(
                *("container", "inspect", "loop", "--format", "{{.State.Status}}")
            )
        assert (tmp_path / "own").read_text() == "inside\n"
        assert (tmp_path / "back").read_text() == "mine\n"
        assert followed.returncode == 4
        assert changes == ["C /var", "A /var/mine"]
        assert state == b"running\n"
        assert both.ocitool.attempt("container", "cp", "loop:/t/own", "-").returncode == 6


def _size(bundle: str) -> int:
    return Path(bundle, "upper/log").stat().st_size


class TestTheStory:
    def test_restart_keeps_the_layer_and_the_old_image_and_rebuild_makes_both_new(
        self, both: Both, busybox: bytes, tmp_path: Path
    ) -> None:
        script = "cat /version /count 2>/dev/null; echo once >> /count"
        first = both.ours(script=script)
        old = json.loads(both.ocitool.run("container", "ls", "--json"))[0]["digest"]
        # It starts again: what it wrote is there.
        assert both.start(first, "web") == "once\n"
        # The image is rebuilt, and its name moves.
        layer = layer_of(Node(path="version", data=b"two\n"), program("bin/sh", busybox))
        rebuilt = build_image([layer], config={"config": {"Env": ["PATH=/bin"]}})
        archive = tmp_path / "rebuilt.tar"
        archive.write_bytes(oci_archive({NAME: rebuilt}))
        both.ocitool.run("load", "-q", str(archive))
        both.ocitool.run("gc", "-f", "--containers", "store")
        # The old container goes on with the old image and its own layer.
        assert both.start(first, "web") == "once\nonce\n"
        assert json.loads(both.ocitool.run("container", "ls", "--json"))[0]["digest"] == old
        # Its changes can be kept: as an image on the old one.
        both.ocitool.run("container", "commit", "web", "kept:1")
        assert both.ocitool.run("files", "cat", "kept:1", "/count") == b"once\n" * 3
        # A new container has the new image, and an empty layer.
        create = ("container", "create", "--name", "new", "changing:1")
        second = both.ocitool.run(*create, "/bin/sh", "-c", "read l < /version; echo $l")
        assert both.start(second.decode().strip(), "new") == "two\n"
        assert both.ocitool.run("container", "diff", "new") == b""


class TestRootless:
    def test_c8_owners_of_the_image_come_back(
        self,
        require: Callable[..., None],
        both: Both,
        short_folder: Path,
    ) -> None:
        require("setpriv")
        place = short_folder / "kept"
        store = place / "store"
        short_folder.chmod(0o711)
        shutil.copytree(both.ocitool.store, store)
        for path in (place, *place.rglob("*")):
            os.chown(path, 65534, 65534)
        other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        if attempt([*other, sys.executable, "-m", "ocitool", "--version"]).returncode != 0:
            pytest.skip("this Python is for its owner alone")
        command = [*other, *Ocitool(store).command("container")]
        script = "echo more >> /var/data; echo new > /var/new; rm -r /op; mkdir /op; rm /f1"
        words = ("create", "--name", "r", "--json", "changing:1", "sh", "-c", script)
        made = json.loads(run([*command, *words]))
        started = [*other, "env", f"XDG_RUNTIME_DIR={place}", "runc", "--root", f"{place}/runc"]
        run([*started, "run", "--bundle", made["bundle"], "r"])
        assert run([*command, "diff", "r"]).decode().splitlines() == [
            *("D /f1", "C /op", "D /op/1", "D /op/in", "D /op/keep"),
            *("C /var", "C /var/data", "A /var/new"),
        ]
        run([*command, "commit", "r", "kept:1", "--compression", "none"])
        found = members(last_layer(Ocitool(store).run("save", "kept:1")))
        assert {name: about[2] for name, about in found.items()} == {
            ".wh.f1": (0, 0),
            "op": (0, 0),
            "op/.wh..wh..opq": (0, 0),
            "var": (1000, 100),
            "var/data": (1000, 100),
            "var/new": (0, 0),
        }
