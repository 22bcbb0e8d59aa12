"""What the process may do: capabilities, hidden paths, system calls. As docker has it.

Docker 20.10's lists (its package `oci/caps` and `oci/defaults.go`).
"""

from ocitool.containers.config.seccomp import default_profile, seccomp_filter
from ocitool.containers.options import SecurityOptions
from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted

MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
)
READ_ONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_DEFAULT = (
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP "
    "NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE"
)
# In the order of the kernel's numbers, capabilities(7).
_KNOWN = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO "
    "SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME "
    "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG "
    "WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
_ALL = "ALL"


def capabilities(options: SecurityOptions) -> list[str]:
    """Return the capabilities of root in the container, with CAP_; UsageError for unknown ones.

    ALL is applied first, then single ones are dropped and added, as docker does.
    """
    added = [_named(text, "--cap-add") for text in options.cap_add]
    dropped = [_named(text, "--cap-drop") for text in options.cap_drop]
    if _ALL in added:
        kept = [name for name in _KNOWN.split() if name not in dropped]
    else:
        kept = [name for name in _DEFAULT.split() if _ALL not in dropped and name not in dropped]
        kept += [name for name in dict.fromkeys(added) if name not in kept]
    return [f"CAP_{name}" for name in kept]


def _named(text: str, option: str) -> str:
    name = text.strip().upper().removeprefix("CAP_")
    if name != _ALL and name not in _KNOWN.split():
        raise UsageError(
            f"{option} {quoted(text)} is not a capability",
            hint="write ALL, or a name of capabilities(7) such as NET_ADMIN",
        )
    return name


def system_calls(
    options: SecurityOptions, *, held: list[str], architecture: str
) -> dict[str, object] | None:
    """Return the filter of system calls for a process that may get `held`; None if unconfined."""
    if options.unconfined:
        return None
    profile = default_profile() if options.seccomp is None else options.seccomp
    return seccomp_filter(profile, capabilities=held, architecture=architecture)
