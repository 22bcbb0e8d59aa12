"""All options of a new container, as one value for `container create` and `container run`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ocitool.cli.options.containers.limits import LIMITS
from ocitool.cli.options.containers.mounts import MOUNTS
from ocitool.cli.options.containers.network import NETWORK
from ocitool.cli.options.containers.process import LIFE, PROCESS
from ocitool.cli.options.containers.security import SECURITY
from ocitool.cli.options.expand import Group
from ocitool.cli.options.shared import OnePlatform, one_platform, usual_platform
from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted

if TYPE_CHECKING:
    from ocitool.containers.options import CreateOptions

_PARTS = {
    "process": PROCESS,
    "life": LIFE,
    "mounts": MOUNTS,
    "limits": LIMITS,
    "network": NETWORK,
    "security": SECURITY,
}
_Name = Annotated[str | None, typer.Option("--name", metavar="N", help="A name for the container.")]
_Bundle = Annotated[
    str | None, typer.Option("--bundle", metavar="DIR", help="A new folder for the bundle.")
]
_Copy = Annotated[
    bool,
    typer.Option(
        "--copy",
        help='Share nothing: for runtimes that cannot mount an overlay at "/", such as crun 1.8.',
    ),
]
_Label = Annotated[
    list[str] | None,
    typer.Option("--label", "-l", metavar="K=V", help="A label of the container. Repeatable."),
]
_Annotation = Annotated[
    list[str] | None,
    typer.Option(metavar="K=V", help="An annotation of config.json alone. Repeatable."),
]


def _build(context: typer.Context, **values: Any) -> "CreateOptions":
    from ocitool.containers.options import CreateOptions

    parts: dict[str, Any] = {
        name: group.build(context, **{option: values.pop(option) for option in group.options})
        for name, group in _PARTS.items()
    }
    if values["bundle"] == "":
        raise UsageError("--bundle is empty", hint="name a new folder")
    return CreateOptions(
        name=values["name"],
        bundle=values["bundle"],
        platform=one_platform(values["platform"]),
        usual=usual_platform(),
        alone=values["copy"],
        labels=_pairs(values["label"], "--label"),
        annotations=_pairs(values["annotation"], "--annotation"),
        **parts,
    )


def _pairs(given: list[str] | None, option: str) -> dict[str, str]:
    found = {}
    for text in given or ():
        name, has_value, value = text.partition("=")
        if not name or (option == "--annotation" and not has_value):
            raise UsageError(f"{option} {quoted(text)}", hint=f"write {option} NAME=VALUE")
        found[name] = value
    return found


CREATE = Group(
    {
        "name": (_Name, None),
        "bundle": (_Bundle, None),
        "copy": (_Copy, False),
        "platform": (OnePlatform, None),
        "label": (_Label, None),
        "annotation": (_Annotation, None),
        **{name: option for group in _PARTS.values() for name, option in group.options.items()},
    },
    _build,
)
