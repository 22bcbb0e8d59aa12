"""The text that names a place: `oci:DIR:TAG`, `docker-archive:FILE`, `./file.tar`, a name.

Only the text decides what kind of place is meant; a path is then sniffed by its content.
"""

import fnmatch
import os
import re
from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from ocitool.errors import NotFound, UsageError
from ocitool.oci import Reference
from ocitool.oci.quoting import quoted
from ocitool.oci.reference import DEFAULT_DOMAIN, is_bare_host, typed_digest

# Not compiled here: most commands need none of these.
_ADDRESS = r"(?i:(?:https?|ftp|oci)://(?!/)|file://)"
_FILE_NAME = r"\.(tar|tgz|gz|bz2|xz|zst|zip)(\?.*)?$"
_ALL = "*"
_WILDCARD = r"[*?\[]"
_BEFORE_PATH = r":(?=/(?!/))"
_AT_DIGEST = r"@(sha256|sha512):"


class PlaceKind(StrEnum):
    """What kind of place a text means."""

    STORE = "store"
    LAYOUT = "oci"
    OCI_ARCHIVE = "oci-archive"
    DOCKER_ARCHIVE = "docker-archive"
    FOLDER = "dir"
    DOCKER_ENGINE = "docker-daemon"
    PODMAN_ENGINE = "podman"
    CONTAINERD = "containerd"
    SSH = "ssh"
    REGISTRY = "docker"
    PATH = "path"


FILES = (PlaceKind.PATH, PlaceKind.OCI_ARCHIVE, PlaceKind.DOCKER_ARCHIVE)
"""Places that are written as one file."""
ENGINES = (PlaceKind.DOCKER_ENGINE, PlaceKind.PODMAN_ENGINE)
"""Places that are read and written over the socket of an engine."""
RECEIVERS = (*ENGINES, PlaceKind.CONTAINERD)
"""Places that are sent an archive."""
_PREFIXES = {
    **{f"{kind.value}:": kind for kind in PlaceKind if kind is not PlaceKind.PATH},
    "docker:": PlaceKind.REGISTRY,
    "registry:": PlaceKind.REGISTRY,
}
_SHOWN = [*(f"{p}//" if p in ("docker:", "ssh:") else p for p in _PREFIXES if p != "registry:")]
_ELSEWHERE = ("containers-storage:",)
_UNLIKE_NAMES = ("oci-archive", "docker-archive", "docker-daemon", "podman")
_CLOSE = 0.8
"""How similar a word is to a prefix that it is taken for; 1 is equal."""


class Place(Struct, frozen=True, kw_only=True):
    """A place and the image in it that is meant. `name` is a name, tag or digest, or None.

    `path` is the file or folder; it is empty for the store and for engines. "-" is standard input
    or output. Of another machine, whose address `name` is, it is the folder of the store, or empty.
    In a registry it is the prefix below which images go, if the text ends with a slash.
    """

    kind: PlaceKind
    path: str = ""
    name: str | None = None
    text: str = ""


def parse_place(text: str) -> Place:
    """Return the place that a text means. UsageError for an empty or unknown one."""
    _refuse_address(text)
    for prefix in _ELSEWHERE:
        if text.startswith(prefix):
            raise UsageError(
                f"{quoted(text)}: {prefix.rstrip(':/')} is not a place that ocitool reaches",
                hint=f"use one of {', '.join(_SHOWN)} or a path that begins with ./ or /",
            )
    if text == "-" or text.startswith(("/", "./", "../")):
        return path_place(text)
    for prefix, kind in _PREFIXES.items():
        if text.startswith(prefix):
            return _prefixed(kind, text.removeprefix(prefix), text)
    _refuse_mistyped(text)
    if not text:
        raise UsageError("the name of the image is empty", hint="is a variable of the shell unset?")
    return Place(kind=PlaceKind.STORE, name=text, text=text)


def _refuse_address(text: str) -> None:
    """Refuse addresses of the web and Helm's `oci://`, with what to write instead."""
    scheme = re.match(_ADDRESS, text)
    if scheme is None:
        return
    rest = text[scheme.end() :]
    if scheme[0].lower() == "file://":
        hint = f"for the file write /{rest.lstrip('/')}"
    elif scheme[0].lower() == "oci://" or not re.search(_FILE_NAME, rest):
        hint = f"for an image in a registry write docker://{rest}"
    else:
        import shlex

        hint = f"download it first: curl -fL {shlex.quote(text)} | ocitool load"
    raise UsageError(f"{quoted(text)} is an address, not an image or a file", hint=hint)


def _refuse_mistyped(text: str) -> None:
    """Refuse what is nearly a prefix: as a name it would be looked for, or even written.

    Before a path it cannot be a name; else it has to be close to a prefix that is like no name.
    """
    word, colon, rest = text.partition(":")
    if not colon or os.path.lexists(text):
        return
    before_path = rest.startswith(("/", "./", "../"))
    kinds = [prefix.rstrip(":") for prefix in _PREFIXES] if before_path else _UNLIKE_NAMES
    meant = max(kinds, key=lambda kind: _likeness(word.lower(), kind))
    if _likeness(word.lower(), meant) >= _CLOSE:
        other = f" An image of that name is store:{text} or docker://{text}"
        raise UsageError(
            f"{quoted(text)}: {quoted(word)} is no kind of place",
            hint=f"did you mean {meant}:{rest}?{'' if before_path else other}",
        )


def _likeness(word: str, meant: str) -> float:
    """Return how much a word looks like another one, mistyped; 1 is the word itself."""
    if not word.replace("-", "").isalpha() or word.count("-") > meant.count("-"):
        return 0.0
    shared = sum(min(word.count(letter), meant.count(letter)) for letter in set(word))
    most = 2 * shared / (len(word) + len(meant))
    if most in (0.0, 1.0) or most < _CLOSE:
        return most
    from difflib import SequenceMatcher

    return SequenceMatcher(None, word, meant).ratio()


def path_place(text: str) -> Place:
    """Return the file or folder that a text means, or with `@DIGEST` behind it an image in it."""
    at = re.search(_AT_DIGEST, text)
    if at is None or os.path.lexists(text):
        return Place(kind=PlaceKind.PATH, path=text, text=text)
    digest = str(typed_digest(text[at.start() + 1 :], text))
    return Place(kind=PlaceKind.PATH, path=text[: at.start()], name=digest, text=text)


def source_and_path(text: str) -> tuple[str, str | None]:
    """Return a source, and the path in its image that follows it: `app:1.0:/etc`.

    The path begins at the first colon before a slash that ends neither a prefix such as `oci:` nor
    the `docker:` of `docker://`. It is None where there is none.
    """
    for found in re.finditer(_BEFORE_PATH, text):
        head = text[: found.start()]
        if head and f"{head}:" not in _PREFIXES and not _is_file_beyond(text, found.start()):
            return head, text[found.start() + 1 :]
    return text, None


def _is_file_beyond(text: str, colon: int) -> bool:
    """Tell whether a path on the disk has the colon in it."""
    is_path = text.startswith(("/", "./", "../"))
    return is_path and not os.path.lexists(text[:colon]) and os.path.lexists(text)


def registry_reference(text: str) -> Reference:
    """Return the name in a registry that a text means, with docker:// or registry: or without."""
    if text.startswith(("/", "./", "../")):
        raise UsageError(
            f"{quoted(text)} is a path, not a name in a registry",
            hint="push sends one SRC to names: ocitool push ./FILE HOST/NAME:TAG; `ocitool copy` "
            "writes to files and folders",
        )
    name = text.removeprefix("registry:").removeprefix("docker:").removeprefix("//")
    other = next((p for p in _PREFIXES if name.startswith(p)), None)
    if other is not None:
        # It would be a repository of Docker Hub and its tag.
        raise UsageError(
            f"{quoted(text)} is not a name in a registry",
            hint=f"`ocitool copy` reads and writes {other}…",
        )
    if name == text:
        _refuse_mistyped(text)
    refuse_bare_host(name)
    return Reference.parse(name)


def untagged_reference(text: str) -> Reference:
    """Return the repository of a registry that a text means; UsageError where it has a tag."""
    found = registry_reference(text)
    if ":" in text.rpartition("/")[2] or "@" in text:
        raise UsageError(
            f"{quoted(text)} has a tag or a digest, and --by-digest pushes without",
            hint=f"write {found.familiar_repository}",
        )
    return found.without_tag()


def refuse_bare_host(name: str, prefix: str = "") -> None:
    """Raise UsageError for the host of a registry in place of a name in it.

    As a name it would be a repository of Docker Hub and its tag. `prefix` stands before names.
    """
    host = name.rstrip("/")
    if is_bare_host(host):
        raise UsageError(
            f"{quoted(name)} is the host of a registry, without the name of an image",
            hint=f"write {prefix}{host}/NAME:TAG, for example {prefix}{host}/app:1.0",
        )


def is_in_registry(text: str) -> bool:
    """Tell whether a text names something in a registry by its prefix."""
    return text.startswith(("docker:", "registry:"))


class TagPattern(Struct, frozen=True, kw_only=True):
    """Several tags of one repository: those that match a pattern of the shell, such as `v1.*`.

    `repository` is the repository as a reference; its tag says nothing.
    """

    repository: Reference
    pattern: str = _ALL

    def among(self, tags: Iterable[str]) -> list[Reference]:
        """Return the images whose tags match; NotFound when there is none."""
        names = [tag for tag in tags if fnmatch.fnmatchcase(tag, self.pattern)]
        if not names:
            which = "tags" if self.pattern == _ALL else f"tag that matches {self.pattern!r}"
            raise NotFound(
                f"{self.repository.repository} has no {which}",
                hint=f"`ocitool registry tags {self.repository.familiar_repository}` lists them",
            )
        return [self.repository.with_tag(name) for name in names]


def tag_pattern(text: str, *, all_tags: bool = False) -> TagPattern | None:
    """Return the tags that a name in a registry means together, or None when it means one image.

    UsageError for `all_tags` with a tag or digest, and for a pattern that is not of a tag.
    """
    head, colon, tag = text.rpartition(":")
    has_tag = bool(colon) and "/" not in tag
    if all_tags:
        if has_tag or "@" in text:
            raise UsageError(
                "--all-tags means every tag of a repository: give its name without a tag"
            )
        return TagPattern(repository=registry_reference(text))
    is_wild = has_tag and re.search(_WILDCARD, tag)
    if not is_wild and "*" not in text and "?" not in text:
        return None
    if not is_wild or "*" in head or "?" in head or "@" in text:
        raise UsageError(
            f"{quoted(text)}: a pattern stands for tags only", hint="such as 'ghcr.io/a/b:v1.*'"
        )
    return TagPattern(repository=registry_reference(head), pattern=tag)


def registry_host(text: str) -> str:
    """Return the registry that a text means, such as `localhost:5000`."""
    name = text.partition("://")[2].rstrip("/") if "://" in text else text.rstrip("/")
    if name in ("index.docker.io", "registry-1.docker.io"):
        name = DEFAULT_DOMAIN
    found = Reference.parse(f"{name}/x") if name and "/" not in name else None
    if found is None or found.domain != name:
        raise UsageError(
            f"{quoted(text)} is not the host of a registry",
            hint="such as ghcr.io or localhost:5000",
        )
    return found.domain


def _prefixed(kind: PlaceKind, rest: str, text: str) -> Place:
    if kind in RECEIVERS:
        return Place(kind=kind, name=rest or None, text=text)
    if kind is PlaceKind.SSH:
        host, slash, path = rest.removeprefix("//").partition("/")
        # As in git: /~/x is the folder x in the home folder there, where ssh begins.
        path = path.removeprefix("~/") if path.startswith("~/") else f"{slash}{path}".rstrip("/")
        return Place(kind=kind, name=host, path=path, text=text)
    if kind is PlaceKind.REGISTRY and rest.endswith("/"):
        return Place(kind=kind, path=rest.removeprefix("//"), text=text)
    if kind is PlaceKind.REGISTRY:
        return Place(kind=kind, name=str(registry_reference(text)), text=text)
    if not rest:
        hint = f"write {kind.value}:PATH"
        if kind is PlaceKind.STORE:
            hint = "write store:NAME; to bring everything into the store use `ocitool load`"
        raise UsageError(f"{quoted(text)} names no image or path", hint=hint)
    if kind is PlaceKind.STORE:
        return Place(kind=kind, name=rest, text=text)
    if kind is PlaceKind.FOLDER:
        return Place(kind=kind, path=rest, text=text)
    at = re.search(_AT_DIGEST, rest)
    if at is not None and ":" not in rest[: at.start()]:
        digest = str(typed_digest(rest[at.start() + 1 :], text))
        return Place(kind=kind, path=rest[: at.start()], name=digest, text=text)
    path, _, name = rest.partition(":")
    if not path:
        raise UsageError(f"{quoted(text)} names no path", hint=f"write {kind.value}:PATH:NAME")
    return Place(kind=kind, path=path, name=name or None, text=text)
