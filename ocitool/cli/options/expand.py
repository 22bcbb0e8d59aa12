"""Groups of options: a command takes one value, and the user sees the options it is made of."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import typer

Command = Callable[..., None]
_CONTEXT = inspect.Parameter(
    "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
)


class Group:
    """Options by the name of their parameter, each with its default, and what they make.

    `build` is called with the context and the values of the options.
    """

    # Not a dataclass: making one takes a millisecond of every command.
    def __init__(
        self, options: Mapping[str, tuple[Any, object]], build: Callable[..., object]
    ) -> None:
        self.options = options
        self.build = build


def with_options(**groups: Group) -> Callable[[Command], Command]:
    """Replace parameters of a command by the options of the groups with the same names.

    The command is called with the value that each group builds from them.
    """

    def decorate(command: Command) -> Command:
        own = inspect.signature(command)
        parameters = [_CONTEXT]
        for name, parameter in own.parameters.items():
            parameters += _options(groups[name]) if name in groups else [parameter]

        @wraps(command)
        def wrapper(context: typer.Context, **values: Any) -> None:
            for name, group in groups.items():
                given = {option: values.pop(option) for option in group.options}
                values[name] = group.build(context, **given)

            command(**values)

        wrapper.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {one.name: one.annotation for one in parameters}
        return wrapper

    return decorate


def _options(group: Group) -> list[inspect.Parameter]:
    return [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )
        for name, (annotation, default) in group.options.items()
    ]
