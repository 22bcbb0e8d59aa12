"""What is refused of the options of a new container, before anything is unpacked.

The limits of numbers are docker's; each message says what to do.
"""

import os
import re
from collections.abc import Iterator

import msgspec

from ocitool.containers.config.security import capabilities, system_calls
from ocitool.containers.config.sysctls import check_sysctl
from ocitool.containers.options import (
    HOST,
    NONE,
    CreateOptions,
    LifeOptions,
    NetworkOptions,
    ProcessOptions,
    ResourceLimits,
)
from ocitool.containers.signals import signal_number
from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted

_LEAST_MEMORY = 6 << 20
_NANO = 1_000_000_000
_LEAST_CPU = _NANO // 100
_LEAST_SCORE, _LARGEST_SCORE = -1000, 1000
_HOSTNAME = re.compile(r"[a-zA-Z0-9_]([a-zA-Z0-9_.-]{0,62}[a-zA-Z0-9_])?")
_RESERVED = "io.ocitool."
_LIMITS = (
    "as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending "
    "stack"
)
_CPUS = "/sys/devices/system/cpu/online"


def check_options(options: CreateOptions, *, rootless: bool) -> None:
    """Raise UsageError for options that no container can have; what is on the disk is not read."""
    for text in _texts(msgspec.to_builtins(options)):
        check_text(text)
    _check_process(options.process, rootless=rootless)
    _check_limits(options.limits)
    _check_network(options.network)
    _check_life(options.life)
    for kind, named in (("--label", options.labels), ("--annotation", options.annotations)):
        for name in named:
            _check_annotation(kind, name)
    held = capabilities(options.security)
    system_calls(options.security, held=held, architecture="amd64")


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def check_text(text: str) -> None:
    """Refuse what JSON or the kernel cannot hold: names of files may be any bytes, these not."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(
            f"{quoted(text)} is not UTF-8, but config.json has to be",
            hint="use a name in UTF-8; a file with another one can be mounted with its folder",
        ) from None
    if "\0" in text:
        raise UsageError(f"{quoted(text)} has a NUL in it", hint="leave the NUL out")


def _check_process(options: ProcessOptions, *, rootless: bool) -> None:
    for name in options.env:
        if not name or "=" in name:
            raise UsageError(f"-e {quoted(name)} is not a variable", hint="write -e NAME=VALUE")
    if options.workdir is not None and not options.workdir.startswith("/"):
        raise UsageError(
            f"-w {quoted(options.workdir)} is not an absolute path",
            hint=f"write -w {quoted('/' + options.workdir)}",
        )
    user = (options.user or "0").partition(":")[0]
    if rootless and user not in ("0", "root"):
        raise UsageError(
            f"-u {quoted(options.user)} needs the rights of root: in a rootless container only "
            "root exists",
            hint="leave out -u, or make the container as root",
        )


def _check_limits(limits: ResourceLimits) -> None:
    for option, value in (("--memory", limits.memory), ("--memory-reservation", _reserved(limits))):
        if 0 != value < _LEAST_MEMORY:
            raise UsageError(f"{option} {value} is too little", hint="at least 6m are needed")
    _check_swap(limits)
    if limits.memory and _reserved(limits) > limits.memory:
        raise UsageError(
            "--memory-reservation is more than --memory", hint="reserve at most what is allowed"
        )
    _check_cpus(limits)
    score = limits.oom_score_adj
    if score is not None and not _LEAST_SCORE <= score <= _LARGEST_SCORE:
        raise UsageError(f"--oom-score-adj {score} is out of range", hint="it is -1000 to 1000")
    for one in limits.ulimits:
        if one.name not in _LIMITS.split():
            known = ", ".join(_LIMITS.split())
            raise UsageError(f"--ulimit {quoted(one.name)} is not a limit", hint=f"{known} are")
        if _unlimited(one.soft) > _unlimited(one.hard):
            raise UsageError(
                f"--ulimit {one.name}={one.soft}:{one.hard}: the soft limit is above the hard one",
                hint=f"write --ulimit {one.name}={one.hard}:{one.hard}",
            )


def _reserved(limits: ResourceLimits) -> int:
    return limits.memory_reservation


def _unlimited(number: int) -> float:
    return float("inf") if number < 0 else number


def _check_swap(limits: ResourceLimits) -> None:
    swap = limits.memory_swap
    if swap is None or swap == -1:
        return
    if limits.memory == 0:
        raise UsageError("--memory-swap needs --memory", hint="give both: the sum includes memory")
    if swap != 0 and swap < limits.memory:
        raise UsageError(
            f"--memory-swap {swap} is less than --memory {limits.memory}",
            hint="it is memory and swap together; -1 allows any amount of swap",
        )


def _check_cpus(limits: ResourceLimits) -> None:
    count = os.cpu_count() or 1
    if limits.cpus and not _LEAST_CPU <= limits.cpus <= count * _NANO:
        raise UsageError(
            f"--cpus {limits.cpus / _NANO:g} is out of range",
            hint=f"it is 0.01 to {count}: this machine has {count} CPUs",
        )
    if limits.cpu_shares < 0:
        raise UsageError(f"--cpu-shares {limits.cpu_shares} is negative", hint="1024 is usual")
    if limits.cpuset_cpus:
        there = set(_numbers(_online()))
        try:
            missing = sorted(set(_numbers(limits.cpuset_cpus)) - there)
        except ValueError:
            raise UsageError(
                f"--cpuset-cpus {quoted(limits.cpuset_cpus)} is not a list of CPUs",
                hint="write it like 0-2 or 0,1",
            ) from None
        if missing and there:
            raise UsageError(
                f"--cpuset-cpus {limits.cpuset_cpus}: there is no CPU {missing[0]}",
                hint=f"this machine has {_online()}",
            )


def _online() -> str:
    try:
        with open(_CPUS, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _numbers(text: str) -> Iterator[int]:
    """Yield the numbers of a list such as 0-2,5; ValueError for anything else."""
    for part in text.split(",") if text else ():
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() if dash else True)) or len(part) > 9:
            raise ValueError(part)
        end = int(last) if dash else int(first)
        if end < int(first):
            raise ValueError(part)
        yield from range(int(first), end + 1)


def _check_network(options: NetworkOptions) -> None:
    if options.mode not in (NONE, HOST):
        raise UsageError(
            f"--network {quoted(options.mode)} is not possible: bridges need a daemon that sets up "
            "addresses and firewall rules",
            hint="use --network host for the host's network, or none for lo alone",
        )
    if options.hostname is not None and not _HOSTNAME.fullmatch(options.hostname):
        raise UsageError(
            f"--hostname {quoted(options.hostname)} is not a host name",
            hint="use up to 64 letters, digits, '-' and '.'",
        )
    for name in options.sysctls:
        check_sysctl(name, options.mode)


def _check_life(options: LifeOptions) -> None:
    if options.stop_signal is not None:
        signal_number(options.stop_signal)
    if options.stop_timeout is not None and options.stop_timeout < -1:
        raise UsageError(
            f"--stop-timeout {options.stop_timeout} is negative",
            hint="give seconds, or -1 to wait for ever",
        )


def _check_annotation(option: str, name: str) -> None:
    if not name or name.startswith(_RESERVED):
        raise UsageError(
            f"{option} {quoted(name)} cannot be given",
            hint=f"write {option} NAME=VALUE; names that begin with {_RESERVED} are ocitool's own",
        )
