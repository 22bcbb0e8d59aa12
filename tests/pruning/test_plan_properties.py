"""P7: plans survive being written and read, and what is no plan is refused in words."""

import contextlib
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ocitool.errors import MalformedDocument
from ocitool.oci import Digest
from ocitool.pruning.plan import (
    KeptTag,
    PrunePlan,
    Step,
    encode_prune_plans,
    parse_prune_plans,
)

DIGESTS = st.integers(0, 9).map(lambda number: Digest.of(str(number).encode()))
TEXTS = st.text(max_size=12)
RULES = {"min_keep": 1, "max_delete": "50%", "keep": ["keep-last 3"]}


@st.composite
def plans(draw: st.DrawFn, number: int = 0) -> PrunePlan:
    going = draw(st.lists(DIGESTS, unique=True, max_size=4))
    stays = draw(st.lists(DIGESTS.filter(lambda one: one not in going), max_size=3))
    steps = [
        Step(
            order=order,
            action="delete",
            digest=digest,
            reason=draw(TEXTS),
            tags=(f"pr-{order}",),
            parent=draw(st.none() | DIGESTS),
            size=draw(st.integers(0, 2**53)),
            created=draw(st.none() | st.just("2026-01-02T03:04:05Z")),
            id=draw(st.none() | st.just("17")),
            is_attached=draw(st.booleans()),
        )
        for order, digest in enumerate(going, 1)
    ]
    alone = Step(
        order=0, action="untag", digest=Digest.of(b"x"), reason="", tag="x", is_shared=True
    )
    return PrunePlan(
        registry="reg.example",
        repository=f"a/b{number}",
        api="oci",
        time="2026-01-02T03:04:05Z",
        rules=RULES,
        graph="sha256:1",
        kept=tuple(
            KeptTag(tag=f"v{n}", digest=one, rule=draw(TEXTS)) for n, one in enumerate(stays)
        ),
        steps=(*((alone,) if draw(st.booleans()) else ()), *steps),
        images=draw(st.integers(0, 9)),
        images_going=draw(st.integers(0, 9)),
        notes=tuple(draw(st.lists(TEXTS, max_size=2))),
    )


@settings(max_examples=30)
@given(plans(), plans(number=1))
def test_a_plan_is_read_as_it_was_written(one: PrunePlan, other: PrunePlan) -> None:
    data = encode_prune_plans([one, other])
    assert data.isascii()
    assert parse_prune_plans(data, "plan") == (one, other)
    assert encode_prune_plans(parse_prune_plans(data, "plan")) == data


JUNK: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
)


@settings(max_examples=80)
@given(plans(), st.data())
def test_what_is_no_plan_is_refused_in_words(plan: PrunePlan, data: st.DataObject) -> None:
    value = json.loads(encode_prune_plans([plan]))
    where = value
    for _ in range(data.draw(st.integers(0, 2))):
        below = (
            where[data.draw(st.sampled_from(sorted(where)))] if isinstance(where, dict) else where
        )
        where = below[0] if isinstance(below, list) and below else where
    if isinstance(where, dict):
        where[data.draw(st.sampled_from(sorted(where)))] = data.draw(JUNK)
    # Whatever was changed, it is a plan still, or it is said that it is none.
    with contextlib.suppress(MalformedDocument):
        for found in parse_prune_plans(json.dumps(value).encode(), "plan"):
            _ = found.brake


@settings(max_examples=30)
@given(st.binary(max_size=80))
def test_bytes_are_no_plan(data: bytes) -> None:
    with contextlib.suppress(MalformedDocument):
        parse_prune_plans(data, "plan")
        raise AssertionError(data)
