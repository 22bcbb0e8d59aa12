"""Bundles in object stores: s3://BUCKET/KEY, gs://BUCKET/KEY and az://CONTAINER/KEY, by obstore.

Credentials and addresses are those of obstore's own variables, such as AWS_ACCESS_KEY_ID and
AWS_ENDPOINT_URL. An object appears whole or not at all.
"""

import contextlib
import datetime as dt
import importlib.util
import queue
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ocitool.bundles.blocks import Blocks
from ocitool.errors import (
    AccessDenied,
    NotFound,
    OcitoolError,
    Refused,
    Unavailable,
    UsageError,
)
from ocitool.oci.quoting import quoted

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ObjectStore

_SCHEMES: Final = ("s3://", "gs://", "az://")
# A multipart upload has at most 10,000 parts: these make 160 GB.
_PART: Final = 16 << 20
_AT_ONCE: Final = 2
_PIECE: Final = 1 << 20
_PATIENCE: Final = dt.timedelta(seconds=60)


def is_object(text: str) -> bool:
    """Tell whether a text names an object in a store."""
    return text.startswith(_SCHEMES)


class ObjectAddress:
    """An object: the store that it is in, ready to be asked, and its key there."""

    def __init__(self, url: str, store: "ObjectStore | None" = None) -> None:
        """`store` replaces the one that the address means. UsageError for an incomplete address."""
        parts = urlsplit(url)
        self.url = url
        self.key = parts.path.lstrip("/")
        if not parts.netloc or not self.key or parts.query or parts.fragment:
            raise UsageError(
                f"{quoted(url)} does not name an object",
                hint=f"write {parts.scheme}://BUCKET/KEY.tar",
            )
        self.store = store if store is not None else _store_of(f"{parts.scheme}://{parts.netloc}")


def _store_of(bucket: str) -> "ObjectStore":
    if importlib.util.find_spec("obstore") is None:
        raise OcitoolError(
            "object stores need the package obstore, which is not installed beside ocitool",
            hint=f"{sys.executable} -m pip install obstore, with pipx: pipx inject ocitool obstore",
        )
    from obstore.store import from_url

    with _translated(bucket):
        return from_url(bucket, retry_config={"max_retries": 5, "retry_timeout": _PATIENCE})


class ObjectFile:
    """An object that is read at any offset, by ranges; see `Blocks`. Thread-safe."""

    def __init__(self, address: ObjectAddress) -> None:
        import obstore

        self.what = address.url
        self._address = address
        with _translated(self.what):
            found = obstore.head(address.store, address.key)
        self.size: int = found["size"]
        self._tag = found.get("e_tag")
        blocks = Blocks(self.size, self._fetch)
        self.read_at, self.close = blocks.read_at, blocks.close

    def _fetch(self, begin: int, end: int) -> bytes:
        import obstore

        options: GetOptions = {"range": (begin, end)}
        if self._tag is not None:
            # The request fails if the object has been replaced since.
            options["if_match"] = self._tag
        with _translated(self.what):
            found = obstore.get(self._address.store, self._address.key, options=options)
            return bytes(found.bytes())


class _Aborted(Exception):
    """The upload is given up, so that no object appears."""


class ObjectOutput:
    """An object that appears whole or not at all, written as an `OutputFile` is.

    `write` as often as needed, then `publish`; `close` without it leaves nothing behind. `written`
    counts the bytes so far. The upload runs in a thread of its own, with little memory.
    """

    def __init__(self, address: ObjectAddress) -> None:
        self.path = address.url
        self.written = 0
        self._address = address
        self._pieces: queue.Queue[bytes | None] = queue.Queue(maxsize=4)
        self._waiting = bytearray()
        self._is_given_up = False
        thread = ThreadPoolExecutor(1)
        self._upload = thread.submit(self._send_all)
        thread.shutdown(wait=False)

    def write(self, data: bytes) -> None:
        """Write all of `data`; raises what the upload has failed with."""
        self.written += len(data)
        self._waiting += data
        if len(self._waiting) >= _PIECE:
            self._send(bytes(self._waiting))
            self._waiting.clear()

    def publish(self) -> None:
        """Wait until the object is there, replacing what had its name."""
        if self._waiting:
            self._send(bytes(self._waiting))
            self._waiting.clear()
        self._send(None)
        self._upload.result()

    def close(self) -> None:
        """Give the upload up unless it was published; harmless when repeated."""
        self._is_given_up = True
        while not self._upload.done():
            with contextlib.suppress(queue.Full):
                self._pieces.put_nowait(None)
            wait([self._upload], 0.1)

    def _send(self, piece: bytes | None) -> None:
        while True:
            if self._upload.done():
                self._upload.result()
            with contextlib.suppress(queue.Full):
                self._pieces.put(piece, timeout=0.5)
                return

    def _send_all(self) -> None:
        import obstore

        with _translated(self.path):
            obstore.put(
                self._address.store,
                self._address.key,
                self._each_piece(),
                use_multipart=True,
                chunk_size=_PART,
                max_concurrency=_AT_ONCE,
            )

    def _each_piece(self) -> Iterator[bytes]:
        while True:
            piece = self._pieces.get()
            if self._is_given_up:
                raise _Aborted
            if piece is None:
                return
            yield piece


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    """Translate what obstore raises into our kinds of error."""
    from obstore import exceptions

    variables = _VARIABLES[what.partition("://")[0]]
    try:
        yield
    except (exceptions.NotFoundError, FileNotFoundError) as error:
        raise NotFound(f"there is no object {what}", hint="check the bucket and the key") from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise AccessDenied(
            f"access to {what} is denied: {_first_line(error)}",
            hint=f"set the credentials that obstore reads: {variables}",
        ) from error
    except exceptions.PreconditionError as error:
        raise Refused(f"{what} was replaced while it was read", hint="run it again") from error
    except exceptions.BaseError as error:
        if _NOBODY in str(error):
            raise AccessDenied(
                f"there are no credentials for {what}", hint=f"obstore reads them from {variables}"
            ) from error
        raise Unavailable(
            f"{what}: {_first_line(error)}", hint=f"obstore is configured by {variables}"
        ) from error


_VARIABLES: Final = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, for a server of your own "
    "AWS_ENDPOINT_URL, for plain http AWS_ALLOW_HTTP=true",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}


# Who has no credentials is taken for a virtual machine that has some, and that is asked.
_NOBODY: Final = "169.254.169.254"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
