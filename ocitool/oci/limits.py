"""Limits that keep hostile input from exhausting memory, disk space or time."""

from typing import Self

from msgspec import Struct
from msgspec.structs import fields, replace

from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE
GIBIBYTE = 1024 * MEBIBYTE


class Limits(Struct, frozen=True, kw_only=True):
    """Limits on input. Sizes are in bytes, times in seconds, all others are counts."""

    manifest_bytes: int = 8 * MEBIBYTE
    pulled_manifest_bytes: int = 8 * MEBIBYTE
    pushed_manifest_bytes: int = 4 * MEBIBYTE
    config_bytes: int = 4 * MEBIBYTE
    docker_manifest_bytes: int = 4 * MEBIBYTE
    imgpkg_manifest_bytes: int = 16 * MEBIBYTE
    json_depth: int = 64
    json_structure: int = 500_000
    index_depth: int = 32
    index_descriptors: int = 10_000
    layers: int = 1_000
    docker_layers: int = 100_000
    history: int = 10_000
    planned_structure: int = 1_000_000

    extension_header_bytes: int = MEBIBYTE
    path_bytes: int = 4_096
    component_bytes: int = 255
    extracted_entries: int = 2_000_000
    extracted_bytes: int = 64 * GIBIBYTE
    free_disk_percent: int = 5
    ratio: int = 1_100
    ratio_floor: int = 256 * MEBIBYTE
    zstd_window_log: int = 27

    token_bytes: int = 128 * KIBIBYTE
    tag_page_bytes: int = 4 * MEBIBYTE
    error_body_bytes: int = 4 * KIBIBYTE
    redirects: int = 10
    pages: int = 10_000
    retries: int = 5
    retry_after_seconds: int = 60
    stall_seconds: int = 60
    stall_bytes: int = KIBIBYTE
    connect_seconds: int = 15
    commit_seconds: int = 300

    def with_limit(self, name: str, value: int) -> Self:
        """Return a copy with one limit changed; UsageError for an unknown name or a bad value."""
        names = [field.name for field in fields(self)]
        if name not in names:
            hint = f"the limits are {', '.join(names)}"
            raise UsageError(f"there is no limit {quoted(name)}", hint=hint)
        if value < 0:
            raise UsageError(f"the limit {name} cannot be negative")
        return replace(self, **{name: value})


DEFAULT_LIMITS = Limits()
