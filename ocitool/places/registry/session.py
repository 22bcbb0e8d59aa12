"""The requests about one repository: each goes through retry(redirect(auth(wire))).

- retry (`http.retrying`): what may pass is sent again, within one budget for the operation;
- redirect (`http.redirects`): followed by the rules of `http.locations`;
- auth (`auth.authorizer`): challenges of the registry's own host are answered, no other host's;
- wire (`http.wire`): sent once, when the host may be asked.
"""

import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

import httpx

from ocitool.errors import IntegrityError, OcitoolError
from ocitool.places.registry.auth.authorizer import Authorizer
from ocitool.places.registry.credentials.credential import Credential
from ocitool.places.registry.hosts import Host
from ocitool.places.registry.http import locations
from ocitool.places.registry.http.backoff import HostBackoff
from ocitool.places.registry.http.problems import Problem, is_html
from ocitool.places.registry.http.redirects import RegistryRedirects, drive, follow
from ocitool.places.registry.http.request import Answer, Request, read
from ocitool.places.registry.http.retrying import Retries, RetryStep, too_long_wait
from ocitool.places.registry.http.transport import FAREWELL
from ocitool.places.registry.http.unreachable import unreachable
from ocitool.places.registry.http.wire import Wire, bad_address
from ocitool.places.registry.registries import Registries

_FAREWELL_SECONDS = 1.0

Result = TypeVar("Result")


class Session:
    """Requests about one repository. Thread-safe.

    Write sessions never fall back to anonymous access. An `anonymous` session shows no credential
    to any host. `root` is where the registry's API begins; a mirror of several registries is told
    which one it `asks_for`.
    """

    def __init__(
        self,
        registries: Registries,
        domain: str,
        path: str = "",
        *,
        writing: bool = False,
        anonymous: bool = False,
        root: str = "/v2",
        asks_for: str | None = None,
        retry_limit: int | None = None,
    ) -> None:
        self.registries = registries
        self.host = Host(domain)
        self.path = path
        self.writing = writing
        self.anonymous = anonymous
        self._root = root
        self._query = f"?ns={asks_for}" if asks_for else ""
        self._retry_limit = retry_limit
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
    def newly_trusted(self) -> str | None:
        """The token server that saw the credential only for being in the registry's own domain."""
        return self._authorizer.newly_trusted if self._authorizer is not None else None

    @property
    def base(self) -> str:
        """The registry's URL, without a slash at its end."""
        return self.registries.base(self.host)

    @property
    def name(self) -> str:
        """The repository's full name, such as `ghcr.io/a/b`."""
        return f"{self.host.domain}/{self.path}"

    @property
    def backoff(self) -> HostBackoff:
        """How long the registry is left alone."""
        return self.registries.backoff(self.host)

    @property
    def permits_plain_http(self) -> bool:
        """Tell whether the registry may send us from https to http."""
        return self.options.insecure or self.options.plain_http

    def url(self, suffix: str) -> str:
        """Return the URL of something in this repository, such as "tags/list"."""
        return f"{self.base}{self._root}/{self.path}/{suffix}{self._query}"

    def scopes(self, actions: str, *others: str) -> tuple[str, ...]:
        """Return the rights that a request needs: to this repository first, then to others."""
        return (
            f"repository:{self.path}:{actions}",
            *(f"repository:{other}:pull" for other in others),
        )

    def retries(self) -> Retries:
        """Return a new budget of retries, for all requests of one operation."""
        limit = self.limits.retries if self._retry_limit is None else self._retry_limit
        return Retries(limit, lambda: self.registries.stopped)

    def ping(self) -> Answer:
        """Ask whether the registry speaks the API and takes our credentials."""
        request = Request("GET", f"{self.base}/v2/")
        answer = self.answer(request)
        if answer.status != 200:
            raise self.problem(request, answer).error(f"log in to {self.host.domain}")
        self.refuse_page(answer)
        return answer

    def answer(
        self, request: Request, *, limit: int | None = None, retries: Retries | None = None
    ) -> Answer:
        """Send a request and read the whole answer, whatever its status.

        Only a little more than `limit` bytes of a longer body are read: the caller looks at the
        length if it set a limit. Raises Unavailable after all `retries`, by default a new budget.
        """
        return self._run(request, lambda response: read(response, self.limits, limit), retries)

    def open(self, request: Request, *, retries: Retries | None = None) -> httpx.Response:
        """Send a request and return the response, its body unread; the caller closes it."""
        return self._run(request, lambda response: response, retries)

    def farewell(self, request: Request) -> None:
        """Send a last request that may fail, with little time: to tidy up at the registry."""
        with contextlib.suppress(httpx.HTTPError, OcitoolError):
            built = self._build(request)
            built.extensions[FAREWELL] = True
            built.extensions["timeout"] = dict.fromkeys(
                ("connect", "read", "write", "pool"), _FAREWELL_SECONDS
            )
            auth = self._auth(request.url)
            self.registries.client.send(built, auth=auth, stream=True).close()

    def problem(self, request: Request, answer: Answer) -> Problem:
        """Return what a refusal means."""
        return Problem(
            method=request.method,
            host=self.host,
            repository=self.path,
            status=answer.status,
            headers=answer.headers,
            body=answer.body[: self.limits.error_body_bytes],
            scopes=request.scopes,
            origin=self._origin,
            elsewhere=self._elsewhere(answer.url),
            too_long_wait=too_long_wait(answer.status, answer.headers, self.backoff.longest),
        )

    def refuse_page(self, answer: Answer) -> None:
        """Raise IntegrityError when a page for people came in place of the API's answer."""
        if is_html(answer.headers, answer.body):
            raise IntegrityError(
                f"{self.host.domain} answered with a web page: it is not a registry, or a proxy in "
                "front of it answered instead",
                hint="check the host's name and the proxy",
            )

    def _run(
        self,
        request: Request,
        finish: Callable[[httpx.Response], Result],
        retries: Retries | None,
    ) -> Result:
        """Take a request through all steps."""
        registries, host = self.registries, self.host
        step = RetryStep(self.backoff, self.limits, lambda: registries.wants_tls(host))
        try:
            with self.registries.busy(f"waiting for {self.host.domain}"):
                return step.run(lambda: self._redirect(request), finish, retries or self.retries())
        except httpx.TransportError as error:
            has_answered = self.backoff.has_answered
            wants_tls = not has_answered and registries.wants_tls(host)
            raise unreachable(
                host.domain, error, wants_tls=wants_tls, has_answered=has_answered
            ) from error

    def _redirect(self, request: Request) -> httpx.Response:
        """Send a request once, and on to where it leads."""
        limit = self.limits.redirects
        policy = RegistryRedirects(self.host.domain, limit, self.permits_plain_http)
        return drive(follow(self._build(request), policy), self._send)

    def _send(self, request: httpx.Request) -> httpx.Response:
        """Send a request to one host, with what that host may see of our credentials."""
        registries = self.registries
        wire = Wire(registries.client, self.host.domain, self.backoff, registries.warn)
        return wire.send(request, self._auth(str(request.url)))

    def _build(self, request: Request) -> httpx.Request:
        try:
            return self.registries.client.build_request(
                request.method,
                request.url,
                headers=request.headers,
                content=request.body,
                extensions={"scopes": request.scopes, "writing": self.writing},
            )
        except httpx.InvalidURL as error:
            raise bad_address(self.host.domain, error) from error

    def _auth(self, url: str) -> httpx.Auth:
        if self.anonymous or not locations.is_same_host(url, self.base):
            return httpx.Auth()
        with self._lock:
            if self._authorizer is None:
                self._authorizer = Authorizer(
                    httpx.URL(self.base),
                    find=self._find_credential,
                    allowed_realms=self.options.allowed_realms,
                    remembered_realms=self._find_realms,
                    trusts_own_domain=self.options.trusts_own_domain,
                    anonymous_fallback=self.options.anonymous_fallback and not self.writing,
                    warn=self.registries.warn,
                )
            return self._authorizer

    def _find_credential(self) -> Credential | None:
        found = self.registries.credentials.find(self.host.domain, self.path, writing=self.writing)
        self._origin = found.origin if found is not None else None
        said = self._origin or "none was found"
        self.registries.trace(f"credential for {self.host.domain}: {said}")
        return found

    def _find_realms(self) -> tuple[str, ...]:
        return self.registries.credentials.token_servers(self.host.domain)

    def _elsewhere(self, url: str) -> str | None:
        same = locations.is_same_host(url, self.base)
        return None if same else httpx.URL(url).netloc.decode("ascii", "replace")
