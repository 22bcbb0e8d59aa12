"""A17: the arithmetic of the parity: any one of some files from the others, at any place."""

from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from ocitool.bundles.parity import exclusive_or, parity_pieces


def reader(data: bytes) -> Callable[[int, int], bytes]:
    """Return how to read some bytes at any offset."""
    return lambda offset, size: data[offset : offset + size]


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=6), st.data())
def test_a17_any_one_comes_back_from_the_others(
    files: Sequence[bytes], data: st.DataObject
) -> None:
    largest = max(map(len, files))
    parity = b"".join(parity_pieces([reader(one) for one in files], largest))
    assert len(parity) == largest
    lost = data.draw(st.integers(0, len(files) - 1))
    others = [one for number, one in enumerate(files) if number != lost]
    begin = data.draw(st.integers(0, len(files[lost])))
    size = data.draw(st.integers(0, len(files[lost]) - begin))
    parts = [one[begin : begin + size] for one in (parity, *others)]
    assert exclusive_or(parts, size) == files[lost][begin : begin + size]


def test_a17_large_files_are_taken_piece_by_piece() -> None:
    one, other = b"\x0f" * ((1 << 20) + 5), b"\xf0" * (1 << 21)
    pieces = list(parity_pieces([reader(one), reader(other)], len(other)))
    assert [len(piece) for piece in pieces] == [1 << 20, 1 << 20]
    assert b"".join(pieces) == b"\xff" * len(one) + b"\xf0" * (len(other) - len(one))
