"""Why one tag or manifest stays or goes, and what it belongs to."""

from msgspec import Struct

from ocitool.errors import NotFound, UsageError
from ocitool.oci import Digest
from ocitool.oci.quoting import quoted
from ocitool.oci.reference import is_tag
from ocitool.pruning.decision import Decision, describe_hold
from ocitool.pruning.plan import PrunePlan

_SHORTEST = 4


class PruneExplanation(Struct, frozen=True, kw_only=True):
    """Whether something `stays`, goes, or only its tag goes (`untag`), and why.

    `path` leads from what begins to stay down to it: digests, each held by the one before.
    """

    name: str
    digest: Digest
    state: str
    reason: str
    tags: tuple[str, ...] = ()
    path: tuple[Digest, ...] = ()


def explain(decision: Decision, plan: PrunePlan, text: str) -> PruneExplanation:
    """Explain a tag, or a digest or the first digits of one. NotFound when it was not read."""
    graph = decision.graph
    tag = text if text in graph.tags else None
    digest = graph.tags[text] if tag is not None else _find(decision, plan, text)
    tags = tuple(graph.tags_of().get(digest, ()))
    step = next((s for s in plan.steps if s.tag == tag and s.is_shared), None)
    if tag is not None and step is not None:
        return PruneExplanation(
            name=text, digest=digest, state="untag", reason=step.reason, tags=tags
        )
    if digest in decision.going:
        reason = next(s.reason for s in plan.steps if s.action == "delete" and s.digest == digest)
        return PruneExplanation(name=text, digest=digest, state="goes", reason=reason, tags=tags)
    rule = next((one.rule for one in plan.kept if one.tag == tag), None)
    path = _path(decision, digest)
    return PruneExplanation(
        name=text,
        digest=digest,
        state="stays",
        reason=rule or describe_hold(decision, digest),
        tags=tags,
        path=path,
    )


def _path(decision: Decision, digest: Digest) -> tuple[Digest, ...]:
    path = [digest]
    while (hold := decision.keep.get(path[-1])) is not None:
        path.append(hold.by)
    return tuple(reversed(path))


def _find(decision: Decision, plan: PrunePlan, text: str) -> Digest:
    digits = text.partition(":")[2] or text
    nodes = decision.graph.nodes
    found = [one for one in nodes if str(one) == text or one.hex.startswith(digits)]
    if len(found) == 1 and len(digits) >= _SHORTEST:
        return found[0]
    if len(found) > 1 and len(digits) >= _SHORTEST:
        raise UsageError(f"{quoted(text)} is the beginning of {len(found)} digests")
    what = "tag" if is_tag(text) else "digest"
    raise NotFound(f"there is no {what} {quoted(text)} in {plan.name}, as far as it was read")
