"""Image configurations: OCI's form and Docker's extension of it. OCI image-spec, config.md."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Self

from msgspec import Struct, field

from ocitool.errors import LimitExceeded, MalformedDocument
from ocitool.oci import document
from ocitool.oci.descriptor import digest_field
from ocitool.oci.digest import Digest
from ocitool.oci.limits import DEFAULT_LIMITS, Limits
from ocitool.oci.platform import PLATFORM_KEYS, Platform
from ocitool.oci.quoting import quoted
from ocitool.oci.runtime import RuntimeConfig

_KNOWN_KEYS = frozenset(
    {
        "created",
        "author",
        "architecture",
        "os",
        "variant",
        "os.version",
        "os.features",
        "config",
        "rootfs",
        "history",
    }
)
_ROOTFS_KEYS = frozenset({"type", "diff_ids"})
_HISTORY_KEYS = frozenset({"created", "created_by", "author", "comment", "empty_layer"})
_NOT_SET = "0001-01-01T00:00:00"
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?(Z|[+-][0-9]{2}:[0-9]{2})"
)


class HistoryEntry(Struct, frozen=True, kw_only=True):
    """One entry of `history`. `created` is text that `parse_time` reads, None if it is not set."""

    created: str | None = None
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False

    @classmethod
    def from_json(cls, value: object, path: str) -> Self:
        """Read one entry of `history`; raises `MalformedDocument`."""
        obj = document.as_object(value, path)
        document.refuse_case_twins(obj, _HISTORY_KEYS, path)
        return cls(
            created=_created(obj, path),
            created_by=document.optional_string(obj, "created_by", path) or "",
            author=document.optional_string(obj, "author", path) or "",
            comment=document.optional_string(obj, "comment", path) or "",
            empty_layer=document.optional_boolean(obj, "empty_layer", path),
        )


class ImageConfig(Struct, frozen=True, kw_only=True):
    """An image configuration, with the bytes it was read from (config.md, "Properties").

    `created` is the text as written, or None if it is not set. The digest of `raw` is the ImageID.
    """

    raw: bytes
    platform: Platform
    created: str | None = None
    author: str = ""
    diff_ids: tuple[Digest, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    config: RuntimeConfig = field(default_factory=RuntimeConfig)

    def __hash__(self) -> int:
        return hash(self.raw)

    @classmethod
    def parse(cls, raw: bytes, *, limits: Limits = DEFAULT_LIMITS, what: str = "config") -> Self:
        """Read an image config; raises `MalformedDocument` or `LimitExceeded`."""
        limit, depth = limits.config_bytes, limits.json_depth
        obj = document.decode_object(raw, what=what, limit=limit, depth=depth)
        document.refuse_case_twins(obj, _KNOWN_KEYS, what)
        return cls(
            raw=raw,
            platform=_platform(obj, what),
            created=_created(obj, what),
            author=document.optional_string(obj, "author", what) or "",
            diff_ids=_diff_ids(obj, limits, what),
            history=_history(obj, limits, what),
            config=RuntimeConfig.from_json(obj.get("config"), document.field(what, "config")),
        )

    def layer_history(self) -> tuple[HistoryEntry | None, ...]:
        """Return for each layer the history entry that made it, or None.

        If the history has more such entries than there are layers, nothing is mapped.
        """
        steps = {layer: entry for entry, layer in self.history_steps() if layer is not None}
        return tuple(steps.get(layer) for layer in range(len(self.diff_ids)))

    def history_steps(self) -> tuple[tuple[HistoryEntry, int | None], ...]:
        """Return each history entry with the number of the layer it made, None without a layer.

        Layer 0 is the lowest.
        """
        made = sum(not entry.empty_layer for entry in self.history)
        layers = iter(range(made) if made <= len(self.diff_ids) else ())
        return tuple(
            (entry, None if entry.empty_layer else next(layers, None)) for entry in self.history
        )

    def chain_ids(self) -> tuple[Digest, ...]:
        """Return the chain ID of each layer, lowest first."""
        return chain_ids(self.diff_ids)


def chain_ids(diff_ids: Iterable[Digest]) -> tuple[Digest, ...]:
    """Return for each layer the ChainID of the stack that ends with it (config.md, "ChainID")."""
    result: list[Digest] = []
    for diff_id in diff_ids:
        result.append(Digest.of(f"{result[-1]} {diff_id}".encode()) if result else diff_id)
    return tuple(result)


def parse_time(text: str) -> datetime | None:
    """Parse an RFC 3339 time, truncated to microseconds, with its zone; None if it is malformed."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    moment, fraction, zone = match.groups()
    try:
        return datetime.fromisoformat(f"{moment}.{(fraction or '')[:6]:0<6}{zone}")
    except ValueError:
        return None


def _created(obj: Mapping[str, object], path: str) -> str | None:
    """Return when something was created; Go writes its zero time where that is not set."""
    text = document.optional_string(obj, "created", path)
    return None if text is None or text.startswith(_NOT_SET) else text


def _platform(obj: Mapping[str, object], what: str) -> Platform:
    return Platform.from_json({key: obj[key] for key in PLATFORM_KEYS if key in obj}, what)


def _diff_ids(obj: Mapping[str, object], limits: Limits, what: str) -> tuple[Digest, ...]:
    rootfs = document.optional_object(obj, "rootfs", what)
    if rootfs is None:
        hint = "this must be the configuration of an image, by Docker 1.10 or newer"
        raise MalformedDocument(f"{document.field(what, 'rootfs')} is missing", hint=hint)
    path = document.field(what, "rootfs")
    document.refuse_case_twins(rootfs, _ROOTFS_KEYS, path)
    kind = document.string(rootfs, "type", path)
    if kind != "layers":
        raise MalformedDocument(f"{path}.type is {quoted(kind)}, not 'layers'")
    # Docker leaves `diff_ids` out for an image without layers.
    texts = document.strings(rootfs, "diff_ids", path)
    if len(texts) > limits.layers:
        raise LimitExceeded(f"{path} lists {len(texts)} layers, more than {limits.layers}")
    return tuple(digest_field(text, f"{path}.diff_ids[{n}]") for n, text in enumerate(texts))


def _history(obj: Mapping[str, object], limits: Limits, what: str) -> tuple[HistoryEntry, ...]:
    entries = document.optional_array(obj, "history", what)
    path = document.field(what, "history")
    if len(entries) > limits.history:
        raise LimitExceeded(f"{path} has {len(entries)} steps, more than {limits.history}")
    return tuple(
        HistoryEntry.from_json(entry, f"{path}[{number}]") for number, entry in enumerate(entries)
    )
