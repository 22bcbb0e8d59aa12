"""The commands put together, and every failure turned into one message and an exit code."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Annotated

import typer

from ocitool import __version__, errors
from ocitool.cli import console
from ocitool.cli.copy import copy
from ocitool.cli.history import history
from ocitool.cli.images import images
from ocitool.cli.inspect import inspect
from ocitool.cli.load import load
from ocitool.cli.options import Settings, default_store
from ocitool.cli.pull import pull
from ocitool.cli.push import push
from ocitool.cli.registry import registry
from ocitool.cli.rm import rm
from ocitool.cli.save import save
from ocitool.cli.tag import tag, untag
from ocitool.cli.verify import verify

_EXIT_CODES: tuple[tuple[type[errors.OcitoolError], int], ...] = (
    (errors.UsageError, 2),
    (errors.NotFound, 4),
    (errors.AccessDenied, 5),
    (errors.Refused, 6),
    (errors.IntegrityError, 7),
    (errors.Unavailable, 8),
    (errors.StorageError, 9),
)
_FAILED, _STORAGE, _CLOSED_PIPE = 1, 9, 141
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

app = typer.Typer(
    name="ocitool",
    help="OCI and Docker images without a daemon: load, pull, look inside, verify, save, push.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS = (
    load,
    save,
    pull,
    push,
    copy,
    images,
    tag,
    untag,
    rm,
    inspect,
    history,
    verify,
)
for _command in _COMMANDS:
    app.command()(_command)
app.command("rmi", hidden=True)(rm)
app.add_typer(registry, name="registry", help="What a registry holds: tags, digests, manifests.")

_image = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
for _name, _command in (
    ("ls", images),
    ("rm", rm),
    ("load", load),
    ("save", save),
    ("pull", pull),
    ("push", push),
    ("tag", tag),
    ("inspect", inspect),
    ("history", history),
):
    _image.command(_name)(_command)
app.add_typer(_image, name="image", hidden=True, help="The same commands in docker's words.")


class Interrupted(BaseException):
    """A signal asked the process to end; carries the exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def _show_version(wanted: bool) -> None:
    if wanted:
        console.out(f"ocitool {__version__}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    *,
    store: Annotated[
        str | None,
        typer.Option(envvar="OCITOOL_STORE", metavar="DIR", help="The folder of the image store."),
    ] = None,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", envvar="OCITOOL_QUIET", help="Print IDs or digests only."),
    ] = False,
    debug: Annotated[
        bool, typer.Option(envvar="OCITOOL_DEBUG", help="Show a traceback when something fails.")
    ] = False,
    progress: Annotated[
        str,
        typer.Option(envvar="OCITOOL_PROGRESS", metavar="MODE", help="auto, bar, plain or none."),
    ] = "auto",
    tmp_dir: Annotated[
        str | None,
        typer.Option(
            envvar=["OCITOOL_TMP_DIR", "TMPDIR"],
            metavar="DIR",
            help="Where archives from pipes are unpacked first.",
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """OCI and Docker images without a daemon: load, pull, look inside, verify, save, push."""
    if store == "":
        raise errors.UsageError("--store names no folder")
    if progress not in ("auto", "bar", "plain", "none"):
        raise errors.UsageError(f"--progress {progress!r} is not auto, bar, plain or none")
    context.obj = Settings(
        store=store or default_store(),
        quiet=quiet,
        debug=debug,
        progress=progress,
        temporary=tmp_dir,
    )


def run(arguments: Sequence[str]) -> int:
    """Run one command; return the exit code. Nothing escapes, and nothing is printed twice."""
    console.prepare()
    debug = "--debug" in arguments or _is_set("OCITOOL_DEBUG")
    try:
        with _signals_caught():
            code = _invoke(arguments)
            console.flush()
    except Interrupted as interrupted:
        return interrupted.code
    except console.ClosedPipe:
        _forget_stdout()
        return _CLOSED_PIPE
    except BaseException as error:
        if debug:
            import traceback

            traceback.print_exc()
        return _report(error, debug=debug)
    return code


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() not in ("", "0", "false", "no", "off")


@contextlib.contextmanager
def _signals_caught() -> Iterator[None]:
    """Turn signals into Interrupted for the block; those that are ignored, as by nohup, stay so."""
    found = {number: signal.getsignal(number) for number in _SIGNALS}
    before = {number: old for number, old in found.items() if old is not signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, _interrupt)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old if old is not None else signal.SIG_DFL)


def _invoke(arguments: Sequence[str]) -> int:
    try:
        app(args=list(arguments), prog_name="ocitool")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _interrupt(number: int, _frame: FrameType | None) -> None:
    # A second signal must not strike while the first one is being cleaned up after.
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise Interrupted(128 + number)


def _report(error: BaseException, *, debug: bool) -> int:
    if isinstance(error, errors.OcitoolError):
        console.note(f"ocitool: {error.message}")
        if error.hint:
            console.note(f"  {error.hint}")
        return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), _FAILED)
    if isinstance(error, OSError):
        console.note(f"ocitool: {error.strerror or error}")
        if error.filename is None:
            _forget_stdout()
        return _STORAGE
    if isinstance(error, MemoryError):
        console.note("ocitool: out of memory")
        return _FAILED
    console.note(f"ocitool: this is a bug: {type(error).__name__}: {error}")
    if not debug:
        console.note("  run it again with --debug before the command, and report what it prints")
    return _FAILED


def _forget_stdout() -> None:
    """Keep the interpreter from complaining about a stdout that takes nothing more."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        sys.stdout = None
