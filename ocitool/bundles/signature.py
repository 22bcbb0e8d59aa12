"""Signatures over the list of a bundle: made by OpenSSH or minisign, verified by them or without.

A signature is one of `ssh-keygen -Y sign` with the namespace ocitool-bundle, so keys in files, in
an agent and on FIDO tokens all sign. A file of allowed signers says whose keys count
(ssh-keygen(1), ALLOWED SIGNERS). Where OpenSSH is not installed, the package cryptography verifies
the usual kinds of key. A signature that is damaged or of an unknown form is an error and never "no
signature".
"""

import base64
import binascii
import contextlib
import importlib.util
import os
import shutil
import time
from collections.abc import Iterator
from typing import IO, Final

from msgspec import Struct

from ocitool.bundles.allowed_signers import allowed_key, not_allowed
from ocitool.bundles.sshsig import SshSignature, parse_sshsig
from ocitool.errors import BadSignature, NotFound, OcitoolError, UsageError
from ocitool.fsops import read_up_to, scratch_folder, translated, write_output
from ocitool.oci.quoting import quoted
from ocitool.programs import run_program

NAMESPACE: Final = "ocitool-bundle"
"""The purpose that is signed with the bytes, so that a signature for another one does not count."""
_KEYGEN: Final = "ssh-keygen"
_LARGEST_FILE: Final = 4 << 20
_LONGEST_KEY: Final = 1 << 16
_PUBLIC_KEYS: Final = (b"ssh-", b"ecdsa-", b"sk-")
_MINISIGN_BYTES: Final = 2 + 8 + 32
_CHANGED = "the signature is not over this list: the list was changed, or another one was signed"
_NO_REASON = "Could not verify signature."
_INSTALL = "install OpenSSH (Debian: openssh-client)"


class Signer(Struct, frozen=True, kw_only=True):
    """Who signed: the identity that was asked for, the type of the key, and its fingerprint."""

    identity: str
    key_type: str
    fingerprint: str


def sign(data: bytes, key: str) -> bytes:
    """Sign bytes with a key and return the signature, as the text of a file.

    `key` is the path of a private key, or of a public key whose other half is in the SSH agent or
    on a token. OpenSSH asks for a passphrase or a touch on the terminal. NotFound when there is no
    such file, OcitoolError when OpenSSH is not installed or does not sign.
    """
    if not key:
        raise UsageError("the path of the key is empty", hint=_how_to_make("KEY"))
    if not os.path.isfile(key):
        raise NotFound(f"there is no key file {quoted(key)}", hint=_how_to_make(key))
    _require_keygen()
    with scratch_folder(None) as folder, _terminal() as stdin:
        # ssh-keygen asks for a passphrase only if its standard input is a terminal, so the bytes
        # go through a file. What it says of a token must reach a terminal, too.
        path = os.path.join(folder, "list")
        write_output(path, data)
        command = [_KEYGEN, "-q", "-Y", "sign", "-f", key, "-n", NAMESPACE, path]
        done = run_program(command, stdin=stdin, shows_errors=os.isatty(2))
        if done.code != 0:
            raise _not_signed(key, done.reason)
        with open(f"{path}.sig", "rb") as file:
            signature = file.read()
    parse_sshsig(signature)
    return signature


def _not_signed(key: str, reason: str) -> OcitoolError:
    """Return the error about a file with which ssh-keygen did not sign."""
    with translated("read", key), open(key, "rb") as file:
        begin = file.read(_LONGEST_KEY)
    if not (b"PRIVATE KEY-----" in begin or begin.startswith(_PUBLIC_KEYS)):
        return UsageError(
            f"{quoted(key)} is not a key of OpenSSH",
            hint="name a private key, or a public one whose other half is in the agent; "
            f"{_how_to_make('NEW_KEY')}",
        )
    why = f": {reason}" if reason else ""
    return OcitoolError(
        f"ssh-keygen did not sign with {quoted(key)}{why}",
        hint="check the passphrase; `ssh-add -l` lists the keys that the agent has",
    )


def verify_signature(data: bytes, signature: bytes, allowed_signers: str, identity: str) -> Signer:
    """Return who signed `data`, if that is `identity` with a key of the file `allowed_signers`.

    BadSignature for any other outcome: another key, identity or namespace, other bytes, a damaged
    signature. NotFound when the file is not there, UsageError when it cannot be read as a whole,
    OcitoolError when nothing on this machine can verify.
    """
    if not identity:
        raise UsageError("the identity of the signer is empty")
    allowed = _read(allowed_signers)
    parsed = parse_sshsig(signature)
    if parsed.namespace != NAMESPACE:
        raise BadSignature(
            f"the signature is for {quoted(parsed.namespace)}, and not for {NAMESPACE}",
            hint="a bundle is signed with `ocitool bundle sign` or `bundle create --sign-key`",
        )
    if not _verify_by_keygen(data, signature, parsed, allowed_signers, identity):
        _verify_without_keygen(data, parsed, allowed, allowed_signers, identity)
    return Signer(identity=identity, key_type=parsed.key_type, fingerprint=parsed.fingerprint)


def verify_minisign(data: bytes, signature: bytes, key: str) -> Signer:
    """Return who signed `data` with minisign: `key` is its public key, or the file that has it.

    The signer's identity is the ID of the key, as minisign shows it. BadSignature when it is not a
    signature of that key over these bytes, OcitoolError when the command minisign is not installed.
    """
    if shutil.which("minisign") is None:
        raise OcitoolError(
            "minisign is not installed", hint="install it (Debian: apt-get install minisign)"
        )
    public, identity = _minisign_key(_read(key) if os.path.isfile(key) else key)
    with scratch_folder(None) as folder:
        path = os.path.join(folder, "list")
        write_output(path, data)
        write_output(f"{path}.minisig", signature)
        done = run_program(["minisign", "-V", "-q", "-m", path, "-P", public])
    if done.code != 0:
        raise BadSignature(
            f"minisign does not accept the signature: {done.reason}",
            hint="check the key that --minisign-key names: a public key, or the file with it",
        )
    return Signer(identity=identity, key_type="minisign", fingerprint=public)


def _minisign_key(text: str) -> tuple[str, str]:
    """Return a public key of minisign and its ID; a file of one has a comment before it."""
    public = text.strip().splitlines()[-1].strip() if text.strip() else ""
    try:
        raw = base64.b64decode(public, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _MINISIGN_BYTES or raw[:2] != b"Ed":
        raise UsageError(
            f"{quoted(text)} is not a public key of minisign",
            hint="give the key, which begins with RW, or the file minisign.pub",
        )
    return public, raw[2:10][::-1].hex().upper()


def _verify_by_keygen(
    data: bytes, signature: bytes, parsed: SshSignature, allowed_signers: str, identity: str
) -> bool:
    """Verify with OpenSSH; False if this machine has none that is new enough (8.1, of 2019)."""
    if shutil.which(_KEYGEN) is None:
        return False
    with scratch_folder(None) as folder:
        path, list_path = os.path.join(folder, "sig"), os.path.join(folder, "list")
        write_output(path, signature)
        write_output(list_path, data)
        command = [_KEYGEN, "-Y", "verify", "-f", allowed_signers, "-I", identity]
        with open(list_path, "rb") as stdin:
            done = run_program([*command, "-n", NAMESPACE, "-s", path], stdin=stdin)
    if done.code == 0:
        return True
    text = done.reason
    if "unknown option" in text or "illegal option" in text:
        return False
    if "incorrect signature" in text:
        raise BadSignature(_CHANGED)
    raise not_allowed(allowed_signers, identity, parsed.key, text.replace(_NO_REASON, "").strip())


def _verify_without_keygen(
    data: bytes, parsed: SshSignature, allowed: str, path: str, identity: str
) -> None:
    if importlib.util.find_spec("cryptography") is None:
        raise OcitoolError(
            "nothing on this machine can verify a signature: there is no ssh-keygen that can",
            hint=f"{_INSTALL}, or the package cryptography: pipx inject ocitool cryptography",
        )
    from ocitool.bundles.ssh_keys import is_signed

    if not is_signed(parsed, data):
        raise BadSignature(_CHANGED)
    allowed_key(allowed, identity, NAMESPACE, parsed.key, path=path, now=time.time())


def _read(path: str) -> str:
    with translated("read", path), open(path, "rb") as file:
        raw = read_up_to(file.fileno(), _LARGEST_FILE + 1)
    if len(raw) > _LARGEST_FILE:
        raise UsageError(f"{quoted(path)} is too large to be a file of allowed signers")
    return raw.decode("utf-8", "surrogateescape")


def _require_keygen() -> None:
    if shutil.which(_KEYGEN) is None:
        raise OcitoolError("ssh-keygen, which signs, is not installed", hint=_INSTALL)


def _how_to_make(key: str) -> str:
    import shlex

    return f"`ssh-keygen -t ed25519 -f {shlex.quote(key)}` makes one"


@contextlib.contextmanager
def _terminal() -> Iterator[IO[bytes] | None]:
    """Yield the terminal for the questions of a program, or None."""
    try:
        file = open("/dev/tty", "rb")  # noqa: SIM115
    except OSError:
        yield None
        return
    with file:
        yield file
