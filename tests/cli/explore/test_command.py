"""The command `explore` itself: where it cannot run, and on a real terminal."""

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.inside.page_data import sinful_image
from tests.support.command import Command, environment
from tests.support.small_images import write_image

WITHOUT_TEXTUAL = (
    "import sys; sys.modules['textual'] = None\n"
    "from ocitool.cli.main import run\n"
    "sys.exit(run(['explore', './layout']))\n"
)


@pytest.fixture
def ocitool(tmp_path: Path) -> Command:
    write_image(tmp_path, sinful_image("gzip"))
    return Command(tmp_path / "store", tmp_path)


def test_without_a_terminal_it_says_what_prints_the_same(ocitool: Command) -> None:
    done = ocitool("explore", "./layout")
    assert done.code == 2
    assert "needs a terminal" in done.err
    assert "ocitool size" in done.err


def test_a_pipe_cannot_be_read_beside_keys(ocitool: Command) -> None:
    assert ocitool("explore", "-").code == 2


def test_without_textual_it_says_how_to_install_it(ocitool: Command, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TEXTUAL],
        cwd=tmp_path,
        env=environment(ocitool.store),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "explore needs the package textual" in done.stderr
    assert "-m pip install 'textual>=8,<9'" in done.stderr


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, ocitool: Command, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ocitool", *arguments],
            cwd=ocitool.cwd,
            env={**environment(ocitool.store), "TERM": "xterm-256color", "COLUMNS": "100"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = b""

    def until(self, condition: Callable[[], bool]) -> None:
        """Read what is written until something is so."""
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end, self.seen
            if select.select([self._ours], [], [], 0.05)[0]:
                try:
                    self.seen += os.read(self._ours, 1 << 16)
                except OSError:
                    return

    def modes(self) -> list[object]:
        """Return how the terminal treats keys and signs."""
        return termios.tcgetattr(self._ours)[:4]

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._ours, keys)

    def end(self) -> int:
        """Return the exit code, when all was read."""
        self.until(lambda: self.process.poll() is not None)
        os.close(self._ours)
        return self.process.wait(timeout=10)


@pytest.fixture
def open_terminal(ocitool: Command) -> Iterator[Callable[..., Terminal]]:
    """Return a function that runs the command on a terminal; it ends with the test."""
    with contextlib.ExitStack() as stack:

        def open_terminal(*arguments: str) -> Terminal:
            terminal = Terminal(ocitool, *arguments)
            stack.callback(terminal.process.wait)
            stack.callback(terminal.process.kill)
            return terminal

        yield open_terminal


def test_it_runs_on_a_terminal_and_says_at_its_end_what_it_wrote(
    open_terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    terminal = open_terminal("explore", "./layout")
    terminal.until(lambda: b"hidden" in terminal.seen and b"opt/" in terminal.seen)
    terminal.press(b"\t\t\t")  # The files; the first of them is a folder.
    terminal.press(b"\r")
    terminal.until(lambda: b"#4" in terminal.seen)
    terminal.press(b"\x1b[B")
    terminal.until(lambda: b"-rw-r--r-- 1:1" in terminal.seen)
    terminal.press(b"e")
    terminal.until(lambda: b"Write to" in terminal.seen)
    terminal.press(b"\r")
    terminal.until(lambda: b"wrote" in terminal.seen)
    terminal.seen = b""
    terminal.press(b"q")
    assert terminal.end() == 0
    assert b"wrote ./model\r\n" in terminal.seen
    assert (tmp_path / "model").stat().st_size == 4000


def test_ctrl_c_ends_it_as_any_other_command(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal("explore", "./layout")
    terminal.until(lambda: b"Layers" in terminal.seen)
    terminal.press(b"\x03")
    assert terminal.end() == 130


@pytest.mark.parametrize(
    ("number", "moment"), [(signal.SIGINT, b"opt/"), (signal.SIGTERM, b"Layers")]
)
def test_a_signal_from_outside_ends_it_and_restores_the_terminal(
    open_terminal: Callable[..., Terminal], number: signal.Signals, moment: bytes
) -> None:
    terminal = open_terminal("explore", "./layout")
    before = terminal.modes()
    terminal.until(lambda: moment in terminal.seen)
    assert terminal.modes() != before
    sent = time.monotonic()
    terminal.process.send_signal(number)
    terminal.until(lambda: terminal.process.poll() is not None)
    assert terminal.process.wait(2) == 128 + number
    assert time.monotonic() - sent < 2
    assert terminal.modes() == before
    assert b"\x1b[?1049l" in terminal.seen


def test_an_image_that_is_not_there_is_an_error_of_the_command(
    open_terminal: Callable[..., Terminal],
) -> None:
    terminal = open_terminal("explore", "oci:layout:none")
    assert terminal.end() == 4
