"""A27: copy to ssh://, by the real ssh to a real sshd on this machine."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.peers import Ocitool, run, server
from tests.support.images import build_image, oci_archive
from tests.support.ports import free_port, listens

pytestmark = pytest.mark.interop

ROOT = Path(__file__).parent.parent.parent
NAME = "registry.example/app:1"
SERVER = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/user.pub
PasswordAuthentication no
StrictModes no
UsePAM no
"""
CLIENT = """
Host edge
    HostName 127.0.0.1
    Port {port}
    IdentityFile {folder}/user
    IdentitiesOnly yes
    UserKnownHostsFile {folder}/known
    StrictHostKeyChecking accept-new
    BatchMode yes
"""


@pytest.fixture
def tools(require: Callable[..., None], tmp_path: Path) -> Iterator[Path]:
    """A folder with an `ssh` whose configuration knows the host `edge`: a server that is up."""
    require("ssh", "ssh-keygen", "sshd")
    folder = tmp_path / "ssh"
    folder.mkdir()
    for name in ("host", "user"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)])
    port = free_port()
    (folder / "server").write_text(SERVER.format(folder=folder, port=port))
    (folder / "client").write_text(CLIENT.format(folder=folder, port=port))
    (tmp_path / "tools").mkdir()
    wrapper = tmp_path / "tools" / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/client "$@"\n')
    wrapper.chmod(0o755)
    Path("/run/sshd").mkdir(exist_ok=True)
    command = [str(shutil.which("sshd")), "-D", "-e", "-f", str(folder / "server")]
    with server(command, folder / "log", lambda: listens(port)):
        yield tmp_path / "tools"


@pytest.fixture
def here(tools: Path, tmp_path: Path) -> Ocitool:
    return Ocitool(tmp_path / "here", {"PATH": f"{tools}:{os.environ['PATH']}"})


def test_a27_an_image_and_then_what_is_new_of_it(here: Ocitool, tmp_path: Path) -> None:
    there = Ocitool(tmp_path / "there")
    remote = f"env PYTHONPATH={ROOT} {sys.executable} -m ocitool"
    base = {"base": os.urandom(500_000)}
    for number in (1, 2):
        archive = tmp_path / f"{number}.tar"
        archive.write_bytes(oci_archive({NAME: build_image([base, {"n": b"%d" % number}])}))
        words = ("copy", str(archive), f"ssh://edge{there.store}", "--remote-ocitool", remote)
        here.run(*words)
        here.run("load", str(archive))
        assert there.images() == here.images()


def test_a27_what_ssh_says_is_told(here: Ocitool, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(oci_archive({NAME: build_image()}))
    absent = here.attempt("copy", str(archive), "ssh://edge", "--remote-ocitool", "nosuchprogram")
    assert (absent.returncode, b"there is no 'nosuchprogram' on edge" in absent.stderr) == (4, True)
    other = here.attempt("copy", str(archive), "ssh://someone@edge")
    assert (other.returncode, b"ssh may not log in to edge" in other.stderr) == (5, True)
    nowhere = here.attempt("copy", str(archive), "ssh://127.0.0.1:1")
    assert (nowhere.returncode, b"cannot be reached" in nowhere.stderr) == (8, True)
