"""Whether a repository still is as a plan has it, and what of it the plan must not touch."""

from collections.abc import Iterable

from ocitool.errors import Refused
from ocitool.oci import Digest
from ocitool.pruning.graph import Edges, Graph
from ocitool.pruning.plan import PrunePlan


def check_fresh(plan: PrunePlan, graph: Graph, *, allow_new: bool = False) -> None:
    """Raise Refused where a repository is no longer as a plan has it.

    What the plan deletes may be gone: it was begun before. With `allow_new` tags may have come.
    """
    hint = "make a new plan"
    known = {one.tag: one.digest for one in plan.kept}
    for tag, digest in known.items():
        now = graph.tags.get(tag)
        if now != digest:
            found = "is gone" if now is None else f"names {now} now"
            raise Refused(f"the plan is stale: {plan.name}:{tag} {found}, not {digest}", hint=hint)
    going = tags_that_go(plan)
    for tag, digest in going.items():
        if graph.tags.get(tag, digest) != digest:
            raise Refused(
                f"the plan is stale: {plan.name}:{tag} names {graph.tags[tag]} now, not {digest}",
                hint=hint,
            )
    new = sorted(graph.tags.keys() - known.keys() - going.keys())
    if new and not allow_new:
        raise Refused(
            f"the plan is stale: {plan.name}:{new[0]} is new since",
            hint="make a new plan, or --allow-new: new tags and what they lead to then stay",
        )
    lost = sorted(protected(plan, graph) & plan.digests)
    if lost and not allow_new:
        raise Refused(
            f"the plan is stale: {lost[0]} belongs to what is to stay in {plan.name} now", hint=hint
        )


def tags_that_go(plan: PrunePlan) -> dict[str, Digest]:
    """Return the tags that a plan removes, alone or with their images."""
    found = {step.tag: step.digest for step in plan.steps if step.tag is not None}
    return found | {tag: step.digest for step in plan.steps for tag in step.tags}


def protected(plan: PrunePlan, graph: Graph, refused: Iterable[Digest] = ()) -> set[Digest]:
    """Return all that must stay: what the plan does not list, and all that this leads to."""
    going = tags_that_go(plan)
    roots = set(graph.nodes) - plan.digests
    roots |= {named for tag, named in graph.tags.items() if going.get(tag) != named}
    return set(Edges(graph).closure([*roots, *refused]))
