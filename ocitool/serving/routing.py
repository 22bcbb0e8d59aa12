"""From the path of a request to the end point that it means (distribution-spec, "Endpoints")."""

import re
from urllib.parse import unquote

from msgspec import Struct

from ocitool.errors import OcitoolError
from ocitool.oci import Digest
from ocitool.oci.reference import is_tag
from ocitool.serving.messages import Refusal

_ROUTES = tuple(
    (kind, re.compile(pattern).fullmatch)
    for kind, pattern in (
        ("root", r"/v2/?"),
        ("catalog", r"/v2/_catalog"),
        ("upload", r"/v2/(.+)/blobs/uploads/([^/]*)"),
        ("upload", r"/v2/(.+)/blobs/uploads"),
        ("blob", r"/v2/(.+)/blobs/([^/]+)"),
        ("manifest", r"/v2/(.+)/manifests/([^/]+)"),
        ("tags", r"/v2/(.+)/tags/list"),
        ("referrers", r"/v2/(.+)/referrers/([^/]+)"),
    )
)


class Route(Struct, frozen=True):
    """An end point: `kind` says which, `path` is the repository as sent, `rest` what follows."""

    kind: str
    path: str = ""
    rest: str = ""


def route(path: str) -> Route:
    """Return the end point of a path; Refusal for one that means none."""
    for kind, match in _ROUTES:
        found = match(path)
        if found is not None:
            return Route(kind, *found.groups())
    raise Refusal(404, "UNSUPPORTED", "there is nothing at this address")


def digest_of(text: str) -> Digest:
    """Return the digest at the end of a path; Refusal for what is none."""
    try:
        return Digest.parse(unquote(text))
    except OcitoolError as error:
        raise Refusal(400, "DIGEST_INVALID", error.message) from None


def tag_of(text: str) -> str:
    """Return the tag at the end of a path; Refusal for what is none."""
    if not is_tag(text):
        message = "a tag has up to 128 letters, digits, '_', '.' and '-'"
        raise Refusal(400, "TAG_INVALID", message)
    return text


def is_digest(text: str) -> bool:
    """Tell whether a reference is meant to be a digest: a tag has no colon."""
    return ":" in unquote(text)
