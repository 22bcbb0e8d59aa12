"""Which path of a request means which repository (the names of a store have a registry).

A path whose first part is a registry is the whole name. Any other path means the repository of the
registry that pushes are stored under, else the one repository that has this path in any registry.
"""

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from ocitool.errors import UsageError
from ocitool.oci.reference import DEFAULT_DOMAIN, Reference, typed_host
from ocitool.serving.messages import Refusal

LOCALHOST = "localhost"
_LONGEST = 255
_PART = r"[a-z0-9]+(?:(?:[_.]|__|-+)[a-z0-9]+)*"
_IS_PART = re.compile(_PART).fullmatch
_PATH = re.compile(rf"(?:[a-zA-Z0-9.-]+:[0-9]+/)?{_PART}(?:/{_PART})*").fullmatch


class NameRules(Struct, frozen=True, kw_only=True):
    """How paths and names belong together.

    `prefix` stands before every path; `only` are patterns of the repositories that are served;
    what is pushed under a path without a registry is stored under the registry `host`.
    """

    prefix: str = ""
    only: tuple[str, ...] = ()
    host: str = LOCALHOST

    def serves(self, repository: str) -> bool:
        """Tell whether a repository, by its full name, is served."""
        path = repository.partition("/")[2]
        return not self.only or any(
            fnmatch.fnmatchcase(text, pattern)
            for pattern in self.only
            for text in (repository, path)
        )

    def published(self, repository: str, paths: Mapping[str, Sequence[str]]) -> str | None:
        """Return the path by which a list names a repository; None where no client can say it.

        A registry with a port or an IPv6 address is no part of a path (distribution-spec, "Pulling
        manifests"): then the path without it, while that means this repository. `paths` are the
        repositories there are.
        """
        host, _, path = repository.partition("/")
        shown = path if host == self.host else repository
        if shown == repository and not _IS_PART(host):
            if typed_host(path) is not None or list(paths.get(path, ())) != [repository]:
                return None
            shown = path
        return f"{self.prefix}/{shown}" if self.prefix else shown


def check_path(path: str) -> None:
    """Refuse what cannot be the name of a repository (distribution-spec, "Pulling manifests")."""
    if len(path) > _LONGEST or not _PATH(path):
        raise Refusal(400, "NAME_INVALID", "this is not the name of a repository")


def by_path(repositories: Iterable[str]) -> dict[str, list[str]]:
    """Return the repositories, by their full names, that have each path in their registries."""
    found: dict[str, list[str]] = {}
    for name in repositories:
        found.setdefault(name.partition("/")[2], []).append(name)
    return found


def clashes(paths: Mapping[str, Sequence[str]], rules: NameRules) -> list[Sequence[str]]:
    """Return the groups of repositories that can be reached only by their full names."""
    return [
        names
        for path, names in paths.items()
        if len(names) > 1 and f"{rules.host}/{path}" not in names
    ]


def repository_of(
    path: str, registry: str | None, paths: Mapping[str, Sequence[str]], rules: NameRules
) -> str:
    """Return the full name of the repository that a request means, which may not exist.

    `registry` is what the client says in `ns`, as containerd does with a mirror; `paths` are the
    repositories there are. Refusal for what is no name, or the path of several.
    """
    check_path(path)
    bare = _without_prefix(path, rules.prefix)
    if registry is not None:
        return _full(f"{registry}/{bare}")
    if typed_host(bare) is not None:
        return _full(bare)
    own = _full(f"{rules.host}/{bare}")
    candidates = paths.get(bare, ())
    if own in candidates or not candidates:
        official = f"{DEFAULT_DOMAIN}/library/{bare}"
        is_official = own not in candidates and official in paths.get(f"library/{bare}", ())
        return official if is_official else own
    if len(candidates) > 1:
        raise Refusal(
            404,
            "NAME_UNKNOWN",
            f"{len(candidates)} registries have this repository: use one of the full names",
            detail={"repositories": list(candidates)},
        )
    return candidates[0]


def _without_prefix(path: str, prefix: str) -> str:
    if not prefix:
        return path
    if not path.startswith(f"{prefix}/"):
        raise Refusal(404, "NAME_UNKNOWN", "all repositories here begin with another path")
    return path[len(prefix) + 1 :]


def _full(name: str) -> str:
    try:
        return Reference.parse(name).repository
    except UsageError as error:
        raise Refusal(400, "NAME_INVALID", error.message) from None
