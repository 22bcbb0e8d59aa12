"""A registry that serves: the places, the rules and the server put together."""

import contextlib
import shlex
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from msgspec import Struct, field

from ocitool.errors import OcitoolError, UsageError
from ocitool.oci.quoting import quoted
from ocitool.serving.access.guard import Guard
from ocitool.serving.access.htpasswd import PasswordFile, need_bcrypt
from ocitool.serving.application import Application
from ocitool.serving.library import Library
from ocitool.serving.names import NameRules, clashes
from ocitool.serving.opening import STORE, open_shelves
from ocitool.serving.shelves import Shelf
from ocitool.serving.transport.connection import Exchange
from ocitool.serving.transport.limits import ServerLimits
from ocitool.serving.transport.listening import (
    Address,
    listen,
    parse_address,
    remove_socket,
    url_of,
)
from ocitool.serving.transport.server import Server
from ocitool.serving.upstream.options import UpstreamOptions
from ocitool.serving.verified import VerifiedReads
from ocitool.serving.writing.writer import StoreWriter

if TYPE_CHECKING:
    from ocitool.places.registry import Registries
    from ocitool.serving.transport.tls import Certificates
    from ocitool.serving.upstream.cache import UpstreamCache

_HOUR = 3600.0


class ServeOptions(Struct, frozen=True, kw_only=True):
    """How a registry serves.

    Beyond this machine `plain_http` is needed where there is no TLS, and `is_open` where anybody
    may write. `largest` is the size of a blob in bytes. With `upstream` the store is a cache.
    """

    address: Address = field(default_factory=lambda: parse_address("127.0.0.1:0"))
    writable: bool = False
    deletable: bool = False
    rules: NameRules = field(default_factory=NameRules)
    htpasswd: str | None = None
    anonymous_pull: bool = False
    plain_http: bool = False
    is_open: bool = False
    certificate: str | None = None
    key: str | None = None
    client_ca: str | None = None
    verify_reads: bool = False
    largest: int | None = None
    upstream: UpstreamOptions = field(default_factory=UpstreamOptions)
    limits: ServerLimits = field(default_factory=ServerLimits)


def check_options(options: ServeOptions) -> None:
    """Raise UsageError for a combination that would not be safe, or makes no sense."""
    if (options.key or options.client_ca) and options.certificate is None:
        raise UsageError("--tls-key and --client-ca need --tls-cert")
    if options.deletable and not options.writable:
        raise UsageError("--deletable needs --writable")
    if options.anonymous_pull and options.htpasswd is None:
        raise UsageError("--anonymous-pull goes with --htpasswd: without it anybody may pull")
    if options.writable and options.upstream.origins:
        raise UsageError(
            "--upstream and --writable do not go together: a cache holds what others push elsewhere"
        )
    if options.htpasswd is not None:
        need_bcrypt()
    if options.address.is_local:
        return
    if options.certificate is None and not options.plain_http:
        raise UsageError(
            "other machines could read and change what is sent in plain http",
            hint="give a certificate (--tls-cert, --tls-key), or say --plain-http",
        )
    known = options.htpasswd is not None or options.client_ca is not None
    if options.writable and not known and not options.is_open:
        raise UsageError(
            "anybody on the network could push to this registry",
            hint="give --htpasswd FILE or --client-ca FILE, or say --open",
        )


class RegistryServer:
    """A registry that listens. `run` serves until `stop`; as a context manager in a thread."""

    def __init__(
        self,
        shelves: Sequence[Shelf],
        options: ServeOptions,
        *,
        listener: socket.socket | None = None,
        log: Callable[[Exchange], None] = lambda _exchange: None,
        tell: Callable[[str], None] = lambda _text: None,
        registries: "Registries | None" = None,
    ) -> None:
        check_options(options)
        self._options = options
        by_repository = bool(options.rules.only) or options.htpasswd is not None
        self.library = Library(shelves, options.rules, by_repository=by_repository)
        guard = None
        if options.htpasswd is not None:
            passwords = PasswordFile(options.htpasswd)
            guard = Guard(passwords, anonymous_pull=options.anonymous_pull)
        self._certificates = _certificates(options)
        self._listener = listener or listen(options.address)
        self._writer: StoreWriter | None = None
        try:
            self._writer = _writer(shelves, self.library, options)
        except BaseException:
            self._listener.close()
            raise
        self.url = url_of(self._listener, tls=self._certificates is not None)
        application = Application(
            self.library,
            guard=guard,
            writer=self._writer if options.writable else None,
            is_ready=self._is_ready,
            tell=tell,
            verified=VerifiedReads() if options.verify_reads else None,
            upstream=self._upstream(registries, tell),
        )
        self._server = Server(
            self._listener,
            application.answer,
            log,
            limits=options.limits,
            tls=self._certificates.context if self._certificates is not None else None,
            tell=tell,
        )
        self._tell = tell
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def _upstream(
        self, registries: "Registries | None", tell: Callable[[str], None]
    ) -> "UpstreamCache | None":
        if not self._options.upstream.origins or self._writer is None or registries is None:
            return None
        from ocitool.serving.upstream.cache import UpstreamCache

        writer = self._writer
        return UpstreamCache(
            self.library, writer.storing, writer.claims, registries, self._options.upstream, tell
        )

    def _is_ready(self) -> bool:
        if self._server.is_ending or (self._writer is not None and not self._writer.has_room()):
            return False
        try:
            self.library.view()
            cut = [shelf.what for shelf in self.library.shelves if shelf.is_cut]
        except OcitoolError as error:
            self._tell(error.message)
            return False
        for what in cut:
            self._tell(f"{quoted(what)} was cut while it is served: put it back, and start anew")
        return not cut

    @property
    def remarks(self) -> list[str]:
        """What was made or left out to serve the places."""
        return [text for shelf in self.library.shelves for text in shelf.remarks]

    @property
    def clashes(self) -> list[Sequence[str]]:
        """The repositories that share a path, so that only their full names reach them."""
        return clashes(self.library.view().paths, self._options.rules)

    def run(self, ending: Callable[[int], None] = lambda _count: None) -> None:
        """Serve until `stop`; return when the last request is answered or cut.

        `ending` is told at once how many requests are waited for, unless there are none.
        """
        tidying = threading.Thread(target=self._tidy, daemon=True)
        tidying.start()
        try:
            self._server.run(ending)
        finally:
            self._ended.set()
            tidying.join()
            if self._writer is not None:
                self._writer.close()
            if self._options.address.path is not None:
                remove_socket(self._options.address.path)

    def _tidy(self) -> None:
        while self._writer is not None:
            try:
                self._writer.tidy()
            except OcitoolError as error:
                self._tell(error.message)
            if self._ended.wait(_HOUR / 4):
                return

    def stop(self, drain: float | None = None) -> None:
        """Stop; requests in hand may take `drain` seconds. For signal handlers, too."""
        self._server.stop(drain)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the thread of the server has ended; tell whether it has."""
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def reload(self) -> None:
        """Read the certificate again; a failure is told, and the old one stays."""
        if self._certificates is not None:
            try:
                self._certificates.load()
            except UsageError as error:
                self._tell(error.message)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop(0.0 if error is not None else None)
        if self._thread is not None:
            self._thread.join()


def _certificates(options: ServeOptions) -> "Certificates | None":
    if options.certificate is None:
        return None
    from ocitool.serving.transport.tls import Certificates

    return Certificates(options.certificate, options.key, options.client_ca)


def _writer(
    shelves: Sequence[Shelf], library: Library, options: ServeOptions
) -> StoreWriter | None:
    if not options.writable and not options.upstream.origins:
        return None
    layouts = [shelf.layout for shelf in shelves if shelf.layout is not None]
    option = "--writable" if options.writable else "--upstream"
    if len(shelves) != 1:
        raise UsageError(f"{option} needs one store or layout", hint="name only one SRC")
    if not layouts:
        what = shelves[0].what
        raise UsageError(
            f"{option} needs a store or a layout: {quoted(what)} can only be read",
            hint=f"`ocitool load {shlex.quote(what)}` and serve the store: "
            f"`ocitool registry serve store {option}{' …' if options.upstream.origins else ''}`",
        )
    return StoreWriter(layouts[0], library, deletes=options.deletable, largest=options.largest)


@contextlib.contextmanager
def serve(
    *places: str, store: str | None = None, options: ServeOptions | None = None
) -> Iterator[RegistryServer]:
    """Serve places as a registry while the block runs, on a free port of this machine by default.

    Without places it is the store in the folder `store`. `url` of the server is its address.
    """
    chosen = options or ServeOptions()
    with (
        open_shelves(places or (STORE,), store=store, create=chosen.writable) as shelves,
        RegistryServer(shelves, chosen) as server,
    ):
        yield server
