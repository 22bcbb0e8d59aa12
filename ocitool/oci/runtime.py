"""The `config` object of an image configuration: how a container starts (config.md, "config")."""

from collections.abc import Mapping
from typing import Self

from msgspec import Struct, field

from ocitool.oci import document

_KNOWN_KEYS = frozenset(
    {
        "User",
        "ExposedPorts",
        "Env",
        "Entrypoint",
        "Cmd",
        "Volumes",
        "WorkingDir",
        "Labels",
        "StopSignal",
        "StopTimeout",
        "Healthcheck",
        "Shell",
        "OnBuild",
    }
)
_HEALTHCHECK_KEYS = frozenset(
    {"Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"}
)


class Healthcheck(Struct, frozen=True, kw_only=True):
    """Docker's health check of a container. Times are in nanoseconds; 0 means the default."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0

    @classmethod
    def from_json(cls, value: object, path: str) -> Self:
        """Decode a `Healthcheck` object; raises `MalformedDocument`."""
        obj = document.as_object(value, path)
        document.refuse_case_twins(obj, _HEALTHCHECK_KEYS, path)
        return cls(
            test=document.strings(obj, "Test", path),
            interval=document.optional_integer(obj, "Interval", path) or 0,
            timeout=document.optional_integer(obj, "Timeout", path) or 0,
            start_period=document.optional_integer(obj, "StartPeriod", path) or 0,
            start_interval=document.optional_integer(obj, "StartInterval", path) or 0,
            retries=document.optional_integer(obj, "Retries", path) or 0,
        )


class RuntimeConfig(Struct, frozen=True, kw_only=True):
    """How a container of the image starts. `stop_timeout` is in seconds.

    `env` keeps the `NAME=value` lines, `exposed_ports` entries such as `80/tcp`. Healthcheck,
    shell and on-build triggers are Docker's extensions.
    """

    user: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    working_dir: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    stop_timeout: int | None = None
    healthcheck: Healthcheck | None = None
    shell: tuple[str, ...] = ()
    on_build: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: object, path: str) -> Self:
        """Decode a `config` object; null means an empty one. Raises `MalformedDocument`."""
        obj = {} if value is None else document.as_object(value, path)
        document.refuse_case_twins(obj, _KNOWN_KEYS, path)
        probe = obj.get("Healthcheck")
        return cls(
            user=document.optional_string(obj, "User", path) or "",
            env=document.strings(obj, "Env", path),
            entrypoint=_command(obj, "Entrypoint", path),
            cmd=_command(obj, "Cmd", path),
            working_dir=document.optional_string(obj, "WorkingDir", path) or "",
            exposed_ports=tuple(document.optional_object(obj, "ExposedPorts", path) or ()),
            volumes=tuple(document.optional_object(obj, "Volumes", path) or ()),
            labels=document.mapping_of_strings(obj, "Labels", path),
            stop_signal=document.optional_string(obj, "StopSignal", path) or "",
            stop_timeout=document.optional_integer(obj, "StopTimeout", path),
            healthcheck=None
            if probe is None
            else Healthcheck.from_json(probe, f"{path}.Healthcheck"),
            shell=_command(obj, "Shell", path),
            on_build=document.strings(obj, "OnBuild", path),
        )


def _command(obj: Mapping[str, object], key: str, path: str) -> tuple[str, ...]:
    """Decode a command line: Docker also accepts a single string as a list of one."""
    value = obj.get(key)
    return (value,) if type(value) is str else document.strings(obj, key, path)
