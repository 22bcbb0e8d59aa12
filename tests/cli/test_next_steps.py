"""What a new user mistypes or meets half-way: the message has the words to type next."""

import base64
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ocitool.cli.options.registry import tell_of_slow_engine
from ocitool.events import Observer
from ocitool.images.locations import parse_place
from tests.places.registry.pushes import NAME, UPLOADS
from tests.support.command import FIXTURES, Command, environment
from tests.support.commands import command, started, wait_until_it_reads
from tests.support.engine import engine
from tests.support.images import (
    build_image,
    oci_archive,
    write_layout,
)
from tests.support.registry import Access, EmulatedRegistry, Quirks
from tests.support.registry_faults import Delay, Drop, HangUp, Status
from tests.support.stores import written

IMAGE = build_image([{"a": b"1"}, {"b": b"2" * 5000}])
OTHER = build_image([{"c": b"3"}])
APP = FIXTURES / "docker20-app-single.tar"
QUICKLY = ("--retry-max-wait", "0.02s")


@pytest.fixture
def carry(tmp_path: Path) -> Path:
    """Return an archive of two images."""
    return written(tmp_path / "carry.tar", oci_archive({"a:1": IMAGE, "b:1": OTHER}))


def refused(ocitool: Command, *arguments: str | Path, code: int = 2) -> str:
    """Return what a command prints that is refused."""
    done = ocitool(*arguments)
    assert (done.code, done.out) == (code, ""), done.err
    return done.err


class TestNamesAreFilledIn:
    @pytest.mark.parametrize("verb", ["push", "copy"])
    def test_several_images_under_one_name(self, ocitool: Command, carry: Path, verb: str) -> None:
        with EmulatedRegistry() as registry:
            target = f"{'docker://' if verb == 'copy' else ''}{registry.host}/team/x:1"
            error = refused(ocitool, verb, "./carry.tar", target)
            assert "name one, for example oci-archive:./carry.tar:a:1;" in error
            advice = re.search(
                r"all of them: ocitool (push \./carry\.tar --to \S+)$", error, re.MULTILINE
            )
            assert advice is not None, error
            assert advice[1].endswith(f" {registry.host}/team")
            assert ocitool(*shlex.split(advice[1])).code == 0
            assert set(registry.tags) == {"team/library/a", "team/library/b"}
            assert ocitool(verb, "oci-archive:./carry.tar:a:1", target).code == 0

    def test_a_pipe_cannot_be_read_for_one_of_its_images(
        self, ocitool: Command, carry: Path
    ) -> None:
        done = ocitool("push", "-", "localhost:1/team/x:1", stdin=carry.read_bytes())
        assert done.code == 2
        assert done.err.splitlines()[-1] == "  all of them: ocitool push - --to localhost:1/team"

    def test_a_name_that_stands_for_two_images(self, ocitool: Command, tmp_path: Path) -> None:
        files = oci_archive({"a:1": IMAGE}, [])
        written(tmp_path / "one.tar", files)
        layout = write_layout(tmp_path / "l", {"1": IMAGE, "2": OTHER})
        index = (layout / "index.json").read_text().replace('"2"', '"1"')
        (layout / "index.json").write_text(index)
        error = refused(ocitool, "inspect", f"oci:{layout}:1", code=6)
        assert "DIGEST" not in error
        example = re.search(r"by its digest: (oci:\S+@sha256:[0-9a-f]{64})", error)
        assert example is not None, error
        assert ocitool("inspect", "-q", example[1]).code == 0

    @pytest.mark.parametrize(
        ("arguments", "advice"),
        [
            (("tag", "fmt/base:1", f"x/y:2@sha256:{'0' * 64}"), "name it x/y:2;"),
            (("restore", "fmt/base:1"), "write 'fmt/base:1@{1}'; `ocitool reflog fmt/base:1`"),
            (("copy", "fmt/base:1", "dir:out"), "write oci:out instead"),
            (("facts", "fmt/base:1", "--sbom", "spdx", "bom.json"), "--sbom cyclonedx bom.json"),
            (("save", "fmt/base:1", "-o", "oci:out"), "ocitool copy fmt/base:1 oci:out"),
            (
                ("save", "docker://ghcr.io/a/b:1", "-o", "x.tar"),
                "ocitool copy docker://ghcr.io/a/b:1 oci-archive:x.tar",
            ),
        ],
    )
    def test_the_advice_has_what_was_typed(
        self, loaded: Command, arguments: tuple[str, ...], advice: str
    ) -> None:
        assert advice in refused(loaded, *arguments)

    def test_the_command_for_another_place_is_whole(self, ocitool: Command, tmp_path: Path) -> None:
        def answer(_: str, path: str) -> tuple[int, bytes]:
            return (200, b'{"Id": "sha256:1"}') if path == "/images/x:1/json" else (404, b"{}")

        commands = {
            ("push", "x:1", "ghcr.io/t/x:1"): "ocitool push docker-daemon:x:1 ghcr.io/t/x:1",
            ("copy", "x:1", "oci:there"): "ocitool copy docker-daemon:x:1 oci:there",
            ("files", "cat", "x:1", "/a b"): "ocitool files cat docker-daemon:x:1 '/a b'",
            ("files", "cp", "x:1:/etc", "out"): "ocitool files cp docker-daemon:x:1 /etc out",
        }
        with engine(tmp_path / "e", answer):
            variables = {"DOCKER_HOST": f"unix://{tmp_path / 'e'}"}
            for arguments, command in commands.items():
                done = ocitool(*arguments, variables=variables)
                assert done.err.splitlines()[-1] == f"  docker has it: {command}"

    def test_the_file_that_has_to_be_decoded(self, ocitool: Command, tmp_path: Path) -> None:
        path = written(tmp_path / "x y.b64", base64.encodebytes(oci_archive({"a:1": IMAGE})))
        assert f"base64 -d '{path}' | ocitool load" in refused(ocitool, "load", path, code=7)


class TestTheFileOfASave:
    @pytest.mark.parametrize("more", [(), ("fmt/app:1.0",)])
    def test_a_file_as_an_argument_belongs_behind_o(
        self, loaded: Command, more: tuple[str, ...]
    ) -> None:
        error = refused(loaded, "save", "fmt/base:1", *more, "y.tar")
        command = " ".join(("ocitool save fmt/base:1", *more, "-o y.tar"))
        assert error.splitlines()[-1] == f"  write the file behind -o: {command}"

    def test_an_image_may_have_such_a_name(self, loaded: Command) -> None:
        assert loaded("copy", "fmt/base:1", "store:y.tar").code == 0
        assert loaded.run_bytes("save", "fmt/base:1", "y.tar").returncode == 0


class TestMistypedPrefixes:
    @pytest.mark.parametrize(
        ("text", "meant"),
        [
            ("docker-deamon:x:1", "docker-daemon:x:1"),
            ("dockerdaemon:x", "docker-daemon:x"),
            ("oci-archve:x.tar", "oci-archive:x.tar"),
            ("docker-archiv:./x.tar", "docker-archive:./x.tar"),
            ("Docker-Archive:x.tar:a", "docker-archive:x.tar:a"),
            ("podmann:x", "podman:x"),
            ("oic:./layout", "oci:./layout"),
            ("ocii:/srv/layout:1", "oci:/srv/layout:1"),
        ],
    )
    def test_the_right_one_is_suggested_before_anything_is_looked_for(
        self, ocitool: Command, text: str, meant: str
    ) -> None:
        for arguments in (("inspect", text), ("images", text), ("copy", "a", text), ("load", text)):
            assert f"did you mean {meant}?" in refused(ocitool, *arguments)

    @pytest.mark.parametrize("verb", ["pull", "push"])
    def test_nor_is_a_registry_asked(self, ocitool: Command, carry: Path, verb: str) -> None:
        arguments = ("pull", "docker-deamon:x") if verb == "pull" else ("push", carry, "podmann:x")
        assert re.search(r"did you mean (docker-daemon|podman):x\?", refused(ocitool, *arguments))

    @pytest.mark.parametrize("name", ["postman:1", "dockers:2", "podman-ui:1", "oci1:2", "dirs:1"])
    def test_names_that_are_like_one_are_names(self, loaded: Command, name: str) -> None:
        assert loaded("tag", "fmt/base:1", name).code == 0
        assert loaded("inspect", "-q", name).code == 0

    def test_such_a_name_can_be_said(self, loaded: Command, tmp_path: Path) -> None:
        assert loaded("copy", "fmt/base:1", "store:podmann:1").code == 0
        assert loaded("inspect", "-q", "store:podmann:1").code == 0
        written(tmp_path / "docker-archiv:x", APP.read_bytes())
        assert loaded("load", "docker-archiv:x").code == 0


class TestTheWrongKindOfPath:
    def test_a_file_where_a_folder_is_meant(self, ocitool: Command, carry: Path) -> None:
        error = refused(ocitool, "inspect", "oci:./carry.tar:a:1")
        assert "write oci-archive:./carry.tar:a:1" in error
        assert ocitool("inspect", "oci-archive:./carry.tar:a:1").code == 0

    @pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
    def test_a_folder_where_a_file_is_meant(
        self, ocitool: Command, tmp_path: Path, kind: str
    ) -> None:
        write_layout(tmp_path / "l", {"1": IMAGE})
        assert "write oci:./l:1" in refused(ocitool, "inspect", f"{kind}:./l:1")
        digest = IMAGE.descriptor.digest
        assert f"write oci:./l@{digest}" in refused(ocitool, "inspect", f"{kind}:./l@{digest}")

    @pytest.mark.parametrize(
        ("target", "right"),
        [
            ("oci:new.tar", "oci-archive:new.tar"),
            ("oci:carry.tar:x", "oci-archive:carry.tar:x"),
            ("oci-archive:folder", "oci:folder"),
            ("./folder", "oci:./folder"),
        ],
    )
    def test_nothing_is_written_under_the_wrong_one(
        self, ocitool: Command, carry: Path, tmp_path: Path, target: str, right: str
    ) -> None:
        (tmp_path / "folder").mkdir()
        before = carry.read_bytes()
        assert f"write {right}" in refused(ocitool, "copy", "oci-archive:carry.tar:a:1", target)
        assert not (tmp_path / "new.tar").exists()
        assert list((tmp_path / "folder").iterdir()) == []
        assert carry.read_bytes() == before


class TestTagsThatAreNear:
    TAGS = ("1.9", "1.10", "v9.1", "9-alpine", "latest", "edge")

    @pytest.mark.parametrize(
        ("tag", "hint"),
        [
            ("9", "did you mean 9-alpine, v9.1?"),
            ("latets", "did you mean latest?"),
            ("zzz", "it has 1.10, 9-alpine, edge, latest, v9.1 and others;"),
        ],
    )
    @pytest.mark.parametrize("how", ["pull", "inspect docker://", "registry digest"])
    def test_they_are_named(self, ocitool: Command, tag: str, hint: str, how: str) -> None:
        with EmulatedRegistry() as registry:
            for one in self.TAGS:
                registry.add_image(NAME, OTHER, one)
            verb, _, prefix = how.partition(" docker")
            name = f"{'docker' + prefix if prefix else ''}{registry.host}/{NAME}"
            error = refused(ocitool, *verb.split(), f"{name}:{tag}", code=4)
            assert hint in error
            assert f"`ocitool registry tags {registry.host}/{NAME}` lists them" in error
            assert len(registry.requests("GET", "tags/list")) == 1

    def test_one_request_and_no_failure_of_its_own(self, ocitool: Command) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image(NAME, OTHER, "1")
            registry.fail("GET", "tags/list", Status(status=503), times=99)
            error = refused(ocitool, "pull", f"{registry.host}/{NAME}:9", code=4)
            assert "there is no '9'" in error
            assert len(registry.requests("GET", "tags/list")) == 1

    def test_a_digest_is_like_no_tag(self, ocitool: Command) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image(NAME, OTHER, "1")
            name = f"{registry.host}/{NAME}@{IMAGE.descriptor.digest}"
            refused(ocitool, "pull", name, code=4)
            assert registry.requests("GET", "tags/list") == []


class TestInterrupted:
    @pytest.mark.parametrize(
        ("number", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")]
    )
    @pytest.mark.parametrize("verb", ["pull", "push"])
    def test_one_line_says_what_is_kept(
        self, ocitool: Command, tmp_path: Path, number: signal.Signals, word: str, verb: str
    ) -> None:
        layout = write_layout(tmp_path / "layout", {"1": IMAGE})
        with EmulatedRegistry() as registry:
            if verb == "pull":
                registry.add_image(NAME, IMAGE, "1")
            method, path = ("GET", f"{IMAGE.layers[1].digest}") if verb == "pull" else ("PUT", "/")
            registry.fail(method, path, Delay(60), times=99)
            source = (f"oci:{layout}:1",) if verb == "push" else ()
            process = started(ocitool.store, verb, *source, f"{registry.host}/{NAME}:1")
            _await(lambda: registry.requests(method, path))
            process.send_signal(number)
            out, errors = process.communicate(timeout=30)
        kept = {
            "pull": "what has arrived is kept, and the same command goes on from there",
            "push": "the registry keeps the blobs that were sent whole, and the same command "
            "sends the rest",
        }
        assert (process.returncode, out) == (128 + number, "")
        assert errors.splitlines() == [f"ocitool: {word}: {kept[verb]}"]

    def test_what_a_broken_download_keeps_is_said_once(self, ocitool: Command) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image(NAME, IMAGE, "1")
            registry.fail("GET", f"{IMAGE.layers[1].digest}", Drop(after=0), times=99)
            done = ocitool("pull", *QUICKLY, f"{registry.host}/{NAME}:1")
        said = " ".join(done.err.split())
        assert done.code == 8
        assert "broke off" in said
        assert said.count("what has arrived is kept") == 1

    @pytest.mark.parametrize(
        ("arguments", "left"),
        [
            (("load", "-"), "nothing of the archive under way was loaded; the same command"),
            (("copy", "-", "oci-archive:x.tar"), "x.tar was not written"),
            (("copy", "-", "oci:x"), "no image was added to x; the same command"),
            (("copy", "-", "docker-daemon:x"), "nothing was changed there; the same command"),
            (
                ("bundle", "create", "-", "-o", "x.tar", "--volume-size", "cd"),
                "not all volumes of x.tar were written; the same command keeps those",
            ),
            (("inspect", "-"), ""),
        ],
    )
    def test_what_was_not_done(
        self, ocitool: Command, arguments: tuple[str, ...], left: str
    ) -> None:
        process = subprocess.Popen(
            command(ocitool.store, *arguments),
            cwd=ocitool.cwd,
            env=environment(ocitool.store),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        wait_until_it_reads(process)
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=30)
        assert (process.returncode, out) == (143, b"")
        (line,) = errors.decode().splitlines()
        assert line.startswith(f"ocitool: terminated{': ' if left else ''}{left}")

    def test_a_new_layout_that_got_no_image_is_told(self, ocitool: Command, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image(NAME, IMAGE, "1")
            path = f"{IMAGE.layers[1].digest}"
            registry.fail("GET", path, Delay(60), times=99)
            process = started(
                ocitool.store, "copy", f"docker://{registry.host}/{NAME}:1", f"oci:{tmp_path}/x"
            )
            _await(lambda: registry.requests("GET", path))
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        left = f"no image was added to {tmp_path}/x, the new folder stays"
        assert errors == f"ocitool: interrupted: {left}; the same command begins anew\n"
        assert (tmp_path / "x").is_dir()


def _await(condition: Callable[[], object], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come so far"
        time.sleep(0.02)


class TestAWrongPasswordThatIsStored:
    @pytest.mark.parametrize("scheme", ["basic", "bearer"])
    @pytest.mark.parametrize("by", ["file", "helper"])
    def test_where_it_is_and_how_to_mend_it(
        self, ocitool: Command, tmp_path: Path, scheme: str, by: str
    ) -> None:
        layout = write_layout(tmp_path / "layout", {"1": IMAGE})
        access = Access(scheme=scheme, users={"u": "right"})  # type: ignore[arg-type]
        with EmulatedRegistry(Quirks(access=access)) as registry:
            variables = _stored(tmp_path, registry.host, by)
            done = ocitool(
                "push", f"oci:{layout}:1", f"{registry.host}/{NAME}:1", variables=variables
            )
            host = registry.host
        assert done.code == 5
        where = str(tmp_path / "config.json") if by == "file" else "helper docker-credential-x"
        assert where in done.err
        assert f"`ocitool login {host}` replaces it" in done.err
        assert f"`ocitool logout {host}` removes it" in done.err
        assert "wrong-one" not in done.err


def _stored(folder: Path, host: str, by: str) -> dict[str, str]:
    """Store a wrong password for a host; return the variables that lead to it."""
    if by == "file":
        # The base64 of u:wrong-one.
        entry = f'{{"auths": {{"{host}": {{"auth": "dTp3cm9uZy1vbmU="}}}}}}'
        written(folder / "config.json", entry.encode())
        return {"DOCKER_CONFIG": str(folder)}
    written(folder / "config.json", f'{{"credHelpers": {{"{host}": "x"}}}}'.encode())
    helper = written(
        folder / "docker-credential-x",
        b'#!/bin/sh\necho \'{"Username": "u", "Secret": "wrong-one"}\'\n',
    )
    helper.chmod(0o755)
    return {"DOCKER_CONFIG": str(folder), "PATH": f"{folder}:/usr/bin:/bin"}


class TestARegistryThatDies:
    def test_in_the_middle_of_a_push(self, ocitool: Command, tmp_path: Path) -> None:
        layout = write_layout(tmp_path / "layout", {"1": IMAGE})
        with EmulatedRegistry() as registry:
            name = f"{registry.host}/{NAME}:1"
            registry.fail("PUT", f"{UPLOADS}.*{IMAGE.layers[1].digest.hex}", HangUp(), times=99)
            done = ocitool("push", *QUICKLY, "-j", "1", f"oci:{layout}:1", name)
            assert done.code == 8
            assert f"{registry.host} cannot be reached any more" in done.err
            assert "look whether it still runs, then try again; the registry keeps" in done.err
            kept = len(registry.blobs[NAME])
            sent = len(registry.requests("PUT"))
        assert kept >= 1
        assert IMAGE.layers[1].digest not in registry.blobs[NAME]
        assert sent > 2

    def test_one_that_never_was_keeps_nothing(self, ocitool: Command, tmp_path: Path) -> None:
        layout = write_layout(tmp_path / "layout", {"1": IMAGE})
        for arguments in (("push", f"oci:{layout}:1"), ("pull",)):
            done = ocitool(*arguments, *QUICKLY, "127.0.0.1:1/a/b:1")
            assert done.code == 8
            assert "the same command" not in done.err


class TestAnEngineThatIsSlow:
    @pytest.mark.parametrize(
        ("place", "seconds", "told"),
        [("docker-daemon:x:1", 27.0, 1), ("docker-daemon:x:1", 0.5, 0), ("./x.tar", 27.0, 0)],
    )
    def test_it_is_said_how_to_keep_its_image(self, place: str, seconds: float, told: int) -> None:
        observer = Remarks()
        tell_of_slow_engine(parse_place(place), seconds, observer)
        assert len(observer.texts) == told
        assert all("took 27 s" in text for text in observer.texts)
        keep = "`ocitool copy docker-daemon:x:1 store:x:1` keeps it"
        assert all(keep in text for text in observer.texts)


class Remarks(Observer):
    """Remembers remarks."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def remark(self, text: str) -> None:
        """Keep it."""
        self.texts.append(text)


class TestALoadThatReadsNothing:
    def test_it_does_not_say_that_the_archive_is_whole(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        data = oci_archive({"a:1": IMAGE})
        path = written(tmp_path / "a.tar", data)
        assert re.search(r"\(0 existed\)$", ocitool("load", path).err, re.MULTILINE)
        layer = IMAGE.blobs[IMAGE.layers[1].digest]
        at = data.index(layer) + len(layer) // 2
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        done = ocitool("load", path)
        assert done.code == 0
        assert f"(4 existed and were not read in {path})" in done.err
        assert ocitool("verify", path).code == 3
        assert ocitool("verify").code == 0

    def test_what_had_to_be_read_is_not_called_unread(self, ocitool: Command) -> None:
        assert ocitool("load", APP).code == 0
        assert "not read" not in ocitool("load", APP).err
