"""containerd as a target: what goes to `ctr`, and what is said when it does not take it."""

import json
import os
import socket
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocitool.errors import AccessDenied, OcitoolError, Unavailable
from ocitool.places.engine import Containerd
from tests.support.command import FIXTURES, Command

CTR = """#!{python}
import json, os, sys
json.dump(sys.argv[1:], open("{folder}/words", "w"))
with open("{folder}/archive", "wb") as file:
    while part := sys.stdin.buffer.read1():
        file.write(part)
open("{folder}/ended", "w").close()
print("unpacking registry.example/a:1 (sha256:1)...done")
"""
REFUSES = """#!/bin/sh
echo some progress
echo 'ctr: {message}' >&2
exit 1
"""


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[str]:
    """The path of a socket that is there."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        yield str(path)


@pytest.fixture
def engine(tmp_path: Path, listening: str) -> Callable[..., Containerd]:
    """Return a function that makes a `ctr` of a script, and what uses it."""

    def make(script: str = CTR, **variables: str) -> Containerd:
        tools = tmp_path / "tools"
        tools.mkdir()
        (tools / "ctr").write_text(script.format(python=sys.executable, folder=tmp_path))
        (tools / "ctr").chmod(0o755)
        path = f"{tools}:{os.environ['PATH']}"
        return Containerd({"PATH": path, "CONTAINERD_ADDRESS": listening, **variables})

    return make


def test_an_archive_is_imported_where_the_variables_say(
    engine: Callable[..., Containerd], tmp_path: Path, listening: str
) -> None:
    pieces = [b"a" * 100_000, b"", b"b" * 100_000]
    with engine(CONTAINERD_NAMESPACE="k8s.io") as containerd:
        said = containerd.load(iter(pieces))
    assert said == ("unpacking registry.example/a:1 (sha256:1)...done",)
    words = ["--address", listening, "--namespace", "k8s.io", "images", "import", "-"]
    assert json.loads((tmp_path / "words").read_text()) == words
    assert (tmp_path / "archive").read_bytes() == b"".join(pieces)


def test_the_namespace_is_that_of_ctr_by_default(
    engine: Callable[..., Containerd], tmp_path: Path
) -> None:
    engine().load([b"x"])
    assert "default" in json.loads((tmp_path / "words").read_text())


def test_an_address_may_be_written_as_a_url(listening: str) -> None:
    assert listening in Containerd({"CONTAINERD_ADDRESS": f"unix://{listening}"}).what


def test_when_the_source_fails_ctr_never_sees_the_end(
    engine: Callable[..., Containerd], tmp_path: Path
) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="the source is gone"):
        engine().load(broken())
    assert not (tmp_path / "ended").exists()


@pytest.mark.parametrize(
    ("message", "kind", "told", "hint"),
    [
        ("no match for platform in manifest", OcitoolError, "refused the archive: no", "variant"),
        ("image might be filtered out", OcitoolError, "filtered out", "variant"),
        ('failed to stat snapshotter "x"', OcitoolError, "snapshotter", "CONTAINERD_SNAPSHOTTER"),
        ('failed to dial "/s": deadline exceeded', Unavailable, "does not answer", "ADDRESS"),
        ("write: no space left on device", OcitoolError, "no space left", "free some space"),
    ],
)
def test_what_ctr_says_is_told_in_one_line(
    message: str,
    kind: type[OcitoolError],
    told: str,
    hint: str | None,
    engine: Callable[..., Containerd],
) -> None:
    # It ends at once, so that the pipe breaks while the archive is written.
    with pytest.raises(kind, match=told) as caught:
        engine(REFUSES.replace("{message}", message)).load([b"x" * (1 << 20)] * 3)
    assert "\n" not in caught.value.message
    assert "some progress" not in caught.value.message
    assert (hint or "") in (caught.value.hint or "")
    assert type(caught.value) is kind


def test_without_ctr_it_says_what_to_do(tmp_path: Path, listening: str) -> None:
    with pytest.raises(Unavailable, match="ctr, which imports into containerd") as caught:
        Containerd({"PATH": str(tmp_path), "CONTAINERD_ADDRESS": listening}).load([b"x"])
    assert "ocitool save" in str(caught.value.hint)


def test_without_a_socket_nothing_is_started(tmp_path: Path) -> None:
    containerd = Containerd({"PATH": "", "CONTAINERD_ADDRESS": str(tmp_path / "none")})
    with pytest.raises(Unavailable, match="there is no containerd at") as caught:
        containerd.load([b"x"])
    assert "CONTAINERD_ADDRESS" in str(caught.value.hint)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use every socket")
def test_a_socket_of_root_is_denied(listening: str) -> None:
    os.chmod(listening, 0)
    with pytest.raises(AccessDenied, match="permission denied"):
        Containerd({"PATH": "", "CONTAINERD_ADDRESS": listening}).load([b"x"])


class TestCommands:
    """`copy` and `save` write the archive that ctr is given."""

    def test_copy_and_save(
        self, engine: Callable[..., Containerd], tmp_path: Path, listening: str
    ) -> None:
        engine()
        ocitool = Command(tmp_path / "store", tmp_path)
        path = f"{tmp_path}/tools:{os.environ['PATH']}"
        variables = {"PATH": path, "CONTAINERD_ADDRESS": listening}
        ocitool("load", FIXTURES / "docker20-app-single.tar")
        for words in (
            ("save", "fmt/app:1.0", "-o", "containerd:"),
            ("copy", "fmt/app:1.0", "containerd:other/name:2"),
        ):
            done = ocitool(*words, variables=variables)
            assert (done.code, "containerd: unpacking" in done.err) == (0, True)
            with tarfile.open(tmp_path / "archive") as tar:
                member = tar.extractfile("manifest.json")
                assert member is not None
                listed = json.load(member)
            expected = "fmt/app:1.0" if words[0] == "save" else "other/name:2"
            expected = f"docker.io/{expected}"
            assert listed[0]["RepoTags"] == [expected]

    def test_it_is_not_a_place_to_read_from(self, tmp_path: Path) -> None:
        done = Command(tmp_path / "store", tmp_path)("load", "containerd:app:1")
        assert done.code == 2
        assert "ctr images export - app:1 | ocitool load" in done.err
