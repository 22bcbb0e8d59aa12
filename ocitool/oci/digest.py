"""Content digests. OCI image-spec, descriptor.md, "Digests"."""

import hashlib
import re
from collections.abc import Callable
from typing import Protocol, Self

from msgspec import Struct

from ocitool.errors import MalformedDocument
from ocitool.oci.quoting import quoted

# `fullmatch` with spelled-out classes: `$` would let a final newline in, `\d` fullwidth digits.
_SOUND = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}").fullmatch
_SHORT_LENGTH = 12


class Hasher(Protocol):
    """The part of a `hashlib` object that is needed here."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take more bytes in."""

    def hexdigest(self) -> str:
        """Return the digest of all bytes so far, in lower-case hex."""


_HASHERS: dict[str, Callable[[], Hasher]] = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}
_ALGORITHMS = {name: name for name in _HASHERS}


class Digest(Struct, frozen=True, order=True, cache_hash=True):
    """A sha256 or sha512 digest in canonical form, and therefore safe as part of a path.

    However it is built, anything but exact lower-case hex raises `MalformedDocument`.
    """

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        text = f"{self.algorithm}:{self.hex}"
        if not _SOUND(text):
            raise MalformedDocument(f"{quoted(text)} is not a sha256 or sha512 digest")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `algorithm:hex`; raises `MalformedDocument` for all that is not canonical."""
        algorithm, _, hexadecimal = text.partition(":")
        # One text for all of them: a store may have a hundred thousand.
        return cls(_ALGORITHMS.get(algorithm, algorithm), hexadecimal)

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview, algorithm: str = "sha256") -> Self:
        """Hash `data`; raises `MalformedDocument` for an algorithm that is not supported."""
        hasher = new_hasher(algorithm)
        hasher.update(data)
        return cls(algorithm, hasher.hexdigest())

    @classmethod
    def from_hasher(cls, algorithm: str, hasher: Hasher) -> Self:
        """Take over what `hasher` has seen; it can go on afterwards."""
        return cls(algorithm, hasher.hexdigest())

    def hasher(self) -> Hasher:
        """Return a fresh `hashlib` object of this digest's algorithm."""
        return _HASHERS[self.algorithm]()

    @property
    def short(self) -> str:
        """The first 12 hex digits, as image lists show them."""
        return self.hex[:_SHORT_LENGTH]

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


def new_hasher(algorithm: str) -> Hasher:
    """Return a fresh `hashlib` object; raises `MalformedDocument` if it is not supported."""
    try:
        return _HASHERS[algorithm]()
    except KeyError:
        message = f"{quoted(algorithm)} is not a supported digest algorithm"
        raise MalformedDocument(message, hint="sha256 and sha512 are supported") from None
