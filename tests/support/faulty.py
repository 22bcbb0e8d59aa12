"""Spoilt copies of some bytes."""

from collections.abc import Iterator


def truncations(data: bytes, *, percent: int) -> Iterator[bytes]:
    """Yield the data cut at every so many percent of it, and without its last byte."""
    for at in range(0, 100, percent):
        yield data[: len(data) * at // 100]
    yield data[:-1]


def flips(data: bytes, *, percent: int) -> Iterator[bytes]:
    """Yield the data with one bit flipped at every so many percent of it, and in its last byte."""
    for at in (*(len(data) * at // 100 for at in range(0, 100, percent)), len(data) - 1):
        yield data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :]
