"""--cap-add, --cap-drop, --security-opt: what the process of a container may do."""

from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.expand import Group
from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted

if TYPE_CHECKING:
    from ocitool.containers.options import SecurityOptions

PANEL = "Security of the container"
_PROFILE_BYTES = 1 << 20

_CapAdd = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CAP", rich_help_panel=PANEL, help="Capability to add, or ALL. Repeatable."
    ),
]
_CapDrop = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CAP", rich_help_panel=PANEL, help="Capability to take away, or ALL. Repeatable."
    ),
]
_SecurityOpt = Annotated[
    list[str] | None,
    typer.Option(
        metavar="OPTION",
        rich_help_panel=PANEL,
        help="seccomp=FILE, seccomp=unconfined, no-new-privileges=false. Repeatable.",
    ),
]
_Privileged = Annotated[bool, typer.Option("--privileged", hidden=True)]
_Init = Annotated[bool, typer.Option("--init", hidden=True)]
_Publish = Annotated[list[str] | None, typer.Option("--publish", "-p", hidden=True)]


def _build(
    _: typer.Context,
    *,
    cap_add: list[str] | None,
    cap_drop: list[str] | None,
    security_opt: list[str] | None,
    privileged: bool,
    init: bool,
    publish: list[str] | None,
) -> "SecurityOptions":
    from ocitool.containers.options import SecurityOptions

    _refuse(privileged=privileged, init=init, publish=bool(publish))
    seccomp, unconfined, no_new_privileges = None, False, True
    for text in security_opt or ():
        name, value = _option(text)
        if name == "seccomp":
            unconfined = value == "unconfined"
            seccomp = None if value in ("unconfined", "builtin") else _profile(value)
        else:
            no_new_privileges = _flag(value, text)
    return SecurityOptions(
        cap_add=tuple(cap_add or ()),
        cap_drop=tuple(cap_drop or ()),
        seccomp=seccomp,
        unconfined=unconfined,
        no_new_privileges=no_new_privileges,
    )


def _refuse(*, privileged: bool, init: bool, publish: bool) -> None:
    if privileged:
        raise UsageError(
            "--privileged is refused: such a container can do all that root can on this machine",
            hint="name what it needs: --cap-add CAP, -v /dev/X:/dev/X, --security-opt seccomp=FILE",
        )
    if init:
        raise UsageError(
            "--init is refused: there is no init program here to put into a container",
            hint="use an image with one, such as tini, as --entrypoint",
        )
    if publish:
        raise UsageError(
            "-p is refused: only a bridge has ports to publish",
            hint="use --network host: the process then listens on this machine itself",
        )


def _option(text: str) -> tuple[str, str]:
    """Return name and value of an option of --security-opt; docker also takes a colon."""
    separator = "=" if "=" in text or ":" not in text else ":"
    name, _, value = text.partition(separator)
    if name not in ("seccomp", "no-new-privileges") or (name == "seccomp" and not value):
        raise UsageError(
            f"--security-opt {quoted(text)} is not possible",
            hint="seccomp=FILE, seccomp=unconfined, seccomp=builtin, no-new-privileges[=false] are",
        )
    return name, value


def _flag(value: str, text: str) -> bool:
    if value.lower() not in ("", "true", "false"):
        raise UsageError(f"--security-opt {quoted(text)}", hint="write no-new-privileges=false")
    return value.lower() != "false"


def _profile(path: str) -> bytes:
    from ocitool.cli.options.lists import read_input

    return read_input(path, "stdin" if path == "-" else path, _PROFILE_BYTES)


SECURITY = Group(
    {
        "cap_add": (_CapAdd, None),
        "cap_drop": (_CapDrop, None),
        "security_opt": (_SecurityOpt, None),
        "privileged": (_Privileged, False),
        "init": (_Init, False),
        "publish": (_Publish, None),
    },
    _build,
)
