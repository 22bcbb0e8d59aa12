"""Whose signature a bundle has to have before anything of it is believed."""

import os
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from ocitool.bundles.files import BundleFile, BundleSet
from ocitool.bundles.signature import Signer, sign, verify_minisign, verify_signature
from ocitool.bundles.stream import BundleStream
from ocitool.errors import BadSignature, UsageError
from ocitool.fsops import read_up_to, translated, write_output
from ocitool.places.archive.bundle import LARGEST_SIGNATURE

SIDECAR: Final = ".sig"


class Trust(Struct, frozen=True, kw_only=True):
    """Whose signature is asked for: that of `identity`, by a file of allowed signers, or of a key.

    `signature` is a file with it; without one it is that in the bundle, or that in FILE.sig.
    Without `allowed_signers` and `minisign_key` no signature is asked for.
    """

    allowed_signers: str | None = None
    identity: str | None = None
    signature: str | None = None
    minisign_key: str | None = None

    def __post_init__(self) -> None:
        if (self.allowed_signers is None) != (self.identity is None):
            raise UsageError(
                "--allowed-signers and --identity go together",
                hint="--identity is a name with which a line of that file begins",
            )
        if self.minisign_key is not None and self.allowed_signers is not None:
            raise UsageError("--minisign-key and --allowed-signers exclude each other")
        if self.signature is not None and not self.is_asked:
            raise UsageError("--signature goes with --allowed-signers or --minisign-key")

    @property
    def is_asked(self) -> bool:
        """Whether a signature is asked for at all."""
        return self.allowed_signers is not None or self.minisign_key is not None

    def require(self, bundle: BundleSet | BundleStream) -> Signer | None:
        """Return who signed a bundle's list; None if that was not asked. BadSignature."""
        if not self.is_asked:
            return None
        signature = self._signature(bundle)
        if self.minisign_key is not None:
            return verify_minisign(bundle.head.raw, signature, self.minisign_key)
        return verify_signature(
            bundle.head.raw, signature, self.allowed_signers or "", self.identity or ""
        )

    def _signature(self, bundle: BundleSet | BundleStream) -> bytes:
        if self.signature is not None:
            return _read(self.signature)
        files = bundle.files if isinstance(bundle, BundleSet) else ()
        embedded = next((f.head.signature for f in (*files, bundle) if f.head.signature), None)
        if embedded is not None and self.minisign_key is None:
            return embedded
        beside = signature_beside(files)
        if beside is not None:
            return _read(beside)
        raise BadSignature(
            f"{bundle.what} is not signed",
            hint="ask for it signed, or for its FILE.sig, which --signature names; whoever wrote "
            "the bundle signs it by `ocitool bundle sign`",
        )


def signature_beside(files: Sequence[BundleFile]) -> str | None:
    """Return the file with the signature that stands beside one of the files, if there is one."""
    paths = (file.what + SIDECAR for file in files)
    return next((path for path in paths if os.path.isfile(path)), None)


def sign_beside(bundle: BundleSet, key: str) -> list[str]:
    """Sign a bundle; write the signature to FILE.sig beside each of its files; return these names.

    See `sign`. A signature that is there is replaced, as a whole or not at all. UsageError for a
    bundle that is not in files.
    """
    for file in bundle.files:
        if not os.path.isfile(file.what):
            raise UsageError(
                f"there is no place for a signature beside {file.what}",
                hint="write the bundle to a file first, or sign it by `bundle create --sign-key`",
            )
    signature = sign(bundle.head.raw, key)
    written = [file.what + SIDECAR for file in bundle.files]
    for path in written:
        write_output(path, signature)
    return written


def _read(path: str) -> bytes:
    with translated("read the signature", path), open(path, "rb") as file:
        data = read_up_to(file.fileno(), LARGEST_SIGNATURE + 1)
    if len(data) > LARGEST_SIGNATURE:
        raise BadSignature(f"{path!r} is too large for a signature")
    return data
