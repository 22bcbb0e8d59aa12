"""What docker's words for a new container become in config.json and the files of the bundle.

The expected values were read from containers of docker 20.10; `tests/interop` compares whole files.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ocitool.containers.binds import check_mounts
from ocitool.containers.cgroups import Cgroups, find_cgroups, keep_limits
from ocitool.containers.checking import check_options
from ocitool.containers.config.files import without_loopback
from ocitool.containers.config.seccomp import default_profile, seccomp_filter
from ocitool.containers.config.security import capabilities
from ocitool.containers.options import (
    Bind,
    CreateOptions,
    LifeOptions,
    MountOptions,
    NetworkOptions,
    ProcessOptions,
    ResourceLimits,
    SecurityOptions,
    Tmpfs,
    Ulimit,
)
from ocitool.containers.signals import signal_number
from ocitool.errors import NotFound, OcitoolError, Refused, UsageError
from tests.containers.making import app, create, runtime_config
from tests.support.layouts import store

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a rootless container differs")


def made(
    tmp_path: Path, config: Mapping[str, Any] | None = None, **options: Any
) -> tuple[dict[str, Any], Path]:
    """Make a container; return its config.json and its bundle."""
    with store(tmp_path / "s", app=app(config)) as layout:
        container = create(layout, alone=True, **options).container
    return runtime_config(container), Path(container.bundle)


def mounts_at(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {mount["destination"]: mount for mount in config["mounts"]}


class TestC1Process:
    def test_the_environment_is_dockers(self, tmp_path: Path) -> None:
        image = {"Env": ["A=image", "GONE=1", "PATH=/bin"]}
        env = {"A": "own", "GONE": None, "NEW": "a b=c"}
        options = ProcessOptions(env=env, terminal=True)
        config, bundle = made(tmp_path, image, process=options)
        name = bundle.name[:12]
        wanted = ["PATH=/bin", f"HOSTNAME={name}", "TERM=xterm", "A=own", "NEW=a b=c"]
        assert config["process"]["env"] == wanted
        assert config["process"]["terminal"] is True

    @pytest.mark.parametrize(
        ("entrypoint", "command", "expected"),
        [
            (None, (), ["/e", "c"]),
            (None, ("x",), ["/e", "x"]),
            (("/own",), (), ["/own"]),
            (("/own",), ("x",), ["/own", "x"]),
            ((), ("x", "y"), ["x", "y"]),
        ],
    )
    def test_an_entry_point_drops_the_command_of_the_image(
        self,
        tmp_path: Path,
        entrypoint: tuple[str, ...] | None,
        command: tuple[str, ...],
        expected: list[str],
    ) -> None:
        process = ProcessOptions(entrypoint=entrypoint)
        image = {"Entrypoint": ["/e"], "Cmd": ["c"]}
        config, _ = made(tmp_path, image, process=process, command=command)
        assert config["process"]["args"] == expected

    def test_nothing_to_run_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="leaves nothing to run"):
            made(tmp_path, process=ProcessOptions(entrypoint=()))

    @needs_root
    def test_the_user_is_looked_up_in_the_image(self, tmp_path: Path) -> None:
        config, _ = made(tmp_path, {"User": "root"}, process=ProcessOptions(user="app"))
        user = config["process"]["user"]
        assert user == {"uid": 1000, "gid": 100, "additionalGids": [100, 33, 8]}
        # Only root has capabilities from the start; the others may gain them.
        assert set(config["process"]["capabilities"]) == {"bounding"}

    def test_a_user_that_the_image_has_not_is_told_with_the_option(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="'nobody' of -u is not in the image's /etc/passwd"):
            made(tmp_path, process=ProcessOptions(user="nobody"))

    def test_a_working_folder_may_be_missing_and_is_never_a_file(self, tmp_path: Path) -> None:
        config, _ = made(tmp_path, process=ProcessOptions(workdir="/new/dir"))
        assert config["process"]["cwd"] == "/new/dir"
        with (
            store(tmp_path / "t", app=app()) as layout,
            pytest.raises(UsageError, match="that is a file in the image"),
        ):
            create(layout, process=ProcessOptions(workdir="/etc/passwd"))

    def test_labels_and_annotations_are_annotations(self, tmp_path: Path) -> None:
        image = {"Labels": {"a": "image", "b": "image"}}
        config, _ = made(tmp_path, image, labels={"a": "own"}, annotations={"c": "d"})
        found = config["annotations"]
        assert (found["a"], found["b"], found["c"]) == ("own", "image", "d")


class TestC1Mounts:
    def test_binds_and_tmpfs_are_dockers(self, tmp_path: Path) -> None:
        source = str(tmp_path)
        mounts = MountOptions(
            binds=(
                Bind(source=source, target="/x/deep"),
                Bind(source=source, target="/y", read_only=True, recursive=False),
            ),
            tmpfs=(Tmpfs(target="/x", options=("size=2m", "exec")), Tmpfs(target="/v")),
        )
        config, _ = made(tmp_path, mounts=mounts)
        found = mounts_at(config)
        rootless = os.geteuid() != 0
        assert found["/x/deep"]["source"] == source
        assert found["/x/deep"]["options"][:2] == ["rbind", "rprivate"]
        assert found["/y"]["options"][:3] == ["bind", "ro", "rprivate"]
        assert rootless or len(found["/y"]["options"]) == 3
        assert found["/x"]["options"] == ["nosuid", "nodev", "rprivate", "size=2m", "exec"]
        assert found["/v"]["options"] == ["noexec", "nosuid", "nodev", "rprivate"]
        # What lies below is mounted later, so that nothing hides it.
        order = list(found)
        assert order.index("/x") < order.index("/x/deep")

    def test_a_volume_in_memory_and_one_of_the_image_at_a_path_that_is_bound(
        self, tmp_path: Path
    ) -> None:
        mounts = MountOptions(
            volumes=("/anonymous",), binds=(Bind(source=str(tmp_path), target="/data"),)
        )
        config, _ = made(tmp_path, {"Volumes": {"/data": {}, "/more": {}}}, mounts=mounts)
        found = mounts_at(config)
        assert found["/data"]["type"] == "bind"
        for path in ("/anonymous", "/more"):
            assert "tmpcopyup" in found[path]["options"]

    def test_what_is_asked_for_takes_the_place_of_a_usual_mount(self, tmp_path: Path) -> None:
        binds = (
            Bind(source=str(tmp_path), target="/dev/shm"),
            Bind(source="/etc/hostname", target="/etc/hosts"),
        )
        config, _ = made(tmp_path, mounts=MountOptions(binds=binds, read_only=True))
        paths = [mount["destination"] for mount in config["mounts"]]
        assert sorted(paths) == sorted(set(paths))
        found = mounts_at(config)
        assert found["/dev/shm"]["source"] == str(tmp_path)
        assert "ro" not in found["/etc/hosts"]["options"]

    def test_a_read_only_root_leaves_what_is_mounted_writable(self, tmp_path: Path) -> None:
        mounts = MountOptions(read_only=True, volumes=("/v",), tmpfs=(Tmpfs(target="/t"),))
        config, _ = made(tmp_path, mounts=mounts)
        assert config["root"]["readonly"] is True
        found = mounts_at(config)
        for path in ("/v", "/t", "/dev/shm", "/proc"):
            assert "ro" not in found[path].get("options", ())
        assert found["/etc/hosts"]["options"] == ["rbind", "ro", "rprivate"]

    def test_a_source_is_there_or_is_made(self, tmp_path: Path) -> None:
        bind = Bind(source=str(tmp_path / "new/deep"), target="/x")
        with pytest.raises(NotFound, match="does not exist"):
            made(tmp_path, mounts=MountOptions(binds=(bind,)))
        with store(tmp_path / "t", app=app()) as layout:
            asked = Bind(source=bind.source, target="/x", make=True)
            create(layout, mounts=MountOptions(binds=(asked,)))
        assert (tmp_path / "new/deep").is_dir()

    @pytest.mark.parametrize(
        ("mounts", "error", "text"),
        [
            (MountOptions(tmpfs=(Tmpfs(target="x"),)), UsageError, "not an absolute path in the"),
            (MountOptions(tmpfs=(Tmpfs(target="/"),)), UsageError, "nothing can be mounted at '/'"),
            (MountOptions(tmpfs=(Tmpfs(target="/a/../b"),)), UsageError, "not a plain path"),
            (MountOptions(tmpfs=(Tmpfs(target="/proc/x"),)), UsageError, "runtimes refuse it"),
            (MountOptions(volumes=("/a", "/a")), UsageError, "is mounted 2 times"),
            (MountOptions(shm_size=0), UsageError, "--shm-size is 0"),
            (
                MountOptions(binds=(Bind(source="rel/x", target="/x"),)),
                UsageError,
                "not an absolute path of the host",
            ),
            (
                MountOptions(binds=(Bind(source="/proc", target="/x", propagation="shared"),)),
                Refused,
                "which is not shared",
            ),
        ],
    )
    def test_what_cannot_be_mounted_is_told_with_what_to_do(
        self, mounts: MountOptions, error: type[OcitoolError], text: str
    ) -> None:
        if mounts.binds and mounts.binds[0].propagation == "shared" and _is_shared("/proc"):
            pytest.skip("this machine shares /proc")
        with pytest.raises(error, match=text) as caught:
            check_mounts(mounts)
        assert caught.value.hint


def _is_shared(point: str) -> bool:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return any(line.split()[4] == point and "shared:" in line for line in lines)


class TestC2Limits:
    @needs_root
    def test_all_of_them_are_dockers(self, tmp_path: Path) -> None:
        limits = ResourceLimits(
            memory=64 << 20,
            memory_reservation=32 << 20,
            cpus=1_500_000_000 if (os.cpu_count() or 1) > 1 else 900_000_000,
            cpu_shares=512,
            cpuset_cpus="0",
            pids=100,
            oom_score_adj=5,
            ulimits=(
                Ulimit(name="nofile", soft=100, hard=200),
                Ulimit(name="core", soft=-1, hard=-1),
            ),
            best_effort=True,
        )
        kept = keep_limits(limits, find_cgroups(rootless=False), rootless=False)
        if kept.remarks:
            pytest.skip(f"this machine cannot keep all limits: {kept.remarks}")
        config, bundle = made(tmp_path, limits=limits)
        resources = config["linux"]["resources"]
        assert resources["memory"] == {
            "limit": 67108864,
            "swap": 134217728,
            "reservation": 33554432,
            "disableOOMKiller": False,
        }
        quota = 150000 if (os.cpu_count() or 1) > 1 else 90000
        assert resources["cpu"] == {"shares": 512, "quota": quota, "period": 100000, "cpus": "0"}
        assert resources["pids"] == {"limit": 100}
        process = config["process"]
        assert process["oomScoreAdj"] == 5
        assert process["rlimits"] == [
            {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
            {"type": "RLIMIT_CORE", "soft": 2**64 - 1, "hard": 2**64 - 1},
        ]
        assert config["linux"]["cgroupsPath"] == f"/ocitool/{bundle.name}"

    @pytest.mark.parametrize(
        ("limits", "text"),
        [
            (ResourceLimits(memory=(6 << 20) - 1), "--memory 6291455 is too little"),
            (ResourceLimits(memory_reservation=1), "--memory-reservation 1 is too little"),
            (ResourceLimits(memory_swap=1 << 30), "--memory-swap needs --memory"),
            (ResourceLimits(memory=8 << 20, memory_swap=7 << 20), "is less than --memory"),
            (
                ResourceLimits(memory=8 << 20, memory_reservation=9 << 20),
                "--memory-reservation is more than --memory",
            ),
            (ResourceLimits(cpus=9_999_000_000_000), "--cpus 9999 is out of range"),
            (ResourceLimits(cpus=1), "--cpus 1e-09 is out of range"),
            (ResourceLimits(cpu_shares=-1), "--cpu-shares -1 is negative"),
            (ResourceLimits(cpuset_cpus="9999"), "there is no CPU 9999"),
            (ResourceLimits(cpuset_cpus="2-1"), "is not a list of CPUs"),
            (ResourceLimits(oom_score_adj=1001), "out of range"),
            (
                ResourceLimits(ulimits=(Ulimit(name="x", soft=1, hard=1),)),
                "--ulimit 'x' is not a limit",
            ),
            (
                ResourceLimits(ulimits=(Ulimit(name="nofile", soft=-1, hard=5),)),
                "the soft limit is above the hard one",
            ),
        ],
    )
    def test_numbers_that_docker_refuses_are_refused(
        self, limits: ResourceLimits, text: str
    ) -> None:
        with pytest.raises(UsageError, match=text) as caught:
            check_options(CreateOptions(limits=limits), rootless=False)
        assert caught.value.hint

    def test_without_a_control_group_they_are_refused_or_left_out(self) -> None:
        limits = ResourceLimits(memory=64 << 20, memory_swap=-1, pids=5, cpus=10**9)
        cgroups = Cgroups(controllers=frozenset({"cpu"}), parent="/x")
        with pytest.raises(Refused, match="--memory and --pids-limit cannot be kept") as caught:
            keep_limits(limits, cgroups, rootless=True)
        assert "--best-effort-limits" in (caught.value.hint or "")
        wanted = ResourceLimits(memory=64 << 20, pids=5, cpus=10**9, best_effort=True)
        kept = keep_limits(wanted, cgroups, rootless=True)
        assert kept.limits == ResourceLimits(cpus=10**9, best_effort=True)
        assert [remark.split()[0] for remark in kept.remarks] == ["--memory", "--pids-limit"]

    def test_where_swap_is_not_counted_it_is_not_limited(self) -> None:
        cgroups = Cgroups(controllers=frozenset({"memory"}), parent="/x", swap=False)
        kept = keep_limits(ResourceLimits(memory=64 << 20), cgroups, rootless=False)
        assert kept.limits.memory_swap == -1
        assert kept.remarks == ("swap is not limited: the kernel does not count it",)

    def test_the_tree_of_version_2_is_found(self, tmp_path: Path) -> None:
        (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
        (tmp_path / "init").mkdir()
        (tmp_path / "init/memory.swap.max").touch()
        found = find_cgroups(rootless=False, root=str(tmp_path))
        assert found.controllers == {"cpu", "memory", "pids"}
        assert (found.parent, found.swap, found.unified) == ("/ocitool", True, True)

    def test_the_trees_of_version_1_are_found(self, tmp_path: Path) -> None:
        (tmp_path / "memory").mkdir()
        (tmp_path / "cpu,cpuacct").mkdir()
        found = find_cgroups(rootless=False, root=str(tmp_path))
        assert found.controllers == {"cpu", "cpuacct", "memory"}
        assert (found.swap, found.unified) == (False, False)
        assert find_cgroups(rootless=True, root=str(tmp_path)) == Cgroups()

    def test_a_delegated_group_is_found_above_this_process(self, tmp_path: Path) -> None:
        own = tmp_path / "own"
        own.write_text("0::/user.slice/user@1.service/app.slice/x.scope\n")
        (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
        for place in ("user.slice/user@1.service", "user.slice/user@1.service/app.slice/x.scope"):
            (tmp_path / place).mkdir(parents=True, exist_ok=True)
            for name in ("cgroup.procs", "cgroup.subtree_control"):
                (tmp_path / place / name).touch()
            (tmp_path / place / "cgroup.controllers").write_text("memory pids\n")
        found = find_cgroups(rootless=True, root=str(tmp_path), own=str(own))
        assert found.parent == "/user.slice/user@1.service/ocitool"
        assert found.controllers == {"memory", "pids"}
        own.write_text("0::/elsewhere\n")
        nothing = find_cgroups(rootless=True, root=str(tmp_path), own=str(own))
        assert nothing == Cgroups(unified=True)


class TestC3Network:
    def test_none_is_a_network_of_its_own(self, tmp_path: Path) -> None:
        config, _ = made(tmp_path)
        assert {"type": "network"} in config["linux"]["namespaces"]
        assert config["linux"]["sysctl"]["net.ipv4.ip_unprivileged_port_start"] == "0"

    def test_host_is_that_of_the_machine(self, tmp_path: Path) -> None:
        config, bundle = made(tmp_path, network=NetworkOptions(mode="host"))
        assert {"type": "network"} not in config["linux"]["namespaces"]
        assert "sysctl" not in config["linux"]
        assert config["hostname"] == os.uname().nodename
        hosts = Path("/etc/hosts").read_bytes() if Path("/etc/hosts").exists() else b""
        assert (bundle / "hosts").read_bytes().rstrip(b"\n") == hosts.rstrip(b"\n")

    @pytest.mark.parametrize(
        ("network", "text"),
        [
            (NetworkOptions(mode="bridge"), "bridges need a daemon"),
            (NetworkOptions(mode="container:x"), "bridges need a daemon"),
            (NetworkOptions(hostname="-x"), "is not a host name"),
            (NetworkOptions(hostname="a b"), "is not a host name"),
            (NetworkOptions(hostname="a" * 65), "is not a host name"),
            (NetworkOptions(sysctls={"kernel.foo": "1"}), "not a parameter of a container's own"),
            (NetworkOptions(sysctls={"net.x/../y": "1"}), "not a parameter of a container's own"),
            (NetworkOptions(mode="host", sysctls={"net.core.x": "1"}), "would change the host"),
        ],
    )
    def test_what_is_not_possible_is_told(self, network: NetworkOptions, text: str) -> None:
        with pytest.raises(UsageError, match=text) as caught:
            check_options(CreateOptions(network=network), rootless=False)
        assert caught.value.hint


class TestC4Files:
    def test_the_three_files_are_dockers(self, tmp_path: Path) -> None:
        network = NetworkOptions(
            hostname="web.example",
            add_hosts=(("db", "10.0.0.7"),),
            dns=("9.9.9.9",),
            dns_search=("site.example",),
            dns_options=("ndots:1",),
        )
        config, bundle = made(tmp_path, network=network)
        assert config["hostname"] == "web.example"
        assert "HOSTNAME=web.example" in config["process"]["env"]
        assert (bundle / "hostname").read_text() == "web.example\n"
        assert (bundle / "hosts").read_text() == (
            "127.0.0.1\tlocalhost\n"
            "::1\tlocalhost ip6-localhost ip6-loopback\n"
            "fe00::0\tip6-localnet\n"
            "ff00::0\tip6-mcastprefix\n"
            "ff02::1\tip6-allnodes\n"
            "ff02::2\tip6-allrouters\n"
            "10.0.0.7\tdb\n"
        )
        assert (bundle / "resolv.conf").read_text() == (
            "search site.example\nnameserver 9.9.9.9\noptions ndots:1\n"
        )
        for name in ("hosts", "hostname", "resolv.conf"):
            assert (bundle / name).stat().st_mode & 0o7777 == 0o644
            mount = mounts_at(config)[f"/etc/{name}"]
            assert mount["source"] == str(bundle / name)
            assert mount["options"] == ["rbind", "rprivate"]

    def test_they_may_be_read_whatever_the_umask_is(self, tmp_path: Path) -> None:
        before = os.umask(0o077)
        try:
            _, bundle = made(tmp_path)
        finally:
            os.umask(before)
        assert (bundle / "hosts").stat().st_mode & 0o777 == 0o644

    def test_the_host_name_is_the_start_of_the_id(self, tmp_path: Path) -> None:
        config, bundle = made(tmp_path, name="web")
        assert config["hostname"] == bundle.name[:12]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("nameserver 10.0.0.1\nsearch a\n", "nameserver 10.0.0.1\nsearch a\n"),
            ("nameserver 127.0.0.1\nnameserver ::1\nnameserver 10.0.0.1", "nameserver 10.0.0.1\n"),
            ("nameserver fe80::1%eth0\n", "nameserver fe80::1%eth0\n"),
            ("nameserver 127.0.0.53\noptions edns0\n", "nameserver 10.9.9.9\n"),
            ("nameserver\n", "nameserver\n"),
            ("", ""),
        ],
    )
    def test_name_servers_that_only_the_host_reaches_are_left_out(
        self, text: str, expected: str
    ) -> None:
        assert without_loopback(text, "nameserver 10.9.9.9\n") == expected


class TestC5Security:
    def test_the_defaults_are_dockers_and_no_privileges_can_be_gained(self, tmp_path: Path) -> None:
        config, _ = made(tmp_path)
        process = config["process"]
        assert process["noNewPrivileges"] is True
        assert sorted(process["capabilities"]["bounding"]) == [
            "CAP_AUDIT_WRITE",
            "CAP_CHOWN",
            "CAP_DAC_OVERRIDE",
            "CAP_FOWNER",
            "CAP_FSETID",
            "CAP_KILL",
            "CAP_MKNOD",
            "CAP_NET_BIND_SERVICE",
            "CAP_NET_RAW",
            "CAP_SETFCAP",
            "CAP_SETGID",
            "CAP_SETPCAP",
            "CAP_SETUID",
            "CAP_SYS_CHROOT",
        ]
        linux = config["linux"]
        assert len(linux["maskedPaths"]) == 10
        assert len(linux["readonlyPaths"]) == 5
        assert linux["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"

    @pytest.mark.parametrize(
        ("add", "drop", "expected"),
        [
            (("net_admin",), (), "+NET_ADMIN"),
            (("CAP_NET_ADMIN", "CHOWN"), ("chown",), "+NET_ADMIN"),
            ((), ("MKNOD", "CAP_KILL"), "-MKNOD -KILL"),
            (("SYS_TIME", "KILL"), ("ALL",), "=KILL SYS_TIME"),
            ((), ("all",), "="),
        ],
    )
    def test_capabilities_are_added_and_dropped(
        self, add: tuple[str, ...], drop: tuple[str, ...], expected: str
    ) -> None:
        usual = set(capabilities(SecurityOptions()))
        if expected.startswith("="):
            wanted = {f"CAP_{name}" for name in expected[1:].split()}
        else:
            added = {f"CAP_{one[1:]}" for one in expected.split() if one[0] == "+"}
            wanted = usual - {f"CAP_{one[1:]}" for one in expected.split() if one[0] == "-"} | added
        assert set(capabilities(SecurityOptions(cap_add=add, cap_drop=drop))) == wanted

    def test_all_without_one(self) -> None:
        found = capabilities(SecurityOptions(cap_add=("ALL", "MKNOD"), cap_drop=("MKNOD",)))
        assert len(found) == 40
        assert "CAP_MKNOD" not in found
        with pytest.raises(UsageError, match="--cap-drop 'X' is not a capability"):
            capabilities(SecurityOptions(cap_drop=("X",)))

    def test_the_default_profile_names_its_source(self) -> None:
        source = json.loads(default_profile())["source"]
        assert source.startswith("github.com/docker/docker v20.10.24, profiles/seccomp/")

    @pytest.mark.parametrize(
        ("held", "architecture", "allowed", "denied"),
        [
            ((), "amd64", {"arch_prctl", "ptrace", "read"}, {"mount", "bpf", "reboot"}),
            (("CAP_SYS_ADMIN",), "amd64", {"mount", "bpf", "clone3"}, {"reboot"}),
            (("CAP_SYS_BOOT",), "amd64", {"reboot"}, {"mount"}),
            ((), "arm64", {"arm_sync_file_range"}, {"arch_prctl"}),
            ((), "s390x", {"s390_runtime_instr"}, {"arch_prctl", "arm_sync_file_range"}),
        ],
    )
    def test_rules_depend_on_capabilities_and_architecture(
        self, held: tuple[str, ...], architecture: str, allowed: set[str], denied: set[str]
    ) -> None:
        found = seccomp_filter(
            default_profile(), capabilities=held, architecture=architecture, kernel="6.1.0-x"
        )
        rules: Any = found["syscalls"]
        names = {
            name for rule in rules for name in rule["names"] if rule["action"] == "SCMP_ACT_ALLOW"
        }
        assert allowed <= names
        assert not denied & names

    def test_a_kernel_that_is_too_old_does_not_get_a_rule(self) -> None:
        for kernel, expected in (("4.7.9", False), ("4.8.0", True)):
            found = seccomp_filter(
                default_profile(), capabilities=(), architecture="amd64", kernel=kernel
            )
            rules: Any = found["syscalls"]
            assert any("ptrace" in rule["names"] for rule in rules) == expected
        assert found["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]

    def test_an_architecture_that_the_profile_does_not_know_has_only_itself(self) -> None:
        found = seccomp_filter(default_profile(), capabilities=(), architecture="riscv64")
        assert "architectures" not in found

    def test_a_kernel_that_is_no_release_is_told(self) -> None:
        rule = {"names": ["x"], "action": "B", "includes": {"minKernel": "new"}}
        profile = json.dumps({"defaultAction": "A", "syscalls": [rule]}).encode()
        with pytest.raises(UsageError, match="'new' is not a kernel release"):
            seccomp_filter(profile, capabilities=(), architecture="amd64")

    def test_a_profile_of_ones_own_and_none(self, tmp_path: Path) -> None:
        profile = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{"name": "chmod", "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": []}],
        }
        own = SecurityOptions(seccomp=json.dumps(profile).encode())
        config, _ = made(tmp_path, security=own)
        assert config["linux"]["seccomp"] == {
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
        }
        with store(tmp_path / "t", app=app()) as layout:
            free = SecurityOptions(unconfined=True, no_new_privileges=False)
            found = runtime_config(create(layout, security=free).container)
        assert "seccomp" not in found["linux"]
        assert found["process"]["noNewPrivileges"] is False

    @pytest.mark.parametrize(
        "profile",
        [
            b"",
            b"[]",
            b"{}",
            b'{"defaultAction": 1}',
            b'{"defaultAction": "A", "syscalls": {}}',
            b'{"defaultAction": "A", "syscalls": [1]}',
            b'{"defaultAction": "A", "syscalls": [{"names": ["x"]}]}',
            b'{"defaultAction": "A", "syscalls": [{"action": "B"}]}',
            b'{"defaultAction": "A", "architectures": ["a"], "archMap": [{"architecture": "b"}]}',
            b'{"defaultAction": "", "syscalls": []}',
        ],
    )
    def test_a_profile_that_cannot_be_read_is_told(self, profile: bytes) -> None:
        options = CreateOptions(security=SecurityOptions(seccomp=profile))
        with pytest.raises(UsageError, match="the seccomp profile cannot be read") as caught:
            check_options(options, rootless=False)
        assert caught.value.hint


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "text"),
        [
            (CreateOptions(process=ProcessOptions(env={"": "x"})), "-e '' is not a variable"),
            (CreateOptions(process=ProcessOptions(env={"a": "\0"})), "has a NUL in it"),
            (CreateOptions(process=ProcessOptions(env={"a=b": "c"})), "-e 'a=b' is not a variable"),
            (CreateOptions(process=ProcessOptions(env={"a": "\udcff"})), "is not UTF-8"),
            (CreateOptions(command=("/bin/\udcff",)), "is not UTF-8"),
            (CreateOptions(labels={"\udcff": "x"}), "is not UTF-8"),
            (
                CreateOptions(mounts=MountOptions(binds=(Bind(source="/\udcff", target="/x"),))),
                "is not UTF-8",
            ),
            (CreateOptions(process=ProcessOptions(workdir="x")), "-w 'x' is not an absolute path"),
            (
                CreateOptions(process=ProcessOptions(user="app")),
                "-u 'app' needs the rights of root",
            ),
            (CreateOptions(life=LifeOptions(stop_signal="SIGX")), "'SIGX' is not a signal"),
            (CreateOptions(life=LifeOptions(stop_timeout=-2)), "--stop-timeout -2 is negative"),
            (CreateOptions(labels={"": "x"}), "--label '' cannot be given"),
            (
                CreateOptions(annotations={"io.ocitool.container.id": "x"}),
                "--annotation 'io.ocitool.container.id' cannot be given",
            ),
        ],
    )
    def test_each_refusal_says_what_to_do(self, options: CreateOptions, text: str) -> None:
        with pytest.raises(UsageError, match=text) as caught:
            check_options(options, rootless=True)
        assert caught.value.hint

    def test_a_bundle_whose_path_cannot_be_written_down_is_told(self, tmp_path: Path) -> None:
        with store(tmp_path / "s", app=app()) as layout:
            with pytest.raises(UsageError, match="is not UTF-8"):
                create(layout, bundle=str(tmp_path / "\udcff"))
            create(layout, bundle=str(tmp_path / "ü,:"))
        assert sorted(os.listdir(tmp_path)) == ["s", "ü,:"]

    @pytest.mark.parametrize(
        ("text", "number"),
        [("TERM", 15), ("sigquit", 3), (" 9 ", 9), ("RTMIN+3", 37), ("SIGRTMAX-1", 63)],
    )
    def test_signals_are_named_as_docker_names_them(self, text: str, number: int) -> None:
        assert signal_number(text) == number

    @pytest.mark.parametrize(
        "text", ["", "0", "65", "FOO", "SIG", "RTMIN+99", "-9", "1e1", "BLOCK"]
    )
    def test_other_words_are_no_signals(self, text: str) -> None:
        with pytest.raises(UsageError):
            signal_number(text)
