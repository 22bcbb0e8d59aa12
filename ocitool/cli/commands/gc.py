"""ocitool gc: what nothing needs goes, after it was shown, and can come back."""

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from ocitool.cli.options.quantities import parse_seconds
from ocitool.cli.options.shared import Json, Quiet, Settings, settings
from ocitool.cli.render import console
from ocitool.errors import NotFound, UsageError

if TYPE_CHECKING:
    from ocitool.containers import ContainerUse
    from ocitool.garbage import Choice, Plan, Swept
    from ocitool.places.layout import Layout

_GARBAGE_FOUND = 3
_NOTHING_DONE = 2
_NOT_WHOLE = 7


class _Manner(Struct, frozen=True, kw_only=True):
    """How the command was asked to speak and to act."""

    force: bool
    json: bool
    quiet: bool

    @property
    def reports(self) -> bool:
        """Whether text is wanted."""
        return not (self.json or self.quiet)


def gc(
    context: typer.Context,
    place: Annotated[
        str | None, typer.Argument(metavar="[oci:DIR]", help="A layout; default: the store.")
    ] = None,
    *,
    everything: Annotated[
        bool,
        typer.Option("--all", "-a", help="Also images with names that nothing holds."),
    ] = False,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="KEY=VALUE",
            help="unused-for=TIME, label=KEY[=VALUE], label!=KEY[=VALUE], reference=PATTERN",
        ),
    ] = None,
    keep_last: Annotated[
        int,
        typer.Option("--keep-last", min=0, metavar="N", help="Of each repository keep so many."),
    ] = 0,
    grace: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Keep what is younger; default 0, in a layout 1h."),
    ] = None,
    containers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHO",
            help="Whose containers count: store, docker, podman, docker:FILE, podman:FILE, "
            "cri:FILE, kube:FILE, none; default: the store and each engine whose socket exists. "
            "The store counts always, and files besides.",
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(metavar="docker|podman", help="Of an engine: its own images, by its API."),
    ] = None,
    untagged: Annotated[
        bool, typer.Option("--untagged", help="In a layout: also what has no name.")
    ] = False,
    orphan_referrers: Annotated[
        bool,
        typer.Option("--orphan-referrers", help="Also what is attached to something not here."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, do nothing.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="As --dry-run; exit code 3 when there is garbage.")
    ] = False,
    explain: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="Say why a blob stays or goes.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Bring back what went last.")] = False,
    purge: Annotated[bool, typer.Option("--purge", help="Empty the trash for good.")] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Do not ask.")] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Remove images without a name, and blobs that nothing needs; keep what containers use.

    What went waits in the trash for a day, or until the next run that removes something.
    """
    from ocitool.garbage.choice import choice_of

    _refuse_two_modes(dry_run or check, explain is not None, undo, purge)
    options = settings(context)
    own = {
        "--filter": filters,
        "--keep-last": keep_last,
        "--grace": grace,
        "--untagged": untagged,
        "--orphan-referrers": orphan_referrers,
    }
    manner = _Manner(force=force, json=json, quiet=quiet or options.quiet)
    if engine is not None:
        chosen = {"a layout": place, **own, "--explain": explain, "--undo": undo, "--purge": purge}
        _of_engine(engine, chosen, containers or (), manner, everything, dry_run, check)
        return
    if undo or purge:
        _refuse_what_does_not_choose(
            {"--all": everything, **own, "--containers": containers}, undo=undo
        )
    choice = choice_of(
        filters or (),
        parse_seconds,
        everything=everything,
        keep_last=keep_last,
        grace=parse_seconds(grace) if grace is not None else None,
        untagged=untagged,
        orphans=orphan_referrers,
    )
    layout = _opened(place, options)
    if layout is None and undo:
        raise NotFound("there is nothing to undo: there is no store yet")
    if layout is None:
        _say_that_nothing_is_there(options.store, manner)
        return
    with layout:
        if undo:
            _undo(layout, manner)
        elif purge:
            _purge(layout, manner)
        elif explain is not None:
            _explain(layout, choice, containers or (), explain, manner)
        else:
            _collect(layout, choice, containers or (), manner, dry_run=dry_run, check=check)


def _refuse_two_modes(*chosen: bool) -> None:
    if sum(chosen) > 1:
        raise UsageError("--dry-run or --check, --explain, --undo and --purge exclude each other")


def _first_given(options: Mapping[str, object]) -> str | None:
    return next((name for name, value in options.items() if value), None)


def _refuse_what_does_not_choose(others: Mapping[str, object], *, undo: bool) -> None:
    wrong = _first_given(others)
    if wrong is not None:
        mode, whole = ("--undo", "the last run") if undo else ("--purge", "the trash")
        raise UsageError(f"{wrong} chooses nothing with {mode}, which takes {whole} whole")


def _of_engine(
    engine: str,
    others: Mapping[str, object],
    containers: Iterable[str],
    manner: _Manner,
    everything: bool,
    dry_run: bool,
    check: bool,
) -> None:
    from ocitool.cli.commands.gc_engine import collect_engine

    wrong = _first_given(others)
    if wrong is not None:
        hint = "--all, --containers with files, --dry-run, --check, --force and --json do"
        raise UsageError(f"{wrong} does not go together with --engine", hint=hint)
    collect_engine(
        engine,
        everything=everything,
        containers=list(containers),
        dry_run=dry_run,
        check=check,
        force=manner.force,
        quiet=manner.quiet,
        json=manner.json,
    )


def _opened(place: str | None, options: Settings) -> "Layout | None":
    """Return the layout that is meant; None for a store that was never made."""
    from ocitool.images.locations import PlaceKind, parse_place
    from ocitool.places.layout import Layout

    if place is None:
        try:
            return Layout.existing(options.store, observer=options.observer())
        except NotFound:
            return None
    found = parse_place(place)
    if found.kind not in (PlaceKind.LAYOUT, PlaceKind.PATH) or found.name or place == "-":
        raise UsageError(
            f"{place!r} is no layout", hint="garbage is collected in oci:DIR, or in the store"
        )
    return Layout.existing(found.path, observer=options.observer())


def _say_that_nothing_is_there(store: str, manner: _Manner) -> None:
    if manner.json:
        from ocitool.cli.render.gc import nothing_json

        console.out_json(nothing_json(store))
    elif manner.reports:
        console.out("no garbage: there is no store yet")


def _uses(layout: "Layout", words: Iterable[str]) -> "tuple[tuple[str, ...], list[ContainerUse]]":
    """Return who was asked for containers, and what they use."""
    from ocitool.containers import providers

    found = providers(list(words), layout=layout)
    uses = [use for provider in found for use in provider.uses()]
    return tuple(provider.name for provider in found), uses


def _ask_store_again(
    layout: "Layout", words: Sequence[str]
) -> "Callable[[], Iterable[ContainerUse]]":
    """Return who tells what a container of the store may have begun to use since the plan."""
    if "none" in words:
        return lambda: ()
    return lambda: _uses(layout, ["store"])[1]


def _collect(
    layout: "Layout",
    choice: "Choice",
    words: Sequence[str],
    manner: _Manner,
    *,
    dry_run: bool,
    check: bool,
) -> None:
    from ocitool.garbage import plan, sweep

    now = time.time()
    asked, uses = _uses(layout, words)
    planned = plan(layout, choice, uses=uses, now=now)
    if dry_run or check:
        _show(planned, None, asked, manner)
        if check and not planned.is_empty:
            raise typer.Exit(_GARBAGE_FOUND)
        return
    if not planned.is_empty and not manner.force:
        _ask(planned, asked)
    swept = sweep(layout, planned, now=now, ask_again=_ask_store_again(layout, words))
    _show(planned, swept, asked, manner)


def _write_plan(planned: "Plan", asked: Sequence[str], write: Callable[[str], None]) -> None:
    from ocitool.cli.render import gc as gc_text

    gc_text.show(gc_text.plan_lines(planned, asked), write)


def _show(planned: "Plan", swept: "Swept | None", asked: Sequence[str], manner: _Manner) -> None:
    from ocitool.cli.render import gc as gc_text

    if manner.json:
        console.out_json(gc_text.plan_json(planned, swept, asked))
    elif manner.quiet:
        for image in planned.images if swept is None else swept.images:
            console.out(str(image.digest))
    elif swept is None:
        _write_plan(planned, asked, console.out)
    else:
        if manner.force or planned.is_empty:
            _write_plan(planned, asked, console.out)
        if not planned.is_empty or swept.freed or swept.emptied:
            gc_text.show(gc_text.swept_lines(swept), console.out)


def _ask(planned: "Plan", asked: Sequence[str]) -> None:
    """Ask on the terminal; without one, or with any answer but yes, end the command."""
    _write_plan(planned, asked, console.ask)
    if not (console.is_terminal(sys.stdin) and console.is_terminal(sys.stderr)):
        console.note("ocitool: nothing was removed, for there is no terminal to ask on")
        console.note("  use -f to remove this, or --dry-run to see it only")
        raise typer.Exit(_NOTHING_DONE)
    _confirm("remove this?")


def _confirm(question: str) -> None:
    console.note(f"{question} [y/N]")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        console.note("nothing was removed")
        raise typer.Exit(_NOTHING_DONE)


def _undo(layout: "Layout", manner: _Manner) -> None:
    from ocitool.cli.render import gc as gc_text
    from ocitool.garbage import undo

    undone = undo(layout)
    if manner.json:
        console.out_json(gc_text.undone_json(undone))
    elif manner.quiet:
        for digest in undone.images:
            console.out(str(digest))
    else:
        gc_text.show(gc_text.undone_lines(undone), console.out)
    if undone.lost:
        raise typer.Exit(_NOT_WHOLE)


def _purge(layout: "Layout", manner: _Manner) -> None:
    from ocitool.cli.render.columns import counted, size
    from ocitool.garbage import purge
    from ocitool.places.layout.trash import trash_contents

    found = trash_contents(layout.control)
    if found.runs and not manner.force:
        if not (console.is_terminal(sys.stdin) and console.is_terminal(sys.stderr)):
            console.note(f"ocitool: {size(found.size)} wait in the trash; nothing was purged")
            console.note("  use -f where there is no terminal to ask on")
            raise typer.Exit(_NOTHING_DONE)
        _confirm(f"free {size(found.size)} for good?")
    blobs, freed = purge(layout) if found.runs else (0, 0)
    if manner.json:
        console.out_json({"blobs": blobs, "freed": freed})
    elif manner.reports:
        console.out(f"freed {size(freed)} of {counted(blobs, 'blob')}")


def _explain(
    layout: "Layout", choice: "Choice", words: Iterable[str], text: str, manner: _Manner
) -> None:
    from ocitool.cli.render import gc as gc_text
    from ocitool.garbage import explain, plan

    planned = plan(layout, choice, uses=_uses(layout, words)[1], now=time.time(), paths=True)
    found = explain(layout, planned, text)
    if manner.json:
        console.out_json(gc_text.explanation_json(found))
    else:
        gc_text.show(gc_text.explanation_lines(found), console.out)
