"""Times as options take them: with a unit, because 30 is days to one and seconds to another."""

import pytest

from ocitool.cli.options.quantities import parse_seconds
from ocitool.errors import UsageError
from tests.support.command import Command


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30d", 2_592_000), ("12h", 43_200), ("1.5m", 90), ("90s", 90), ("10ms", 0.01), ("0", 0)],
)
def test_a_time_has_a_unit_unless_it_is_zero(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "words",
    [
        ("registry", "prune", "127.0.0.1:1/x", "--keep-within", "30"),
        ("registry", "prune", "127.0.0.1:1/x", "--keep-within", "30:v.*"),
        ("registry", "prune", "127.0.0.1:1/x", "--untagged", "--older-than", "30"),
        ("gc", "-a", "--filter", "unused-for=30"),
        ("gc", "--grace", "30"),
        ("registry", "digest", "127.0.0.1:1/x", "--wait", "30"),
    ],
)
def test_a_number_alone_is_no_time(ocitool: Command, words: tuple[str, ...]) -> None:
    done = ocitool(*words)
    assert done.code == 2
    assert "30 what? 30d, 30h, 30m or 30s" in done.err


def test_what_is_no_time_is_told_with_days_in_it() -> None:
    with pytest.raises(UsageError) as caught:
        parse_seconds("30days")
    assert caught.value.hint == "write it like 30d, 12h, 90s"
