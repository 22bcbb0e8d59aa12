"""What this machine is set up with for registries: credentials, certificates and proxies.

Nothing secret is in any of it: of a credential only where it was found, of a proxy no password.
"""

import os
import re
import ssl
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from msgspec import Struct

from ocitool.errors import OcitoolError
from ocitool.places.registry.credentials.chain import CredentialChain
from ocitool.places.registry.credentials.credential import CredentialProblem
from ocitool.places.registry.credentials.file import CredentialFile
from ocitool.places.registry.credentials.locations import sources
from ocitool.places.registry.hosts import Host
from ocitool.places.registry.http.proxies import proxy_for
from ocitool.places.registry.http.tls import folders
from ocitool.places.registry.options import RegistryOptions

_PROXIES = ("https_proxy", "http_proxy", "all_proxy", "no_proxy")
_USER_INFO = re.compile(r"^(?P<scheme>[a-z0-9]+://)?[^/@]*@", re.IGNORECASE)


class CredentialPlace(Struct, frozen=True, kw_only=True):
    """A credential file that exists: the registries in it, and the helpers that it names."""

    path: str
    registries: tuple[str, ...] = ()
    helpers: tuple[str, ...] = ()
    problem: str | None = None


class ProxySetting(Struct, frozen=True, kw_only=True):
    """A variable that says something about proxies."""

    variable: str
    value: str


class RegistrySettings(Struct, frozen=True, kw_only=True):
    """What counts for all registries: the credential files, who is trusted, and proxies."""

    credentials: tuple[CredentialPlace, ...]
    authorities: tuple[str, ...]
    certificate_folders: tuple[str, ...]
    proxies: tuple[ProxySetting, ...]


class HostSettings(Struct, frozen=True, kw_only=True):
    """What counts for one registry: where its credential was found, and how it is reached."""

    host: str
    credential: str | None = None
    credential_kind: str | None = None
    certificates: tuple[str, ...] = ()
    proxy: str | None = None
    problem: str | None = None


def registry_settings(
    options: RegistryOptions, environment: Mapping[str, str] | None = None
) -> RegistrySettings:
    """Return what this machine is set up with for every registry."""
    variables = os.environ if environment is None else environment
    known = ssl.get_default_verify_paths()
    trusted = (known.cafile, known.capath, options.ca_cert)
    return RegistrySettings(
        credentials=tuple(_credential_places(variables, options.authfile)),
        authorities=tuple(path for path in trusted if path),
        certificate_folders=tuple(path for path in folders(variables) if os.path.isdir(path)),
        proxies=tuple(
            ProxySetting(variable=name, value=without_password(value))
            for name in (*_PROXIES, *map(str.upper, _PROXIES))
            if (value := variables.get(name))
        ),
    )


def host_settings(
    host: str, options: RegistryOptions, environment: Mapping[str, str] | None = None
) -> HostSettings:
    """Return what counts for one registry; its helper is asked, the registry itself is not."""
    variables = os.environ if environment is None else environment
    problems: list[str] = []
    chain = CredentialChain(authfile=options.authfile, environment=variables, warn=problems.append)
    found = chain.find(host, "", writing=False)
    try:
        proxy = _proxy(host, variables)
    except OcitoolError as error:
        proxy = None
        problems.append(error.message)
    return HostSettings(
        host=host,
        credential=found.origin if found is not None else None,
        credential_kind=found.kind if found is not None else None,
        certificates=tuple(_certificates(host, variables)),
        proxy=proxy,
        problem="; ".join(problems) or None,
    )


def without_password(address: str) -> str:
    """Return a proxy's address with its user name and password masked."""
    return _USER_INFO.sub(lambda found: f"{found['scheme'] or ''}***@", address)


def _credential_places(
    variables: Mapping[str, str], authfile: str | None
) -> Iterator[CredentialPlace]:
    for source in sources(variables, authfile):
        try:
            file = source.read()
            if file is not None:
                yield _credential_place(file)
        except CredentialProblem as problem:
            yield CredentialPlace(path=source.path, problem=problem.message)


def _credential_place(file: CredentialFile) -> CredentialPlace:
    helpers = {
        f"docker-credential-{setting.name}" + (f" for {host}" if host is not None else "")
        for host, setting in file.helpers()
    }
    registries = sorted(file.section("auths"))
    return CredentialPlace(
        path=file.origin, registries=tuple(registries), helpers=tuple(sorted(helpers))
    )


def _proxy(host: str, variables: Mapping[str, str]) -> str | None:
    address = urlsplit(f"https://{Host(host).address}")
    found = proxy_for("https", address.hostname or "", address.port, variables)
    return without_password(found) if found is not None else None


def _certificates(host: str, variables: Mapping[str, str]) -> Iterator[str]:
    for folder in folders(variables):
        path = os.path.join(folder, Host(host).address)
        try:
            names = sorted(os.listdir(path))
        except OSError:
            continue
        endings = (".crt", ".cert", ".key")
        yield from (os.path.join(path, name) for name in names if name.endswith(endings))
