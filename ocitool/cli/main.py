"""Run one command, and turn every failure into one message and an exit code."""

import contextlib
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from ocitool import errors
from ocitool.cli.app import application, command_in
from ocitool.cli.failures import NotRun, first_of
from ocitool.cli.interrupted import Interrupted
from ocitool.cli.render import console

_EXIT_CODES: tuple[tuple[type[errors.OcitoolError], int], ...] = (
    (errors.UsageError, 2),
    (errors.Unmet, 3),
    (errors.NotFound, 4),
    (errors.AccessDenied, 5),
    (errors.Refused, 6),
    (errors.BadSignature, 3),
    (errors.IntegrityError, 7),
    (errors.Unavailable, 8),
    (errors.StorageError, 9),
)
_FAILED, _STORAGE, _CLOSED_PIPE = 1, 9, 141
_HUB = "docker.io"
_A_MOMENT = 0.005
_FULL_STORE = (
    "free some space on that disk: `ocitool gc` or `ocitool rm NAME` remove images, and "
    "`ocitool gc --purge` empties the trash"
)
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(arguments: Sequence[str]) -> int:
    """Run one command; return the exit code. Nothing escapes, and nothing is printed twice."""
    console.prepare()
    debug = "--debug" in arguments or _is_set("OCITOOL_DEBUG")
    try:
        with _signals_caught():
            code = _invoke(arguments)
            console.flush()
    except Interrupted as interrupted:
        console.note(f"ocitool: {interrupted.message}")
        return interrupted.code
    except console.ClosedPipe:
        _forget_stdout()
        return _CLOSED_PIPE
    except BaseException as error:
        if debug:
            import traceback

            traceback.print_exc()
        return _report(error, arguments, debug=debug)
    return code


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() not in ("", "0", "false", "no", "off")


@contextlib.contextmanager
def _signals_caught() -> Iterator[None]:
    """Turn signals into Interrupted within the block; ignored signals (nohup) stay ignored."""
    found = {number: signal.getsignal(number) for number in _SIGNALS}
    before = {number: old for number, old in found.items() if old is not signal.SIG_IGN}
    hook = sys.unraisablehook
    try:
        sys.unraisablehook = functools.partial(_raise_again, hook)
        for number in before:
            signal.signal(number, _interrupt)
        yield
    finally:
        sys.unraisablehook = hook
        for number, old in before.items():
            signal.signal(number, old if old is not None else signal.SIG_DFL)


def _invoke(arguments: Sequence[str]) -> int:
    try:
        application(command_in(arguments))(args=list(arguments), prog_name="ocitool")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _interrupt(number: int, _frame: FrameType | None) -> None:
    # A second signal must not interrupt the clean-up after the first one.
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise Interrupted(128 + number)


def _raise_again(
    hook: Callable[["sys.UnraisableHookArgs"], object], lost: "sys.UnraisableHookArgs"
) -> None:
    """Raise an interruption again if Python dropped it, as it does in some callbacks."""
    if not isinstance(lost.exc_value, Interrupted):
        hook(lost)
        return
    number = lost.exc_value.code - 128
    # An exception raised in this hook would be dropped too, so a timer raises it shortly after.
    signal.signal(signal.SIGALRM, lambda _, frame: _interrupt(number, frame))
    signal.setitimer(signal.ITIMER_REAL, _A_MOMENT)


def _report(error: BaseException, arguments: Sequence[str], *, debug: bool) -> int:
    if isinstance(error, errors.OcitoolError):
        console.note(f"ocitool: {error.message}")
        for hint in (_hint(error), _about_docker_hub(error, arguments)):
            if hint:
                console.note(f"  {hint}")
        return _exit_code(error)
    if isinstance(error, OSError):
        path = f"{error.filename!r}: " if error.filename is not None else ""
        console.note(f"ocitool: {path}{error.strerror or error}")
        if error.filename is None:
            _forget_stdout()
        return _STORAGE
    if isinstance(error, MemoryError):
        console.note("ocitool: out of memory")
        return _FAILED
    console.note(f"ocitool: this is a bug: {type(error).__name__}: {error}")
    if not debug:
        console.note("  run it again with --debug, and report what it prints")
    return _FAILED


def _exit_code(error: errors.OcitoolError) -> int:
    """Return the exit code of an error; if several items failed, the code of the first."""
    if isinstance(error, NotRun):
        return error.code
    first = first_of(error)
    return next((code for kind, code in _EXIT_CODES if isinstance(first, kind)), _FAILED)


def _hint(error: errors.OcitoolError) -> str | None:
    """Return what to do next; on the full disk of a store its own images can make room."""
    first = first_of(error)
    if isinstance(first, errors.NoSpace) and _is_in_store(first.path):
        return _FULL_STORE
    return error.hint


def _about_docker_hub(error: errors.OcitoolError, arguments: Sequence[str]) -> str | None:
    """Return why docker.io was asked when it refuses or does not answer, and was not typed."""
    first = first_of(error)
    kinds = errors.Unavailable, errors.AccessDenied
    was_asked = isinstance(first, kinds) and _HUB in first.message
    # Without a host, these two mean Docker Hub by their own rule.
    if not was_asked or any(_HUB in one or one in ("login", "logout") for one in arguments):
        return None
    return f"a name without a registry means {_HUB}: for another one write HOST/NAME:TAG"


def _is_in_store(path: str) -> bool:
    from ocitool.places.layout.layout import CONTROL, STORE_FILE

    above = os.path.abspath(path)
    while not os.path.exists(f"{above}/{CONTROL}/{STORE_FILE}"):
        if above == os.path.dirname(above):
            return False
        above = os.path.dirname(above)
    return True


def _forget_stdout() -> None:
    """Replace a broken stdout, so that the interpreter does not complain about it at exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        sys.stdout = None
