"""JSON documents are written piece by piece, as `json.dumps` writes them."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.cli.render.console import json_pieces
from ocitool.cli.render.document import View
from ocitool.inside.lazy_changes import Made

pytestmark = pytest.mark.fast

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


@given(VALUES)
def test_every_document_is_the_same(value: object) -> None:
    assert "".join(json_pieces(value)) == json.dumps(value, indent=2, ensure_ascii=True)


class Item:
    def __init__(self, number: int) -> None:
        self.number = number


def test_of_many_values_none_is_made_before_it_is_written() -> None:
    made: list[int] = []

    def make(number: int) -> Item:
        made.append(number)
        return Item(number)

    items: Sequence[Item] = Made(5000, make)
    pieces = json_pieces({"items": View("number")(items)})
    assert made == []
    first = [next(pieces) for _ in range(3)]
    assert len(made) < 5
    assert json.loads("".join([*first, *pieces])) == {
        "items": [{"number": number} for number in range(5000)]
    }
