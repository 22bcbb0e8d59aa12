"""Text in columns: sizes, ages, tables, bars. Widths count terminal cells."""

import datetime as dt
import unicodedata
from collections.abc import Sequence

from ocitool.cli.render import console
from ocitool.oci import amounts

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_LEAST = 8
_PARTS = " ▏▎▍▌▋▊▉█"


counted = amounts.counted


def size(count: int | None) -> str:
    """Return bytes as `amounts.size_text` does; "-" when they are unknown."""
    return "-" if count is None else amounts.size_text(count)


def age(text: str | None, now: dt.datetime) -> str:
    """Return how long ago an RFC 3339 time was, in docker's words; "-" when it is unknown."""
    from ocitool.oci import parse_time

    moment = parse_time(text) if text else None
    if moment is None:
        return "-"
    seconds = int((now - moment).total_seconds())
    if moment.year < 1981:
        return "epoch"
    if seconds < 0:
        return "in the future"
    for unit, length in (("year", 31536000), ("month", 2592000), ("week", 604800), ("day", 86400)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}s ago"
    for unit, length in (("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= length:
            count = seconds // length
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now"


def when(text: str | None) -> str:
    """Return an RFC 3339 time to the second, in UTC; "-" when it is unknown."""
    from ocitool.oci import parse_time

    moment = parse_time(text) if text else None
    try:
        if moment is not None:
            return moment.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except OverflowError:
        pass  # In UTC the time is outside of the years 1 to 9999.
    return "-" if not text else console.safe(text)


def styled(text: str, *styles: str) -> str:
    """Return text in a style, where the output may be coloured."""
    if not text or not styles or not console.colour():
        return text
    codes = ";".join(_STYLES[style] for style in styles)
    return f"\x1b[{codes}m{text}\x1b[0m"


def cells(text: str) -> int:
    """Return how many terminal cells a text takes."""
    if text.isascii():
        return len(text)
    return sum(_cell(character) for character in text)


def _cell(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def clip(text: str, width: int) -> str:
    """Return text cut to a width, with an ellipsis if something was cut off."""
    if cells(text) <= width:
        return text
    mark = "…" if console.unicode_output() else "~"
    kept, used = [], 1
    for character in text:
        used += _cell(character)
        if used > width:
            break
        kept.append(character)
    return "".join(kept) + mark


def arrow() -> str:
    """Return what stands between a former and a present value."""
    return "→" if console.unicode_output() else "->"


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Return text filled with spaces to a width."""
    fill = " " * max(0, width - cells(text))
    return fill + text if right else text + fill


def bar(part: int, whole: int, width: int) -> str:
    """Return a bar for `part` of `whole`; any part above zero is visible."""
    if whole <= 0 or part <= 0:
        return " " * width
    eighths = max(1, round(part / whole * width * 8))
    if not console.unicode_output():
        return padded("#" * max(1, round(eighths / 8)), width)
    full, rest = divmod(min(eighths, width * 8), 8)
    return padded("█" * full + (_PARTS[rest] if rest else ""), width)


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[int] = (),
    drop: Sequence[int] = (),
    shrink: Sequence[int] = (),
    width: int | None = None,
) -> list[str]:
    """Return the lines of a table. Columns in `right` are right-aligned.

    If the table is wider than `width`, the columns in `drop` are removed one by one; then those
    in `shrink` are made narrower, the widest first.
    """
    widths = _widths(header, rows)
    if width is not None:
        _fit(widths, width, header, drop, shrink)
    lines = []
    for number, row in enumerate((header, *rows)):
        parts = [padded(clip(row[i], w), w, right=i in right) for i, w in widths.items()]
        line = "  ".join(parts).rstrip()
        lines.append(styled(line, "bold") if number == 0 else line)
    return lines


def stacked(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int | None,
    drop: Sequence[int] = (),
) -> list[str]:
    """Return the lines of a table; where it is too wide, the first column has lines of its own.

    Nothing is cut: names are copied from such tables.
    """
    if width is None or fits(header, rows, width, drop=drop):
        return table(header, rows, drop=drop, width=width)
    rest = table(
        header[1:], [row[1:] for row in rows], drop=[one - 1 for one in drop], width=width - 2
    )
    first = [styled(header[0], "bold"), *(row[0] for row in rows)]
    return [line for own, below in zip(first, rest, strict=True) for line in (own, f"  {below}")]


def fits(
    header: Sequence[str], rows: Sequence[Sequence[str]], width: int, *, drop: Sequence[int] = ()
) -> bool:
    """Tell whether a table fits into `width` after the columns in `drop` are removed."""
    widths = _widths(header, rows)
    kept = {column: wide for column, wide in widths.items() if column not in drop}
    return _excess(kept, width) <= 0


def _widths(header: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[int, int]:
    return {i: max(cells(row[i]) for row in (header, *rows)) for i in range(len(header))}


def _fit(
    widths: dict[int, int],
    width: int,
    header: Sequence[str],
    drop: Sequence[int],
    shrink: Sequence[int],
) -> None:
    for column in drop:
        if _excess(widths, width) > 0:
            del widths[column]
    # One long text must not make the other columns too narrow.
    least = {column: max(cells(header[column]), _LEAST) for column in shrink}
    while shrink and _excess(widths, width) > 0:
        column = max(shrink, key=lambda column: widths[column] - least[column])
        if widths[column] <= least[column]:
            return
        widths[column] -= 1


def _excess(widths: dict[int, int], width: int) -> int:
    return sum(widths.values()) + 2 * (len(widths) - 1) - width
