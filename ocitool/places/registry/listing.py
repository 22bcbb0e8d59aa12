"""The tags of a repository and the repositories of a registry (distribution-spec)."""

from collections.abc import Callable, Sequence
from functools import partial

from msgspec.structs import replace

from ocitool.errors import IntegrityError, LimitExceeded, OcitoolError, Refused
from ocitool.oci.quoting import quoted
from ocitool.oci.reference import is_tag
from ocitool.places.registry.http import locations
from ocitool.places.registry.http.request import Answer, Request
from ocitool.places.registry.paging import IncompleteList, decode, pages
from ocitool.places.registry.session import Session

_MOST_AT_ONCE = 1000
"""Amazon refuses a larger number. Then none is sent: every registry has its own for that."""
_OK = 200
_DENIED = 401
_NOT_OFFERED = (403, 404, 405)
_BARREN = 100
"""After so many pages without anything new a list counts as endless."""


def tags(session: Session, most: int | None = None) -> list[str]:
    """Return the tags of a repository, sorted, each once; up to `most` of them when given.

    What is listed and is not a valid tag is left out with a warning. NotFound when there is no such
    repository, IncompleteList with the tags so far when the rest cannot be read.
    """
    request, check = _tags_of(session)
    try:
        return _only_tags(session, _collect(session, request, "tags", most, check))
    except IncompleteList as error:
        raise IncompleteList(error, _only_tags(session, error.found)) from error


def every_tag(session: Session) -> list[str]:
    """Return all tags of a repository, sorted; any doubt whether these are all is an error.

    NotFound when there is no such repository, IncompleteList when not all can be read, also where
    a Link leads back, and IntegrityError for what is listed and is not a valid tag.
    """
    request, check = _tags_of(session)
    found = _collect(session, request, "tags", None, check, strict=True)
    for text in found:
        if not is_tag(text):
            raise IntegrityError(
                f"{session.host.domain} lists {quoted(text[:80])}, which is not a valid tag"
            )
    return found


def _tags_of(session: Session) -> tuple[Request, Callable[[Answer], None]]:
    request = Request("GET", session.url("tags/list"), session.scopes("pull"))

    def check(answer: Answer) -> None:
        if answer.status != _OK:
            raise session.problem(request, answer).error(f"list the tags of {session.name}")

    return request, check


def _only_tags(session: Session, found: Sequence[str]) -> list[str]:
    for text in found:
        if not is_tag(text):
            session.registries.warn(
                f"{session.host.domain} lists {quoted(text[:80])}, which is not a valid tag: "
                "left out"
            )
    return [text for text in found if is_tag(text)]


def catalog(session: Session, most: int | None = None) -> list[str]:
    """Return the repositories of a registry, sorted; many registries do not tell.

    Refused, with that explanation, where this is not offered; IncompleteList as for `tags`.
    """
    request = Request("GET", f"{session.base}/v2/_catalog", ("registry:catalog:*",))

    def check(answer: Answer) -> None:
        denied = answer.status == _DENIED and not session.has_credential
        if answer.status in _NOT_OFFERED or denied:
            raise Refused(
                f"{session.host.domain} does not list its repositories ({answer.status})",
                hint="Docker Hub, GHCR, ECR and others list them only in their web pages",
            )
        if answer.status != _OK:
            raise session.problem(request, answer).error(f"list {session.host.domain}")

    return _collect(session, request, "repositories", most, check)


def _collect(
    session: Session,
    request: Request,
    key: str,
    most: int | None,
    check: Callable[[Answer], None],
    *,
    strict: bool = False,
) -> list[str]:
    if most is not None and most <= _MOST_AT_ONCE:
        request = replace(request, url=locations.with_query(request.url, [("n", str(most))]))
    found: set[str] = set()
    barren = 0
    try:
        entries = partial(_texts, session, key=key)
        for answer in pages(session, request, entries, strict=strict):
            check(answer)
            fresh = set(_texts(session, answer, key=key)) - found
            barren = 0 if fresh else barren + 1
            if barren > _BARREN:
                raise LimitExceeded(
                    f"{session.host.domain} returns page after page without anything new"
                )
            found |= fresh
            if most is not None and len(found) >= most:
                break
    except LimitExceeded:
        raise
    except OcitoolError as error:
        if not found:
            raise
        raise IncompleteList(error, sorted(found)[:most]) from error
    return sorted(found)[:most]


def _texts(session: Session, answer: Answer, *, key: str) -> list[str]:
    values = decode(session, answer).get(key)
    return [text for text in values if isinstance(text, str)] if isinstance(values, list) else []


def delete(session: Session, name: str, *, what: str) -> bool:
    """Delete a tag or a manifest by digest; return False when it was not there.

    Refused where the registry does not delete.
    """
    url = session.url(f"manifests/{name}")
    request = Request("DELETE", url, session.scopes("pull,push,delete"))
    answer = session.answer(request)
    if answer.status in (200, 202, 204):
        return True
    if answer.status == 404:
        return False
    problem = session.problem(request, answer)
    if answer.status == 405 or "UNSUPPORTED" in problem.codes:
        raise Refused(f"{session.host.domain} does not delete {what}: it is switched off there")
    if ":" not in name and "DIGEST_INVALID" in problem.codes:
        raise Refused(
            f"{session.host.domain} deletes no tags, only images with all their tags",
            hint="--by-digest deletes the image, hence every tag that it has",
        )
    raise problem.error(f"delete {what}")
