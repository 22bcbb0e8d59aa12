"""ocitool files and ocitool export, as a user types them."""

import base64
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.chunked_layers import FORMS, Form, chunked_image, chunked_layer
from tests.support.command import Command, environment
from tests.support.images import build_index
from tests.support.registry import EmulatedRegistry
from tests.support.root_files import folder, hard_link, link, program
from tests.support.small_images import file, gone, small_image, with_unread_layer, write_image

STEPS = ("/bin/sh -c #(nop) ADD file:1 in / ", "RUN rm /etc/passwd # buildkit")
IMAGE = small_image(
    [
        folder("etc"),
        file("etc/passwd", 100),
        file("etc/os-release", 8, "ID=test\n"),
        folder("bin"),
        program("bin/su", b"\x7fELF\0"),
        link("sh", "bin/su"),
        link("loop", "loop"),
        file("etc/\udcff\n\u202e", 3, "odd"),
    ],
    [gone("etc/passwd"), file("bin/new", 2_000_000)],
    codec="gzip",
    steps=STEPS,
)


@pytest.fixture
def image(tmp_path: Path) -> str:
    """Return an archive of the image."""
    return str(write_image(tmp_path, IMAGE, "oci-archive"))


@pytest.mark.parametrize(("kind", "code"), [("missing", 4), ("damaged", 7), ("encrypted", 0)])
@pytest.mark.parametrize("words", [["ls"], ["ls", "-R"], ["find"]])
def test_what_is_known_without_a_layer_is_listed_and_no_success(
    ocitool: Command, tmp_path: Path, words: list[str], kind: str, code: int
) -> None:
    odd = with_unread_layer(small_image([file("a", 10)], [file("b", 20)]), kind)
    done = ocitool("files", *words, write_image(tmp_path, odd))
    assert done.code == code
    assert done.out.split("/")[-1] == "a\n"
    assert "layer 2" in done.err


@pytest.mark.parametrize(("kind", "code"), [("missing", 4), ("damaged", 7), ("encrypted", 4)])
@pytest.mark.parametrize(
    "words", [["ls"], ["find"], ["cat", "--why"], ["ls", "--layer", "2"], ["ls", "--why"]]
)
def test_what_is_not_found_may_be_in_a_layer_that_was_not_read(
    ocitool: Command, tmp_path: Path, words: list[str], kind: str, code: int
) -> None:
    odd = with_unread_layer(small_image([file("a", 10)], [file("b", 20)]), kind)
    done = ocitool("files", *words, write_image(tmp_path, odd), "/b/c")
    assert (done.code, done.out) == (code, "")
    assert "'/b/c' is not in the image" in done.err
    if kind != "encrypted":
        assert "image, but layer 2 could not be read" in done.err


@pytest.mark.parametrize("words", [["cat"], ["cp"], ["cp", "--why"], ["cat", "--layer", "2"]])
def test_a_file_is_not_taken_past_a_damaged_layer(
    ocitool: Command, tmp_path: Path, words: list[str]
) -> None:
    odd = with_unread_layer(small_image([file("a", 10)], [file("b", 20)]), "damaged")
    where = ["copied"] if words[0] == "cp" else []
    done = ocitool("files", *words, write_image(tmp_path, odd), "/c", *where)
    assert (done.code, done.out) == (7, "")
    assert "layer 2 cannot be read" in done.err


class TestLs:
    def test_names_of_a_folder_one_a_line(self, ocitool: Command, image: str) -> None:
        done = ocitool("files", "ls", image)
        assert (done.code, done.out) == (0, "bin/\netc/\nloop\nsh\n")
        for arguments in ([f"{image}:/bin"], [image, "bin"], [f"oci-archive:{image}:/bin/"]):
            assert ocitool("files", "ls", *arguments).out == "new\nsu\n"

    def test_everything_below_has_whole_paths(self, ocitool: Command, image: str) -> None:
        done = ocitool("files", "ls", "-R", f"{image}:/bin")
        assert done.out == "/bin/new\n/bin/su\n"

    def test_long_lines_have_what_ls_has_and_the_layer(self, ocitool: Command, image: str) -> None:
        lines = ocitool("files", "ls", "-l", f"{image}:/bin").out.splitlines()
        assert lines[0].split() == ["MODE", "OWNER", "SIZE", "MODIFIED", "LAYER", "PATH"]
        assert [line.split() for line in lines[1:]] == [
            ["-rw-r--r--", "0:0", "2000000", "1970-01-12", "13:46", "2", "new"],
            ["-rwxr-xr-x", "0:0", "5", "1970-01-12", "13:46", "1", "su"],
        ]
        assert "sh -> bin/su" in ocitool("files", "ls", "-l", image).out

    def test_names_cannot_control_the_terminal(self, ocitool: Command, image: str) -> None:
        done = ocitool("files", "ls", f"{image}:/etc")
        assert done.out == "os-release\n\\udcff\\x0a\\u202e\n"
        found: Any = ocitool("files", "ls", "--json", f"{image}:/etc").json
        odd = found["files"][1]
        assert odd["path"] == "etc/\ufffd\n\u202e"
        assert base64.b64decode(odd["path_bytes"]) == b"etc/\xff\n\xe2\x80\xae"
        assert found["files"][0]["path_bytes"] is None

    def test_one_layer_and_the_layers_up_to_one(self, ocitool: Command, image: str) -> None:
        done = ocitool("files", "ls", "-R", "--layer", "2", image)
        assert done.out == "/bin/\n/bin/new\n/etc/passwd  (whiteout)\n"
        done = ocitool("files", "ls", "--layer", "2", f"{image}:/etc")
        assert done.out == "passwd  (whiteout)\n"
        assert ocitool("files", "ls", "--layer", "2", f"{image}:/usr").code == 4
        assert "passwd" in ocitool("files", "ls", "--up-to", "1", f"{image}:/etc").out
        done = ocitool("files", "ls", "--layer", "3", image)
        assert done.code == 2
        assert "has no layer 3" in done.err
        assert ocitool("files", "ls", "--layer", "1", "--up-to", "1", image).code == 2

    def test_why_tells_what_each_layer_did(self, ocitool: Command, image: str) -> None:
        done = ocitool("files", "ls", "--why", f"{image}:/bin/su")
        assert [line.split() for line in done.out.splitlines()] == [
            ["/bin/su"],
            ["layer", "1", "added", "5", "B", "ADD", "file:1", "in", "/"],
        ]
        found: Any = ocitool("files", "ls", "--why", "--json", f"{image}:/bin/su").json
        (event,) = found["files"][0]["story"]
        assert (event["layer"], event["action"]) == (1, "added")

    def test_what_is_not_there(self, ocitool: Command, image: str) -> None:
        done = ocitool("files", "ls", f"{image}:/nothing")
        assert (done.code, done.out) == (4, "")
        assert "'/nothing' is not in the image" in done.err

    def test_an_image_that_the_store_lacks_is_looked_for_elsewhere(self, ocitool: Command) -> None:
        done = ocitool("files", "ls", "ghcr.io/a/b:1:/etc")
        assert done.code == 4
        assert "ocitool files ls docker://ghcr.io/a/b:1" in done.err

    def test_it_says_which_platform_it_took(self, ocitool: Command, tmp_path: Path) -> None:
        both = [
            small_image([file(name.partition("/")[2], 1)], platform=name)
            for name in ("linux/amd64", "linux/arm64")
        ]
        path = write_image(tmp_path, build_index(both), "oci-archive")  # type: ignore[arg-type]
        done = ocitool(
            "files", "ls", str(path), variables={"DOCKER_DEFAULT_PLATFORM": "linux/arm64"}
        )
        assert done.out == "arm64\n"
        assert "this is linux/arm64, one of 2 platforms" in done.err
        done = ocitool("files", "ls", str(path), "--platform", "linux/amd64")
        assert (done.out, done.err) == ("amd64\n", "")


class TestFind:
    def test_by_name_type_and_size(self, ocitool: Command, image: str) -> None:
        assert ocitool("files", "find", image, "--name", "s*").out == "/bin/su\n/sh\n"
        assert ocitool("files", "find", image, "--type", "l").out == "/loop\n/sh\n"
        assert ocitool("files", "find", image, "--size", "+1M").out == "/bin/new\n"
        assert ocitool("files", "find", image, "--size", "5", "--type", "f").out == "/bin/su\n"
        assert ocitool("files", "find", f"{image}:/bin", "--size", "-6").out == "/bin/su\n"
        assert ocitool("files", "find", image, "--newer", "1d").out == ""
        assert ocitool("files", "find", image, "--newer", "1970-01-02", "--name", "su").out

    def test_what_is_out_of_sight(self, ocitool: Command, image: str) -> None:
        done = ocitool("files", "find", image, "--hidden")
        assert done.out == "/etc/passwd  (layer 1, deleted by layer 2, 100 B)\n"
        assert ocitool("files", "find", image, "--hidden", "--layer", "2").out == ""
        assert ocitool("files", "find", image, "--hidden", "--layer", "1").out == done.out

    def test_nothing_in_sight_and_something_hidden_is_told(
        self, ocitool: Command, image: str
    ) -> None:
        done = ocitool("files", "find", image, "--name", "passwd")
        assert (done.code, done.out) == (0, "")
        assert "1 file that fits is stored in a layer and hidden: --hidden lists it" in done.err
        assert ocitool("files", "find", image, "--name", "nothing").err == ""

    def test_what_is_stored_again_is_told_so(self, ocitool: Command, tmp_path: Path) -> None:
        layers = [file("a", 5), file("b", 6)], [file("a", 5), file("b", 6, mode=0o600)]
        image = write_image(tmp_path, small_image(*layers))
        assert ocitool("files", "find", image, "--hidden").out.splitlines() == [
            "/a  (layer 1, stored again unchanged by layer 2, 5 B)",
            "/b  (layer 1, stored again with other attributes by layer 2, 6 B)",
        ]
        told = ocitool("files", "ls", "--why", image).out
        assert "stored again, unchanged" in told
        assert "changed mode" in told

    @pytest.mark.parametrize(
        "wrong", [("--type", "x"), ("--size", "big"), ("--newer", "yesterday")]
    )
    def test_wrong_usage(self, ocitool: Command, image: str, wrong: tuple[str, str]) -> None:
        assert ocitool("files", "find", image, *wrong).code == 2


class TestCat:
    def test_bytes_as_they_are_in_a_pipe(self, ocitool: Command, image: str) -> None:
        assert ocitool.run_bytes("files", "cat", image, "/sh").stdout == b"\x7fELF\0"
        assert ocitool("files", "cat", image, "etc/os-release").out == "ID=test\n"
        assert ocitool("files", "cat", image, "/etc/passwd", "--up-to", "1").out.startswith("etc/")

    def test_every_kind_of_source(self, loaded: Command, image: str, tmp_path: Path) -> None:
        data = Path(image).read_bytes()
        assert loaded("files", "cat", "-", "/etc/os-release", stdin=data).out == "ID=test\n"
        assert loaded("files", "cat", "fmt/app:1.0", "/data/hello.txt").out == "hello\n"
        assert "hello.txt" in loaded("files", "ls", "fmt/app:1.0:/data").out
        path = write_image(tmp_path, IMAGE)
        assert loaded("files", "cat", f"oci:{path}", "/etc/os-release").out == "ID=test\n"
        assert loaded("files", "cat", str(path), "/etc/os-release").out == "ID=test\n"

    def test_what_has_no_content(self, ocitool: Command, image: str) -> None:
        done = ocitool("files", "cat", image, "/bin")
        assert (done.code, done.out) == (2, "")
        done = ocitool("files", "cat", image, "/etc/passwd")
        assert (done.code, done.out) == (4, "")
        done = ocitool("files", "cat", image, "/loop")
        assert done.code == 4
        assert "goes through more than 40 links ('loop' -> 'loop')" in done.err

    def test_a_terminal_gets_safe_text_and_no_binary(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        evil = small_image([file("a", 14, "\x1b[31mred\tx\né\n"), file("b", 4, "\0\1\2\3")])
        path = write_image(tmp_path, evil, "oci-archive")
        shown = ocitool.on_terminal("files", "cat", str(path), "/a")
        assert shown.splitlines()[0] == "\\x1b[31mred\tx"
        assert "\x1b[31m" not in shown
        assert "not written to a terminal" in ocitool.on_terminal("files", "cat", str(path), "/b")

    def test_json_has_the_content(self, ocitool: Command, image: str) -> None:
        found: Any = ocitool("files", "cat", "--json", image, "/etc/os-release").json
        assert (found["content"], found["content_base64"]) == ("ID=test\n", None)
        found = ocitool("files", "cat", "--json", image, "/bin/su").json
        assert (found["path"], found["layer"]) == ("bin/su", 1)
        assert found["content"] == "\x7fELF\0"

    def test_why_in_place_of_the_content(self, ocitool: Command, image: str) -> None:
        done = ocitool("files", "cat", "--why", image, "/etc/os-release")
        assert "ID=test" not in done.out
        assert "ADD file:1 in /" in done.out

    def test_a_damaged_layer_is_no_answer(self, ocitool: Command, tmp_path: Path) -> None:
        path = write_image(tmp_path, IMAGE)
        blob = path / "blobs/sha256" / IMAGE.layers[0].digest.hex
        blob.write_bytes(blob.read_bytes()[:-9] + b"\0" + blob.read_bytes()[-8:])
        done = ocitool("files", "cat", f"oci:{path}", "/etc/os-release")
        assert (done.code, done.out) == (7, "")
        # What is known is listed, and said not to be all.
        done = ocitool("files", "ls", f"oci:{path}")
        assert (done.code, done.out) == (7, "bin/\n")
        assert "layer 1 of 2: " in done.err


class TestCp:
    def test_it_says_where_it_wrote(self, ocitool: Command, image: str) -> None:
        done = ocitool("files", "cp", image, "/etc/os-release", ".")
        assert done.out == "Copied: /etc/os-release to os-release (8 B)\n"
        assert (ocitool.cwd / "os-release").read_text() == "ID=test\n"
        done = ocitool("files", "cp", image, "/etc/os-release", ".")
        assert done.code == 6
        assert "is there already" in done.err
        assert (
            ocitool("files", "cp", "-f", "-q", image, "/etc/os-release", ".").out == "os-release\n"
        )
        done = ocitool("files", "cp", image, "/bin", "tools", "--json")
        found: Any = done.json
        assert (found["path"], found["type"], found["destination"]) == ("bin", "directory", "tools")
        assert sorted(os.listdir(ocitool.cwd / "tools")) == ["new", "su"]

    def test_a_tar_to_a_pipe_and_none_to_a_terminal(self, ocitool: Command, image: str) -> None:
        data = ocitool.run_bytes("files", "cp", image, "/etc/", "-").stdout
        with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
            assert tar.getnames() == ["etc", "etc/os-release", "etc/\udcff\n\u202e"]
        shown = ocitool.on_terminal("files", "cp", image, "/etc", "-")
        assert "a tar is not written to a terminal" in shown
        assert ocitool("files", "cp", image, "/etc", "-", "--json").code == 2

    def test_the_path_may_stand_behind_the_image(self, ocitool: Command, image: str) -> None:
        assert ocitool("files", "cp", f"{image}:/etc/os-release", "here").code == 0
        assert (ocitool.cwd / "here").read_text() == "ID=test\n"
        assert ocitool("files", "cat", f"{image}:/etc/os-release").out == "ID=test\n"

    @pytest.mark.parametrize("words", [("{}",), ("{}", "/etc"), ("{}:/etc",)])
    def test_without_a_path_or_a_destination_nothing_is_copied(
        self, ocitool: Command, image: str, words: tuple[str, ...]
    ) -> None:
        before = sorted(os.listdir(ocitool.cwd))
        done = ocitool("files", "cp", *(word.format(image) for word in words))
        assert done.code == 2
        assert "SRC PATH DEST, or SRC:PATH DEST" in done.err
        assert sorted(os.listdir(ocitool.cwd)) == before

    def test_what_a_layer_hides_is_said_to_be_there(self, ocitool: Command, image: str) -> None:
        done = ocitool("files", "cat", image, "/etc/passwd")
        assert done.code == 4
        assert "layer 1 has it, and layer 2 hides it: --layer 1" in done.err
        assert ocitool("files", "cat", image, "/etc/passwd", "--layer", "1").code == 0

    def test_a_pipe_is_never_replaced(self, ocitool: Command, image: str) -> None:
        os.mkfifo(ocitool.cwd / "pipe")
        done = ocitool("files", "cp", "-f", image, "/etc/os-release", "pipe")
        assert done.code == 6
        assert (ocitool.cwd / "pipe").is_fifo()

    def test_why_beside_the_copy(self, ocitool: Command, image: str) -> None:
        done = ocitool("files", "cp", "--why", image, "/bin/su", "x")
        assert "ADD file:1 in /" in done.err


class TestExport:
    def test_to_a_pipe_and_to_a_file(self, ocitool: Command, image: str) -> None:
        data = ocitool.run_bytes("export", image).stdout
        with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
            assert tar.getnames()[:2] == ["bin", "etc"]
            assert "etc/passwd" not in tar.getnames()
        done = ocitool("export", image, "-o", "root.tar")
        assert (done.code, done.out) == (0, "Exported: root.tar\n")
        assert (ocitool.cwd / "root.tar").read_bytes() == data
        assert "wrote root.tar" in done.err
        found: Any = ocitool("export", image, "-o", "again.tar", "--json").json
        assert (found["bytes_written"], found["layer"]) == (len(data), None)

    def test_sorted_and_one_layer(self, ocitool: Command, image: str) -> None:
        first = ocitool.run_bytes("export", "--sorted", image).stdout
        assert first == ocitool.run_bytes("export", "--sorted", image).stdout
        assert ocitool.run_bytes("export", "--layer", "2", image).stdout == IMAGE.tars[1]
        assert ocitool("export", "--layer", "2", "--sorted", image).code == 2
        assert ocitool("export", "--layer", "7", image).code == 2

    def test_it_says_what_others_read_in_another_way(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        odd = small_image(
            [folder("usr"), folder("usr/lib"), link("lib", "usr/lib"), file("x", 5)],
            [file("lib/a", 5), hard_link("b", "x"), gone("nothing")],
        )
        path = str(write_image(tmp_path, odd, "oci-archive"))
        lines = ocitool("export", path, "-o", "x.tar").err.splitlines()
        assert len(lines) == 3
        assert lines[0].startswith("layer 2: lib: layer 1 makes a link here, which leads to")
        assert (
            lines[1]
            == "layer 2: b: it is a hard link to 'x' of layer 1, which docker refuses to load"
        )
        found: Any = ocitool("files", "ls", "--json", path).json
        kinds = {problem["kind"] for problem in found["problems"]}
        assert kinds == {"through_symlink", "cross_layer_hard_link", "stray_whiteout"}

    def test_never_to_a_terminal(self, ocitool: Command, image: str) -> None:
        assert "a tar is not written to a terminal" in ocitool.on_terminal("export", image)

    def test_damage_leaves_no_file(self, ocitool: Command, tmp_path: Path) -> None:
        path = write_image(tmp_path, small_image([file("a", 5000, "x" * 5000)]))
        (blob,) = [one for one in (path / "blobs/sha256").iterdir() if one.stat().st_size > 5000]
        blob.write_bytes(blob.read_bytes().replace(b"xx", b"yy", 1))
        done = ocitool("export", f"oci:{path}", "-o", "root.tar")
        assert done.code == 7
        assert not (ocitool.cwd / "root.tar").exists()

    def test_a_reader_that_goes_away_ends_it_quietly(self, ocitool: Command, image: str) -> None:
        command = [sys.executable, "-m", "ocitool", "export", image]
        with subprocess.Popen(
            command,
            env=environment(ocitool.store),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as running:
            assert running.stdout is not None
            assert running.stderr is not None
            running.stdout.read(512)
            running.stdout.close()
            assert running.stderr.read() == b""
            assert running.wait() == 141


@pytest.mark.parametrize("form", FORMS)
class TestRegistries:
    def test_a_file_is_fetched_without_its_layer(self, ocitool: Command, form: Form) -> None:
        blob = os.urandom(3_000_000)
        big = file("big", 0)
        layer = chunked_layer(
            form, [folder("etc"), file("etc/small", 300), program("big", blob), big], chunk=1 << 20
        )
        image = chunked_image(layer)
        with EmulatedRegistry() as registry:
            registry.add_image("a/b", image, "1")
            name = f"docker://{registry.host}/a/b:1"
            done = ocitool("files", "cat", name, "/etc/small")
            assert (done.code, done.err) == (0, "")
            assert done.out.encode() == file("etc/small", 300).data
            digest = str(image.layers[0].digest)
            sent = sum(one.sent_bytes for one in registry.requests("GET", digest))
            assert 0 < sent < len(layer.blob) / 20
            assert ocitool("files", "ls", name).out == (
                "big\netc/\n" + ("stargz.index.json\n" if form == "estargz" else "")
            )

    def test_a_layer_without_a_promise_is_read_and_that_is_said(
        self, ocitool: Command, form: Form
    ) -> None:
        image = chunked_image(chunked_layer(form, [file("a", 9)]), annotated=False)
        with EmulatedRegistry() as registry:
            registry.add_image("a/b", image, "1")
            done = ocitool("files", "cat", f"docker://{registry.host}/a/b:1", "/a")
        assert done.out.encode() == file("a", 9).data


def test_each_layer_of_a_registry_is_fetched_once_and_only_if_it_is_needed(
    ocitool: Command, tmp_path: Path
) -> None:
    upper = small_image([folder("etc"), file("etc/a", 5)], [folder("b"), file("b/c", 6)])
    with EmulatedRegistry() as registry:
        registry.add_image("a/b", upper, "1")
        name = f"docker://{registry.host}/a/b:1"

        def fetched(*arguments: str) -> list[int]:
            registry.log.clear()
            fresh = str(tmp_path / arguments[1])
            assert ocitool(*arguments, variables={"XDG_CACHE_HOME": fresh}).code == 0
            return [len(registry.requests("GET", layer.digest.hex)) for layer in upper.layers]

        assert fetched("export", "-o", "x.tar", name) == [1, 1]
        assert fetched("files", "cp", name, "/etc", "copy") == [1, 1]
        assert fetched("files", "ls", "-R", name) == [1, 1]
        assert fetched("files", "cat", name, "/b/c") == [0, 1]
