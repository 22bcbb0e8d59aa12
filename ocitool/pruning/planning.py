"""From rules and a graph to a plan: what stays, what goes, and in which order.

What stays is decided first: all that a kept tag leads to, and all that is attached to any of it.
Only what a tag that goes (or a manifest without a tag that may go) leads to, and nothing that stays
does, is deleted. What neither leads to is left alone.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from ocitool.image.attached import is_tag_of_digest
from ocitool.oci import Digest
from ocitool.oci.amounts import counted
from ocitool.pruning.choosing import Age, Chosen, Tagged, Verdict, choose, too_young
from ocitool.pruning.decision import Decision, describe_hold, why_shared
from ocitool.pruning.graph import Edges, Graph
from ocitool.pruning.plan import KeptTag, PrunePlan, time_text
from ocitool.pruning.reading import Reader
from ocitool.pruning.rules import PruneRules
from ocitool.pruning.steps import Steps

GRACE: Final = 600.0
"""Seconds for which what has no tag yet may belong to a push that is under way."""


class Uses(Struct, frozen=True, kw_only=True):
    """What containers use of a repository: tags and digests, each with who does."""

    tags: Mapping[str, str] = {}
    digests: Mapping[str, str] = {}


def make_plan(
    reader: Reader, rules: PruneRules, uses: Uses | None = None
) -> tuple[PrunePlan, Decision]:
    """Read a repository and decide what goes. Nothing is changed."""
    graph = reader.read()
    # Without --delete-tags no tag goes, however old it is.
    ordered = rules if rules.delete else _without_ages(rules)
    held = _held(graph, Edges(graph), uses or Uses())
    wanted = _needing_ages(graph, ordered)
    ages = reader.ages(graph, wanted)
    tagged = [
        Tagged(
            tag=tag,
            digest=digest,
            age=ages.get(digest, graph.age_of(digest)),
            pulled=_pulled(graph, digest),
        )
        for tag, digest in graph.image_tags.items()
    ]
    chosen = choose(tagged, ordered, graph.now, held)
    while True:
        decision = decide(graph, chosen, rules, ages, uses or Uses())
        graph = reader.attach(graph, decision.going)
        if len(graph.nodes) == len(decision.graph.nodes):
            break
    return _plan(reader, decision, rules, ages), decision


def _without_ages(rules: PruneRules) -> PruneRules:
    return replace(rules, keep=tuple(rule for rule in rules.keep if not rule.needs_age))


def _pulled(graph: Graph, digest: Digest) -> float | None:
    found = graph.listed.get(digest)
    return found.pulled if found is not None else None


def _needing_ages(graph: Graph, rules: PruneRules) -> set[Digest]:
    """Return the images whose age decides about anything."""
    by_rule = [rule for rule in rules.keep if rule.needs_age]
    found = {
        digest
        for tag, digest in graph.image_tags.items()
        if any(rule.is_about(tag) for rule in by_rule)
        or (rules.older_than is not None and rules.may_delete(tag))
    }
    if rules.older_than is not None:
        found |= set(_tops(graph, Edges(graph)))
    return found


def _held(graph: Graph, edges: Edges, uses: Uses) -> dict[str, str]:
    """Return the tags that stay whatever the rules say: those in use, and those that are broken."""
    listers = {
        digest: child
        for digest, node in graph.nodes.items()
        for child in node.children
        if child in graph.missing and child not in graph.ignored
    }
    found = dict(uses.tags)
    for tag, digest in graph.image_tags.items():
        below = edges.below(digest)
        for one in sorted(below):
            who = _user_of(graph, one, uses)
            if who is not None:
                found.setdefault(tag, who)
            if one in listers:
                found.setdefault(tag, f"it is broken: {listers[one]} is missing")
    return found


def _user_of(graph: Graph, digest: Digest, uses: Uses) -> str | None:
    """Return what uses a manifest, by its digest or that of its configuration."""
    if not uses.digests:
        return None
    node = graph.nodes.get(digest)
    names = [str(digest), *([str(node.config)] if node is not None and node.config else [])]
    for claim, who in uses.digests.items():
        if any(
            name.startswith(claim) or name.partition(":")[2].startswith(claim) for name in names
        ):
            return who
    return None


def _tops(graph: Graph, edges: Edges) -> list[Digest]:
    """Return what has no tag, is in no index, and is attached to nothing that is here."""
    tagged = set(graph.tags.values())
    inner = {child for node in graph.nodes.values() for child in node.children}
    inner |= {one for subject in graph.nodes for one in edges.attached_to(subject)}
    return sorted(graph.nodes.keys() - tagged - inner)


def decide(
    graph: Graph, chosen: Chosen, rules: PruneRules, ages: Mapping[Digest, Age], uses: Uses
) -> Decision:
    """Return the fate of all that was read. A pure function."""
    edges = Edges(graph)
    roots = dict.fromkeys(edges.images_as_tags, "an image under a tag like that of a signature")
    begun: dict[Digest, str] = {}
    for verdict in chosen.verdicts:
        (roots if verdict.stays else begun).setdefault(verdict.digest, verdict.reason)
    for digest in _tops(graph, edges):
        reason = _why_untagged_stays(graph, edges, digest, rules, ages)
        if reason is None:
            begun.setdefault(digest, "untagged")
        else:
            roots.setdefault(digest, reason)
    for tag, digest in edges.orphan_tags.items():
        if rules.orphans and not _is_cut(tag):
            begun.setdefault(digest, "attached to an image that is gone")
        else:
            roots.setdefault(digest, "attached to an image that is gone, without --orphans")
    for digest in graph.nodes:
        who = _user_of(graph, digest, uses)
        if who is not None:
            roots[digest] = who
    reached, keep = edges.closure(begun), edges.closure(roots)
    rest = graph.nodes.keys() - reached.keys() - keep.keys()
    if rest:
        roots |= dict.fromkeys(sorted(rest), "nothing that goes leads to it")
        keep = edges.closure(roots)
    going = frozenset(digest for digest in reached if digest in graph.nodes and digest not in keep)
    return Decision(
        graph=graph, edges=edges, chosen=chosen, keep=keep, going=going, roots=roots, begun=begun
    )


def _is_cut(tag: str) -> bool:
    """Tell whether a tag has only a part of its digest, so that its image cannot be looked for."""
    return tag.startswith("sha512-")


def _why_untagged_stays(
    graph: Graph, edges: Edges, digest: Digest, rules: PruneRules, ages: Mapping[Digest, Age]
) -> str | None:
    """Return why a manifest without a tag stays; None if it may go."""
    node = graph.nodes[digest]
    if node.subject is not None and not rules.orphans:
        return "attached to an image that is gone, without --orphans"
    if node.subject is None and not rules.takes_untagged:
        return "untagged, without --untagged"
    for one in edges.below(digest):
        if one in graph.missing and one not in graph.ignored:
            return f"it is broken: {one} is missing"
    age = ages.get(digest, graph.age_of(digest))
    if rules.older_than is not None:
        return too_young(age, _pulled(graph, digest), rules, graph.now)
    pushed = graph.age_of(digest).at
    if pushed is not None and graph.now - pushed < GRACE:
        return "untagged for less than 10 minutes: a push may be under way"
    return None


def _plan(
    reader: Reader, decision: Decision, rules: PruneRules, ages: Mapping[Digest, Age]
) -> PrunePlan:
    graph, service = decision.graph, reader.service
    kept, shared = fates_of_tags(decision, can_untag=service.untags is not False)
    steps = Steps(decision, ages).all(shared, tags_first=service.keeps_tags)
    images = set(graph.image_tags.values())
    host = reader.repository.host.domain
    return PrunePlan(
        registry=host,
        repository=reader.repository.session.path,
        api=service.name,
        time=time_text(graph.now),
        rules=rules.document(),
        graph=graph.sha256,
        kept=tuple(sorted(kept, key=lambda one: one.tag)),
        steps=tuple(steps),
        images=len(images),
        images_going=len(images & decision.going),
        notes=tuple(_notes(decision, rules)),
        damage=tuple(_damage(graph)),
    )


def fates_of_tags(decision: Decision, *, can_untag: bool) -> tuple[list[KeptTag], list[Verdict]]:
    """Return the tags that stay, and those that go although their image stays."""
    kept, shared = [], []
    for verdict in decision.chosen.verdicts:
        rule = verdict.reason
        if not verdict.stays:
            if verdict.digest in decision.going:
                continue
            if can_untag:
                shared.append(verdict)
                continue
            rule = why_shared(decision, verdict.tag, verdict.digest)
        kept.append(KeptTag(tag=verdict.tag, digest=verdict.digest, rule=rule))
    for tag, digest in decision.graph.tags.items():
        if is_tag_of_digest(tag) and digest not in decision.going:
            rule = describe_hold(decision, digest)
            kept.append(KeptTag(tag=tag, digest=digest, rule=rule))
    return kept, shared


def _notes(decision: Decision, rules: PruneRules) -> Iterable[str]:
    graph = decision.graph
    for rule in decision.chosen.idle:
        yield f"{rule} is about no tag here: it has to match the whole tag"
    if not graph.tells_all and rules.takes_untagged:
        yield "this registry lists tags alone: what has no tag, and no tag leads to, is not known"
    unknown = [one.tag for one in decision.chosen.verdicts if "age is not known" in one.reason]
    if unknown:
        stay = "stays" if len(unknown) == 1 else "stay"
        count = counted(len(unknown), "tag")
        yield (
            f"{count} {stay} because the age of their image is not known, such as "
            f"{unknown[0]}: rules about versions or tags need none"
        )
    if not rules.delete:
        yield "every tag stays: only --delete-tags lets tags go"


def _damage(graph: Graph) -> Iterable[str]:
    for digest, lister in sorted(graph.missing.items()):
        if digest not in graph.ignored:
            yield f"{digest} is missing, and {lister} tells of it"
    for tag in graph.broken_tags:
        yield f"tag {tag} is listed and names nothing"
