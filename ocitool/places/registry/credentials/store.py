"""Keeping and forgetting credentials: what `login` and `logout` change.

A credential is stored where docker would store it: in the helper that the file names for the
registry, else in the file. All else in the file stays as it is.
"""

import base64
import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ocitool.fsops import Directory, TemporaryFile
from ocitool.places.registry.credentials.chain import explain
from ocitool.places.registry.credentials.credential import Credential, CredentialProblem
from ocitool.places.registry.credentials.file import (
    OUR_KEY,
    SERVERS_KEY,
    CredentialFile,
    HelperSetting,
)
from ocitool.places.registry.credentials.helper import CredentialHelper
from ocitool.places.registry.credentials.keys import (
    has_namespace,
    host_of,
    is_about,
    server_key,
    server_keys,
)
from ocitool.places.registry.credentials.locations import written_path

_PRIVATE_FILE, _PRIVATE_FOLDER = 0o600, 0o700


class CredentialStore:
    """The file that holds our credentials, and the helpers that it names.

    A change is atomic and durable, waits for those of other ocitool processes, and leaves the
    file readable by its owner alone. A symbolic link is followed. Raises CredentialProblem when
    the file or a helper stands in the way, and StorageError.
    """

    def __init__(
        self, *, authfile: str | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self._environment = os.environ if environment is None else environment
        self.path = written_path(self._environment, authfile)

    def helper(self, domain: str) -> str | None:
        """Return the name of the helper that the file names for a registry."""
        setting = self._read().helper(domain)
        return setting.name if setting is not None else None

    def save(
        self,
        domain: str,
        credential: Credential,
        token_servers: Sequence[str] = (),
        *,
        namespace: str = "",
    ) -> str:
        """Store a registry's credential, replacing an older one; return where it is kept.

        `token_servers` are hosts that may see it from now on, beside the registry's own. What is
        stored already is not written again. That for a `namespace` of the registry is always in
        the file: helpers know only hosts.
        """
        key = server_key(domain, namespace)
        setting = self._read().helper(domain) if not namespace else None
        # A new password alone forgets none of them.
        servers = {server_key(domain): list(token_servers)} if token_servers else {}
        if setting is None:
            self._change(lambda auths: auths.update({key: _entry(credential)}), servers)
            return self.path
        with self._helper(setting) as helper:
            helper.store(key, *credential.pair)
        # As docker does: an empty entry tells for which registries there was a login.
        self._change(lambda auths: auths.update({key: {}}), servers)
        return f"helper {helper.program}"

    def erase(self, domain: str, namespace: str = "") -> bool:
        """Forget a registry's credential, however it is spelled; False when there was none."""
        file = self._read()
        has_erased = False
        setting = file.helper(domain) if not namespace else None
        if setting is not None:
            with self._helper(setting) as helper:
                for key in server_keys(domain):
                    has_erased = helper.erase(key) or has_erased
        keys = [key for key in file.section("auths") if is_about(key, domain, namespace)]
        self._drop(keys)
        return bool(keys) or has_erased

    def erase_all(self) -> tuple[str, ...]:
        """Forget every credential of the file and of its helpers; return the names they had."""
        file = self._read()
        names = dict.fromkeys(file.section("auths"))
        for server, setting in file.helpers():
            with self._helper(setting) as helper:
                for name in (server,) if server is not None else helper.servers():
                    if helper.erase(name):
                        names[name] = None
        self._drop(file.section("auths"))
        return tuple(names)

    def _read(self) -> CredentialFile:
        return CredentialFile.read(self.path) or CredentialFile(self.path, {})

    @contextlib.contextmanager
    def _helper(self, setting: HelperSetting) -> Iterator[CredentialHelper]:
        try:
            yield CredentialHelper(setting.name, self._environment)
        except CredentialProblem as problem:
            raise explain(problem, setting, self.path) from problem

    def _drop(self, keys: Iterable[str]) -> None:
        dropped = frozenset(keys)
        if dropped:
            self._change(
                lambda auths: [auths.pop(key, None) for key in dropped],
                {server_key(host_of(key)): [] for key in dropped if not has_namespace(key)},
            )

    def _change(
        self,
        change: Callable[[dict[str, object]], object],
        token_servers: Mapping[str, list[str]],
    ) -> None:
        """Write the file with its `auths` and token servers changed; all else in it stays."""
        if _changed(self._read(), change, token_servers) == self._read().document:
            return
        real = os.path.realpath(self.path)
        with Directory.create(os.path.dirname(real), _PRIVATE_FOLDER) as folder:
            # Not every file system has locks; without one, the last of two logins counts.
            with contextlib.suppress(OSError):
                fcntl.flock(folder.descriptor, fcntl.LOCK_EX)
            document = _changed(self._read(), change, token_servers)
            _write(folder, os.path.basename(real), document)


def _changed(
    file: CredentialFile,
    change: Callable[[dict[str, object]], object],
    token_servers: Mapping[str, list[str]],
) -> Mapping[str, object]:
    """Return a file's document with its `auths` changed, and the token servers of registries."""
    auths = dict(file.section("auths"))
    change(auths)
    document = {**file.document, "auths": auths}
    ours = document.pop(OUR_KEY, None)
    ours = dict(ours) if isinstance(ours, dict) else {}
    known = ours.pop(SERVERS_KEY, None)
    servers = {**(known if isinstance(known, dict) else {}), **token_servers}
    servers = {key: hosts for key, hosts in servers.items() if hosts}
    ours |= {SERVERS_KEY: servers} if servers else {}
    return {**document, **({OUR_KEY: ours} if ours else {})}


def _write(folder: Directory, name: str, document: Mapping[str, object]) -> None:
    temporary = TemporaryFile.create(folder, ".ocitool-")
    try:
        temporary.write(json.dumps(document, indent="\t").encode("ascii") + b"\n")
        temporary.publish(folder, name, mode=_PRIVATE_FILE)
    finally:
        temporary.discard()
    folder.sync()


def _entry(credential: Credential) -> dict[str, str]:
    """Return the entry of a credential as docker writes it."""
    entry = {}
    if credential.username is not None or credential.password is not None:
        pair = f"{credential.username or ''}:{credential.password or ''}"
        data = pair.encode("utf-8", "surrogateescape")
        entry["auth"] = base64.b64encode(data).decode("ascii")
    if credential.identity_token is not None:
        entry["identitytoken"] = credential.identity_token
    if credential.registry_token is not None:
        entry["registrytoken"] = credential.registry_token
    return entry
