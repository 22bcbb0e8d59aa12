"""Blobs of the emulated registry: reading and deleting. distribution-spec, "Pulling blobs"."""

import gzip
import re

from ocitool.oci import Digest
from tests.support.http_exchange import Exchange
from tests.support.registry_quirks import Quirks
from tests.support.registry_state import Refusal, State

_RANGE = re.compile(r"bytes=(\d+)-(\d*)").fullmatch


def serve_blob(
    exchange: Exchange, state: State, quirks: Quirks, repository: str, digest: Digest
) -> None:
    """Answer HEAD, GET and DELETE of a blob."""
    if exchange.method == "DELETE":
        _delete(exchange, state, quirks, repository, digest)
        return
    data = state.blob(repository, digest)
    if quirks.redirect_to is not None:
        path = f"/storage/{quirks.redirect_hops}/{digest}?signature=a%2Fb%3D%3D"
        exchange.answer(307, headers={"Location": f"{quirks.redirect_to}{path}"})
        return
    headers = {"Content-Type": "application/octet-stream"}
    if quirks.digest_header != "none":
        named = digest if quirks.digest_header == "right" else Digest.of(b"something else")
        headers["Docker-Content-Digest"] = str(named)
    if quirks.encoding == "gzip":
        data = gzip.compress(data, 1, mtime=0)
    if quirks.encoding != "none":
        headers["Content-Encoding"] = "gzip"
    send_range(exchange, data, headers, quirks)


def send_range(exchange: Exchange, data: bytes, headers: dict[str, str], quirks: Quirks) -> None:
    """Send the part that a Range header asks for, or all. RFC 9110, section 14."""
    asked = _RANGE(exchange.headers.get("Range", ""))
    if quirks.ranges != "ignored":
        headers["Accept-Ranges"] = "bytes"
    if asked is None or quirks.ranges == "ignored":
        exchange.answer(200, data, headers, rate=quirks.bytes_per_second)
        return
    start = int(asked[1])
    end = min(int(asked[2]) if asked[2] else len(data), len(data) - 1)
    if start > end:
        _refuse_range(exchange, data, headers, quirks)
        return
    if quirks.ranges == "wrong_start":
        start = max(0, start - 1)
    headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
    part = memoryview(data)[start : end + 1]
    exchange.answer(206, part, headers, rate=quirks.bytes_per_second)


def _refuse_range(exchange: Exchange, data: bytes, headers: dict[str, str], quirks: Quirks) -> None:
    headers["Content-Range"] = f"bytes */{len(data)}"
    text = b"invalid range: failed to overlap\n"
    if quirks.ranges == "long_416":
        # Debian's: the length is that of the blob, and the connection stays open.
        exchange.answer(416, text, headers, length=len(data))
    else:
        exchange.answer(416, text, headers)


def _delete(
    exchange: Exchange, state: State, quirks: Quirks, repository: str, digest: Digest
) -> None:
    if quirks.delete_405:
        raise Refusal(405, "UNSUPPORTED", "the operation is unsupported")
    state.blob(repository, digest)
    with state.lock:
        state.blobs[repository].pop(digest, None)
    exchange.answer(202)
