"""A registry with quirks and one blob, and short ways to ask it something."""

import json
from typing import Any

from ocitool.oci import Digest
from tests.places.registry.plain_client import Reply, send
from tests.support.registry import EmulatedRegistry, Quirks

DATA = b"0123456789"
TARGET = f"/v2/a/blobs/{Digest.of(DATA)}"
UPLOADS = "/v2/a/blobs/uploads/"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
ACCEPT = {"Accept": f"{MANIFEST},{INDEX}"}


def odd(**quirks: Any) -> EmulatedRegistry:
    """Return a registry with these quirks; DATA is in its repository "a"."""
    registry = EmulatedRegistry(Quirks(**quirks))
    registry.add_blob("a", DATA)
    return registry


def asked(registry: EmulatedRegistry, method: str = "GET", target: str = TARGET) -> Reply:
    """Ask for something, by default for the blob."""
    return send(registry.host, method, target, headers=ACCEPT)


def code_of(reply: Reply) -> str:
    """Return the code of the first error."""
    return str(json.loads(reply.body)["errors"][0]["code"])


def location(registry: EmulatedRegistry) -> str:
    """Open an upload and return its Location."""
    return str(send(registry.host, "POST", UPLOADS).headers["Location"])


def put(registry: EmulatedRegistry, data: bytes = DATA) -> Reply:
    """Upload a blob."""
    target = location(registry).removeprefix(registry.url)
    return send(registry.host, "PUT", f"{target}&digest={Digest.of(data)}", data)
