"""Sizes and times as people type them: 50M, 4GiB, 90s, 2m, 2030-12-31."""

import datetime as dt
import re

from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SECONDS = {"ms": 0.001, "s": 1, "": 1, "m": 60, "h": 3600, "d": 86400}


def parse_size(text: str) -> int:
    """Return bytes; 50M and 50MiB both count by 1024. UsageError for other text."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{quoted(text)} is not a size", hint="write it like 50M or 4G")
    return int(float(found.group(1)) * 1024 ** _POWERS[found.group(2).lower()])


def parse_amount(text: str) -> int:
    """Return bytes as sizes are shown: 50MB counts by 1000, 50MiB by 1024. UsageError otherwise."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{quoted(text)} is not a size", hint="write it like 50MB or 4GiB")
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** _POWERS[unit.lower()])


def parse_seconds(text: str) -> float:
    """Return seconds of a text such as 30d, 12h, 2m, 90s or 10ms. UsageError otherwise.

    Only 0 goes without a unit: some take 30 for seconds, and who writes of images means days.
    """
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{quoted(text)} is not a time", hint="write it like 30d, 12h, 90s")
    number, unit = found.groups()
    if not unit and float(number):
        raise UsageError(f"{number} what? {number}d, {number}h, {number}m or {number}s")
    return float(number) * _SECONDS[unit]


def parse_moment(text: str, option: str, now: dt.datetime, *, ago: bool = False) -> dt.datetime:
    """Return the time that a date, a time, or how long from `now` means; UsageError otherwise.

    With `ago` a length of time lies before `now`, else behind it.
    """
    from ocitool.oci import parse_time

    moment = parse_time(text) or parse_time(f"{text}T00:00:00Z")
    try:
        if moment is not None:
            return moment.astimezone(dt.UTC)
        away = dt.timedelta(seconds=parse_seconds(text))
        return now - away if ago else now + away
    except (UsageError, OverflowError):
        raise UsageError(
            f"{option} {text!r} is not a time",
            hint="write a date like 2030-12-31, a time like 2030-12-31T12:00:00Z, or 30d",
        ) from None
