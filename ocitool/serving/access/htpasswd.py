"""A file of users and bcrypt hashes, as `htpasswd -B` writes it."""

import hashlib
import hmac
import os
import re
import threading
import time

from ocitool.errors import OcitoolError, UsageError
from ocitool.fsops import translated
from ocitool.oci.quoting import quoted

CACHE_SECONDS = 60.0
DEAREST = 14
_MOST_CACHED = 10_000
_BYTES = 72
"""bcrypt looks at no more of a password; the library refuses longer ones."""
_HASH = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}").fullmatch
_DUMMY = "$2b$10$CwTycUXWue0Thq9StjUM0uJ8E6YQF3b3n5m0oJHX9E2cU6Q0yYh3e"


class PasswordFile:
    """Checks passwords; the file is read again when it changes. Thread-safe.

    bcrypt takes its time on purpose, so a password that was right is remembered for a minute: as a
    hash with a key that only this process knows.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._key = os.urandom(32)
        self._known: dict[bytes, float] = {}
        self._lock = threading.Lock()
        self._users: dict[str, str] = {}
        self._state: tuple[int, ...] = ()
        self._read()

    def check(self, user: str, password: str) -> bool:
        """Tell whether a password is right. An unknown user takes as long as a known one."""
        self._read_if_changed()
        stored = self._users.get(user)
        if stored is None:
            _matches(password, _DUMMY)
            return False
        key = hmac.digest(self._key, f"{stored}\0{user}\0{password}".encode(), hashlib.sha256)
        now = time.monotonic()
        if self._known.get(key, 0.0) > now:
            return True
        if not _matches(password, stored):
            return False
        with self._lock:
            if len(self._known) >= _MOST_CACHED:
                self._known.clear()
            self._known[key] = now + CACHE_SECONDS
        return True

    def _read_if_changed(self) -> None:
        try:
            if self._state != self._state_now():
                self._read()
        except (OSError, OcitoolError):
            # Half a file, or none for a moment: what was read before counts.
            return

    def _state_now(self) -> tuple[int, ...]:
        status = os.stat(self.path)
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _read(self) -> None:
        try:
            with translated("read --htpasswd", self.path):
                state = self._state_now()
                with open(self.path, encoding="utf-8") as file:
                    lines = file.read().splitlines()
        except UnicodeDecodeError as error:
            raise UsageError(f"--htpasswd {quoted(self.path)} is not text in UTF-8") from error
        users = dict(
            _user(line, number, self.path)
            for number, line in enumerate(lines, 1)
            if line.strip() and not line.startswith("#")
        )
        self._users, self._state = users, state


def _user(line: str, number: int, path: str) -> tuple[str, str]:
    user, colon, stored = line.strip().partition(":")
    found = _HASH(stored)
    if not colon or not user or found is None:
        raise UsageError(
            f"line {number} of {quoted(path)} has no bcrypt hash",
            hint="`htpasswd -B FILE USER` writes one",
        )
    if int(found[1]) > DEAREST:
        raise UsageError(
            f"line {number} of {quoted(path)} has a cost of {found[1]}: each request would take "
            "seconds",
            hint=f"use a cost of at most {DEAREST}",
        )
    return user, stored


def _matches(password: str, stored: str) -> bool:
    import bcrypt

    try:
        return bcrypt.checkpw(password.encode()[:_BYTES], stored.encode("ascii"))
    except ValueError:
        return False


def need_bcrypt() -> None:
    """Raise UsageError where the library is not installed."""
    try:
        import bcrypt  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "--htpasswd needs the package bcrypt", hint="pip install bcrypt"
        ) from error
