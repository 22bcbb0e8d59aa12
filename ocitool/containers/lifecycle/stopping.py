"""Ending a container: its own signal first, SIGKILL when that is not heeded; and waiting."""

import math
import os
import signal
import time

from msgspec import Struct

from ocitool.containers.lifecycle.state import (
    LOCK,
    State,
    Status,
    container_state,
    first_process,
    is_process,
    open_run,
)
from ocitool.containers.records import Container, find_container
from ocitool.containers.running import process_in
from ocitool.containers.signals import signal_number
from ocitool.errors import Refused, UsageError
from ocitool.fsops import is_locked, wait_for_lock
from ocitool.places.layout import Layout

_TIMEOUT = 10
_PAUSE = 0.02
_SLOW_PAUSE = 0.2
_KILLED_SECONDS = 10.0


class Stopped(Struct, frozen=True, kw_only=True):
    """A container that does not run any more. `killed` tells that it had to be killed.

    `was_running` is False for one that did not run when it was to be stopped.
    """

    container: Container
    state: State
    was_running: bool
    killed: bool = False


class Ended(Struct, frozen=True, kw_only=True):
    """A container that has ended, and how."""

    container: Container
    state: State


def stop_container(
    layout: Layout, text: str, *, timeout: float | None = None, signalled: str | None = None
) -> Stopped:
    """Stop a container by its name or the start of its ID; one that does not run is left alone.

    Sends the signal of the container, waits for `timeout` seconds (-1: for ever; None: as the
    container was made, else 10), and kills it. Refused if it is another user's, or does not end.
    """
    container = find_container(layout, text)
    name = signalled or container.settings.stop_signal or "TERM"
    number = _known(name, container)
    seconds = _seconds(container, timeout)
    pid = _process_of(container)
    if pid is None:
        state = container_state(container)
        return Stopped(container=container, state=state, was_running=False)
    killed = number == signal.SIGKILL
    _send(pid, number, container)
    if not _ended(pid, seconds):
        killed = True
        _send(pid, signal.SIGKILL, container)
        if not _ended(pid, _KILLED_SECONDS):
            raise Refused(
                f"container {container.name} does not end: the kernel holds process {pid}",
                hint="it may wait for a disk or a network file system; try again later",
            )
    _settle(container)
    state = container_state(container)
    return Stopped(container=container, state=state, was_running=True, killed=killed)


def _known(name: str, container: Container) -> int:
    """Return the number of a signal; an image's own that does not exist is SIGTERM."""
    try:
        return signal_number(name)
    except UsageError:
        if name != container.settings.stop_signal:
            raise
        return signal.SIGTERM


def _seconds(container: Container, timeout: float | None) -> float:
    asked = container.settings.stop_timeout if timeout is None else timeout
    seconds = _TIMEOUT if asked is None else asked
    if math.isnan(seconds):
        raise UsageError("-t is not a number of seconds", hint="give one, or -1 to wait for ever")
    return float("inf") if seconds < 0 else seconds


def _process_of(container: Container) -> int | None:
    """Return the first process of a container; waits for one that is just being started.

    Refused if it runs, and its process cannot be found.
    """
    until = time.monotonic() + _KILLED_SECONDS
    while time.monotonic() < until:
        found = process_in(container.bundle)
        if found is not None:
            return first_process(found)
        state = container_state(container)
        if state.status is not Status.RUNNING:
            return None
        # While somebody waits for its end, the number is still that of its process.
        if state.pid is not None and is_process(state.pid):
            return state.pid
        time.sleep(_PAUSE)
    raise Refused(
        f"container {container.name} runs, but none of its processes can be found",
        hint="it may be another user's: stop it as that user, or as root",
    )


def _send(pid: int, number: int, container: Container) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise Refused(
            f"container {container.name} is another user's, and may not be stopped",
            hint="stop it as that user, or as root",
        ) from error


def _ended(pid: int, seconds: float) -> bool:
    """Wait until a process has ended; False if it did not within the time."""
    until = time.monotonic() + seconds
    while is_process(pid):
        if time.monotonic() >= until:
            return False
        time.sleep(_PAUSE)
    return True


def _settle(container: Container) -> None:
    """Wait until who started it has written how it ended."""
    until = time.monotonic() + _KILLED_SECONDS
    with open_run(container) as run:
        while is_locked(run, LOCK) and time.monotonic() < until:
            time.sleep(_PAUSE)


def wait_for_container(layout: Layout, text: str) -> Ended:
    """Wait until a container has ended; Refused if it was never started."""
    container = find_container(layout, text)
    with open_run(container) as run:
        wait_for_lock(run, LOCK)
    # One that was started without us has nobody who holds the lock.
    while process_in(container.bundle) is not None:
        time.sleep(_SLOW_PAUSE)
    state = container_state(container)
    if state.status is not Status.EXITED:
        raise Refused(
            f"container {container.name} was never started",
            hint=f"`ocitool container start {container.name}` starts it",
        )
    return Ended(container=container, state=state)
