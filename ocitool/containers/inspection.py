"""What is known of a container, as values with docker's names (`docker container inspect`).

`msgspec.to_builtins` makes the document of them. Fields of docker that mean nothing without a
daemon are absent.
"""

from collections.abc import Mapping

from msgspec import Struct, field

NEVER = "0001-01-01T00:00:00Z"
"""What docker writes for a time that has not come."""
Empty = dict[str, str]


class RunState(Struct, frozen=True, kw_only=True, rename="pascal"):
    """Whether the container runs, and how it ended. `pid` is 0 unless it runs."""

    status: str
    running: bool
    paused: bool = False
    pid: int = 0
    exit_code: int = 0
    started_at: str = NEVER
    finished_at: str = NEVER


class MountPoint(Struct, frozen=True, kw_only=True, rename="pascal"):
    """A mount besides those of every container: `type` is bind or tmpfs."""

    type: str
    source: str
    destination: str
    mode: str = ""
    rw: bool = field(default=True, name="RW")
    propagation: str = ""


class ContainerConfig(Struct, frozen=True, kw_only=True, rename="pascal"):
    """What is run, and as whom. `cmd` and `entrypoint` are None if there is none."""

    hostname: str
    user: str
    tty: bool
    open_stdin: bool
    env: tuple[str, ...]
    cmd: tuple[str, ...] | None
    image: str
    working_dir: str
    entrypoint: tuple[str, ...] | None
    labels: Mapping[str, str]
    exposed_ports: Mapping[str, Empty] = field(default_factory=dict)
    volumes: Mapping[str, Empty] = field(default_factory=dict)
    stop_signal: str = ""
    stop_timeout: int | None = None


class Limit(Struct, frozen=True, kw_only=True, rename="pascal"):
    """A limit of getrlimit(2) such as nofile."""

    name: str
    soft: int
    hard: int


class HostConfig(Struct, frozen=True, kw_only=True, rename="pascal"):
    """Limits and security. Bytes, 0 for no limit; `memory_swap` is memory and swap together.

    `nano_cpus` are billionths of a CPU. `cap_add` and `cap_drop` differ from docker's 14.
    """

    network_mode: str
    readonly_rootfs: bool
    auto_remove: bool
    binds: tuple[str, ...]
    cap_add: tuple[str, ...]
    cap_drop: tuple[str, ...]
    security_opt: tuple[str, ...]
    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpuset_cpus: str = ""
    pids_limit: int | None = None
    oom_score_adj: int = 0
    ulimits: tuple[Limit, ...] = ()
    cgroup_path: str = ""
    privileged: bool = False
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()


class GraphDriver(Struct, frozen=True, kw_only=True, rename="pascal"):
    """Where the files are: "overlay2" with its folders, or "copy" with the only one."""

    name: str
    data: Mapping[str, str]


class Inspection(Struct, frozen=True, kw_only=True, rename="pascal"):
    """All that is known of a container.

    `image` is the image ID, `image_digest` what the name of the image meant when the container was
    made. `size_rw` are the bytes of the writable layer, `size_root_fs` those with the image's
    files; None unless they were asked for.
    """

    id: str
    created: str
    path: str
    args: tuple[str, ...]
    state: RunState
    image: str
    image_digest: str
    name: str
    bundle: str
    resolv_conf_path: str
    hostname_path: str
    hosts_path: str
    driver: str
    platform: str
    mounts: tuple[MountPoint, ...]
    config: ContainerConfig
    host_config: HostConfig
    graph_driver: GraphDriver
    size_rw: int | None = None
    size_root_fs: int | None = None
