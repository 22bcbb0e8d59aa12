"""Secrets that are known by their form, wherever they stand."""

import base64
import binascii
import re
from collections.abc import Callable, Iterator

from msgspec import Struct

from ocitool.inside.facts.leaks.finding import Found, is_placeholder

_SMALLEST_KEY = 64
_LONGEST_KEY = 64 << 10
_KEY = re.compile(r"-----BEGIN ((?:[A-Z0-9]+ ){0,3})PRIVATE KEY(?: BLOCK)?-----")
_END = "-----END "
_BASE64 = re.compile(r"[A-Za-z0-9+/=]+")
_BREAKS = re.compile(r"\\[rnt]|[\s\"',|>+\\]*\\?[\r\n][\s\"',|>]*")
_KNOWN_FAKES = re.compile(r"EXAMPLE(KEY)?$|^(A3T|AKIA)([A-Z0-9])\2{6}")

_HEADER = r"(?i:authorization)[\"']?\s*[:=]\s*[\"']?"
_ALADDIN = "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
"""The example of RFC 7617."""


class Pattern(Struct, frozen=True):
    """A form of secret. A text without `anchor` does not have it, which is quick to find out.

    The secret is the group 1 of the expression.
    """

    kind: str
    anchor: str
    expression: re.Pattern[str]
    is_real: Callable[[str], bool] = lambda value: not _KNOWN_FAKES.search(value)


def _of(kind: str, anchor: str, expression: str) -> Pattern:
    # A token ends where the characters that it may have end, or it is something longer.
    return Pattern(kind, anchor, re.compile(rf"(?<![A-Za-z0-9_/+]){expression}(?![A-Za-z0-9_])"))


def _is_password(value: str) -> bool:
    return len(value) >= 3 and not is_placeholder(value)


PATTERNS: tuple[Pattern, ...] = (
    _of("AWS access key ID", "AKIA", r"(AKIA[A-Z2-7]{16})"),
    _of("AWS access key ID", "ASIA", r"(ASIA[A-Z2-7]{16})"),
    Pattern(
        "AWS secret access key",
        "ecret",
        re.compile(
            r"(?i:aws_?secret_?(?:access_?)?key|secret_?access_?key)"
            r"[\"']?\s*[=:]\s*[\"']?([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"
        ),
    ),
    *(
        _of("GitHub token", prefix, rf"({prefix}[A-Za-z0-9]{{36,251}})")
        for prefix in ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")
    ),
    _of("GitHub token", "github_pat_", r"(github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})"),
    *(
        _of("GitLab token", prefix, rf"({prefix}[A-Za-z0-9_.-]{{20,300}})")
        for prefix in ("glpat-", "gldt-", "glrt-", "glptt-")
    ),
    _of("Slack token", "xox", r"(xox[abeoprs]-[A-Za-z0-9-]{10,250})"),
    _of("Slack token", "xapp-", r"(xapp-\d-[A-Z0-9]{5,20}-\d{5,20}-[a-f0-9]{20,128})"),
    Pattern(
        "Slack webhook",
        "hooks.slack.com",
        re.compile(r"hooks\.slack\.com/services/(T[A-Za-z0-9_]+/B[A-Za-z0-9_]+/[A-Za-z0-9]{20,})"),
    ),
    _of("Stripe key", "k_live_", r"([sr]k_live_[A-Za-z0-9]{20,250})"),
    _of("npm token", "npm_", r"(npm_[A-Za-z0-9]{36})"),
    _of("PyPI token", "pypi-AgE", r"(pypi-AgE[A-Za-z0-9_-]{50,500})"),
    _of("Google API key", "AIza", r"(AIza[A-Za-z0-9_-]{35})"),
    _of("Google OAuth secret", "GOCSPX-", r"(GOCSPX-[A-Za-z0-9_-]{28})"),
    Pattern(
        "Azure storage key",
        "AccountKey=",
        re.compile(r"AccountKey=([A-Za-z0-9+/]{86}==)"),
    ),
    _of("SendGrid key", "SG.", r"(SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43})"),
    _of("Hugging Face token", "hf_", r"(hf_[A-Za-z0-9]{34,40})"),
    _of("OpenAI key", "T3BlbkFJ", r"(sk-[A-Za-z0-9_-]{20,120}T3BlbkFJ[A-Za-z0-9_-]{20,120})"),
    _of("Anthropic key", "sk-ant-", r"(sk-ant-[a-z0-9]{2,8}-[A-Za-z0-9_-]{80,120})"),
    *(
        _of("DigitalOcean token", prefix, rf"({prefix}[a-f0-9]{{64}})")
        for prefix in ("dop_v1_", "doo_v1_", "dor_v1_")
    ),
    _of("Docker Hub token", "dckr_", r"(dckr_[po]at_[A-Za-z0-9_-]{20,60})"),
    _of("Vault token", "hvs.", r"(hvs\.[A-Za-z0-9_-]{20,300})"),
    _of("age secret key", "AGE-SECRET-KEY-1", r"(AGE-SECRET-KEY-1[A-Z0-9]{58})"),
    _of("Databricks token", "dapi", r"(dapi[a-f0-9]{32}(?:-\d)?)"),
    Pattern(
        "JSON web token",
        ".eyJ",
        re.compile(
            r"(?<![A-Za-z0-9_-])(eyJ[A-Za-z0-9_-]{10,8192}\.eyJ[A-Za-z0-9_-]{10,8192}\.[A-Za-z0-9_-]{20,4096})"
        ),
        lambda value: "eyJzdWIiOiIxMjM0NTY3ODkwI" not in value,  # the example of jwt.io
    ),
    Pattern(
        "password in a URL",
        "://",
        re.compile(r"://[^\s/:@\"'<>{}\[\]()]{0,200}:([^\s/\"'<>]{3,400})@[\w.\[-]"),
        _is_password,
    ),
    Pattern(
        "authorization header",
        "uthorization",
        re.compile(rf"{_HEADER}(?i:basic)\s+([A-Za-z0-9+/]{{8,4096}}={{0,2}})"),
        lambda value: b":" in _decoded(value)[1:-1] and value != _ALADDIN,
    ),
    Pattern(
        "authorization header",
        "uthorization",
        re.compile(rf"{_HEADER}(?i:bearer|token)\s+([A-Za-z0-9+/=_.~-]{{16,4096}})"),
        lambda value: any(map(str.isdigit, value)) and not is_placeholder(value),
    ),
)


def known_forms(text: str) -> Iterator[Found]:
    """Yield the secrets in a text that are known by their form, private keys first."""
    yield from private_keys(text)
    for pattern in PATTERNS:
        if pattern.anchor not in text:
            continue
        for match in pattern.expression.finditer(text):
            if pattern.is_real(match[1]):
                yield Found(kind=pattern.kind, value=match[1])


def private_keys(text: str) -> Iterator[Found]:
    """Yield the private keys in PEM form: BEGIN, at least 64 bytes in base64, and END.

    The lines may be broken by `\\n` as in JSON, or indented as in YAML.
    """
    for match in _KEY.finditer(text):
        end = text.find(_END, match.end())
        if end < 0:
            return
        body = text[match.end() : end]
        close = text.find("-----", end + len(_END))
        if len(body) > _LONGEST_KEY or not end < close < end + 60:
            continue
        if len(_decoded(_one_line(body))) >= _SMALLEST_KEY:
            kind = _kind_of_key(match[1].strip(), body)
            yield Found(kind=kind, value=text[match.start() : close + 5])


def _one_line(body: str) -> str:
    """Return the base64 of a PEM body on one line."""
    lines = [line.strip() for line in _BREAKS.sub("\n", body).split("\n")]
    # Headers such as "Proc-Type: 4,ENCRYPTED" come first, the checksum of PGP last.
    lines = [line for line in lines if line and ":" not in line]
    if lines and lines[-1][:1] == "=" and len(lines[-1]) == 5:
        lines.pop()
    return "".join(lines)


def _decoded(text: str) -> bytes:
    """Return what a text in base64 means; nothing if it is none."""
    if not _BASE64.fullmatch(text):
        return b""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _kind_of_key(type_: str, body: str) -> str:
    encrypted = type_ == "ENCRYPTED" or "ENCRYPTED" in body[:100]
    if type_ == "OPENSSH":
        # A cipher other than "none" stands in the first bytes.
        encrypted = "b3BlbnNzaC1rZXktdjEAAAAABG5vbm" not in body[:100]
    name = {"": "", "ENCRYPTED": "", "OPENSSH": "SSH ", "PGP": "PGP "}.get(type_, f"{type_} ")
    return f"{name}private key{' (encrypted)' if encrypted else ''}"
