"""Blobs that are hashed while they are sent: for disks that are not trusted.

The last bytes go out only when the digest fits. A part of a blob tells nothing about the whole, so
before the first part the whole blob is hashed, once for each state of its file.
"""

import os
import threading
from collections.abc import Iterator

from msgspec.structs import replace

from ocitool.errors import DigestMismatch
from ocitool.oci import Digest
from ocitool.serving.messages import BODY_CHUNK, Answer, FilePart, Parts, Refusal

_MOST = 10_000


class VerifiedReads:
    """Turns answers with files into answers that are verified. Thread-safe."""

    def __init__(self) -> None:
        self._known: dict[Digest, tuple[int, ...]] = {}
        self._lock = threading.Lock()

    def verified(self, answer: Answer, digest: Digest, *, is_head: bool) -> Answer:
        """Return the answer, to be verified while it is sent; Refusal for damage found before."""
        part = answer.body
        if not isinstance(part, FilePart) or is_head:
            return answer
        if answer.status == 200:
            return replace(answer, body=Parts(_checked(part, digest), part.length, part.close))
        try:
            self._check_whole(part, digest, answer)
        except BaseException:
            part.close()
            raise
        return answer

    def _check_whole(self, part: FilePart, digest: Digest, answer: Answer) -> None:
        state = _state(part.file)
        if self._known.get(digest) == state:
            return
        size = int(answer.headers["Content-Range"].rpartition("/")[2])
        first = int(answer.headers["Content-Range"].removeprefix("bytes ").partition("-")[0])
        whole = FilePart(part.file, part.offset - first, size)
        hasher = digest.hasher()
        for piece in _pieces(whole):
            hasher.update(piece)
        if hasher.hexdigest() != digest.hex:
            raise Refusal(500, "UNKNOWN", "the blob is damaged: `ocitool verify --repair`")
        with self._lock:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[digest] = state


def _state(file: int) -> tuple[int, ...]:
    status = os.fstat(file)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _pieces(part: FilePart) -> Iterator[bytes]:
    done = 0
    while done < part.length:
        size = min(BODY_CHUNK, part.length - done)
        piece = os.pread(part.file, size, part.offset + done)
        if not piece:
            return
        yield piece
        done += len(piece)


def _checked(part: FilePart, digest: Digest) -> Iterator[bytes]:
    hasher = digest.hasher()
    held = b""
    for piece in _pieces(part):
        if held:
            yield held
        hasher.update(piece)
        held = piece
    if hasher.hexdigest() != digest.hex:
        raise DigestMismatch(f"{digest} is damaged: nothing of its last bytes is sent")
    if held:
        yield held
