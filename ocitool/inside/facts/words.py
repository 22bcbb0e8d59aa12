"""Lists of words, written as one text because a line a word would be pages."""


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text."""
    return tuple(text.split())
