"""Numbers in messages, as people read them: bytes in decimal units, and a word in its number."""

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size_text(count: int) -> str:
    """Return bytes in decimal units and three digits, as docker does: 1.23 MB."""
    value = float(count)
    for unit in _UNITS:
        if value < 999.5 or unit == _UNITS[-1]:
            break
        value /= 1000
    if unit == "B":
        return f"{count} B"
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {unit}"


def counted(count: int, word: str) -> str:
    """Return a number with its word: 1 layer, 2 layers."""
    return f"{count} {word}{'' if count == 1 else 's'}"
