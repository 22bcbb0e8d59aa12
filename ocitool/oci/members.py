"""Members of JSON documents: put in, taken out, and otherwise left in their order."""

import json
from collections.abc import Sequence

MANIFEST_ORDER = (
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "subject",
    "annotations",
)
CONFIG_ORDER = (
    "created",
    "author",
    "architecture",
    "variant",
    "os",
    "os.version",
    "os.features",
    "config",
    "rootfs",
    "history",
)
RUNTIME_ORDER = (
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
)
DESCRIPTOR_ORDER = (
    "mediaType",
    "digest",
    "size",
    "urls",
    "annotations",
    "data",
    "artifactType",
    "platform",
)


def members_of(raw: bytes) -> dict[str, object]:
    """Return the members of a document that was decoded strictly before."""
    fields: dict[str, object] = json.loads(raw)
    return fields


def put(fields: dict[str, object], key: str, value: object, order: Sequence[str]) -> None:
    """Set a member where it stands; a new one goes before the first that follows it in `order`."""
    behind = set(order[order.index(key) + 1 :]) if key in order else set()
    if key in fields or behind.isdisjoint(fields):
        fields[key] = value
        return
    items = list(fields.items())
    place = next(n for n, (name, _) in enumerate(items) if name in behind)
    items.insert(place, (key, value))
    fields.clear()
    fields.update(items)


def put_or_drop(fields: dict[str, object], key: str, value: object, order: Sequence[str]) -> None:
    """Set a member, or remove it where its new value is None or empty.

    One that is empty, whether null, "", [] or {}, and stays so is left as it was written.
    """
    if value:
        put(fields, key, value, order)
    elif fields.get(key):
        del fields[key]
