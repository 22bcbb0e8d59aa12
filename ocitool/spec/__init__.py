"""The documents of OCI and Docker images as frozen values. No I/O, no clock, no environment.

The names below load on first use, so that a command pays only for the documents it reads.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ocitool.spec.config import HistoryEntry, ImageConfig, chain_ids, parse_time
    from ocitool.spec.descriptor import Descriptor
    from ocitool.spec.digest import Digest, Hasher
    from ocitool.spec.document import decode_array, decode_object
    from ocitool.spec.limits import DEFAULT_LIMITS, Limits
    from ocitool.spec.manifest import Index, Manifest, build_index, build_manifest, parse_manifest
    from ocitool.spec.platform import Platform
    from ocitool.spec.reference import Reference
    from ocitool.spec.runtime import Healthcheck, RuntimeConfig

_MODULES = {
    "DEFAULT_LIMITS": "limits",
    "Descriptor": "descriptor",
    "Digest": "digest",
    "Hasher": "digest",
    "Healthcheck": "runtime",
    "HistoryEntry": "config",
    "ImageConfig": "config",
    "Index": "manifest",
    "Limits": "limits",
    "Manifest": "manifest",
    "Platform": "platform",
    "Reference": "reference",
    "RuntimeConfig": "runtime",
    "build_index": "manifest",
    "build_manifest": "manifest",
    "chain_ids": "config",
    "decode_array": "document",
    "decode_object": "document",
    "parse_manifest": "manifest",
    "parse_time": "config",
}

__all__ = [
    "DEFAULT_LIMITS",
    "Descriptor",
    "Digest",
    "Hasher",
    "Healthcheck",
    "HistoryEntry",
    "ImageConfig",
    "Index",
    "Limits",
    "Manifest",
    "Platform",
    "Reference",
    "RuntimeConfig",
    "build_index",
    "build_manifest",
    "chain_ids",
    "decode_array",
    "decode_object",
    "parse_manifest",
    "parse_time",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
