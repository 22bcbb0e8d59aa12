"""One repository's conversation with its registry: sent again where that helps.

Redirects are followed here, so that credentials stay with their host; failures of the network and
of busy servers are retried here and nowhere else.
"""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import httpx

from ocitool.errors import IntegrityError, OcitoolError, Refused, Unavailable
from ocitool.places.registry.auth.auth import Authorizer, TokenServerBusy
from ocitool.places.registry.credentials.chain import Credential
from ocitool.places.registry.hosts import Host
from ocitool.places.registry.http import locations
from ocitool.places.registry.http.problems import Problem, is_html
from ocitool.places.registry.http.retrying import (
    RETRIED_STATUS,
    Patience,
    is_nobody_there,
    is_retried_error,
    wanted_wait,
)
from ocitool.places.registry.http.stalls import watched
from ocitool.places.registry.http.transport import FAREWELL
from ocitool.places.registry.http.unreachable import unreachable
from ocitool.places.registry.registries import Registries

_FAREWELL_SECONDS = 1.0
_REDIRECTS = frozenset({301, 302, 307, 308})
_THROTTLED, _SEE_OTHER = 429, 303


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response whose body was read, up to a limit. `url` is where it came from in the end."""

    status: int
    headers: httpx.Headers
    body: bytes = field(repr=False)
    url: str


class Session:
    """Requests about one repository. `writing` sessions never fall back to being nobody.

    A `nameless` one shows no credential to anybody. Thread-safe.
    """

    def __init__(
        self,
        registries: Registries,
        domain: str,
        path: str = "",
        *,
        writing: bool = False,
        nameless: bool = False,
    ) -> None:
        self.registries = registries
        self.host = Host(domain)
        self.path = path
        self.writing = writing
        self.nameless = nameless
        self.options = registries.options
        self.limits = registries.options.limits
        self._origin: str | None = None
        self._authorizer: Authorizer | None = None
        self._lock = threading.Lock()

    @property
    def has_credential(self) -> bool:
        """Tell whether a credential was found for what was asked so far."""
        return self._origin is not None

    @property
    def base(self) -> str:
        """The registry's URL, without a slash at its end."""
        return self.registries.base(self.host)

    def url(self, suffix: str) -> str:
        """Return the URL of something of this repository, such as "tags/list"."""
        return f"{self.base}/v2/{self.path}/{suffix}"

    def scopes(self, actions: str, *others: str) -> tuple[str, ...]:
        """Return the rights that a request needs: to this repository first, then to others."""
        return (
            f"repository:{self.path}:{actions}",
            *(f"repository:{other}:pull" for other in others),
        )

    def ping(self) -> Answer:
        """Ask whether the registry speaks the API and takes our credentials."""
        answer = self.answer("GET", f"{self.base}/v2/", scopes=())
        if answer.status != 200:
            raise self.problem("GET", answer).error(f"log in to {self.host.domain}")
        self._refuse_page(answer)
        return answer

    def answer(
        self,
        method: str,
        url: str,
        *,
        scopes: tuple[str, ...],
        headers: Mapping[str, str] | None = None,
        content: bytes | httpx.SyncByteStream | None = None,
        limit: int | None = None,
        retries: int | None = None,
    ) -> Answer:
        """Send a request and read the whole answer, whatever its status.

        Of a body longer than `limit` bytes a little more is read than that, and the rest is not:
        whoever sets a limit looks at the length. Unavailable when nothing came after all retries.
        """
        most = self.limits.retries if retries is None else retries
        for attempt in range(most + 1):
            response = self.sent(
                method, url, scopes=scopes, headers=headers, content=content, retries=retries
            )
            try:
                return self._read(response, limit)
            except httpx.TransportError as error:
                if attempt >= most or self.registries.stopped:
                    raise self.unreachable(error) from error
                self._patience.back_off(attempt, None, throttled=False)
        raise AssertionError

    @contextlib.contextmanager
    def stream(
        self,
        method: str,
        url: str,
        *,
        scopes: tuple[str, ...],
        headers: Mapping[str, str] | None = None,
        content: bytes | httpx.SyncByteStream | None = None,
        retries: int | None = None,
    ) -> Iterator[httpx.Response]:
        """Send a request and hand out the response before its body is read."""
        response = self.sent(
            method, url, scopes=scopes, headers=headers, content=content, retries=retries
        )
        try:
            yield response
        finally:
            response.close()

    def sent(
        self,
        method: str,
        url: str,
        *,
        scopes: tuple[str, ...],
        headers: Mapping[str, str] | None = None,
        content: bytes | httpx.SyncByteStream | None = None,
        retries: int | None = None,
    ) -> httpx.Response:
        """Send a request, again where that helps; return the response, its body unread.

        A body in a stream is iterated anew for every attempt.
        """
        most = self.limits.retries if retries is None else retries
        attempt = 0
        while True:
            request = self._request(method, url, scopes, headers, content)
            try:
                response = self._exchange(request)
            except TokenServerBusy as busy:
                if attempt >= most or self.registries.stopped:
                    raise
                self._back_off(attempt, busy.status, busy.headers, "")
            except httpx.TransportError as error:
                if _is_bad_location(error):
                    raise Refused(
                        f"{self.host.domain} sent us to what is no address: {error}"
                    ) from error
                if attempt >= most or not self._may_pass(error):
                    raise self.unreachable(error) from error
                self._patience.back_off(attempt, None, throttled=False)
            else:
                if attempt >= most or not self._is_worth_another(response):
                    return response
                answer = self._read(response, None)
                text = answer.body.decode("utf-8", "replace")
                self._back_off(attempt, answer.status, answer.headers, text)
            attempt += 1

    def farewell(self, method: str, url: str, *, scopes: tuple[str, ...]) -> None:
        """Send a last request that may fail, with little time: to tidy up at the registry."""
        with contextlib.suppress(httpx.HTTPError, OcitoolError):
            request = self._request(method, url, scopes, None, None)
            request.extensions[FAREWELL] = True
            request.extensions["timeout"] = dict.fromkeys(
                ("connect", "read", "write", "pool"), _FAREWELL_SECONDS
            )
            self.registries.client.send(request, auth=self._auth(url), stream=True).close()

    def problem(self, method: str, answer: Answer, scopes: tuple[str, ...] = ()) -> Problem:
        """Return what a refusal means."""
        return Problem(
            method=method,
            host=self.host,
            repository=self.path,
            status=answer.status,
            headers=answer.headers,
            body=answer.body[: self.limits.error_body_bytes],
            scopes=scopes,
            origin=self._origin,
            elsewhere=self._elsewhere(answer.url),
        )

    def _elsewhere(self, url: str) -> str | None:
        same = locations.is_same_host(url, self.base)
        return None if same else httpx.URL(url).netloc.decode("ascii", "replace")

    def unreachable(self, error: httpx.TransportError) -> OcitoolError:
        """Return the error for a registry that could not be talked to."""
        return unreachable(self.host.domain, error)

    def _request(
        self,
        method: str,
        url: str,
        scopes: tuple[str, ...],
        headers: Mapping[str, str] | None,
        content: bytes | httpx.SyncByteStream | None,
    ) -> httpx.Request:
        try:
            return self.registries.client.build_request(
                method,
                url,
                headers=headers,
                content=content,
                extensions={"scopes": scopes, "writing": self.writing},
            )
        except httpx.InvalidURL as error:
            raise Refused(f"{self.host.domain} sent us to what is no address: {error}") from error

    def _exchange(self, request: httpx.Request) -> httpx.Response:
        """Send a request once and follow where it leads, each host by its own rules."""
        for _ in range(self.limits.redirects + 1):
            response = self._sent_once(request)
            location = response.headers.get("location")
            is_redirect = response.status_code in _REDIRECTS and location is not None
            if response.status_code == _SEE_OTHER and request.method not in ("GET", "HEAD"):
                response.close()
                raise Refused(f"{self.host.domain} wants an upload to become a download (303)")
            if not is_redirect and response.status_code != _SEE_OTHER:
                return response
            if location is None:
                return response
            response.close()
            request = self._redirected(request, location)
        raise Unavailable(
            f"{self.host.domain} redirects more than {self.limits.redirects} times",
            hint="it may be a loop: look at what stands between here and the registry",
        )

    def _redirected(self, request: httpx.Request, location: str) -> httpx.Request:
        asked = str(request.url)
        url = locations.resolved(location, asked)
        locations.check(url, asked, insecure=self.options.insecure or self.options.plain_http)
        headers = {
            key: value
            for key, value in request.headers.items()
            if key not in ("host", "authorization", "cookie")
        }
        follow = self.registries.client.build_request(
            request.method, url, headers=headers, extensions=dict(request.extensions)
        )
        # The headers that say how long it is came along. Given as content, even a body that is
        # empty would be announced as chunks, which storage refuses.
        follow.stream = request.stream
        return follow

    def _sent_once(self, request: httpx.Request) -> httpx.Response:
        self._patience.enter()
        try:
            # The body is read with less patience than an answer is waited for.
            request.extensions["timeout"] = dict(request.extensions["timeout"])
            response = self.registries.client.send(
                request, auth=self._auth(str(request.url)), stream=True
            )
        finally:
            self._patience.leave()
        self._patience.has_answered = True
        self._hear_warnings(response)
        if response.status_code not in RETRIED_STATUS:
            self._patience.went_well()
        return response

    def _auth(self, url: str) -> httpx.Auth:
        if self.nameless or not locations.is_same_host(url, self.base):
            return httpx.Auth()
        with self._lock:
            if self._authorizer is None:
                self._authorizer = Authorizer(
                    httpx.URL(self.base),
                    find=self._credential,
                    allowed_realms=self.options.allowed_realms,
                    anonymous_fallback=self.options.anonymous_fallback and not self.writing,
                    warn=self.registries.warn,
                )
            return self._authorizer

    def _credential(self) -> Credential | None:
        found = self.registries.credentials.find(self.host.domain, self.path, writing=self.writing)
        self._origin = found.origin if found is not None else None
        return found

    @property
    def _patience(self) -> Patience:
        return self.registries.patience(self.host.address)

    def _may_pass(self, error: httpx.TransportError) -> bool:
        # Who has answered before is being restarted; who never did is not there.
        is_gone = is_nobody_there(error) and not self._patience.has_answered
        return is_retried_error(error) and not is_gone and not self.registries.stopped

    def _is_worth_another(self, response: httpx.Response) -> bool:
        if response.status_code not in RETRIED_STATUS or self.registries.stopped:
            return False
        spent = response.headers.get("ratelimit-remaining", "").startswith("0")
        return not (response.status_code == _THROTTLED and spent)

    def _back_off(self, attempt: int, status: int, headers: httpx.Headers, body: str) -> None:
        wanted = wanted_wait(headers, body, time.time())
        self._patience.back_off(attempt, wanted, throttled=status == _THROTTLED)

    def _read(self, response: httpx.Response, limit: int | None) -> Answer:
        most = self.limits.error_body_bytes * 16 if limit is None else limit
        parts: list[bytes] = []
        size = 0
        watch = watched(response, self.limits)
        try:
            for part in response.iter_raw():
                watch.saw(len(part), response.request)
                parts.append(part)
                size += len(part)
                if size > most:
                    break
        except httpx.TransportError:
            # A refusal counts even when its text was cut off; content does not.
            if response.status_code < 300:
                raise
        finally:
            response.close()
        return Answer(
            status=response.status_code,
            headers=response.headers,
            body=b"".join(parts),
            url=str(response.request.url),
        )

    def _refuse_page(self, answer: Answer) -> None:
        if is_html(answer.headers, answer.body):
            raise IntegrityError(
                f"{self.host.domain} answered with a web page: it is no registry, or something "
                "between here and it answered instead",
                hint="look at the host's name and at the proxy",
            )

    def _hear_warnings(self, response: httpx.Response) -> None:
        for text in response.headers.get_list("warning"):
            code, _, rest = text.partition(" ")
            said = rest.partition(" ")[2].strip().strip('"') if code == "299" else ""
            if said:
                self.registries.warn(f"{self.host.domain} says: {said[:300]}")


def _is_bad_location(error: httpx.TransportError) -> bool:
    # The library reads a Location even when it is told not to follow it.
    return isinstance(error, httpx.RemoteProtocolError) and "location header" in str(error)


def refuse_page(session: Session, answer: Answer) -> None:
    """Raise IntegrityError when a page for people came in place of the API's answer."""
    session._refuse_page(answer)  # noqa: SLF001 - the same rule for all of this package
