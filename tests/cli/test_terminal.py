"""Colour, NO_COLOR, simple terminals, pipes and Ctrl-C, each on a real terminal."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.cli.test_names_and_views import IMAGE_ID
from tests.places.registry.pushes import NAME
from tests.support.command import Command, environment
from tests.support.images import build_image, oci_archive
from tests.support.layouts import temporaries
from tests.support.registry import EmulatedRegistry
from tests.support.registry_faults import Delay
from tests.support.terminal import Terminal

PROGRAM = shlex.join([sys.executable, "-m", "ocitool"])
VIEWS = (
    ("images",),
    ("inspect", "fmt/app:1.0"),
    ("history", "fmt/app:1.0"),
    ("df",),
    ("gc", "--dry-run", "--containers", "none"),
    ("help",),
    ("help", "copy"),
    ("inspect", "no/such"),
)
STYLE = re.compile(r"\x1b\[([0-9;]*)m")


def plain(text: str) -> str:
    return STYLE.sub("", text)


def lines_of(text: str) -> list[str]:
    """Return the lines without the spaces at their ends, which may have a style."""
    return [line.rstrip() for line in text.splitlines()]


class TestColour:
    def test_it_is_for_headings_and_bars_alone_and_ends_with_the_line(
        self, loaded: Command
    ) -> None:
        """Bold, dim, cyan: nothing blinks, and no background or red hides a text."""
        styled = 0
        for view in VIEWS:
            for line in loaded.on_terminal(*view).splitlines():
                codes = STYLE.findall(line)
                assert "\x1b" not in plain(line), (view, line)
                assert {part for code in codes for part in code.split(";")} <= {"0", "1", "2", "36"}
                assert codes[1::2] == ["0"] * (len(codes) // 2), (view, line)
                assert len(codes) % 2 == 0, (view, line)
                styled += len(codes)
        assert styled

    @pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
    def test_without_it_the_text_is_the_same(
        self, loaded: Command, variables: dict[str, str]
    ) -> None:
        for view in VIEWS:
            shown = loaded.on_terminal(*view, columns=80, **variables)
            assert "\x1b" not in shown
            assert lines_of(shown) == lines_of(plain(loaded.on_terminal(*view)))

    def test_a_pipe_has_none_though_messages_go_to_a_terminal(
        self, loaded: Command, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        words = " && ".join(f"{PROGRAM} {shlex.join(view)} >> {out}" for view in VIEWS[:2])
        with Terminal(["sh", "-c", words], environment(loaded.store)) as terminal:
            assert terminal.end(30) == 0
        assert IMAGE_ID in out.read_text()
        assert "\x1b" not in out.read_text()


class TestProgress:
    @pytest.fixture
    def registry(self) -> EmulatedRegistry:
        registry = EmulatedRegistry()
        registry.add_image(NAME, build_image([{"a": b"1"}]), "1")
        registry.fail("GET", "/blobs/", Delay(30.0))
        return registry

    def started(self, ocitool: Command, registry: EmulatedRegistry, **variables: str) -> Terminal:
        words = [sys.executable, "-m", "ocitool", "pull", f"{registry.host}/{NAME}:1"]
        shown = {"TERM": "xterm-256color", "COLUMNS": "80", **variables}
        return Terminal(words, {**environment(ocitool.store), **shown})

    def test_ctrl_c_ends_it_and_leaves_terminal_and_store_in_order(
        self, ocitool: Command, registry: EmulatedRegistry
    ) -> None:
        with registry, self.started(ocitool, registry) as terminal:
            terminal.heard.wait_for(r"\x1b\[\?25l")
            terminal.type(b"\x03")
            assert terminal.end(2) == 130
            screen = terminal.heard.finish()
        # The cursor is back, and nothing but the bar was there.
        assert screen.rindex("\x1b[?25h") > screen.rindex("\x1b[?25l")
        assert "Traceback" not in screen
        assert temporaries(ocitool.store) == []
        assert ocitool("verify").code == 0

    def test_a_bar_has_no_colour_where_none_is_wanted(
        self, ocitool: Command, registry: EmulatedRegistry
    ) -> None:
        with registry, self.started(ocitool, registry, NO_COLOR="1") as terminal:
            terminal.heard.wait_for(r"pulling")
            terminal.type(b"\x03")
            assert terminal.end(2) == 130
            codes = {c for code in STYLE.findall(terminal.heard.finish()) for c in code.split(";")}
        assert codes <= {"", "0", "1", "2"}

    def test_a_terminal_that_cannot_draw_gets_lines(
        self, ocitool: Command, registry: EmulatedRegistry
    ) -> None:
        quick = "import sys; from ocitool.cli.render import progress as p; p._HEARTBEAT = 0.1; "
        words = [
            sys.executable,
            "-c",
            f"{quick}from ocitool.cli.main import run; sys.exit(run(sys.argv[1:]))",
        ]
        name = f"{registry.host}/{NAME}:1"
        env = {**environment(ocitool.store), "TERM": "dumb"}
        with registry, Terminal([*words, "pull", name], env) as terminal:
            terminal.heard.wait_for(rf"waiting for {registry.host}: \d s\r\n")
            terminal.type(b"\x03")
            assert terminal.end(2) == 130
            assert "\x1b" not in terminal.heard.finish()


def test_head_ends_a_long_list_quietly(ocitool: Command, tmp_path: Path) -> None:
    steps = [{"created_by": f"RUN {number:060}", "empty_layer": True} for number in range(3000)]
    assert ocitool("load", stdin=oci_archive({"long:1": build_image([], history=steps)})).code == 0
    words = f"{{ {PROGRAM} history --no-trunc long:1; echo code $? >&2; }} | head -n 2"
    with Terminal(["sh", "-c", words], environment(ocitool.store)) as terminal:
        assert terminal.end(30) == 0
        lines = terminal.heard.finish().splitlines()
    assert [line.split()[0] for line in lines if not line.startswith("code")] == ["#", "-"]
    assert lines[-1] == "code 141"
    assert len(lines) == 3
