"""Credential helpers: programs named docker-credential-X that keep secrets elsewhere.

The protocol of docker-credential-helpers: the argument is the action, the rest is on stdin, and
errors are text on stdout.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ocitool.oci.quoting import quoted
from ocitool.places.registry.credentials.credential import CredentialProblem

SECONDS = 30.0
_PREFIX = "docker-credential-"
_NOT_FOUND = "credentials not found"
_SHOWN = 200


class HelperMissing(CredentialProblem):
    """There is no such program on PATH."""


@dataclass(frozen=True, slots=True)
class CredentialHelper:
    """A helper by the name that files give it, such as "pass". Run anew for each call.

    Nothing secret is ever in its arguments. Raises HelperMissing, and CredentialProblem when the
    helper fails, takes more than `seconds`, or breaks the protocol.
    """

    name: str
    environment: Mapping[str, str] = field(repr=False)
    seconds: float = SECONDS

    @property
    def program(self) -> str:
        """The program's name."""
        return f"{_PREFIX}{self.name}"

    def get(self, server: str) -> tuple[str, str] | None:
        """Return (user, secret) for a server, or None when the helper has none."""
        answer = self._run("get", server)
        if answer is None:
            return None
        fields = self._decode(answer)
        user, secret = fields.get("Username"), fields.get("Secret")
        if not isinstance(user, str) or not isinstance(secret, str):
            raise CredentialProblem(f"{self.program} gave an answer without a name and a secret")
        return (user, secret) if secret else None

    def store(self, server: str, user: str, secret: str) -> None:
        """Keep a secret, over what the server had."""
        given = json.dumps({"ServerURL": server, "Username": user, "Secret": secret})
        self._run("store", given, hidden=(json.dumps(secret)[1:-1], secret))

    def erase(self, server: str) -> bool:
        """Forget a server's secret; False when there was none."""
        return self._run("erase", server) is not None

    def servers(self) -> tuple[str, ...]:
        """Return the servers that the helper has a secret for."""
        return tuple(self._decode(self._run("list", "") or "{}"))

    def _run(self, action: str, given: str, hidden: Sequence[str] = ()) -> str | None:
        """Return what the helper printed; None when it says that there is no such credential.

        The texts in `hidden` appear in no error.
        """
        path = shutil.which(self.program, path=self.environment.get("PATH", os.defpath))
        if path is None:
            raise HelperMissing(f"{self.program} is not on PATH")
        try:
            done = subprocess.run(  # noqa: S603 - no shell; the name is from the user's own file
                [path, action],
                input=given.encode("utf-8", "surrogateescape"),
                capture_output=True,
                timeout=self.seconds,
                env=dict(self.environment),
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CredentialProblem(
                f"{self.program} {action} did not answer in {self.seconds:g} s"
            ) from None
        except OSError as error:
            raise CredentialProblem(f"{self.program} cannot be run: {error.strerror}") from error
        output = done.stdout.decode("utf-8", "replace").strip()
        if done.returncode == 0:
            return output
        if _NOT_FOUND in output.lower():
            return None
        reason = _reason(output, done.stderr, done.returncode, hidden)
        raise CredentialProblem(f"{self.program} {action} failed: {reason}")

    def _decode(self, answer: str) -> Mapping[str, object]:
        # What a helper prints may be secret, even where it is not JSON.
        try:
            value = json.loads(answer)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise CredentialProblem(f"{self.program} gave an answer that is not a JSON object")
        return value


def _reason(output: str, errors: bytes, code: int, hidden: Sequence[str]) -> str:
    """Return what a failed helper said, or its exit code; a JSON answer may hold a secret."""
    said = "" if output.startswith("{") or '"Secret"' in output else output
    text = said or errors.decode("utf-8", "replace").strip()
    for secret in hidden:
        text = text.replace(secret, "***") if secret else text
    return quoted(text[:_SHOWN]) if text else f"exit code {code}"
