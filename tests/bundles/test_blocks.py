"""Blocks of something far away: each fetched once, ahead where it is read on, within a budget."""

import os
import threading

import pytest

from ocitool.bundles.blocks import BLOCK, Blocks
from tests.support.terminal import wait_until

DATA = os.urandom(40 * BLOCK + 5)


class Far:
    """Data that counts what is fetched of it; it can fail."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.failures = 0
        self.lock = threading.Lock()

    def __call__(self, begin: int, end: int) -> bytes:
        with self.lock:
            if self.failures:
                self.failures -= 1
                raise ConnectionError("lost")
            self.asked.append(begin // BLOCK)
        return DATA[begin:end]


@pytest.mark.parametrize("chunk", [1 << 18, BLOCK, 3 * BLOCK + 1])
def test_a26_what_is_read_from_beginning_to_end_is_fetched_once(chunk: int) -> None:
    far = Far()
    blocks = Blocks(len(DATA), far)
    read = b"".join(blocks.read_at(offset, chunk) for offset in range(0, len(DATA), chunk))
    assert read == DATA
    assert sorted(far.asked) == list(range(41))
    blocks.close()


def test_a26_of_single_places_nothing_is_fetched_ahead() -> None:
    far = Far()
    blocks = Blocks(len(DATA), far)
    for number in (0, 7, 3, 30):
        assert blocks.read_at(number * BLOCK + 9, 5) == DATA[number * BLOCK + 9 :][:5]
    assert far.asked == [0, 7, 3, 30]
    blocks.close()


def test_a26_many_files_read_side_by_side_fetch_each_block_once() -> None:
    # As the parity of forty volumes is: more files than blocks are kept for one.
    files = [Far() for _ in range(40)]
    opened = [Blocks(len(DATA), far) for far in files]
    for offset in range(0, 4 * BLOCK, 1 << 20):
        for blocks in opened:
            assert blocks.read_at(offset, 10) == DATA[offset : offset + 10]
    for blocks in opened:
        blocks.close()
        blocks.close()
    assert all(len(far.asked) == len(set(far.asked)) for far in files)


def test_a26_a_failure_is_raised_where_the_block_is_read_and_tried_again() -> None:
    far = Far()
    blocks = Blocks(len(DATA), far)
    far.failures = 1
    with pytest.raises(ConnectionError):
        blocks.read_at(0, 10)
    assert blocks.read_at(0, 10) == DATA[:10]
    blocks.read_at(BLOCK, 10)
    wait_until(lambda: 2 in far.asked)
    far.failures = 1
    blocks.read_at(2 * BLOCK, 10)
    wait_until(lambda: not far.failures)
    with pytest.raises(ConnectionError):
        blocks.read_at(3 * BLOCK, 10)
    assert blocks.read_at(3 * BLOCK, 10) == DATA[3 * BLOCK :][:10]
    blocks.close()
