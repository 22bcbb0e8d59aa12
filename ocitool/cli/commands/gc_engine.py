"""gc --engine: the dangling images of an engine, who holds which, and the rest removed."""

import datetime as dt
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import typer

from ocitool.cli.render import console
from ocitool.cli.render.console import safe

if TYPE_CHECKING:
    from ocitool.containers import ContainerUse
    from ocitool.garbage.engine import EngineImage, EnginePlan, EngineSwept

_NOTHING_DONE, _GARBAGE_FOUND, _REFUSED = 2, 3, 6
_SHORT = 12
_LAST_SECOND = 253_402_300_800
"""The beginning of the year 10,000, which no date of ours can hold."""


def collect_engine(
    engine: str,
    *,
    everything: bool = False,
    containers: Sequence[str] = (),
    dry_run: bool = False,
    check: bool = False,
    force: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> None:
    """Show the garbage of an engine and remove it, as `gc` does with that of a store.

    Files of `containers`, such as kube:FILE, count besides the engine's own containers. Ends with
    exit code 2 where it cannot ask, 3 when `check` finds garbage, 6 when the engine refuses one.
    """
    from ocitool.garbage.engine import plan_engine, sweep_engine

    plan = plan_engine(engine, everything=everything, others=_others(containers, engine))
    swept = None
    if not (dry_run or check) and plan.going:
        if not force:
            _ask(plan)
        swept = sweep_engine(plan)
    if json:
        console.out_json(_as_json(plan, swept))
    elif quiet:
        for image in plan.going if swept is None else swept.images:
            console.out(safe(image.id))
    elif swept is None:
        _show(plan, console.out)
    else:
        _show_swept(plan, swept, told=not force)
    if check and plan.going:
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
            raise UsageError(f"with --engine, --containers takes files only, and not {word!r}")
        found += FileProvider(word).uses()
    return found


def _ask(plan: "EnginePlan") -> None:
    """Ask on the terminal; without one, or with any answer but yes, end the command."""
    _show(plan, console.ask)
    if not (console.is_terminal(sys.stdin) and console.is_terminal(sys.stderr)):
        console.note("ocitool: nothing was removed, for there is no terminal to ask on")
        console.note("  use -f to remove this, or --dry-run to see it only")
        raise typer.Exit(_NOTHING_DONE)
    console.note("remove this? [y/N]")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        console.note("nothing was removed")
        raise typer.Exit(_NOTHING_DONE)


def _show(plan: "EnginePlan", write: Callable[[str], None]) -> None:
    from ocitool.cli.render.columns import age, counted, size, table
    from ocitool.containers import describe_uses

    now = dt.datetime.now(dt.UTC)
    if plan.going:
        rows = [
            (_called(image), _short(image), age(_time(image.created), now), size(image.size))
            for image in plan.going
        ]
        for line in table(("IMAGE", "ID", "CREATED", "SIZE"), rows, right=(3,)):
            write(line)
    for held in plan.held:
        who = safe(describe_uses(held.holders))
        write(f"stays: {_called(held.image)} {_short(held.image)}: {who}")
    if plan.going:
        write(f"{counted(len(plan.going), 'image')} of {plan.engine}, {size(plan.size)} at most")
    else:
        write(f"no garbage in {plan.engine}")


def _show_swept(plan: "EnginePlan", swept: "EngineSwept", *, told: bool) -> None:
    from ocitool.cli.render.columns import counted

    if not told:
        _show(plan, console.out)
    for image, reason in swept.refused:
        console.note(f"refused: {_called(image)} {_short(image)}: {safe(reason)}")
    for name in swept.untagged:
        console.out(f"Untagged: {safe(name)}")
    console.out(f"{counted(len(swept.images), 'image')} removed from {plan.engine}")


def _as_json(plan: "EnginePlan", swept: "EngineSwept | None") -> dict[str, object]:
    return {
        "engine": plan.engine,
        "images": [_image_json(image) for image in plan.going],
        "kept": [
            {
                **_image_json(held.image),
                "containers": [
                    {"provider": u.provider, "id": u.id, "name": u.name, "state": u.state}
                    for u in held.holders
                ],
            }
            for held in plan.held
        ],
        "size": plan.size,
        "done": None
        if swept is None
        else {
            "images": [image.id for image in swept.images],
            "untagged": list(swept.untagged),
            "deleted": list(swept.deleted),
            "refused": [{"id": image.id, "reason": reason} for image, reason in swept.refused],
        },
    }


def _image_json(image: "EngineImage") -> dict[str, object]:
    return {
        "id": image.id,
        "names": list(image.names),
        "digests": list(image.digests),
        "size": image.size,
        "created": _time(image.created),
    }


def _called(image: "EngineImage") -> str:
    return safe(", ".join(image.names or image.digests) or "<none>")


def _short(image: "EngineImage") -> str:
    return safe(image.id.rpartition(":")[2][:_SHORT])


def _time(seconds: int) -> str | None:
    if not 0 < seconds < _LAST_SECOND:
        return None
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
