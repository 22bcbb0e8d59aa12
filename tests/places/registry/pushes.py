"""Blobs and images pushed into a registry of the test, as the toolkit pushes them."""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from ocitool.errors import OcitoolError
from ocitool.image.content import Blob
from ocitool.oci import DEFAULT_LIMITS, Descriptor, Digest, Reference
from ocitool.operations.push import push
from ocitool.operations.push_report import OnExisting, PushReport
from ocitool.places.layout import Layout
from ocitool.places.registry import Registries, RegistryOptions, Session
from ocitool.places.registry.upload import Uploads
from ocitool.transfer.pipeline import TransferOptions
from tests.support.http_exchange import Exchange, Logged
from tests.support.images import Built
from tests.support.layouts import bring
from tests.support.registry import EmulatedRegistry

NAME = "team/app"
UPLOADS = "/blobs/uploads/"
QUICK = replace(DEFAULT_LIMITS, retries=3, connect_seconds=5, commit_seconds=5)


def options(**more: Any) -> RegistryOptions:
    """Return options under which nothing waits long."""
    return RegistryOptions(**{"retry_max_wait": 0.02, "limits": QUICK, **more})


def described(data: bytes) -> Descriptor:
    """Return the descriptor of a layer."""
    media_type = "application/vnd.oci.image.layer.v1.tar"
    return Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data))


class Losing(EmulatedRegistry):
    """Loses something, once, when a manifest comes that lists it: a manifest, else a layer."""

    def __init__(self, manifest: Digest | None = None) -> None:
        super().__init__()
        self.lost: dict[Digest, object] = {}
        self._manifest = manifest

    def respond(self, exchange: Exchange) -> None:
        wanted = "/manifests/" if self._manifest is None else "/manifests/1"
        if exchange.method == "PUT" and wanted in exchange.path and not self.lost:
            held: Any = self.state.manifests if self._manifest else self.state.blobs
            digest = self._manifest or next(
                digest for digest, data in held[NAME].items() if not data.startswith(b"{")
            )
            self.lost[digest] = held[NAME].pop(digest)
        super().respond(exchange)


class Bytes:
    """A blob in memory, that counts how often it was opened and how much was read of it."""

    def __init__(self, data: bytes, descriptor: Descriptor | None = None) -> None:
        self.data = data
        self.descriptor = descriptor or described(data)
        self.opened = 0
        self.read = 0

    def __call__(self) -> Blob:
        self.opened += 1
        return Blob.of(self.descriptor, self.data, where="the blob").watched(self._count)

    def _count(self, size: int) -> None:
        self.read += size


class Pusher:
    """Pushes blobs into one repository and hears what is said."""

    def __init__(self, registries: Registries, warnings: list[str], host: str, **how: Any) -> None:
        self.registries = registries
        self.warnings = warnings
        self.session = Session(registries, host, NAME, writing=True)
        self.uploads = Uploads(self.session, **how)

    def put(self, blob: "Bytes | bytes") -> Bytes:
        """Push a blob."""
        blob = Bytes(blob) if isinstance(blob, bytes) else blob
        self.uploads.put(blob.descriptor, blob)
        return blob

    def refusal(self, blob: "Bytes | bytes") -> OcitoolError:
        """Push a blob, and return the error that has to come."""
        try:
            self.put(blob)
        except OcitoolError as error:
            return error
        raise AssertionError("it was pushed")


@contextlib.contextmanager
def pushing(
    host: str, *, environment: Mapping[str, str] | None = None, how: Any = None, **more: Any
) -> Iterator[Pusher]:
    """Open what pushes to a registry; `more` are options, `how` is for Uploads."""
    warnings: list[str] = []
    with Registries(
        options(**more), warn=warnings.append, environment=environment or {}
    ) as registries:
        yield Pusher(registries, warnings, host, **(how or {}))


def held(registry: EmulatedRegistry, blob: Bytes, name: str = NAME) -> bool:
    """Tell whether the registry holds exactly these bytes."""
    return registry.blobs.get(name, {}).get(blob.descriptor.digest) == blob.data


def methods(registry: EmulatedRegistry, pattern: str = "") -> list[str]:
    """Return the methods of all requests, in their order."""
    return [logged.method for logged in registry.requests(pattern=pattern)]


def received(registry: EmulatedRegistry) -> int:
    """Return how many bytes of blobs came."""
    return sum(logged.received_bytes for logged in registry.requests(pattern=UPLOADS))


def last(registry: EmulatedRegistry, method: str) -> Logged:
    """Return the last request of a method."""
    return registry.requests(method)[-1]


def reference(registry: EmulatedRegistry, tag: str = "1", name: str = NAME) -> Reference:
    """Return the reference of a tag in the registry."""
    return Reference.parse(f"{registry.host}/{name}:{tag}")


def later(seconds: float, run: Callable[[], None]) -> threading.Timer:
    """Run something after some seconds, in another thread."""
    timer = threading.Timer(seconds, run)
    timer.start()
    return timer


@dataclass
class Shelf:
    """A layout with images, and registries to push them to."""

    layout: Layout
    registries: Registries
    warnings: list[str]

    def add(self, built: Built, *names: str) -> None:
        """Store an image."""
        bring(self.layout, built, *names)

    def push(self, built: Built, *destinations: Reference | str, **how: Any) -> list[PushReport]:
        """Push one image; `how` are options and `on_existing`."""
        digest = built.descriptor.digest
        if not any(root.descriptor.digest == digest for root in self.layout.roots()):
            self.add(built)
        roots = [root for root in self.layout.roots() if root.descriptor.digest == digest]
        targets = [Reference.parse(t) if isinstance(t, str) else t for t in destinations]
        existing = how.pop("on_existing", OnExisting.OVERWRITE)
        options = TransferOptions(**how)
        return push(self.layout, roots, targets, self.registries, options, on_existing=existing)


@contextlib.contextmanager
def shelf(
    folder: Path, *, environment: Mapping[str, str] | None = None, **more: Any
) -> Iterator[Shelf]:
    """Open a new layout in a folder, and registries; `more` are their options."""
    warnings: list[str] = []
    with (
        Layout.create(str(folder / "shelf"), store=True) as layout,
        Registries(
            options(**more), warn=warnings.append, environment=environment or {}
        ) as registries,
    ):
        yield Shelf(layout, registries, warnings)


def outcomes(report: PushReport) -> dict[str, int]:
    """Return how many blobs and documents came to which end."""
    return dict(Counter(str(moved.outcome) for moved in report.transfer.blobs))


def whole(registry: EmulatedRegistry, built: Built, name: str = NAME) -> bool:
    """Tell whether the registry holds exactly the bytes of an image and of all below it."""
    found: dict[Digest, bytes] = dict(registry.blobs.get(name, {}))
    found |= {digest: one.raw for digest, one in registry.manifests.get(name, {}).items()}
    return all(found.get(digest) == data for digest, data in built.blobs.items())
