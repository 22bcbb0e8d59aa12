"""The chain of sources where the credential for a repository is looked up."""

import os
import threading
from collections.abc import Callable, Mapping

from ocitool.errors import UsageError
from ocitool.places.registry.credentials.credential import (
    HELPER,
    TYPED,
    Credential,
    CredentialProblem,
)
from ocitool.places.registry.credentials.file import CredentialFile, HelperSetting
from ocitool.places.registry.credentials.helper import SECONDS, CredentialHelper, HelperMissing
from ocitool.places.registry.credentials.keys import server_keys
from ocitool.places.registry.credentials.locations import CredentialSource, sources

__all__ = ["Credential", "CredentialChain", "CredentialProblem"]


class CredentialChain:
    """Finds credentials: what was given, then the files of docker and podman and their helpers.

    `environment` is this process's unless it is given. Answers are cached, so that no helper is
    run twice for one question. `warn` is told, once each, of problems that a read tolerates.
    `ambient` is asked last: for what a job has by itself, by the host of the registry.
    Thread-safe.
    """

    def __init__(
        self,
        *,
        username: str | None = None,
        password: str | None = None,
        authfile: str | None = None,
        environment: Mapping[str, str] | None = None,
        warn: Callable[[str], None],
        ambient: Callable[[str], Credential | None] = lambda _: None,
        helper_seconds: float = SECONDS,
    ) -> None:
        if (username is None) != (password is None):
            raise UsageError("a user name and a password go together")
        self._given = None
        if username is not None and password is not None:
            self._given = Credential.of_pair(username, password, TYPED)
        self._given_for: dict[str, Credential] = {}
        self._environment = os.environ if environment is None else environment
        self._sources = tuple(sources(self._environment, authfile))
        self._helper_seconds = helper_seconds
        self._warn = warn
        self._ambient = ambient
        self._by_itself: dict[str, Credential | CredentialProblem | None] = {}
        self._warned: set[str] = set()
        self._lock = threading.Lock()
        self._files: dict[str, CredentialFile | CredentialProblem | None] = {}
        self._answers: dict[tuple[str, str], Credential | CredentialProblem | None] = {}

    def give(self, domain: str, username: str, password: str, origin: str) -> None:
        """Use a credential for one registry, before those that files and helpers have."""
        self._given_for[domain] = Credential.of_pair(username, password, origin)

    def find(self, domain: str, path: str, *, writing: bool) -> Credential | None:
        """Return the credential for a repository of a registry, or None for anonymous access.

        The first source that has a credential counts. A source or helper that fails is a warning
        for a read; when `writing` it raises AccessDenied, as a push must not become anonymous.
        """
        given = self._given or self._given_for.get(domain)
        if given is not None:
            return given
        with self._lock:
            for source in self._sources:
                file = self._read(source, writing=writing)
                found = self._find_in(file, domain, path, writing=writing) if file else None
                if found is not None:
                    return found
            return self._find_ambient(domain, writing=writing)

    def _find_ambient(self, domain: str, *, writing: bool) -> Credential | None:
        if domain not in self._by_itself:
            try:
                self._by_itself[domain] = self._ambient(domain)
            except CredentialProblem as problem:
                self._by_itself[domain] = problem
        found = self._by_itself[domain]
        if isinstance(found, CredentialProblem):
            self._tolerate(found, writing=writing)
            return None
        return found

    def token_servers(self, domain: str) -> tuple[str, ...]:
        """Return the token servers that a login allowed to see a registry's credential."""
        with self._lock:
            files = [self._read(source, writing=False) for source in self._sources]
        return tuple(host for file in files if file for host in file.token_servers(domain))

    def _read(self, source: CredentialSource, *, writing: bool) -> CredentialFile | None:
        if source.path not in self._files:
            try:
                self._files[source.path] = source.read()
            except CredentialProblem as problem:
                self._files[source.path] = problem
        found = self._files[source.path]
        if isinstance(found, CredentialProblem):
            self._tolerate(found, writing=writing)
            return None
        return found

    def _find_in(
        self, file: CredentialFile, domain: str, path: str, *, writing: bool
    ) -> Credential | None:
        """Ask the file for a part of the registry, the helper that it names, then the file."""
        looks: tuple[Callable[[], Credential | None], ...] = (
            lambda: file.entry(domain, path, of_namespace=True),
            lambda: self._by_helper(file, domain),
            lambda: file.entry(domain, path),
        )
        for look in looks:
            try:
                found = look()
            except CredentialProblem as problem:
                self._tolerate(problem, writing=writing)
                continue
            if found is not None:
                return found
        return None

    def _by_helper(self, file: CredentialFile, domain: str) -> Credential | None:
        setting = file.helper(domain)
        if setting is None:
            return None
        for server in server_keys(domain):
            answer = self._answer(setting, server, file.origin)
            if isinstance(answer, CredentialProblem):
                raise answer
            if answer is not None:
                return answer
        return None

    def _answer(
        self, setting: HelperSetting, server: str, origin: str
    ) -> Credential | CredentialProblem | None:
        key = setting.name, server
        if key not in self._answers:
            try:
                self._answers[key] = self._ask(setting, server)
            except CredentialProblem as problem:
                self._answers[key] = explain(problem, setting, origin)
        return self._answers[key]

    def _ask(self, setting: HelperSetting, server: str) -> Credential | None:
        helper = CredentialHelper(setting.name, self._environment, self._helper_seconds)
        pair = helper.get(server)
        return None if pair is None else Credential.of_pair(*pair, f"{HELPER}{helper.program}")

    def _tolerate(self, problem: CredentialProblem, *, writing: bool) -> None:
        if writing:
            raise CredentialProblem(problem.message, hint=problem.hint)
        if problem.message not in self._warned:
            self._warned.add(problem.message)
            self._warn(f"{problem.message}; continuing without it")


def explain(problem: CredentialProblem, setting: HelperSetting, origin: str) -> CredentialProblem:
    """Return the problem with the file that named the helper, and what can be done."""
    way_out = f"repair the helper, or remove `{setting.key}` there"
    if isinstance(problem, HelperMissing):
        text = f"{origin} names the credential helper docker-credential-{setting.name}"
        return CredentialProblem(f"{text}, which is not on PATH", hint=way_out)
    return CredentialProblem(f"{problem.message} ({origin} names it)", hint=way_out)
