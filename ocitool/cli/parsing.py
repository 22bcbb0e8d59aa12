"""How a command line is read: global options stand anywhere, and typing errors do no harm."""

import difflib
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from ocitool import errors

if TYPE_CHECKING:
    from typer.core import TyperOption

_DELETING = frozenset({"gc", "logout", "prune", "rm", "rmi", "unpin", "untag"})
"""Commands that are never suggested: what was meant may have been harmless."""
_INSTEAD = {
    "build": "ocitool builds no images; buildah, podman and docker do",
    "exec": "`ocitool container run` runs a command in a container of its own",
    "import": "`ocitool load` reads archives of images",
    "ps": "`ocitool container ls` lists containers",
    "logs": "`ocitool container logs` prints what a container printed",
    "run": "`ocitool container run` makes a container and starts it by runc or crun",
    "search": "`ocitool registry catalog HOST` lists repositories",
    "start": "`ocitool container start` starts a container by runc or crun",
    "stop": "`ocitool container stop` ends a container",
}
"""Words of docker that are no commands here, and what to do instead."""

_OF_BUNDLES = {"inspect": "show", "load": "load", "save": "create", "verify": "verify"}
"""Commands, and those about bundles that do the same and have more options."""


class Command(TyperCommand):
    """A command that takes the global options, too."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the command's own parameters, and the global options that it has not itself."""
        return [*super().get_params(ctx), *global_options(self, ctx)]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; global options among them change the settings of this run."""
        _refuse_option_of_bundles(self, ctx, args)
        rest = super().parse_args(ctx, args)
        _take_global_options(self, ctx)
        return rest

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line; what has to be given stands without braces."""
        pieces = super().collect_usage_pieces(ctx)
        return [piece[1:-1] if piece.startswith("{") else piece for piece in pieces]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, under headings, and what else is worth knowing of the command."""
        from ocitool.cli.render.help import write_command

        write_command(self, ctx, formatter, global_options(self, ctx))


class CommandGroup(TyperGroup):
    """Commands below one word, such as `registry`; the top of them all, too."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the group's own parameters, and the global options."""
        return [*super().get_params(ctx), *global_options(self, ctx)]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments up to the command."""
        rest = super().parse_args(ctx, args)
        _take_global_options(self, ctx)
        return rest

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the first argument names; UsageError when there is none."""
        name = args[0]
        if not (name in self.commands or name.startswith("-") or ctx.resilient_parsing):
            hint = _hint(name, self.commands, ctx.command_path)
            raise errors.UsageError(f"{name!r} is not a command of {ctx.command_path}", hint=hint)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands in sections, and the options."""
        from ocitool.cli.render.help import write_group

        write_group(self, ctx, formatter, global_options(self, ctx))


class SourceFirst(CommandGroup):
    """Commands that may also stand behind their source: `attestations SRC drop`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments with the command in front."""
        first = [*args[:2], "", ""]
        if first[1] in self.commands and not (first[0] in self.commands or first[0][:1] == "-"):
            args = [args[1], args[0], *args[2:]]
        return super().parse_args(ctx, args)


def command_group(kind: type[CommandGroup] = CommandGroup) -> typer.Typer:
    """Return an empty group of commands; `add` puts commands into it."""
    return _App(rich_markup_mode=None, no_args_is_help=True, cls=kind)


class _App(typer.Typer):
    """A group whose commands are of our own class."""

    def command(self, name: str | None = None, **options: Any) -> Any:
        """Return what makes a function a command."""
        return super().command(name, **{"cls": Command, **options})


def global_options(command: Any, context: Any) -> "list[TyperOption]":
    """Return the global options that a command has no option of its own for."""
    if context.parent is None:
        return []
    own = {text for parameter in command.params for text in (*parameter.opts, parameter.name)}
    return [
        option
        for option in context.find_root().command.params
        if not own.intersection((*option.opts, option.name))
    ]


def _take_global_options(command: Any, context: Any) -> None:
    from ocitool.cli.options.shared import Settings

    if context.resilient_parsing:
        return
    settings = context.find_object(Settings)
    for option in global_options(command, context):
        value = context.params.pop(option.name, None)
        source = context.get_parameter_source(option.name)
        # What a variable says was read before the command, and may have been overruled there.
        if settings is not None and source is not None and source.name == "COMMANDLINE":
            settings.change(option.name, value)


def _refuse_option_of_bundles(command: Any, ctx: Any, args: list[str]) -> None:
    """Raise UsageError for an option that only the command for bundles has."""
    word = _OF_BUNDLES.get(ctx.info_name or "")
    if word is None or ctx.parent is None or ctx.parent.parent is not None:
        return
    own = {text for parameter in command.get_params(ctx) for text in parameter.opts}
    given = [arg.partition("=")[0] for arg in args if arg.startswith("--")]
    unknown = [option for option in given if option not in own and option != "--help"]
    if not unknown:
        return
    group: Any = typer.main.get_command(import_module("ocitool.cli.commands.bundle").bundle)
    theirs = group.commands[word].params
    for option in unknown:
        if any(option in parameter.opts for parameter in theirs):
            raise errors.UsageError(
                f"`ocitool {ctx.info_name}` has no option {option}",
                hint=f"`ocitool bundle {word}` has it",
            )


def _hint(name: str, commands: Iterable[str], path: str) -> str:
    shown = [word for word in commands if word not in _DELETING]
    close = difflib.get_close_matches(name, shown)
    if close:
        return "did you mean " + " or ".join(f"`{path} {word}`" for word in close) + "?"
    return _INSTEAD.get(name, f"`{path} --help` lists the commands")
