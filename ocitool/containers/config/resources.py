"""What the container may use: the `resources` of config-linux.md, as docker writes them."""

from ocitool.containers.config.purpose import Json, Purpose
from ocitool.containers.options import ResourceLimits

_PERIOD = 100_000
_NANO = 1_000_000_000
# Character devices of every container: zero, null, urandom, random, tty, console; not fuse.
_DEVICES = ((1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1))
_FUSE = (10, 229)


def resources(purpose: Purpose) -> Json:
    """Return the object; for a rootless container only what was asked for."""
    limits = purpose.options.limits
    memory, cpu, pids = _memory(limits), _cpu(limits), _pids(limits)
    if purpose.rootless is not None:
        asked = {"memory": memory, "cpu": cpu, "pids": pids}
        return {name: part for name, part in asked.items() if part}
    return {
        "devices": _devices(),
        "memory": {**memory, "disableOOMKiller": False},
        "cpu": {"shares": 0, **cpu},
        "blockIO": {"weight": 0},
        **({"pids": pids} if pids else {}),
    }


def _devices() -> list[Json]:
    rules: list[Json] = [{"allow": False, "access": "rwm"}]
    for major, minor in _DEVICES:
        rules.append(_device(major, minor, allow=True))
    return [*rules, _device(*_FUSE, allow=False)]


def _device(major: int, minor: int, *, allow: bool) -> Json:
    return {"allow": allow, "type": "c", "major": major, "minor": minor, "access": "rwm"}


def _memory(limits: ResourceLimits) -> Json:
    found: Json = {}
    if limits.memory > 0:
        found["limit"] = limits.memory
        swap = limits.memory * 2 if limits.memory_swap is None else limits.memory_swap
        if swap > 0:
            found["swap"] = swap
    if limits.memory_reservation > 0:
        found["reservation"] = limits.memory_reservation
    return found


def _cpu(limits: ResourceLimits) -> Json:
    found: Json = {}
    if limits.cpu_shares > 0:
        found["shares"] = limits.cpu_shares
    if limits.cpus > 0:
        found |= {"quota": limits.cpus * _PERIOD // _NANO, "period": _PERIOD}
    if limits.cpuset_cpus:
        found["cpus"] = limits.cpuset_cpus
    return found


def _pids(limits: ResourceLimits) -> Json:
    return {"limit": limits.pids} if limits.pids > 0 else {}
