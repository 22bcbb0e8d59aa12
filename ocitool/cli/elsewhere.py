"""A hint for an image that is not in the store: the engine that has it, or its registry."""

import re
import shlex
from collections.abc import Callable
from functools import wraps
from typing import Any

from ocitool.errors import NotFound, NotInStore

Command = Callable[..., None]
_SOURCES = ("sources", "names", "source", "arguments", "a")


def says_where_else(local: str, remote: str) -> Callable[[Command], Command]:
    """Make a command say where an image is that its store does not have.

    `local` and `remote` are commands with a SRC in place of the image: one for an image of an
    engine, one for an image of a registry.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def wrapper(*arguments: Any, **options: Any) -> None:
            try:
                command(*arguments, **options)
            except NotInStore as error:
                words = [_with_given(text, options) for text in (local, remote)]
                hint = _hint(error, _name(error, options), *words)
                raise NotFound(error.message, hint=hint) from error

        return wrapper

    return decorate


def _name(error: NotInStore, options: dict[str, Any]) -> str:
    """Return the image that was asked for; where there is no store at all, it is the first."""
    if error.name is not None:
        return error.name
    from ocitool.images.locations import source_and_path

    given = next((options[key] for key in _SOURCES if key in options), "")
    text = str(given[0] if isinstance(given, list) and given else given or "")
    return source_and_path(text)[0].removeprefix("store:")


def _with_given(text: str, options: dict[str, Any]) -> str:
    """Return a command with the paths and the destination that were given in their place."""
    given = _given(options)

    def fill(word: "re.Match[str]") -> str:
        value, scheme = given.get(word[2]), word[1] or ""
        if value is None:
            return word[0]
        return scheme + shlex.quote(value.removeprefix(scheme))

    return re.sub(r"(docker://)?\b(DST|DEST|PATH|FILE)\b", fill, text)


def _given(options: dict[str, Any]) -> dict[str, str | None]:
    from ocitool.images.locations import source_and_path

    path, target, output = (options.get(key) for key in ("path", "destination", "output"))
    inside = source_and_path(str(options.get("source") or ""))[1]
    if inside is not None:
        path, target = inside, path
    target = target or next(iter((options.get("arguments") or ())[1:2]), None)
    return {"PATH": path, "DEST": target, "DST": target, "FILE": None if output == "-" else output}


def _names_a_registry(name: str) -> bool:
    """Tell whether a name has the host of a registry, and does not go without it to Docker Hub."""
    from ocitool.oci import Reference

    return Reference.parse(name).domain == name.partition("/")[0]


def _hint(error: NotInStore, name: str, local: str, remote: str) -> str | None:
    from ocitool.images.elsewhere import engine_place
    from ocitool.images.lookup import full_name

    if name and (found := engine_place(name)) is not None:
        engine, place = found
        return f"{engine} has it: {local.replace('SRC', place)}"
    if full_name(name) is None or (error.is_near and not _names_a_registry(name)):
        return error.hint
    registry = f"if it is in a registry: {remote.replace('SRC', f'docker://{name}')}"
    return f"{error.hint}; {registry}" if error.hint else registry
