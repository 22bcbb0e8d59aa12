"""The documents of OCI and Docker images as frozen values. No I/O, no clock, no environment.

The names below load on first use, so that a command pays only for the documents it reads.
"""

from typing import TYPE_CHECKING

from ocitool.lazy import lazy

if TYPE_CHECKING:
    from ocitool.oci.config import HistoryEntry as HistoryEntry
    from ocitool.oci.config import ImageConfig as ImageConfig
    from ocitool.oci.config import chain_ids as chain_ids
    from ocitool.oci.config import parse_time as parse_time
    from ocitool.oci.descriptor import Descriptor as Descriptor
    from ocitool.oci.digest import Digest as Digest
    from ocitool.oci.digest import Hasher as Hasher
    from ocitool.oci.document import decode_array as decode_array
    from ocitool.oci.document import decode_object as decode_object
    from ocitool.oci.limits import DEFAULT_LIMITS as DEFAULT_LIMITS
    from ocitool.oci.limits import Limits as Limits
    from ocitool.oci.manifest import Index as Index
    from ocitool.oci.manifest import Manifest as Manifest
    from ocitool.oci.manifest import build_index as build_index
    from ocitool.oci.manifest import build_manifest as build_manifest
    from ocitool.oci.manifest import parse_manifest as parse_manifest
    from ocitool.oci.platform import Platform as Platform
    from ocitool.oci.reference import Reference as Reference
    from ocitool.oci.runtime import Healthcheck as Healthcheck
    from ocitool.oci.runtime import RuntimeConfig as RuntimeConfig

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "config": "HistoryEntry ImageConfig chain_ids parse_time",
        "descriptor": "Descriptor",
        "digest": "Digest Hasher",
        "document": "decode_array decode_object",
        "limits": "DEFAULT_LIMITS Limits",
        "manifest": "Index Manifest build_index build_manifest parse_manifest",
        "platform": "Platform",
        "reference": "Reference",
        "runtime": "Healthcheck RuntimeConfig",
    },
)
