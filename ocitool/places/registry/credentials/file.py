"""Credential files of docker and podman: config.json, auth.json, .dockercfg; reading them.

All are one JSON object with `auths`, `credHelpers` and `credsStore` (docker's cli/config/configfile
and containers-auth.json(5)); `.dockercfg` is what stands in `auths` alone.
"""

import base64
import binascii
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from msgspec import Struct

from ocitool.oci.limits import MEBIBYTE
from ocitool.places.registry.credentials.credential import Credential, CredentialProblem
from ocitool.places.registry.credentials.keys import best_first, has_namespace, server_key

OUR_KEY, SERVERS_KEY = "ocitool", "token_servers"
"""Where a file says which token servers may see a registry's credential."""
_LONGEST = 4 * MEBIBYTE
_URL_SAFE = str.maketrans("-_", "+/")
_MEND = "mend it, or move it away: then `ocitool login` writes a new one"


class HelperSetting(Struct, frozen=True):
    """A credential helper that a file names: `docker-credential-NAME`, under which `key`."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class CredentialFile:
    """The content of a credential file. `origin` is its path, or the variable that held it."""

    origin: str
    document: Mapping[str, object] = field(repr=False)

    @classmethod
    def parse(cls, data: bytes, origin: str, *, is_legacy: bool = False) -> Self:
        """Read a file's bytes; raises CredentialProblem, without anything of the content."""
        try:
            document = json.loads(data) if data.strip() else {}
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            raise CredentialProblem(f"{origin} is not JSON at {where}", hint=_MEND) from None
        except (UnicodeDecodeError, RecursionError, ValueError):
            raise CredentialProblem(f"{origin} is not JSON", hint=_MEND) from None
        if not isinstance(document, dict):
            raise CredentialProblem(f"{origin} is not a JSON object", hint=_MEND)
        if is_legacy and not isinstance(document.get("auths"), dict):
            document = {"auths": document}
        return cls(origin, document)

    @classmethod
    def read(cls, path: str, *, is_legacy: bool = False) -> Self | None:
        """Read a file, None when there is none; raises CredentialProblem. Links are followed."""
        try:
            # Opening a FIFO would wait for a writer.
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise CredentialProblem(f"{path} is not a regular file", hint=_MEND)
            with open(path, "rb") as file:
                data = file.read(_LONGEST + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise CredentialProblem(
                f"{path} cannot be read: {error.strerror}", hint="check its owner and mode"
            ) from error
        if len(data) > _LONGEST:
            raise CredentialProblem(f"{path} is larger than {_LONGEST} bytes", hint=_MEND)
        return cls.parse(data, path, is_legacy=is_legacy)

    def helper(self, domain: str) -> HelperSetting | None:
        """Return the helper that keeps a registry's credential: its own, else the general one.

        An empty name for a registry means that this file itself keeps it.
        """
        helpers = self.section("credHelpers")
        for key in best_first(helpers, domain):
            return self._setting(helpers[key], "credHelpers")
        return self._setting(self.document.get("credsStore"), "credsStore")

    def helpers(self) -> Iterator[tuple[str | None, HelperSetting]]:
        """Yield all helpers with the registry that each is for; None is the general one."""
        for key, name in self.section("credHelpers").items():
            setting = self._setting(name, "credHelpers")
            if setting is not None:
                yield key, setting
        general = self._setting(self.document.get("credsStore"), "credsStore")
        if general is not None:
            yield None, general

    def entry(self, domain: str, path: str, *, of_namespace: bool = False) -> Credential | None:
        """Return the credential written here that covers a repository most closely.

        With `of_namespace` only those for a part of the registry count: no helper knows them.
        An empty entry only says that a helper knows more. Raises CredentialProblem for an entry
        that cannot be read; the message holds nothing of it.
        """
        auths = self.section("auths")
        for key in best_first(auths, domain, path):
            if of_namespace and not has_namespace(key):
                continue
            found = self._decode(key, auths[key])
            if found is not None:
                return found
        return None

    def token_servers(self, domain: str) -> tuple[str, ...]:
        """Return the hosts that a login allowed to see a registry's credential."""
        ours = self.document.get(OUR_KEY)
        known = ours.get(SERVERS_KEY) if isinstance(ours, dict) else None
        hosts = known.get(server_key(domain)) if isinstance(known, dict) else None
        return tuple(str(host) for host in hosts) if isinstance(hosts, list) else ()

    def section(self, name: str) -> Mapping[str, object]:
        """Return one of the file's maps, empty when it is absent."""
        value = self.document.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise CredentialProblem(f"{self.origin}: `{name}` is not a JSON object", hint=_MEND)
        return value

    def _setting(self, name: object, key: str) -> HelperSetting | None:
        if not name:
            return None
        if not isinstance(name, str) or "/" in name or "\0" in name:
            raise CredentialProblem(f"{self.origin}: `{key}` names no helper", hint=_MEND)
        return HelperSetting(name, key)

    def _decode(self, key: str, entry: object) -> Credential | None:
        fields = entry if isinstance(entry, dict) else {"auth": entry}
        texts = {name: value for name, value in fields.items() if isinstance(value, str) and value}
        user, password = texts.get("username"), texts.get("password")
        if "auth" in texts:
            pair = _pair_of(texts["auth"])
            if pair is None:
                raise CredentialProblem(
                    f"{self.origin}: `auth` of {key!r} is not the base64 of USER:PASSWORD",
                    hint="`ocitool login` writes it anew",
                )
            user, password = pair
        return self._credential(
            user, password, texts.get("identitytoken"), texts.get("registrytoken")
        )

    def _credential(
        self, user: str | None, password: str | None, identity: str | None, registry: str | None
    ) -> Credential | None:
        if identity is not None or registry is not None:
            return Credential(
                username=user or None,
                password=password or None,
                identity_token=identity,
                registry_token=registry,
                origin=self.origin,
            )
        if not user or password is None:
            return None
        return Credential.of_pair(user, password, self.origin)


def _pair_of(auth: str) -> tuple[str, str] | None:
    """Return (user, password) of an `auth`: padded or not, perhaps with NUL bytes at the end."""
    text = "".join(auth.split()).rstrip("=").translate(_URL_SAFE)
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    user, colon, password = data.partition(b":")
    if not colon:
        return None
    return (
        user.decode("utf-8", "surrogateescape"),
        password.rstrip(b"\0").decode("utf-8", "surrogateescape"),
    )
