"""Files of allowed signers: who may sign with which key (ssh-keygen(1), ALLOWED SIGNERS).

They are read by the same rules as ssh-keygen does. What only OpenSSH can honour, certificates
above all, is refused, and never passed over.
"""

import base64
import binascii
import calendar
import re
import time
from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct

from ocitool.bundles.sshsig import fingerprint, key_type
from ocitool.errors import BadSignature, UsageError
from ocitool.oci.quoting import quoted

_TIMES: Final = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_OPTION: Final = r'([A-Za-z-]+)(?:="((?:\\"|[^"])*+)")?(?:,(?=.)|$)'
_BLANK: Final = " \t"
_OPENSSH: Final = "install OpenSSH (Debian: openssh-client): its ssh-keygen honours every option"


class AllowedKey(Struct, frozen=True, kw_only=True):
    """A line of the file: a public key in wire format, and who may sign with it, when, for what.

    `principals` and `namespaces` are lists of patterns; None allows every namespace. The times are
    seconds since 1970 or None.
    """

    where: str
    principals: str
    key: bytes
    namespaces: str | None = None
    valid_after: int | None = None
    valid_before: int | None = None

    def check(self, namespace: str, now: float) -> None:
        """Raise BadSignature unless the key may sign for a purpose now."""
        if self.namespaces is not None and not matches(namespace, self.namespaces):
            raise BadSignature(f"{self.where}: the key may not sign for {namespace}")
        if self.valid_after is not None and now < self.valid_after:
            raise BadSignature(f"{self.where}: the key is not valid yet")
        if self.valid_before is not None and now > self.valid_before:
            raise BadSignature(f"{self.where}: the key is no longer valid")


def allowed_key(
    text: str, identity: str, namespace: str, key: bytes, *, path: str, now: float
) -> AllowedKey:
    """Return the line that lets an identity sign with a key for a purpose.

    `text` is the content of the file, `path` its name for messages. BadSignature when no line does,
    UsageError for a line about the identity that cannot be read or honoured here.
    """
    refused: BadSignature | None = None
    for line in parse_allowed_signers(text, path, only=lambda p: matches(identity, p)):
        if line.key != key:
            continue
        try:
            line.check(namespace, now)
        except BadSignature as error:
            refused = refused or error
        else:
            return line
    raise refused or not_allowed(path, identity, key)


def not_allowed(path: str, identity: str, key: bytes, why: str = "") -> BadSignature:
    """Return the error about a key, in wire format, with which an identity may not sign."""
    return BadSignature(
        f"{path} does not let {quoted(identity)} sign with the key that signed "
        f"({quoted(key_type(key))[1:-1]} {fingerprint(key)}){f': {why}' if why else ''}",
        hint="somebody else signed this: do not load it, unless that key belongs into the file, "
        "under this identity",
    )


def parse_allowed_signers(
    text: str, path: str, only: Callable[[str], bool] = lambda _: True
) -> Iterator[AllowedKey]:
    """Yield the keys of a file, in its order; of lines for others than `only` nothing is read.

    UsageError, which names the line, for one that cannot be read or honoured.
    """
    for number, line in enumerate(re.split(r"\r?\n", text), 1):
        rest = line.strip()
        if not rest or rest.startswith("#"):
            continue
        where = f"{path}: line {number}"
        try:
            principals, rest = _principals(rest)
            if only(principals):
                yield _line(where, principals, rest)
        except ValueError as error:
            raise UsageError(f"{where} is not understood: {error}") from error


def matches(text: str, patterns: str) -> bool:
    """Tell whether a text is in a list such as "*@example.org,!eve@*" (ssh_config(5), PATTERNS).

    One pattern must match, and none after an exclamation mark.
    """
    found = False
    for pattern in patterns.split(","):
        is_negated = pattern.startswith("!")
        if _matches_one(text, pattern[is_negated:]):
            if is_negated:
                return False
            found = True
    return found


def _matches_one(text: str, pattern: str) -> bool:
    words = {"*": ".*", "?": "."}
    expression = "".join(words.get(c, re.escape(c)) for c in re.sub(r"\*+", "*", pattern))
    return re.fullmatch(expression, text, re.DOTALL) is not None


def _principals(line: str) -> tuple[str, str]:
    if line.startswith('"'):
        principals, quote, rest = line[1:].partition('"')
        if not quote:
            raise ValueError("a quotation mark is missing")
    else:
        found = re.split(r"[ \t]", line, maxsplit=1)
        principals, rest = found[0], found[1] if len(found) > 1 else ""
    if not rest.strip():
        raise ValueError("it has no key")
    return principals, rest.strip(_BLANK)


def _line(where: str, principals: str, rest: str) -> AllowedKey:
    key = _key(rest)
    options: dict[str, str] = {}
    if key is None:
        text, rest = _options(rest)
        key = _key(rest)
        if key is None:
            raise ValueError("it has no key that can be read")
        options = _parsed_options(where, text)
    after, before = (_seconds(options.get(f"valid-{when}")) for when in ("after", "before"))
    if after is not None and before is not None and after >= before:
        raise ValueError("the key is valid before a time that is not after the other one")
    return AllowedKey(
        where=where,
        principals=principals,
        key=key,
        namespaces=options.get("namespaces"),
        valid_after=after,
        valid_before=before,
    )


def _key(text: str) -> bytes | None:
    """Return the key that a text begins with, as "TYPE BASE64 COMMENT"; None if it has none."""
    words = text.split(maxsplit=2)
    if len(words) < 2:
        return None
    try:
        key = base64.b64decode(words[1], validate=True)
        return key if key_type(key) == words[0] else None
    except (binascii.Error, ValueError):
        return None


def _options(text: str) -> tuple[str, str]:
    """Split options from what follows the first blank that is outside of quotation marks."""
    found = re.match(r'(?:\\"|"(?:\\"|[^"])*+"|[^" \t])++', text)
    if found is None or text[found.end() : found.end() + 1] not in ("", *_BLANK):
        raise ValueError("a quotation mark is missing")
    return found[0], text[found.end() :].strip(_BLANK)


def _parsed_options(where: str, text: str) -> dict[str, str]:
    options: dict[str, str] = {}
    position = 0
    while position < len(text):
        found = re.match(_OPTION, text[position:])
        if found is None:
            raise ValueError(f"the options {quoted(text)} are not understood")
        name, value = found[1].lower(), found[2]
        if name not in ("namespaces", "valid-after", "valid-before"):
            raise UsageError(
                f"{where} has the option {name}, which is not honoured without OpenSSH",
                hint=_OPENSSH,
            )
        if value is None or name in options:
            raise ValueError(f"the option {name} has no value, or several")
        options[name] = value.replace('\\"', '"')
        position += found.end()
    return options


def _seconds(text: str | None) -> int | None:
    """Return the time that YYYYMMDD[HHMM[SS]][Z] means: of this machine's zone without the Z."""
    if text is None:
        return None
    digits = re.sub(r"(?i)(?:z|utc)$", "", text)
    form = _TIMES.get(len(digits))
    if form is None or not digits.isascii() or not digits.isdigit():
        raise ValueError(f"{quoted(text)} is not a time")
    parsed = time.strptime(digits, form)
    return calendar.timegm(parsed) if digits != text else int(time.mktime(parsed))
