"""The deletions of a plan, and their order.

Tags first, then what lists something before what it lists, and at the end what is attached: an
interruption then leaves garbage, and never a tag whose image is not whole.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec.structs import replace

from ocitool.image.attached import is_tag_of_digest
from ocitool.oci import Digest
from ocitool.pruning.choosing import Age, Verdict
from ocitool.pruning.decision import Decision
from ocitool.pruning.graph import Hold
from ocitool.pruning.plan import Step, time_text


class Steps:
    """Makes the steps of one decision. `ages` are those that were found out."""

    def __init__(self, decision: Decision, ages: Mapping[Digest, Age]) -> None:
        self._decision = decision
        self._graph, self._going = decision.graph, decision.going
        self._ages = ages
        self._tags = decision.graph.tags_of()
        self._attached = self._find_attached()
        self._parents = self._find_parents()
        # Bytes count for the first of what goes that has them.
        self._counted = {
            blob
            for one in decision.keep
            if one in self._graph.nodes
            for blob in self._graph.nodes[one].blobs
        }

    def all(self, shared: Sequence[Verdict], *, tags_first: bool) -> list[Step]:
        """Return all deletions, by their order; of the `shared` tags the images stay.

        With `tags_first` a tag is deleted before its image is; else it goes with that.
        """
        steps = [
            Step(
                order=0,
                action="untag",
                digest=one.digest,
                tag=one.tag,
                reason=one.reason,
                is_shared=True,
            )
            for one in shared
        ]
        early = [
            self._untag(tag, digest, 0)
            for digest in (self._going if tags_first else ())
            for tag in self._tags.get(digest, ())
            if not is_tag_of_digest(tag)
        ]
        steps += sorted(early, key=lambda step: str(step.tag))
        for number, wave in enumerate(self._waves(), 1):
            for digest in wave:
                late = [tag for tag in self._tags.get(digest, ()) if is_tag_of_digest(tag)]
                steps += [self._untag(tag, digest, number) for tag in late if tags_first]
                steps.append(self._delete(digest, number))
        return steps

    def _untag(self, tag: str, digest: Digest, number: int) -> Step:
        reason = self._reason(digest)
        return Step(order=number, action="untag", digest=digest, tag=tag, reason=reason)

    def _delete(self, digest: Digest, number: int) -> Step:
        node, listed = self._graph.nodes[digest], self._graph.listed.get(digest)
        own = {blob: size for blob, size in node.blobs.items() if blob not in self._counted}
        self._counted |= own.keys()
        hold = self._parents.get(digest)
        age = self._ages.get(digest) or self._graph.age_of(digest)
        step = Step(
            order=number,
            action="delete",
            digest=digest,
            reason=self._reason(digest),
            parent=hold.by if hold is not None else None,
            tags=tuple(self._tags.get(digest, ())),
            size=node.size + sum(own.values()),
            media_type=node.media_type,
            id=listed.id if listed is not None else None,
            is_attached=digest in self._attached,
        )
        if age.at is None:
            return step
        return replace(step, created=time_text(age.at), source=age.source)

    def _waves(self) -> Iterable[list[Digest]]:
        """Yield what goes in waves, each of what nothing that is left lists or has attached."""
        for part in (self._going - self._attached, self._attached):
            listed = self._after(part, lambda one: self._graph.nodes[one].children)
            after = self._after(part, self._below)
            left = set(part)
            while left:
                ready = {one for one in left if not after[one] & left}
                # Tags can make a circle, in which each is attached to the other; lists cannot.
                ready = ready or {one for one in left if not listed[one] & left}
                yield sorted(ready)
                left -= ready

    @staticmethod
    def _after(
        part: frozenset[Digest], below: Callable[[Digest], Iterable[Digest]]
    ) -> dict[Digest, set[Digest]]:
        """Return what has to go before each of some manifests."""
        found: dict[Digest, set[Digest]] = {digest: set() for digest in part}
        for digest in part:
            for one in below(digest):
                if one in part and one != digest:
                    found[one].add(digest)
        return found

    def _below(self, digest: Digest) -> list[Digest]:
        """Return what a manifest lists, and what is attached to it."""
        node, edges = self._graph.nodes[digest], self._decision.edges
        return [*node.children, *edges.attached_to(digest)]

    def _find_attached(self) -> frozenset[Digest]:
        """Return what goes because it is attached to something, or is part of what is."""
        edges, going = self._decision.edges, self._going
        attached = {one for subject in going for one in edges.attached_to(subject)}
        begun = [root for root in self._decision.begun if root not in attached]
        images = {one for root in begun for one in edges.below(root)}
        below = {one for root in attached for one in edges.below(root)}
        found = (below - images) & going
        # What lists something that goes for itself has to go before that.
        early = {one for one in found if edges.below(one) & (going - found)}
        return frozenset(found - early)

    def _find_parents(self) -> dict[Digest, Hold]:
        """Return what each manifest goes with, unless it goes for itself."""
        found: dict[Digest, Hold] = {}
        nodes, edges = self._graph.nodes, self._decision.edges
        for parent in sorted(self._going):
            for child in nodes[parent].children:
                found.setdefault(child, Hold(parent, is_attached=False))
            for one in edges.attached_to(parent):
                found.setdefault(one, Hold(parent, is_attached=True))
        begun = self._decision.begun
        return {one: hold for one, hold in found.items() if one not in begun}

    def _reason(self, digest: Digest) -> str:
        """Return why a manifest goes."""
        hold = self._parents.get(digest)
        if hold is None:
            return self._decision.begun.get(digest, "nothing that stays leads to it")
        return f"{'attached to' if hold.is_attached else 'part of'} {hold.by}"
