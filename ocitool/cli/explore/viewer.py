"""A file on the screen: as text, or as bytes where it is none."""

from collections.abc import Iterator

from ocitool.cli.render import console

MOST = 256 << 10
"""Bytes of a file that are shown."""
_PER_LINE = 16


def shown(data: bytes) -> list[str]:
    """Return the lines of a file that was read up to a limit, safe to show."""
    text = _text(data)
    if text is None:
        return list(_hex(data))
    return [console.safe(line.expandtabs(8)) for line in text.split("\n")]


def _text(data: bytes) -> str | None:
    """Return UTF-8 text, also if its last character is cut; None for everything else."""
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data" and len(data) - error.start < 4:
            return data[: error.start].decode("utf-8")
        return None


def _hex(data: bytes) -> Iterator[str]:
    """Yield lines as `hexdump -C` writes them."""
    for start in range(0, len(data), _PER_LINE):
        part = data[start : start + _PER_LINE]
        pairs = [f"{byte:02x}" for byte in part]
        halves = " ".join(pairs[:8]), " ".join(pairs[8:])
        ascii_part = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        yield f"{start:08x}  {halves[0]:<23}  {halves[1]:<23}  |{ascii_part}|"
