"""The outermost step of a request: what may pass is sent again, within one budget of retries."""

import errno
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import httpx

from ocitool.errors import Unavailable
from ocitool.oci import Limits
from ocitool.places.registry.http.backoff import HostBackoff, spent_window, wanted_wait
from ocitool.places.registry.http.request import read

RETRIED_STATUS = frozenset({408, 429, 499, 500, 502, 503, 504, *range(520, 531)})
"""Answers that say nothing about the request itself (nginx and Cloudflare have their own)."""
THROTTLED = 429
_RETRIED_ERRORS = (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError)
_BROKEN_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
_UNREACHABLE = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH})

Result = TypeVar("Result")


class ServerBusy(Unavailable):
    """A server asks to come back later; `status` and `headers` are those of its answer."""

    def __init__(self, message: str, *, status: int, headers: httpx.Headers) -> None:
        super().__init__(message, hint="try again later")
        self.status = status
        self.headers = headers


class Retries:
    """How often one operation may be tried again: one count for all of its requests.

    Loops that lie in each other share it, so that they do not multiply: a registry that gives
    nothing gets `limit` + 1 requests. After `is_stopped` there is no retry. Not thread-safe.
    """

    def __init__(self, limit: int, is_stopped: Callable[[], bool] = lambda: False) -> None:
        self.limit = limit
        self.used = 0
        self.is_spent = False
        self._is_stopped = is_stopped

    def take(self) -> bool:
        """Use one retry; False, and `is_spent` from then on, when none is left."""
        if self.used >= self.limit or self._is_stopped():
            self.is_spent = True
            return False
        self.used += 1
        return True

    @property
    def next_try(self) -> str:
        """Which try comes next, of how many, after a retry was taken."""
        return f"try {self.used + 1} of {self.limit + 1}"

    def refill(self) -> None:
        """Begin the count anew, after progress was made."""
        self.used = 0


@dataclass(frozen=True, slots=True)
class RetryStep:
    """Sends a request until it is answered, and leaves the host alone between attempts.

    `wants_tls` finds out whether a host that never answered plain http speaks TLS there.
    """

    backoff: HostBackoff
    limits: Limits
    wants_tls: Callable[[], bool] = lambda: False

    def run(
        self,
        send: Callable[[], httpx.Response],
        finish: Callable[[httpx.Response], Result],
        retries: Retries,
    ) -> Result:
        """Return what `finish` makes of the response; a body that breaks off there is a failure.

        Raises what `send` and `finish` raise, once `retries` are used up or where it cannot pass.
        """
        while True:
            try:
                response = send()
                if not (self._may_pass(response.status_code, response.headers) and retries.take()):
                    return finish(response)
                answer = read(response, self.limits)
                self._wait(retries, answer.status, answer.headers, answer.text)
            except ServerBusy as busy:
                if not (self._is_soon(busy.status, busy.headers) and retries.take()):
                    raise
                self._wait(retries, busy.status, busy.headers, "")
            except httpx.TransportError as error:
                if not (self._may_recover(error) and retries.take()):
                    raise
                self.backoff.back_off(
                    retries.used - 1,
                    None,
                    throttled=False,
                    why=_named(error),
                    tries=retries.next_try,
                )

    def _wait(self, retries: Retries, status: int, headers: httpx.Headers, text: str) -> None:
        self.backoff.back_off(
            retries.used - 1,
            wanted_wait(headers, text, time.time()),
            throttled=status == THROTTLED,
            why=f"answered {status}",
            tries=retries.next_try,
        )

    def _may_pass(self, status: int, headers: httpx.Headers) -> bool:
        """Tell whether the same request may get another answer before long."""
        return status in RETRIED_STATUS and self._is_soon(status, headers)

    def _is_soon(self, status: int, headers: httpx.Headers) -> bool:
        """Tell whether a server does not ask for more patience than there is.

        What it asks for counts before what it says of its quota, which may be for a minute.
        """
        return too_long_wait(status, headers, self.backoff.longest) is None

    def _may_recover(self, error: httpx.TransportError) -> bool:
        # A host that has answered before is being restarted; one that never did does not exist.
        is_known = self.backoff.has_answered
        is_absent = not is_known and (is_connection_refused(error) or self.wants_tls())
        return is_retried_error(error) and not is_absent


def too_long_wait(status: int, headers: httpx.Headers, longest: float) -> float | None:
    """Return for how long a server asks to be left alone, if that is longer than allowed."""
    wanted = wanted_wait(headers, "", time.time())
    if wanted is None and status == THROTTLED:
        wanted = spent_window(headers)
    return wanted if wanted is not None and wanted > longest else None


def _named(error: httpx.TransportError) -> str:
    """Return what a failure of the network is, in few words."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return "cannot be reached"
    if isinstance(error, httpx.TimeoutException):
        return "does not answer"
    return "broke off the connection"


def is_retried_error(error: Exception) -> bool:
    """Tell whether a failure of the network may pass; a refused certificate or wrong name won't."""
    return (
        isinstance(error, _RETRIED_ERRORS)
        and not is_about_tls(error)
        and not any(_is_unknown_name(cause) for cause in _causes(error))
    )


def is_about_tls(error: BaseException) -> bool:
    """Tell whether a connection failed because of TLS itself, not because it was broken off."""
    return any(
        isinstance(cause, ssl.SSLError) and not isinstance(cause, _BROKEN_OFF)
        for cause in _causes(error)
    )


def is_connection_refused(error: BaseException) -> bool:
    """Tell whether the network said at once that nothing listens at an address."""
    return any(
        isinstance(cause, OSError) and cause.errno in _UNREACHABLE for cause in _causes(error)
    )


def _is_unknown_name(error: BaseException) -> bool:
    return isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
