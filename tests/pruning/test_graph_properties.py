"""P3, P6: on any graph, after any step of a plan, every tag that is left is whole, and signed."""

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from ocitool.oci import Digest
from ocitool.pruning.choosing import Chosen, Verdict
from ocitool.pruning.graph import Edges, Graph, Listed, Node
from ocitool.pruning.planning import Uses, decide, fates_of_tags
from ocitool.pruning.rules import PruneRules
from ocitool.pruning.steps import Steps


def digest(number: int) -> Digest:
    return Digest("sha256", hashlib.sha256(str(number).encode()).hexdigest())


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Return a graph: nested indexes, shared children, three ways to attach, circles of tags."""
    count = draw(st.integers(1, 9))
    numbers = st.integers(0, count - 1)
    nodes: dict[Digest, Node] = {}
    for number in range(count):
        lower = st.integers(0, number - 1) if number else st.nothing()
        children = draw(st.sets(lower, max_size=3)) if number and draw(st.booleans()) else set()
        subject = draw(st.none() | st.integers(0, count)) if draw(st.booleans()) else None
        subjects = () if subject in (None, number) else ((digest(number), digest(subject)),)
        nodes[digest(number)] = Node(
            digest=digest(number),
            media_type="application/x",
            size=1,
            is_index=bool(children),
            is_image=subject is None and draw(st.booleans()),
            children=tuple(digest(one) for one in sorted(children)),
            subjects=subjects,
        )
    named = draw(st.dictionaries(st.sampled_from("abcdef"), numbers, max_size=5))
    tags = {tag: digest(number) for tag, number in named.items()}
    for subject, ending, number in draw(
        st.lists(
            st.tuples(st.integers(0, count), st.sampled_from(["", ".sig"]), numbers), max_size=4
        )
    ):
        tags[f"sha256-{digest(subject).hex}{ending}"] = digest(number)
    listed = {one: Listed() for one in nodes} if draw(st.booleans()) else {}
    return Graph(
        repository="r", api="oci", tags=tags, nodes=nodes, listed=listed, tells_all=bool(listed)
    )


def is_whole(named: Digest, left: set[Digest], graph: Graph) -> bool:
    return Edges(graph).below(named) & graph.nodes.keys() <= left


@settings(max_examples=100, deadline=None)
@given(graphs(), st.sets(st.sampled_from("abcdef")), st.booleans(), st.booleans(), st.booleans())
def test_whatever_goes_every_tag_that_is_left_is_whole_at_any_time(
    graph: Graph, going: set[str], untagged: bool, orphans: bool, tags_first: bool
) -> None:
    verdicts = tuple(
        Verdict(tag=tag, digest=named, stays=tag not in going, reason="a rule")
        for tag, named in graph.image_tags.items()
    )
    rules = PruneRules(untagged=untagged, orphans=orphans)
    decision = decide(graph, Chosen(verdicts=verdicts), rules, {}, Uses())
    kept, shared = fates_of_tags(decision, can_untag=tags_first)
    steps = Steps(decision, {}).all(shared, tags_first=tags_first)
    stays = {one.tag: one.digest for one in kept}
    attached = Edges(graph).closure(v.digest for v in verdicts if v.stays).keys()
    assert not attached & {step.digest for step in steps if step.action == "delete"}
    left, tags = set(graph.nodes), dict(graph.tags)
    for step in steps:
        if step.tag is not None:
            tags.pop(step.tag, None)
        else:
            left.discard(step.digest)
            tags = {tag: named for tag, named in tags.items() if named != step.digest}
        for tag, named in tags.items():
            if tag in graph.image_tags:
                assert is_whole(named, left, graph), (step, tag)
    assert stays.items() <= tags.items()
    assert set(tags) == set(stays)
    deleted = [step.digest for step in steps if step.action == "delete"]
    assert len(deleted) == len(set(deleted))
    assert set(deleted) == decision.going
