"""What may be asked of a new container, as values; the words are docker's.

Nothing here is checked: `checking` and the modules of `config` refuse what cannot be done.
"""

from collections.abc import Mapping

from msgspec import Struct, field

from ocitool.oci import Platform

NONE, HOST = "none", "host"
"""The kinds of network: a namespace of its own with nothing but lo, or that of the host."""


class Bind(Struct, frozen=True, kw_only=True):
    """A file or folder of the host at a path of the container; both paths are absolute.

    `propagation` is a word of mount(8) such as rprivate. Without `recursive` mounts below `source`
    stay out. With `make` a missing `source` becomes a folder.
    """

    source: str
    target: str
    read_only: bool = False
    propagation: str = "rprivate"
    recursive: bool = True
    make: bool = False


class Tmpfs(Struct, frozen=True, kw_only=True):
    """A file system in memory at an absolute path; `options` as for mount(8), such as size=1m."""

    target: str
    options: tuple[str, ...] = ()


class MountOptions(Struct, frozen=True, kw_only=True):
    """What is mounted besides the image. `volumes` are paths like the VOLUME of an image."""

    binds: tuple[Bind, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    volumes: tuple[str, ...] = ()
    read_only: bool = False
    shm_size: int = 64 << 20

    @property
    def targets(self) -> list[str]:
        """The paths in the container at which something was asked for."""
        return [bind.target for bind in self.binds] + [one.target for one in self.tmpfs]


class ProcessOptions(Struct, frozen=True, kw_only=True):
    """How the process differs from what the image says.

    `env` maps names to values; None removes a variable of the image. `user` is NAME|UID[:GROUP].
    `entrypoint` replaces the image's entry point and drops its command; the empty one drops both.
    """

    env: Mapping[str, str | None] = field(default_factory=dict)
    user: str | None = None
    workdir: str | None = None
    entrypoint: tuple[str, ...] | None = None
    terminal: bool = False


class Ulimit(Struct, frozen=True, kw_only=True):
    """A limit of getrlimit(2) such as nofile; -1 is unlimited."""

    name: str
    soft: int
    hard: int


class ResourceLimits(Struct, frozen=True, kw_only=True):
    """What the container may use. Sizes are bytes, `cpus` are billionths of a CPU, 0 is no limit.

    `memory_swap` is memory and swap together, -1 without limit; None is twice `memory`. With
    `best_effort` limits that this machine cannot keep are left out.
    """

    memory: int = 0
    memory_swap: int | None = None
    memory_reservation: int = 0
    oom_score_adj: int | None = None
    cpus: int = 0
    cpu_shares: int = 0
    cpuset_cpus: str = ""
    pids: int = 0
    ulimits: tuple[Ulimit, ...] = ()
    best_effort: bool = False


class NetworkOptions(Struct, frozen=True, kw_only=True):
    """The network, and what /etc/hostname, /etc/hosts and /etc/resolv.conf say.

    `add_hosts` are pairs of name and address. Without `dns`, `dns_search` and `dns_options` the
    host's file counts. `sysctls` are names and values of namespaced kernel parameters.
    """

    mode: str = NONE
    hostname: str | None = None
    add_hosts: tuple[tuple[str, str], ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)


class SecurityOptions(Struct, frozen=True, kw_only=True):
    """Capabilities (with or without CAP_, or ALL), and what the process may call and become.

    `seccomp` is None for the default profile, else the content of a profile as docker reads it;
    `unconfined` uses none.
    """

    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    seccomp: bytes | None = None
    unconfined: bool = False
    no_new_privileges: bool = True


class LifeOptions(Struct, frozen=True, kw_only=True):
    """How the container is started and ended. `stop_timeout` is in seconds.

    `interactive` gives the process our standard input; `remove` removes the container when its
    process has ended.
    """

    interactive: bool = False
    remove: bool = False
    stop_signal: str | None = None
    stop_timeout: int | None = None


class CreateOptions(Struct, frozen=True, kw_only=True):
    """Options for a new container.

    Without `name` a name is made up. `bundle` is a folder that is absent or empty; without it the
    bundle lies in the store. `command` replaces the image's command. `platform` selects from a
    multi-platform image; without it `usual` is the default. `alone` unpacks a tree for this
    container only, for runtimes that cannot mount an overlay at "/".
    """

    name: str | None = None
    bundle: str | None = None
    command: tuple[str, ...] = ()
    platform: Platform | None = None
    usual: Platform | None = None
    alone: bool = False
    process: ProcessOptions = ProcessOptions()
    mounts: MountOptions = MountOptions()
    limits: ResourceLimits = ResourceLimits()
    network: NetworkOptions = NetworkOptions()
    security: SecurityOptions = SecurityOptions()
    life: LifeOptions = LifeOptions()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
