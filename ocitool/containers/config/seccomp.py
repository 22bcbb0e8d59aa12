"""The filter of system calls: a profile in docker's format becomes what a runtime reads.

A profile has rules for architectures, kernels and capabilities (docker's seccomp documentation);
the filter of config.json (runtime-spec config-linux.md, "Seccomp") has only those that apply. The
default profile is docker's: `seccomp.json` says from which version.
"""

import os
import re
from collections.abc import Collection, Mapping
from functools import cache
from importlib import resources

from ocitool.errors import IntegrityError, MalformedDocument, UsageError
from ocitool.oci import document
from ocitool.oci.quoting import quoted

_PROFILE_BYTES = 1 << 20
_WHAT = "seccomp profile"
_RELEASE = re.compile(r"(\d+)\.(\d+)")
_COPIED = ("defaultErrnoRet", "flags")
_KEPT = ("names", "action", "errnoRet", "args")
# An image's architecture in the words of a profile, where they differ.
_ARCHITECTURES = {"386": "x86", "mips64le": "mipsel64", "mipsle": "mipsel"}
_CONSTANTS = {
    "x86": "SCMP_ARCH_X86",
    "amd64": "SCMP_ARCH_X86_64",
    "arm": "SCMP_ARCH_ARM",
    "arm64": "SCMP_ARCH_AARCH64",
    "mips64": "SCMP_ARCH_MIPS64",
    "mipsel64": "SCMP_ARCH_MIPSEL64",
    "ppc64le": "SCMP_ARCH_PPC64LE",
    "riscv64": "SCMP_ARCH_RISCV64",
    "s390x": "SCMP_ARCH_S390X",
}

Json = Mapping[str, object]


@cache
def default_profile() -> bytes:
    """Return docker's default profile."""
    return resources.files(__package__).joinpath("seccomp.json").read_bytes()


def seccomp_filter(
    profile: bytes, *, capabilities: Collection[str], architecture: str, kernel: str | None = None
) -> dict[str, object]:
    """Return the filter that a profile means for a container with these capabilities.

    `architecture` is one of image-spec, such as amd64; `kernel` a release such as 6.1.0, that of
    this machine if it is None. UsageError for a profile that cannot be read.
    """
    try:
        return _filter(profile, frozenset(capabilities), architecture, kernel or os.uname().release)
    except IntegrityError as error:
        raise UsageError(
            f"the seccomp profile cannot be read: {error.message}",
            hint="write it as docker's default profile is written, or use seccomp=unconfined",
        ) from error


def _filter(
    profile: bytes, capabilities: frozenset[str], architecture: str, kernel: str
) -> dict[str, object]:
    obj = document.decode_object(profile, what=_WHAT, limit=_PROFILE_BYTES)
    action = document.optional_string(obj, "defaultAction", _WHAT)
    if not action:
        raise MalformedDocument(f"{_WHAT}: it has no defaultAction")
    called = _ARCHITECTURES.get(architecture, architecture)
    rules = [
        {key: rule[key] for key in _KEPT if rule.get(key) not in (None, [])}
        for rule in map(_rule, _objects(obj, "syscalls"))
        if _applies(rule, capabilities, called, kernel)
    ]
    return {
        "defaultAction": action,
        **{key: obj[key] for key in _COPIED if obj.get(key) is not None},
        **({"architectures": names} if (names := _architectures(obj, called)) else {}),
        "syscalls": rules,
    }


def _architectures(obj: Json, called: str) -> list[str]:
    given = document.strings(obj, "architectures", _WHAT)
    mapped = _objects(obj, "archMap")
    if given and mapped:
        raise MalformedDocument(f"{_WHAT}: it has both architectures and archMap")
    for entry in mapped:
        if entry.get("architecture") == _CONSTANTS.get(called, ""):
            sub = document.strings(entry, "subArchitectures", _WHAT)
            return [_CONSTANTS[called], *sub]
    return list(given)


def _rule(rule: Json) -> dict[str, object]:
    """Return a rule whose calls stand in `names`, as they do in newer profiles."""
    name = document.optional_string(rule, "name", _WHAT)
    names = document.strings(rule, "names", _WHAT)
    if (name is None) == (not names):
        raise MalformedDocument(f"{_WHAT}: a rule needs names, or one name")
    if not document.optional_string(rule, "action", _WHAT):
        raise MalformedDocument(f"{_WHAT}: the rule for {quoted(name or names[0])} has no action")
    return {**rule, "names": list(names or (name,))}


def _applies(rule: Json, capabilities: frozenset[str], called: str, kernel: str) -> bool:
    included, excluded = _condition(rule, "includes"), _condition(rule, "excludes")
    architectures, needed, oldest = included
    if architectures and called not in architectures:
        return False
    if not capabilities.issuperset(needed) or (oldest and not _is_at_least(kernel, oldest)):
        return False
    architectures, unwanted, newest = excluded
    if called in architectures or not capabilities.isdisjoint(unwanted):
        return False
    return not (newest and _is_at_least(kernel, newest))


def _condition(rule: Json, key: str) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Return the architectures, the capabilities and the kernel that a rule names."""
    found = document.optional_object(rule, key, _WHAT) or {}
    return (
        document.strings(found, "arches", _WHAT),
        document.strings(found, "caps", _WHAT),
        document.optional_string(found, "minKernel", _WHAT) or "",
    )


def _is_at_least(kernel: str, wanted: str) -> bool:
    return _release(kernel) >= _release(wanted)


def _release(text: str) -> tuple[int, int]:
    found = _RELEASE.match(text)
    if found is None:
        raise MalformedDocument(f"{_WHAT}: {quoted(text)} is not a kernel release")
    return int(found[1]), int(found[2])


def _objects(obj: Json, key: str) -> list[Json]:
    value = obj.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise MalformedDocument(f"{_WHAT}: {key} is not a list")
    return [document.as_object(one, f"{_WHAT}: {key}") for one in value]
