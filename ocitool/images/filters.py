"""The language of `--filter`, the same wherever images are selected."""

import fnmatch
from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn

from msgspec import Struct

from ocitool.errors import UsageError
from ocitool.oci import Reference
from ocitool.oci.annotations import is_full

_FORMS = {
    "dangling": "dangling=true|false",
    "label": "label=KEY[=VALUE]",
    "label!": "label!=KEY[=VALUE]",
    "reference": "reference=PATTERN",
    "before": "before=NAME",
    "since": "since=NAME",
    "unused-for": "unused-for=TIME",
}
LIST_KEYS = ("dangling", "label", "label!", "reference", "before", "since")
GARBAGE_KEYS = ("unused-for", "label", "label!", "reference")


class LabelTest(Struct, frozen=True, kw_only=True):
    """A label that an image shall have, or shall not have when it is not `wanted`.

    `value` None stands for any value.
    """

    key: str
    value: str | None = None
    wanted: bool = True

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an image with these labels passes."""
        has = self.key in labels and self.value in (None, labels[self.key])
        return has is self.wanted


class ImageFilters(Struct, frozen=True, kw_only=True):
    """What `--filter` texts ask for. An image has to pass all of them, and one of `references`.

    `before` and `since` are names of images. `unused_for` is in seconds.
    """

    dangling: bool | None = None
    labels: tuple[LabelTest, ...] = ()
    references: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    since: tuple[str, ...] = ()
    unused_for: float | None = None


def parse_filters(
    texts: Iterable[str], keys: Iterable[str], seconds: Callable[[str], float] | None = None
) -> ImageFilters:
    """Read KEY=VALUE texts. UsageError for a key that is not in `keys`, or a value that is not its.

    `seconds` reads a time such as 90d.
    """
    allowed = tuple(keys)
    values: dict[str, list[str]] = {key: [] for key in _FORMS}
    for text in texts:
        key, _, value = text.partition("=")
        if key not in allowed or not value:
            _refuse(text, allowed)
        values[key].append(value)
    truths = [_truth(value, allowed) for value in values["dangling"]]
    times = [seconds(value) for value in values["unused-for"]] if seconds is not None else []
    return ImageFilters(
        dangling=truths[-1] if truths else None,
        labels=tuple(
            _label_test(value, wanted=key == "label")
            for key in ("label", "label!")
            for value in values[key]
        ),
        references=tuple(values["reference"]),
        before=tuple(values["before"]),
        since=tuple(values["since"]),
        unused_for=max(times, default=None),
    )


def matches_name(names: Iterable[str], others: Iterable[str], patterns: Iterable[str]) -> bool:
    """Tell whether a name, its repository, or one of the `others` fits one of the patterns.

    Full names fit in their full and in their familiar form; `others` need not be full.
    """
    texts = set(others)
    for name in (*names, *filter(is_full, texts)):
        reference = Reference.parse(name)
        texts |= {
            reference.familiar,
            reference.familiar_repository,
            reference.name,
            reference.repository,
        }
    return any(fnmatch.fnmatchcase(text, pattern) for text in texts for pattern in patterns)


def _label_test(text: str, *, wanted: bool) -> LabelTest:
    key, equals, value = text.partition("=")
    return LabelTest(key=key, value=value if equals else None, wanted=wanted)


def _truth(text: str, allowed: tuple[str, ...]) -> bool:
    if text not in ("true", "false", "1", "0"):
        _refuse(f"dangling={text}", allowed)
    return text in ("true", "1")


def _refuse(text: str, allowed: tuple[str, ...]) -> NoReturn:
    *most, last = (_FORMS[key] for key in allowed)
    raise UsageError(f"--filter {text!r} is unknown", hint=f"use {', '.join(most)} or {last}")
