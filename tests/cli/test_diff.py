"""ocitool diff: what a person reads, what a machine reads, and the exit code."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.garbage.test_engine import FakeEngine
from tests.support.command import FIXTURES, Command, Done
from tests.support.images import blob_path, docker_archive, write_files, write_layout
from tests.support.registry import EmulatedRegistry
from tests.support.root_files import Node, folder, hard_link, link
from tests.support.small_images import FORMS, NAME, Form, file, small_image, write_image

_STYLE = re.compile(r"\x1b\[[0-9;]*m")
BASE = [folder("etc"), Node(path="etc/conf", data=b"a\nb\n"), file("usr/bin/tool", 2000)]
ONE = small_image(
    BASE,
    [folder("opt"), *(file(f"opt/f{n}", 100) for n in range(9)), file("old", 500)],
    steps=["/bin/sh -c base", "/bin/sh -c make one"],
    config={"config": {"Env": ["A=1", "GONE=x"], "Cmd": ["run", "it"]}},
)
TWO = small_image(
    BASE,
    [
        folder("opt", owner=(7, 8)),
        *(file(f"opt/f{n}", 100, owner=(7, 8)) for n in range(9)),
        Node(path="etc/conf", data=b"a\nc\n"),
        file("usr/bin/tool", 2000, mode=0o4755),
        folder("srv"),
        *(file(f"srv/d/{n}", 1000) for n in range(3)),
        file("usr/bin/new", 10, time=3),
        link("usr/bin/l", "new"),
    ],
    steps=["/bin/sh -c base", "/bin/sh -c make two"],
    config={"config": {"Env": ["A=2"], "Cmd": ["run", "it"], "User": "app"}},
)


@pytest.fixture
def places(tmp_path: Path) -> tuple[str, str]:
    return (
        f"oci:{write_layout(tmp_path / 'one', {NAME: ONE})}",
        f"oci:{write_layout(tmp_path / 'two', {NAME: TWO})}",
    )


def plain(text: str) -> list[str]:
    return _STYLE.sub("", text).splitlines()


class TestText:
    def test_a_person_reads_what_differs(self, ocitool: Command, places: tuple[str, str]) -> None:
        done = ocitool("diff", *places)
        assert done.code == 3
        short = [image.descriptor.digest.short for image in (ONE, TWO)]
        lines = [re.sub(r"[\d.]+ k?B +(?=RUN)", "", line) for line in done.out.splitlines()]
        assert lines == [
            f"A  small:1  linux/amd64  {short[0]}",
            f"B  small:1  linux/amd64  {short[1]}",
            "",
            "Files in all   3.40 kB → 5.91 kB (+2.51 kB, +73.7 %)",
            "Stored         30.7 kB → 41.0 kB (+10.2 kB, +33.3 %)",
            "Layers         1 shared, 1 only in A, 1 only in B",
            "  -   2   RUN make one",
            "  +   2   RUN make two",
            "Configuration  3 fields differ",
            "  ~ env.A     1 → 2",
            "  - env.GONE  x",
            "  + user      app",
            "History        1 step removed, 1 step added",
            "  - RUN make one",
            "  + RUN make two",
            "Files          7 added (3.01 kB), 1 removed (500 B), 12 changed",
            "  ~ /etc/conf      content, 4 B as before",
            "  - /old           500 B",
            "  ~ /opt/          and 9 paths below: owner 0:0 → 7:8",
            "  + /srv/          3 files, 3.00 kB",
            "  + /usr/bin/l     link to new",
            "  + /usr/bin/new   10 B",
            "  ~ /usr/bin/tool  mode 644 → 4755",
        ]

    def test_it_fits_into_eighty_columns(self, ocitool: Command, places: tuple[str, str]) -> None:
        shown = ocitool.on_terminal("diff", *places, columns=80)
        assert [line for line in plain(shown) if len(line) > 80] == []
        assert "\x1b[31m-" in shown
        assert "\x1b[" not in ocitool.on_terminal("diff", *places, columns=80, NO_COLOR="1")

    def test_files_lists_every_path(self, ocitool: Command, places: tuple[str, str]) -> None:
        done = ocitool("diff", *places, "--files")
        assert done.code == 3
        assert "Configuration" not in done.out
        assert "  ~ /opt/f8        owner 0:0 → 7:8" in done.out.splitlines()
        assert "  + /srv/d/0       1.00 kB" in done.out.splitlines()

    def test_many_files_of_one_folder_are_one_row(self, ocitool: Command, tmp_path: Path) -> None:
        one = small_image([file(f"d/{n}", 10, "a") for n in range(50)])
        two = small_image([file(f"d/{n}", 10, "b") for n in range(50)])
        a = write_layout(tmp_path / "a", {NAME: one})
        b = write_layout(tmp_path / "b", {NAME: two})
        done = ocitool("diff", f"oci:{a}", f"oci:{b}", "--files", "--only", "d/1*")
        assert "11 changed" in done.out
        done = ocitool("diff", f"oci:{a}", f"oci:{b}", "--only", "d/1*")
        assert done.out.splitlines()[-1] == "  ~ /d/*  11 paths, content"

    def test_too_many_rows_are_folded_further_up(self, ocitool: Command, tmp_path: Path) -> None:
        names = [f"usr/lib/p{n // 10}/d{n}/f" for n in range(60)]
        one = small_image([file("etc/conf", 3, "a"), *(file(name, 10, "a") for name in names)])
        two = small_image([file("etc/conf", 4, "b"), *(file(name, 10, "b") for name in names)])
        a = write_layout(tmp_path / "a", {NAME: one})
        b = write_layout(tmp_path / "b", {NAME: two})
        done = ocitool("diff", f"oci:{a}", f"oci:{b}")
        assert done.out.splitlines()[-7:] == [
            "  ~ /etc/conf       content, 3 B → 4 B",
            *(f"  ~ /usr/lib/p{n}/**  10 paths, content" for n in range(6)),
        ]
        assert len(ocitool("diff", f"oci:{a}", f"oci:{b}", "--files").out.splitlines()) > 60

    def test_a_file_of_many_paths_is_one_row_and_its_bytes_count_once(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        names = [hard_link(f"bin/{n}", "bin/box") for n in range(9)]
        one = small_image(
            [file("bin/box", 1000, "a"), *names, file("gone", 5), hard_link("g", "gone")]
        )
        two = small_image(
            [file("bin/box", 2000, "b"), *names, file("bin/x", 5), hard_link("y", "bin/x")]
        )
        a = write_layout(tmp_path / "a", {NAME: one})
        b = write_layout(tmp_path / "b", {NAME: two})
        done = ocitool("diff", f"oci:{a}", f"oci:{b}", "--only", "*")
        assert done.out.splitlines()[-6:] == [
            "Files          2 added (5 B), 2 removed (5 B), 10 changed",
            "  ~ /bin/0  content, 1.00 kB → 2.00 kB, with 9 other paths of it",
            "  + /bin/x  5 B",
            "  - /g      5 B",
            "  - /gone   hard link to /g",
            "  + /y      hard link to /bin/x",
        ]

    def test_links_that_became_files_are_one_row(self, ocitool: Command, tmp_path: Path) -> None:
        one = small_image([link(f"bin/{n}", "box") for n in range(9)])
        two = small_image([file(f"bin/{n}", 1000) for n in range(9)])
        a = write_layout(tmp_path / "a", {NAME: one})
        b = write_layout(tmp_path / "b", {NAME: two})
        done = ocitool("diff", f"oci:{a}", f"oci:{b}")
        assert done.out.splitlines()[-1] == (
            "  ~ /bin/*  9 paths, symbolic link → file, 0 B → 9.00 kB"
        )

    def test_an_instruction_that_made_another_layer_is_one_row(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        steps = ["/bin/sh -c make", "/bin/sh -c test"]
        one = small_image([file("a", 1)], [file("b", 9000)], steps=steps)
        two = small_image(
            [file("a", 2)], [file("c", 1)], [file("b", 1)], steps=[steps[0], "x", steps[1]]
        )
        a = write_layout(tmp_path / "a", {NAME: one})
        b = write_layout(tmp_path / "b", {NAME: two})
        done = ocitool("diff", f"oci:{a}", f"oci:{b}", "--layers")
        assert done.out.splitlines()[-4:] == [
            "Layers         0 shared, 2 only in A, 3 only in B",
            "  ~   1   10.2 kB                         RUN make",
            "  ~   2   20.5 kB → 10.2 kB, now layer 3  RUN test",
            "  +   2   10.2 kB                         x",
        ]

    def test_content_shows_lines(self, ocitool: Command, places: tuple[str, str]) -> None:
        done = ocitool("diff", *places, "--content", "--only", "*.none", "--only", "conf")
        assert done.out.splitlines()[-5:] == [
            "content of /etc/conf",
            "@@ -1,2 +1,2 @@",
            " a",
            "-b",
            "+c",
        ]


class TestTheAnswer:
    def test_the_same_image_is_no_difference(
        self, ocitool: Command, places: tuple[str, str]
    ) -> None:
        done = ocitool("diff", places[0], places[0])
        assert done.code == 0
        assert done.out.splitlines()[-1] == "A and B are the same image."

    def test_another_form_of_the_layers_is_no_difference(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        layers = [[file("a", 1000)], [file("b", 500)]]
        a = write_layout(tmp_path / "a", {NAME: small_image(*layers)})
        b = write_layout(tmp_path / "b", {NAME: small_image(*layers, codec="gzip")})
        done = ocitool("diff", f"oci:{a}", f"oci:{b}")
        assert done.code == 0
        assert "2 shared (2 stored in another form)" in done.out
        assert re.search(r"Stored +20.5 kB \(uncompressed\) → \d+ B \(gzip\)", done.out)
        assert done.out.splitlines()[-1] == (
            "A and B do not differ in their files and configuration and layers; their manifests do."
        )

    def test_a_damaged_layer_is_not_called_a_difference(
        self, ocitool: Command, places: tuple[str, str], tmp_path: Path
    ) -> None:
        image = small_image([file("a", 1)], codec="gzip")
        layout = write_layout(tmp_path / "damaged", {NAME: image})
        (layout / blob_path(image.layers[0])).write_bytes(b"x" * image.layers[0].size)
        done = ocitool("diff", places[0], f"oci:{layout}")
        assert done.code == 7
        assert "layer 1 of B is not compared: " in done.err
        assert ocitool("diff", f"oci:{layout}", f"oci:{layout}").code == 0

    def test_without_its_layers_an_image_still_has_a_configuration(
        self, ocitool: Command, places: tuple[str, str], tmp_path: Path
    ) -> None:
        without = [layer.digest for layer in TWO.layers]
        layout = write_layout(tmp_path / "bare", {NAME: TWO}, without=without)
        done = ocitool("diff", places[0], f"oci:{layout}", "--files")
        assert done.code == 4
        assert "layer 2 of B is not compared: " in done.err
        done = ocitool("diff", places[0], f"oci:{layout}", "--config", "--layers")
        assert (done.code, done.err) == (3, "")
        assert "  ~ env.A     1 → 2" in done.out.splitlines()

    def test_q_gives_the_exit_code_alone(self, ocitool: Command, places: tuple[str, str]) -> None:
        done = ocitool("diff", "-q", *places)
        assert (done.code, done.out, done.err) == (3, "", "")

    def test_only_what_is_compared_counts(self, ocitool: Command, places: tuple[str, str]) -> None:
        done = ocitool("diff", *places, "--only", "etc/none")
        # A mistyped pattern passes no gate.
        assert (done.code, "neither image has a path" in done.err) == (4, True)
        assert ocitool("diff", *places, "--config").code == 3

    @pytest.mark.parametrize(
        "wrong",
        [
            ("--ignore", "content"),
            ("--ignore", ""),
            ("--only", "/"),
            ("--content", "--config"),
            ("--markdown", "--json"),
            ("--platform", "a/b,c/d"),
        ],
    )
    def test_what_makes_no_sense_is_a_usage_error(
        self, ocitool: Command, places: tuple[str, str], wrong: tuple[str, ...]
    ) -> None:
        assert ocitool("diff", *places, *wrong).code == 2

    def test_one_pipe_cannot_be_both(self, ocitool: Command) -> None:
        assert ocitool("diff", "-", "-").code == 2

    def test_a_platform_that_is_not_there_is_not_found(
        self, ocitool: Command, places: tuple[str, str]
    ) -> None:
        done = ocitool("diff", *places, "--platform", "linux/s390x")
        assert done.code == 4


@pytest.mark.parametrize("form", FORMS)
def test_every_kind_of_place_stands_on_both_sides(
    ocitool: Command, tmp_path: Path, form: Form
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = write_image(tmp_path / "one", ONE, form)
    two = write_image(tmp_path / "two", TWO, form)
    assert ocitool("load", two).code == 0
    for a, b in ((str(one), "small:1"), ("small:1", str(one))):
        value = document(ocitool("diff", a, b, "--files", "--json"), 3)
        sides = (value["files"]["added"], value["files"]["removed"])
        fewer, more = sides if a == "small:1" else sides[::-1]
        assert [entry["path"] for entry in fewer] == ["old"]
        assert len(more) == 7
    assert ocitool("diff", str(two), "small:1", "--files").code == 0


def test_a_registry_an_engine_and_a_folder_of_skopeo(ocitool: Command, tmp_path: Path) -> None:
    files = {digest.hex: data for digest, data in ONE.blobs.items()}
    version = {"version": b"Directory Transport Version: 1.1\n"}
    folder = write_files(tmp_path / "dir", {"manifest.json": ONE.manifest, **version, **files})
    fake = FakeEngine(tmp_path)
    fake.archive = docker_archive({NAME: ONE})
    how = {"DOCKER_HOST": f"unix://{fake.socket}"}
    with EmulatedRegistry() as registry, fake.running():
        registry.add_image("x/y", TWO, "1")
        remote = f"docker://{registry.host}/x/y:1"
        for a, b, code in (
            (f"dir:{folder}", remote, 3),
            (remote, "docker-daemon:app:1", 3),
            ("docker-daemon:app:1", f"dir:{folder}", 0),
        ):
            done = ocitool("diff", a, b, "--files", variables=how)
            assert (done.code, done.err) == (code, ""), (a, b)


def test_a_pipe_is_one_side(ocitool: Command) -> None:
    path = FIXTURES / "docker20-app-single.tar"
    done = ocitool("diff", "-", path, stdin=path.read_bytes())
    assert done.code == 0, done.err


def document(done: Done, code: int) -> Any:
    assert done.code == code, done.err
    return done.json


class TestMachine:
    def test_the_document_has_all_that_differs(
        self, ocitool: Command, places: tuple[str, str]
    ) -> None:
        value = document(ocitool("diff", *places, "--json", "--content"), 3)
        assert value["same"] is False
        assert value["a"]["digest"] == str(ONE.descriptor.digest)
        assert value["a"]["platform"] == value["b"]["platform"] == "linux/amd64"
        changed = {one["path"]: one for one in value["files"]["changed"]}
        assert changed["etc/conf"]["what"] == ["content"]
        assert changed["etc/conf"]["diff"] == ["@@ -1,2 +1,2 @@", " a", "-b", "+c"]
        assert changed["usr/bin/tool"]["a"]["mode"] == 0o644
        assert changed["usr/bin/tool"]["b"]["mode"] == 0o4755
        assert [one["path"] for one in value["files"]["removed"]] == ["old"]
        assert {one["field"]: (one["a"], one["b"]) for one in value["config"]} == {
            "env.A": ("1", "2"),
            "env.GONE": ("x", None),
            "user": (None, "app"),
        }
        assert [one["a"]["number"] for one in value["layers"]["shared"]] == [1]
        assert value["size"]["a"]["live_bytes"] == 3404

    def test_a_name_that_is_not_utf_8_is_told_twice(self, ocitool: Command, tmp_path: Path) -> None:
        a = write_layout(tmp_path / "a", {NAME: small_image([file("x", 1)])})
        b = write_layout(tmp_path / "b", {NAME: small_image([file("x", 1), file("\udcff", 1)])})
        value = document(ocitool("diff", f"oci:{a}", f"oci:{b}", "--files", "--json"), 3)
        (entry,) = value["files"]["added"]
        assert (entry["path"], entry["path_bytes"]) == ("\ufffd", "/w==")


HOSTILE = "a|b`c<b>@you\x1b[31m\n\u202e"


class TestHostileNames:
    @pytest.fixture
    def hostile(self, tmp_path: Path) -> tuple[str, str]:
        image = small_image(
            [file(HOSTILE, 3), link("l", HOSTILE)],
            steps=[f"/bin/sh -c {HOSTILE}"],
            config={"config": {"Labels": {"k": HOSTILE}}},
        )
        empty = write_layout(tmp_path / "a", {NAME: small_image([])})
        other = write_layout(tmp_path / "b", {NAME: image})
        return f"oci:{empty}", f"oci:{other}"

    def test_text_controls_no_terminal(self, ocitool: Command, hostile: tuple[str, str]) -> None:
        out = ocitool("diff", *hostile).out
        assert "\x1b" not in out
        assert "\u202e" not in out
        assert r"/a|b`c<b>@you\x1b[31m\x0a\u202e" in out

    def test_markdown_keeps_it_in_its_cell(
        self, ocitool: Command, hostile: tuple[str, str]
    ) -> None:
        out = ocitool("diff", *hostile, "--markdown").out
        assert "\x1b" not in out
        assert r"| `+` | ``/a\|b`c<b>@you\x1b[31m\x0a\u202e`` | `3 B` |" in out.splitlines()


class TestMarkdown:
    def test_it_is_a_comment(self, ocitool: Command, places: tuple[str, str]) -> None:
        done = ocitool("diff", *places, "--markdown", "--content")
        assert done.code == 3
        lines = done.out.splitlines()
        assert lines[0] == "### `small:1` → `small:1`"
        assert "| platform | `linux/amd64` | `linux/amd64` |" in lines
        assert "**Files**: 7 added (3.01 kB), 1 removed (500 B), 12 changed" in lines
        assert "| `~` | `/usr/bin/tool` | `mode 644 → 4755` |" in lines
        assert lines[-8:] == [
            "```diff",
            "@@ -1,2 +1,2 @@",
            " a",
            "-b",
            "+c",
            "```",
            "",
            "</details>",
        ]

    def test_long_lists_are_folded(self, ocitool: Command, tmp_path: Path) -> None:
        image = small_image([file(f"d{n}/f", 10, "b") for n in range(50)])
        a = write_layout(tmp_path / "a", {NAME: small_image([])})
        b = write_layout(tmp_path / "b", {NAME: image})
        out = ocitool("diff", f"oci:{a}", f"oci:{b}", "--markdown").out
        assert "<details><summary><b>Files</b>: 100 added (500 B)</summary>" in out
        assert "and 10 smaller rows" in out


def test_an_image_that_is_not_there_is_not_found(ocitool: Command, loaded: Command) -> None:
    assert loaded("diff", "fmt/app:1.0", "nothing:1").code == 4
