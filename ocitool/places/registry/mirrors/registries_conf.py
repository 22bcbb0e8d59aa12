"""registries.conf of podman, skopeo and buildah (containers-registries.conf(5), version 2)."""

import os
from collections.abc import Iterator, Mapping

from msgspec import Struct

from ocitool.errors import Refused
from ocitool.oci import Reference
from ocitool.places.registry.mirrors.endpoint import (
    Endpoint,
    configuration_folders,
    read_toml,
    tables,
)

_NAME = "registries.conf"
_WILDCARD = "*."


class Entry(Struct, frozen=True, kw_only=True):
    """One `[[registry]]`: what it is for, and the file that holds it."""

    prefix: str
    settings: Mapping[str, object]
    file: str

    def covers(self, name: str) -> bool:
        """Tell whether the entry is about a repository, by its full name."""
        if self.prefix.startswith(_WILDCARD):
            return name.partition("/")[0].partition(":")[0].endswith(self.prefix[1:])
        rest = name.removeprefix(self.prefix)
        return name.startswith(self.prefix) and (not rest or rest[0] == "/")

    def endpoint(self, name: str, settings: Mapping[str, object]) -> Endpoint:
        """Return where a table says that a repository is; by default where its name says."""
        covered = name.partition("/")[0] if self.prefix.startswith(_WILDCARD) else self.prefix
        location = str(settings.get("location") or covered)
        domain, _, path = (location.rstrip("/") + name.removeprefix(covered)).partition("/")
        return Endpoint(
            domain=domain,
            path=path,
            origin=self.file,
            is_insecure=settings.get("insecure") is True,
        )


def mirrors(
    reference: Reference, environment: Mapping[str, str]
) -> tuple[list[Endpoint], Endpoint | None]:
    """Return the mirrors for an image in their order, and where its registry is in truth.

    None where no file says anything about it. Refused where the registry is blocked.
    """
    entry = _entry(reference.repository, environment)
    if entry is None:
        return [], None
    if entry.settings.get("blocked") is True:
        raise Refused(
            f"{reference.familiar_repository} is blocked by {entry.file}",
            hint="--no-mirrors does not look at that file",
        )
    by_digest = entry.settings.get("mirror-by-digest-only") is True
    found = [
        entry.endpoint(reference.repository, table)
        for table in tables(entry.settings.get("mirror"))
        if _serves(table, reference, by_digest=by_digest)
    ]
    return found, entry.endpoint(reference.repository, entry.settings)


def _serves(table: Mapping[str, object], reference: Reference, *, by_digest: bool) -> bool:
    """Tell whether a mirror is for images by tag, or by digest, as this one is named."""
    wanted = "digest-only" if by_digest else str(table.get("pull-from-mirror") or "all")
    is_digest = reference.digest is not None
    return wanted == "all" or (wanted == "digest-only") == is_digest


def _entry(name: str, environment: Mapping[str, str]) -> Entry | None:
    """Return the entry with the longest prefix that covers a repository."""
    entries = {entry.prefix: entry for entry in _entries(environment) if entry.covers(name)}
    return max(entries.values(), key=lambda entry: len(entry.prefix), default=None)


def _entries(environment: Mapping[str, str]) -> Iterator[Entry]:
    """Yield the entries of all files; a later one replaces an earlier one of the same prefix."""
    for path in _files(environment):
        document = read_toml(path, b"registry")
        for table in tables(document.get("registry")) if document is not None else ():
            prefix = table.get("prefix") or table.get("location")
            if isinstance(prefix, str):
                yield Entry(prefix=prefix.rstrip("/"), settings=table, file=path)


def _files(environment: Mapping[str, str]) -> Iterator[str]:
    chosen = environment.get("CONTAINERS_REGISTRIES_CONF")
    folders = configuration_folders(environment, "containers")
    candidates = [chosen] if chosen else [os.path.join(folder, _NAME) for folder in folders]
    yield from [path for path in candidates if os.path.exists(path)][:1]
    for folder in reversed(folders):
        drop_ins = os.path.join(folder, f"{_NAME}.d")
        try:
            names = sorted(os.listdir(drop_ins))
        except OSError:
            continue
        yield from (os.path.join(drop_ins, name) for name in names if name.endswith(".conf"))
