"""-e, -u, -w, --entrypoint, -t and the like: how the process of a container is started."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.expand import Group
from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted

if TYPE_CHECKING:
    from ocitool.containers.options import LifeOptions, ProcessOptions

PANEL = "Process of the container"
_FILE_BYTES = 4 << 20

_Env = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        "-e",
        metavar="K[=V]",
        rich_help_panel=PANEL,
        help="Set a variable; without =V to what it is here. Repeatable.",
    ),
]
_EnvFile = Annotated[
    list[str] | None,
    typer.Option(
        "--env-file",
        metavar="FILE",
        rich_help_panel=PANEL,
        help="Read lines K=V; # begins a comment, - is stdin. Repeatable.",
    ),
]
_User = Annotated[
    str | None,
    typer.Option(
        "--user",
        "-u",
        metavar="USER[:GROUP]",
        rich_help_panel=PANEL,
        help="Names of the image, or numbers.",
    ),
]
_Workdir = Annotated[
    str | None,
    typer.Option(
        "--workdir", "-w", metavar="DIR", rich_help_panel=PANEL, help="Folder to start in."
    ),
]
_Entrypoint = Annotated[
    str | None,
    typer.Option(
        metavar="PROGRAM",
        rich_help_panel=PANEL,
        help="Use this instead of the image's entry point and command; '' for none.",
    ),
]
_Tty = Annotated[
    bool, typer.Option("--tty", "-t", rich_help_panel=PANEL, help="Give it a terminal.")
]
_Interactive = Annotated[
    bool,
    typer.Option(
        "--interactive", "-i", rich_help_panel=PANEL, help="Give it the standard input of `start`."
    ),
]
_StopSignal = Annotated[
    str | None,
    typer.Option(
        metavar="SIGNAL", rich_help_panel=PANEL, help="Signal of `stop`. Default: the image's."
    ),
]
_StopTimeout = Annotated[
    int | None,
    typer.Option(
        metavar="SECONDS",
        rich_help_panel=PANEL,
        help="How long `stop` waits before it kills; -1: for ever. Default: 10.",
    ),
]
_Rm = Annotated[
    bool,
    typer.Option(
        "--rm", rich_help_panel=PANEL, help="Remove the container when its process has ended."
    ),
]


def _process(
    _: typer.Context,
    *,
    env: list[str] | None,
    env_file: list[str] | None,
    user: str | None,
    workdir: str | None,
    entrypoint: str | None,
    tty: bool,
) -> "ProcessOptions":
    from ocitool.containers.options import ProcessOptions

    if user == "":
        raise UsageError("-u is empty", hint="leave it out for the image's user, or write -u 0")
    return ProcessOptions(
        env=_variables(env or (), env_file or ()),
        user=user,
        workdir=workdir,
        # One word, as with docker: arguments stand after the image.
        entrypoint=None if entrypoint is None else tuple(filter(None, (entrypoint,))),
        terminal=tty,
    )


def _variables(given: Sequence[str], files: Sequence[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for path in files:
        for line in _lines(path):
            found |= parse_variable(line, f"--env-file {quoted(path)}")
    for text in given:
        found |= parse_variable(text, "-e")
    return found


def _lines(path: str) -> list[str]:
    from ocitool.cli.options.lists import read_input

    data = read_input(path, "stdin" if path == "-" else path, _FILE_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"--env-file {quoted(path)} is not UTF-8 text", hint="save it as UTF-8"
        ) from error
    lines = (line.lstrip() for line in text.split("\n"))
    return [line.removesuffix("\r") for line in lines if line.strip() and not line.startswith("#")]


def parse_variable(text: str, what: str) -> dict[str, str | None]:
    """Read K=V, or K for the value that our own environment has; None where it has none."""
    name, has_value, value = text.partition("=")
    if not name or name != name.strip() or any(character.isspace() for character in name):
        raise UsageError(f"{what}: {quoted(text)} is not a variable", hint="write NAME=VALUE")
    return {name: value if has_value else os.environ.get(name)}


def _life(
    _: typer.Context,
    *,
    interactive: bool,
    rm: bool,
    stop_signal: str | None,
    stop_timeout: int | None,
) -> "LifeOptions":
    from ocitool.containers.options import LifeOptions

    return LifeOptions(
        interactive=interactive, remove=rm, stop_signal=stop_signal, stop_timeout=stop_timeout
    )


PROCESS = Group(
    {
        "env": (_Env, None),
        "env_file": (_EnvFile, None),
        "user": (_User, None),
        "workdir": (_Workdir, None),
        "entrypoint": (_Entrypoint, None),
        "tty": (_Tty, False),
    },
    _process,
)
LIFE = Group(
    {
        "interactive": (_Interactive, False),
        "rm": (_Rm, False),
        "stop_signal": (_StopSignal, None),
        "stop_timeout": (_StopTimeout, None),
    },
    _life,
)
