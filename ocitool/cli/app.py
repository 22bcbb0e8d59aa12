"""Build the command line: all commands for help, otherwise only the one that was typed.

Building one command takes milliseconds, which every other command would have to wait for.
"""

import functools
import os
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated

import typer
import typer.main

from ocitool import errors
from ocitool.cli.options.shared import Settings
from ocitool.cli.render import console
from ocitool.version import __version__

COMMANDS = {
    "load": "load",
    "save": "save",
    "pull": "pull",
    "push": "push",
    "copy": "copy",
    "images": "images",
    "tag": "tag",
    "untag": "tag",
    "rm": "rm",
    "reflog": "reflog",
    "restore": "restore",
    "pin": "pin",
    "unpin": "pin",
    "df": "df",
    "gc": "gc",
    "inspect": "inspect",
    "history": "history",
    "verify": "verify",
    "login": "login",
    "logout": "login",
}
"""Each command, and the module in `commands` that defines the function of its name."""
_GROUPS = {
    "registry": "Tags, digests and manifests in a registry.",
    "artifact": "Files and folders in registries, and artifacts attached to images.",
    "container": "Containers made from images of the store, as bundles for an OCI runtime.",
}
_HIDDEN = {"rmi": "rm", "prune": "gc"}
_IMAGE = {
    "ls": "images",
    "prune": "gc",
    **{name: name for name in ("rm", "load", "save", "pull", "push", "tag", "inspect", "history")},
}
_WITH_A_VALUE = ("--store", "--progress", "--tmp-dir")
_ABOUT_ALL = ("-h", "--help", "--install-completion", "--show-completion")
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
            return word if word in {*COMMANDS, *_GROUPS, *_HIDDEN} else None
    return None


@functools.cache
def application(wanted: str | None = None) -> Runnable:
    """Return the command line with the `wanted` command, or with all commands if that is None."""
    app = typer.Typer(
        name="ocitool",
        help=_HELP,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        pretty_exceptions_show_locals=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(main)
    for name in COMMANDS:
        if wanted in (None, name):
            app.command(name)(_function(name))
    for name, other in _HIDDEN.items():
        if wanted in (None, name):
            app.command(name, hidden=True)(_function(other))
    for name, text in _GROUPS.items():
        if wanted in (None, name):
            app.add_typer(getattr(_module(name), name), name=name, help=text)
    if wanted is None:
        app.add_typer(_image(), name="image", hidden=True, help="The same, under docker's names.")
    return typer.main.get_command(app)


def _image() -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
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
    typer.Option(envvar="OCITOOL_STORE", metavar="DIR", help="Folder of the image store."),
]
QuietEverywhere = Annotated[
    bool,
    typer.Option("--quiet", "-q", envvar="OCITOOL_QUIET", help="Print IDs or digests only."),
]
Debug = Annotated[
    bool, typer.Option(envvar="OCITOOL_DEBUG", help="Show a traceback when something fails.")
]
Progress = Annotated[
    str,
    typer.Option(
        envvar="OCITOOL_PROGRESS",
        metavar="MODE",
        help="How to show progress: auto, bar, plain or none.",
    ),
]
TemporaryFolder = Annotated[
    str | None,
    typer.Option(
        envvar=["OCITOOL_TMP_DIR", "TMPDIR"],
        metavar="DIR",
        help="Folder for temporary files, such as archives read from a pipe.",
    ),
]


def main(
    context: typer.Context,
    *,
    store: Store = None,
    quiet: QuietEverywhere = False,
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
    if store == "":
        raise errors.UsageError("--store is empty")
    if progress not in ("auto", "bar", "plain", "none"):
        source = context.get_parameter_source("progress")
        origin = "OCITOOL_PROGRESS" if source is not None and source.name == "ENVIRONMENT" else ""
        raise errors.UsageError(
            f"{origin or '--progress'} {progress!r} is not a way to show progress",
            hint=f"set {origin or 'it'} to auto, bar, plain or none",
        )
    context.obj = Settings(
        named_store=store,
        quiet=quiet,
        debug=debug,
        progress=progress,
        temporary=tmp_dir,
    )
