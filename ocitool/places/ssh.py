"""ocitool on another machine, by the `ssh` command: its keys, agents, jump hosts and settings.

Errors there are told here: the message of the other side, with the kind that its exit code means.
"""

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from ocitool.errors import (
    AccessDenied,
    IntegrityError,
    NotFound,
    OcitoolError,
    Refused,
    StorageError,
    Unavailable,
    Unmet,
    UsageError,
)
from ocitool.oci.quoting import quoted
from ocitool.programs import Finished, NotInstalled, run_program

_HOST: Final = r"\[[\w:.%]+\]|[^@:/\[\]\s-][^@:/\[\]\s]*"
_ADDRESS: Final = rf"(?:([^@/\s]+)@)?({_HOST})(?::(\d{{1,5}}))?"

_FAILED: Final = 255
_NOT_FOUND: Final = (126, 127)
_USAGE: Final = 2
_KINDS: Final[dict[int, type[OcitoolError]]] = {
    3: Unmet,
    4: NotFound,
    5: AccessDenied,
    6: Refused,
    7: IntegrityError,
    8: Unavailable,
    9: StorageError,
}
_INSTALL: Final = (
    "install ocitool there, or bring it: `ocitool zipapp -o ocitool.pyz`, copy that file, and give "
    "--remote-ocitool 'python3 ocitool.pyz'"
)


class SshHost(Struct, frozen=True, kw_only=True):
    """A machine, as `ssh` knows it: a host or an alias of its configuration."""

    host: str
    user: str | None = None
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> "SshHost":
        """Return the machine in `[user@]host[:port]`; UsageError."""
        found = re.fullmatch(_ADDRESS, text)
        port = int(found[3]) if found is not None and found[3] else None
        if found is None or (found[1] or "").startswith("-") or (port or 0) >= 1 << 16:
            raise UsageError(
                f"{quoted(text)} is not a machine that ssh could reach",
                hint="write ssh://[USER@]HOST[:PORT][/STORE]",
            )
        return cls(host=found[2].strip("[]"), user=found[1], port=port)

    @property
    def words(self) -> list[str]:
        """The words that name it for `ssh`."""
        port = ["-p", str(self.port)] if self.port is not None else []
        user = ["-l", self.user] if self.user is not None else []
        return [*port, *user, "--", self.host]


class RemoteOcitool:
    """ocitool on another machine.

    `command` is what a shell there runs, such as "ocitool" or "sudo ocitool"; `store` the folder of
    its store, by default its own.
    """

    def __init__(
        self, host: SshHost, *, command: str = "ocitool", store: str | None = None
    ) -> None:
        self.host = host
        self._command = command
        self._store = store

    def run(self, *words: str, pieces: Iterable[bytes] | None = None) -> bytes:
        """Run a command there and return what it printed; `pieces` are its standard input.

        Unavailable when the machine cannot be reached or the connection breaks, NotFound when it
        has no ocitool, and what the command itself reports as the error that it means.
        """
        store = ["--store", self._store] if self._store is not None else []
        line = f"{self._command} {shlex.join(['--progress', 'none', *store, *words])}"
        try:
            done = run_program(["ssh", *self.host.words, line], pieces=pieces)
        except NotInstalled as error:
            raise NotInstalled(
                "ssh, which reaches the other machine, is not installed",
                hint="install it (Debian: openssh-client)",
            ) from error
        if done.code != 0:
            raise self._failure(done, words)
        return done.out

    def _failure(self, done: Finished, words: Sequence[str]) -> OcitoolError:
        host = self.host.host
        if done.code == _FAILED or done.code < 0:
            return _unreachable(host, done)
        if done.code in _NOT_FOUND:
            return NotFound(
                f"there is no {quoted(self._command)} on {host}: {done.reason}", hint=_INSTALL
            )
        if done.code == _USAGE and "No such " in done.said:
            return OcitoolError(
                f"the ocitool on {host} is too old: it does not know `{' '.join(words[:2])}`",
                hint=_INSTALL,
            )
        message, hint = _told(done)
        kind = _KINDS.get(done.code, OcitoolError)
        return kind(f"{host}: {message or f'ocitool ended with {done.code}'}", hint=hint)


def _unreachable(host: str, done: Finished) -> OcitoolError:
    said = done.reason
    if "Permission denied" in said or "Host key verification failed" in said:
        return AccessDenied(
            f"ssh may not log in to {host}: {said}", hint=f"try it by hand: ssh {host} true"
        )
    why = f": {said}" if said else ""
    return Unavailable(
        f"{host} cannot be reached, or the connection broke{why}",
        hint="run it again: only what is still missing there is sent; `ssh -v` tells more",
    )


def _told(done: Finished) -> tuple[str, str | None]:
    """Return the message of ocitool and its hint, which stand at the end of what it said."""
    lines = done.said.splitlines()
    begin = max((n for n, line in enumerate(lines) if line.startswith("ocitool: ")), default=None)
    if begin is None:
        return done.reason, None
    hint = " ".join(line.strip() for line in lines[begin + 1 :])
    return lines[begin].removeprefix("ocitool: "), hint or None
