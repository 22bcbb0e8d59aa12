"""Untrusted text inside error messages."""

_LONGEST = 120


def quoted(value: object) -> str:
    """Return `value` in quotes on one line, so that it cannot control a terminal.

    `repr` escapes every character that is not printable (controls, bidirectional marks, lone
    surrogates). Long text is cut, because an attacker also chooses the length.
    """
    text = repr(value[: _LONGEST + 1] if isinstance(value, str) else value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
