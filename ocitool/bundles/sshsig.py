"""SSHSIG, the signatures of `ssh-keygen -Y sign` (OpenSSH, PROTOCOL.sshsig), read by ourselves.

Everything about a signature that needs no cryptography: what key made it, for what purpose, and
which bytes the key has signed.
"""

import base64
import binascii
import hashlib
import struct
from typing import Final

from msgspec import Struct

from ocitool.errors import BadSignature
from ocitool.oci.quoting import quoted

LARGEST: Final = 64 << 10
"""More bytes than any signature has."""
_BEGIN, _END = b"-----BEGIN SSH SIGNATURE-----", b"-----END SSH SIGNATURE-----"
_MAGIC: Final = b"SSHSIG"
_VERSION: Final = 1
_HASHES: Final = ("sha256", "sha512")


class SshSignature(Struct, frozen=True, kw_only=True):
    """A signature, taken apart. `key` and `signature` are in the wire format of SSH (RFC 4253).

    `namespace` is the purpose that the signer named; `hash_algorithm` is sha256 or sha512.
    """

    key: bytes
    namespace: str
    hash_algorithm: str
    signature: bytes

    @property
    def key_type(self) -> str:
        """The type of the key, such as "ssh-ed25519"."""
        return key_type(self.key)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the key, as `ssh-keygen -l` shows it."""
        return fingerprint(self.key)

    def signed_bytes(self, data: bytes) -> bytes:
        """Return what the key has signed when the signature is over `data`."""
        parts = (
            self.namespace.encode("utf-8", "surrogateescape"),
            b"",
            self.hash_algorithm.encode(),
            hashlib.new(self.hash_algorithm, data).digest(),
        )
        return _MAGIC + b"".join(struct.pack(">I", len(part)) + part for part in parts)


class Wire:
    """Reads values of SSH's wire format (RFC 4251, 5) one by one; ValueError at its end."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._position = 0

    @property
    def is_at_end(self) -> bool:
        """Whether everything is read."""
        return self._position == len(self._raw)

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        end = self._position + count
        if end > len(self._raw):
            raise ValueError("it is cut short")
        part = self._raw[self._position : end]
        self._position = end
        return part

    def uint32(self) -> int:
        """Return the next number."""
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        """Return the next string of bytes."""
        return self.take(self.uint32())

    def positive(self) -> int:
        """Return the next number of any size, which must not be negative."""
        raw = self.string()
        if raw[:1] >= b"\x80":
            raise ValueError("a number is negative")
        return int.from_bytes(raw, "big")


def parse_sshsig(raw: bytes) -> SshSignature:
    """Return the signature in an armored file; BadSignature when it is damaged or another form."""
    try:
        return _parsed(_dearmored(raw))
    except ValueError as error:
        raise BadSignature(
            f"the signature is damaged: {error}",
            hint="a damaged signature proves nothing: get the file once more",
        ) from error


def key_type(key: bytes) -> str:
    """Return the type of a public key in wire format; ValueError when it has none."""
    return Wire(key).string().decode("ascii")


def fingerprint(key: bytes) -> str:
    """Return the SHA-256 fingerprint of a public key in wire format."""
    digest = base64.b64encode(hashlib.sha256(key).digest()).decode()
    return f"SHA256:{digest.rstrip('=')}"


def _dearmored(raw: bytes) -> bytes:
    text = raw.strip()
    if not text.startswith(_BEGIN):
        raise BadSignature(
            "the signature is of an unknown form: it is not one of ssh-keygen",
            hint="bundles are signed with `ocitool bundle sign` or --sign-key; one of minisign is "
            "verified with --signature FILE --minisign-key KEY",
        )
    if len(text) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    if not text.endswith(_END):
        raise ValueError("its end is missing")
    inner = b"".join(text[len(_BEGIN) : -len(_END)].split())
    try:
        return base64.b64decode(inner, validate=True)
    except binascii.Error as error:
        raise ValueError("it is not base64") from error


def _parsed(raw: bytes) -> SshSignature:
    wire = Wire(raw)
    if wire.take(len(_MAGIC)) != _MAGIC:
        raise ValueError("its first bytes are not SSHSIG")
    version = wire.uint32()
    if version != _VERSION:
        raise ValueError(f"its version is {version}, and not {_VERSION}")
    key, namespace, _reserved = wire.string(), wire.string(), wire.string()
    algorithm, signature = wire.string(), wire.string()
    if not wire.is_at_end:
        raise ValueError("something follows it")
    hash_algorithm = algorithm.decode("ascii", "replace")
    if hash_algorithm not in _HASHES:
        raise ValueError(f"its hash algorithm is {quoted(hash_algorithm)}")
    key_type(key)
    return SshSignature(
        key=key,
        namespace=namespace.decode("utf-8", "surrogateescape"),
        hash_algorithm=hash_algorithm,
        signature=signature,
    )
