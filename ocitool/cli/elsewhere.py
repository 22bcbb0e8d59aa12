"""A hint for an image that is not in the store: the engine that has it, or its registry."""

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
                hint = _hint(error, _name(error, options), local, remote)
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


def _hint(error: NotInStore, name: str, local: str, remote: str) -> str | None:
    from ocitool.images.elsewhere import engine_place
    from ocitool.images.lookup import full_name

    if name and (found := engine_place(name)) is not None:
        engine, place = found
        return f"{engine} has it: {local.replace('SRC', place)}"
    if error.is_near or full_name(name) is None:
        return error.hint
    registry = f"if it is in a registry: {remote.replace('SRC', f'docker://{name}')}"
    return f"{error.hint}; {registry}" if error.hint else registry
