"""A hint for an image that is not in the store: the engine that has it, or its registry."""

import re
import shlex
from collections.abc import Callable
from functools import wraps
from typing import Any

from ocitool.errors import NotFound, NotInStore, OcitoolError

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
                name = _name(error, options)
                if _is_of_an_option(name, options):
                    words = ["SRC", "SRC"]
                hint = _swapped(local, options) or _hint(error, name, *words)
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


def _is_of_an_option(name: str, options: dict[str, Any]) -> bool:
    """Tell whether the image was the value of an option, such as --baseline."""
    flat = [one for value in options.values() for one in _texts(value)]
    sources = [one for key in _SOURCES for one in _texts(options.get(key))]
    return name in flat and name not in sources


def _texts(value: object) -> list[str]:
    if isinstance(value, list | tuple):
        return [one for one in value if isinstance(one, str)]
    kind = type(value)
    fields = getattr(kind, "__dataclass_fields__", getattr(kind, "__struct_fields__", ()))
    if fields:
        return [one for key in fields for one in _texts(getattr(value, key))]
    return [value] if isinstance(value, str) else []


def _swapped(local: str, options: dict[str, Any]) -> str | None:
    """Return the command the other way round, where what was to be written is in the store."""
    from ocitool.images.lookup import find_image
    from ocitool.places.layout import Layout

    words = list(options.get("arguments") or ())
    if "DST" not in local and options.get("output") and options.get("names"):
        words = [*options["names"], options["output"]]
    out = options.get("out")
    if len(words) != 2 or out is None:
        return None
    source, target = words
    try:
        with Layout.existing(out.options.store) as layout:
            find_image(layout, target.removeprefix("store:"))
    except OcitoolError:
        return None
    if local.startswith("ocitool copy") and _names_a_registry(source):
        source = f"docker://{source}"
    command = re.sub(r"\b(DST|FILE)\b", shlex.quote(source), local)
    command = command.replace("SRC", shlex.quote(target))
    return f"the other way round? {command}"


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
    from ocitool.images.hints import is_named_as_file
    from ocitool.images.lookup import full_name

    if name and (found := engine_place(name)) is not None:
        engine, place = found
        return f"{engine} has it: {local.replace('SRC', place)}"
    if (
        is_named_as_file(name)
        or full_name(name) is None
        or (error.is_near and not _names_a_registry(name))
    ):
        return error.hint
    registry = f"if it is in a registry: {remote.replace('SRC', f'docker://{name}')}"
    return f"{error.hint}; {registry}" if error.hint else registry
