"""Build the command line: all commands for help, otherwise only the one that was typed.

Building one command takes milliseconds, which every other command would have to wait for.
"""

import functools
import os
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.main

from ocitool.cli.catalogue import COMMANDS, GROUPS, SECTIONS
from ocitool.cli.completing import words
from ocitool.cli.options.shared import PROGRESS, Settings
from ocitool.cli.parsing import Command, CommandGroup, command_group
from ocitool.cli.render import console
from ocitool.version import __version__

_HIDDEN = {"ls": "images", "rmi": "rm", "prune": "gc"}
_IMAGE = {
    "ls": "images",
    "prune": "gc",
    **{name: name for name in ("rm", "load", "save", "pull", "push", "tag", "inspect", "history")},
}
_WITH_A_VALUE = ("--store", "--progress", "--tmp-dir")
_ABOUT_ALL = ("-h", "--help", "--install-completion", "--show-completion", "help")
_NO_COMMAND = ""
_HELP = "OCI and Docker images without a daemon: load, pull, look inside, verify, save, push."

Runnable = Callable[..., object]


def command_in(arguments: Sequence[str]) -> str | None:
    """Return the command that the arguments name, or None when all commands must be built."""
    words = iter(arguments)
    if "_OCITOOL_COMPLETE" in os.environ:
        return None
    for word in words:
        if word in _WITH_A_VALUE:
            next(words, None)
        elif word in _ABOUT_ALL:
            return None
        elif word == "--version":
            return _NO_COMMAND
        elif not word.startswith("-"):
            return word if word in {*COMMANDS, *GROUPS, *_HIDDEN} else None
    return None


@functools.cache
def application(wanted: str | None = None) -> Runnable:
    """Return the command line with the `wanted` command, or with all commands if that is None."""
    app = typer.Typer(
        name="ocitool",
        cls=CommandGroup,
        help=_HELP,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        pretty_exceptions_show_locals=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(main)
    for section, commands in SECTIONS.items():
        for name, (_, text) in commands.items():
            if wanted in (None, name):
                own: dict[str, Any] = {"short_help": text, "rich_help_panel": section}
                app.command(name, cls=Command, **own)(_function(name))
    for name, other in _HIDDEN.items():
        if wanted in (None, name):
            app.command(name, cls=Command, hidden=True)(_function(other))
    for name, (section, text) in GROUPS.items():
        if wanted in (None, name):
            group = getattr(_module(name), name)
            app.add_typer(group, name=name, help=text, rich_help_panel=section)
    if wanted is None:
        app.add_typer(_image(), name="image", hidden=True, help="The same, under docker's names.")
    return typer.main.get_command(app)


def _image() -> typer.Typer:
    app = command_group()
    for name, command in _IMAGE.items():
        app.command(name)(_function(command))
    return app


def _function(name: str) -> Runnable:
    found: Runnable = getattr(_module(COMMANDS[name]), name)
    return found


def _module(name: str) -> object:
    return import_module(f"ocitool.cli.commands.{name}")


def _show_version(wanted: bool) -> None:
    if wanted:
        console.out(f"ocitool {__version__}")
        raise typer.Exit


Store = Annotated[
    str | None,
    typer.Option(
        envvar="OCITOOL_STORE",
        show_envvar=False,
        metavar="DIR",
        help="Folder of the image store. Default: $XDG_DATA_HOME/ocitool.",
    ),
]
QuietEverywhere = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        envvar="OCITOOL_QUIET",
        show_envvar=False,
        help="Print IDs or digests only.",
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        envvar="OCITOOL_VERBOSE",
        show_envvar=False,
        help="Show each request to a registry, without its secrets.",
    ),
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug",
        envvar="OCITOOL_DEBUG",
        show_envvar=False,
        help="Show a traceback if something fails.",
    ),
]
Progress = Annotated[
    str,
    typer.Option(
        envvar="OCITOOL_PROGRESS",
        show_envvar=False,
        metavar="MODE",
        autocompletion=words(*PROGRESS),
        help="How to show progress: auto, bar, plain or none.",
    ),
]
TemporaryFolder = Annotated[
    str | None,
    typer.Option(
        envvar=["OCITOOL_TMP_DIR", "TMPDIR"],
        show_envvar=False,
        metavar="DIR",
        help="Folder for temporary files, such as archives read from a pipe.",
    ),
]


def main(
    context: typer.Context,
    *,
    store: Store = None,
    quiet: QuietEverywhere = False,
    verbose: Verbose = False,
    debug: Debug = False,
    progress: Progress = "auto",
    tmp_dir: TemporaryFolder = None,
    version: Annotated[  # noqa: ARG001
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """OCI and Docker images without a daemon: load, pull, look inside, verify, save, push."""
    context.obj = settings = Settings(temporary=tmp_dir)
    if store is not None:
        settings.change("store", store)
    settings.change("quiet", quiet)
    settings.change("verbose", verbose)
    settings.change("debug", debug)
    source = context.get_parameter_source("progress")
    is_variable = source is not None and source.name == "ENVIRONMENT"
    settings.change("progress", progress, called="OCITOOL_PROGRESS" if is_variable else None)
