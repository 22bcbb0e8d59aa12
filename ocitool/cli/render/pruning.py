"""Plans of registry prune, and what became of them, as text."""

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ocitool.cli.render import console
from ocitool.cli.render.columns import age, counted, size, table
from ocitool.image.attached import is_tag_of_digest
from ocitool.places.registry.near_tags import natural_order

if TYPE_CHECKING:
    from ocitool.oci import Digest
    from ocitool.pruning.explaining import PruneExplanation
    from ocitool.pruning.outcome import PruneOutcome
    from ocitool.pruning.plan import PrunePlan, Step

_SHOWN = 6
_NONE = "<none>"
_CREATED = 2
"""The column of the ages, which is left out if none is known."""
_DIGEST = re.compile(r"(sha256|sha512)([:-])([0-9a-f]{12})[0-9a-f]{52,116}")


def _shorter(text: str) -> str:
    """Return a text with its digests cut, as lists of images show them."""
    return _DIGEST.sub(lambda found: f"{found[1]}{found[2]}{found[3]}", console.safe(text))


def plan_lines(plan: "PrunePlan") -> Iterator[str]:
    """Yield a plan: what goes, what stays by which rule, and what else is to be known.

    What goes together is one row: an image with its platforms and what is attached to it.
    """
    name = console.safe(plan.name)
    if plan.steps:
        yield f"{name}: {_counts(plan)}"
        yield from _table(plan)
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


def _table(plan: "PrunePlan") -> list[str]:
    now = dt.datetime.now(dt.UTC)
    together: dict[Digest, list[Step]] = {}
    deletions = {step.digest: step for step in plan.steps if step.action == "delete"}
    for step in deletions.values():
        together.setdefault(_beginning(step, deletions), []).append(step)
    rows = [_row(deletions[digest], steps, now) for digest, steps in together.items()]
    rows += [
        [f"{step.tag} alone", step.digest.short, "-", "-", "-", _shorter(_of_shared(step))]
        for step in plan.steps
        if step.is_shared
    ]
    rows.sort(key=lambda row: (row[0] == _NONE, natural_order(row[0])))
    header = ["TAG", "DIGEST", "CREATED", "WITH IT", "FREES", "WHY"]
    if all(row[_CREATED] == "-" for row in rows):
        for row in (header, *rows):
            del row[_CREATED]
    last = len(header) - 1
    width = console.terminal_width()
    return table(header, rows, right=(last - 1,), shrink=(0, last), width=width)


def _beginning(step: "Step", deletions: "Mapping[Digest, Step]") -> "Digest":
    """Return what a manifest goes with in the end: an image, or something without a tag."""
    seen = {step.digest}
    while step.parent is not None and step.parent in deletions and step.parent not in seen:
        step = deletions[step.parent]
        seen.add(step.digest)
    return step.digest


def _row(first: "Step", steps: "Sequence[Step]", now: dt.datetime) -> list[str]:
    more = len(steps) - 1
    return [
        _shorter(", ".join(first.tags)) or _NONE,
        first.digest.short,
        age(first.created, now),
        counted(more, "manifest") if more else "-",
        size(sum(step.size for step in steps)),
        _shorter(first.reason),
    ]


def _is_held(rule: str) -> bool:
    """Tell whether a tag made from a digest stays for what it is about, as is usual."""
    return rule.startswith("attached to ") and "--orphans" not in rule


def _of_shared(step: "Step") -> str:
    return f"{step.reason}; its image stays: only where single tags are deleted"


def _kept_lines(plan: "PrunePlan") -> Iterator[str]:
    by_rule: dict[str, list[str]] = {}
    attached = 0
    for one in plan.kept:
        if is_tag_of_digest(one.tag) and _is_held(one.rule):
            attached += 1
        else:
            by_rule.setdefault(one.rule, []).append(one.tag)
    for rule, tags in by_rule.items():
        tags.sort(key=natural_order)
        more = f" and {len(tags) - _SHOWN} more" if len(tags) > _SHOWN else ""
        yield _shorter(f"stays: {', '.join(tags[:_SHOWN])}{more}: {rule}")
    if attached:
        yield f"stays: {counted(attached, 'tag')} made from digests, attached to what stays"


def outcome_lines(outcome: "PruneOutcome") -> Iterator[str]:
    """Yield what was done to one repository, and what was not."""
    name = console.safe(outcome.name)
    if not (outcome.tags or outcome.digests or outcome.spared or outcome.refused):
        yield f"{name}: nothing to delete"
        return
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
    if not outcome.broken and outcome.checked:
        yield f"whole: {counted(outcome.checked, 'manifest')} of what stays were asked for"


def total_line(outcomes: "Sequence[PruneOutcome]") -> str:
    """Return what was deleted of several repositories together."""
    tags = sum(len(one.tags) for one in outcomes)
    manifests = sum(len(one.digests) for one in outcomes)
    total = sum(one.size for one in outcomes)
    return (
        f"{len(outcomes)} repositories: deleted {counted(tags, 'tag')} and "
        f"{counted(manifests, 'manifest')}, {size(total)}"
    )


def explanation_lines(found: "PruneExplanation") -> Iterator[str]:
    """Yield why a tag or a manifest stays or goes."""
    called = f" ({', '.join(found.tags)})" if found.tags else ""
    yield f"{found.digest}{called}: {found.state}: {console.safe(found.reason)}"
    if len(found.path) > 1:
        for depth, digest in enumerate(found.path):
            yield f"{'  ' * depth}{'-> ' if depth else ''}{digest}"
