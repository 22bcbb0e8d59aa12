"""TLS of the server: the certificate can be replaced while it runs."""

import ssl

from ocitool.errors import UsageError


class Certificates:
    """The certificate of the server, and who signs those of its clients. `load` reads it again."""

    def __init__(self, certificate: str, key: str | None, client_ca: str | None) -> None:
        self._files = certificate, key, client_ca
        self._context = self._read()

    def context(self) -> ssl.SSLContext:
        """Return what new connections use."""
        return self._context

    def load(self) -> None:
        """Read the files again; UsageError, and the old certificate stays, if that fails."""
        self._context = self._read()

    def _read(self) -> ssl.SSLContext:
        certificate, key, client_ca = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(certificate, key)
            if client_ca is not None:
                context.load_verify_locations(client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            raise UsageError(
                f"the certificate {certificate!r} cannot be used: {error.strerror or error}",
                hint="--tls-cert takes a PEM file, with the intermediate certificates, and "
                "--tls-key its key",
            ) from error
        return context
