"""Answers on a socket: files by sendfile(2), or in large pieces where TLS must see the bytes."""

import os
import socket
import ssl
import time
from collections.abc import Iterator

from ocitool.errors import OcitoolError
from ocitool.serving.messages import FilePart, Parts

_PIECE = 1 << 18
_MORE = getattr(socket, "MSG_MORE", 0)


class CutShort(OSError):
    """A body ended before its promised length: the connection must not be used again."""


def send(sock: socket.socket, head: bytes, body: bytes | FilePart | Parts, deadline: float) -> int:
    """Send a head and a body; return the bytes of the body that were sent.

    `deadline` are the seconds in which some bytes must go out: OSError after them, and CutShort if
    the body is not as long as promised. The body is not closed.
    """
    set_timeout(sock, deadline)
    if isinstance(body, bytes):
        sock.sendall(head + body)
        return len(body)
    if isinstance(sock, ssl.SSLSocket):
        sock.sendall(head)
    else:
        sock.sendall(head, _MORE)
    if isinstance(body, Parts):
        return _send_parts(sock, body)
    return _send_file(sock, body)


def set_timeout(sock: socket.socket, seconds: float) -> None:
    """Set the time-out of a socket; without a system call where it is that already."""
    if sock.gettimeout() != seconds:
        sock.settimeout(seconds)


def _send_file(sock: socket.socket, part: FilePart) -> int:
    if not part.length:
        return 0
    if isinstance(sock, ssl.SSLSocket):
        # SSLSocket.sendfile sends 8 KiB at a time.
        sent = _send_pieces(sock, part)
    else:
        with open(part.file, "rb", buffering=0, closefd=False) as file:
            sent = sock.sendfile(file, part.offset, part.length)
    if sent != part.length:
        raise CutShort(f"the file ended after {sent} of {part.length} bytes")
    return sent


def _send_pieces(sock: socket.socket, part: FilePart) -> int:
    sent = 0
    while sent < part.length:
        piece = os.pread(part.file, min(_PIECE, part.length - sent), part.offset + sent)
        if not piece:
            break
        sock.sendall(piece)
        sent += len(piece)
    return sent


def _send_parts(sock: socket.socket, body: Parts) -> int:
    sent = 0
    for piece in _whole_pieces(body):
        if sent + len(piece) > body.length:
            raise CutShort("the body is longer than announced")
        sock.sendall(piece)
        sent += len(piece)
    if sent != body.length:
        raise CutShort(f"the body ended after {sent} of {body.length} bytes")
    return sent


def _whole_pieces(body: Parts) -> Iterator[bytes]:
    try:
        yield from body.source
    except OcitoolError as error:
        raise CutShort(error.message) from error


def receive(sock: socket.socket, size: int, until: float) -> bytes:
    """Return the next bytes, b"" at the end; TimeoutError at the monotonic time `until`."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("the client is too slow")
    sock.settimeout(left)
    return sock.recv(size)
