"""The time of what a command makes: SOURCE_DATE_EPOCH, for builds that can be repeated."""

import os

from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted

_EPOCH = "SOURCE_DATE_EPOCH"
_YEAR_10000 = 253_402_300_800


def source_date_epoch() -> int | None:
    """Return SOURCE_DATE_EPOCH in seconds since 1970, None if it is not set or empty."""
    text = os.environ.get(_EPOCH, "")
    if not text:
        return None
    if not (text.isdecimal() and text.isascii() and int(text) < _YEAR_10000):
        raise UsageError(
            f"{_EPOCH} is {quoted(text)}, not a number of seconds since 1970",
            hint=f"set {_EPOCH} to a number such as 1700000000, or unset it",
        )
    return int(text)
