"""A request and an answer, whatever carries them."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol
from urllib.parse import parse_qsl

from msgspec import Struct, field

BODY_CHUNK = 1 << 18


class RequestBody(Protocol):
    """The bytes that a client sends with its request."""

    @property
    def length(self) -> int | None:
        """How many bytes are announced; None if the client sends chunks without a total."""

    def read(self) -> bytes | bytearray:
        """Return the next bytes; b"" at the end. BrokenBody if the client does not send all."""


class BrokenBody(Exception):
    """The body ended early, did not arrive in time, or is not what its header says."""


class NoBody:
    """The body of a request without one."""

    length = 0

    def read(self) -> bytes:
        """Return the end."""
        return b""


class Request(Struct, frozen=True, kw_only=True):
    """One request. Header names are in lower case; `target` is the path and query as sent."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: RequestBody = field(default_factory=NoBody)
    client: str = ""

    @property
    def path(self) -> str:
        """The path as sent, without its query; nothing in it is decoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> list[tuple[str, str]]:
        """The parameters of the query, decoded, in their order."""
        return parse_qsl(self.target.partition("?")[2], keep_blank_values=True)

    def parameter(self, name: str) -> str | None:
        """Return the first parameter of that name; None if there is none."""
        return next((value for key, value in self.query if key == name), None)

    def parameters(self, name: str) -> list[str]:
        """Return all parameters of that name."""
        return [value for key, value in self.query if key == name]


class FilePart(Struct, frozen=True):
    """Some bytes of an open file; whoever sends the answer closes the descriptor."""

    file: int
    offset: int
    length: int

    def __len__(self) -> int:
        return self.length

    def close(self) -> None:
        """Close the file."""
        os.close(self.file)


class Parts(Struct, frozen=True):
    """Bytes that are made while they are sent; an OcitoolError in `source` cuts the connection.

    `release` is called when they are sent, or not to be sent.
    """

    source: Iterator[bytes]
    length: int
    release: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return self.length

    def close(self) -> None:
        """Release what the source reads."""
        self.release()


class Answer(Struct, frozen=True, kw_only=True):
    """One answer. For HEAD it has the body of GET, which is not sent.

    `note` are further fields of the access log.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | FilePart | Parts = b""
    note: Mapping[str, str] = field(default_factory=dict)

    def close(self) -> None:
        """Release the body of an answer that is not sent; harmless for bytes."""
        if not isinstance(self.body, bytes):
            self.body.close()


class Refusal(Exception):
    """A request that is answered with an error (distribution-spec, "Error Codes")."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        detail: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail
        self.headers = headers or {}

    def answer(self) -> Answer:
        """Return the JSON document of the specification."""
        error = {"code": self.code, "message": self.message, "detail": self.detail}
        return json_answer(
            {"errors": [error]}, status=self.status, headers=self.headers, note={"error": self.code}
        )


def json_answer(
    value: object,
    *,
    status: int = 200,
    media_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
    note: Mapping[str, str] | None = None,
) -> Answer:
    """Return a value as an answer in ASCII JSON."""
    return Answer(
        status=status,
        headers={"Content-Type": media_type, **(headers or {})},
        body=json.dumps(value, separators=(",", ":")).encode("ascii"),
        note=note or {},
    )
