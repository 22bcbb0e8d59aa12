"""Secrets that are known by the name of what they are assigned to: variables, labels, options."""

import itertools
import re
from collections.abc import Iterator

from ocitool.inside.facts.leaks.finding import Found, is_placeholder
from ocitool.inside.facts.words import words

_LEAST, _MOST = 6, 16 << 10
_LEAST_PASSWORD = 3
_SPACES = 7
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PARTS = re.compile(r"[^A-Za-z0-9]+")
_SECRET = frozenset(
    words(
        "password passwords passwd passwort passphrase passcode pincode pass pwd secret token "
        "credential "
        "credentials apikey authkey privatekey secretkey accesskey"
    )
)
_PASSWORDS = words("password passwd passwort passphrase passcode pincode pwd secret")
"""How the last word of a name ends whose value may be a short number."""
_OF_PINS = frozenset(
    words(
        "user card sim door login admin root access security unlock account auth pairing bank "
        "customer token hsm smartcard piv luks tpm secret default"
    )
)
_PIN = re.compile(r"\d{4,12}")
_PAIRS = frozenset(
    f"{first} {second}"
    for first in ("api", "access", "secret", "private", "auth", "encryption", "signing", "master")
    for second in ("key", "keys")
)
_AFTER = frozenset(
    words(
        # What follows a secret's name and makes it another thing: a file, a time, a switch.
        "file path dir url uri ttl expiry expires expiration lifetime type name id length size "
        "header issuer enabled enable required algorithm alg host port prefix suffix count policy "
        "timeout user username version sha256 sha512 sha1 md5 checksum fingerprint sock socket "
        "mode public pub env var field param endpoint server service audience scope scopes method "
        "provider store manager rotation days hours minutes seconds min max rounds cost format "
        "hash hashed label command cmd hint reset change changed validator separator class keyid "
        "prompt message text description title stdin"
    )
)
_BEFORE = frozenset(words("allow empty random generate no without max min skip disable public"))
_KEYED = re.compile(
    r"""^[ \t]*(?:-[ \t]+)?(?:export[ \t]+)?[:"']?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)["']?"""
    r"""[ \t]*[:=][ \t]*(?:"(?P<double>(?:[^"\\\n]|\\.)*)"|'(?P<single>[^'\n]*)'"""
    r"""|(?P<bare>[^\s#,]*))""",
    re.MULTILINE,
)


def names_a_secret(name: str) -> bool:
    """Tell whether a variable, key or option is named as a secret is: DB_PASSWORD, apiToken."""
    parts = _words(name)
    if not parts or parts[-1] in _AFTER or set(parts) & _BEFORE:
        return False
    pairs = {f"{first} {second}" for first, second in itertools.pairwise(parts)}
    return any(_ends_as_secret(part) for part in parts) or bool(pairs & _PAIRS)


def _words(name: str) -> list[str]:
    return [word.lower() for part in _PARTS.split(name) for word in _CAMEL.split(part) if word]


def _ends_as_secret(word: str) -> bool:
    # PGPASSWORD and MYSQLPASSWORD have no mark between their words.
    return word in _SECRET or word.endswith(("password", "passwd", "apikey"))


def _names_a_password(name: str) -> bool:
    last = (_words(name) or [""])[-1]
    return last == "pass" or last.endswith(_PASSWORDS)


def _names_a_pin(name: str) -> bool:
    """Tell whether it is a secret number; most other pins are those of electronics: LED_PIN."""
    *before, last = _words(name) or [""]
    return last == "pin" and (not before or before[-1] in _OF_PINS)


def _is_number(value: str) -> bool:
    # 0000 stands for a number, as xxxx does for a word.
    return len(value) >= _LEAST_PASSWORD and value.isdigit() and len(set(value)) > 1


def assigned(name: str, value: str) -> Found | None:
    """Return the secret of one assignment; None if its name or value is an ordinary one."""
    value = value.strip().strip("\"'")
    if names_a_secret(name):
        # A password may be a number and short; a token that is would be a count or a time.
        is_real = is_secret_value(value) or (_names_a_password(name) and _is_number(value))
    else:
        is_real = _names_a_pin(name) and bool(_PIN.fullmatch(value)) and _is_number(value)
    return Found(kind="secret variable", value=value, name=name) if is_real else None


def is_secret_value(value: str) -> bool:
    """Tell whether a value can be a secret: no placeholder, path, number, address or sentence."""
    if not _LEAST <= len(value) <= _MOST or is_placeholder(value):
        return False
    # A passphrase may have some words; a sentence has more, or ends like one.
    if value.count(" ") > _SPACES or (" " in value and value.endswith((".", ":", "?", "!"))):
        return False
    if value.startswith(("./", "../", "~/", "http://", "https://", "file:", "sha256:")):
        return False
    # Base64 may begin with a slash, but has seldom a second one and no other small letters.
    if value.startswith("/") and (value.count("/") > 1 or value.islower()):
        return False
    return not value.replace(".", "").isdigit() or len(value) >= 16


def keyed(text: str) -> Iterator[Found]:
    """Yield the secrets of a file of settings: `name = value`, `name: value`, `"name": "value"`."""
    for match in _KEYED.finditer(text):
        found = assigned(match["name"], _value(match))
        if found is not None:
            yield found


def _value(match: re.Match[str]) -> str:
    return match["double"] or match["single"] or match["bare"] or ""
