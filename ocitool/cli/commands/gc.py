"""ocitool gc: show what nothing needs, remove it, and restore it on request."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct
from msgspec.structs import replace

from ocitool.cli.asking import ask_to_remove, confirm
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.garbage import (
    MODE,
    SELECTION,
    Archive,
    Containers,
    Engine,
    Mode,
    Selection,
)
from ocitool.cli.options.shared import Settings
from ocitool.cli.output import OUTPUT, Output, nothing
from ocitool.errors import NotFound, UsageError

if TYPE_CHECKING:
    from ocitool.containers.uses import ContainerUse
    from ocitool.garbage import Choice, Plan, Swept
    from ocitool.places.layout import Layout

_ONLY_LAYOUTS = ("--grace", "--untagged", "--orphan-referrers")
_GARBAGE_FOUND = 3
_NOT_WHOLE = 7

_UNDO_HINT = "what gc removes here, --undo restores"


@with_options(selection=SELECTION, mode=MODE, out=OUTPUT)
def gc(
    place: Annotated[
        str | None, typer.Argument(metavar="[oci:DIR]", help="A layout; default: the store.")
    ] = None,
    *,
    selection: Selection,
    containers: Containers = None,
    engine: Engine = None,
    archive: Archive = None,
    mode: Mode,
    out: Output,
) -> None:
    """Remove images without a name and blobs that nothing needs; keep what containers use.

    What was removed waits in the trash for a day, or until the next run that removes something.
    `gc --undo` restores an image only if all of its blobs can be restored.
    """
    _refuse_several(mode)
    if engine is not None:
        _collect_engine(engine, place, selection, containers or (), archive, mode, out)
        return
    if archive is not None:
        raise UsageError("--archive goes together with --engine", hint=_UNDO_HINT)
    if mode.undo or mode.purge:
        _refuse_selection(selection, containers, mode)
    choice = selection.choice()
    layout = _opened(place, out.options)
    if layout is None:
        _say_that_nothing_is_there(out, mode)
        return
    with layout:
        if mode.undo:
            _undo(layout, out)
        elif mode.purge:
            _purge(layout, mode, out)
        elif mode.explain is not None:
            _explain(layout, choice, containers or (), mode.explain, out)
        else:
            _collect(layout, choice, containers or (), mode, out)


def _first_given(options: Mapping[str, object]) -> str | None:
    return next((name for name, value in options.items() if value), None)


def _refuse_several(mode: Mode) -> None:
    if (mode.only_shows, mode.explain is not None, mode.undo, mode.purge).count(True) > 1:
        raise UsageError("--dry-run or --check, --explain, --undo and --purge exclude each other")


def _refuse_selection(selection: Selection, containers: Sequence[str] | None, mode: Mode) -> None:
    others = {"--all": selection.everything, **selection.options(), "--containers": containers}
    wrong = _first_given(others)
    if wrong is not None:
        name, whole = ("--undo", "the last run") if mode.undo else ("--purge", "the trash")
        raise UsageError(f"{wrong} has no effect with {name}, which is about all of {whole}")


def _collect_engine(
    engine: str,
    place: str | None,
    selection: Selection,
    containers: Sequence[str],
    archive: str | None,
    mode: Mode,
    out: Output,
) -> None:
    from ocitool.cli.commands.gc_engine import Wanted, collect_engine, explain_in_engine

    options = selection.options()
    unfit = {name: options[name] for name in _ONLY_LAYOUTS}
    wrong = _first_given({"a layout": place, **unfit, "--undo": mode.undo, "--purge": mode.purge})
    if wrong is not None:
        hint = "--all, --filter, --keep-last, --containers with files and --archive do"
        raise UsageError(f"{wrong} cannot be combined with --engine", hint=hint)
    layout = _opened(None, out.options)
    with layout or contextlib.nullcontext():
        wanted = Wanted(
            engine=engine, choice=selection.choice(), containers=containers, layout=layout
        )
        if mode.explain is not None:
            explain_in_engine(wanted, mode.explain, out)
        else:
            collect_engine(wanted, mode, archive, out)


def _opened(place: str | None, options: Settings) -> "Layout | None":
    """Return the layout that is meant; None for a store that does not exist."""
    from ocitool.images.locations import PlaceKind, parse_place
    from ocitool.places.layout import Layout

    if place is None:
        try:
            return Layout.existing(options.store, observer=options.observer())
        except NotFound:
            return None
    found = parse_place(place)
    if found.kind not in (PlaceKind.LAYOUT, PlaceKind.PATH) or found.name or place == "-":
        hint = "garbage is collected in oci:DIR, or in the store"
        if found.kind in (PlaceKind.STORE, PlaceKind.REGISTRY):
            name = place.removeprefix("docker://")
            hint += f"; old tags of a registry go by `ocitool registry prune {name}`"
        raise UsageError(f"{place!r} is not a layout", hint=hint)
    return Layout.existing(found.path, observer=options.observer())


def _say_that_nothing_is_there(out: Output, mode: Mode) -> None:
    from ocitool.cli import documents

    if mode.undo:
        raise NotFound("there is nothing to undo: there is no store yet")
    out.result(
        out.options.store,
        text=lambda _: ["no garbage: there is no store yet"],
        ids=nothing,
        view=documents.without_store,
    )


def _uses(layout: "Layout", words: Iterable[str]) -> "tuple[tuple[str, ...], list[ContainerUse]]":
    """Return the providers that were asked for containers, and which images these use."""
    from ocitool.containers.providers import find_providers

    found = find_providers(list(words), layout=layout, observer=layout.observer)
    uses = [use for provider in found for use in provider.uses()]
    return tuple(provider.name for provider in found), uses


class _Collected(Struct, frozen=True, kw_only=True):
    """A plan, what was removed of it, and the providers that were asked for containers.

    `unused` is what `gc -a` would remove where there is no garbage without it.
    """

    plan: "Plan"
    swept: "Swept | None"
    asked: tuple[str, ...]
    unused: "Plan | None" = None


def _collect(
    layout: "Layout", choice: "Choice", words: Sequence[str], mode: Mode, out: Output
) -> None:
    from ocitool.cli.render import gc as gc_text
    from ocitool.garbage import plan, sweep

    now = time.time()
    asked, uses = _uses(layout, words)
    planned = plan(layout, choice, uses=uses, now=now)
    unused = None
    if planned.is_empty and layout.is_store and not choice.everything and out.is_text:
        unused = plan(layout, replace(choice, everything=True), uses=uses, now=now)
    if mode.only_shows:
        _show(_Collected(plan=planned, swept=None, asked=asked, unused=unused), mode, out)
        if mode.check and not planned.is_empty:
            raise typer.Exit(_GARBAGE_FOUND)
        return
    if not planned.is_empty and not mode.force:
        ask_to_remove(gc_text.plan_lines(planned, asked))
    swept = sweep(layout, planned, now=now, ask_again=lambda: _uses(layout, ["store"])[1])
    _show(_Collected(plan=planned, swept=swept, asked=asked, unused=unused), mode, out)


def _show(collected: _Collected, mode: Mode, out: Output) -> None:
    from ocitool.cli import documents

    images = collected.plan.images if collected.swept is None else collected.swept.images
    out.result(
        collected,
        text=lambda collected: _lines(collected, force=mode.force),
        ids=lambda _: [str(image.digest) for image in images],
        view=documents.GARBAGE,
    )


def _lines(collected: _Collected, *, force: bool) -> Iterator[str]:
    from ocitool.cli.render import gc as gc_text

    planned, swept = collected.plan, collected.swept
    # If the user was asked to confirm, the plan was shown already.
    if swept is None or force or planned.is_empty:
        yield from gc_text.plan_lines(planned, collected.asked)
    if collected.unused is not None:
        yield from gc_text.unused_lines(collected.unused)
    if swept is not None and (not planned.is_empty or swept.freed or swept.emptied):
        yield from gc_text.swept_lines(swept)


def _undo(layout: "Layout", out: Output) -> None:
    from ocitool.cli import documents
    from ocitool.cli.render import gc as gc_text
    from ocitool.garbage import undo

    undone = undo(layout)
    out.result(
        undone,
        text=gc_text.undone_lines,
        ids=lambda undone: map(str, undone.images),
        view=documents.UNDONE,
    )
    if undone.lost:
        raise typer.Exit(_NOT_WHOLE)


def _purge(layout: "Layout", mode: Mode, out: Output) -> None:
    from ocitool.cli.render.columns import counted, size
    from ocitool.garbage import purge
    from ocitool.places.layout.trash import trash_contents

    found = trash_contents(layout.control)
    if found.runs and not mode.force:
        confirm(
            f"free {size(found.size)} for good?",
            f"nothing was purged: {size(found.size)} are in the trash",
        )
    blobs, freed = purge(layout) if found.runs else (0, 0)
    out.result(
        {"blobs": blobs, "freed": freed},
        text=lambda _: [f"freed {size(freed)} of {counted(blobs, 'blob')}"],
        ids=nothing,
    )


def _explain(
    layout: "Layout", choice: "Choice", words: Iterable[str], text: str, out: Output
) -> None:
    from ocitool.cli.render import gc as gc_text
    from ocitool.garbage import explain, plan

    planned = plan(layout, choice, uses=_uses(layout, words)[1], now=time.time(), paths=True)
    out.result(explain(layout, planned, text), text=gc_text.explanation_lines)
