"""Freezing the processes of a container by its cgroup, so that its files stand still meanwhile."""

import contextlib
import os
import time
from collections.abc import Iterator

from ocitool.containers.lifecycle.state import at_rest
from ocitool.containers.records import Container
from ocitool.containers.running import process_in
from ocitool.errors import Refused, StorageError
from ocitool.fsops import write_control

_MOST_SECONDS = 5.0
_WAIT = 0.01
_ROOT = "/"


@contextlib.contextmanager
def frozen(bundle: str) -> Iterator[str | None]:
    """Freeze what runs in a bundle for the block; yields why that could not be done, if so.

    Nothing is frozen, and None yielded, where nothing runs. The processes go on after the block,
    however it ends.
    """
    process = process_in(bundle)
    if process is None:
        yield None
        return
    control = _control_of(process)
    if process_in(bundle) != process:
        # It has ended: its number, and so the control, may be another program's by now.
        yield "its processes have changed meanwhile"
        return
    if control is None:
        yield "its processes have no cgroup of their own that can be frozen"
        return
    try:
        control.freeze()
        problem = None
    except (StorageError, TimeoutError) as error:
        problem = str(error)
    try:
        yield problem
    finally:
        with contextlib.suppress(StorageError):
            control.thaw()


@contextlib.contextmanager
def at_rest_if_possible(container: Container) -> Iterator[None]:
    """Keep a container that does not run from being started within the block.

    If another command holds it at rest already, or is starting it, nothing is kept.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(Refused):
            stack.enter_context(at_rest(container))
        yield


class _Control:
    """The file of a cgroup that freezes it, and what is written there (cgroups 1 and 2)."""

    def __init__(self, path: str, words: tuple[str, str], shown: tuple[str, str]) -> None:
        self._path = path
        self._freeze, self._thaw = words
        self._state, self._frozen = shown

    def freeze(self) -> None:
        """Freeze the processes, and wait until all of them stand still."""
        write_control(self._path, self._freeze)
        deadline = time.monotonic() + _MOST_SECONDS
        while self._frozen not in _read(self._state).split("\n"):
            if time.monotonic() > deadline:
                raise TimeoutError("its processes did not stand still in time")
            time.sleep(_WAIT)

    def thaw(self) -> None:
        """Let the processes go on."""
        write_control(self._path, self._thaw)


def _control_of(process: int) -> _Control | None:
    """Return the control of a process's cgroup; None if this process is in the same one."""
    own = _cgroups("self")
    for controllers, path in _cgroups(str(process)).items():
        mine = own.get(controllers, _ROOT)
        # Freezing a cgroup freezes those below it, too.
        if path == _ROOT or f"{mine}/".startswith(f"{path.rstrip('/')}/"):
            continue
        if controllers == "freezer":
            folder = f"/sys/fs/cgroup/freezer{path}"
            state = f"{folder}/freezer.state"
            if os.path.exists(state):
                return _Control(state, ("FROZEN", "THAWED"), (state, "FROZEN"))
        if controllers == "":
            folder = f"/sys/fs/cgroup{path}"
            if os.path.exists(f"{folder}/cgroup.freeze"):
                events = f"{folder}/cgroup.events"
                return _Control(f"{folder}/cgroup.freeze", ("1", "0"), (events, "frozen 1"))
    return None


def _cgroups(process: str) -> dict[str, str]:
    """Return the path of a process's cgroup by controller; "" is that of cgroups 2."""
    fields = (line.split(":", 2) for line in _read(f"/proc/{process}/cgroup").splitlines())
    return {parts[1]: parts[2] for parts in fields if len(parts) == 3}


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
