"""Basic authentication (RFC 7617), with a brake on guessing."""

import base64
import binascii
import threading
import time

from ocitool.serving.access.htpasswd import PasswordFile
from ocitool.serving.messages import Refusal, Request

FAILURES_PER_SECOND = 5
_MOST_ADDRESSES = 10_000
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="ocitool registry", charset="UTF-8"'}


class Guard:
    """Lets users in. With `anonymous_pull` reading needs no user.

    /v2/ always asks for one: there clients learn that they have to send credentials.
    """

    def __init__(self, passwords: PasswordFile, *, anonymous_pull: bool = False) -> None:
        self._passwords = passwords
        self._anonymous_pull = anonymous_pull
        self._failures: dict[str, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def check(self, request: Request, *, writes: bool) -> str | None:
        """Return the user; Refusal without a right password where one is needed."""
        header = request.headers.get("authorization")
        if header is None:
            is_root = request.path in ("/v2/", "/v2")
            if self._anonymous_pull and not writes and not is_root:
                return None
            raise unauthorized("a user and a password are needed")
        self._refuse_guessing(request.client)
        user, password = _credential(header)
        if not self._passwords.check(user, password):
            self._count_failure(request.client)
            raise unauthorized("the user or the password is wrong")
        return user

    def _refuse_guessing(self, client: str) -> None:
        began, count = self._failures.get(client, (0.0, 0))
        if count >= FAILURES_PER_SECOND and time.monotonic() - began < 1.0:
            raise Refusal(
                429, "TOOMANYREQUESTS", "too many wrong passwords", headers={"Retry-After": "1"}
            )

    def _count_failure(self, client: str) -> None:
        now = time.monotonic()
        with self._lock:
            began, count = self._failures.pop(client, (now, 0))
            if now - began >= 1.0:
                began, count = now, 0
            while len(self._failures) >= _MOST_ADDRESSES:
                del self._failures[next(iter(self._failures))]
            self._failures[client] = began, count + 1


def unauthorized(message: str) -> Refusal:
    """Return the answer that asks for credentials."""
    return Refusal(401, "UNAUTHORIZED", message, headers=_CHALLENGE)


def _credential(header: str) -> tuple[str, str]:
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        raise unauthorized("only Basic authentication is known here")
    try:
        decoded = base64.b64decode(text.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise unauthorized("the credentials cannot be read") from None
    user, _, password = decoded.partition(":")
    return user, password
