"""The documents about the files of a container, which has changed some."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.command import Command

Note = Callable[..., Any]
_OPTIONS = (
    *("--copy", "--memory", "64m", "--cpus", "1.5", "--pids-limit", "5", "--label", "k=v"),
    *("--ulimit", "nofile=10:20", "--cap-add", "NET_ADMIN", "--cap-drop", "MKNOD"),
    *("--tmpfs", "/t", "-v", "/usr:/u:ro"),
)


def note_container_files(note: Note, command: Command, name: str) -> None:
    """Change files of a container with a root file system of its own, and note all documents."""
    (listed,) = [one for one in _listed(command) if one["name"] == name]
    for path in (b"made", b"odd-\xff"):
        Path(os.fsdecode(os.fsencode(listed["bundle"]) + b"/rootfs/" + path)).touch()
    note("container diff", "container", "diff", name)
    note("container commit", "container", "commit", name, "kept:1", "-m", "why")
    (Path(listed["bundle"]) / "rootfs/made").write_text("more")
    note("container commit", "container", "commit", name, "kept:1")
    note("container commit", "container", "commit", name)
    note("container export", "container", "export", name, "-o", command.cwd / "web.tar")
    note("container cp", "container", "cp", f"{name}:/made", command.cwd / "made")
    done = command("container", "create", "--name", "wide", *_OPTIONS, "full:1")
    assert done.code == 0, done.err
    for names in ((name, "wide"), ("-s", name)):
        note("container inspect", "container", "inspect", *names)


def _listed(command: Command) -> list[dict[str, Any]]:
    found: Any = command("container", "ls", "--json").json
    return list(found)
