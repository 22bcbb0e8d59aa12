"""pin and unpin: images that stay whatever happens to their names."""

import json

import pytest

from tests.support.command import Command

NOBODY = ("--containers", "none")


def pins(ocitool: Command) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(ocitool("pin", "--json").out)
    return found


def expire(ocitool: Command) -> None:
    """Let the first pin of a store have ended long ago."""
    path = ocitool.store / ".ocitool" / "pins.json"
    document = json.loads(path.read_bytes())
    document["pins"][0]["until"] = "2020-01-01T00:00:00Z"
    path.write_text(json.dumps(document))


def test_a_pinned_image_outlives_its_name_and_every_collection(loaded: Command) -> None:
    assert loaded("pin", "fmt/app:1.0", "--reason", "release 1").code == 0
    loaded("untag", "fmt/app:1.0")
    done = loaded("gc", "-a", "-f", *NOBODY)
    assert "it is pinned: release 1" in done.out
    assert "fmt/app:1.0" in loaded("images").out
    assert loaded("verify").code == 0


def test_an_image_goes_when_its_pin_is_dropped(loaded: Command) -> None:
    loaded("pin", "fmt/app:1.0")
    loaded("untag", "fmt/app:1.0")
    digest = pins(loaded)[0]["digest"]
    assert loaded("unpin", digest).code == 0
    assert pins(loaded) == []
    assert loaded("gc", "-f", *NOBODY).code == 0
    assert "<none>" not in loaded("images").out


def test_a_pin_that_has_expired_holds_nothing_and_comes_back_with_its_image(
    loaded: Command,
) -> None:
    loaded("pin", "fmt/app:1.0", "--until", "30d")
    expire(loaded)
    loaded("untag", "fmt/app:1.0")
    assert "expired" in loaded("pin").out
    loaded("gc", "-f", *NOBODY)
    assert "<none>" not in loaded("images").out
    assert pins(loaded) == []
    loaded("gc", "--undo")
    assert [pin["until"] for pin in pins(loaded)] == ["2020-01-01T00:00:00Z"]


def test_a_pin_that_has_expired_is_not_shown_as_holding(loaded: Command) -> None:
    loaded("pin", "fmt/app:1.0", "--until", "30d")
    assert "a pin" in loaded("images").out
    expire(loaded)
    assert "a pin" not in loaded("images").out
    assert json.loads(loaded("images", "--json").out)[0]["pin"] is None


@pytest.mark.parametrize("end", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"])
def test_an_end_that_no_clock_knows_is_a_usage_error(loaded: Command, end: str) -> None:
    done = loaded("pin", "fmt/app:1.0", "--until", end)
    assert done.code == 2
    assert "is not a time" in done.err


def test_pins_are_listed_with_reason_and_end(loaded: Command) -> None:
    loaded("pin", "fmt/app:1.0", "fmt/base:1", "--until", "2190-05-06", "--reason", "a\x1b[2Jb")
    lines = loaded("pin").out.splitlines()
    assert len(lines) == 3
    assert "2190-05-06 00:00:00 UTC" in lines[1]
    assert "a\\x1b[2Jb" in lines[1]


def test_a_second_pin_of_an_image_replaces_the_first(loaded: Command) -> None:
    loaded("pin", "fmt/app:1.0", "--reason", "one")
    loaded("pin", "fmt/app:1.0", "--reason", "two")
    assert [pin["reason"] for pin in pins(loaded)] == ["two"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["pin", "never:1"], 4),
        (["pin", "fmt/app:1.0", "--until", "2001-01-01"], 2),
        (["pin", "fmt/app:1.0", "--until", "whenever"], 2),
        (["pin", "--reason", "nothing"], 2),
        (["unpin", "fmt/app:1.0"], 4),
    ],
)
def test_what_cannot_be_pinned_is_said(loaded: Command, arguments: list[str], code: int) -> None:
    assert loaded(*arguments).code == code


def test_pins_that_cannot_be_read_are_not_taken_for_none(loaded: Command) -> None:
    (loaded.store / ".ocitool" / "pins.json").write_text('{"pins": [')
    loaded("untag", "fmt/app:1.0")
    assert loaded("gc", "-f", *NOBODY).code == 7
    assert "fmt/app:1.0" in loaded("images").out


@pytest.mark.parametrize("until", ["", "zzz", "2030", "2030-01-01"])
def test_an_end_that_is_no_time_is_damage_and_not_the_past(loaded: Command, until: str) -> None:
    loaded("pin", "fmt/app:1.0")
    path = loaded.store / ".ocitool" / "pins.json"
    path.write_text(path.read_text().replace('"until":null', f'"until":"{until}"'))
    assert f'"{until}"' in path.read_text()
    loaded("untag", "fmt/app:1.0")
    done = loaded("gc", "-f", *NOBODY)
    assert done.code == 7
    assert "list of pins is damaged" in done.err
