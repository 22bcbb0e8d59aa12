"""ocitool registry serve: a registry over the store, a layout, an archive or a bundle."""

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.interrupted import Interrupted
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.serving import SERVING
from ocitool.cli.output import JSON_OUTPUT, Output
from ocitool.cli.render import console
from ocitool.cli.render.columns import counted
from ocitool.cli.render.console import safe

if TYPE_CHECKING:
    from types import FrameType

    from ocitool.cli.options.serving import Serving
    from ocitool.serving.server import RegistryServer

_LISTED = 5
_SIGNALLED = 128
"""Added to the number of a signal: the exit code of what it ended."""


@with_options(out=JSON_OUTPUT, serving=SERVING)
def serve(
    places: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SRC…]", help="The store (default), oci:DIR, or files of images."),
    ] = None,
    *,
    out: Output,
    serving: "Serving",
) -> None:
    """Serve images as a registry, for docker, podman, containerd, Kubernetes and others.

    It is read-only unless --writable is given, and only this machine can connect unless --addr
    says otherwise. It ends by SIGTERM or Ctrl-C, when the requests in hand are answered.
    """
    from ocitool.serving.opening import STORE, open_shelves
    from ocitool.serving.server import RegistryServer
    from ocitool.serving.transport.listening import passed_socket

    _raise_file_limit(serving, out)
    texts = places or [STORE]
    uses_store = STORE in texts or "store:" in texts
    store = out.options.store if uses_store else None
    options = serving.options
    with (
        open_shelves(texts, store=store, create=serving.is_written) as shelves,
        serving.log() as log,
        serving.registries(out.observer) as upstream,
    ):
        server = RegistryServer(
            shelves,
            options,
            listener=passed_socket(os.environ, os.getpid()),
            log=log,
            tell=out.observer.warn,
            registries=upstream,
        )
        what = ", ".join(shelf.what for shelf in shelves)
        with _signals(server, log.reopen):
            _announce(out, server, serving, what)
            server.run(lambda count: _say_ending(out, count, serving.options.limits.drain))


def _announce(out: Output, server: "RegistryServer", serving: "Serving", what: str) -> None:
    """Say that the server listens, and what clients would wonder about."""
    writable = serving.options.writable
    how = "writable" if writable else "read-only"
    if origins := serving.options.upstream.origins:
        how = f"a cache of {', '.join(safe(origin.text) for origin in origins)}"
    if serving.ready_file is not None:
        from ocitool.fsops import write_output

        write_output(serving.ready_file, f"{server.url} {os.getpid()}\n".encode())
    if out.is_json:
        # On one line, because the reader does not see the end of the output.
        found = {"url": server.url, "writable": writable, "pid": os.getpid()}
        console.out(json.dumps(found))
    out.lines([f"serving {safe(what)} at {server.url} ({how})"])
    console.flush()
    for remark in server.remarks[:_LISTED]:
        out.observer.remark(remark)
    for names in server.clashes[:_LISTED]:
        out.observer.remark(f"{' and '.join(names)} are reached only by these full names")
    view = server.library.view()
    for name in view.unreachable[:_LISTED]:
        out.observer.remark(f"{name} is not a name that a registry can have: by digest only")


def _say_ending(out: Output, count: int, drain: float) -> None:
    """Say why the process does not end yet."""
    get = "gets" if count == 1 else "get"
    out.observer.remark(
        f"ending: {counted(count, 'transfer')} {get} up to {drain:g} s; Ctrl-C again ends at once"
    )


def _raise_file_limit(serving: "Serving", out: Output) -> None:
    """Allow as many open files as this user may have; say when that is few."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    now, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    clients = serving.options.limits.clients
    if now != resource.RLIM_INFINITY and now < 2 * clients:
        files = counted(now, "open file")
        out.observer.warn(
            f"{files} are few for {clients} clients: raise the limit with `ulimit -n`"
        )


@contextlib.contextmanager
def _signals(server: "RegistryServer", reopen: Callable[[], None]) -> Iterator[None]:
    """In the block the first SIGTERM or Ctrl-C stops the server, the next ends it at once.

    SIGHUP reads the certificate again, and opens the log file anew.
    """
    stopped = False

    def stop(number: int, _frame: "FrameType | None") -> None:
        nonlocal stopped
        if stopped:
            raise Interrupted(_SIGNALLED + number)
        stopped = True
        server.stop()

    def reload(_number: int, _frame: "FrameType | None") -> None:
        server.reload()
        reopen()

    wanted = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload}
    before = {number: signal.signal(number, action) for number, action in wanted.items()}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action if action is not None else signal.SIG_DFL)
