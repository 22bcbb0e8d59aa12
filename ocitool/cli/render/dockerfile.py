"""The lines of a Dockerfile that was put together from a history."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from ocitool.cli.render.columns import counted, size, styled
from ocitool.cli.render.console import safe
from ocitool.cli.render.texts import familiar, tabbed

if TYPE_CHECKING:
    from ocitool.inside.bases import Base
    from ocitool.inside.contents import LayerContent
    from ocitool.inside.dockerfile import Dockerfile, Line

_MARK = "# ?"


class Written(Struct, frozen=True, kw_only=True):
    """A line as it is written; `text` is None for a step that is not an instruction.

    `files` and `bytes` are what its layer holds, where that stands in for its sources.
    """

    text: str | None
    guess: str | None
    layer: int | None
    created_by: str | None
    files: int | None = None
    bytes: int | None = None


class Page(Struct, frozen=True, kw_only=True):
    """A Dockerfile with what tells which image it is of; `sizes` are those of its stored layers."""

    called: str
    platform: str
    digest: str
    file: "Dockerfile"
    lines: tuple[Written, ...]
    unrecorded: tuple[Written, ...]


def written(
    lines: "Sequence[Line]", contents: "Mapping[int, LayerContent]", stored: Sequence[int]
) -> tuple[Written, ...]:
    """Return lines in which a comment stands in for sources that are not recorded.

    `contents` are those of the layers that were read, `stored` the bytes of all layers.
    """
    return tuple(_written(line, contents, stored) for line in lines)


def _written(
    line: "Line", contents: "Mapping[int, LayerContent]", stored: Sequence[int]
) -> Written:
    content = contents.get(line.layer or 0) if line.copies_to is not None else None
    text = line.text
    if line.copies_to is not None:
        text = f"{text} # {_sources(line.layer, content, stored)} {line.copies_to}"
    return Written(
        text=text or None,
        guess=line.guess or None,
        layer=line.layer,
        created_by=line.created_by or None,
        files=content.files if content is not None else None,
        bytes=content.bytes if content is not None else None,
    )


def _sources(layer: int | None, content: "LayerContent | None", stored: Sequence[int]) -> str:
    if layer is None:
        return "sources unknown"
    if content is not None:
        return f"{counted(content.files, 'file')}, {size(content.bytes)}, layer {layer}"
    return f"layer {layer}, {size(stored[layer - 1])} stored"


def page_lines(page: Page) -> Iterator[str]:
    """Yield the lines of the file, each guess marked as one."""
    file = page.file
    amount = f"{counted(file.layers, 'layer')}, {counted(file.steps, 'step')}"
    yield _comment(f"# {familiar(page.called)}, {page.platform}: {amount}")
    is_open = file.base is not None and file.base.steps is None
    if is_open or file.problem or any(line.guess for line in page.lines):
        yield _comment(f'# "{_MARK}" marks what the history does not record')
    if file.has_mounts:
        yield _comment("# --mount of RUN is never recorded by BuildKit")
    yield from _base(file.base)
    if file.problem:
        yield _comment(f"{_MARK} {file.problem}")
    yield ""
    for line in page.lines:
        yield from _instruction(line)
    if page.unrecorded:
        yield ""
        yield _comment("# in the configuration, and not in the history:")
        for line in page.unrecorded:
            yield from _instruction(line)


def _base(base: "Base | None") -> Iterator[str]:
    if base is None:
        yield _comment("# base: unknown")
        return
    if base.steps is None:
        yield _comment(f"{_MARK} which of the steps below are those of the base is not recorded")
    else:
        layers = counted(base.layers or 0, "layer")
        told = {"store": "in the store", "history": "by the history"}.get(
            base.found_by, "by its annotation"
        )
        yield _comment(f"# base: the first {counted(base.steps, 'step')} and {layers}, {told}")
    pinned = f"@{base.digest}" if base.found_by == "annotation" and base.digest else ""
    name = familiar(base.name) if base.found_by == "store" else safe(base.name)
    yield f"FROM {name}{'' if '@' in name else safe(pinned)}"


def _instruction(line: Written) -> Iterator[str]:
    """Yield an instruction; the mark of a guess is behind it, or above one of several lines."""
    guess = f"{_MARK} {safe(' '.join((line.guess or '').split()))}"
    if line.text is None:
        yield styled(guess, "yellow")
        return
    first, *rest = map(tabbed, line.text.split("\n"))
    if line.guess and rest:
        yield styled(guess, "yellow")
    yield f"{first}  {styled(guess, 'yellow')}" if line.guess and not rest else first
    yield from rest


def _comment(text: str) -> str:
    return styled(safe(text), "dim")
