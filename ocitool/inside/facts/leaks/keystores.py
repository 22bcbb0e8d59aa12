"""Whether a binary key store holds a private key, or only public certificates."""

import struct

# The object identifiers of a key bag and of an encrypted key bag (RFC 7292, section 4.2), in DER.
_KEY_BAGS = tuple(bytes.fromhex("060b2a864886f70d010c0a01") + bytes([number]) for number in (1, 2))
_JKS = b"\xfe\xed\xfe\xed"
_PRIVATE, _CERTIFICATE = 1, 2


def holds_private_key(data: bytes) -> bool:
    """Tell whether a PKCS #12 or Java key store has an entry with a private key."""
    if data.startswith(_JKS):
        try:
            return _has_private_entry(data)
        except struct.error:
            return False
    return data.startswith(b"\x30") and any(oid in data for oid in _KEY_BAGS)


def _has_private_entry(data: bytes) -> bool:
    """Walk over the entries of a JKS (OpenJDK's JavaKeyStore.java); struct.error if it is cut."""
    version, count = struct.unpack_from(">II", data, 4)
    at = 12
    for _ in range(count):
        (tag,) = struct.unpack_from(">I", data, at)
        if tag != _CERTIFICATE:
            return bool(tag == _PRIVATE)
        at = _after_text(data, at + 4) + 8
        at = _after_text(data, at) if version == 2 else at
        (length,) = struct.unpack_from(">I", data, at)
        at += 4 + length
    return False


def _after_text(data: bytes, at: int) -> int:
    (length,) = struct.unpack_from(">H", data, at)
    return at + 2 + int(length)
