"""Running the real command in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fixtures.picture import on_a_terminal
from tests.support import forked

ROOT = Path(__file__).resolve().parent.parent.parent
FIXTURES = ROOT / "fixtures"


def environment(store: Path) -> dict[str, str]:
    """Return this process's environment with a store and a cache of the test's own alone."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("OCITOOL_") and key not in ("NO_COLOR", "COLUMNS", "TMPDIR")
    }
    own = {"OCITOOL_STORE": str(store), "XDG_CACHE_HOME": str(store.parent / ".cache")}
    return {**kept, **own, "PYTHONPATH": str(ROOT)}


@dataclass(frozen=True, slots=True)
class Done:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> object:
        """The one JSON document on stdout."""
        assert self.out.isascii()
        return json.loads(self.out)


class Command:
    """`ocitool` with a store of its own."""

    def __init__(self, store: Path, cwd: Path) -> None:
        self.store = store
        self.cwd = cwd

    def __call__(
        self, *arguments: str | Path, stdin: bytes = b"", variables: Mapping[str, str] | None = None
    ) -> Done:
        """Run the command to its end."""
        done = self.run_bytes(*arguments, stdin=stdin, variables=variables)
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def on_terminal(self, *arguments: str | Path, columns: int = 80, **variables: str) -> str:
        """Run the command on a terminal; return what is seen there, with its escape codes."""
        shown = {"COLUMNS": str(columns), "TERM": "xterm-256color", **variables}
        env = {**environment(self.store), **shown}
        words = [*map(str, arguments)]
        if forked.can_fork(variables):
            screen = forked.on_a_terminal(words, cwd=self.cwd, env=env)
        else:
            screen = on_a_terminal([sys.executable, "-m", "ocitool", *words], env)
        return screen.replace("\r\n", "\n")

    def run_bytes(
        self, *arguments: str | Path, stdin: bytes = b"", variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the command and return its output as bytes."""
        changed = variables or {}
        env = {**environment(self.store), **changed}
        if forked.can_fork(changed):
            return forked.run([*map(str, arguments)], cwd=self.cwd, env=env, stdin=stdin)
        return subprocess.run(
            [sys.executable, "-m", "ocitool", *map(str, arguments)],
            cwd=self.cwd,
            env=env,
            input=stdin,
            capture_output=True,
            check=False,
        )
