"""Secrets in files: those that the file's name tells, and those that are known by their form."""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from ocitool.errors import OcitoolError
from ocitool.inside.facts.leaks.assignments import keyed
from ocitool.inside.facts.leaks.finding import Found, is_placeholder
from ocitool.inside.facts.leaks.keystores import holds_private_key
from ocitool.inside.facts.leaks.patterns import known_forms
from ocitool.inside.facts.leaks.places import LARGEST, STORES
from ocitool.oci import document

_MOST = 100
"""Secrets of one file that are told."""
_HEAD = 4096
_TOKEN = 20
_SNAKE_OIL = "made by the package ssl-cert, for tests"
Reader = Callable[[str], Iterable[Found]]


class FileRule(Struct, frozen=True):
    """Files of one name, what a secret in them is called, and how it is found."""

    kind: str
    form: str
    path: re.Pattern[str]
    read: Reader = keyed


def _rule(kind: str, path: str, read: Reader = keyed) -> FileRule:
    return FileRule(kind, path, _ending(path), read)


def _ending(path: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|/)(?:{path})$", re.IGNORECASE)


def secrets_in_file(path: str, data: bytes) -> list[Found]:
    """Return the secrets of a file, each value once."""
    if STORES.search(path) and holds_private_key(data):
        return [Found(kind="key store with a private key", value="")]
    if b"\0" in data[:_HEAD]:
        return []
    text = data.decode("utf-8", "replace")
    found: dict[str, Found] = {}
    for one in _all(path, text):
        if all(one.value not in value for value in found):
            found[one.value] = one
        if len(found) >= _MOST:
            break
    if "snakeoil" in path.rpartition("/")[2]:
        return [replace(one, note=_SNAKE_OIL) for one in found.values()]
    return list(found.values())


def _all(path: str, text: str) -> Iterator[Found]:
    for rule in RULES if _ANY.search(path) else ():
        if rule.path.search(path):
            for one in rule.read(text):
                yield replace(one, kind=rule.kind)
    yield from known_forms(text)


_NPM = re.compile(
    r"(?m)^[ \t]*(?P<host>[^\s=;#]*?):?_(?P<key>authToken|auth|password)"
    r"[ \t]*=[ \t]*[\"']?(?P<value>[^\s\"']+)"
)
_NETRC = re.compile(
    r"\bmachine\s{1,9}(?P<host>\S{1,255}+)(?:(?!\bmachine\b)[\s\S]){0,400}?\bpassword\s{1,9}(?P<value>\S{1,1024})"
)
_GIT = re.compile(
    # A password may hold an "@": the host is behind the last one.
    r"://(?P<user>[^\s/:@\"'<>]+)(?::(?P<password>[^\s/\"'<>]*))?@(?P<host>[^\s/@\"'<>]+)"
)
_KUBE = re.compile(
    r"(?m)^[ \t]*(?:-[ \t]+)?[\"']?"
    r"(?P<key>client-key-data|token|password|id-token|refresh-token|client-secret)[\"']?"
    r"[ \t]*:[ \t]*[\"']?(?P<value>[^\s\"',]+)"
)
_XML = re.compile(r"<(?P<key>password|passphrase|privateKey)>(?P<value>[^<>]{3,4096})</(?P=key)>")
_NUGET = re.compile(
    r"key=\"(?P<key>ClearTextPassword|Password)\"\s+value=\"(?P<value>[^\"]{3,4096})\""
)
_PHP = re.compile(
    r"define\(\s*['\"](?P<key>DB_PASSWORD|[A-Z_]+_(?:KEY|SALT))['\"]\s*,\s*['\"](?P<value>[^'\"]{6,200})['\"]"
)
_HASH = re.compile(r"(?m)^(?P<user>[^:\s#]+):(?P<value>\$[^:\s]{12,200}|\{SHA\}[^:\s]{20,100})")


def _npmrc(text: str) -> Iterator[Found]:
    for match in _NPM.finditer(text):
        if not is_placeholder(match["value"]):
            yield Found(
                kind="", value=match["value"], name=match["host"].strip("/") or match["key"]
            )


def _netrc(text: str) -> Iterator[Found]:
    for match in _NETRC.finditer(text):
        if not is_placeholder(match["value"]):
            yield Found(kind="", value=match["value"], name=match["host"])


def _git(text: str) -> Iterator[Found]:
    """Yield passwords of URLs, and the tokens that stand in place of a user's name."""
    for match in _GIT.finditer(text):
        value = match["password"] or (match["user"] if _is_token(match["user"]) else "")
        if len(value) >= 3 and not is_placeholder(value):
            yield Found(kind="", value=value, name=match["host"])


def _is_token(user: str) -> bool:
    return len(user) >= _TOKEN and any(map(str.isdigit, user))


def _values_of(pattern: re.Pattern[str], key: str = "key") -> Reader:
    def read(text: str) -> Iterator[Found]:
        for match in pattern.finditer(text):
            if not is_placeholder(match["value"]):
                yield Found(kind="", value=match["value"], name=match[key])

    return read


def _hashes(text: str) -> Iterator[Found]:
    for match in _HASH.finditer(text):
        yield Found(kind="", value=match["value"], name=match["user"])


def _docker_config(text: str) -> Iterator[Found]:
    """Yield the logins of docker's config.json."""
    yield from _logins(_json(text).get("auths"))


def _dockercfg(text: str) -> Iterator[Found]:
    """Yield the logins of docker's older file, which has nothing around them."""
    yield from _logins(_json(text))


def _logins(auths: object) -> Iterator[Found]:
    for host, entry in auths.items() if isinstance(auths, dict) else ():
        for key, value in entry.items() if isinstance(entry, dict) else ():
            if not isinstance(value, str) or len(value) < 3:
                continue
            if key in ("identitytoken", "registrytoken", "password") or (
                key == "auth" and _is_login(value)
            ):
                yield Found(kind="", value=value, name=str(host))


def _is_login(value: str) -> bool:
    try:
        user, _, password = base64.b64decode(value, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return False
    return bool(user and password)


def _service_account(text: str) -> Iterator[Found]:
    fields = _json(text) if "service_account" in text else {}
    key, account = fields.get("private_key"), fields.get("client_email")
    if fields.get("type") == "service_account" and isinstance(key, str) and len(key) > 64:
        # As it stands in the file, where line breaks are escaped.
        value = key.replace("\n", "\\n")
        yield Found(kind="", value=value, name=account if isinstance(account, str) else None)


def _json(text: str) -> dict[str, object]:
    try:
        return document.decode_object(
            text.encode("utf-8", "replace"), what="file", limit=4 * LARGEST
        )
    except OcitoolError:
        return {}


def _pgpass(text: str) -> Iterator[Found]:
    for line in text.splitlines():
        parts = line.strip().split(":")
        if len(parts) >= 5 and not line.startswith("#") and not is_placeholder(parts[4]):
            yield Found(kind="", value=":".join(parts[4:]), name=parts[0])


def _whole(text: str) -> Iterator[Found]:
    """Yield the only line of a file that is a secret as a whole."""
    value = text.strip()
    if 6 <= len(value) <= 4096 and "\n" not in value and not is_placeholder(value):
        yield Found(kind="", value=value)


RULES: tuple[FileRule, ...] = (
    _rule("GCP service account key", r"[^/]+\.json", _service_account),
    _rule("secret in env file", r"\.env(rc)?|\.env\.[^/]+|[^/]+\.env"),
    _rule("git credentials", r"\.git/config|\.gitconfig|\.git-credentials|git/credentials", _git),
    _rule("AWS credentials", r"\.aws/(credentials|config)"),
    _rule("npm token", r"\.npmrc|npmrc", _npmrc),
    _rule("yarn token", r"\.yarnrc(\.yml)?"),
    _rule("PyPI password", r"\.pypirc"),
    _rule("pip password", r"pip\.(conf|ini)|pip/pip\.conf", _git),
    _rule("registry login", r"config\.json|containers/auth\.json", _docker_config),
    _rule("registry login", r"\.dockercfg", _dockercfg),
    _rule(
        "kubeconfig",
        r"\.kube/config[^/]*|[^/]*kubeconfig[^/]*|etc/kubernetes/[^/]+\.conf",
        _values_of(_KUBE),
    ),
    _rule("netrc password", r"[._]netrc", _netrc),
    _rule("PostgreSQL password", r"\.pgpass", _pgpass),
    _rule("MySQL password", r"\.my\.cnf"),
    _rule("password hash", r"etc/shadow-?|\.?htpasswd", _hashes),
    _rule("GitHub login", r"gh/hosts\.yml"),
    _rule(
        "Google login",
        r"application_default_credentials\.json|gcloud/legacy_credentials/[^/]+/adc\.json",
    ),
    _rule("Azure login", r"\.azure/(accessTokens|msal_token_cache|azureProfile)\.json"),
    _rule("Terraform token", r"\.terraformrc|credentials\.tfrc\.json|[^/]+\.tfvars"),
    _rule("Maven password", r"\.m2/settings(-security)?\.xml|conf/settings\.xml", _values_of(_XML)),
    _rule("Gradle password", r"gradle\.properties"),
    _rule("Cargo token", r"\.cargo/credentials(\.toml)?"),
    _rule("RubyGems key", r"\.gem/credentials|\.bundle/config"),
    _rule("Composer login", r"auth\.json"),
    _rule("NuGet password", r"nuget\.config", _values_of(_NUGET)),
    _rule("Vault token", r"\.vault-token", _whole),
    _rule("S3 key", r"\.s3cfg|\.boto"),
    _rule("rclone password", r"rclone\.conf"),
    _rule("Rails key", r"config/(master|credentials/[^/]+)\.key", _whole),
    _rule("database password", r"config/(database|secrets)\.yml"),
    _rule("WordPress secret", r"wp-config\.php", _values_of(_PHP)),
    _rule(
        "secret in settings",
        r"application(-[\w-]+)?\.(properties|ya?ml)|appsettings(\.\w+)?\.json"
        r"|(docker-)?compose[^/]*\.ya?ml|local_settings\.py",
    ),
    _rule("mounted secret", r"run/secrets/[^/]+", _whole),
)
"""The rules by name; the first that finds a value names it."""
_ANY = _ending("|".join(f"(?:{rule.form})" for rule in RULES))
"""What any rule is about; most files are nothing to any."""
