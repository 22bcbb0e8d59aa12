"""Debian's docker-registry, in a process of its own, in four configurations.

Tests are skipped where it is not installed; with OCITOOL_REQUIRE_PEERS=1, as in CI, they fail.
"""

import contextlib
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.support.certificates import Authority
from tests.support.tokens import Signer, TokenOffice, TokenQuirks, TokenServer

Kind = Literal["plain", "htpasswd", "token", "tls"]

USER, PASSWORD = "user", "pass"
_SERVICE = "docker-registry"
# `htpasswd -nbB -C 5 user pass`, so that the tool is not needed.
_HTPASSWD = "user:$2y$05$NvChXLb6MQtWyacyxV950.rNr3FleTACxG5xTI.DjzE1FA1k2zTQi"
_START_SECONDS = 30.0
_TRIES = 5
# The parts of the configuration are objects of its YAML.
_Settings = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerRegistry:
    """A running registry: "127.0.0.1:PORT", and where it keeps its files.

    The certificates are there for the kind "tls" alone, `tokens` for "token".
    """

    host: str
    root: Path
    user: str = USER
    password: str = PASSWORD
    ca: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    tokens: TokenServer | None = None

    @property
    def scheme(self) -> str:
        """What its URLs begin with."""
        return "http" if self.ca is None else "https"

    def context(self) -> ssl.SSLContext | None:
        """Return what a client needs to be let in over TLS."""
        if self.ca is None or self.client_cert is None:
            return None
        context = ssl.create_default_context(cafile=self.ca)
        context.load_cert_chain(self.client_cert, self.client_key)
        return context


@contextlib.contextmanager
def running_registry(
    folder: Path,
    kind: Kind = "plain",
    *,
    delete: bool = True,
    token_quirks: TokenQuirks | None = None,
    ask_clients: bool = True,
) -> Iterator[DockerRegistry]:
    """Run a registry that keeps its files below `folder`; it has answered when the block begins.

    "tls" asks clients for a certificate of its authority, unless `ask_clients` is False. "token"
    brings its token server along.
    """
    program = _program()
    root = folder / "registry"
    root.mkdir(parents=True, exist_ok=True)
    settings: _Settings = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(root)}, "delete": {"enabled": delete}},
        "http": {"secret": "x"},
    }
    with contextlib.ExitStack() as stack:
        registry = DockerRegistry(host="", root=root)
        if kind == "htpasswd":
            _ask_for_passwords(folder, settings)
        elif kind == "tls":
            registry = _use_tls(folder, settings, registry, ask_clients)
        elif kind == "token":
            tokens = stack.enter_context(_token_server(folder, settings, token_quirks))
            registry = replace(registry, tokens=tokens)
        yield stack.enter_context(_serving(program, folder, settings, registry))


def _program() -> str:
    """Return the path of the registry, or skip the test, or fail it in CI."""
    program = shutil.which("docker-registry") or shutil.which("registry")
    if program is not None:
        return program
    message = "needs docker-registry (Debian: apt-get install docker-registry)"
    if os.environ.get("OCITOOL_REQUIRE_PEERS") == "1":
        pytest.fail(message)
    pytest.skip(message)


def _ask_for_passwords(folder: Path, settings: _Settings) -> None:
    passwords = folder / "htpasswd"
    passwords.write_text(f"{_HTPASSWD}\n")
    settings["auth"] = {"htpasswd": {"realm": "Test Realm", "path": str(passwords)}}
    settings["http"]["relativeurls"] = True


def _use_tls(
    folder: Path, settings: _Settings, registry: DockerRegistry, ask_clients: bool
) -> DockerRegistry:
    authority = Authority(folder / "certificates")
    server, client = authority.server(), authority.client()
    settings["http"]["tls"] = {
        "certificate": str(server.certificate),
        "key": str(server.key),
    }
    if ask_clients:
        settings["http"]["tls"]["clientcas"] = [str(authority.certificate)]
    return replace(
        registry,
        ca=authority.certificate,
        client_cert=client.certificate,
        client_key=client.key,
    )


def _token_server(folder: Path, settings: _Settings, quirks: TokenQuirks | None) -> TokenServer:
    signer = Signer(folder / "tokens")
    server = TokenServer(TokenOffice(quirks, signer))
    settings["auth"] = {
        "token": {
            "realm": server.realm,
            "service": _SERVICE,
            "issuer": signer.issuer,
            "rootcertbundle": str(signer.certificate),
        }
    }
    return server


@contextlib.contextmanager
def _serving(
    program: str, folder: Path, settings: _Settings, registry: DockerRegistry
) -> Iterator[DockerRegistry]:
    for _ in range(_TRIES):
        host = f"127.0.0.1:{_free_port()}"
        settings["http"]["addr"] = host
        registry = replace(registry, host=host)
        # JSON is YAML, too.
        (folder / "registry.yml").write_text(json.dumps(settings))
        with (folder / "registry.log").open("wb") as log:
            process = subprocess.Popen(
                [program, "serve", str(folder / "registry.yml")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        with process:
            try:
                if _answers(process, registry):
                    yield registry
                    return
            finally:
                process.kill()
    pytest.fail(f"no registry: {(folder / 'registry.log').read_text()[-2000:]}")


def _answers(process: "subprocess.Popen[bytes]", registry: DockerRegistry) -> bool:
    """Wait for the first answer; False when the process ends, its port taken by another."""
    end = time.monotonic() + _START_SECONDS
    context = registry.context()
    while process.poll() is None and time.monotonic() < end:
        connection = http.client.HTTPConnection(registry.host, timeout=5)
        if context is not None:
            connection = http.client.HTTPSConnection(registry.host, timeout=5, context=context)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request("GET", "/v2/")
            connection.getresponse().read()
            return process.poll() is None
        time.sleep(0.05)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
