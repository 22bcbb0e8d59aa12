"""Kernel parameters of the container's own namespaces (config-linux.md, "Sysctl")."""

import os
import re

from ocitool.containers.config.purpose import Purpose
from ocitool.containers.options import HOST
from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted

# Those that the kernel keeps for each namespace, and that docker allows.
_ALLOWED = (
    "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax "
    "kernel.shmmni kernel.shm_rmid_forced"
)
_NETWORK, _QUEUES = "net.", "fs.mqueue."
_NAME = re.compile(r"[a-z0-9_]+(\.[a-zA-Z0-9_-]+)+")
_USUAL = {
    # Echo requests without CAP_NET_RAW, and ports below 1024 without CAP_NET_BIND_SERVICE.
    "net.ipv4.ping_group_range": "0 2147483647",
    "net.ipv4.ip_unprivileged_port_start": "0",
}
_NEEDS_ALL_GROUPS = "net.ipv4.ping_group_range"


def sysctls(purpose: Purpose) -> dict[str, str]:
    """Return what docker sets in a network namespace, and what was asked for."""
    network = purpose.options.network
    if network.mode == HOST:
        return dict(network.sysctls)
    usual = {
        name: value
        for name, value in _USUAL.items()
        if os.path.exists(f"/proc/sys/{name.replace('.', '/')}")
        and not (purpose.rootless is not None and name == _NEEDS_ALL_GROUPS)
    }
    return {**usual, **network.sysctls}


def check_sysctl(name: str, mode: str) -> None:
    """Raise UsageError for a parameter that is not of the container's own namespaces."""
    own = name in _ALLOWED.split() or name.startswith((_NETWORK, _QUEUES))
    if not own or not _NAME.fullmatch(name):
        raise UsageError(
            f"--sysctl {quoted(name)} is not a parameter of a container's own",
            hint="those of net.*, fs.mqueue.* and the kernel.msg*, kernel.sem and kernel.shm* are",
        )
    if name.startswith(_NETWORK) and mode == HOST:
        raise UsageError(
            f"--sysctl {name} would change the host: the container has its network",
            hint="leave out --network host, or set it on the host by `sysctl`",
        )
