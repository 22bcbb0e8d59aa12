"""Whom a registry's certificate must convince, host by host (containers-certs.d(5))."""

import os
import ssl
from collections.abc import Iterable, Iterator, Mapping

from ocitool.errors import StorageError, UsageError
from ocitool.home import base_folder
from ocitool.places.registry.options import RegistryOptions

_SYSTEM_FOLDERS = ("/etc/containers/certs.d", "/etc/docker/certs.d")


def trust(netloc: str, options: RegistryOptions, environment: Mapping[str, str]) -> ssl.SSLContext:
    """Return the TLS context for one host: the system's authorities and what certs.d adds.

    `netloc` is the host, with its port if it has one. SSL_CERT_FILE and SSL_CERT_DIR are
    honoured. UsageError for a certificate that cannot be used.
    """
    context = ssl.create_default_context()
    if not context.get_ca_certs() and not context.cert_store_stats()["x509_ca"]:
        _add_bundled(context)
    for folder in folders(environment):
        _add_folder(context, os.path.join(folder, netloc))
    if options.ca_cert is not None:
        _load_authority(context, options.ca_cert)
    if options.client_cert is not None and options.client_key is not None:
        _load_pair(context, options.client_cert, options.client_key)
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def folders(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the folders in which hosts may have a folder of certificates."""
    config = base_folder(environment, "XDG_CONFIG_HOME", ".config")
    if config is not None:
        yield os.path.join(config, "containers/certs.d")
    yield from _SYSTEM_FOLDERS


def _add_bundled(context: ssl.SSLContext) -> None:
    """Fall back to the authorities that httpx brings: a minimal container has none of its own."""
    import certifi

    context.load_verify_locations(cafile=certifi.where())


def _add_folder(context: ssl.SSLContext, folder: str) -> None:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        path = os.path.join(folder, name)
        if name.endswith(".crt"):
            _load_authority(context, path)
    for certificate, key in _pairs(folder, names):
        _load_pair(context, certificate, key)


def _pairs(folder: str, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    present = set(names)
    for name in sorted(present):
        stem, ending = os.path.splitext(name)
        other = {".cert": ".key", ".key": ".cert"}.get(ending)
        if other is None:
            continue
        if stem + other not in present:
            raise UsageError(
                f"{os.path.join(folder, name)} has no {stem}{other} beside it",
                hint="a client certificate is a pair NAME.cert and NAME.key; an authority is .crt",
            )
        if ending == ".cert":
            yield os.path.join(folder, name), os.path.join(folder, stem + other)


def _load_authority(context: ssl.SSLContext, path: str) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise UsageError(f"{path!r} holds no certificate in PEM form") from error
    except OSError as error:
        raise StorageError(f"cannot read the certificate {path!r}: {error.strerror}") from error


def _load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    try:
        # A key with a passphrase must not ask for it on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        raise UsageError(
            f"{certificate!r} and {key!r} are not a certificate and its key",
            hint="both are in PEM form, and the key has no passphrase",
        ) from error
    except OSError as error:
        raise StorageError(
            f"cannot read the client certificate {certificate!r} or its key {key!r}: "
            f"{error.strerror}"
        ) from error
