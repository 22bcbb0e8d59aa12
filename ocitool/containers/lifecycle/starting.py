"""Starting a container by an OCI runtime, in front of the user or in the background.

Who waits for the end of the process holds the lock of the run: this process, or in the background
a shell, which writes the exit code. So a run has one waiter, whatever is killed meanwhile.
"""

import os
import shlex
import signal
import time
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from ocitool.containers.bundle_facts import open_bundle, read_facts
from ocitool.containers.bundles import write_files
from ocitool.containers.config.files import network_files
from ocitool.containers.lifecycle.failing import not_started
from ocitool.containers.lifecycle.runtime import Runtime, find_runtime, forget_run
from ocitool.containers.lifecycle.state import (
    ERR,
    EXIT,
    LAST_EXIT,
    LAST_PID,
    LOCK,
    LOG,
    OUT,
    PID,
    State,
    Status,
    container_state,
    is_running,
    open_run,
)
from ocitool.containers.options import HOST
from ocitool.containers.records import Container, find_container
from ocitool.containers.running import process_in
from ocitool.errors import Refused, StorageError
from ocitool.events import Observer
from ocitool.fsops import Directory, HeldLock, replace_file, take_lock
from ocitool.places.layout import Layout
from ocitool.programs import leave_behind, run_in_front

_PAUSE = 0.01
_KILLED = 128 + signal.SIGKILL


class StartOptions(Struct, frozen=True, kw_only=True):
    """How to start a container.

    `detach` leaves it in the background, its output in files. `interactive` gives it our standard
    input even if it was not made so. `runtime` is a program such as crun. `afterwards` is a command
    that runs when a detached process has ended.
    """

    detach: bool = False
    interactive: bool = False
    runtime: str | None = None
    afterwards: tuple[str, ...] = ()


class Started(Struct, frozen=True, kw_only=True):
    """A container that was started, and its state then: running, or exited if it has ended.

    `killed_below` is the limit of its memory, in bytes, where it was killed and had one: the kernel
    kills what exceeds it, and the control group that would tell is gone with the process.
    """

    container: Container
    state: State
    killed_below: int | None = None


def start_container(layout: Layout, text: str, options: StartOptions) -> Started:
    """Start a container by its name or the start of its ID.

    Returns when its process has ended, or with `detach` when it has begun. Refused if it runs
    already, NotFound without a runtime, NotStarted if the runtime cannot start it.
    """
    container = find_container(layout, text)
    _check_terminal(container, options)
    with open_run(container) as run:
        lock = take_lock(run, LOCK)
        if lock is None or process_in(container.bundle) is not None:
            raise is_running(container)
        with lock:
            # It may have been removed while this command waited for the lock.
            container = find_container(layout, container.id)
            runtime = find_runtime(container, run.path, named=options.runtime)
            _set_aside_last(run, container, options.runtime)
            _renew_files(container)
            code: int | None = None
            if options.detach:
                _start_behind(run, lock, runtime, container, options)
            else:
                code = _run_in_front(run, runtime, container, options)
                _keep_code(run, code, layout.observer)
    state = container_state(container)
    # The code is known here even where it could not be written.
    return Started(
        container=container,
        state=state if code is None else _ended(state, code),
        killed_below=_memory_limit(container) if code == _KILLED else None,
    )


def _memory_limit(container: Container) -> int | None:
    with open_bundle(container) as bundle:
        return read_facts(bundle).memory_limit


def _ended(state: State, code: int) -> State:
    return replace(state, status=Status.EXITED, exit_code=code, pid=None)


def _keep_code(run: Directory, code: int, observer: Observer) -> None:
    """Write how a container ended; a full disk does not change how it did."""
    try:
        replace_file(run, EXIT, f"{code}\n".encode("ascii"), staging=run)
    except StorageError as error:
        observer.warn(f"the exit code {code} was not kept: {error.message}")


def _check_terminal(container: Container, options: StartOptions) -> None:
    """Refuse a container with a terminal where there is none for it."""
    if container.settings.terminal and options.detach:
        raise Refused(
            f"container {container.name} has a terminal, which needs somebody in front of it",
            hint="start it without -d, or make one without -t",
        )
    if container.settings.terminal and not any(map(os.isatty, (0, 1, 2))):
        raise Refused(
            f"container {container.name} has a terminal, and there is none here",
            hint="start it at a terminal, or make one without -t",
        )


def _set_aside_last(run: Directory, container: Container, named: str | None) -> None:
    """Remove what a runtime keeps of the last run; how that ended counts until the next begins."""
    forget_run(run, container, named=named)
    run.remove(LOG)
    if run.kind(PID) is None:
        return
    run.remove(LAST_EXIT)
    for name, other in ((PID, LAST_PID), (EXIT, LAST_EXIT)):
        if run.kind(name) is not None:
            run.move(name, run, other)


def _renew_files(container: Container) -> None:
    """Write anew which names the host knows, where the container has its network.

    After a reboot, or on another network, the host asks other name servers.
    """
    network = container.settings.network
    if network.mode == HOST:
        files = network_files(network, "")
        with Directory.open(container.bundle) as bundle:
            write_files(bundle, {name: files[name] for name in ("hosts", "resolv.conf")})


def _run_in_front(
    run: Directory, runtime: Runtime, container: Container, options: StartOptions
) -> int:
    settings = container.settings
    # A terminal that nobody could type at could not be left either: runtimes take Ctrl-C for input.
    typed = settings.terminal and os.isatty(0)
    reads = options.interactive or settings.interactive or typed
    code = run_in_front(runtime.run(container), reads_stdin=reads)
    if run.kind(PID) is None:
        # What the runtime said stands on the user's own standard error.
        raise not_started(run, runtime, container, printed_from=None)
    return code


def _start_behind(
    run: Directory, lock: HeldLock, runtime: Runtime, container: Container, options: StartOptions
) -> None:
    began = run.size_of(ERR) or 0
    script = _script(runtime.run(container), run.path, options.afterwards)
    # The lock is the output of the shell, which itself prints nothing.
    process = leave_behind(script, stdout=lock.descriptor)
    lock.close()
    while run.kind(PID) is None:
        if process.poll() is not None and run.kind(PID) is None:
            raise not_started(run, runtime, container, printed_from=began)
        time.sleep(_PAUSE)


def _script(command: Sequence[str], folder: str, afterwards: Sequence[str]) -> str:
    out, err, pid, code, new = (
        shlex.quote(f"{folder}/{name}") for name in (OUT, ERR, PID, EXIT, f"{EXIT}.new")
    )
    return "\n".join(
        [
            "umask 077",
            f"{shlex.join(command)} </dev/null >>{out} 2>>{err}",
            "code=$?",
            f"test -e {pid} && echo $code >{new} && mv {new} {code}",
            # This frees the lock.
            "exec >/dev/null",
            shlex.join(afterwards),
        ]
    )
