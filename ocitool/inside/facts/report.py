"""What is known of an image without running it."""

from enum import StrEnum

from msgspec import Struct

from ocitool.inside.facts.packages.package import Distribution, Package
from ocitool.oci import Digest, Platform


class ImageClass(StrEnum):
    """What kind of image it is, from nothing to a whole operating system."""

    SCRATCH = "scratch"
    DISTROLESS = "distroless-like"
    MINIMAL = "minimal"
    FULL = "full OS"


class Program(Struct, frozen=True, kw_only=True):
    """A shell or a package manager: the path that starts it, and the file behind its links."""

    name: str
    path: str
    file: str


class Library(Struct, frozen=True, kw_only=True):
    """A C library: glibc, musl or uClibc, and its version where it is known."""

    name: str
    path: str
    version: str | None = None


class Bundle(Struct, frozen=True, kw_only=True):
    """A file of trusted certificates, and how many are in it."""

    path: str
    certificates: int


class Loose(StrEnum):
    """What makes a file dangerous."""

    SETUID = "setuid"
    SETGID = "setgid"
    WRITABLE = "world-writable"
    CAPABILITIES = "capabilities"


class LooseFile(Struct, frozen=True, kw_only=True):
    """A file or folder of the merged tree that gives more rights than usual.

    `mode` is the permission bits; `layer` the number of the layer that made it.
    """

    rule: Loose
    path: str
    mode: int
    uid: int
    gid: int
    layer: int
    instruction: str | None = None


class Secret(Struct, frozen=True, kw_only=True):
    """A secret in a file of any layer or in the configuration; the secret itself is not here.

    `place` is "file", "path" for one that a path has in it, or the part of the configuration:
    "env", "label", "history", "command", "annotation". `path` is a file's, `name` what the secret
    is called there. `begins` are at most its first four characters. `hidden_by` is the layer that
    hides the file from containers, `how` by what. `note` says why a known one is harmless,
    `allowed` why the user accepts it.
    """

    kind: str
    place: str
    begins: str
    path: str | None = None
    name: str | None = None
    layer: int | None = None
    instruction: str | None = None
    hidden_by: int | None = None
    how: str | None = None
    note: str | None = None
    allowed: str | None = None


class Unread(Struct, frozen=True, kw_only=True):
    """What could not be read, and why.

    `kind` of a whole layer, which has the path "", is that of its `Problem`: damaged, missing,
    foreign, encrypted, not_a_layer. Of a file it is too_large, malformed, unmerged (a database
    beside its write-ahead log) or unsupported.
    """

    kind: str
    path: str
    reason: str
    layer: int | None = None


class Facts(Struct, frozen=True, kw_only=True):
    """What an image holds. All paths are relative to its root, all links are followed.

    `user` is the user that a container runs as, "" for root by default. `reasons` say why the
    image is of its class. `zoneinfo` are the folders with time zones.
    """

    names: tuple[str, ...]
    digest: Digest
    platform: Platform
    created: str | None
    distribution: Distribution
    image_class: ImageClass
    reasons: tuple[str, ...]
    user: str
    shells: tuple[Program, ...] = ()
    package_managers: tuple[Program, ...] = ()
    c_libraries: tuple[Library, ...] = ()
    ca_bundles: tuple[Bundle, ...] = ()
    zoneinfo: tuple[str, ...] = ()
    loose: tuple[LooseFile, ...] = ()
    packages: tuple[Package, ...] = ()
    secrets: tuple[Secret, ...] = ()
    unread: tuple[Unread, ...] = ()

    @property
    def unread_layers(self) -> tuple[Unread, ...]:
        """The whole layers that could not be read."""
        return tuple(one for one in self.unread if not one.path)

    @property
    def runs_as_root(self) -> bool:
        """Whether containers run as root unless told otherwise."""
        return self.user.partition(":")[0] in ("", "0", "root")
