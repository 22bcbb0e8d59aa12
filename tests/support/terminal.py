"""What a process writes while it runs, and processes on a terminal of their own."""

import os
import pty
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Self


class Heard:
    """What comes out of a descriptor while a process runs."""

    def __init__(self, descriptor: int) -> None:
        self.text = ""
        self._descriptor = descriptor
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                part = os.read(self._descriptor, 65536)
            except OSError:
                return
            if not part:
                return
            self.text += part.decode()

    def wait_for(self, pattern: str, seconds: float = 15) -> None:
        """Wait until the text holds a pattern."""
        wait_until(
            lambda: re.search(pattern, self.text) is not None, seconds, lambda: self.text[-300:]
        )

    def finish(self) -> str:
        """Wait for the end of the text, and return all of it."""
        self._thread.join(15)
        return self.text


def wait_until(
    condition: Callable[[], bool], seconds: float = 15, told: Callable[[], object] = lambda: ""
) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, told()
        time.sleep(0.02)


class Terminal:
    """A process that a terminal controls: keys that are typed there are its signals, as in a shell.

    Leaving the block ends the process if it still runs.
    """

    def __init__(self, words: Sequence[str], env: Mapping[str, str]) -> None:
        self._main, other = pty.openpty()
        # setsid makes the terminal the one that controls the process.
        self.process = subprocess.Popen(
            ["setsid", "-c", *words], stdin=other, stdout=other, stderr=other, env=dict(env)
        )
        os.close(other)
        self.heard = Heard(self._main)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        self.heard.finish()
        os.close(self._main)

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._main, keys)

    def end(self, seconds: float) -> int:
        """Return the exit code of the process, which must end in so many seconds."""
        return self.process.wait(seconds)
