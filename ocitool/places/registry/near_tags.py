"""What to say of a tag that a repository does not have: which tags are near it."""

import contextlib
import re
from collections.abc import Iterator, Sequence

from ocitool.errors import NotFound, OcitoolError
from ocitool.oci import Reference
from ocitool.oci.reference import is_tag
from ocitool.places.registry.http.request import Request
from ocitool.places.registry.http.retrying import Retries
from ocitool.places.registry.paging import decode
from ocitool.places.registry.session import Session

_OK = 200
_SHOWN = 5
_NUMBERS = re.compile(r"(\d+)")


@contextlib.contextmanager
def tells_near_tags(session: Session, reference: Reference) -> Iterator[None]:
    """Name tags that the repository has when the block does not find the one of a reference.

    That costs one request, and what becomes of it changes nothing else.
    """
    try:
        yield
    except NotFound as error:
        tags = _first_tags(session) if reference.digest is None else []
        if not tags:
            raise
        raise NotFound(error.message, hint=_hint(reference, tags)) from error


def _first_tags(session: Session) -> list[str]:
    """Return the tags that the registry lists first; none where it does not tell."""
    request = Request("GET", session.url("tags/list"), session.scopes("pull"))
    try:
        answer = session.answer(request, retries=Retries(0))
        found = decode(session, answer).get("tags") if answer.status == _OK else None
    except OcitoolError:
        return []
    listed = found if isinstance(found, list) else []
    return [text for text in listed if isinstance(text, str) and is_tag(text)]


def _hint(reference: Reference, tags: Sequence[str]) -> str:
    command = f"`ocitool registry tags {reference.familiar_repository}` lists them"
    near = near_tags(reference.tag or "", tags)
    if near:
        return f"did you mean {', '.join(near)}? {command}"
    last = sorted(tags, key=natural_order)[-_SHOWN:]
    return f"it has {', '.join(last)}{' and others' if len(tags) > _SHOWN else ''}; {command}"


def near_tags(tag: str, tags: Sequence[str]) -> list[str]:
    """Return up to five tags that may be meant by another one, the likeliest first.

    Those that begin as it does, or as it does without a "v", then those that look like it.
    """
    import difflib

    bare = tag.removeprefix("v")
    begun = [one for one in tags if bare and one.removeprefix("v").startswith(bare)]
    alike = difflib.get_close_matches(tag, tags, n=_SHOWN)
    return list(dict.fromkeys([*sorted(begun, key=natural_order), *alike]))[:_SHOWN]


def natural_order(tag: str) -> list[tuple[int, str]]:
    """Return a key by which 1.9 comes before 1.10."""
    parts = _NUMBERS.split(tag)
    return [(int(part[:18]), "") if part.isdecimal() else (-1, part) for part in parts]
