"""What a container was made with, as the configuration of an image (runtime-spec config.md)."""

from collections.abc import Mapping
from typing import cast

from ocitool.containers.config.process import DEFAULT_PATH
from ocitool.containers.users import RuntimeUser, user_of
from ocitool.containers.writable.opening import Writable
from ocitool.errors import NotFound
from ocitool.image.layers import Tree
from ocitool.oci import ImageConfig
from ocitool.oci.members import CONFIG_ORDER, RUNTIME_ORDER, put

_OF_THE_CONTAINER = ("HOSTNAME", "TERM")
"""Variables that engines set for one container; they do not belong into an image."""

Fields = dict[str, object]


def apply_run_options(fields: Fields, image: ImageConfig, writable: Writable) -> None:
    """Put the container's command, environment, folder and user into a configuration.

    What the image says in another form, such as a user by name, stays as it is.
    """
    runtime = dict(cast("Fields", fields.get("config") or {}))
    process = cast("Mapping[str, object]", writable.facts.config.get("process") or {})
    _command(runtime, image, list(writable.facts.arguments))
    old = list(image.config.env)
    lines = [
        line
        for line in cast("list[str]", process.get("env") or [])
        if line in old or not _is_of_the_container(line)
    ]
    if sorted(lines) != sorted(old):
        put(runtime, "Env", lines, RUNTIME_ORDER)
    folder = str(process.get("cwd") or "/")
    if folder != (image.config.working_dir or "/"):
        put(runtime, "WorkingDir", folder, RUNTIME_ORDER)
    user = _user(process)
    if not writable.facts.is_rootless and not _is_same(user, image, writable):
        put(runtime, "User", f"{user.uid}:{user.gid}", RUNTIME_ORDER)
    put(fields, "config", runtime, CONFIG_ORDER)


def _is_of_the_container(line: str) -> bool:
    return line.partition("=")[0] in _OF_THE_CONTAINER or line == f"PATH={DEFAULT_PATH}"


def _command(runtime: Fields, image: ImageConfig, arguments: list[str]) -> None:
    """Set the command; the entry point stays if the container was started by it."""
    entry = list(image.config.entrypoint)
    if arguments[: len(entry)] != entry:
        runtime.pop("Entrypoint", None)
        entry = []
    if arguments != [*entry, *image.config.cmd]:
        put(runtime, "Cmd", arguments[len(entry) :], RUNTIME_ORDER)


def _user(process: Mapping[str, object]) -> RuntimeUser:
    user = cast("Mapping[str, int]", process.get("user") or {})
    return RuntimeUser(uid=user.get("uid", 0), gid=user.get("gid", 0))


def _is_same(user: RuntimeUser, image: ImageConfig, writable: Writable) -> bool:
    """Tell whether the image's own user is the one that the container runs as."""
    tree = Tree(writable.tree or writable.upper)
    try:
        own = user_of(tree, image.config.user)
    except NotFound:
        return False
    finally:
        tree.close()
    return (own.uid, own.gid) == (user.uid, user.gid)
