"""containerd as a place that takes archives, through `ctr images import`.

Its own variables say which one is meant: CONTAINERD_ADDRESS, CONTAINERD_NAMESPACE and
CONTAINERD_SNAPSHOTTER, which `ctr` reads. Without the first, the usual sockets are tried.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Final, Self

from ocitool.errors import AccessDenied, OcitoolError, Unavailable
from ocitool.places.engine.endpoint import CONTAINERD_SOCKETS, EngineSystem, is_socket
from ocitool.programs import NotInstalled, run_program

_CTR: Final = "ctr"
_NAME_IT: Final = "name its socket in CONTAINERD_ADDRESS"


class Containerd:
    """A containerd, reached by `ctr`. Use it as a context manager. Not thread-safe."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        variables = os.environ if environment is None else environment
        self._environment = dict(variables)
        named = variables.get("CONTAINERD_ADDRESS", "").removeprefix("unix://")
        found = next(filter(is_socket, CONTAINERD_SOCKETS), CONTAINERD_SOCKETS[0])
        self._socket = named or found
        self._namespace = variables.get("CONTAINERD_NAMESPACE") or "default"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    @property
    def what(self) -> str:
        """What to call it in messages."""
        return f"the containerd at {self._socket}, namespace {self._namespace},"

    def system(self) -> EngineSystem:
        """Return what it runs on; it is not asked, for its socket is of this machine."""
        return EngineSystem(os="linux", has_classic_store=False)

    def load(self, pieces: Iterable[bytes]) -> tuple[str, ...]:
        """Import an archive and return what `ctr` says of it, a line each.

        When `pieces` raises, `ctr` is ended before it has seen the end of the archive. Unavailable
        or AccessDenied when there is no containerd to reach, OcitoolError when it refuses.
        """
        self._check()
        command = [_CTR, "--address", self._socket, "--namespace", self._namespace]
        try:
            done = run_program(
                [*command, "images", "import", "-"], pieces=pieces, environment=self._environment
            )
        except NotInstalled as error:
            raise Unavailable(
                "ctr, which imports into containerd, is not installed",
                hint="install it (Debian: containerd), or write a file with `ocitool save` and "
                "import it where ctr is: ctr images import FILE",
            ) from error
        if done.code != 0:
            raise self._failure(done.said or f"it ended with {done.code}")
        text = done.out.decode("utf-8", "replace")
        return tuple(filter(None, (line.strip() for line in text.splitlines())))

    def _check(self) -> None:
        """Say what is missing before anything is read: `ctr` itself would wait for the socket."""
        if not is_socket(self._socket):
            raise Unavailable(
                f"there is no containerd at {self._socket}", hint=f"start it, or {_NAME_IT}"
            )
        if not os.access(self._socket, os.R_OK | os.W_OK):
            raise AccessDenied(
                f"permission denied for {self._socket}", hint="be root, as ctr has to be"
            )

    def _failure(self, text: str) -> OcitoolError:
        last = text.splitlines()[-1].removeprefix("ctr: ")
        if "failed to dial" in text or "connection refused" in text:
            return Unavailable(f"{self.what} does not answer: {last}", hint=_NAME_IT)
        return OcitoolError(f"{self.what} refused the archive: {last}", hint=_advice(text))


def _advice(text: str) -> str | None:
    if "no match for platform" in text or "filtered out" in text:
        return "the image has no variant for this machine"
    if "snapshotter" in text or "overlay" in text:
        return "name another snapshotter in CONTAINERD_SNAPSHOTTER, such as native"
    if "no space left" in text:
        return "free some space where containerd keeps its images"
    return None
