"""The fate of all that was read of a repository, and what it is called in words."""

from collections.abc import Mapping

from msgspec import Struct

from ocitool.oci import Digest
from ocitool.pruning.choosing import Chosen
from ocitool.pruning.graph import Edges, Graph, Held


class Decision(Struct, frozen=True, kw_only=True):
    """The fate of all that was read: what stays, each with what holds it, and what goes.

    `roots` are what begins to stay, and `begun` what begins to go, each with the reason.
    """

    graph: Graph
    edges: Edges
    chosen: Chosen
    keep: Held
    going: frozenset[Digest]
    roots: Mapping[Digest, str]
    begun: Mapping[Digest, str]


def why_shared(decision: Decision, tag: str, digest: Digest) -> str:
    """Return why the image of a tag stays although the tag may go."""
    stays = {one.tag for one in decision.chosen.verdicts if one.stays and one.digest == digest}
    if stays:
        return f"shares its digest with {', '.join(sorted(stays - {tag}))}"
    return describe_hold(decision, digest)


def describe_hold(decision: Decision, digest: Digest) -> str:
    """Return what holds a manifest that stays, in words."""
    hold = decision.keep.get(digest)
    if hold is None:
        return decision.roots.get(digest, "it stays")
    tags = decision.graph.tags_of().get(hold.by, [])
    called = tags[0] if tags else f"{hold.by}"
    return f"attached to {called}" if hold.is_attached else f"part of {called}"
