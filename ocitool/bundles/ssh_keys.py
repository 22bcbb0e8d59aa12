"""Verifying SSH signatures with the package cryptography: Ed25519, ECDSA and RSA."""

from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from ocitool.bundles.sshsig import SshSignature, Wire
from ocitool.errors import BadSignature, UsageError
from ocitool.oci.quoting import quoted

_CURVES: Final[dict[str, tuple[ec.EllipticCurve, hashes.HashAlgorithm]]] = {
    "nistp256": (ec.SECP256R1(), hashes.SHA256()),
    "nistp384": (ec.SECP384R1(), hashes.SHA384()),
    "nistp521": (ec.SECP521R1(), hashes.SHA512()),
}
# The older "ssh-rsa" is over SHA-1, and OpenSSH refuses it for files as well.
_RSA_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "rsa-sha2-256": hashes.SHA256(),
    "rsa-sha2-512": hashes.SHA512(),
}
_SMALLEST_RSA: Final = 1024
"""Bits, as of OpenSSH (RequiredRSASize)."""


def is_signed(signature: SshSignature, data: bytes) -> bool:
    """Tell whether the key in a signature has signed `data`. Who has that key is another question.

    BadSignature for a damaged key or signature, UsageError for a kind of key that only OpenSSH can
    verify, such as one on a token.
    """
    key, value = Wire(signature.key), Wire(signature.signature)
    try:
        kind = key.string().decode("ascii")
        verify = _VERIFIERS.get(kind)
        if verify is None:
            raise UsageError(
                f"a signature by a key of the type {quoted(kind)} is verified by OpenSSH alone",
                hint="install OpenSSH (Debian: openssh-client)",
            )
        verify(key, value, value.string().decode("ascii"), signature.signed_bytes(data))
        if not key.is_at_end or not value.is_at_end:
            raise ValueError("something follows it")
    except InvalidSignature:
        return False
    except ValueError as error:
        raise BadSignature(f"the signature is damaged: {error}") from error
    return True


def _verify_ed25519(key: Wire, value: Wire, algorithm: str, signed: bytes) -> None:
    _expect(algorithm == "ssh-ed25519", algorithm)
    ed25519.Ed25519PublicKey.from_public_bytes(key.string()).verify(value.string(), signed)


def _verify_ecdsa(key: Wire, value: Wire, algorithm: str, signed: bytes) -> None:
    curve_name = key.string().decode("ascii")
    _expect(algorithm == f"ecdsa-sha2-{curve_name}" and curve_name in _CURVES, algorithm)
    curve, algorithm_hash = _CURVES[curve_name]
    public = ec.EllipticCurvePublicKey.from_encoded_point(curve, key.string())
    numbers = Wire(value.string())
    pair = encode_dss_signature(numbers.positive(), numbers.positive())
    _expect(numbers.is_at_end, algorithm)
    public.verify(pair, signed, ec.ECDSA(algorithm_hash))


def _verify_rsa(key: Wire, value: Wire, algorithm: str, signed: bytes) -> None:
    _expect(algorithm in _RSA_HASHES, algorithm)
    exponent, modulus = key.positive(), key.positive()
    if modulus.bit_length() < _SMALLEST_RSA:
        raise ValueError(f"its RSA key has only {modulus.bit_length()} bits")
    public = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    # OpenSSH writes a value that begins with zeros without them.
    raw = value.string().rjust(-(-modulus.bit_length() // 8), b"\0")
    public.verify(raw, signed, padding.PKCS1v15(), _RSA_HASHES[algorithm])


def _expect(is_right: bool, algorithm: str) -> None:
    if not is_right:
        raise ValueError(f"{quoted(algorithm)} does not belong to its key")


_VERIFIERS: Final[dict[str, Callable[[Wire, Wire, str, bytes], None]]] = {
    "ssh-ed25519": _verify_ed25519,
    "ssh-rsa": _verify_rsa,
    **{f"ecdsa-sha2-{curve}": _verify_ecdsa for curve in _CURVES},
}
