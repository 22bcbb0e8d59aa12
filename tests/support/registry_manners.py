"""What an emulated registry, or something in front of it, does to any request at all."""

import re
import threading
from email.utils import formatdate
from time import time

from tests.support.http_exchange import Exchange
from tests.support.registry_quirks import Quirks
from tests.support.registry_state import Refusal, error_body

_NGINX = (
    b"<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>\r\n"
    b"<center><h1>413 Request Entity Too Large</h1></center>\r\n<hr><center>nginx</center>\r\n"
    b"</body>\r\n</html>\r\n"
)
_PORTAL = b"<!DOCTYPE html><html><body>Welcome! Please log in to the network.</body></html>"


class Manners:
    """The quirks of one registry that concern every endpoint."""

    def __init__(self, quirks: Quirks) -> None:
        self._quirks = quirks
        self._too_many = quirks.too_many
        self._lock = threading.Lock()

    def answered(self, exchange: Exchange) -> bool:
        """Tell whether the request has had its answer here; adds headers to any other answer."""
        quirks = self._quirks
        if quirks.warning is not None:
            exchange.added["Warning"] = f'299 - "{quirks.warning}"'
        if quirks.clock is not None:
            exchange.added["Date"] = formatdate(time() + quirks.clock, usegmt=True)
        if quirks.cookies:
            exchange.added["Set-Cookie"] = "sid=5f2b; Path=/; HttpOnly"
            if "Cookie" in exchange.headers and exchange.method not in ("GET", "HEAD"):
                raise Refusal(403, "FORBIDDEN", "CSRF token invalid")
        if quirks.html:
            exchange.answer(200, _PORTAL, {"Content-Type": "text/html; charset=utf-8"})
            return True
        length = int(exchange.headers.get("Content-Length", "0"))
        if quirks.max_body is not None and length > quirks.max_body:
            exchange.answer(413, _NGINX, {"Content-Type": "text/html"})
            return True
        if self._is_too_many(exchange):
            self._answer_too_many(exchange)
            return True
        return False

    def _is_too_many(self, exchange: Exchange) -> bool:
        if not re.search(self._quirks.too_many_pattern, exchange.target):
            return False
        with self._lock:
            due = self._too_many > 0
            self._too_many -= due
            return due

    def _answer_too_many(self, exchange: Exchange) -> None:
        quirks = self._quirks
        message = "Rate exceeded"
        headers = {"Content-Type": "application/json"}
        if quirks.retry_after == "seconds":
            headers["Retry-After"] = str(int(quirks.retry_seconds))
        elif quirks.retry_after == "date":
            headers["Retry-After"] = formatdate(time() + quirks.retry_seconds, usegmt=True)
        elif quirks.retry_after == "message":
            milliseconds = quirks.retry_seconds * 1000
            message = f"retry-after: {milliseconds:.3f}ms, allowed: 44000/minute"
        exchange.answer(429, error_body("TOOMANYREQUESTS", message), headers)
