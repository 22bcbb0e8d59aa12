"""gc --engine: show the dangling images of an engine and remove those without a user."""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import typer
from msgspec import Struct

from ocitool.cli.asking import ask_to_remove
from ocitool.cli.output import Output
from ocitool.cli.render import console
from ocitool.cli.render.console import safe

if TYPE_CHECKING:
    from ocitool.containers import ContainerUse
    from ocitool.garbage.engine import EngineImage, EnginePlan, EngineSwept

_GARBAGE_FOUND, _REFUSED = 3, 6
_SHORT = 12


class _Collected(Struct, frozen=True, kw_only=True):
    plan: "EnginePlan"
    swept: "EngineSwept | None"


def collect_engine(
    engine: str,
    *,
    everything: bool,
    containers: Sequence[str],
    only_shows: bool,
    check: bool,
    force: bool,
    out: Output,
) -> None:
    """Show the garbage of an engine and remove it, as `gc` does with that of a store.

    Files of `containers`, such as kube:FILE, count in addition to the engine's own containers.
    The exit code is 2 if it cannot ask the user, 3 if `check` finds garbage, 6 if the engine
    refuses to remove an image.
    """
    from ocitool.cli import documents
    from ocitool.garbage.engine import plan_engine, sweep_engine

    plan = plan_engine(engine, everything=everything, others=_others(containers, engine))
    swept = None
    if not only_shows and plan.to_remove:
        if not force:
            ask_to_remove(_plan_lines(plan))
        swept = sweep_engine(plan)
    images = plan.to_remove if swept is None else swept.images
    if swept is not None and out.is_text:
        for refused in swept.refused:
            console.note(
                f"refused: {_called(refused.image)} {_short(refused.image)}: {safe(refused.reason)}"
            )
    out.result(
        _Collected(plan=plan, swept=swept),
        text=lambda collected: _lines(collected, force=force),
        ids=lambda _: [safe(image.id) for image in images],
        view=documents.ENGINE_GARBAGE,
    )
    if check and plan.to_remove:
        raise typer.Exit(_GARBAGE_FOUND)
    if swept is not None and swept.refused:
        raise typer.Exit(_REFUSED)


def _others(words: Sequence[str], engine: str) -> "list[ContainerUse]":
    from ocitool.containers import FileProvider
    from ocitool.errors import UsageError

    found = []
    for word in words:
        kind, _, path = word.partition(":")
        if word == engine:
            continue
        if not path or kind not in ("docker", "podman", "cri", "kube"):
            raise UsageError(f"with --engine, --containers takes only files, not {word!r}")
        found += FileProvider(word).uses()
    return found


def _lines(collected: _Collected, *, force: bool) -> Iterator[str]:
    from ocitool.cli.render.columns import counted

    plan, swept = collected.plan, collected.swept
    # If the user was asked to confirm, the plan was shown already.
    if swept is None or force:
        yield from _plan_lines(plan)
    if swept is not None:
        for name in swept.untagged:
            yield f"Untagged: {safe(name)}"
        yield f"{counted(len(swept.images), 'image')} removed from {plan.engine}"


def _plan_lines(plan: "EnginePlan") -> Iterator[str]:
    from ocitool.cli.documents import time_of
    from ocitool.cli.render.columns import age, counted, size, table
    from ocitool.containers import describe_uses

    now = dt.datetime.now(dt.UTC)
    if plan.to_remove:
        rows = [
            (_called(image), _short(image), age(time_of(image.created), now), size(image.size))
            for image in plan.to_remove
        ]
        yield from table(("IMAGE", "ID", "CREATED", "SIZE"), rows, right=(3,))
    for held in plan.held:
        users = safe(describe_uses(held.holders))
        yield f"kept: {_called(held.image)} {_short(held.image)}: {users}"
    if plan.to_remove:
        count = counted(len(plan.to_remove), "image")
        yield f"{count} of {plan.engine}, {size(plan.size)} at most"
    else:
        yield f"no garbage in {plan.engine}"


def _called(image: "EngineImage") -> str:
    return safe(", ".join(image.names or image.digests) or "<none>")


def _short(image: "EngineImage") -> str:
    return safe(image.id.rpartition(":")[2][:_SHORT])
