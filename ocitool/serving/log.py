"""The access log: one line a request, as JSON or text.

What a client sends is data: control bytes never reach the log. Credentials and the query of a
request, but for a few harmless parameters, are never written.
"""

import datetime as dt
import json
from collections.abc import Callable
from urllib.parse import quote

from ocitool.errors import OcitoolError
from ocitool.serving.transport.connection import Exchange

_SHOWN = ("ns", "n", "last", "from", "mount", "digest", "tag", "artifactType")
_LONGEST = 512


def as_json(exchange: Exchange) -> str:
    """Return the line of a request as one JSON object in ASCII."""
    return json.dumps(_fields(exchange), separators=(",", ":"))


def as_text(exchange: Exchange) -> str:
    """Return the line of a request for people: what stands in it has no spaces."""
    fields = _fields(exchange)
    extra = "".join(
        f" {key}={fields[key]}" for key in ("range", "digest", "error", "cut") if key in fields
    )
    return (
        f"{fields['time']} {fields['client']} {fields.get('user', '-')} {fields['method']} "
        f"{fields['path']} {fields['status']} {fields['bytes']} {fields['seconds']}{extra}"
    )


def _fields(exchange: Exchange) -> dict[str, object]:
    request, answer = exchange.request, exchange.answer
    now = dt.datetime.now(dt.UTC)
    fields: dict[str, object] = {
        "time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "client": request.client,
        "method": _plain(request.method),
        "path": _target(exchange),
        "status": answer.status,
        "bytes": exchange.sent,
        "seconds": round(exchange.seconds, 6),
    }
    asked = request.headers.get("range") or request.headers.get("content-range")
    if asked is not None:
        fields["range"] = _plain(asked)
    fields.update((key, _plain(value)) for key, value in answer.note.items())
    if not exchange.is_whole:
        fields["cut"] = True
    return fields


def _target(exchange: Exchange) -> str:
    path = _plain(exchange.request.path)
    shown = [(key, value) for key, value in exchange.request.query if key in _SHOWN]
    if not shown:
        return path
    return f"{path}?{'&'.join(f'{key}={_plain(value)}' for key, value in shown)}"


def _plain(text: str) -> str:
    """Return printable ASCII without spaces; everything else is percent-encoded."""
    return quote(text[:_LONGEST], safe="!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~")


class AccessLog:
    """Writes lines; a log that cannot be written fails no request."""

    def __init__(
        self,
        line: Callable[[Exchange], str] | None,
        write: Callable[[str], None],
        reopen: Callable[[], None] = lambda: None,
    ) -> None:
        self._line = line
        self._write = write
        self.reopen = reopen

    def __call__(self, exchange: Exchange) -> None:
        """Note an answered request."""
        if self._line is None:
            return
        try:
            self._write(self._line(exchange))
        except (OSError, ValueError, OcitoolError):
            return
