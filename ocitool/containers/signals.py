"""Signals as images and users name them: SIGQUIT, quit, 3, RTMIN+3."""

import re
import signal

from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted

_REAL_TIME = re.compile(r"(RTMIN|RTMAX)(?:([+-])([0-9]{1,2}))?")


def signal_number(text: str) -> int:
    """Return the number of a signal; UsageError for one that does not exist."""
    name = text.strip().upper().removeprefix("SIG")
    number = int(name) if name.isascii() and name.isdecimal() and len(name) < 4 else _named(name)
    if not 1 <= number <= signal.SIGRTMAX:
        raise UsageError(
            f"{quoted(text)} is not a signal", hint="write a name such as SIGQUIT, or its number"
        )
    return number


def _named(name: str) -> int:
    """Return the number of a name without SIG; 0 for an unknown one."""
    found = _REAL_TIME.fullmatch(name)
    if found is None:
        return getattr(signal.Signals, f"SIG{name}", 0) if name.isidentifier() else 0
    first, sign, offset = found.groups()
    number = int(signal.SIGRTMIN if first == "RTMIN" else signal.SIGRTMAX)
    number += int(f"{sign or '+'}{offset or 0}")
    return number if signal.SIGRTMIN <= number <= signal.SIGRTMAX else 0
