"""The page of an image: its numbers are those of the report, and text stays text."""

import re
from pathlib import Path

import pytest

from ocitool.inside.columns import FILE, FOLDER, NAME
from ocitool.inside.duplicates import hash_doubtful
from ocitool.inside.entries import image_columns
from ocitool.inside.hashes import Hashes
from ocitool.inside.page.facts import image_page
from ocitool.inside.sizing import SizeReport, measure
from tests.inside.looking import looking
from tests.inside.page_data import facts_of, rows_of, sinful_image, sums
from tests.support.command import Command
from tests.support.images import Compression
from tests.support.small_images import CODECS, file, small_image, write_image


def made(folder: Path, codec: Compression = "none") -> tuple[SizeReport, bytes]:
    """Return the report and the page of an image."""
    with looking(folder, sinful_image(codec), hashes=Hashes.DOUBTFUL) as inside:
        hash_doubtful(inside)
        report = measure(inside)
        return report, image_page(inside, report, title="small </title> \x1b[31m")


@pytest.mark.parametrize("codec", CODECS)
def test_the_nodes_make_the_totals_of_the_report(tmp_path: Path, codec: Compression) -> None:
    report, page = made(tmp_path, codec)
    rows = rows_of(facts_of(page))
    found = sums(rows)
    assert sum(found.values()) == report.file_bytes
    assert sum(size for (_, hidden), size in found.items() if hidden) == report.wasted_bytes
    for layer in report.layers:
        number = layer.number
        assert found.get((number, True), 0) == layer.hidden_bytes
        assert found.get((number, True), 0) + found.get((number, False), 0) == layer.file_bytes
    assert sum(row.kind == FILE and not row.hidden for row in rows) == report.files
    assert sum(row.kind == FOLDER and not row.hidden for row in rows) - 1 == report.directories


def test_the_facts_are_those_of_the_report(tmp_path: Path) -> None:
    report, page = made(tmp_path)
    facts = facts_of(page)
    assert facts["totals"]["wasted_bytes"] == report.wasted_bytes == 9_531
    assert facts["totals"]["efficiency"] == report.efficiency
    assert [one["instruction"] for one in facts["layers"]] == [
        "COPY . /",
        "RUN </script>",
        "RUN rm",
        "RUN chown",
    ]
    assert {
        (one["path"], one["bytes"], one["layer"], one["hidden_by"], one["how"])
        for one in facts["wasted"][:4]
    } == {
        ("opt/model", 4000, 1, 2, "overwritten"),
        ("opt/model", 4000, 2, 4, "metadata"),
        ("cache", 1200, 1, 3, "deleted"),
        ("opt", 300, 1, 4, "opaque"),
    }


def test_a_file_is_counted_under_its_first_name(tmp_path: Path) -> None:
    with looking(tmp_path, sinful_image(), layers=[1]) as inside:
        page = image_page(inside, measure(inside), title="one layer")
    rows = {row.path: row for row in rows_of(facts_of(page))}
    assert (rows["opt/a"].kind, rows["opt/a"].size) == (FILE, 300)
    assert (rows["opt/b"].kind, rows["opt/b"].size) == (NAME, 0)
    assert facts_of(page)["problems"] == ["These are the numbers of 1 of 4 layers."]


def test_names_are_kept_once(tmp_path: Path) -> None:
    with looking(tmp_path, small_image([file("d/a-name", 1)], [file("d/other", 2)])) as inside:
        columns = image_columns(inside.tree)
        own = {name: name for number in (1, 2) for name in inside.table(number).names}
    assert all(name is own.get(name, name) for name in columns.names)
    assert {"a-name", "other"} <= set(columns.names)


def test_checksums_in_steps_are_short_as_in_inspect(tmp_path: Path) -> None:
    steps = [f"/bin/sh -c #(nop) COPY file:{'0123456789abcdef' * 4} in /srv/app "]
    with looking(tmp_path, small_image([file("a", 1)], steps=steps)) as inside:
        page = image_page(inside, measure(inside), title="one layer")
    (layer,) = facts_of(page)["layers"]
    assert layer["instruction"] == "COPY file:012345 in /srv/app"


def test_nothing_from_the_image_ends_a_script_or_a_title(tmp_path: Path) -> None:
    _, page = made(tmp_path)
    text = page.decode()
    assert len(re.findall("</script>", text)) == 2
    assert len(re.findall("</title>", text)) == 1
    assert "\x1b" not in text
    assert "http" not in re.sub(r"http-equiv", "", text)


def test_the_same_image_gives_the_same_page(tmp_path: Path) -> None:
    assert made(tmp_path / "one") == made(tmp_path / "two")


class TestTheCommand:
    @pytest.fixture
    def ocitool(self, tmp_path: Path) -> Command:
        write_image(tmp_path, sinful_image(), "docker-save")
        return Command(tmp_path / "store", tmp_path)

    def test_it_writes_the_page_beside_its_text(self, ocitool: Command, tmp_path: Path) -> None:
        done = ocitool("size", "./docker-save.tar", "--html", "page.html")
        assert done.code == 0
        assert "Waste" in done.out
        assert "wrote page.html" in done.err
        assert facts_of((tmp_path / "page.html").read_bytes())["totals"]["wasted_bytes"] == 9_531

    def test_a_dash_prints_the_page_alone(self, ocitool: Command) -> None:
        done = ocitool.run_bytes("size", "./docker-save.tar", "--html", "-")
        assert done.stdout.startswith(b"<!doctype html>")
        assert done.stdout.endswith(b"</html>\n")

    def test_two_things_cannot_go_to_stdout(self, ocitool: Command) -> None:
        assert ocitool("size", "./docker-save.tar", "--html", "-", "--json").code == 2

    def test_what_cannot_be_written_fails_at_once(self, ocitool: Command) -> None:
        assert ocitool("size", "./docker-save.tar", "--html", "none/page.html").code == 4
