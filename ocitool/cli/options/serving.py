"""The options of `registry serve`."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ocitool.cli.options.expand import Group
from ocitool.cli.options.quantities import parse_seconds, parse_size
from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted
from ocitool.oci.reference import is_address, is_bare_host

if TYPE_CHECKING:
    from ocitool.events import Observer
    from ocitool.places.registry import Registries
    from ocitool.serving.log import AccessLog
    from ocitool.serving.server import ServeOptions
    from ocitool.serving.transport.limits import ServerLimits

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir")
_RETRY_SECONDS = 2.0
"""A client waits, too: what takes longer is answered from the cache."""
_LOGS = ("text", "json", "none")
_ACCESS = "Who may use it"
_LIMITS = "Limits and records"
_CACHE = "A cache of other registries"


class Serving:
    """What the options of `registry serve` say."""

    def __init__(
        self, options: "ServeOptions", *, log: str, log_file: str | None, ready_file: str | None
    ) -> None:
        self.options = options
        self.ready_file = ready_file
        self._form = log
        self._log_file = log_file

    @property
    def is_written(self) -> bool:
        """Whether the store changes by what clients do."""
        return self.options.writable or bool(self.options.upstream.origins)

    @contextlib.contextmanager
    def log(self) -> Iterator["AccessLog"]:
        """Yield the access log."""
        from ocitool.fsops import LogFile
        from ocitool.serving.log import AccessLog, as_json, as_text

        line = {"json": as_json, "text": as_text}.get(self._form)
        if self._log_file is None or line is None:
            yield AccessLog(line, _to_stderr)
            return
        with LogFile(self._log_file) as file:
            yield AccessLog(line, file.write, file.reopen)

    @contextlib.contextmanager
    def registries(self, observer: "Observer") -> Iterator["Registries | None"]:
        """Yield what reaches the registries behind this one; None if there are none.

        Clients that need no user see there what needs no credentials, unless they may see more.
        """
        options = self.options
        if not options.upstream.origins:
            yield None
            return
        from ocitool.places.registry import Registries, RegistryOptions

        has_users = options.htpasswd is not None and not options.anonymous_pull
        environment = dict(os.environ)
        if not (has_users or options.upstream.shares_private):
            environment = {
                name: text for name, text in environment.items() if name.lower() in _PROXIES
            }
        asked = RegistryOptions(retry_max_wait=_RETRY_SECONDS)
        with Registries(asked, environment=environment, warn=observer.warn) as found:
            yield found


def _to_stderr(line: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def _flag(name: str, text: str, panel: str | None = None) -> Any:
    return Annotated[bool, typer.Option(name, help=text, rich_help_panel=panel)]


def _text(name: str, metavar: str, text: str, panel: str | None = None) -> Any:
    option = typer.Option(name, metavar=metavar, help=text, rich_help_panel=panel)
    return Annotated[str | None, option]


def _given(name: str, metavar: str, text: str, panel: str | None = None) -> Any:
    """Return an option that always has a value."""
    return Annotated[str, typer.Option(name, metavar=metavar, help=text, rich_help_panel=panel)]


_OPTIONS: dict[str, tuple[Any, object]] = {
    "addr": (
        _given("--addr", "HOST:PORT", "Listen here; port 0 is a free one; or unix:PATH."),
        "127.0.0.1:5000",
    ),
    "writable": (_flag("--writable", "Let clients push."), False),
    "deletable": (_flag("--deletable", "With --writable: let clients delete, too."), False),
    "as_host": (
        _text("--as", "HOST", "Registry that paths without one mean (default: localhost)."),
        None,
    ),
    "prefix": (_text("--prefix", "P", "Serve all names below P/."), None),
    "only": (
        Annotated[
            list[str] | None,
            typer.Option(
                "--only", metavar="PATTERN", help="Serve only these repositories, such as team/*."
            ),
        ],
        None,
    ),
    "upstream": (
        Annotated[
            list[str] | None,
            typer.Option(
                "--upstream",
                metavar="HOST[/PREFIX]",
                help="Fetch what the store lacks from this registry, and keep it.",
                rich_help_panel=_CACHE,
            ),
        ],
        None,
    ),
    "cache_ttl": (
        _given("--cache-ttl", "T", "Ask again after this time what a tag names.", _CACHE),
        "5m",
    ),
    "share_private": (
        _flag("--share-private", "Show all clients what our credentials see there.", _CACHE),
        False,
    ),
    "htpasswd": (
        _text("--htpasswd", "FILE", "Ask for one of these users (bcrypt).", _ACCESS),
        None,
    ),
    "anonymous_pull": (
        _flag("--anonymous-pull", "With --htpasswd: pulling needs no user.", _ACCESS),
        False,
    ),
    "tls_cert": (_text("--tls-cert", "FILE", "Serve with this certificate (PEM).", _ACCESS), None),
    "tls_key": (_text("--tls-key", "FILE", "Private key of the certificate.", _ACCESS), None),
    "client_ca": (
        _text("--client-ca", "FILE", "Only for clients with a certificate of this CA.", _ACCESS),
        None,
    ),
    "plain_http": (
        _flag("--plain-http", "Allow other machines to connect without TLS.", _ACCESS),
        False,
    ),
    "open_to_all": (
        _flag("--open", "Let every client on the network push.", _ACCESS),
        False,
    ),
    "max_clients": (
        Annotated[
            int,
            typer.Option(
                "--max-clients",
                min=1,
                max=10_000,
                metavar="N",
                help="Answer at most N requests at a time.",
                rich_help_panel=_LIMITS,
            ),
        ],
        200,
    ),
    "max_upload": (_text("--max-upload", "SIZE", "Largest blob that is taken.", _LIMITS), None),
    "idle_timeout": (
        _given("--idle-timeout", "T", "Close a connection without a request.", _LIMITS),
        "60s",
    ),
    "header_timeout": (
        _given("--header-timeout", "T", "Time for the header of a request.", _LIMITS),
        "10s",
    ),
    "drain": (_given("--drain", "T", "Time for requests in hand at the end.", _LIMITS), "30s"),
    "verify_reads": (
        _flag("--verify-reads", "Hash blobs while they are sent.", _LIMITS),
        False,
    ),
    "log": (_given("--log", "FORM", "Access log: text, json or none.", _LIMITS), "text"),
    "log_file": (_text("--log-file", "FILE", "Write it there, not to stderr.", _LIMITS), None),
    "ready_file": (
        _text("--ready-file", "FILE", "Write address and process ID when it listens.", _LIMITS),
        None,
    ),
}


def _build(_context: typer.Context, **given: Any) -> Serving:
    if given["log"] not in _LOGS:
        raise UsageError(
            f"--log {quoted(given['log'])} is not a form of log", hint="write text, json or none"
        )
    return Serving(
        _options(given),
        log=given["log"],
        log_file=given["log_file"],
        ready_file=given["ready_file"],
    )


def _options(given: dict[str, Any]) -> "ServeOptions":
    from ocitool.serving.names import LOCALHOST, NameRules
    from ocitool.serving.server import ServeOptions
    from ocitool.serving.transport.listening import parse_address
    from ocitool.serving.upstream.options import UpstreamOptions
    from ocitool.serving.upstream.origins import parse_origin

    origins = tuple(parse_origin(text) for text in given["upstream"] or ())
    if given["share_private"] and not origins:
        raise UsageError("--share-private goes with --upstream")
    usual = origins[0].host if origins else LOCALHOST
    return ServeOptions(
        address=parse_address(given["addr"]),
        writable=given["writable"],
        deletable=given["deletable"],
        rules=NameRules(
            prefix=(given["prefix"] or "").strip("/"),
            only=tuple(given["only"] or ()),
            host=_registry(given["as_host"]) if given["as_host"] is not None else usual,
        ),
        htpasswd=given["htpasswd"],
        anonymous_pull=given["anonymous_pull"],
        plain_http=given["plain_http"],
        is_open=given["open_to_all"],
        certificate=given["tls_cert"],
        key=given["tls_key"],
        client_ca=given["client_ca"],
        verify_reads=given["verify_reads"],
        largest=parse_size(given["max_upload"]) if given["max_upload"] is not None else None,
        upstream=UpstreamOptions(
            origins=origins,
            ttl=parse_seconds(given["cache_ttl"]),
            shares_private=given["share_private"],
        ),
        limits=_limits(given),
    )


def _registry(host: str) -> str:
    if not (is_address(host) or is_bare_host(host) or "." in host) or "/" in host:
        raise UsageError(
            f"--as {quoted(host)} is not a registry",
            hint="write localhost, or a host with a dot or a port, such as registry.example",
        )
    return host


def _limits(given: dict[str, Any]) -> "ServerLimits":
    from ocitool.serving.transport.limits import ServerLimits

    return ServerLimits(
        clients=given["max_clients"],
        idle=parse_seconds(given["idle_timeout"]),
        header=parse_seconds(given["header_timeout"]),
        drain=parse_seconds(given["drain"]),
    )


SERVING = Group(_OPTIONS, _build)
