"""Taking secrets out of texts that are shown."""

from ocitool.inside.facts.leaks.finding import SHOWN, Found
from ocitool.inside.facts.leaks.patterns import known_forms

_SHORTEST = 3
_NAME_LIKE = 6


class Redactor:
    """Takes secrets out of texts that are shown, such as the build step that wrote them."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._unlike_names: dict[str, str] = {}

    def add(self, found: Found) -> None:
        """Hide this secret from now on, in every way that it was written."""
        shown = f"{found.begins[:SHOWN]}…"
        for value in (found.value, *found.spelled):
            if len(value) >= _SHORTEST:
                self._values.setdefault(value, shown)
                if len(value) >= _NAME_LIKE and not (value.isalpha() and value.islower()):
                    self._unlike_names.setdefault(value, shown)

    def hide(self, text: str) -> str:
        """Return the text with every secret cut to its first characters."""
        return _cut(text, self._values)

    def hide_in_name(self, text: str) -> str:
        """Return a path or a name with its secrets cut.

        A password that is a plain word stays: that "postgres" is one tells nothing of a folder.
        """
        return _cut(text, self._unlike_names)


def _cut(text: str, values: dict[str, str]) -> str:
    for value in sorted(values, key=len, reverse=True):
        if value in text:
            text = text.replace(value, values[value])
    # Behind a slash a token may be a part of something in base64, but hiding that harms nobody.
    for part in dict.fromkeys((text, *text.split("/"))):
        for found in known_forms(part):
            if "…" not in found.value:  # else it is what was cut before
                text = text.replace(found.value, f"{found.begins}…")
    return text
