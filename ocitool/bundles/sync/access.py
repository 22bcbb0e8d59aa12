"""How registries are reached, as `creds` of a sync file says it: TLS, and who logs in."""

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from ocitool.bundles.sync.sections import Section
from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted
from ocitool.oci.reference import DEFAULT_DOMAIN

_TEMPLATE = re.compile(r'\{\{\s*(env|file)\s+"([^"{}]+)"\s*\}\}')
_TLS: Final = ("enabled", "disabled", "insecure")
_IGNORED: Final = (
    *("hostname", "regcert", "clientCert", "clientKey", "token", "credHelper", "credExpire"),
    *("credHost", "pathPrefix", "mirrors", "priority", "repoAuth", "api", "apiOpts", "blobChunk"),
    *("blobMax", "reqPerSec", "reqConcurrent", "scheme"),
)
_MOST_BYTES: Final = 1 << 16


class Secret(Struct, frozen=True, kw_only=True):
    """A text of a sync file that is never shown: written there, in a variable, or in a file."""

    written: str
    where: str

    def __repr__(self) -> str:
        return "Secret(…)"

    def read(self, variables: Mapping[str, str]) -> str:
        """Return the text; UsageError where a variable or a file is not there."""
        found = _TEMPLATE.fullmatch(self.written.strip())
        if found is None:
            return self.written
        if found[1] == "env":
            if found[2] not in variables:
                raise UsageError(f"{self.where}: there is no variable {quoted(found[2])}")
            return variables[found[2]]
        try:
            with open(found[2], "rb") as file:
                return file.read(_MOST_BYTES).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise UsageError(f"{self.where}: {quoted(found[2])} cannot be read: {reason}") from None


class HostAccess(Struct, frozen=True, kw_only=True):
    """How one registry is reached. `tls` is enabled, disabled or insecure."""

    host: str
    tls: str = "enabled"
    user: Secret | None = None
    password: Secret | None = None


def read_access(whole: Section) -> tuple[HostAccess, ...]:
    """Return what `creds` of a sync file says."""
    return tuple(_host(one) for one in whole.sections("creds", "registry user pass tls", _IGNORED))


def _host(section: Section) -> HostAccess:
    tls = section.text("tls") or "enabled"
    if tls not in _TLS:
        raise section.error(f"tls is one of {', '.join(_TLS)}, not {quoted(tls)}", "tls")
    user, password = (_secret(section, key) for key in ("user", "pass"))
    if (user is None) != (password is None):
        raise section.error("user and pass go together", "user")
    host = section.required("registry")
    is_hub = host in ("index.docker.io", "registry-1.docker.io")
    return HostAccess(
        host=DEFAULT_DOMAIN if is_hub else host, tls=tls, user=user, password=password
    )


def _secret(section: Section, key: str) -> Secret | None:
    text = section.text(key)
    if text is None:
        return None
    if "{{" in text and _TEMPLATE.fullmatch(text.strip()) is None:
        hint = 'a template here is {{env "NAME"}} or {{file "PATH"}}'
        raise section.error(f"{key} is a template that ocitool does not know", key, hint=hint)
    return Secret(written=text, where=section.where(key))
