"""gc --engine: show the dangling images of an engine and remove those without a user."""

import datetime as dt
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import typer
from msgspec import Struct

from ocitool.cli.asking import ask_to_remove
from ocitool.cli.options.garbage import Mode
from ocitool.cli.output import Output
from ocitool.cli.render import console
from ocitool.cli.render.console import safe
from ocitool.errors import Refused

if TYPE_CHECKING:
    from ocitool.garbage import Choice
    from ocitool.garbage.engine import EngineImage, EnginePlan, EngineSwept
    from ocitool.places.layout import Layout

_GARBAGE_FOUND, _REFUSED = 3, 6
_SHORT = 12


class Wanted(Struct, frozen=True, kw_only=True):
    """Which engine is meant, and what of it; `layout` is the store, if there is one."""

    engine: str
    choice: "Choice"
    containers: Sequence[str]
    layout: "Layout | None"

    def plan(self, out: Output) -> "EnginePlan":
        """Ask the engine; files of containers count besides its own."""
        from ocitool.containers.providers import file_providers
        from ocitool.garbage.engine_planning import names_in_store, plan_engine

        words = [word for word in self.containers if word != self.engine]
        files = file_providers(words, observer=out.observer)
        return plan_engine(
            self.engine,
            self.choice,
            others=[use for file in files for use in file.uses()],
            store_names=names_in_store(self.layout) if self.layout is not None else None,
        )


class _Collected(Struct, frozen=True, kw_only=True):
    plan: "EnginePlan"
    swept: "EngineSwept | None"
    archive: str | None


def collect_engine(wanted: Wanted, mode: Mode, archive: str | None, out: Output) -> None:
    """Show the garbage of an engine and remove it, as `gc` does with that of a store.

    If `archive` is given, the images are saved to that file first. The exit code is 2 if it cannot
    ask the user, 3 if `--check` finds garbage, 6 if the engine refuses to remove an image.
    """
    from ocitool.garbage.engine import sweep_engine

    _refuse_existing(archive)
    plan = wanted.plan(out)
    swept = None
    if not mode.only_shows and plan.to_remove:
        if not mode.force:
            ask_to_remove([*_plan_lines(plan), _about_undoing(archive)])
        if archive is not None:
            _save(plan, archive, out)
        swept = sweep_engine(plan)
    _show(_Collected(plan=plan, swept=swept, archive=archive), mode, out)
    if mode.check and plan.to_remove:
        raise typer.Exit(_GARBAGE_FOUND)
    if swept is not None and swept.refused:
        raise typer.Exit(_REFUSED)


def explain_in_engine(wanted: Wanted, text: str, out: Output) -> None:
    """Say why an image of an engine is kept or garbage."""
    from ocitool.cli import documents
    from ocitool.garbage.engine_planning import explain_engine

    out.result(
        explain_engine(wanted.plan(out), text),
        text=lambda found: [
            f"{_called(found.image)} {_short(found.image)}: {found.state}: {safe(found.reason)}"
        ],
        view=documents.ENGINE_EXPLANATION,
    )


def _refuse_existing(archive: str | None) -> None:
    if archive is not None and os.path.lexists(archive):
        raise Refused(
            f"{archive!r} exists already",
            hint="what was saved there could be lost: name a new file",
        )


def _save(plan: "EnginePlan", archive: str, out: Output) -> None:
    """Save the images that are removed, so that `load` and `docker load` bring them back."""
    from ocitool.images.locations import parse_place
    from ocitool.images.opening import exported
    from ocitool.operations.save import save_file

    prefix = {"docker": "docker-daemon:", "podman": "podman:"}[plan.engine]
    names = [name for image in plan.to_remove for name in image.names or (image.id,)]
    places = [parse_place(prefix + name) for name in names]
    with exported(places, scratch=out.options.temporary) as source:
        save_file(source, source.roots(), archive, observer=out.observer)


def _about_undoing(archive: str | None) -> str:
    if archive is not None:
        return f"they are saved to {safe(archive)} first"
    return "an engine cannot restore images: --archive FILE saves them first"


def _show(collected: _Collected, mode: Mode, out: Output) -> None:
    from ocitool.cli import documents

    plan, swept = collected.plan, collected.swept
    images = plan.to_remove if swept is None else swept.images
    if swept is not None and out.is_text:
        for refused in swept.refused:
            console.note(
                f"refused: {_called(refused.image)} {_short(refused.image)}: {safe(refused.reason)}"
            )
    out.result(
        collected,
        text=lambda collected: _lines(collected, force=mode.force),
        ids=lambda _: [safe(image.id) for image in images],
        view=documents.ENGINE_GARBAGE,
    )


def _lines(collected: _Collected, *, force: bool) -> Iterator[str]:
    from ocitool.cli.render.columns import counted, size

    plan, swept = collected.plan, collected.swept
    # If the user was asked to confirm, the plan was shown already.
    if swept is None or force:
        yield from _plan_lines(plan)
    if swept is not None:
        for name in swept.untagged:
            yield f"Untagged: {safe(name)}"
        if collected.archive is not None:
            yield f"saved to {safe(collected.archive)}"
        freed = f", {size(swept.freed)} freed" if swept.freed is not None else ""
        yield f"{counted(len(swept.images), 'image')} removed from {plan.engine}{freed}"


def _plan_lines(plan: "EnginePlan") -> Iterator[str]:
    from ocitool.cli.documents import time_of
    from ocitool.cli.render.columns import age, counted, size, table
    from ocitool.containers.uses import describe_uses

    now = dt.datetime.now(dt.UTC)
    if plan.to_remove:
        rows = [
            (_called(image), _short(image), age(time_of(image.created), now), size(image.size))
            for image in plan.to_remove
        ]
        yield from table(("IMAGE", "ID", "CREATED", "SIZE"), rows, right=(3,))
    for held in plan.held:
        why = safe(describe_uses(held.holders) if held.holders else held.reason)
        yield f"kept: {_called(held.image)} {_short(held.image)}: {why}"
    if plan.to_remove:
        count = counted(len(plan.to_remove), "image")
        yield f"{count} of {plan.engine}, {size(plan.size)} at most"
    else:
        yield f"no garbage in {plan.engine}"


def _called(image: "EngineImage") -> str:
    from ocitool.cli.render import texts

    if image.former is not None:
        return f"<none> was {texts.familiar(image.former)}"
    return safe(", ".join(image.names or image.digests) or "<none>")


def _short(image: "EngineImage") -> str:
    return safe(image.id.rpartition(":")[2][:_SHORT])
