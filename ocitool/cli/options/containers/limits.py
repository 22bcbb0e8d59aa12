"""--memory, --cpus, --pids-limit, --ulimit: what a container may use."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.expand import Group
from ocitool.cli.options.quantities import parse_size
from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted

if TYPE_CHECKING:
    from ocitool.containers.options import ResourceLimits, Ulimit

PANEL = "Limits of the container"
_CPUS = re.compile(r"([0-9]{1,6})(?:\.([0-9]{1,9}))?")
_LARGEST = (1 << 63) - 1
_MOST_PIDS = 1 << 22

_Memory = Annotated[
    str | None,
    typer.Option(
        "--memory", "-m", metavar="SIZE", rich_help_panel=PANEL, help="Most memory, such as 512m."
    ),
]
_MemorySwap = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        rich_help_panel=PANEL,
        help="Most memory and swap together; -1: no limit. Default: twice --memory.",
    ),
]
_MemoryReservation = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        rich_help_panel=PANEL,
        help="What it is pushed back to when memory is short.",
    ),
]
_OomScoreAdj = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        rich_help_panel=PANEL,
        help="-1000 to 1000: more makes the kernel end it sooner.",
    ),
]
_Cpus = Annotated[
    str | None,
    typer.Option(metavar="N", rich_help_panel=PANEL, help="Most CPUs, such as 1.5."),
]
_CpuShares = Annotated[
    int,
    typer.Option(
        "--cpu-shares",
        "-c",
        metavar="N",
        rich_help_panel=PANEL,
        help="Weight when CPUs are short; 1024 is usual.",
        show_default=False,
    ),
]
_CpusetCpus = Annotated[
    str | None,
    typer.Option(metavar="LIST", rich_help_panel=PANEL, help="Only these CPUs, such as 0-2,4."),
]
_PidsLimit = Annotated[
    int,
    typer.Option(
        metavar="N", rich_help_panel=PANEL, help="Most processes; -1: no limit.", show_default=False
    ),
]
_Ulimit = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=SOFT[:HARD]",
        rich_help_panel=PANEL,
        help="A limit of each process, such as nofile=1024:4096; -1: no limit. Repeatable.",
    ),
]
_BestEffort = Annotated[
    bool,
    typer.Option(
        "--best-effort-limits",
        rich_help_panel=PANEL,
        help="Leave out limits that this machine cannot keep, instead of exit code 6.",
    ),
]


def _build(
    _: typer.Context,
    *,
    memory: str | None,
    memory_swap: str | None,
    memory_reservation: str | None,
    oom_score_adj: int | None,
    cpus: str | None,
    cpu_shares: int,
    cpuset_cpus: str | None,
    pids_limit: int,
    ulimit: list[str] | None,
    best_effort_limits: bool,
) -> "ResourceLimits":
    from ocitool.containers.options import ResourceLimits

    if pids_limit > _MOST_PIDS:
        raise UsageError(f"--pids-limit {pids_limit} is too large", hint=f"at most {_MOST_PIDS}")
    return ResourceLimits(
        memory=_size(memory, "--memory"),
        memory_swap=_swap(memory_swap),
        memory_reservation=_size(memory_reservation, "--memory-reservation"),
        oom_score_adj=oom_score_adj,
        cpus=0 if cpus is None else parse_cpus(cpus),
        cpu_shares=cpu_shares,
        cpuset_cpus=cpuset_cpus or "",
        pids=max(pids_limit, 0),
        ulimits=tuple({one.name: one for one in map(parse_ulimit, ulimit or ())}.values()),
        best_effort=best_effort_limits,
    )


def _size(text: str | None, option: str) -> int:
    if text is None:
        return 0
    size = parse_size(text)
    if size > _LARGEST:
        raise UsageError(f"{option} {quoted(text)} is too large", hint="write it like 512m or 4g")
    return size


def _swap(text: str | None) -> int | None:
    """Return the limit of --memory-swap; 0 means that it was not given, as with docker."""
    if text is None:
        return None
    return -1 if text.strip() == "-1" else _size(text, "--memory-swap") or None


def parse_cpus(text: str) -> int:
    """Return billionths of a CPU; UsageError for what is not a number such as 1.5."""
    found = _CPUS.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"--cpus {quoted(text)} is not a number", hint="write it like 2 or 1.5")
    whole, part = found.groups()
    return int(whole) * 1_000_000_000 + int(f"{part or '':0<9}")


def parse_ulimit(text: str) -> "Ulimit":
    """Return the limit that NAME=SOFT[:HARD] means; UsageError for other text."""
    from ocitool.containers.options import Ulimit

    name, _, value = text.partition("=")
    soft, colon, hard = value.partition(":")
    numbers = [_number(one) for one in ((soft, hard) if colon else (soft, soft))]
    if None in numbers or not name:
        raise UsageError(
            f"--ulimit {quoted(text)} is not a limit", hint="write it like nofile=1024:4096"
        )
    return Ulimit(name=name.lower(), soft=numbers[0] or 0, hard=numbers[1] or 0)


def _number(text: str) -> int | None:
    """Return a number, -1 for no limit; None for other text."""
    if text in ("-1", "unlimited"):
        return -1
    is_number = text.isascii() and text.isdecimal() and len(text) < 20
    return int(text) if is_number and int(text) <= _LARGEST else None


LIMITS = Group(
    {
        "memory": (_Memory, None),
        "memory_swap": (_MemorySwap, None),
        "memory_reservation": (_MemoryReservation, None),
        "oom_score_adj": (_OomScoreAdj, None),
        "cpus": (_Cpus, None),
        "cpu_shares": (_CpuShares, 0),
        "cpuset_cpus": (_CpusetCpus, None),
        "pids_limit": (_PidsLimit, 0),
        "ulimit": (_Ulimit, None),
        "best_effort_limits": (_BestEffort, False),
    },
    _build,
)
