"""The command as a process: signals, closed and full streams, odd surroundings, memory."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults import figures
from tests.faults.bulk import MIB, large_file, many_files, write_archive
from tests.faults.scenes import SCENES, Stage, names_in
from tests.support.commands import ROOT, wait_until_it_reads
from tests.support.disk import read_only
from tests.support.layouts import temporaries
from tests.support.stores import checked

PEAK = 100 * MIB
NO_TRACEBACK = re.compile(rb"\A((?!Traceback).)*\Z", re.DOTALL)


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment without what is meant for ocitool."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("OCITOOL_") and k != "TMPDIR"}
    return {**kept, **more}


def ocitool(*words: str | Path) -> list[str]:
    """Return the words that run the command."""
    return [sys.executable, "-m", "ocitool", *map(str, words)]


@pytest.fixture(scope="module")
def slow_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive that takes half a second to load."""
    path = tmp_path_factory.mktemp("slow") / "slow.tar"
    return write_archive(path, "slow:1", [large_file(20 * MIB, seed) for seed in range(2)])


class TestSignals:
    def signals(self, archive: Path, prepared: Path, folder: Path, turns: range) -> Iterator[str]:
        """Send a signal at a random moment of a load from a pipe; yield where it struck."""
        stage = Stage(SCENES["load"], prepared, folder / "timed")
        begun = time.monotonic()
        subprocess.run(
            ocitool("--store", stage.store, "-q", "load", archive),
            cwd=ROOT,
            env=environment(),
            check=True,
            capture_output=True,
        )
        duration = time.monotonic() - begun
        for turn in figures.current.in_time(turns):
            chance = random.Random(turn)
            number = chance.choice([signal.SIGINT, signal.SIGTERM])
            stage = Stage(SCENES["load"], prepared, folder / str(turn))
            before = stage.names()
            scratch = folder / f"scratch-{turn}"
            scratch.mkdir()
            with archive.open("rb") as source:
                process = subprocess.Popen(
                    ocitool("--store", stage.store, "load", "-"),
                    cwd=ROOT,
                    env=environment(TMPDIR=str(scratch)),
                    stdin=source,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
                time.sleep(chance.uniform(0.02, duration))
                process.send_signal(number)
                sent = time.monotonic()
                _, errors = process.communicate(timeout=30)
            assert time.monotonic() - sent < 2 or process.returncode == 0
            assert_quiet(errors)
            # Before the command has begun, the signal or Python itself ends the process.
            early = (1,) if b"KeyboardInterrupt" in errors else ()
            assert process.returncode in (0, 128 + number, -number, *early), errors.decode()
            assert temporaries(stage.store) == []
            assert list(scratch.iterdir()) == []
            report = checked(stage.store)
            assert report.problems == ()
            after = set(stage.names()) - set(before)
            if process.returncode == 0:
                assert after
            elif not after:
                assert report.unreferenced == (), "what was stored is gone again"
            assert stage.names().items() >= before.items()
            stage.remove()
            yield "after" if process.returncode == 0 else "during"

    def test_a_signal_ends_a_load_in_two_seconds_and_leaves_nothing(
        self, slow_archive: Path, prepared: Path, tmp_path: Path
    ) -> None:
        struck = list(self.signals(slow_archive, prepared, tmp_path, range(5)))
        figures.current.count("G28", "signals at random moments", len(struck))
        assert "during" in struck

    @pytest.mark.soak
    def test_100_signals_end_a_load_in_two_seconds_and_leave_nothing(
        self, slow_archive: Path, prepared: Path, tmp_path: Path
    ) -> None:
        for _ in self.signals(slow_archive, prepared, tmp_path, range(100, 200)):
            figures.current.count("G28", "signals at random moments")

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_while_it_waits_for_input_gives_its_exit_code(
        self, number: signal.Signals, tmp_path: Path
    ) -> None:
        process = subprocess.Popen(
            ocitool("--store", tmp_path / "s", "load", "-"),
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # The tests themselves may run under nohup.
            preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
        )
        wait_until_it_reads(process)
        process.send_signal(number)
        sent = time.monotonic()
        process.wait(30)
        assert time.monotonic() - sent < 2
        assert process.stderr is not None
        assert NO_TRACEBACK.match(process.stderr.read())
        assert process.returncode == 128 + number
        process.communicate()
        figures.current.count("G28", "signals at random moments")

    @pytest.mark.parametrize("moments", [5, pytest.param(24, marks=pytest.mark.soak)])
    def test_ctrl_c_during_the_start_prints_no_traceback(
        self, tmp_path: Path, moments: int
    ) -> None:
        codes = set()
        for step in range(moments):
            process = subprocess.Popen(
                ocitool("--store", tmp_path / "s", "images"),
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            time.sleep(step * 0.36 / moments)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
            assert_quiet(errors)
            assert process.returncode in (0, 130, -signal.SIGINT, 1)
            codes.add(process.returncode)
            figures.current.count("G28", "signals at random moments")
        assert codes & {130, -signal.SIGINT}

    def test_a_signal_that_strikes_where_python_drops_exceptions_is_not_lost(
        self, tmp_path: Path
    ) -> None:
        process = subprocess.run(
            [sys.executable, "-c", _STRUCK_IN_A_CALLBACK],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert (process.returncode, process.stdout) == (130, b"")
        assert process.stderr == b"ocitool: interrupted\n"

    def test_a_signal_that_was_ignored_stays_ignored(self, prepared: Path, tmp_path: Path) -> None:
        # As under nohup.
        process = subprocess.Popen(
            ocitool("--store", tmp_path / "s", "load", "-"),
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        )
        archive = (prepared / "in" / "docker.tar").read_bytes()
        wait_until_it_reads(process, archive[:512])
        process.send_signal(signal.SIGHUP)
        _, errors = process.communicate(archive[512:], timeout=30)
        assert process.returncode == 0, errors.decode()
        assert len(names_in(tmp_path / "s")) == 2


_STRUCK_IN_A_CALLBACK = """
import signal, time, weakref
from ocitool.cli import main

class Thing:
    pass

def work(arguments):
    thing = Thing()
    watched = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
    del thing
    time.sleep(30)
    print("not interrupted")
    return 0

main._invoke = work
raise SystemExit(main.run([]))
"""


def assert_quiet(errors: bytes) -> None:
    """Fail when a signal was answered with a traceback, once `main` has set what signals do."""
    if b"Traceback" in errors:
        # Before that Python answers as it always does.
        assert b"ocitool/cli/" not in errors, errors.decode()
        assert b"KeyboardInterrupt" in errors, errors.decode()


class TestPipes:
    @pytest.mark.parametrize(
        "words",
        [
            ("images",),
            ("inspect", "old:1"),
            ("inspect", "--config", "old:1"),
            ("history", "old:1"),
            ("verify",),
            ("save", "old:1"),
            ("untag", "old:1"),
        ],
        ids=" ".join,
    )
    def test_a_reader_that_has_gone_is_met_with_silence(
        self, words: Sequence[str], prepared: Path, tmp_path: Path
    ) -> None:
        stage = Stage(SCENES["load"], prepared, tmp_path / "stage")
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            ocitool("--store", stage.store, *words),
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
        os.close(writing)
        assert done.stderr == b""
        assert done.returncode == 141
        figures.current.count("G29", "commands whose reader has gone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surrounding:
    """Something odd around a process."""

    variables: Mapping[str, str] | None = None
    before: Callable[[], object] | None = None


def _close(descriptor: int) -> Callable[[], object]:
    return lambda: os.close(descriptor)


SURROUNDINGS: Mapping[str, Surrounding] = {
    "the C locale": Surrounding(
        variables={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ),
    "a locale that does not exist": Surrounding(variables={"LC_ALL": "xx_YY.UTF-8"}),
    "ASCII streams": Surrounding(variables={"PYTHONIOENCODING": "ascii"}),
    "umask 000": Surrounding(before=lambda: os.umask(0)),
    "umask 077": Surrounding(before=lambda: os.umask(0o077)),
    "closed stdin": Surrounding(before=_close(0)),
    "closed stderr": Surrounding(before=_close(2)),
    "closed stdout": Surrounding(before=_close(1)),
    "all streams closed": Surrounding(before=lambda: os.closerange(0, 3)),
    "another time zone": Surrounding(variables={"TZ": "Pacific/Kiritimati"}),
    "no HOME": Surrounding(variables={"HOME": "", "XDG_DATA_HOME": ""}),
}


class TestSurroundings:
    @pytest.mark.parametrize("name", SURROUNDINGS)
    def test_everything_works_the_same(self, name: str, prepared: Path, tmp_path: Path) -> None:
        surrounding = SURROUNDINGS[name]
        stage = Stage(SCENES["load"], prepared, tmp_path / "stage")
        file = stage.out / "file.tar"

        def run(*words: str | Path) -> bytes:
            done = subprocess.run(
                ocitool("--store", stage.store, "--progress", "none", *words),
                cwd=ROOT,
                env=environment(**(surrounding.variables or {})),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=60,
                preexec_fn=surrounding.before,
            )
            assert done.returncode == 0, done.stderr.decode()
            assert NO_TRACEBACK.match(done.stderr)
            return done.stdout

        run("load", prepared / "in" / "docker.tar")
        run("save", "new:1", "-o", file)
        table = run("images")
        assert (b"old" in table) == ("stdout" not in name and "all" not in name)
        assert {n.rpartition("/")[2] for n in names_in(stage.store)} == {
            "old:1",
            "gone:1",
            "new:1",
            "both:1",
            "both:2",
        }
        assert checked(stage.store).problems == ()
        assert temporaries(stage.store) == []
        assert file.stat().st_size > 1000
        if name.startswith("umask"):
            mask = int(name.split()[1], 8)
            for path in (file, stage.store / "index.json"):
                assert path.stat().st_mode & 0o777 == 0o666 & ~mask
        figures.current.count("G30", "surroundings of load, save and images")

    @pytest.mark.parametrize(
        "words", [("images",), ("verify",), ("save", "old:1"), ("inspect", "old:1")], ids=" ".join
    )
    def test_a_full_stdout_is_an_error(
        self, words: Sequence[str], prepared: Path, tmp_path: Path
    ) -> None:
        stage = Stage(SCENES["load"], prepared, tmp_path / "stage")
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                ocitool("--store", stage.store, *words),
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=full,
                stderr=subprocess.PIPE,
                check=False,
                timeout=60,
            )
        assert done.returncode == 9
        assert b"No space left" in done.stderr or b"no space left" in done.stderr
        assert NO_TRACEBACK.match(done.stderr)
        figures.current.count("G30", "commands with a full stdout")

    def test_a_full_stderr_does_not_keep_a_load_from_its_work(
        self, prepared: Path, tmp_path: Path
    ) -> None:
        stage = Stage(SCENES["load"], prepared, tmp_path / "stage")
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                ocitool(*stage.command[:2], "load", prepared / "in" / "docker.tar"),
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=full,
                check=False,
                timeout=60,
            )
        assert done.returncode == 0
        assert b"Loaded image" in done.stdout
        assert "new:1" in str(names_in(stage.store))
        assert temporaries(stage.store) == []
        figures.current.count("G30", "commands with a full stderr")

    @pytest.mark.parametrize("moment", [0, 1 << 33], ids=["1970", "2242"])
    def test_files_from_another_time_are_used_all_the_same(
        self, moment: int, prepared: Path, tmp_path: Path
    ) -> None:
        stage = Stage(SCENES["load"], prepared, tmp_path / "stage")
        for path in stage.store.rglob("*"):
            os.utime(path, (moment, moment))
        for words in (["load", str(prepared / "in" / "docker.tar")], ["rm", "gone:1"], ["verify"]):
            subprocess.run(
                ocitool("--store", stage.store, *words),
                cwd=ROOT,
                env=environment(),
                check=True,
                capture_output=True,
            )
        assert checked(stage.store).unreferenced == ()
        figures.current.count("G30", "stores with another machine's clock")

    def test_a_home_that_cannot_be_written_is_one_error(
        self, prepared: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "home").mkdir()
        with read_only(tmp_path / "home"):
            done = subprocess.run(
                ocitool("load", prepared / "in" / "docker.tar"),
                cwd=ROOT,
                env=environment(HOME=str(tmp_path / "home"), XDG_DATA_HOME=""),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=60,
            )
        assert done.returncode == 9
        assert b"read-only" in done.stderr
        assert NO_TRACEBACK.match(done.stderr)
        figures.current.count("G30", "surroundings of load, save and images")


def peak_of(*words: str | Path) -> int:
    """Run the command to its end and return its peak of resident memory in bytes."""
    done = subprocess.run(
        [sys.executable, "-S", "-E", str(Path(__file__).with_name("peak.py")), *ocitool(*words)],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stderr.splitlines()[-1]) * 1024


def assert_little_memory(folder: Path, archive: Path, guarantee: str) -> None:
    """Fail unless load, save, verify and inspect of an archive stay below the limit."""
    store, file = folder / "store", folder / "file.tar"
    peaks = {
        "load": peak_of("--store", store, "load", archive),
        "load again": peak_of("--store", store, "load", archive),
        "verify": peak_of("--store", store, "verify"),
        "inspect": peak_of("--store", store, "inspect", "big:1"),
        "save": peak_of("--store", store, "save", "big:1", "-o", file),
        "verify the archive": peak_of("--store", store, "verify", file),
        "copy": peak_of("--store", store, "copy", "big:1", f"oci:{folder / 'layout'}"),
    }
    assert {name: peak // MIB for name, peak in peaks.items() if peak > PEAK} == {}
    figures.current.count(
        guarantee, f"commands on {archive.stat().st_size // MIB} MiB, at most 100", len(peaks)
    )


class TestMemory:
    def test_a_large_image_takes_little_memory(self, tmp_path: Path) -> None:
        layers = [large_file(50 * MIB, seed) for seed in range(3)]
        archive = write_archive(tmp_path / "big.tar", "big:1", layers)
        assert_little_memory(tmp_path, archive, "G15")

    def test_a_layer_with_many_files_takes_little_memory(self, tmp_path: Path) -> None:
        archive = write_archive(tmp_path / "big.tar", "big:1", [many_files(20_000)])
        assert_little_memory(tmp_path, archive, "G15")

    @pytest.mark.soak
    def test_a_larger_image_takes_no_more(self, tmp_path: Path) -> None:
        layers = [large_file(150 * MIB, seed) for seed in range(4)]
        archive = write_archive(tmp_path / "big.tar", "big:1", layers)
        assert_little_memory(tmp_path, archive, "G15")

    @pytest.mark.soak
    def test_a_layer_with_200000_files_takes_no_more(self, tmp_path: Path) -> None:
        archive = write_archive(tmp_path / "big.tar", "big:1", [many_files(200_000)])
        assert_little_memory(tmp_path, archive, "G15")
