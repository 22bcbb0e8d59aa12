"""Options of new containers: config.json is docker's, key by key, and runc and crun keep them."""

import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ocitool.containers.cgroups import find_cgroups
from tests.interop.peers import Docker, Ocitool, attempt, run

pytestmark = pytest.mark.interop

_SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <unistd.h>
static void end(int number) { _exit(number == SIGTERM ? 3 : 4); }
int main(int count, char **words) {
    char place[100] = "", name[100] = "";
    if (count > 1 && !strcmp(words[1], "eat")) {
        for (int i = 0; i < 200; i++) memset(malloc(1 << 20), 1, 1 << 20);
        puts("ate 200 MiB");
        return 0;
    }
    if (count > 1 && !strcmp(words[1], "wait")) for (;;) pause();
    if (count > 1 && !strcmp(words[1], "look")) {
        FILE *file = fopen("/etc/hosts", "r");
        if (!file || !fgets(place, sizeof place, file)) return 9;
        printf("%s", place);
        gethostname(name, sizeof name);
        printf("%s %s %s\n", getcwd(place, sizeof place), name, getenv("A"));
        printf("root %s\n", fopen("/new", "w") ? "writable" : "read-only");
        printf("volume %s\n", fopen("/v/new", "w") ? "writable" : "read-only");
        printf("bind %s\n", fopen("/x/new", "w") ? "writable" : "read-only");
        printf("chroot %s\n", chroot("/etc") ? "denied" : "allowed");
        return 7;
    }
    FILE *file = fopen("/count", "a+");
    if (!file || fputs("x", file) < 0) return 9;
    printf("start %ld\n", ftell(file));
    fclose(file);
    fprintf(stderr, "to stderr\n");
    fflush(stdout);
    signal(SIGTERM, end);
    for (;;) pause();
}
"""
# docker 20.10 of Debian does not know the newest three capabilities.
_NEWER = {"CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE"}
CASES = (
    "",
    "--memory 64m",
    "--memory 64m --memory-swap -1 --memory-reservation 32m --pids-limit 100",
    "--memory 64m --memory-swap 80m --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0",
    "--ulimit nofile=100:200 --ulimit nproc=50 --ulimit core=-1 --oom-score-adj 5",
    "-v HERE:/x -v HERE:/y:ro --mount type=bind,source=HERE,target=/z,readonly",
    "--mount type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770 --tmpfs /u:size=2m,exec",
    "--read-only -v HERE:/x --tmpfs /v -v /etc/hostname:/etc/hosts --shm-size 1m",
    "-v HERE:/dev/shm --tmpfs /run/a/b -v HERE:/run",
    "-u app -e A=b -e PATH=/bin -w /new/dir -t --hostname foo.example.com -e HOSTNAME=z",
    "-u 1000:web --cap-add ALL --cap-drop MKNOD",
    "-u app:mail --cap-add NET_ADMIN --cap-drop CHOWN --sysctl net.ipv4.ip_forward=1",
    "-u 0:33 --cap-drop ALL --cap-add SYS_ADMIN --security-opt seccomp=unconfined",
    "-u 77 --cap-add SYS_PTRACE --cap-add sys_time --cap-drop AUDIT_WRITE",
    "--dns 9.9.9.9 --dns-search a.example --add-host db:10.0.0.7",
    "--network host",
)


@pytest.fixture(scope="session")
def rooted(require: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files of the image."""
    require("gcc")
    place = tmp_path_factory.mktemp("created")
    (place / "app.c").write_text(_SOURCE)
    for name in ("bin", "etc"):
        (place / "root" / name).mkdir(parents=True)
    run(["gcc", "-static", "-O1", "-o", str(place / "root/bin/app"), str(place / "app.c")])
    (place / "root/etc/passwd").write_text("root:x:0:0::/:/sh\napp:x:1000:100::/:/sh\n")
    (place / "root/etc/group").write_text("root:x:0:\nweb:x:33:app,other\nmail:x:8:app\n")
    return place / "root"


@pytest.fixture
def image(docker: Docker, ocitool: Ocitool, rooted: Path) -> Iterator[str]:
    """Return the name of an image that docker and our store have."""
    name = "created:1"
    docker.build(rooted, 'FROM scratch\nCOPY bin /bin\nCOPY etc /etc\nCMD ["/bin/app"]\n', name)
    ocitool.run("load", "-q", data=docker.run("save", name))
    yield name
    docker.remove(name)


def comparable(config: dict[str, Any], identity: str) -> dict[str, Any]:
    """Return what has to be equal, by key: without paths of the engine, and lists in an order."""
    text = json.dumps(config).replace(identity, "ID").replace(identity[:12], "ID")
    found: dict[str, Any] = json.loads(text)
    linux, process = found["linux"], found["process"]
    # docker's hook, a number that the runtime prints, and names that are each engine's own.
    for where, key in ((found, "hooks"), (found, "annotations"), (linux, "cgroupsPath")):
        where.pop(key, None)
    found["ociVersion"] = found["ociVersion"].removesuffix("-dev")
    found["root"] = found["root"].get("readonly", False)
    found["mounts"] = {
        mount["destination"]: {
            **mount,
            "source": re.sub(r".*/(hosts|hostname|resolv\.conf)$", r"\1", mount["source"]),
            "options": sorted(mount.get("options", ())),
        }
        for mount in found["mounts"]
        if mount["destination"] != "/"
    }
    linux["namespaces"] = {one["type"] for one in linux["namespaces"]}
    process["env"] = dict(line.split("=", 1) for line in process["env"])
    process["terminal"] = process.get("terminal", False)
    process["capabilities"] = {
        key: set(names) - _NEWER for key, names in process["capabilities"].items()
    }
    process["rlimits"] = sorted(sorted(one.items()) for one in process.get("rlimits", ()))
    return found


@pytest.mark.parametrize("case", CASES)
def test_c1_to_c5_config_json_is_dockers_key_by_key(
    docker: Docker, ocitool: Ocitool, image: str, tmp_path: Path, case: str
) -> None:
    options = shlex.split(case.replace("HERE", str(tmp_path)))
    network = () if "--network" in options else ("--network", "none")
    words = ("/bin/app", "wait")
    theirs = comparable(*reversed(docker.runtime_config(*network, *options, image, *words)))
    made = json.loads(ocitool.run("container", "create", "--json", *options, image, *words))
    config = json.loads(Path(made["bundle"], "config.json").read_bytes())
    ours = comparable(config, made["id"])
    # What differs on purpose: nothing gains privileges here, and host means no namespace at all.
    assert ours["process"].pop("noNewPrivileges") is True
    theirs["process"].pop("noNewPrivileges", None)
    if not network:
        theirs["linux"]["namespaces"].discard("network")
    assert ours == theirs


@pytest.fixture
def runc(require: Callable[..., None], tmp_path: Path) -> list[str]:
    require("runc")
    return ["runc", "--root", str(tmp_path / "runc"), "run", "--bundle"]


def test_c2_a_container_that_takes_more_memory_than_its_limit_is_killed(
    ocitool: Ocitool, image: str, runc: list[str]
) -> None:
    if "memory" not in find_cgroups(rootless=False).controllers:
        pytest.skip("this machine has no control groups for memory")
    words = ("container", "create", "--memory")
    small = ocitool.run(*words, "64m", image, "/bin/app", "eat").decode().strip()
    done = attempt([*runc, small, "small"])
    assert (done.returncode, done.stdout) == (137, b"")
    large = ocitool.run(*words, "512m", image, "/bin/app", "eat").decode().strip()
    assert run([*runc, large, "large"]) == b"ate 200 MiB\n"


EXPECTED = [
    *("127.0.0.1\tlocalhost", "/new/dir web b", "root read-only"),
    *("volume writable", "bind writable"),
]
LOOK = (
    *("--read-only", "-w", "/new/dir", "--hostname", "web", "-e", "A=b", "-v", "/v"),
    *("--entrypoint", "/bin/app"),
)


def test_c1_and_c5_runc_keeps_what_was_asked_for(
    ocitool: Ocitool, image: str, runc: list[str], tmp_path: Path
) -> None:
    here = ("-v", f"{tmp_path}:/x", image, "--", "look")
    for options, chroot in (((), "allowed"), (("--cap-drop", "SYS_CHROOT"), "denied")):
        bundle = ocitool.run("container", "create", *LOOK, *options, *here).decode().strip()
        done = attempt([*runc, bundle, f"look-{chroot}"])
        assert done.stdout.decode().splitlines() == [*EXPECTED, f"chroot {chroot}"], done.stderr
        assert done.returncode == 7
        assert (tmp_path / "new").exists()
        # The folder that was missing belongs to root and may be entered.
        folder = Path(bundle, "upper/new/dir").stat()
        assert (folder.st_mode & 0o7777, folder.st_uid) == (0o755, 0)


def test_c1_crun_keeps_it_as_well_where_its_cgroups_allow(
    require: Callable[..., None], ocitool: Ocitool, image: str, tmp_path: Path
) -> None:
    require("crun", "unshare")
    here = ("-v", f"{tmp_path}:/x", "--copy", "--name", "look", image, "--", "look")
    bundle = Path(ocitool.run("container", "create", *LOOK, *here).decode().strip())
    # Rules for devices need rights that a virtual machine in a cloud may lack.
    config = json.loads((bundle / "config.json").read_bytes())
    del config["linux"]["resources"]
    config["mounts"] = [mount for mount in config["mounts"] if mount["type"] != "cgroup"]
    (bundle / "config.json").write_text(json.dumps(config))
    script = 'mount -t cgroup2 none /sys/fs/cgroup && exec "$0" "$@"'
    start = ocitool.command("container", "start", "look", "--runtime", "crun")
    done = attempt(["unshare", "-m", "sh", "-c", script, *start])
    assert done.stdout.decode().splitlines()[:5] == EXPECTED, done.stderr
    assert done.returncode == 7
    assert json.loads(ocitool.run("container", "ls", "--json"))[0]["exit_code"] == 7


class TestC6:
    """The whole life of a container, with runc."""

    @pytest.fixture
    def web(
        self, require: Callable[..., None], ocitool: Ocitool, image: str
    ) -> Iterator[Callable[..., str]]:
        """Return what runs a command on a container that is called web."""
        require("runc")
        ocitool.run("container", "create", "--name", "web", image)

        def run(verb: str, *options: str) -> str:
            return ocitool.run("container", verb, *options, "web").decode()

        yield run
        ocitool.attempt("container", "rm", "-f", "web")

    def state(self, ocitool: Ocitool) -> dict[str, Any]:
        (listed,) = json.loads(ocitool.run("container", "ls", "--json"))
        found: dict[str, Any] = listed
        return found

    def test_it_is_started_stopped_and_started_again_with_what_it_wrote(
        self, ocitool: Ocitool, web: Callable[..., str]
    ) -> None:
        assert web("start", "-d") == "web\n"
        running = self.state(ocitool)
        assert running["state"] == "running"
        assert "NSpid" in Path(f"/proc/{running['pid']}/status").read_text()
        self.until(lambda: web("logs") == "start 1\n")
        assert ocitool.attempt("container", "logs", "web").stderr == b"to stderr\n"
        assert ocitool.attempt("container", "rm", "web").returncode == 6
        assert web("stop") == "web\n"
        assert web("wait") == "3\n"
        ended = self.state(ocitool)
        assert (ended["state"], ended["exit_code"], ended["pid"]) == ("exited", 3, None)
        # Its image lost its name, and gc keeps it.
        ocitool.run("untag", "created:1")
        ocitool.run("gc", "-a", "-f", "--containers", "store")
        web("start", "-d")
        self.until(lambda: web("logs") == "start 1\nstart 2\n")
        web("rm", "-f")
        assert ocitool.run("container", "ls", "-q") == b""

    def test_in_front_a_signal_and_the_exit_code_are_passed_on(
        self, ocitool: Ocitool, web: Callable[..., str]
    ) -> None:
        with subprocess.Popen(
            ocitool.command("container", "start", "web"), stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "start 1\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 3
        assert web("wait") == "3\n"

    @pytest.mark.parametrize("victim", ["ocitool", "shell", "runc"])
    def test_whatever_is_killed_the_container_is_known_and_can_be_stopped(
        self, ocitool: Ocitool, web: Callable[..., str], victim: str
    ) -> None:
        if victim == "ocitool":
            words = ocitool.command("container", "start", "web")
            with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == "start 1\n"
                process.kill()
        else:
            web("start", "-d")
            parent = self.parent(self.state(ocitool)["pid"])
            os.kill(parent if victim == "runc" else self.parent(parent), signal.SIGKILL)
        assert self.state(ocitool)["state"] == "running"
        assert ocitool.attempt("container", "start", "-d", "web").returncode == 6
        web("stop")
        assert self.state(ocitool)["state"] == "exited"
        # What the runtime still knows of it does not hinder the next start.
        web("start", "-d")
        web("stop")
        assert web("wait") == "3\n"

    def parent(self, pid: int) -> int:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

    def until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < end
            time.sleep(0.05)
