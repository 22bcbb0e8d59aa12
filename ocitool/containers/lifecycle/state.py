"""The state of a container: from the files of its last run, and the processes of this machine.

`run/pid` is there once a process was started, `run/exit` once it has ended; their times are those
of the start and the end. Those of the run before lie aside, and count until the runtime has written
a new `run/pid`. `run/lock` is held by who waits for that end.
"""

import contextlib
import datetime as dt
import os
from collections.abc import Iterable, Iterator
from enum import StrEnum

from msgspec import Struct

from ocitool.containers.bundle_facts import open_bundle
from ocitool.containers.bundles import is_bundle_of
from ocitool.containers.records import Container
from ocitool.containers.running import process_in, processes_in
from ocitool.errors import NotFound, OcitoolError, Refused, StorageError
from ocitool.fsops import Directory, is_locked, make_folder, take_lock

RUN_FOLDER = "run"
PID, EXIT, LOCK = "pid", "exit", "lock"
LAST_PID, LAST_EXIT = "last-pid", "last-exit"
LOG = "log"
OUT, ERR = "stdout", "stderr"
_NUMBER_BYTES = 64


class Status(StrEnum):
    """What a container is doing. The words are docker's, but for a bundle that is gone."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    MISSING = "bundle missing"


class State(Struct, frozen=True, kw_only=True):
    """The state of a container. Times are RFC 3339 UTC.

    `pid` is the first process of one that runs. `exit_code` is None while it runs, and if nobody
    waited for its end, as after a power loss.
    """

    status: Status
    pid: int | None = None
    exit_code: int | None = None
    started: str | None = None
    finished: str | None = None

    @property
    def text(self) -> str:
        """The status for people, with the exit code."""
        code = "?" if self.exit_code is None else self.exit_code
        return f"{self.status} ({code})" if self.status is Status.EXITED else str(self.status)


def container_states(containers: Iterable[Container]) -> dict[str, State]:
    """Return the states of containers by their IDs."""
    known = list(containers)
    active = processes_in(one.bundle for one in known)
    return {one.id: _state(one, process=active.get(one.bundle)) for one in known}


def container_state(container: Container) -> State:
    """Return the state of a container."""
    return container_states([container])[container.id]


def _state(container: Container, *, process: int | None) -> State:
    running = State(status=Status.RUNNING, pid=process)
    try:
        with Directory.open(container.bundle) as bundle:
            return _state_in(bundle, process=process)
    except NotFound:
        return State(status=Status.MISSING) if process is None else running
    except StorageError:
        # The bundle is another user's.
        return State(status=Status.CREATED) if process is None else running


def _state_in(bundle: Directory, *, process: int | None) -> State:
    if bundle.kind(RUN_FOLDER) != "folder":
        status = Status.CREATED if process is None else Status.RUNNING
        return State(status=status, pid=process)
    with bundle.subdirectory(RUN_FOLDER) as run:
        if process is not None or is_locked(run, LOCK):
            pid, started = _number(run, PID), _time(run, PID)
            # The first process, unless what wrote it is gone and another run began by hand.
            first = pid if pid is not None and is_process(pid) else process
            return State(status=Status.RUNNING, pid=first, started=started)
        return _at_rest(run)


def _at_rest(run: Directory) -> State:
    begin, end = (PID, EXIT) if run.kind(PID) is not None else (LAST_PID, LAST_EXIT)
    if _number(run, begin) is None:
        return State(status=Status.CREATED)
    return State(
        status=Status.EXITED,
        exit_code=_number(run, end),
        started=_time(run, begin),
        finished=_time(run, end),
    )


def _number(run: Directory, name: str) -> int | None:
    with contextlib.suppress(OcitoolError, ValueError):
        return int(run.read_file(name, _NUMBER_BYTES))
    return None


def _time(run: Directory, name: str) -> str | None:
    seconds = run.modified(name)
    if seconds is None:
        return None
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def open_run(container: Container) -> Directory:
    """Open the folder of a container's runs, which is made if it is absent.

    NotFound if its bundle is gone, or if there is something else now.
    """
    with open_bundle(container) as bundle:
        if not is_bundle_of(bundle, container.id):
            raise NotFound(
                f"{container.bundle!r} is not the bundle of container {container.name} any more",
                hint=f"`ocitool container rm {container.name}` removes its record alone",
            )
        if bundle.kind(RUN_FOLDER) is None:
            # Another process may be faster.
            with contextlib.suppress(StorageError):
                make_folder(bundle, RUN_FOLDER)
        return bundle.subdirectory(RUN_FOLDER)


@contextlib.contextmanager
def at_rest(container: Container) -> Iterator[Directory | None]:
    """Keep a container from being started within the block; Refused if it runs.

    Yields the folder of its runs; None where its bundle is gone, and nothing can be started.
    """
    with contextlib.ExitStack() as stack:
        run = None
        with contextlib.suppress(NotFound):
            run = stack.enter_context(open_run(container))
            lock = take_lock(run, LOCK)
            if lock is None:
                raise is_running(container)
            stack.enter_context(lock)
        if process_in(container.bundle) is not None:
            raise is_running(container)
        yield run


def is_running(container: Container) -> Refused:
    """Return the error for what needs a container that does not run."""
    return Refused(
        f"container {container.name} is running",
        hint=f"end it first: `ocitool container stop {container.name}`",
    )


def is_process(pid: int) -> bool:
    """Tell whether a process exists and has not ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (OSError, IndexError):
        return False


def first_process(pid: int) -> int:
    """Return the process that is the first of its PID namespace, by the ID of another one in it."""
    try:
        namespace = os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return pid
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and _is_first_of(name, namespace):
                return int(name)
    return pid


def _is_first_of(name: str, namespace: str) -> bool:
    if os.readlink(f"/proc/{name}/ns/pid") != namespace:
        return False
    with open(f"/proc/{name}/status", encoding="utf-8", errors="replace") as lines:
        return any(line.startswith("NSpid:") and line.split()[-1] == "1" for line in lines)
