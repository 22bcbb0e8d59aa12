"""Signatures in the form of `ssh-keygen -Y sign` by fresh Ed25519 keys, made without OpenSSH."""

import base64
import hashlib
import struct
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


class SigningKey:
    """A key that signs, as PROTOCOL.sshsig of OpenSSH says."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        raw = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._public = _string(b"ssh-ed25519") + _string(raw)

    def sign(self, data: bytes, namespace: str = "ocitool-bundle") -> bytes:
        """Return the signature over some bytes, as the text of a file."""
        hashed = _string(b"sha512") + _string(hashlib.sha512(data).digest())
        purpose = _string(namespace.encode()) + _string(b"")
        value = _string(b"ssh-ed25519") + _string(self._key.sign(b"SSHSIG" + purpose + hashed))
        raw = b"SSHSIG" + struct.pack(">I", 1) + _string(self._public) + purpose
        text = base64.encodebytes(raw + _string(b"sha512") + _string(value)).decode()
        return f"-----BEGIN SSH SIGNATURE-----\n{text}-----END SSH SIGNATURE-----\n".encode()

    def allow(self, folder: Path, identity: str) -> str:
        """Write a file of allowed signers with this key and return its path."""
        path = folder / f"allowed-{identity}"
        key = base64.b64encode(self._public).decode()
        path.write_text(f"{identity} ssh-ed25519 {key}\n")
        return str(path)
