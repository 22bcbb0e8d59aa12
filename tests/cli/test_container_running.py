"""container start, run, stop, wait, logs and ls as a user sees them, with a stand-in for runc."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Command, environment
from tests.support.images import build_image, oci_archive
from tests.support.root_files import layer_of, program
from tests.support.runtime import stand_in

GOES_ON = 'echo $$ >$pid; trap "exit 3" TERM; while :; do sleep 0.02; done'


@pytest.fixture
def filled(ocitool: Command, tmp_path: Path) -> Iterator[Command]:
    """Return the command with an image app:1; kills what still runs at the end."""
    app = build_image(
        [layer_of(program("bin/app", b"x"))], config={"config": {"Cmd": ["/bin/app"]}}
    )
    archive = tmp_path / "x.tar"
    archive.write_bytes(oci_archive({"app:1": app}))
    assert ocitool("load", archive).code == 0
    yield ocitool
    for name in ocitool("container", "ls", "-q").out.split():
        assert ocitool("container", "rm", "-f", name).code == 0


@pytest.fixture
def web(filled: Command) -> Command:
    """Return the command with a container that is called web."""
    assert filled("container", "create", "--name", "web", "--copy", "app:1").code == 0
    return filled


def runtime(folder: Path, does: str = "echo $$ >$pid; exit 7") -> tuple[str, str]:
    return ("--runtime", str(stand_in(folder, does)))


def limit_memory(path: Path, limit: int) -> None:
    config = json.loads(path.read_bytes())
    config["linux"]["resources"]["memory"]["limit"] = limit
    path.write_text(json.dumps(config))


def states(command: Command) -> dict[str, str]:
    listed = json.loads(command("container", "ls", "-a", "--json").out)
    return {one["name"]: one["state"] for one in listed}


class TestStart:
    def test_the_exit_code_and_the_output_are_the_containers(
        self, web: Command, tmp_path: Path
    ) -> None:
        says = "echo $$ >$pid; echo out; echo err >&2; cat; exit 7"
        done = web("container", "start", "web", *runtime(tmp_path, says), stdin=b"not given")
        assert (done.code, done.out, done.err) == (7, "out\n", "err\n")
        given = web("container", "start", "-ai", "web", *runtime(tmp_path, says), stdin=b"given\n")
        assert (given.code, given.out) == (7, "out\ngiven\n")
        line = web("container", "ls").out.splitlines()[1]
        assert "exited (7)" in line

    def test_in_the_background_its_name_is_printed(self, web: Command, tmp_path: Path) -> None:
        done = web("container", "start", "-d", "web", *runtime(tmp_path, GOES_ON))
        assert (done.code, done.out) == (0, "web\n")
        assert states(web) == {"web": "running"}
        refused = web("container", "rm", "web")
        assert refused.code == 6
        assert refused.err.endswith("  end it first: `ocitool container stop web`\n")
        stopped = web("container", "stop", "web")
        assert (stopped.code, stopped.out, stopped.err) == (0, "web\n", "")
        assert web("container", "wait", "web").out == "3\n"
        assert web("container", "stop", "web").err == "web was not running\n"

    def test_a_signal_to_the_command_is_passed_on(self, web: Command, tmp_path: Path) -> None:
        words = [sys.executable, "-m", "ocitool", "container", "start", "web"]
        words += runtime(tmp_path, GOES_ON)
        with subprocess.Popen(words, env=environment(web.store)) as process:
            while states(web) != {"web": "running"} or not list(web.store.rglob("run/pid")):
                time.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 3
        assert states(web) == {"web": "exited"}

    def test_what_excludes_each_other_is_told(self, web: Command, tmp_path: Path) -> None:
        for options, text in (
            (("-d", "-a"), "-d and -a exclude each other"),
            (("-d", "-i"), "-d and -i exclude each other"),
            (("--json",), "--json needs -d"),
        ):
            done = web("container", "start", "web", *options)
            assert (done.code, text in done.err) == (2, True)
        assert web("container", "start", "who").code == 125
        assert web("container", "start", "-d", "who").code == 4
        failed = web("container", "start", "web", *runtime(tmp_path, "echo bad >&2; exit 1"))
        assert failed.code == 125
        assert failed.err.startswith("bad\nocitool: runtime could not start container web\n")


class TestRun:
    def test_create_and_start_in_one(self, filled: Command, tmp_path: Path) -> None:
        says = "echo $$ >$pid; grep -c SPECIAL $bundle/config.json; exit 5"
        options = ("-e", "SPECIAL=1", *runtime(tmp_path, says))
        done = filled("container", "run", "--name", "one", *options, "app:1")
        assert (done.code, done.out, done.err) == (5, "1\n", "")
        assert states(filled) == {"one": "exited"}
        behind = filled("container", "run", "-d", "--name", "two", *options, "-q", "app:1")
        assert (behind.code, len(behind.out.strip())) == (0, 64)

    @pytest.mark.parametrize("detach", [(), ("-d",)])
    def test_with_rm_nothing_is_left(
        self, filled: Command, tmp_path: Path, detach: tuple[str, ...]
    ) -> None:
        for does in ("echo $$ >$pid; exit 0", "exit 1"):
            program = runtime(tmp_path, does)
            filled("container", "run", "--rm", "--name", "gone", *detach, *program, "app:1")
            until = time.monotonic() + 10
            while states(filled) and time.monotonic() < until:
                time.sleep(0.02)
            assert states(filled) == {}

    def test_what_stands_behind_the_image_belongs_to_the_command(
        self, filled: Command, tmp_path: Path
    ) -> None:
        for words in (
            ("echo", "-e", "hi"),
            ("sh", "-c", "5"),
            ("ls", "-l", "a=b"),
            ("echo", "--help"),
            ("echo", "--store", "x", "-q", "--", "--name"),
        ):
            for dashes in ((), ("--",)):
                options = ("--rm", *runtime(tmp_path, "cp $bundle/config.json $0.seen; exit 0"))
                filled("container", "run", *options, "app:1", *dashes, *words)
                seen = json.loads((tmp_path / "runtime.seen").read_bytes())
                assert tuple(seen["process"]["args"]) == words
                assert seen["linux"]["resources"]["cpu"] == {"shares": 0}
        made = filled("container", "create", "-q", "app:1", "sh", "-c", "echo hi")
        assert made.code == 0, made.err
        refused = filled("container", "run", "app:1", "--name", "web")
        assert refused.code == 2
        assert refused.err.endswith("  options stand before the image: '--name' … app:1\n")

    @pytest.mark.parametrize(
        ("said", "code"),
        [
            ('exec: \\"x\\": executable file not found in $PATH', 127),
            ('exec: \\"/etc\\": permission denied', 126),
            ("cannot mount", 125),
        ],
    )
    def test_in_front_dockers_codes_tell_that_no_process_ran(
        self, filled: Command, tmp_path: Path, said: str, code: int
    ) -> None:
        (tmp_path / "said").write_text(f'time="x" level=error msg="{said}"\n')
        program = runtime(tmp_path, f"cp {tmp_path}/said $log; exit 1")
        made = filled("container", "run", "--name", "web", *program, "app:1")
        assert made.code == code
        assert made.err.splitlines()[:2] == [
            "container web was made, and stays: `ocitool container rm web` removes it",
            "ocitool: runtime could not start container web",
        ]
        assert states(filled) == {"web": "created"}
        assert filled("container", "start", "web", *program).code == code
        assert filled("container", "start", "-d", "web", *program).code == 1
        gone = filled("container", "run", "--rm", *program, "app:1")
        assert (gone.code, "was made" in gone.err) == (code, False)

    def test_what_fails_before_has_the_code_of_its_kind_only_in_the_background(
        self, filled: Command
    ) -> None:
        for words in (("none:1",), ("--runtime", "/none/runc", "--rm", "app:1")):
            assert filled("container", "run", *words).code == 125
            assert filled("container", "run", "-d", *words).code == 4

    @pytest.mark.parametrize(
        ("options", "code", "told"),
        [
            (("-m", "8m"), 137, "container big was killed (137), with a memory limit of 8m\n"),
            (("-m", "8m"), 1, ""),
            ((), 137, ""),
        ],
    )
    def test_one_that_was_killed_names_the_limit_of_its_memory(
        self, filled: Command, tmp_path: Path, options: tuple[str, ...], code: int, told: str
    ) -> None:
        program = runtime(tmp_path, f"echo $$ >$pid; exit {code}")
        limits = (*options, "--best-effort-limits", "--name", "big")
        # Where no limit can be kept the bundle has none; the file then says it by hand.
        made = filled("container", "create", *limits, "--json", "app:1").json
        assert isinstance(made, dict)
        if options:
            limit_memory(Path(made["bundle"], "config.json"), 8 << 20)
        done = filled("container", "start", "big", *program)
        assert (done.code, done.err) == (code, told)

    def test_a_refused_option_makes_nothing(self, filled: Command) -> None:
        assert filled("container", "run", "--memory", "1m", "app:1").code == 2
        assert filled("container", "run", "--json", "app:1").code == 2
        assert states(filled) == {}


class TestLogs:
    def test_both_outputs_as_they_are(self, web: Command, tmp_path: Path) -> None:
        says = r"echo $$ >$pid; printf 'a\377\n'; echo bad >&2"
        assert web("container", "logs", "web").code == 4
        web("container", "start", "-d", "web", *runtime(tmp_path, says))
        done = web.run_bytes("container", "logs", "-f", "web")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"a\xff\n", b"bad\n")
