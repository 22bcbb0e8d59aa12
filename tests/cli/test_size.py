"""`ocitool size`: the text, Markdown, JSON, exit codes, and names that are hostile."""

import base64
import html
import re
from pathlib import Path
from typing import Any

import pytest

from ocitool.cli.render.markdown import escaped
from tests.support.command import FIXTURES, Command
from tests.support.images import docker_archive, write_layout
from tests.support.root_files import hard_link
from tests.support.small_images import file, gone, small_image, with_unread_layer

LOWER = [file("base/a", 1000), file("base/b", 500), file("copy", 500, "same")]
UPPER = [file("app/x", 300_000), file("base/a", 1000, mode=0o600), file("copy2", 500, "same")]
STEPS = ["COPY base /", "RUN make | tee `log` <b>", "RUN rm /base/b"]
IMAGE = small_image(LOWER, UPPER, [gone("base/b"), gone("ghost")], steps=STEPS)


@pytest.fixture
def command(tmp_path: Path) -> Command:
    write_layout(tmp_path / "image", {"1": IMAGE})
    write_layout(tmp_path / "base", {"1": small_image(LOWER)})
    return Command(tmp_path / "store", tmp_path)


def test_the_text_tells_totals_layers_waste_and_what_is_large(command: Command) -> None:
    done = command("size", "oci:image", "--duplicates")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert "304 kB of files in" in lines[1]
    assert "  4 files in 2 folders" in lines
    assert any(line.startswith("  efficiency 99.5 %: 1.50 kB wasted") for line in lines)
    assert any("COPY base /" in line and "2.00 kB" in line for line in lines)
    waste = [line.split() for line in lines if " metadata " in line or " deleted " in line]
    assert [row[:5] for row in waste] == [
        ["1.00", "kB", "1", "metadata", "base/a"],
        ["500", "B", "1", "deleted", "base/b"],
    ]
    assert any(line.split()[-1:] == ["app/x"] for line in lines)
    assert any("copy, copy2" in line for line in lines)
    assert any("layer 3: ghost: a whiteout hides nothing here" in line for line in lines)


def test_a_file_that_is_stored_again_unchanged_is_not_blamed_on_its_owner(
    ocitool: Command, tmp_path: Path
) -> None:
    done = ocitool("size", FIXTURES / "built" / "samelayer.tar")
    assert done.code == 0
    assert " identical " in done.out
    assert "identical: the same file, stored again unchanged" in done.out
    assert "owner" not in done.out


@pytest.mark.parametrize("option", ["--max-waste", "--max-growth"])
@pytest.mark.parametrize(
    ("text", "code"), [("5", 2), ("100", 2), ("5%", 0), ("5MB", 0), ("100000", 0)]
)
def test_a_small_number_is_percent_or_bytes_only_with_a_unit(
    command: Command, option: str, text: str, code: int
) -> None:
    baseline = ["--baseline", "oci:image"] if option == "--max-growth" else []
    done = command("size", "oci:image", option, text, *baseline)
    assert done.code == code
    assert ("percent or bytes?" in done.err) is (code == 2)
    if code:
        assert f"write {text}% or {text}B" in done.err


def test_budgets_are_told_and_end_with_3(command: Command) -> None:
    kept = command("size", "oci:image", "--max-size", "1MB", "--max-waste", "1%")
    assert (kept.code, kept.out.count("kept")) == (0, 2)
    done = command("size", "oci:image", "--max-size", "300kB", "--max-layer", "1kB")
    assert done.code == 3
    lines = done.out.splitlines()
    assert any(line.split()[:4] == ["exceeded", "max-size", "300", "kB:"] for line in lines)
    assert any(line.split() == ["300", "kB", "layer", "2", "app/x"] for line in lines)


def test_sizes_of_budgets_count_as_they_are_shown(command: Command) -> None:
    for text, limit in (("1MB", 1_000_000), ("1MiB", 1 << 20), ("5k", 5000)):
        done = command("size", "oci:base", "--max-size", text, "--json")
        assert done.json["budgets"][0]["limit"] == limit  # type: ignore[index]


def test_growth_names_the_platform_and_ends_with_3(command: Command, tmp_path: Path) -> None:
    done = command("size", "oci:image", "--max-growth", "10%", "--baseline", "oci:base", "--json")
    assert done.code == 3
    (budget,) = done.json["budgets"]  # type: ignore[index]
    assert (budget["rule"], budget["unit"]) == ("max-growth", "percent")
    assert budget["actual"] == pytest.approx(100 * 301_500 / 2000)
    other = small_image(LOWER, platform="linux/arm64")
    write_layout(tmp_path / "other", {"1": other})
    done = command("size", "oci:image", "--max-growth", "1GB", "--baseline", "oci:other")
    assert done.code == 0
    assert "the baseline is an image for linux/arm64, this one is for linux/amd64" in done.err


def test_a_missing_baseline_is_not_found(command: Command) -> None:
    done = command("size", "oci:image", "--max-growth", "10%", "--baseline", "oci:none")
    assert done.code == 4


def test_a_baseline_that_lacks_a_layer_is_not_passed(command: Command, tmp_path: Path) -> None:
    image = small_image(LOWER, [file("z", 1)])
    write_layout(tmp_path / "lacking", {"1": image}, without=[image.layers[1].digest])
    done = command("size", "oci:image", "--max-growth", "1GB", "--baseline", "oci:lacking")
    assert done.code == 4
    assert "layer 2 of the baseline could not be read: " in done.err


@pytest.mark.parametrize(
    ("kind", "code", "bare"),
    [
        ("missing", 4, 4),
        ("damaged", 7, 7),
        ("encrypted", 3, 0),
        ("foreign", 3, 0),
        ("not_a_layer", 3, 0),
    ],
)
def test_with_a_layer_that_was_not_read_no_budget_is_kept(
    command: Command, tmp_path: Path, kind: str, code: int, bare: int
) -> None:
    write_layout(tmp_path / "odd", {"1": with_unread_layer(IMAGE, kind)})
    done = command("size", "oci:odd", "--max-size", "1TB")
    assert done.code == code
    assert "kept" not in done.out
    assert "failed    max-size 1.00 TB: unknown, layer 2 could not be read: " in done.out
    assert "layer 2 could not be read: " in done.err
    done = command("size", "oci:odd")
    assert (done.code, "numbers of 2 of 3 layers" in done.out) == (bare, True)
    growth = ("--max-growth", "1GB", "--baseline", "oci:odd")
    done = command("size", "oci:image", *growth)
    assert (done.code, "layer 2 of the baseline could not be read" in done.err) == (code, True)


def test_what_is_exceeded_by_a_little_does_not_look_the_same(
    command: Command, tmp_path: Path
) -> None:
    image = small_image([file("a", 50_040), file("b", 949_960)], [gone("a")])
    write_layout(tmp_path / "close", {"1": image})
    done = command("size", "oci:close", "--max-waste", "5%")
    assert (done.code, "exceeded  max-waste 5.000 %: 5.004 %" in done.out) == (3, True)
    done = command("size", "oci:close", "--max-waste", "50kB", "--max-size", "999999")
    assert "exceeded  max-size 999,999 B: 1,000,000 B" in done.out
    assert "exceeded  max-waste 50,000 B: 50,040 B" in done.out


@pytest.mark.parametrize("option", [("--exclude-base", "1"), ("--ignore", "a/**")])
def test_what_does_not_count_for_a_budget_needs_one(
    command: Command, option: tuple[str, str]
) -> None:
    done = command("size", "oci:image", *option)
    assert (done.code, f"{option[0]} needs a budget" in done.err) == (2, True)


def test_without_a_file_above_its_base_an_image_has_no_waste(
    command: Command, tmp_path: Path
) -> None:
    write_layout(tmp_path / "bare", {"1": small_image(LOWER, [gone("base/a")])})
    done = command("size", "oci:bare", "--exclude-base", "oci:base", "--max-waste", "0%")
    assert (done.code, "max-waste 0.00 %: 0.00 %" in done.out) == (0, True)


def test_an_image_that_lacks_a_layer_says_so_and_ends_with_4(
    command: Command, tmp_path: Path
) -> None:
    write_layout(tmp_path / "lacking", {"1": IMAGE}, without=[IMAGE.layers[1].digest])
    done = command("size", "oci:lacking")
    assert done.code == 4
    assert "numbers of 2 of 3 layers" in done.out


def test_a_damaged_layer_ends_with_7(command: Command, tmp_path: Path) -> None:
    image = small_image(LOWER, codec="gzip")
    layout = write_layout(tmp_path / "damaged", {"1": image})
    blob = layout / "blobs" / "sha256" / image.layers[0].digest.hex
    blob.write_bytes(b"\xff" * image.layers[0].size)
    done = command("size", "oci:damaged")
    assert done.code == 7
    assert "numbers of 0 of 1 layer" in done.out


@pytest.mark.parametrize("base", ["1", "oci:base"])
def test_the_base_is_left_out_of_budgets(command: Command, base: str) -> None:
    done = command("size", "oci:image", "--exclude-base", base, "--max-layer", "1B", "--json")
    assert done.code == 3
    (budget,) = done.json["budgets"]  # type: ignore[index]
    assert {cause["layer"] for cause in budget["causes"]} == {2}


def test_wrong_options_are_usage_errors(command: Command) -> None:
    for arguments in (
        ("--max-growth", "5%"),
        ("--baseline", "oci:base"),
        ("--max-size", "big"),
        ("--exclude-base", "4"),
        ("--markdown", "--json"),
    ):
        assert command("size", "oci:image", *arguments).code == 2, arguments
    assert command("size", "oci:base", "--exclude-base", "oci:image").code == 2


def test_paths_are_ignored_by_pattern(command: Command) -> None:
    done = command("size", "oci:image", "--ignore", "/app/*", "--max-size", "5kB", "--json")
    assert done.code == 0
    assert done.json["budgets"][0]["actual"] == 3500  # type: ignore[index]


class TestHostileNames:
    NAME = "x|`<b>*\x1b[31m\u202e\n\udcff"

    @pytest.fixture
    def hostile(self, tmp_path: Path) -> Command:
        image = small_image([file(self.NAME, 10), hard_link("h", self.NAME)], [file(self.NAME, 20)])
        write_layout(tmp_path / "hostile", {"1": image})
        return Command(tmp_path / "store", tmp_path)

    def test_text_shows_no_control_characters(self, hostile: Command) -> None:
        done = hostile("size", "oci:hostile")
        assert done.code == 0, done.err
        assert not {"\x1b", "\u202e", "\udcff"} & set(done.out)
        assert "x|`<b>*\\x1b[31m\\u202e\\x0a\\udcff" in done.out

    def test_json_is_lossless(self, hostile: Command) -> None:
        document: Any = hostile("size", "oci:hostile", "--json").json
        (largest, _) = document["largest"]
        assert largest["path"] == self.NAME.replace("\udcff", "\ufffd")
        raw = self.NAME.encode("utf-8", "surrogateescape")
        assert base64.b64decode(largest["path_bytes"]) == raw

    def test_markdown_is_escaped(self, hostile: Command) -> None:
        done = hostile("size", "oci:hostile", "--markdown")
        assert done.code == 0, done.err
        rows = [line for line in done.out.splitlines() if "x&#124;" in line]
        assert rows
        for row in rows:
            assert "x&#124;&#96;&#60;b&#62;&#42;" in row
            assert row.count("|") == row.replace("&#124;", "").count("|")
            assert "<b>" not in row


def test_markdown_links_and_mentions_nothing_but_stays_readable() -> None:
    assert escaped("usr/lib/a-1.2+b (x)!") == "usr/lib/a-1.2+b (x)!"
    hostile = "https://x.example www.x.example @team #1 :+1: [a](b) *b* ~~c~~ <i> $x$ &amp;"
    shown = escaped(hostile)
    assert html.unescape(shown) == hostile
    assert not set("<>[]*~@$:") & set(re.sub(r"&#\d+;", "", shown))
    assert "www." not in shown


def test_markdown_is_added_to_the_summary_of_a_job(command: Command, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    variables = {"GITHUB_STEP_SUMMARY": str(summary)}
    arguments = ("size", "oci:image", "--markdown", "--max-size", "1kB")
    done = command(*arguments, variables=variables)
    assert done.code == 3
    assert summary.read_text() == f"before\n{done.out}\n"
    assert "| max-size | 1.00 kB | 304 kB | **exceeded** |" in done.out
    assert "RUN make &#124; tee &#96;log&#96; &#60;b&#62;" in done.out


def test_an_archive_a_store_and_a_pipe_give_the_same_numbers(
    command: Command, tmp_path: Path
) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(docker_archive({"docker.io/library/a:1": IMAGE}))
    assert command("load", archive).code == 0
    numbers = []
    for source, data in (("./a.tar", b""), ("a:1", b""), ("-", archive.read_bytes())):
        document: Any = command("size", source, "--json", stdin=data).json
        numbers.append({key: document[key] for key in ("file_bytes", "wasted_bytes", "files")})
    assert numbers == [{"file_bytes": 303_500, "wasted_bytes": 1500, "files": 4}] * 3


def test_inspect_tells_in_a_line_which_layers_hide_most(command: Command, tmp_path: Path) -> None:
    layers = [
        [file("model", 300_000), file("own", 5, "1"), file("own", 5, "2")],
        [file("archive", 200_000)],
        [gone("archive"), file("model", 300_000, mode=0o600)],
    ]
    write_layout(tmp_path / "sins", {"1": small_image(*layers)})
    lines = command("inspect", "oci:sins").out.splitlines()
    (row,) = [number for number, line in enumerate(lines) if line.startswith("  waste")]
    assert lines[row].split(maxsplit=1)[1] == (
        "62 % (500 kB) is hidden: layer 3 replaces 300 kB of layer 1, …"
    )
    assert lines[row + 1].strip() == "`ocitool size` lists where"
    write_layout(tmp_path / "one", {"1": small_image([file("a", 900), file("a", 600)])})
    (line,) = [x for x in command("inspect", "oci:one").out.splitlines() if "waste" in x]
    assert line.endswith("60 % (900 B) is hidden: layer 1 replaces 900 B of its own")


@pytest.mark.parametrize("words", [["size"], ["size", "--json"], ["files", "ls"], ["facts"]])
def test_of_a_layer_beyond_a_limit_nothing_is_printed_as_a_total(
    words: list[str], command: Command, tmp_path: Path
) -> None:
    deep = "/".join(["d"] * 3000)
    write_layout(tmp_path / "deep", {"1": small_image(LOWER, [file(deep, 1)])})
    done = command(*words, "oci:deep")
    assert (done.code, done.out) == (7, "")
    assert "longer than 4096 bytes" in done.err


def test_on_a_terminal_it_fits_a_screen_and_says_how_to_avoid_waste(command: Command) -> None:
    names = [f"{number:02}" for number in range(30)]
    many = small_image([file(name, 100) for name in names], [gone(name) for name in names])
    write_layout(command.cwd / "many", {"1": many})
    shown = command.on_terminal("size", "oci:many")
    assert shown.count(" deleted ") == 5
    assert "--top 20 lists 15 more" in shown
    assert "deleted: delete it in the step that makes it" in shown
    assert command.on_terminal("size", "oci:many", "--top", "30").count(" deleted ") == 30
    assert command("size", "oci:many").out.count(" deleted ") == 20
