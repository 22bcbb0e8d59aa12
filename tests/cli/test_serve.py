"""`registry serve` as a process: what it says, how it ends, what it refuses."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from ocitool.serving.server import serve
from tests.support.command import ROOT, Command
from tests.support.images import oci_archive
from tests.support.layouts import image, store
from tests.support.stores import written


@contextlib.contextmanager
def started(
    folder: Path, *options: str, listener: socket.socket | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """Run the command until the block ends; it has said that it serves."""
    command = [sys.executable, "-m", "ocitool", "--store", str(folder / "store")]
    command += ["registry", "serve", *options]
    if listener is not None:
        # The number of the process is known only in it.
        passed = f"exec 3<&{listener.fileno()}; export LISTEN_PID=$$ LISTEN_FDS=1; exec "
        command = ["bash", "-c", passed + " ".join(command)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=() if listener is None else (listener.fileno(),),
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def get(url: str, target: str = "/v2/_catalog") -> tuple[int, bytes]:
    client = HTTPConnection(url.rpartition("/")[2], timeout=10)
    client.request("GET", target)
    answer = client.getresponse()
    found = answer.status, answer.read()
    client.close()
    return found


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with store(tmp_path / "store", a=image("served")):
        return tmp_path


class TestS27TheProcess:
    def test_it_says_where_and_ends_when_it_is_told(self, folder: Path) -> None:
        ready, log = folder / "ready", folder / "log"
        options = ("--ready-file", str(ready), "--log", "json", "--log-file", str(log))
        with started(folder, "--addr", "127.0.0.1:0", *options) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith(f"serving {folder}/store at http://127.0.0.1:")
            assert line.endswith(" (read-only)\n")
            url = line.split()[3]
            assert ready.read_text() == f"{url} {process.pid}\n"
            assert get(url) == (200, b'{"repositories":["docker.io/library/a"]}')
            # A line is written when the answer is on its way.
            wait_until(lambda: log.read_text() != "")
            # The log may be moved away: SIGHUP begins a new one.
            log.rename(folder / "old-log")
            process.send_signal(signal.SIGHUP)
            wait_until(log.exists)
            get(url, "/v2/")
            process.terminate()
            assert process.wait(10) == 0
        (first,) = (folder / "old-log").read_text().splitlines()
        assert json.loads(first)["path"] == "/v2/_catalog"
        assert json.loads(log.read_text())["path"] == "/v2/"

    @pytest.mark.parametrize(
        ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["term", "int"]
    )
    def test_as_json_and_a_second_signal_ends_it_at_once(
        self, folder: Path, number: signal.Signals, code: int
    ) -> None:
        with started(folder, "--addr", "127.0.0.1:0", "--writable", "--json") as process:
            assert process.stdout is not None
            document = json.loads(process.stdout.readline())
            assert document["writable"] is True
            assert document["pid"] == process.pid
            host, _, port = document["url"].rpartition("/")[2].rpartition(":")
            # A request in hand that never ends.
            with socket.create_connection((host, int(port))) as sock:
                sock.sendall(
                    b"POST /v2/a/blobs/uploads/?digest=sha256:" + b"0" * 64 + b" HTTP/1.1\r\n"
                    b"Host: x\r\nContent-Length: 10\r\n\r\n1"
                )
                time.sleep(0.2)
                process.send_signal(number)
                assert process.stderr is not None
                line = process.stderr.readline()
                assert "ending: 1 transfer gets up to 30 s; Ctrl-C again ends at once" in line
                assert process.poll() is None
                process.send_signal(number)
                assert process.wait(10) == code

    def test_a_socket_of_the_service_manager(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            with started(folder, listener=listener) as process:
                assert process.stdout is not None
                assert f"http://127.0.0.1:{port} " in process.stdout.readline()
                assert get(f"http://127.0.0.1:{port}")[0] == 200
                process.terminate()
                assert process.wait(10) == 0


class TestS25AfterTheStart:
    @pytest.mark.parametrize("kept", [0, 1000], ids=["emptied", "cut"])
    def test_a_file_that_is_cut_is_not_ready(self, tmp_path: Path, kept: int) -> None:
        path = written(tmp_path / "carry.tar", oci_archive({"ghcr.io/t/a:1": image("x")}))
        with serve(str(path)) as server:
            assert get(server.url, "/readyz") == (200, b"ok\n")
            os.truncate(path, kept)
            assert get(server.url, "/readyz") == (503, b"not ready\n")

    def test_a_push_to_what_is_read_only_says_what_to_do(self, folder: Path) -> None:
        with serve(store=str(folder / "store")) as server:
            target = f"docker://{server.url.rpartition('/')[2]}/team/a:1"
            done = Command(folder / "store", folder)("push", "a:1", target)
        said = " ".join(done.err.split())
        assert "this registry is read-only: it was started without --writable" in said
        assert "start it with `ocitool registry serve --writable`" in said
        assert done.code == 6


class TestS25WhatIsRefused:
    def test_an_address_that_is_taken(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            done = Command(folder / "store", folder)("registry", "serve", "--addr", address)
        assert done.code == 6
        assert address in done.err

    @pytest.mark.parametrize(
        ("options", "code", "part"),
        [
            (("--addr", "0.0.0.0:0"), 2, "plain http"),
            (("--addr", "0.0.0.0:0", "--plain-http", "--writable"), 2, "--open"),
            (("--addr", "nonsense"), 2, "HOST:PORT"),
            (("--as", "no_host"), 2, "--as"),
            (("--log", "xml"), 2, "text, json or none"),
            (("./nothing.tar",), 4, "nothing.tar"),
            (("a:1",), 2, "whole places"),
            (("--writable", "store", "store"), 2, "only one SRC"),
            (("--htpasswd", "nothing"), 4, "cannot read --htpasswd 'nothing': it does not exist"),
        ],
    )
    def test_before_it_serves(
        self, folder: Path, options: tuple[str, ...], code: int, part: str
    ) -> None:
        chosen = options if "--addr" in options else (*options, "--addr", "127.0.0.1:0")
        done = Command(folder / "store", folder)("registry", "serve", *chosen)
        assert done.code == code, done.err
        assert part in done.err

    def test_a_file_is_not_written(self, folder: Path) -> None:
        written(folder / "carry.tar", oci_archive({"ghcr.io/t/a:1": image("x")}))
        done = Command(folder / "store", folder)(
            "registry", "serve", "./carry.tar", "--writable", "--addr", "127.0.0.1:0"
        )
        assert done.code == 2
        assert "'./carry.tar' can only be read" in done.err
        assert "`ocitool load ./carry.tar` and serve the store" in " ".join(done.err.split())

    def test_a_file_that_is_named_like_an_image(self, folder: Path) -> None:
        (folder / "vol.v01of02.tar").touch()
        done = Command(folder / "store", folder)("registry", "serve", "vol.v01of02.tar")
        assert done.code == 2
        assert "for the file of that name write ./vol.v01of02.tar" in done.err

    def test_a_compressed_archive(self, folder: Path) -> None:
        import gzip

        (folder / "a.tar.gz").write_bytes(gzip.compress(b"x" * 1000))
        done = Command(folder / "store", folder)(
            "registry", "serve", "./a.tar.gz", "--addr", "127.0.0.1:0"
        )
        assert done.code == 2
        assert "is compressed" in done.err


def test_other_commands_do_not_pay_for_it(tmp_path: Path) -> None:
    code = "import sys, ocitool.cli.commands.registry; print('h11' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=True, env=os.environ
    )
    assert done.stdout.strip() == b"False"
