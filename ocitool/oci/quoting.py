"""Untrusted text inside error messages."""

_LONGEST = 120


def quoted(value: object) -> str:
    """Show `value` in quotes on one line, so that nothing in it can control a terminal.

    `repr` escapes every character that is not printable (controls, bidirectional marks, lone
    surrogates); what is long is cut, as an attacker chooses the length too.
    """
    text = repr(value[: _LONGEST + 1] if isinstance(value, str) else value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
