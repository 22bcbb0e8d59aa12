"""Gathering what is known of a container: its record, its bundle, its image, and what runs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from ocitool.containers.bundle_facts import BundleFacts, open_bundle, read_facts
from ocitool.containers.bundles import ROOT_FOLDER
from ocitool.containers.config.security import capabilities
from ocitool.containers.images import read_parts
from ocitool.containers.inspection import (
    NEVER,
    ContainerConfig,
    GraphDriver,
    HostConfig,
    Inspection,
    Limit,
    MountPoint,
    RunState,
)
from ocitool.containers.lifecycle.state import Status, container_state
from ocitool.containers.options import HOST, NONE, SecurityOptions
from ocitool.containers.records import Container
from ocitool.containers.usage import root_bytes, written_bytes
from ocitool.oci import ImageConfig
from ocitool.places.layout import Layout

_OF_EVERY_CONTAINER = frozenset(
    {
        "/",
        "/proc",
        "/dev",
        "/dev/pts",
        "/dev/shm",  # noqa: S108
        "/dev/mqueue",
        "/sys",
        "/sys/fs/cgroup",
        "/etc/hosts",
        "/etc/hostname",
        "/etc/resolv.conf",
    }
)
_NANO = 1_000_000_000
_UNLIMITED = (1 << 64) - 1

Fields = Mapping[str, object]


def inspect_container(layout: Layout, container: Container, *, sizes: bool = False) -> Inspection:
    """Return what is known of a container; `sizes` adds how many bytes its files take.

    NotFound if its bundle or its image is gone, MalformedDocument for a broken config.json.
    """
    with open_bundle(container) as bundle:
        facts = read_facts(bundle)
    config = read_parts(layout, container).config
    sources = {str(mount.get("destination")): str(mount.get("source")) for mount in _mounts(facts)}
    arguments = facts.arguments
    driver = _graph_driver(container, facts)
    return Inspection(
        id=container.id,
        created=container.created,
        path=arguments[0] if arguments else "",
        args=arguments[1:],
        state=_state(container),
        image=container.config,
        image_digest=container.digest,
        name=f"/{container.name}",
        bundle=container.bundle,
        resolv_conf_path=sources.get("/etc/resolv.conf", ""),
        hostname_path=sources.get("/etc/hostname", ""),
        hosts_path=sources.get("/etc/hosts", ""),
        driver=driver.name,
        platform=config.platform.os,
        mounts=tuple(_mount_points(facts)),
        config=_config(container, config, facts),
        host_config=_host_config(container, facts),
        graph_driver=driver,
        size_rw=written_bytes(container) if sizes else None,
        size_root_fs=root_bytes(layout, container) if sizes else None,
    )


def _state(container: Container) -> RunState:
    found = container_state(container)
    return RunState(
        status=found.status.value,
        running=found.status is Status.RUNNING,
        pid=found.pid or 0,
        exit_code=found.exit_code or 0,
        started_at=found.started or NEVER,
        finished_at=found.finished or NEVER,
    )


def _config(container: Container, image: ImageConfig, facts: BundleFacts) -> ContainerConfig:
    process, run = _part(facts.config, "process"), image.config
    entry = run.entrypoint
    if facts.arguments[: len(entry)] != entry:
        entry = ()
    return ContainerConfig(
        hostname=str(facts.config.get("hostname") or ""),
        user=run.user if facts.is_rootless else _user(process, run.user),
        tty=process.get("terminal") is True,
        open_stdin=container.settings.interactive,
        env=_texts(process, "env"),
        cmd=facts.arguments[len(entry) :] or None,
        image=container.image,
        working_dir=str(process.get("cwd") or ""),
        entrypoint=entry or None,
        labels={**run.labels, **container.settings.labels},
        exposed_ports={port: {} for port in run.exposed_ports},
        volumes={path: {} for path in run.volumes},
        stop_signal=container.settings.stop_signal,
        stop_timeout=container.settings.stop_timeout,
    )


def _user(process: Fields, of_image: str) -> str:
    """Return user and group as numbers; nothing where neither the image nor a user chose any."""
    user = _part(process, "user")
    found = f"{_number(user, 'uid')}:{_number(user, 'gid')}"
    return of_image if (found, of_image) == ("0:0", "") else found


def _host_config(container: Container, facts: BundleFacts) -> HostConfig:
    linux, process = _part(facts.config, "linux"), _part(facts.config, "process")
    resources = _part(linux, "resources")
    memory, cpu = _part(resources, "memory"), _part(resources, "cpu")
    held, usual = _texts(_part(process, "capabilities"), "bounding"), _usual_capabilities()
    kinds = {one.get("type") for one in _objects(linux, "namespaces")}
    period = _number(cpu, "period")
    pids = _number(_part(resources, "pids"), "limit")
    return HostConfig(
        network_mode=NONE if "network" in kinds else HOST,
        readonly_rootfs=_part(facts.config, "root").get("readonly") is True,
        auto_remove=container.settings.remove,
        binds=tuple(_bind(mount) for mount in _mount_points(facts) if mount.type == "bind"),
        cap_add=tuple(name for name in held if name not in usual),
        cap_drop=tuple(name for name in usual if name not in held),
        security_opt=tuple(_security(linux, process)),
        memory=_number(memory, "limit"),
        memory_swap=_number(memory, "swap"),
        memory_reservation=_number(memory, "reservation"),
        nano_cpus=_number(cpu, "quota") * _NANO // period if period else 0,
        cpu_shares=_number(cpu, "shares"),
        cpuset_cpus=str(cpu.get("cpus") or ""),
        pids_limit=pids or None,
        oom_score_adj=_number(process, "oomScoreAdj"),
        ulimits=tuple(map(_limit, _objects(process, "rlimits"))),
        cgroup_path=str(linux.get("cgroupsPath") or ""),
        masked_paths=_texts(linux, "maskedPaths"),
        readonly_paths=_texts(linux, "readonlyPaths"),
    )


def _usual_capabilities() -> list[str]:
    return capabilities(SecurityOptions())


def _security(linux: Fields, process: Fields) -> Iterator[str]:
    if process.get("noNewPrivileges") is True:
        yield "no-new-privileges"
    if not linux.get("seccomp"):
        yield "seccomp=unconfined"


def _limit(one: Fields) -> Limit:
    soft, hard = (
        -1 if number == _UNLIMITED else number
        for number in (_number(one, "soft"), _number(one, "hard"))
    )
    name = str(one.get("type") or "").removeprefix("RLIMIT_").lower()
    return Limit(name=name, soft=soft, hard=hard)


def _bind(mount: MountPoint) -> str:
    return f"{mount.source}:{mount.destination}{'' if mount.rw else ':ro'}"


def _mount_points(facts: BundleFacts) -> Iterator[MountPoint]:
    """Yield the mounts that were asked for, and the volumes of the image."""
    for mount in _mounts(facts):
        destination, options = str(mount.get("destination")), _texts(mount, "options")
        if destination in _OF_EVERY_CONTAINER:
            continue
        is_bind = "bind" in options or "rbind" in options
        yield MountPoint(
            type="bind" if is_bind else str(mount.get("type") or ""),
            source=str(mount.get("source") or "") if is_bind else "",
            destination=destination,
            rw="ro" not in options,
            propagation=next((word for word in options if word in _PROPAGATIONS), ""),
        )


_PROPAGATIONS = ("rprivate", "private", "rslave", "slave", "rshared", "shared")


def _graph_driver(container: Container, facts: BundleFacts) -> GraphDriver:
    if container.tree is None:
        return GraphDriver(name="copy", data={"RootDir": f"{container.bundle}/{ROOT_FOLDER}"})
    options = next((_texts(one, "options") for one in _mounts(facts) if _is_root(one)), ())
    folders = dict(option.partition("=")[::2] for option in options)
    return GraphDriver(
        name="overlay2",
        data={
            "LowerDir": folders.get("lowerdir", ""),
            "UpperDir": folders.get("upperdir", ""),
            "WorkDir": folders.get("workdir", ""),
            "MergedDir": f"{container.bundle}/{ROOT_FOLDER}",
        },
    )


def _is_root(mount: Fields) -> bool:
    return mount.get("destination") == "/"


def _mounts(facts: BundleFacts) -> Sequence[Fields]:
    return _objects(facts.config, "mounts")


def _objects(fields: Fields, key: str) -> Sequence[Fields]:
    values = fields.get(key)
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []


def _part(fields: Fields, key: str) -> Fields:
    value = fields.get(key)
    return cast("Fields", value) if isinstance(value, dict) else {}


def _texts(fields: Fields, key: str) -> tuple[str, ...]:
    value = fields.get(key)
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def _number(fields: Fields, key: str) -> int:
    value = fields.get(key)
    return value if isinstance(value, int) else 0
