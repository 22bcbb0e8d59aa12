"""The OCI runtime that runs a bundle: runc or crun, which this machine has installed."""

import os
import shutil

from msgspec import Struct

from ocitool.containers.lifecycle.state import LOG, PID
from ocitool.containers.records import Container
from ocitool.errors import NotFound, Refused
from ocitool.fsops import Directory, remove_tree
from ocitool.oci.quoting import quoted
from ocitool.programs import run_program

_KNOWN = ("runc", "crun")
# Where the programs of root lie, which the path of other users often lacks.
_MORE = "/usr/local/sbin:/usr/sbin:/sbin"
_STATE = "state"


class Runtime(Struct, frozen=True, kw_only=True):
    """A runtime by its path, and the folder of a run in which it keeps its state."""

    program: str
    folder: str

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return os.path.basename(self.program)

    def run(self, container: Container) -> list[str]:
        """Return the command that runs a container to its end and writes its process ID first."""
        words = ("run", "--bundle", container.bundle, "--pid-file", f"{self.folder}/{PID}")
        # The log has what it says of itself, apart from the output of the container.
        return [*self._called(), "--log", f"{self.folder}/{LOG}", *words, container.id]

    def delete(self, container: Container) -> list[str]:
        """Return the command that ends and forgets a container."""
        return [*self._called(), "delete", "--force", container.id]

    def _called(self) -> list[str]:
        return [self.program, "--root", f"{self.folder}/{_STATE}"]


def find_runtime(container: Container, folder: str, *, named: str | None = None) -> Runtime:
    """Return the runtime to use: the one that was named, else runc, else crun.

    NotFound if none is installed, Refused if only one is that cannot run this bundle.
    """
    for name in _KNOWN if named is None else (named,):
        program = _installed(name)
        if program is None:
            continue
        if named is None and name == "crun" and container.tree is not None:
            raise Refused(
                f"only crun is installed, which cannot mount the overlay of {container.name}",
                hint="install runc, make the container with --copy, or try --runtime crun",
            )
        return Runtime(program=os.path.abspath(program), folder=folder)
    if named is not None:
        raise NotFound(f"{quoted(named)} is not a program here", hint="give its path")
    raise NotFound(
        "neither runc nor crun is installed",
        hint="install one of them (Debian: `apt-get install runc`), or name one with --runtime",
    )


def other_runtime(failed: Runtime, container: Container) -> str | None:
    """Return another known runtime that is installed and can run this bundle; None: none."""
    for name in _KNOWN:
        able = name != "crun" or container.tree is None
        if able and name != failed.name and _installed(name) is not None:
            return name
    return None


def _installed(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=_MORE)


def forget_run(run: Directory, container: Container, *, named: str | None = None) -> None:
    """Remove what runtimes still keep of a run: they end it and its control groups if need be.

    They do that themselves, unless they were killed. `named` is a runtime besides the known ones.
    """
    if run.kind(_STATE) != "folder":
        return
    with run.subdirectory(_STATE) as state:
        left = state.names()
    for name in dict.fromkeys([*([named] if named else []), *_KNOWN]) if left else ():
        program = _installed(name)
        if program is not None:
            # One that knows nothing of it fails, which is as well.
            run_program(Runtime(program=program, folder=run.path).delete(container))
    remove_tree(run, _STATE)
