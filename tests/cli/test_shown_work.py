"""What a command shows while it works: a bar on a terminal, a heartbeat in a log, a last line."""

import contextlib
import fcntl
import os
import pty
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places.registry.pushes import NAME
from tests.support.command import ROOT, Command, environment
from tests.support.images import build_image, docker_archive, oci_archive
from tests.support.registry import EmulatedRegistry
from tests.support.registry_faults import Delay
from tests.support.terminal import Heard

IMAGE = build_image([{"a": b"1"}, {"b": random.Random(1).randbytes(40_000)}])
ARCHIVE = oci_archive({"app:1": IMAGE})
LAST_LINE = r"  {blobs}, [\d.]+ k?B, \d\.\d s \({there} existed\)"
_QUICK = """
import sys
from ocitool.cli.main import run
from ocitool.cli.render import progress
from ocitool.places.layout import lock
progress._HEARTBEAT, progress._LARGE, lock._TOLD_AFTER = 0.2, 10_000, 0.05
code = run(sys.argv[1:])
sys.stdout.flush(); sys.stderr.flush()
sys.exit(code)
"""


@contextlib.contextmanager
def quick(
    store: Path, *arguments: str | Path, stderr: int = subprocess.PIPE
) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a command whose heartbeat comes five times a second; it must end well."""
    with subprocess.Popen(
        [sys.executable, "-c", _QUICK, *map(str, arguments)],
        cwd=ROOT,
        env=environment(store),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
    ) as process:
        try:
            yield process
            assert process.wait(15) == 0
        finally:
            process.kill()


def errors_of(process: "subprocess.Popen[bytes]") -> Heard:
    """Return what a process says on stderr."""
    assert process.stderr is not None
    return Heard(process.stderr.fileno())


def feed(process: "subprocess.Popen[bytes]", data: bytes, *, end: bool = False) -> None:
    """Write to the standard input of a process."""
    assert process.stdin is not None
    process.stdin.write(data)
    process.stdin.flush()
    if end:
        process.stdin.close()


class TestHeartbeat:
    def test_a_pipe_that_stands_still_is_told_with_what_was_read(self, tmp_path: Path) -> None:
        with quick(tmp_path / "store", "load") as process:
            heard = errors_of(process)
            feed(process, ARCHIVE[:10_240])
            heard.wait_for(r"reading stdin: 10\.2 kB, nothing for \d s\n")
            feed(process, ARCHIVE[10_240:], end=True)
            last = heard.finish().splitlines()[-1]
            assert re.fullmatch("loaded app:1" + LAST_LINE.format(blobs="4 blobs", there=0), last)

    @pytest.mark.parametrize(
        ("method", "pattern"), [("HEAD", "/manifests/"), ("PUT", "/blobs/uploads/.")]
    )
    def test_a_stalled_registry_is_named(self, tmp_path: Path, method: str, pattern: str) -> None:
        file = tmp_path / "x.tar"
        file.write_bytes(ARCHIVE)
        with EmulatedRegistry() as registry:
            registry.fail(method, pattern, Delay(1.0), times=1)
            name = f"{registry.host}/{NAME}:1"
            with quick(tmp_path / "store", "push", file, name) as process:
                text = errors_of(process).finish()
            assert f"waiting for {registry.host}: " in text

    def test_a_lock_of_another_process_is_told_again(self, tmp_path: Path) -> None:
        assert Command(tmp_path / "store", tmp_path)("load", stdin=ARCHIVE).code == 0
        file = tmp_path / "other.tar"
        file.write_bytes(oci_archive({"other:1": IMAGE}))
        with (tmp_path / "store" / ".ocitool" / "lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with quick(tmp_path / "store", "load", file) as process:
                heard = errors_of(process)
                heard.wait_for(r"waiting for process \d+, which locks '.*lock': \d s\n")
                fcntl.flock(lock, fcntl.LOCK_UN)
                heard.finish()


class TestBar:
    def test_it_is_there_within_a_second_also_when_nothing_moves(self, tmp_path: Path) -> None:
        main, terminal = pty.openpty()
        with quick(tmp_path / "store", "load", stderr=terminal) as process:
            os.close(terminal)
            heard = Heard(main)
            feed(process, ARCHIVE[:10_240])
            heard.wait_for(r"reading stdin.*10\.2/\? kB")
            feed(process, ARCHIVE[10_240:], end=True)
        text = heard.finish()
        os.close(main)
        # The bar is gone, the cursor is back, and the last line stands alone.
        assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
        assert re.search(r"\x1b\[2Kloaded app:1  [^\x1b]*\n$", text)


class TestLog:
    def test_small_blobs_have_no_lines_and_large_ones_a_short_digest(self, tmp_path: Path) -> None:
        file = tmp_path / "x.tar"
        file.write_bytes(ARCHIVE)
        large = IMAGE.layers[1]
        with EmulatedRegistry() as registry:
            name = f"{registry.host}/{NAME}:1"
            with quick(tmp_path / "store", "push", file, name) as process:
                lines = errors_of(process).finish().splitlines()
            # On a slow machine a sign of life may come first.
            said = [line for line in lines[:-1] if not line.startswith("pushing: ")]
            assert said == [f"uploaded: {large.digest.short} {large.size / 1000:.1f} kB"]
            last = f"pushed {name}" + LAST_LINE.format(blobs="4 blobs", there=0)
            assert re.fullmatch(last, lines[-1])

    def test_every_moving_command_ends_with_what_it_did(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        def last(*arguments: str | Path) -> str:
            done = ocitool(*arguments)
            assert done.code == 0, done.err
            assert "Traceback" not in done.err
            return done.err.splitlines()[-1]

        file, other = tmp_path / "x.tar", tmp_path / "y.tar"
        file.write_bytes(ARCHIVE)
        other.write_bytes(docker_archive({"old:1": IMAGE}))
        four = LAST_LINE.format(blobs="4 blobs", there=0)
        assert re.fullmatch("loaded app:1" + four, last("load", file))
        again = LAST_LINE.format(blobs="0 blobs", there=4)
        unread = again.replace("existed", f"existed and were not read in {re.escape(str(file))}")
        assert re.fullmatch("loaded app:1" + unread, last("load", file))
        assert re.fullmatch("loaded 2 images  .*", last("load", file, other))
        assert re.fullmatch(
            f"copied to oci:{tmp_path}/l:1" + four, last("copy", "app:1", f"oci:{tmp_path}/l:1")
        )
        with EmulatedRegistry() as registry:
            name = f"{registry.host}/{NAME}:1"
            last("copy", "app:1", f"docker://{name}")
            found = LAST_LINE.format(blobs="0 blobs", there=4)
            assert re.fullmatch(f"pulled {re.escape(name)}" + found, last("pull", name))
            assert ocitool("-q", "pull", name).err == ""

    @pytest.mark.parametrize(
        ("arguments", "layers"),
        [
            ((), "gzip (as they were; --compression gzip|zstd|none changes them)"),
            (("--compression", "none"), "uncompressed (--compression none)"),
            (("--type", "docker"), "uncompressed (--type docker)"),
        ],
    )
    def test_save_says_what_it_wrote(
        self, ocitool: Command, tmp_path: Path, arguments: tuple[str, ...], layers: str
    ) -> None:
        ocitool("load", stdin=ARCHIVE)
        out = tmp_path / "out.tar"
        done = ocitool("save", "app:1", "-o", out, *arguments)
        line = done.err.splitlines()[-1]
        size = f"{out.stat().st_size / 1000:.1f} kB"
        assert re.fullmatch(
            re.escape(f"saved {out}  1 image, {size}, ")
            + r"\d\.\d s"
            + re.escape(f"; layers: {layers}"),
            line,
        )
        piped = ocitool.run_bytes("save", "app:1", *arguments)
        assert b"saved the tar  1 image, " in piped.stderr
