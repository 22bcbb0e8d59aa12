"""reflog and restore: what names meant before, and putting it back."""

import json

import pytest

from tests.support.command import Command

APP = "docker.io/fmt/app:1.0"


def digest_of(ocitool: Command, name: str) -> str:
    rows = ocitool("images", "--json", name).json
    assert isinstance(rows, list)
    return str(rows[0]["digest"])


def states(ocitool: Command, *names: str) -> list[tuple[int, str | None, str]]:
    rows = ocitool("reflog", *names, "--json").json
    assert isinstance(rows, list)
    return [(row["number"], row["digest"], row["state"]) for row in rows]


def test_the_reflog_lists_what_a_name_meant_the_newest_first(loaded: Command) -> None:
    app, base = digest_of(loaded, "fmt/app"), digest_of(loaded, "fmt/base")
    loaded("tag", "fmt/base:1", "fmt/app:1.0")
    loaded("untag", "fmt/app:1.0")
    assert states(loaded, "fmt/app:1.0") == [
        (0, None, "none"),
        (1, base, "named"),
        (2, app, "nameless"),
    ]
    text = loaded("reflog", "fmt/app:1.0").out
    assert "fmt/app:1.0@{2}" in text
    assert "here, as <none>" in text


def test_the_reflog_knows_what_waits_in_the_trash_and_what_is_gone(loaded: Command) -> None:
    app = digest_of(loaded, "fmt/app")
    loaded("untag", "fmt/app:1.0")
    loaded("gc", "-f", "--containers", "none")
    assert states(loaded, "fmt/app:1.0")[1] == (1, app, "trash")
    loaded("gc", "--purge", "-f")
    assert states(loaded, "fmt/app:1.0")[1] == (1, app, "gone")


def test_a_line_of_a_change_that_a_crash_prevented_is_left_out(loaded: Command) -> None:
    app, base = digest_of(loaded, "fmt/app"), digest_of(loaded, "fmt/base")
    line = {"time": "2026-01-01T00:00:00Z", "name": APP, "old": app, "new": base}
    with (loaded.store / ".ocitool" / "reflog").open("a") as file:
        file.write(json.dumps(line) + "\n")
    assert states(loaded, "fmt/app:1.0") == [(0, app, "named")]
    loaded("untag", "fmt/app:1.0")
    assert states(loaded, "fmt/app:1.0") == [(0, None, "none"), (1, app, "nameless")]


def test_a_name_that_never_was_is_not_found(loaded: Command) -> None:
    assert loaded("reflog", "never:1").code == 4
    assert loaded("restore", "never:1@{1}").code == 4


def test_restore_puts_an_earlier_meaning_back_and_can_be_taken_back_itself(
    loaded: Command,
) -> None:
    app, base = digest_of(loaded, "fmt/app"), digest_of(loaded, "fmt/base")
    loaded("tag", "fmt/base:1", "fmt/app:1.0")
    done = loaded("restore", "fmt/app:1.0@{1}")
    assert done.code == 0
    assert f"fmt/app:1.0 is {app} again, from {base}" in done.out
    assert digest_of(loaded, "fmt/app") == app
    loaded("restore", "fmt/app:1.0@{1}")
    assert digest_of(loaded, "fmt/app") == base


def test_restore_to_what_the_name_means_changes_nothing(loaded: Command) -> None:
    before = (loaded.store / ".ocitool" / "reflog").read_bytes()
    done = loaded("restore", "fmt/app:1.0@{0}")
    assert (done.code, done.out) == (0, "fmt/app:1.0 already names that image\n")
    assert (loaded.store / ".ocitool" / "reflog").read_bytes() == before


@pytest.mark.parametrize("text", ["fmt/app:1.0", "fmt/app:1.0@{x}", "@{1}", "fmt/app:1.0@{-1}"])
def test_restore_of_what_is_no_line_of_the_reflog_is_a_usage_error(
    loaded: Command, text: str
) -> None:
    assert loaded("restore", text).code == 2


def test_restore_further_back_than_is_known_says_how_far_it_goes(loaded: Command) -> None:
    done = loaded("restore", "fmt/app:1.0@{7}")
    assert done.code == 4
    assert "changed once" in done.err


def test_restore_to_no_image_is_refused(loaded: Command) -> None:
    loaded("untag", "fmt/app:1.0")
    loaded("tag", "fmt/base:1", "fmt/app:1.0")
    done = loaded("restore", "fmt/app:1.0@{1}")
    assert done.code == 6
    assert "ocitool untag" in done.err


def test_restore_of_an_image_in_the_trash_says_how_to_get_it_back(loaded: Command) -> None:
    loaded("tag", "fmt/base:1", "fmt/app:1.0")
    loaded("gc", "-f", "--containers", "none")
    done = loaded("restore", "fmt/app:1.0@{1}")
    assert done.code == 4
    assert "gc --undo" in done.err
    loaded("gc", "--undo")
    assert loaded("restore", "fmt/app:1.0@{1}").code == 0
    assert loaded("verify").code == 0


def test_reflog_takes_a_name_as_its_own_lines_spell_it(loaded: Command) -> None:
    loaded("untag", "fmt/app:1.0")
    spelt = loaded("reflog", "fmt/app:1.0@{1}", "--json")
    assert spelt.code == 0
    assert spelt.out == loaded("reflog", "fmt/app:1.0", "--json").out
