"""What inspect, history, images and verify show: on terminals, in pipes, and by a template."""

import json
import re
from pathlib import Path

import pytest

from ocitool.cli.render.template import Record, Template
from ocitool.errors import UsageError
from tests.support.command import FIXTURES, Command
from tests.support.images import (
    BuiltImage,
    blob_path,
    build_artifact,
    build_image,
    build_index,
    docker_archive,
    oci_archive,
    write_layout,
)
from tests.support.stores import written

APP = "fmt/app:1.0"
HEX = "c50ecf0f8081044924e199cfe6cfd18d0c9dd4d16be07790bb24f7088112b98e"
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


def plain(text: str) -> list[str]:
    return _STYLE.sub("", text).splitlines()


def sized(*sizes: int) -> BuiltImage:
    """Return an image whose layers hold files of about these sizes that do not compress."""
    content = [bytes(range(256)) * (size // 256) for size in sizes]
    layers = [{f"f{number}": data} for number, data in enumerate(content)]
    history = [{"created_by": f"COPY file:{HEX} in /f{n}"} for n in range(len(sizes))]
    return build_image(layers, history=history)


@pytest.fixture
def several(ocitool: Command, tmp_path: Path) -> Path:
    one, two = build_image([{"a": b"1"}]), build_image([{"b": b"2"}])
    return written(tmp_path / "several.tar", oci_archive({"app:1": one, "app:2": two}))


class TestImagesInAPipe:
    HEADER = (
        "REPOSITORY  TAG  IMAGE ID  PLATFORM  CREATED  SIZE  UNPACKED  UNIQUE  HELD BY  FORMER NAME"
    )

    def table(self, command: Command, *arguments: str) -> list[list[str]]:
        out = command("images", *arguments).out
        return [re.split(r" {2,}", line.strip()) for line in out.splitlines()]

    def test_the_columns_are_the_same_whatever_is_there(self, loaded: Command) -> None:
        header = self.HEADER.split("  ")
        for prepare in ((), ("pin", APP), ("untag", APP), ("rm", "fmt/base:1")):
            if prepare:
                assert loaded(*prepare).code == 0
            first, *rows = self.table(loaded)
            assert first == header
            assert {len(row) for row in rows} == {len(header)}

    def test_an_image_without_a_name_has_its_former_one_in_a_column(self, loaded: Command) -> None:
        assert loaded("untag", APP).code == 0
        row = next(row for row in self.table(loaded) if row[-1] == APP)
        assert row[:2] == ["<none>", "<none>"]

    def test_nothing_is_cut_and_nothing_is_written_below(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        name = f"ghcr.io/{'a' * 120}/app:{'t' * 100}"
        path = written(tmp_path / "x.tar", oci_archive({name: build_image([{"a": b"1"}])}))
        assert ocitool("load", path).code == 0
        done = ocitool("images", "--digests", variables={"COLUMNS": "80"})
        assert len(done.out.splitlines()) == 2
        for part in name.rsplit(":", 1):
            assert part in done.out
        assert re.search("sha256:[0-9a-f]{64}", done.out)
        assert done.err == ""

    def test_history_is_not_cut_and_has_no_total(self, loaded: Command) -> None:
        out = loaded("history", APP, variables={"COLUMNS": "80"}).out
        assert f"COPY file:{HEX} in /hello.txt" in out
        assert "total" not in out
        assert len(out.splitlines()) == 12


class TestImagesOnATerminal:
    @pytest.mark.parametrize("columns", [80, 140])
    def test_digests_fit_with_a_line_of_their_own(self, loaded: Command, columns: int) -> None:
        assert loaded("untag", APP).code == 0
        lines = plain(loaded.on_terminal("images", "--digests", columns=columns))
        assert max(map(len, lines)) <= columns
        digests = [line for line in lines if re.fullmatch("  sha256:[0-9a-f]{64}", line)]
        assert len(digests) == 3
        told = "\n".join(lines)
        assert f"was {APP}" in told
        assert ("UNIQUE" in lines[0]) is (columns == 140) or "unique" in told

    def test_a_platform_that_came_before_its_index_is_no_image_of_its_own(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        ours, other = (build_image([{"a": data}]) for data in (b"1", b"2"))
        index = build_index([ours])
        # As clients push them: platforms by their digests, then the index.
        layout = write_layout(tmp_path / "layout", {"app:1": index}, [ours, other])
        assert ocitool("load", f"oci:{layout}").code == 0
        assert len(ocitool("images", "-q").out.split()) == 2
        assert len(ocitool("images", "-q", "-a").out.split()) == 3
        shown = ocitool.on_terminal("images", columns=140)
        assert "1 single platform: -a lists it too" in shown
        assert shown.count("<none>") == 2

    def test_artifacts_that_are_left_out_are_counted(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        image = build_image([{"a": b"1"}])
        signatures = [build_artifact(image.descriptor, data) for data in (b"1", b"2")]
        layout = write_layout(tmp_path / "layout", {"app:1": image}, signatures)
        assert ocitool("load", f"oci:{layout}").code == 0
        assert "2 more artifacts: -a lists them too" in ocitool.on_terminal("images", columns=80)
        assert "more artifact" not in ocitool.on_terminal("images", "-a", columns=80)
        assert "more artifact" not in ocitool("images").err

    @pytest.mark.parametrize("columns", [80, 140])
    def test_digests_hide_no_user(self, loaded: Command, columns: int) -> None:
        assert loaded("pin", APP).code == 0
        told = loaded.on_terminal("images", "--digests", columns=columns)
        assert "a pin" in told

    @pytest.mark.parametrize("columns", [80, 140])
    def test_a_former_name_is_told_beside_it_or_below(self, loaded: Command, columns: int) -> None:
        assert loaded("untag", APP).code == 0
        lines = plain(loaded.on_terminal("images", columns=columns))
        assert max(map(len, lines)) <= columns
        assert f"was {APP}" in "\n".join(lines)
        assert "ALONE" not in lines[0]
        assert ("UNIQUE" in lines[0]) is (columns == 140) or "unique" in "\n".join(lines)


def test_unpacked_is_known_after_load(ocitool: Command, tmp_path: Path) -> None:
    image = sized(4000, 256)
    archives = {
        "docker.tar": docker_archive({"a:1": image}),
        "gzip.tar": oci_archive({"c:1": build_image([{"x": b"z" * 20_000}], compression="gzip")}),
        "zstd.tar": oci_archive({"d:1": build_image([{"x": b"z" * 9000}], compression="zstd")}),
        "plain.tar": oci_archive({"b:1": build_image([{"x": b"y" * 900}], compression="none")}),
    }
    for name, data in archives.items():
        assert ocitool("load", written(tmp_path / name, data)).code == 0
    listed = ocitool("images", "--json").json
    assert isinstance(listed, list)
    found = {row["names"][0].rpartition("/")[2]: row["unpacked"] for row in listed}
    for name, expected in found.items():
        report = ocitool("inspect", name, "--json").json
        assert isinstance(report, dict)
        assert expected == report["unpacked"] is not None


class TestFormat:
    def test_images_by_fields(self, loaded: Command) -> None:
        done = loaded("images", "--format", "{{.Repository}}:{{.Tag}}")
        assert sorted(done.out.split()) == [APP, "fmt/base:1", "hyb/multiplat-full:1"]

    def test_images_as_a_table(self, loaded: Command) -> None:
        template = "table {{.Repository}}\\t{{.ID}}\\t{{.CreatedSince}}"
        lines = loaded("images", "--format", template).out.splitlines()
        assert re.split(" {2,}", lines[0]) == ["REPOSITORY", "ID", "CREATED SINCE"]
        column = lines[0].index("ID")
        assert all(re.match(r"[0-9a-f]{12}  ", line[column:]) for line in lines[1:])
        assert loaded("images", "--format", "table").out == loaded("images").out

    def test_images_as_json_lines(self, loaded: Command) -> None:
        rows = [json.loads(line) for line in loaded("images", "--format", "json").out.splitlines()]
        assert {row["Repository"] for row in rows} == {"fmt/app", "fmt/base", "hyb/multiplat-full"}
        assert all(row["Digest"].startswith("sha256:") for row in rows)

    def test_a_pattern_and_quiet_go_with_it(self, loaded: Command) -> None:
        assert loaded("images", "fmt/app", "--format", "{{.Tag}}").out == "1.0\n"

    def test_inspect_with_dockers_fields(self, loaded: Command) -> None:
        report = loaded("inspect", APP, "--json").json
        assert isinstance(report, dict)
        template = (
            "{{.Id}} {{json .Config.Env}} {{index .Config.Env 1}} {{len .RootFS.Layers}} "
            '{{join .RepoTags ","}} {{.Os}}/{{.Architecture}} '
            '{{index .Config.Labels "org.opencontainers.image.title"}}'
        )
        assert loaded("inspect", "--format", template, APP).out == (
            f'{report["image_id"]} ["PATH=/bin","A=1","B=2"] A=1 5 {APP} linux/amd64 fmt\n'
        )

    def test_inspect_with_a_range(self, loaded: Command) -> None:
        out = loaded("inspect", "--format", "{{range .RootFS.Layers}}{{println .}}{{end}}", APP).out
        assert len(out.split()) == 5

    def test_history_by_fields(self, loaded: Command) -> None:
        out = loaded("history", "--format", "{{.Number}} {{.ID}} {{.CreatedBy}}", APP).out
        assert len(out.splitlines()) == 11
        assert "2 eaebe763f520 /bin/sh -c mkdir" in out

    @pytest.mark.parametrize("command", ["images", "inspect", "history"])
    def test_a_field_that_does_not_exist_lists_those_that_do(
        self, loaded: Command, command: str
    ) -> None:
        done = loaded(command, APP, "--format", "{{.Nope}}")
        assert done.code == 2
        assert "there is no field .Nope" in done.err
        assert ".ID" in done.err
        assert loaded(command, APP, "--format", "{{.ID}}", "--json").code == 2

    @pytest.mark.parametrize(
        ("template", "text"),
        [
            ("{{.ID}}", "abc"),
            ("{{ .ID | upper }}", "ABC"),
            ("a {{- .ID -}} b", "aabcb"),
            ("{{.Labels}}", "map[a:b c.d:e]"),
            ("{{.Labels.none}}", "<no value>"),
            ('{{index .Labels "c.d"}}', "e"),
            ("{{.List}}", "[1 2]"),
            ('{{if eq .ID "abc"}}yes{{else}}no{{end}}', "yes"),
            ("{{if .Empty}}yes{{else}}no{{end}}", "no"),
            ("{{range .Empty}}x{{else}}none{{end}}", "none"),
            ('{{join .List "\\n"}}', "1\n2"),
            ("{{(index .List 0)}}{{truncate .ID 2}}", "1ab"),
            ("{{/* nothing */}}{{true}}", None),
            ("{{.Evil}}", "\\x1b[31m\\x0a"),
            ("{{println .Evil}}", "\\x1b[31m\\x0a\n"),
            ("{{json .Evil}}", '"\\u001b[31m\\n"'),
            ("{{.ID", None),
            ("{{if .ID}}", None),
            ("{{end}}", None),
            ("{{json}}", None),
            ("{{index .List 9}}", None),
            ("{{(.ID}}", None),
            ("{{.ID .ID}}", None),
            ("{{}}", None),
        ],
    )
    def test_the_language(self, template: str, text: str | None) -> None:
        record = Record(
            ID="abc",
            Labels={"c.d": "e", "a": "b"},
            List=["1", "2"],
            Empty=[],
            Evil="\x1b[31m\n",
        )
        if text is None:
            with pytest.raises(UsageError) as raised:
                Template(template)(record)
            assert raised.value.hint
        else:
            assert Template(template)(record) == text


class TestAPlaceWithSeveralImages:
    def test_inspect_lists_them_and_says_how_to_name_one(
        self, ocitool: Command, several: Path
    ) -> None:
        done = ocitool("inspect", "./several.tar")
        assert done.code == 0
        assert [line.split()[:2] for line in done.out.splitlines()[1:]] == [
            ["app", "1"],
            ["app", "2"],
        ]
        example = done.err.split("ocitool inspect ")[1].strip()
        assert example == "oci-archive:./several.tar:app:1"
        assert ocitool("inspect", example).out.startswith("app:1\n")

    def test_a_folder_with_a_colon_is_named_by_digest(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        layout = write_layout(
            tmp_path / "a:b", {"1": build_image([{"a": b"1"}]), "2": build_image([{"b": b"2"}])}
        )
        done = ocitool("inspect", layout)
        assert done.code == 0
        assert f"{layout}@sha256:" in done.err

    def test_all_shows_every_one(self, ocitool: Command, several: Path) -> None:
        out = ocitool("inspect", "--all", several).out
        assert [line for line in out.splitlines() if line.startswith("app:")] == ["app:1", "app:2"]

    def test_json_and_quiet_and_format_give_every_one(
        self, ocitool: Command, several: Path
    ) -> None:
        reports = ocitool("inspect", "--json", several).json
        assert isinstance(reports, list)
        digests = [report["digest"] for report in reports]
        assert len(digests) == 2
        assert ocitool("inspect", "-q", several).out.split() == digests
        assert ocitool("inspect", "--format", "{{.Digest}}", several).out.split() == digests

    def test_artifacts_are_left_out(self, ocitool: Command) -> None:
        done = ocitool("inspect", "--all", FIXTURES / "cases" / "20-artifacts.tar")
        assert done.code == 0
        assert "chart" not in done.out

    def test_history_needs_one_and_says_how_to_name_it(
        self, ocitool: Command, several: Path
    ) -> None:
        done = ocitool("history", "./several.tar")
        assert done.code == 2
        assert "oci-archive:./several.tar:app:1" in done.err


class TestThePicture:
    @pytest.fixture
    def large(self, ocitool: Command, tmp_path: Path) -> Command:
        image = sized(4_000_000, 1_000_000, 256, 512)
        path = written(tmp_path / "x.tar", oci_archive({"large:1": image}))
        assert ocitool("load", path).code == 0
        return ocitool

    def test_shares_are_percent_and_there_is_a_total(self, large: Command) -> None:
        out = large("inspect", "large:1").out
        assert "SHARE" in out
        assert [line.split()[5:7] for line in out.splitlines() if " COPY " in line][:2] == [
            ["80", "%"],
            ["20", "%"],
        ]
        assert re.search(r"total, 4 layers$", out, re.MULTILINE)

    def test_large_layers_are_bold_and_small_ones_folded(self, large: Command) -> None:
        out = large.on_terminal("inspect", "large:1")
        assert out.count("\x1b[1mCOPY") == 2
        assert out.count("COPY") == 2
        assert "and 2 layers below 1 % each" in out
        assert large.on_terminal("inspect", "--all", "large:1").count("COPY") == 4
        assert large("inspect", "large:1").out.count("COPY") == 4

    def test_a_copied_file_keeps_where_it_went(self, large: Command) -> None:
        for command in ("inspect", "history"):
            assert "in /f0" in large.on_terminal(command, "large:1", columns=80)
            assert f"file:{HEX} in /f0" in large(command, "large:1").out

    @pytest.mark.parametrize("columns", [80, 140])
    def test_it_fits(self, loaded: Command, columns: int) -> None:
        for command in (("inspect", "--all"), ("inspect",), ("history",)):
            for name in (APP, "hyb/multiplat-full:1"):
                lines = plain(loaded.on_terminal(*command, name, columns=columns))
                assert max(map(len, lines)) <= columns, command

    def test_digests_of_platforms_are_not_cut_in_the_middle(self, loaded: Command) -> None:
        lines = plain(loaded.on_terminal("inspect", "hyb/multiplat-full:1", columns=80))
        assert any(re.search(r"linux/arm64 .* [0-9a-f]{12}$", line) for line in lines)
        assert any(re.fullmatch("    sha256:[0-9a-f]{64}", line) for line in lines)

    def test_history_numbers_its_layers_and_has_a_total(self, loaded: Command) -> None:
        lines = plain(loaded.on_terminal("history", APP))
        numbers = [line.split()[0] for line in lines[1:-1]]
        assert [number for number in numbers if number != "-"] == ["1", "2", "3", "4", "5"]
        assert "11 steps, 5 layers" in lines[-1]

    def test_words_in_place_of_media_types_and_zero_times(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        check = {"Test": ["CMD-SHELL", "curl -f localhost || exit 1"], "Interval": 30_000_000_000}
        image = build_image(
            [{"a": b"1"}],
            config={"created": "0001-01-01T00:00:00Z", "config": {"Healthcheck": check}},
        )
        path = written(tmp_path / "x.tar", oci_archive({"a:1": image}))
        out = ocitool("inspect", path).out
        assert "  type        OCI image\n" in out
        assert "  created     not set\n" in out
        assert "  healthcheck curl -f localhost || exit 1  (every 30 s)\n" in out


class TestVerify:
    def test_it_names_what_it_proved(self, loaded: Command) -> None:
        done = loaded("verify")
        digest = loaded("inspect", "-q", APP).out.strip()
        assert f"sound: {APP} {digest}\n" in done.out
        assert re.search(r" in \d+\.\d s, [\d.]+ [kMG]?B/s: sound$", done.out.strip())
        report = loaded("verify", "--json").json
        assert isinstance(report, dict)
        proved = {tuple(one["names"]): one["digest"] for one in report["proved"]}
        assert proved[f"docker.io/{APP}",] == digest
        assert report["seconds"] > 0

    def test_damage_names_the_image_the_layer_and_the_step(self, loaded: Command) -> None:
        layers = loaded("inspect", APP, "--json").json
        assert isinstance(layers, dict)
        digest = layers["layers"][1]["digest"]
        blob = loaded.store / "blobs" / "sha256" / digest[7:]
        blob.write_bytes(bytes(len(blob.read_bytes())))
        done = loaded("verify")
        assert done.code == 3
        assert f"  it is layer 2 of 5 of docker.io/{APP}: RUN mkdir -p /data/dir" in done.out
        assert "--repair-from SRC" in done.err
        assert f"sound: {APP}" not in done.out
        assert "sound: hyb/multiplat-full:1" in done.out
        report = loaded("verify", "--json").json
        assert isinstance(report, dict)
        (problem,) = report["problems"]
        assert (problem["image"], problem["layer"]) == (f"docker.io/{APP}", 2)
        assert "mkdir -p /data/dir" in problem["created_by"]

    def test_a_layer_of_several_images_says_so(self, ocitool: Command, tmp_path: Path) -> None:
        base = {"a": b"1"}
        images = {"a:1": build_image([base, {"b": b"2"}]), "b:1": build_image([base])}
        layout = write_layout(tmp_path / "layout", images)
        blob = layout / blob_path(images["b:1"].layers[0])
        blob.write_bytes(bytes(len(blob.read_bytes())))
        done = ocitool("verify", f"oci:{layout}")
        assert "and of 1 other image" in done.out
        assert f"`ocitool verify oci:{layout} --repair-from SRC`" in done.err

    def test_an_archive_says_to_copy_it_again(self, ocitool: Command) -> None:
        done = ocitool("verify", FIXTURES / "built" / "corruptblob.tar")
        assert done.code == 3
        assert "layer 2 of 2 of docker.io/example/app:1" in done.out
        assert "copy the archive again" in done.err
