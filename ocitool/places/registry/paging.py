"""Lists that a registry gives page by page, to their end (distribution-spec, "Listing Tags").

Registries are often wrong about themselves: behind a proxy their Link names another scheme, host or
path. Only the query of it says where the list goes on, and that is always asked of the registry
itself. What cannot be read to its end is an error, never a shorter list.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from ocitool.errors import IntegrityError, LimitExceeded, OcitoolError, Refused, Unavailable
from ocitool.places.registry.http import locations
from ocitool.places.registry.http.request import Answer, Request
from ocitool.places.registry.session import Session

_OK = 200
_FULL, _MULTIPLE = 10, 5
"""Without a Link, a list of at least so many entries, and a multiple of that, may go on."""
# Old Quay has no angle brackets.
_NEXT = re.compile(r"(?:<([^>]*)>|([^\s<>,;]+))\s*;[^,]*\brel=\"?next\"?(?![\w-])", re.IGNORECASE)
_NO_COUNT = re.compile(r"(?:^|(?<=&))n=0(?:&|$)")

Entries = Callable[[Answer], Sequence[str]]


class IncompleteList(Unavailable):
    """A list cannot be read to its end; `found` is what came before."""

    def __init__(self, problem: OcitoolError, found: Sequence[str] = ()) -> None:
        first = problem.problem if isinstance(problem, IncompleteList) else problem
        text = f"a list cannot be read to its end: {first.message}"
        super().__init__(text, hint=first.hint)
        self.problem: OcitoolError = first
        self.found = tuple(found)


def pages(
    session: Session, request: Request, entries: Entries | None = None, *, strict: bool = False
) -> Iterator[Answer]:
    """Yield a list's answers: the first whatever its status, then those of the pages after it.

    With `entries`, what each page lists, a full page without a Link is followed by what comes after
    its last entry. A page that was read before ends the list, or if that is `strict` is an error.
    IncompleteList where a page that is announced cannot be read, LimitExceeded for too many.
    """
    seen = {request.url}
    answer = _ask(session, request)
    while True:
        yield answer
        if answer.status != _OK:
            return
        found = _Following(session, request, answer, entries, strict=strict).page(seen)
        if found is None:
            return
        answer = found
        if len(seen) > session.limits.pages:
            raise LimitExceeded(
                f"{session.host.domain} gives more than {session.limits.pages} pages"
            )


class _Following:
    """What comes after one page: where that may be, and what is there."""

    def __init__(
        self,
        session: Session,
        request: Request,
        answer: Answer,
        entries: Entries | None,
        *,
        strict: bool,
    ) -> None:
        self._session = session
        self._is_strict = strict
        self._request = request
        self._tells_entries = entries is not None
        self._entries: Entries = entries or (lambda _: ())
        self._listed = self._entries(answer)
        self._asked = answer.url
        found = _NEXT.search(answer.headers.get("link", ""))
        self._link = None if found is None else found.group(1) or found.group(2) or ""

    def page(self, seen: set[str]) -> Answer | None:
        """Return the next page, None at the end of the list; `seen` gets what was asked for."""
        if self._link is None:
            size = len(self._listed)
            return self._by_last(seen) if size >= _FULL and size % _MULTIPLE == 0 else None
        if self._is_strict:
            found = self._by_link(self._link, seen)
            if found is None:
                self._refuse_loop()
            return found
        try:
            return self._by_link(self._link, seen) or self._by_last(seen)
        except (Refused, IncompleteList) as error:
            answer = self._by_last(seen)
            if answer is None:
                raise IncompleteList(error) from error
            return answer

    def _refuse_loop(self) -> None:
        """Raise IncompleteList where a page leads back; an empty one is the end all the same."""
        if self._tells_entries and not self._listed:
            return
        host = self._session.host.domain
        raise IncompleteList(Unavailable(f"{host} leads back to a page that was read already"))

    def _by_link(self, link: str, seen: set[str]) -> Answer | None:
        """Return the page that a Link leads to, None if that was read before."""
        refusal: OcitoolError | None = None
        for url in self._urls(link):
            if url in seen:
                continue
            answer = self._ask(url, seen)
            if answer.status == _OK:
                return answer
            asked = replace(self._request, url=url)
            problem = self._session.problem(asked, answer)
            refusal = refusal or problem.error(f"read more of a list of {problem.host.domain}")
        if refusal is not None:
            raise IncompleteList(refusal)
        return None

    def _urls(self, link: str) -> tuple[str, ...]:
        """Return what a Link may mean, at the registry itself: its path, or the list's own."""
        target = locations.resolve(link, self._asked)
        path, _, query = target.partition("://")[2].partition("?")
        # GHCR asks for pages of no entry.
        query = _NO_COUNT.sub("", query).rstrip("&")
        theirs = f"{self._session.base}/{path.partition('/')[2]}"
        own = self._request.url.partition("?")[0]
        return tuple(f"{where}?{query}" if query else where for where in (theirs, own))

    def _by_last(self, seen: set[str]) -> Answer | None:
        """Return what comes after the last entry, if that is anything new."""
        if not self._listed:
            return None
        url = locations.with_query(self._request.url, [("last", self._listed[-1])])
        if url in seen:
            return None
        answer = self._ask(url, seen)
        is_more = answer.status == _OK and set(self._entries(answer)) - set(self._listed)
        return answer if is_more else None

    def _ask(self, url: str, seen: set[str]) -> Answer:
        seen.add(url)
        return _ask(self._session, replace(self._request, url=url))


def _ask(session: Session, request: Request) -> Answer:
    limit = session.limits.tag_page_bytes
    answer = session.answer(request, limit=limit)
    if len(answer.body) > limit:
        raise LimitExceeded(f"a list of {session.host.domain} is larger than {limit} bytes")
    return answer


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
