"""Platforms: parsing, normalising and matching them.

OCI image-spec, image-index.md, "platform" and "Platform Variants". Normalisation and fallbacks
follow containerd, as engines and `docker pull` do.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Self

from msgspec import Struct, field
from msgspec.structs import replace

from ocitool.errors import UsageError
from ocitool.oci.document import as_object, optional_string, refuse_case_twins, strings
from ocitool.oci.quoting import quoted

PLATFORM_KEYS = frozenset({"os", "architecture", "variant", "os.version", "os.features"})
_UNKNOWN = "unknown"
_WINDOWS = "windows"
_WINDOWS_BUILD_PARTS = 3

_OPERATING_SYSTEMS = {"macos": "darwin"}
_ARCHITECTURES = {
    "i386": ("386", ""),
    "x86_64": ("amd64", None),
    "x86-64": ("amd64", None),
    "aarch64": ("arm64", None),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
_VARIANTS = {
    ("amd64", "v1"): "",
    ("arm64", "8"): "",
    ("arm64", "v8"): "",
    ("arm64", "v8.0"): "",
    ("arm64", "9"): "v9",
    ("arm64", "9.0"): "v9",
    ("arm64", "v9.0"): "v9",
    ("arm", ""): "v7",
    ("arm", "5"): "v5",
    ("arm", "6"): "v6",
    ("arm", "7"): "v7",
    ("arm", "8"): "v8",
}
_ARCHITECTURES_BY_THEMSELVES = frozenset(
    {"386", "amd64", "arm", "arm64", "loong64", "ppc64le", "riscv64", "s390x", *_ARCHITECTURES}
)

_WORD = r"[A-Za-z0-9_.-]+"
_SYNTAX = re.compile(
    rf"(?P<os>[A-Za-z0-9_-]+)"
    rf"(?:\((?P<version>[A-Za-z0-9_.-]*)(?P<features>(?:\+{_WORD})*)\))?"
    rf"/(?P<architecture>{_WORD})"
    rf"(?:/(?P<variant>{_WORD}))?"
    rf"(?::(?P<crane_version>{_WORD}))?"
)
_ARM_VERSION = re.compile(r"v([0-9]{1,2})")
_ARM64_VERSION = re.compile(r"v([89])(?:\.([0-9]{1,2}))?")
_AMD64_LEVEL = re.compile(r"v([0-9]{1,2})")


class Platform(Struct, frozen=True, kw_only=True):
    """The platform an image runs on. Fields are as written; `normalized` makes them comparable.

    `extra` holds unknown fields, so that writing the platform again keeps them.
    """

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    extra: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse and normalise what a user typed; raises `UsageError`.

        Understands containerd's `os(version+feature)/architecture/variant`, crane's
        `os/architecture/variant:version`, and a known architecture alone, which means Linux.
        """
        if text.lower() in _ARCHITECTURES_BY_THEMSELVES:
            text = f"linux/{text}"
        match = _SYNTAX.fullmatch(text)
        if match is None:
            hint = "write it as os/architecture or os/architecture/variant, such as linux/arm64"
            raise UsageError(f"{quoted(text)} is not a platform", hint=hint)
        if match["version"] and match["crane_version"]:
            raise UsageError(f"{quoted(text)} names two versions of the operating system")
        return cls(
            os=match["os"],
            architecture=match["architecture"],
            variant=match["variant"] or "",
            os_version=match["version"] or match["crane_version"] or "",
            os_features=tuple((match["features"] or "").split("+")[1:]),
        ).normalized()

    @classmethod
    def from_json(cls, value: object, path: str) -> Self:
        """Decode a `platform` object or an image configuration; raises `MalformedDocument`.

        Old documents omit `os` or `architecture`: these become empty and match nothing.
        """
        obj = as_object(value, path)
        refuse_case_twins(obj, PLATFORM_KEYS, path)
        return cls(
            **_known_fields(obj, path),
            os_features=strings(obj, "os.features", path),
            extra={key: item for key, item in obj.items() if key not in PLATFORM_KEYS},
        )

    def __hash__(self) -> int:
        return hash((self.os, self.architecture, self.variant, self.os_version))

    def to_json(self) -> dict[str, object]:
        """Return the `platform` object of a descriptor; empty optional fields are left out."""
        result: dict[str, object] = {"architecture": self.architecture, "os": self.os}
        if self.os_version:
            result["os.version"] = self.os_version
        if self.os_features:
            result["os.features"] = list(self.os_features)
        if self.variant:
            result["variant"] = self.variant
        return {**result, **self.extra}

    def normalized(self) -> Self:
        """Return the platform with the usual names (`aarch64` becomes `arm64`). Idempotent."""
        system = self.os.lower()
        architecture, variant = self.architecture.lower(), self.variant.lower()
        if architecture in _ARCHITECTURES:
            architecture, implied = _ARCHITECTURES[architecture]
            variant = variant if implied is None else implied
        return replace(
            self,
            os=_OPERATING_SYSTEMS.get(system, system),
            architecture=architecture,
            variant=_VARIANTS.get((architecture, variant), variant),
        )

    @property
    def is_unknown(self) -> bool:
        """Whether this marks content that is not an image, such as an attestation."""
        return _UNKNOWN in (self.os, self.architecture)

    def fallbacks(self) -> tuple[Self, ...]:
        """Return the other platforms whose images also run here, the best first, normalised."""
        wanted = self.normalized()
        steps = {"amd64": _below_amd64, "arm": _below_arm, "arm64": _below_arm64}
        below = steps.get(wanted.architecture)
        if below is None:
            return ()
        return tuple(
            replace(wanted, architecture=architecture, variant=variant).normalized()
            for architecture, variant in below(wanted.variant)
        )

    def rank(self, candidate: "Platform") -> int | None:
        """Return how well an image for `candidate` runs on this platform; None if it does not.

        0 is an exact match, a higher number a worse fallback. An unknown platform never matches.
        """
        offered = candidate.normalized()
        if offered.is_unknown or not self._accepts_system(offered):
            return None
        for place, platform in enumerate((self.normalized(), *self.fallbacks())):
            if (platform.architecture, platform.variant) == (offered.architecture, offered.variant):
                exact = self.os_version in ("", offered.os_version)
                return 2 * place + (0 if exact else 1)
        return None

    def matches(self, wanted: "Platform") -> bool:
        """Tell whether an image for this platform runs on `wanted`."""
        return wanted.rank(self) is not None

    def _accepts_system(self, offered: "Platform") -> bool:
        return (
            self.normalized().os == offered.os
            and set(offered.os_features) <= set(self.os_features)
            and self._accepts_version(offered.os_version)
        )

    def _accepts_version(self, offered: str) -> bool:
        if not self.os_version or not offered:
            return True
        if self.os.lower() != _WINDOWS:
            return offered == self.os_version
        return _windows_build(offered) == _windows_build(self.os_version)

    def __str__(self) -> str:
        if not self.os and not self.architecture:
            return _UNKNOWN
        system = self.os or _UNKNOWN
        if self.os_version or self.os_features:
            system += f"({'+'.join((self.os_version, *self.os_features))})"
        variant = f"/{self.variant}" if self.variant else ""
        return f"{system}/{self.architecture or _UNKNOWN}{variant}"


def _known_fields(obj: Mapping[str, object], path: str) -> dict[str, str]:
    return {
        "os": optional_string(obj, "os", path) or "",
        "architecture": optional_string(obj, "architecture", path) or "",
        "variant": optional_string(obj, "variant", path) or "",
        "os_version": optional_string(obj, "os.version", path) or "",
    }


def _windows_build(version: str) -> list[str]:
    """Return major, minor and build: an image needs the same build, but not the same revision."""
    return version.split(".")[:_WINDOWS_BUILD_PARTS]


def _below_amd64(variant: str) -> Iterator[tuple[str, str]]:
    match = _AMD64_LEVEL.fullmatch(variant)
    for level in range(int(match[1]) - 1 if match else 0, 0, -1):
        yield "amd64", f"v{level}"
    yield "386", ""


def _below_arm(variant: str) -> Iterator[tuple[str, str]]:
    match = _ARM_VERSION.fullmatch(variant)
    for version in range(int(match[1]) - 1 if match else 0, 4, -1):
        yield "arm", f"v{version}"


def _below_arm64(variant: str) -> Iterator[tuple[str, str]]:
    match = _ARM64_VERSION.fullmatch(variant or "v8")
    if match is None:
        return
    major, minor = int(match[1]), int(match[2] or 0)
    if major == 9:
        for lower in range(minor - 1, -1, -1):
            yield "arm64", f"v9.{lower}"
        # Armv9.0 includes v8.5; the two lines stay five versions apart up to v9.4 and v8.9.
        minor = min(minor + 5, 9) + 1
    for lower in range(minor - 1, -1, -1):
        yield "arm64", f"v8.{lower}"
    yield "arm", "v8"
    yield from _below_arm("v8")
