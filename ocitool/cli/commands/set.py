"""ocitool set: settings of an image, changed without a build."""

import json
import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ocitool.cli.elsewhere import says_where_else
from ocitool.cli.options.editing import EDITING, EditingOptions, pairs
from ocitool.cli.options.expand import Group, with_options
from ocitool.cli.options.registry import REGISTRY
from ocitool.cli.options.sources import ImageSource
from ocitool.cli.output import OUTPUT, Output
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.editing.settings import Settings
    from ocitool.operations.edit.settings import IndexAnnotations
    from ocitool.places.registry import RegistryOptions


def _many(name: str, metavar: str, text: str) -> Any:
    return Annotated[list[str] | None, typer.Option(name, metavar=metavar, help=text)]


def _one(name: str, metavar: str, text: str) -> Any:
    return Annotated[str | None, typer.Option(name, metavar=metavar, help=text)]


_COMMAND = "as a JSON list, or as words that a shell would split; empty removes it."
_SETTINGS: dict[str, tuple[Any, object]] = {
    "label": (_many("--label", "K=V", "Set a label."), None),
    "label_rm": (_many("--label-rm", "K", "Remove a label."), None),
    "annotation": (_many("--annotation", "K=V", "Set an annotation of the manifest."), None),
    "annotation_rm": (_many("--annotation-rm", "K", "Remove an annotation."), None),
    "index_annotation": (
        _many("--index-annotation", "K=V", "Set an annotation of the index."),
        None,
    ),
    "index_annotation_rm": (_many("--index-annotation-rm", "K", "Remove an annotation."), None),
    "env": (_many("--env", "K=V", "Set a variable."), None),
    "env_rm": (_many("--env-rm", "K", "Remove a variable."), None),
    "entrypoint": (_one("--entrypoint", "JSON|WORDS", f"Entry point, {_COMMAND}"), None),
    "cmd": (_one("--cmd", "JSON|WORDS", f"Command, {_COMMAND}"), None),
    "user": (_one("--user", "U", "User, or user:group."), None),
    "workdir": (_one("--workdir", "DIR", "Working folder."), None),
    "expose": (_many("--expose", "PORT[/PROTOCOL]", "Expose a port."), None),
    "expose_rm": (_many("--expose-rm", "PORT[/PROTOCOL]", "Remove it."), None),
    "volume": (_many("--volume", "PATH", "Make a path a volume."), None),
    "volume_rm": (_many("--volume-rm", "PATH", "Remove it."), None),
    "stop_signal": (_one("--stop-signal", "SIGNAL", "Signal that ends a container."), None),
    "set_platform": (
        _one("--set-platform", "P", "Say that the image is for another platform."),
        None,
    ),
}
SETTINGS = Group(_SETTINGS, lambda _, **given: given)


@with_options(given=SETTINGS, editing=EDITING, out=OUTPUT, registry=REGISTRY)
@says_where_else("ocitool set SRC", "ocitool set SRC")
def set(  # noqa: A001
    source: ImageSource,
    *,
    given: dict[str, Any],
    editing: EditingOptions,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Change labels, variables, commands and the like of an image, in any place.

    Only the configuration and manifests are written: in a registry the layers stay where they are.
    All images of an index are changed, or those of --platform. Settings that hold already give
    the same digest. The history gets one entry that names what was set, without the values.
    """
    from ocitool.cli.editing import edit
    from ocitool.operations.edit.settings import set_image

    settings = _settings(given, editing)
    on_index = _on_index(given)
    edit(
        "setting",
        lambda access: set_image(source, settings, editing.options, access, on_index=on_index),
        editing,
        out,
        registry,
        [source],
    )


def _settings(given: dict[str, Any], editing: EditingOptions) -> "Settings":
    from ocitool.editing.settings import Settings
    from ocitool.oci import Platform

    if not any(value is not None for value in (*given.values(), editing.created)) and (
        editing.options.author is None
    ):
        raise UsageError("nothing to set is given", hint="such as --label K=V")
    platform = given["set_platform"]
    return Settings(
        labels=pairs(given["label"], "--label"),
        without_labels=tuple(given["label_rm"] or ()),
        annotations=pairs(given["annotation"], "--annotation"),
        without_annotations=tuple(given["annotation_rm"] or ()),
        env=pairs(given["env"], "--env"),
        without_env=tuple(given["env_rm"] or ()),
        entrypoint=_command(given["entrypoint"], "--entrypoint"),
        cmd=_command(given["cmd"], "--cmd"),
        user=given["user"],
        working_dir=given["workdir"],
        exposed=_ports(given["expose"], "--expose"),
        without_exposed=_ports(given["expose_rm"], "--expose-rm"),
        volumes=tuple(given["volume"] or ()),
        without_volumes=tuple(given["volume_rm"] or ()),
        stop_signal=given["stop_signal"],
        platform=Platform.parse(platform) if platform is not None else None,
        author=editing.options.author,
        created=editing.created,
    )


def _on_index(given: dict[str, Any]) -> "IndexAnnotations | None":
    from ocitool.operations.edit.settings import IndexAnnotations

    added, without = given["index_annotation"], given["index_annotation_rm"]
    if added is None and without is None:
        return None
    return IndexAnnotations(added=pairs(added, "--index-annotation"), without=tuple(without or ()))


def _command(text: str | None, option: str) -> tuple[str, ...] | None:
    """Return the words of a command: a JSON list, or text that is split as a shell splits it."""
    if text is None:
        return None
    if not text.lstrip().startswith("["):
        try:
            return tuple(shlex.split(text))
        except ValueError as error:
            raise UsageError(f"{option} {text!r} has no end: {error}") from None
    try:
        words = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{option} {text!r} is not JSON: {error}") from None
    if not all(isinstance(word, str) for word in words):
        raise UsageError(f"{option} {text!r} is not a list of strings")
    return tuple(words)


def _ports(texts: list[str] | None, option: str) -> tuple[str, ...]:
    """Return ports with their protocol, as images have them: 80 is 80/tcp."""
    found = []
    for text in texts or ():
        port, _, protocol = text.partition("/")
        if not all(part.isdecimal() for part in port.split("-", 1)):
            raise UsageError(f"{option} {text!r} is not a port", hint="such as 80 or 53/udp")
        found.append(f"{port}/{(protocol or 'tcp').lower()}")
    return tuple(found)
