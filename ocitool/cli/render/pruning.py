"""Plans of registry prune, and what became of them, as text."""

import datetime as dt
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ocitool.cli.render import console
from ocitool.cli.render.columns import age, counted, size, table

if TYPE_CHECKING:
    from ocitool.pruning.applying import PruneOutcome
    from ocitool.pruning.explaining import PruneExplanation
    from ocitool.pruning.plan import PrunePlan, Step

_SHOWN = 6
_DIGEST = re.compile(r"(sha256|sha512)([:-])([0-9a-f]{12})[0-9a-f]{52,116}")


def _shorter(text: str) -> str:
    """Return a text with its digests cut, as lists of images show them."""
    return _DIGEST.sub(lambda found: f"{found[1]}{found[2]}{found[3]}", console.safe(text))


def plan_lines(plan: "PrunePlan") -> Iterator[str]:
    """Yield a plan: what goes, what stays by which rule, and what else is to be known."""
    now = dt.datetime.now(dt.UTC)
    rows = [_row(step, now) for step in plan.steps if step.action == "delete" or step.is_shared]
    name = console.safe(plan.name)
    if rows:
        yield f"{name}: {_counts(plan)}"
        header = ["TAG", "DIGEST", "CREATED", "FREES", "WHY"]
        yield from table(header, rows, right=(3,), shrink=(0, 4), width=console.terminal_width())
    else:
        yield f"{name}: nothing goes"
    yield from _kept_lines(plan)
    yield from (f"broken before: {console.safe(text)}" for text in plan.damage)


def _counts(plan: "PrunePlan") -> str:
    manifests = counted(len(plan.digests), "manifest")
    return (
        f"{plan.images_going} of {counted(plan.images, 'image')} with a tag and {manifests} go, "
        f"{size(plan.size)}"
    )


def _row(step: "Step", now: dt.datetime) -> list[str]:
    tags = ", ".join(step.tags) if step.tag is None else f"{step.tag} alone"
    reason = step.reason
    if step.is_shared:
        reason += "; its image stays, so only where single tags are deleted"
    return [
        _shorter(tags) or "<none>",
        step.digest.short,
        age(step.created, now),
        size(step.size) if step.action == "delete" else "-",
        _shorter(reason),
    ]


def _kept_lines(plan: "PrunePlan") -> Iterator[str]:
    by_rule: dict[str, list[str]] = {}
    for one in plan.kept:
        by_rule.setdefault(one.rule, []).append(one.tag)
    for rule, tags in by_rule.items():
        more = f" and {len(tags) - _SHOWN} more" if len(tags) > _SHOWN else ""
        yield _shorter(f"stays: {', '.join(tags[:_SHOWN])}{more}: {rule}")


def outcome_lines(outcome: "PruneOutcome") -> Iterator[str]:
    """Yield what was done to one repository, and what was not."""
    name = console.safe(outcome.name)
    yield (
        f"{name}: deleted {counted(len(outcome.tags), 'tag')} and "
        f"{counted(len(outcome.digests), 'manifest')}, {size(outcome.size)}"
    )
    for one in outcome.spared:
        yield f"not deleted: {one.name}: {console.safe(one.reason)}"
    for one in outcome.refused:
        yield f"refused: {one.name}: {console.safe(one.reason)}"
    for digest in outcome.still_there:
        yield f"still there: {digest}"
    for text in outcome.broken:
        yield f"BROKEN: {console.safe(text)}"
    if not outcome.broken:
        yield f"whole: {counted(outcome.checked, 'manifest')} of what stays were asked for"


def explanation_lines(found: "PruneExplanation") -> Iterator[str]:
    """Yield why a tag or a manifest stays or goes."""
    called = f" ({', '.join(found.tags)})" if found.tags else ""
    yield f"{found.digest}{called}: {found.state}: {console.safe(found.reason)}"
    if len(found.path) > 1:
        for depth, digest in enumerate(found.path):
            yield f"{'  ' * depth}{'-> ' if depth else ''}{digest}"
