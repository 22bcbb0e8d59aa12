"""The socket that a server listens on: an address, a Unix socket, or one that systemd gives."""

import contextlib
import os
import re
import socket
from collections.abc import Mapping

from msgspec import Struct

from ocitool.errors import NotFound, OcitoolError, Refused, UsageError
from ocitool.fsops import Directory
from ocitool.oci.quoting import quoted

_BACKLOG = 1024
_FIRST_PASSED = 3
_LAST_PORT = 65_535
_ADDRESS = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]]*)):([0-9]{1,5})").fullmatch
_LOOPBACK = re.compile(r"127(?:\.[0-9]{1,3}){3}|::1|localhost").fullmatch


class Address(Struct, frozen=True, kw_only=True):
    """Where to listen: a host and a port (0: a free one), or the path of a Unix socket."""

    host: str = ""
    port: int = 0
    path: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        return self.path is not None or _LOOPBACK(self.host) is not None


def parse_address(text: str) -> Address:
    """Read HOST:PORT, [IPV6]:PORT or unix:PATH; UsageError for anything else."""
    if text.startswith("unix:") and len(text) > len("unix:"):
        return Address(path=text.removeprefix("unix:"))
    found = _ADDRESS(text)
    if found is None or int(found[3]) > _LAST_PORT:
        raise UsageError(
            f"{quoted(text)} is not an address to listen on",
            hint="write HOST:PORT, such as 127.0.0.1:5000 or [::1]:5000, or unix:PATH",
        )
    return Address(host=found[1] or found[2] or "0.0.0.0", port=int(found[3]))  # noqa: S104


def passed_socket(environment: Mapping[str, str], pid: int) -> socket.socket | None:
    """Return the socket that the service manager opened for this process (sd_listen_fds(3))."""
    if environment.get("LISTEN_PID") != str(pid) or environment.get("LISTEN_FDS", "0") == "0":
        return None
    try:
        passed = socket.socket(fileno=_FIRST_PASSED)
    except OSError as error:
        raise UsageError(f"LISTEN_FDS is set, but no socket was passed: {error}") from error
    os.set_inheritable(_FIRST_PASSED, False)
    return passed


def listen(address: Address) -> socket.socket:
    """Open a socket and listen; Refused when the address is taken."""
    if address.path is not None:
        return _listen_unix(address.path)
    try:
        family, kind, protocol, _, found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise UsageError(f"{quoted(address.host)} is not a host here: {error}") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(found)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise Refused(
            f"cannot listen on {address.host}:{address.port}: {error.strerror}",
            hint="another program may use it: choose a port with --addr HOST:PORT; port 0 is free",
        ) from error
    return listener


def _listen_unix(path: str) -> socket.socket:
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise Refused(f"cannot listen on {path!r}: {error.strerror or error}") from error
    return listener


def _remove_stale(path: str) -> None:
    """Remove a socket that a dead server left; one that answers stays, and is refused later."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            remove_socket(path)
        except OSError:
            return


def remove_socket(path: str) -> None:
    """Remove the file of a Unix socket."""
    folder, name = os.path.split(os.path.abspath(path))
    with contextlib.suppress(NotFound, OcitoolError), Directory.open(folder) as directory:
        if directory.kind(name) == "special":
            directory.remove(name)


def url_of(listener: socket.socket, *, tls: bool) -> str:
    """Return the address of a listening socket as clients write it."""
    scheme = "https" if tls else "http"
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
