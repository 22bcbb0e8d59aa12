"""The config.json of a bundle: what an image's config and the options mean to a runtime.

The rules are those of image-spec conversion.md. What they leave open is set as docker does, so that
a container is the same as docker's; the parts are in `config`.
"""

from ocitool.containers.config.mounts import mounts
from ocitool.containers.config.process import process
from ocitool.containers.config.purpose import Json, Purpose
from ocitool.containers.config.resources import resources
from ocitool.containers.config.security import (
    MASKED_PATHS,
    READ_ONLY_PATHS,
    capabilities,
    system_calls,
)
from ocitool.containers.config.sysctls import sysctls
from ocitool.containers.options import HOST
from ocitool.oci import ImageConfig

RUNTIME_VERSION = "1.0.2"
ID_ANNOTATION = "io.ocitool.container.id"
IMAGE_ANNOTATION = "io.ocitool.container.image"
_PREFIX = "org.opencontainers.image."


def runtime_config(config: ImageConfig, purpose: Purpose) -> Json:
    """Return the document; UsageError if neither the image nor `command` says what to run."""
    options = purpose.options
    return {
        "ociVersion": RUNTIME_VERSION,
        "process": process(config, purpose),
        "root": {"path": "rootfs", "readonly": options.mounts.read_only},
        "hostname": purpose.hostname,
        "mounts": mounts(purpose),
        "annotations": _annotations(config, purpose),
        "linux": _linux(purpose),
    }


def _annotations(config: ImageConfig, purpose: Purpose) -> dict[str, str]:
    """Return what conversion.md calls implicit annotations; labels take precedence."""
    run, platform = config.config, config.platform
    implicit = {
        "os": platform.os,
        "os.version": platform.os_version,
        "os.features": ",".join(platform.os_features),
        "architecture": platform.architecture,
        "variant": platform.variant,
        "author": config.author,
        "created": config.created,
        "stopSignal": purpose.options.life.stop_signal or run.stop_signal,
        "exposedPorts": ",".join(run.exposed_ports),
    }
    return {
        **{f"{_PREFIX}{key}": value for key, value in implicit.items() if value},
        **run.labels,
        **purpose.options.labels,
        **purpose.options.annotations,
        ID_ANNOTATION: purpose.container_id,
        IMAGE_ANNOTATION: purpose.image,
    }


def _linux(purpose: Purpose) -> Json:
    found: Json = {
        "sysctl": sysctls(purpose),
        "resources": resources(purpose),
        "cgroupsPath": purpose.cgroup,
        "namespaces": [{"type": kind} for kind in _namespaces(purpose)],
        "maskedPaths": list(MASKED_PATHS),
        "readonlyPaths": list(READ_ONLY_PATHS),
        "rootfsPropagation": _propagation(purpose),
        "seccomp": system_calls(
            purpose.options.security,
            held=capabilities(purpose.options.security),
            architecture=purpose.machine,
        ),
    }
    if purpose.rootless is not None:
        user, group = purpose.rootless
        found["uidMappings"] = [{"containerID": 0, "hostID": user, "size": 1}]
        found["gidMappings"] = [{"containerID": 0, "hostID": group, "size": 1}]
    return {key: value for key, value in found.items() if value not in (None, {}, "")}


def _namespaces(purpose: Purpose) -> list[str]:
    kinds = ["mount", "network", "uts", "pid", "ipc"]
    if purpose.options.network.mode == HOST:
        kinds.remove("network")
    if purpose.rootless is not None:
        kinds.append("user")
    if purpose.cgroup_namespace:
        kinds.append("cgroup")
    return kinds


def _propagation(purpose: Purpose) -> str:
    """Return how the root passes mounts on: as the binds that share theirs with the host need."""
    words = {bind.propagation.removeprefix("r") for bind in purpose.options.mounts.binds}
    return "shared" if "shared" in words else "rslave" if "slave" in words else ""
