"""GitHub's packages: versions of a container package, which are digests with all their tags.

https://docs.github.com/en/rest/packages/packages. GHCR has neither a list of what is attached to an
image nor the specification's DELETE; a deleted version can be restored for 30 days.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn
from urllib.parse import quote, urlsplit

from ocitool.errors import (
    IntegrityError,
    NotFound,
    OcitoolError,
    Unavailable,
    UsageError,
)
from ocitool.oci import Digest, parse_time
from ocitool.places.registry.http.backoff import http_date, wanted_wait
from ocitool.places.registry.http.request import Answer, Request
from ocitool.places.registry.paging import pages
from ocitool.places.registry.session import Session
from ocitool.places.registry.vendors.service import TagsStay, Version

_API: Final = "https://api.github.com"
_VARIABLE: Final = "GITHUB_API_URL"
_TOKENS: Final = ("GITHUB_TOKEN", "GH_TOKEN")
_OK, _DONE, _WRONG, _DENIED, _FORBIDDEN, _ABSENT = 200, 204, 400, 401, 403, 404
_TRIES: Final = 4
_SHOWN: Final = 20
_NUMBER: Final = re.compile(r"[0-9]+")
_RIGHTS: Final = (
    "the token needs read:packages and delete:packages; in a workflow `permissions: packages: "
    "write`, and the role Admin for its repository (Package settings, Manage Actions access)"
)


class GitHubService:
    """Lists and deletes the versions of one package. Thread-safe.

    `session` is that of the repository in the registry; GitHub's API is at $GITHUB_API_URL.
    """

    name = "ghcr"
    untags: bool | None = False
    keeps_tags = False
    tells_pulls = False
    batch = 1

    def __init__(self, session: Session) -> None:
        self._registry = session
        registries = session.registries
        self._api = (registries.environment.get(_VARIABLE) or _API).rstrip("/")
        parts = urlsplit(self._api)
        if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
            raise UsageError(f"{_VARIABLE} is not an address")
        self._session = Session(registries, parts.netloc, anonymous=True)
        if parts.scheme == "http" and not self._session.host.is_loopback:
            raise UsageError(f"{_VARIABLE} would send the token in plain http")
        self._headers = {
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
            **self._authorization(),
        }
        self._owner, _, self._package = session.path.partition("/")
        self._versions_url: str | None = None
        self._ids: dict[Digest, str] = {}
        self._deleted: list[str] = []

    @property
    def closing(self) -> str:
        """Where a deleted version can be restored."""
        ids = sorted(self._deleted, key=int)
        shown = ", ".join(ids[:_SHOWN])
        more = f" and {len(ids) - _SHOWN} more, which --json lists" if len(ids) > _SHOWN else ""
        return (
            "GitHub restores deleted versions for 30 days: POST "
            f"{self._versions_url or self._api}/ID/restore; IDs: {shown or 'none'}{more}"
        )

    def versions(self) -> tuple[Version, ...] | None:
        """Return all versions of the package. NotFound where there is none, or none to be seen."""
        found = tuple(self._all_versions())
        self._ids = {one.digest: one.id for one in found if one.id is not None}
        return found

    def untag(self, tag: str) -> bool:
        """Raise TagsStay: a version is deleted with all its tags."""
        raise TagsStay(f"GitHub deletes no single tags, such as {tag}")

    def delete(
        self, digests: Sequence[Digest], ids: Mapping[Digest, str]
    ) -> Mapping[Digest, OcitoolError]:
        """Delete versions; those that GitHub refuses are returned."""
        failures: dict[Digest, OcitoolError] = {}
        for digest in digests:
            number = self._ids.get(digest) or ids.get(digest)
            if number is None:
                failures[digest] = NotFound(f"GitHub lists no version {digest}")
                continue
            request = Request("DELETE", f"{self._versions_url or self._find()}/{number}")
            answer = self._answer(request)
            if answer.status in (_DONE, _OK):
                self._deleted.append(number)
            elif answer.status in (_WRONG, _FORBIDDEN):
                failures[digest] = self._error(request, answer, f"delete version {number}")
            elif answer.status != _ABSENT:
                raise self._error(request, answer, f"delete version {number}")
        return failures

    def _all_versions(self) -> Iterator[Version]:
        url = f"{self._find()}?per_page=100"
        request = Request("GET", url, headers=self._headers)
        for answer in pages(self._session, request, strict=True):
            if answer.status != _OK:
                raise self._error(request, answer, "list its versions")
            for value in self._array(answer):
                yield _version(value)

    def _find(self) -> str:
        """Return the URL of the versions: of an organization's package, or of a user's."""
        if self._versions_url is not None:
            return self._versions_url
        package = quote(self._package, safe="")
        for kind in ("orgs", "users"):
            url = f"{self._api}/{kind}/{quote(self._owner, safe='')}/packages/container/{package}"
            request = Request("GET", f"{url}/versions?per_page=1")
            answer = self._answer(request)
            if answer.status == _OK:
                self._versions_url = f"{url}/versions"
                return self._versions_url
            if answer.status != _ABSENT:
                raise self._error(request, answer, "list its versions")
        raise NotFound(
            f"GitHub has no container package {self._package} of {self._owner}, or the token may "
            "not see it",
            hint=_RIGHTS,
        )

    def _answer(self, request: Request) -> Answer:
        """Send a request, again after the wait that a limit of GitHub's asks for."""
        asked = Request(request.method, request.url, (), self._headers)
        for _ in range(_TRIES):
            answer = self._session.answer(asked)
            wait = _limit_wait(answer)
            if wait is None:
                return answer
            if wait > self._session.options.retry_max_wait:
                break
            self._session.registries.sleep(wait)
        raise Unavailable(
            f"GitHub's limit of requests is used up: {self._session.host.domain} wants a wait",
            hint="try again later, with --rate; or --retry-max-wait allows to wait longer",
        )

    def _authorization(self) -> dict[str, str]:
        registries, host = self._registry.registries, self._registry.host
        token = None
        if host.is_github:
            # The credential of any other registry is none of GitHub's business.
            found = registries.credentials.find(host.domain, self._registry.path, writing=True)
            token = found.password if found is not None else None
        token = token or next(filter(None, map(registries.environment.get, _TOKENS)), None)
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _array(self, answer: Answer) -> list[object]:
        try:
            value = json.loads(answer.body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, list):
            raise IntegrityError("GitHub's list of versions is not a JSON array")
        return value

    def _error(self, request: Request, answer: Answer, doing: str) -> OcitoolError:
        problem = self._session.problem(request, answer)
        hint = _RIGHTS if answer.status in (_DENIED, _FORBIDDEN, _ABSENT) else None
        return problem.error(f"{doing} of {self._registry.name}", hint=hint)


def _limit_wait(answer: Answer) -> float | None:
    """Return the seconds that a limit asks to wait; None for any other answer."""
    if answer.status not in (_FORBIDDEN, 429):
        return None
    spent = answer.headers.get("x-ratelimit-remaining") == "0"
    now = http_date(answer.headers.get("date", "")) or time.time()
    wanted = wanted_wait(answer.headers, "", now)
    if wanted is not None:
        return wanted
    reset = answer.headers.get("x-ratelimit-reset", "")
    if spent and _NUMBER.fullmatch(reset):
        return max(1.0, float(reset) - now)
    return 60.0 if spent or answer.status == 429 else None


def _version(value: object) -> Version:
    """Return one version; IntegrityError for what is none."""
    fields = value if isinstance(value, dict) else {}
    number, metadata = fields.get("id"), fields.get("metadata")
    container = metadata.get("container") if isinstance(metadata, dict) else None
    tags: Any = container.get("tags") if isinstance(container, dict) else None
    if not isinstance(number, int) or not isinstance(tags, list):
        _refuse_version()
    if not all(isinstance(tag, str) for tag in tags):
        _refuse_version()
    moments = {
        key: parse_time(text).timestamp()  # type: ignore[union-attr]
        for key in ("updated_at", "created_at")
        if isinstance(text := fields.get(key), str) and parse_time(text) is not None
    }
    source = max(moments, key=lambda key: moments[key], default="")
    return Version(
        digest=Digest.parse(str(fields.get("name"))),
        tags=tuple(tags),
        at=moments.get(source),
        source=source,
        id=str(number),
    )


def _refuse_version() -> NoReturn:
    raise IntegrityError("GitHub's list of versions has an entry without an ID or without tags")
