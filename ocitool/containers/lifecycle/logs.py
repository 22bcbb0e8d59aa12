"""What a container in the background printed: the bytes of its two outputs, as they are."""

import os
import time
from collections.abc import Iterator

from msgspec import Struct

from ocitool.containers.lifecycle.state import ERR, LOCK, OUT, open_run
from ocitool.containers.records import find_container
from ocitool.errors import NotFound
from ocitool.fsops import CHUNK, Directory, is_locked
from ocitool.places.layout import Layout

_PAUSE = 0.1


class Printed(Struct, frozen=True, kw_only=True):
    """Bytes that a container printed, on its standard error or its standard output."""

    data: bytes
    is_error: bool


def container_logs(layout: Layout, text: str, *, follow: bool = False) -> Iterator[Printed]:
    """Yield what a container printed while it ran in the background, oldest first by output.

    With `follow` this goes on until the container has ended. NotFound if it never ran there.
    """
    container = find_container(layout, text)
    with open_run(container) as run:
        if run.kind(OUT) is None:
            raise NotFound(
                f"there are no logs of container {container.name}: it never ran in the background",
                hint=f"`ocitool container start -d {container.name}` starts it there",
            )
        done = {OUT: 0, ERR: 0}
        while True:
            ended = not is_locked(run, LOCK)
            for name, begin in list(done.items()):
                for data in _new(run, name, begin):
                    done[name] += len(data)
                    yield Printed(data=data, is_error=name == ERR)
            if ended or not follow:
                return
            time.sleep(_PAUSE)


def _new(run: Directory, name: str, begin: int) -> Iterator[bytes]:
    """Yield what a file has from a position on."""
    descriptor, _ = run.open_file(name)
    try:
        while data := os.pread(descriptor, CHUNK, begin):
            begin += len(data)
            yield data
    finally:
        os.close(descriptor)
