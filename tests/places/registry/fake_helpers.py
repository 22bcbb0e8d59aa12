"""Credential helpers as real programs, in a folder of the test's."""

import json
import sys
from pathlib import Path

_KEEPER = """#!{python}
import json, pathlib, sys
kept, log = pathlib.Path({kept!r}), pathlib.Path({log!r})
action, given = sys.argv[1], sys.stdin.read()
with log.open("a") as file:
    file.write(json.dumps([sys.argv[1:], given]) + chr(10))
secrets = json.loads(kept.read_text())
if action == "list":
    print(json.dumps({{server: user for server, (user, _) in secrets.items()}}))
elif action == "store":
    new = json.loads(given)
    secrets[new["ServerURL"]] = [new["Username"], new["Secret"]]
elif given not in secrets:
    print("credentials not found in native keychain")
    sys.exit(1)
elif action == "get":
    user, secret = secrets[given]
    print(json.dumps({{"ServerURL": given, "Username": user, "Secret": secret}}))
else:
    del secrets[given]
kept.write_text(json.dumps(secrets))
"""


class Helpers:
    """A folder for PATH with helpers in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def script(self, name: str, text: str) -> None:
        """Add a helper that is a shell script."""
        self._write(name, f"#!/bin/sh\n{text}\n")

    def keeper(self, name: str, **secrets: tuple[str, str]) -> None:
        """Add a helper that works, with secrets for servers from the start."""
        self._kept(name).write_text(json.dumps(secrets))
        text = _KEEPER.format(
            python=sys.executable, kept=str(self._kept(name)), log=str(self._log(name))
        )
        self._write(name, text)

    def secrets(self, name: str) -> dict[str, list[str]]:
        """Return what a keeper keeps: [user, secret] by server."""
        found: dict[str, list[str]] = json.loads(self._kept(name).read_text())
        return found

    def calls(self, name: str) -> list[tuple[list[str], str]]:
        """Return the arguments and the input of every call of a keeper."""
        if not self._log(name).exists():
            return []
        lines = self._log(name).read_text().splitlines()
        return [(arguments, given) for arguments, given in map(json.loads, lines)]

    def _write(self, name: str, text: str) -> None:
        path = self.folder / f"docker-credential-{name}"
        path.write_text(text)
        path.chmod(0o755)

    def _kept(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"
