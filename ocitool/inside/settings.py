"""What a configuration sets, field by field, and the line of a Dockerfile that sets it."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

from ocitool.oci.runtime import Healthcheck, RuntimeConfig

Setting = str | tuple[str, ...]
"""The value of a field: a text, or the words of a command."""
Settings = Mapping[str, Setting]

_PLAIN: Final = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
_UNITS: Final = (
    (3_600_000_000_000, "h"),
    (60_000_000_000, "m"),
    (1_000_000_000, "s"),
    (1_000_000, "ms"),
    (1, "ns"),
)
_KEYWORDS: Final = {
    "user": "USER",
    "working_dir": "WORKDIR",
    "entrypoint": "ENTRYPOINT",
    "cmd": "CMD",
    "shell": "SHELL",
    "stop_signal": "STOPSIGNAL",
    "healthcheck": "HEALTHCHECK",
    "env": "ENV",
    "labels": "LABEL",
    "exposed_ports": "EXPOSE",
    "volumes": "VOLUME",
    "on_build": "ONBUILD",
}


def settings(config: RuntimeConfig) -> dict[str, Setting]:
    """Return the fields that are set, in the order of a Dockerfile.

    Of `env` and `labels` each variable is a field, such as `env.PATH`, of `exposed_ports`,
    `volumes` and `on_build` each entry. `healthcheck` is what follows that word in a Dockerfile.
    """
    found: dict[str, Setting] = {}
    for line in config.env:
        name, _, value = line.partition("=")
        found[f"env.{name}"] = value
    found |= {f"labels.{key}": value for key, value in config.labels.items()}
    for field, entries in (
        ("exposed_ports", config.exposed_ports),
        ("volumes", config.volumes),
        ("on_build", config.on_build),
    ):
        found |= {f"{field}.{entry}": entry for entry in entries}
    stop_timeout = "" if config.stop_timeout is None else str(config.stop_timeout)
    check = "" if config.healthcheck is None else healthcheck_words(config.healthcheck)
    single: dict[str, Setting] = {
        "working_dir": config.working_dir,
        "user": config.user,
        "shell": config.shell,
        "stop_signal": config.stop_signal,
        "stop_timeout": stop_timeout,
        "healthcheck": check,
        "entrypoint": config.entrypoint,
        "cmd": config.cmd,
    }
    return found | {field: value for field, value in single.items() if value}


def keyword_of(field: str) -> str | None:
    """Return the instruction that sets a field, such as ENV; None for one that none sets."""
    return _KEYWORDS.get(field.partition(".")[0])


def line_for(field: str, value: Setting) -> str:
    """Return the instruction that gives a field this value; it has one for every keyword."""
    keyword = keyword_of(field) or ""
    name = field.partition(".")[2]
    if isinstance(value, tuple):
        return f"{keyword} {exec_form(value)}"
    if keyword in ("ENV", "LABEL"):
        return f"{keyword} {quoted(name)}={quoted(value)}"
    return f"{keyword} {exec_form([value]) if keyword == 'VOLUME' and ' ' in value else value}"


def quoted(text: str) -> str:
    """Return a word of ENV or LABEL as it must be written to mean this text."""
    if _PLAIN.fullmatch(text):
        return text
    return '"' + re.sub(r'([\\"$])', r"\\\1", text) + '"'


def exec_form(words: Sequence[str]) -> str:
    """Return a command in the JSON form of a Dockerfile."""
    return json.dumps(list(words), ensure_ascii=False)


def healthcheck_words(check: Healthcheck) -> str:
    """Return what follows HEALTHCHECK; times and counts that are docker's defaults are left out."""
    kind, *words = check.test or ("",)
    if kind == "NONE":
        return "NONE"
    times = (
        ("interval", check.interval),
        ("timeout", check.timeout),
        ("start-period", check.start_period),
        ("start-interval", check.start_interval),
    )
    options = [f"--{name}={duration(time)}" for name, time in times if time]
    options += [f"--retries={check.retries}"] if check.retries else []
    command = " ".join(words) if kind == "CMD-SHELL" else exec_form(words)
    return " ".join([*options, "CMD", command])


def duration(nanoseconds: int) -> str:
    """Return a time as docker reads it: 1m30s."""
    text, rest = "", nanoseconds
    for length, unit in _UNITS:
        count, rest = divmod(rest, length)
        text += f"{count}{unit}" if count else ""
    return text or "0s"
