"""The images that a file names, each with the place where it stands."""

from typing import Literal

from msgspec import Struct

from ocitool.errors import UsageError
from ocitool.oci import Reference

Form = Literal["list", "kubernetes", "compose", "kustomize", "lock", "candidate"]
"""What a name was found in; a candidate only looks like an image."""


class Span(Struct, frozen=True):
    """Characters `start` to `end` of a text, which hold a name or a part of one.

    A new one is written between `before` and `after`, which are empty where the name stands as it
    is, so that its quotes stay. A value that `is_plain` has no quotes, and may need some.
    """

    start: int
    end: int
    before: str = ""
    after: str = ""
    is_plain: bool = False


class Entry(Struct, frozen=True, kw_only=True):
    """An entry of a Kustomization, whose fields make one name together.

    `spans` are where its fields stand, `texts` what they say. A further field can be written
    before the character `at`, where a field begins: in braces with a comma, else on a line.
    """

    spans: dict[str, Span]
    texts: dict[str, str]
    at: int
    is_flow: bool


class NamedImage(Struct, frozen=True, kw_only=True):
    """An image that a file names: `name` as it is written there, or as its fields make it.

    `line` and `column` count from 1. `slot` is what is changed when the image gets another name.
    """

    name: str
    line: int
    column: int
    form: Form
    slot: Span | Entry

    @property
    def reference(self) -> Reference:
        """The name, parsed; UsageError when it is none, as can be in a list."""
        return Reference.parse(self.name)


class NamesFound(Struct, frozen=True, kw_only=True):
    """What a file names: its images in their order, and what only looks like an image."""

    what: str
    images: tuple[NamedImage, ...]
    candidates: tuple[NamedImage, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the images, each once."""
        return tuple(dict.fromkeys(image.name for image in self.images))

    def where(self, image: NamedImage) -> str:
        """Return where an image stands, as `FILE:LINE`."""
        return f"{self.what}:{image.line}"


class NoImage(UsageError):
    """A file names no image."""


def unrendered(what: str, line: int) -> UsageError:
    """Return the error for a template that was not filled in yet."""
    return UsageError(
        f"{what}:{line} is a template: {{{{ is not filled in",
        hint="render first: helm template RELEASE CHART | ocitool … -f -",
    )
