"""Settings of an image that are changed without a build: labels, variables, commands, platform."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import cast

from msgspec import Struct, field

from ocitool.editing.layers import NewEntry, append_entries
from ocitool.editing.parts import ImageParts, set_created
from ocitool.errors import Refused
from ocitool.oci import Platform, mediatype
from ocitool.oci.members import (
    CONFIG_ORDER,
    MANIFEST_ORDER,
    RUNTIME_ORDER,
    members_of,
    put,
    put_or_drop,
)

_CREATED_BY = "ocitool set"
_PLATFORM_MEMBERS = ("architecture", "variant", "os", "os.version", "os.features")


class Settings(Struct, frozen=True, kw_only=True):
    """What to change. None, and what is empty, keeps what the image has.

    An empty `entrypoint`, `cmd`, `user`, `working_dir` or `stop_signal` removes that setting.
    `exposed` has ports such as "80/tcp". `annotations` are those of the manifest. `created` is a
    time as in RFC 3339.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    without_labels: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    without_annotations: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    without_env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    user: str | None = None
    working_dir: str | None = None
    exposed: tuple[str, ...] = ()
    without_exposed: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    without_volumes: tuple[str, ...] = ()
    stop_signal: str | None = None
    platform: Platform | None = None
    author: str | None = None
    created: str | None = None


def apply_settings(
    parts: ImageParts, settings: Settings, *, epoch: str | None = None, history: bool = True
) -> ImageParts:
    """Return the image with these settings; the same documents where all of them hold already.

    A changed configuration gets one entry in its history, which names what was changed and no
    value: values may be secrets. `epoch` is the time of a changed image, and of the entry, unless
    the settings have one. Annotations are not in the configuration and make no entry; Refused for
    those of a docker manifest, which has none.
    """
    config = members_of(parts.config.raw)
    changed = [name for name, change in _CHANGES.items() if _changes(change, config, settings)]
    result = parts.with_members(manifest=_annotated(parts, settings))
    if not changed:
        return result
    when = settings.created or epoch
    set_created(config, when)
    result = result.with_members(config=config)
    if not history:
        return result
    entry = NewEntry(created_by=f"{_CREATED_BY} {','.join(changed)}", author=settings.author or "")
    return append_entries(result, [entry], created=when)


def annotated(
    fields: dict[str, object], annotations: Mapping[str, str], without: Iterable[str]
) -> None:
    """Set and remove annotations of a manifest or an index in its members."""
    kept = _merged(fields.get("annotations"), annotations, without)
    put_or_drop(fields, "annotations", kept, MANIFEST_ORDER)


def refuse_docker_annotations(media_type: str, called: str) -> None:
    """Raise Refused where a document of docker's format would get annotations: it has none."""
    if media_type in (mediatype.DOCKER_MANIFEST, mediatype.DOCKER_LIST):
        raise Refused(
            f"{called} is in docker's format, which has no annotations",
            hint="`ocitool convert SRC --oci -t DST` makes an OCI image of it",
        )


def _annotated(parts: ImageParts, settings: Settings) -> dict[str, object]:
    manifest = members_of(parts.manifest.raw)
    if settings.annotations:
        refuse_docker_annotations(parts.manifest.media_type, "the manifest")
    annotated(manifest, settings.annotations, settings.without_annotations)
    return manifest


def _changes(
    change: Callable[[dict[str, object], Settings], None],
    config: dict[str, object],
    settings: Settings,
) -> bool:
    """Apply one change; tell whether anything is different now."""
    before = json.dumps(config)
    change(config, settings)
    return json.dumps(config) != before


def _runtime(config: dict[str, object]) -> dict[str, object]:
    """Return a copy of how a container starts."""
    return dict(cast("dict[str, object]", config.get("config") or {}))


def _set_runtime(config: dict[str, object], key: str, value: object) -> None:
    runtime = _runtime(config)
    put_or_drop(runtime, key, value, RUNTIME_ORDER)
    if runtime != (config.get("config") or {}):
        put(config, "config", runtime, CONFIG_ORDER)


def _merged(old: object, added: Mapping[str, object], without: Iterable[str]) -> dict[str, object]:
    """Return an object with members added and removed; one that was sorted stays sorted."""
    before = cast("dict[str, object]", old or {})
    removed = set(without)
    result = {key: value for key, value in before.items() if key not in removed}
    result.update(added)
    return dict(sorted(result.items())) if list(before) == sorted(before) else result


def _labels(config: dict[str, object], wanted: Settings) -> None:
    old = _runtime(config).get("Labels")
    _set_runtime(config, "Labels", _merged(old, wanted.labels, wanted.without_labels))


def _env(config: dict[str, object], wanted: Settings) -> None:
    lines = cast("list[str]", _runtime(config).get("Env") or [])
    left = dict(wanted.env)
    result = []
    for line in lines:
        name = line.partition("=")[0]
        if name in wanted.env:
            # A variable that stands there twice is set once, at its first place.
            result += [f"{name}={left.pop(name)}"] if name in left else []
        elif name not in wanted.without_env:
            result.append(line)
    result += [f"{name}={value}" for name, value in left.items()]
    _set_runtime(config, "Env", result)


def _exposed(config: dict[str, object], wanted: Settings) -> None:
    _set_members(config, "ExposedPorts", wanted.exposed, wanted.without_exposed)


def _volumes(config: dict[str, object], wanted: Settings) -> None:
    _set_members(config, "Volumes", wanted.volumes, wanted.without_volumes)


def _set_members(
    config: dict[str, object], key: str, added: Iterable[str], without: Iterable[str]
) -> None:
    """Add and remove keys of an object whose values are empty objects."""
    old = cast("dict[str, object]", _runtime(config).get(key) or {})
    new: dict[str, object] = {name: {} for name in added if name not in old}
    _set_runtime(config, key, _merged(old, new, without))


def _platform(config: dict[str, object], wanted: Settings) -> None:
    if wanted.platform is not None:
        members = wanted.platform.to_json()
        for key in _PLATFORM_MEMBERS:
            put_or_drop(config, key, members.get(key), CONFIG_ORDER)


def _author(config: dict[str, object], wanted: Settings) -> None:
    if wanted.author is not None:
        put_or_drop(config, "author", wanted.author, CONFIG_ORDER)


def _created(config: dict[str, object], wanted: Settings) -> None:
    set_created(config, wanted.created)


def _one(key: str, attribute: str) -> Callable[[dict[str, object], Settings], None]:
    """Return the change of a member that is set as a whole."""

    def change(config: dict[str, object], wanted: Settings) -> None:
        value = getattr(wanted, attribute)
        if value is not None:
            _set_runtime(config, key, list(value) if isinstance(value, tuple) else value)

    return change


_CHANGES: dict[str, Callable[[dict[str, object], Settings], None]] = {
    "label": _labels,
    "env": _env,
    "entrypoint": _one("Entrypoint", "entrypoint"),
    "cmd": _one("Cmd", "cmd"),
    "user": _one("User", "user"),
    "workdir": _one("WorkingDir", "working_dir"),
    "expose": _exposed,
    "volume": _volumes,
    "stop-signal": _one("StopSignal", "stop_signal"),
    "platform": _platform,
    "author": _author,
    "created": _created,
}
"""What can be changed in a configuration, by the word for it in the history."""
