"""Lists that a registry gives page by page: tags and repositories (distribution-spec)."""

import json
import re
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from ocitool.errors import IntegrityError, LimitExceeded, Refused
from ocitool.places.registry.http import locations
from ocitool.places.registry.http.request import Answer, Request
from ocitool.places.registry.session import Session

_NEXT = re.compile(r"<([^>]*)>\s*;[^,]*\brel=\"?next\"?(?![\w-])", re.IGNORECASE)
_MOST_AT_ONCE = 1000
_OK = 200
_DENIED = 401
_NOT_OFFERED = (403, 404, 405)
_BARREN = 100
"""After so many pages without anything new a list counts as endless."""


def tags(session: Session, most: int | None = None) -> list[str]:
    """Return the tags of a repository, sorted, each once; up to `most` of them when given.

    NotFound when there is no such repository.
    """

    request = Request("GET", session.url("tags/list"), session.scopes("pull"))

    def check(answer: Answer) -> None:
        if answer.status != _OK:
            raise session.problem(request, answer).error(f"list the tags of {session.name}")

    return _collect(session, request, "tags", most, check)


def catalog(session: Session, most: int | None = None) -> list[str]:
    """Return the repositories of a registry, sorted; many registries do not tell.

    Refused, with that explanation, where this is not offered.
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
) -> list[str]:
    if most is not None:
        count = str(min(most, _MOST_AT_ONCE))
        request = replace(request, url=locations.with_query(request.url, [("n", count)]))
    found: set[str] = set()
    barren = 0
    for answer in pages(session, request):
        check(answer)
        fresh = set(_texts(session, answer, key)) - found
        barren = 0 if fresh else barren + 1
        if barren > _BARREN:
            raise LimitExceeded(f"{session.host.domain} gives page after page with nothing new")
        found |= fresh
        if most is not None and len(found) >= most:
            break
    return sorted(found)[:most]


def pages(session: Session, request: Request) -> Iterator[Answer]:
    """Yield a list's answers, page after page, as long as the registry links to another.

    A link to another host is not followed, and a page that was read before ends the list.
    """
    seen: set[str] = set()
    while request.url not in seen:
        seen.add(request.url)
        if len(seen) > session.limits.pages:
            raise LimitExceeded(
                f"{session.host.domain} gives more than {session.limits.pages} pages"
            )
        limit = session.limits.tag_page_bytes
        answer = session.answer(request, limit=limit)
        if len(answer.body) > limit:
            raise LimitExceeded(f"a list of {session.host.domain} is larger than {limit} bytes")
        yield answer
        following = _NEXT.search(answer.headers.get("link", ""))
        if following is None:
            return
        url = locations.resolve(following.group(1), answer.url)
        if not locations.is_same_host(url, session.base):
            session.registries.warn(
                f"{session.host.domain} continues a list on another host; it is not followed there"
            )
            return
        request = replace(request, url=url)


def decode(session: Session, answer: Answer) -> dict[str, object]:
    """Return the object that a list's answer holds; IntegrityError for anything else."""
    session.refuse_page(answer)
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{session.host.domain} gave a list that is not JSON") from error
    if not isinstance(value, dict):
        raise IntegrityError(f"{session.host.domain} gave a list that is not a JSON object")
    return value


def _texts(session: Session, answer: Answer, key: str) -> list[str]:
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
