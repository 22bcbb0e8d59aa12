"""A private certificate authority for one test, made by `openssl`."""

import secrets
import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.http_server import ServerTls

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
LOOPBACK = ("127.0.0.1", "localhost")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path

    def serve(self, client_ca: Path | None = None) -> ServerTls:
        """Return what a test server needs to use the pair."""
        return ServerTls(certificate=self.certificate, key=self.key, client_ca=client_ca)


class Authority:
    """Signs certificates for servers and clients. `certificate` is what clients must trust."""

    def __init__(self, folder: Path, name: str = "Test Authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.certificate = folder / "ca.pem"
        self._key = folder / "ca.key"
        self_signed(folder, "ca", name, ("keyUsage=critical,keyCertSign,cRLSign",))

    def server(
        self, label: str = "server", names: Sequence[str] = LOOPBACK, *, days: int = 2
    ) -> Pair:
        """Issue a server's certificate for names and addresses; negative `days` are over."""
        subjects = ",".join(
            f"IP:{name}" if name.replace(".", "").isdigit() or ":" in name else f"DNS:{name}"
            for name in names
        )
        usage = f"extendedKeyUsage=serverAuth\nsubjectAltName={subjects}"
        return self._issue(label, names[0], usage, days)

    def client(self, label: str = "client", name: str = "a client", *, days: int = 2) -> Pair:
        """Issue a client's certificate."""
        return self._issue(label, name, "extendedKeyUsage=clientAuth", days)

    def context(self, client: Pair | None = None) -> ssl.SSLContext:
        """Return a client's context that trusts this authority alone."""
        context = ssl.create_default_context(cafile=self.certificate)
        if client is not None:
            context.load_cert_chain(client.certificate, client.key)
        return context

    def _issue(self, label: str, name: str, extensions: str, days: int) -> Pair:
        pair = Pair(self._folder / f"{label}.pem", self._folder / f"{label}.key")
        request = self._folder / f"{label}.csr"
        openssl("req", "-new", *_NEW_KEY, "-keyout", pair.key, "-out", request, *_subject(name))
        wanted = self._folder / f"{label}.ext"
        wanted.write_text(
            f"basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
            f"subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n{extensions}\n"
        )
        signer = ("-CA", self.certificate, "-CAkey", self._key)
        serial = ("-set_serial", str(secrets.randbits(63)), "-days", str(days))
        openssl(
            *("x509", "-req", "-in", request, "-out", pair.certificate),
            *(*signer, *serial, "-extfile", wanted),
        )
        return pair


def self_signed(
    folder: Path,
    label: str,
    name: str,
    extensions: Sequence[str] = (),
    *,
    new_key: Sequence[str] = _NEW_KEY,
) -> Pair:
    """Make a certificate that signs itself, LABEL.pem and LABEL.key."""
    pair = Pair(folder / f"{label}.pem", folder / f"{label}.key")
    added = [part for extension in extensions for part in ("-addext", extension)]
    files = ("-keyout", pair.key, "-out", pair.certificate)
    openssl("req", "-x509", *new_key, *files, "-days", "2", *_subject(name), *added)
    return pair


def openssl(*arguments: str | Path, stdin: bytes = b"") -> bytes:
    """Run openssl and return what it prints."""
    done = subprocess.run(
        ["openssl", *map(str, arguments)], input=stdin, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def _subject(name: str) -> tuple[str, str]:
    return "-subj", f"/CN={name}"
