"""A27: copy to ssh://, with an `ssh` that runs the command on this machine."""

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from tests.support.command import ROOT, Command, Done
from tests.support.images import build_image, hybrid_archive
from tests.support.stores import assert_whole

NAME = "registry.example/app:1"
BASE = {"base": os.urandom(100_000)}
SSH = """#!/bin/sh
# Records how it was called, and runs what it is told; a file `limit` breaks the connection.
printf '%s\\n' "$@" > "{folder}/words"
for line; do :; done
unset OCITOOL_STORE
case "$line" in
*" bundle load "*)
    if [ -f "{folder}/limit" ]; then
        head -c "$(cat "{folder}/limit")" | sh -c "$line"
        echo 'client_loop: send disconnect: Broken pipe' >&2
        exit 255
    fi
    tee "{folder}/sent" | sh -c "$line"
    ;;
*) exec sh -c "$line" ;;
esac
"""
OCITOOL = """#!/bin/sh
export PYTHONPATH="{root}" XDG_DATA_HOME="{folder}/there"
exec "{python}" -m ocitool "$@"
"""


class Machine:
    """Another machine, of which this one knows an `ssh` and a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tools = folder / "tools"
        self.tools.mkdir()
        self.put("ssh", SSH)
        self.put("ocitool", OCITOOL)
        self.store = folder / "there" / "ocitool"

    def put(self, name: str, script: str) -> None:
        """Install a program."""
        path = self.tools / name
        path.write_text(script.format(folder=self.folder, root=ROOT, python=sys.executable))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    @property
    def words(self) -> list[str]:
        """The arguments of the last call."""
        return (self.folder / "words").read_text().splitlines()

    @property
    def sent(self) -> int:
        """The bytes that were sent last."""
        return (self.folder / "sent").stat().st_size


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "machine").mkdir()
    return Machine(tmp_path / "machine")


@pytest.fixture
def source(tmp_path: Path) -> str:
    """An archive with an image of two layers, 100 kB and 200 kB."""
    path = tmp_path / "app.tar"
    path.write_bytes(hybrid_archive({NAME: build_image([BASE, {"a": os.urandom(200_000)}])}))
    return str(path)


def copy(ocitool: Command, machine: Machine, *words: str) -> Done:
    path = f"{machine.tools}:{os.environ['PATH']}"
    return ocitool("copy", *words, variables={"PATH": path})


def test_images_arrive_in_the_store_of_the_other_machine(
    ocitool: Command, machine: Machine, source: str
) -> None:
    done = copy(ocitool, machine, source, "ssh://host")
    assert done.code == 0, done.err
    assert "copied to ssh://host" in done.err
    assert_whole(machine.store)
    assert Command(machine.store, machine.folder)("inspect", NAME).code == 0
    assert machine.words[:2] == ["--", "host"]


def test_user_port_store_and_command_are_passed_on(
    ocitool: Command, machine: Machine, source: str, tmp_path: Path
) -> None:
    (machine.tools / "ocitool").rename(machine.tools / "other")
    store = tmp_path / "a store; exit"
    words = (f"ssh://me@host:2222{store}", "--remote-ocitool", "env X=1 other")
    done = copy(ocitool, machine, source, *words)
    assert done.code == 0, done.err
    assert machine.words[:6] == ["-p", "2222", "-l", "me", "--", "host"]
    assert_whole(store)


def test_only_what_is_missing_is_sent(ocitool: Command, machine: Machine, tmp_path: Path) -> None:
    old, new = tmp_path / "1.tar", tmp_path / "2.tar"
    old.write_bytes(hybrid_archive({NAME: build_image([BASE, {"a": b"1"}])}))
    new.write_bytes(hybrid_archive({NAME: build_image([BASE, {"a": b"2"}])}))
    assert copy(ocitool, machine, str(old), "ssh://host").code == 0
    assert machine.sent > 100_000
    report = copy(ocitool, machine, str(new), "ssh://host", "--json").json
    assert machine.sent < 30_000
    assert isinstance(report, dict)
    assert (report["destination"], report["bytes_written"]) == ("ssh://host", machine.sent)
    assert_whole(machine.store)


def test_several_images_go_together(
    loaded: Command, machine: Machine, source: str, tmp_path: Path
) -> None:
    done = copy(loaded, machine, "fmt/app:1.0", "fmt/base:1", source, "ssh://host", "--json")
    assert isinstance(done.json, dict)
    there = Command(machine.store, tmp_path)
    assert there("images", "-q").out.count("\n") == len(done.json["images"]) == 3
    assert copy(loaded, machine, "a:1", "b:1", "oci:layout").code == 2


def test_a_broken_connection_is_gone_on_with(
    ocitool: Command, machine: Machine, source: str
) -> None:
    (machine.folder / "limit").write_text("150000")
    done = copy(ocitool, machine, source, "ssh://host")
    assert done.code == 8
    assert "host cannot be reached, or the connection broke" in done.err
    assert "run it again: only what is still missing there is sent" in done.err
    assert Command(machine.store, machine.folder)("inspect", NAME).code == 4
    (machine.folder / "limit").unlink()
    assert copy(ocitool, machine, source, "ssh://host").code == 0
    assert 200_000 < machine.sent < 240_000
    assert_whole(machine.store)


@pytest.mark.parametrize(
    ("ssh", "code", "told", "hint"),
    [
        ("echo 'ssh: Could not resolve hostname host' >&2; exit 255", 8, "resolve", "run it again"),
        ("echo 'Permission denied (publickey).' >&2; exit 255", 5, "may not log in", "ssh host"),
        ("echo 'sh: 1: ocitool: not found' >&2; exit 127", 4, "there is no 'ocitool'", "zipapp"),
        (
            "echo \"Error: No such command 'inventory'.\" >&2; exit 2",
            1,
            "is too old: it does not know `inventory store`",
            "zipapp",
        ),
        (
            "printf 'ocitool: the disk is full\\n  make room\\n' >&2; exit 9",
            9,
            "host: the disk is full",
            "make room",
        ),
        ("echo '{{}}'", 7, "the inventory of host", ""),
        ("kill -9 $$", 8, "the connection broke", ""),
    ],
)
def test_what_goes_wrong_there_is_told_in_one_message(
    ssh: str, code: int, told: str, hint: str, ocitool: Command, machine: Machine, source: str
) -> None:
    machine.put("ssh", f"#!/bin/sh\n{ssh}\n")
    done = copy(ocitool, machine, source, "ssh://host")
    assert done.code == code
    assert told in done.err
    assert hint in done.err
    assert sum(line.startswith("ocitool: ") for line in done.err.splitlines()) == 1
    assert "Traceback" not in done.err


def test_what_the_store_there_refuses_is_told(
    ocitool: Command, machine: Machine, source: str
) -> None:
    machine.store.parent.mkdir()
    machine.store.write_text("no folder")
    done = copy(ocitool, machine, source, "ssh://host")
    assert done.code != 0
    assert "ocitool: host: " in done.err


def test_without_ssh_it_says_what_to_install(ocitool: Command, source: str) -> None:
    done = ocitool("copy", source, "ssh://host", variables={"PATH": "/nothing"})
    assert done.code == 8
    assert "openssh-client" in done.err


@pytest.mark.parametrize(
    "text",
    ["ssh://", "ssh:///store", "ssh://-oProxyCommand=x", "ssh://-x@host", "ssh://host:99999/"],
)
def test_what_is_no_host_is_refused(text: str, ocitool: Command, machine: Machine) -> None:
    done = copy(ocitool, machine, "app:1", text)
    assert done.code in (2, 4)
    assert not (machine.folder / "words").exists()


def test_it_is_not_a_place_to_read_from(ocitool: Command) -> None:
    done = ocitool("load", "ssh://host/store")
    assert (done.code, "ssh host ocitool save NAME | ocitool load" in done.err) == (2, True)


def test_json_tells_of_a_failure(ocitool: Command, machine: Machine, source: str) -> None:
    machine.put("ssh", "#!/bin/sh\nexit 255\n")
    done = copy(ocitool, machine, source, "ssh://host", "--json")
    assert done.code == 8
    assert len(json.loads(done.out)["failed"]) == 1
