"""Doing what a plan says, and proving that everything else is still there.

All that is not in the plan stays, with everything that it leads to: that is computed anew from the
tags as they are then, whenever the last look at them is old. A manifest that the registry refuses
to delete protects what it lists.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby
from typing import Final

from ocitool.concurrency import Stop, run_all
from ocitool.errors import NotFound, OcitoolError, Refused
from ocitool.image.attached import is_tag_of_digest
from ocitool.oci import Digest, Reference
from ocitool.places.registry import Repository
from ocitool.places.registry.http.request import Request
from ocitool.places.registry.listing import every_tag
from ocitool.places.registry.vendors.service import TagsStay
from ocitool.pruning.freshness import protected, tags_that_go
from ocitool.pruning.graph import Edges, Graph
from ocitool.pruning.outcome import PruneOutcome, Spared
from ocitool.pruning.plan import PrunePlan, Step
from ocitool.pruning.reading import Reader

LOOK_SECONDS: Final = 60.0
"""After so long the tags are read again before anything else is deleted."""
_NAMES_SECONDS: Final = 5.0
"""After so long the list of tags is read again: a new one makes the last look old."""
_AT_A_TIME: Final = 4


class Applier:
    """Applies one plan to the repository that was read into a graph. `clock` counts seconds."""

    def __init__(
        self,
        reader: Reader,
        plan: PrunePlan,
        graph: Graph,
        *,
        look_seconds: float = LOOK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.outcome = PruneOutcome(name=plan.name)
        self._reader, self._plan, self._graph = reader, plan, graph
        self._look_seconds, self._clock = look_seconds, clock
        self._ids = {step.digest: step.id for step in plan.steps if step.id is not None}
        self._refused: set[Digest] = set()
        self._listed = reader.began
        self._protected = protected(plan, graph)

    @property
    def _repository(self) -> Repository:
        return self._reader.repository

    def run(self) -> PruneOutcome:
        """Delete what goes, and prove the rest; what stands in the way ends the deletions alone.

        Raises that afterwards, unless something is broken.
        """
        try:
            for _, wave in groupby(self._plan.steps, key=lambda step: step.order):
                self._apply(list(wave))
        except OcitoolError:
            if self.outcome.tags or self.outcome.digests:
                self._prove_quietly()
            if not self.outcome.broken:
                raise
            return self.outcome
        self._prove()
        return self.outcome

    # Deleting.

    def _apply(self, steps: Sequence[Step]) -> None:
        self._untag_all([step for step in steps if step.action == "untag"])
        deletions = [step for step in steps if step.action == "delete"]
        service = self._reader.service
        size = service.batch if service.batch > 1 else _AT_A_TIME
        for at in range(0, len(deletions), size):
            self._look_if_due()
            part = [one for one in deletions[at : at + size] if self._is_left(one)]
            self._delete([one for one in part if self._may_go(one)])

    def _untag_all(self, steps: Sequence[Step]) -> None:
        """Delete tags: those of images that stay one by one, others some at a time."""
        service = self._reader.service
        rest: list[Step] = []
        for step in steps:
            if step.is_shared or (service.untags is None and not rest):
                self._look_if_due()
                self._untag(step)
            else:
                rest.append(step)
        if service.untags is False:
            # They go with their images.
            return
        for at in range(0, len(rest), _AT_A_TIME):
            self._look_if_due()
            part = rest[at : at + _AT_A_TIME]
            run_all([partial(self._untag_one, step) for step in part], _AT_A_TIME)

    def _untag_one(self, step: Step, _: Stop) -> None:
        self._untag(step)

    def _look_if_due(self) -> None:
        """Read the tags again if the last look is old, and protect what they lead to now."""
        try:
            if self._is_due():
                self._graph = self._reader.read()
                self._protected = protected(self._plan, self._graph, self._refused)
        except NotFound:
            # Some registries do not know a repository any more that has lost its last tag.
            if self._plan.kept:
                raise

    def _is_due(self) -> bool:
        now = self._clock()
        if now - self._reader.began >= self._look_seconds:
            return True
        if now - self._listed < _NAMES_SECONDS:
            return False
        self._listed = now
        names = every_tag(self._repository.session)
        return not self._graph.tags.keys() | {*self._graph.broken_tags} >= {*names}

    def _is_left(self, step: Step) -> bool:
        """Tell whether a manifest was there when the repository was read."""
        return step.digest in self._graph.nodes

    def _may_go(self, step: Step) -> bool:
        if step.digest not in self._protected:
            return True
        self._spare(step.called, "something that stays leads to it")
        return False

    def _spare(self, name: str, reason: str) -> None:
        self.outcome.spared.append(Spared(name=name, reason=reason))

    def _untag(self, step: Step) -> None:
        tag = str(step.tag)
        found = self._repository.head(self._reference(tag=tag))
        if found is None:
            return
        if found.digest != step.digest:
            self._spare(tag, f"it names {found.digest} by now")
            return
        if not step.is_shared and step.digest in self._protected:
            self._spare(tag, "something that stays leads to its image")
            return
        try:
            if self._reader.service.untag(tag):
                self.outcome.tags.append(tag)
        except TagsStay:
            if step.is_shared:
                self._spare(tag, "its image stays, and this registry deletes no single tags")
            return
        if step.is_shared:
            self._check_image(step)

    def _check_image(self, step: Step) -> None:
        """Put an image back at once if it went with its tag; Refused then."""
        if self._repository.head(self._reference(digest=step.digest)) is not None:
            return
        tags = [
            tag
            for tag, named in self._graph.tags.items()
            if named == step.digest and tag not in self.outcome.tags
        ]
        for name in (*tags, str(step.digest)):
            put_back(self._repository, step.digest, name)
        raise Refused(
            f"{self._plan.registry} deletes an image together with any of its tags: "
            f"{step.digest} was put back, with {', '.join(tags) or 'no tag'}",
            hint=f"leave out {step.tag}: other tags share its image",
        )

    def _delete(self, steps: Sequence[Step]) -> None:
        if not steps:
            return
        service, failures = self._reader.service, dict[Digest, OcitoolError]()
        digests = [step.digest for step in steps]

        def task(part: Sequence[Digest]) -> Callable[[Stop], None]:
            return lambda _: failures.update(service.delete(part, self._ids))

        parts = [digests] if service.batch > 1 else [[one] for one in digests]
        run_all([task(part) for part in parts], _AT_A_TIME)
        failures |= {one: _not_gone(one) for one in digests if self._still_lists(one)}
        for step in steps:
            error = failures.get(step.digest)
            if error is None:
                self.outcome.digests.append(step.digest)
                self.outcome.size += step.size
                self.outcome.tags += [tag for tag in step.tags if tag not in self.outcome.tags]
            else:
                self.outcome.refused.append(Spared(name=str(step.digest), reason=error.message))
                self._refused.add(step.digest)
        if failures:
            self._protected = protected(self._plan, self._graph, self._refused)

    def _still_lists(self, digest: Digest) -> bool:
        """Tell whether an index is still there, although the registry says that it went.

        Then what it lists must not go. A service's own interface is believed.
        """
        node = self._graph.nodes.get(digest)
        if node is None or not node.children or not self._reader.service.keeps_tags:
            return False
        return self._repository.head(self._reference(digest=digest)) is not None

    # Proving.

    def _prove_quietly(self) -> None:
        try:
            self._prove()
        except OcitoolError:
            return  # The first problem is the one to tell.

    def _prove(self) -> None:
        """Ask for every manifest that a tag that stays leads to, and for blobs that are at risk."""
        edges, going = Edges(self._graph), tags_that_go(self._plan)
        tags = {tag: named for tag, named in self._graph.tags.items() if going.get(tag) != named}
        kept = edges.closure(tags.values()).keys() & self._graph.nodes.keys()
        tasks = [self._tag_check(tag, named) for tag, named in sorted(tags.items())]
        tasks += [self._manifest_check(digest) for digest in sorted(kept)]
        tasks += [self._blob_check(blob) for blob in sorted(self._at_risk(kept))]
        tasks += [self._gone_check(digest) for digest in self.outcome.digests]
        tasks += [self._tag_gone_check(tag, going[tag]) for tag in self.outcome.tags]
        self.outcome.checked = len(kept)
        run_all(tasks, 2 * _AT_A_TIME, abort=self._repository.abort, resume=self._repository.resume)
        self.outcome.broken.sort()
        self.outcome.still_there.sort()

    def _at_risk(self, kept: Iterable[Digest]) -> set[Digest]:
        """Return the blobs that something that went had, and something that stays has, too."""
        nodes = self._graph.nodes
        known = [nodes[one] for one in self.outcome.digests if one in nodes]
        gone = {blob for node in known for blob in node.blobs}
        return gone & {blob for one in kept for blob in nodes[one].blobs}

    def _tag_check(self, tag: str, named: Digest) -> Callable[[Stop], None]:
        def task(_: Stop) -> None:
            if not self._is_there(self._reference(tag=tag)):
                kind = "signatures" if is_tag_of_digest(tag) else "tag"
                self.outcome.broken.append(f"{kind} {tag} is gone; it named {named}")

        return task

    def _manifest_check(self, digest: Digest) -> Callable[[Stop], None]:
        def task(_: Stop) -> None:
            if not self._is_there(self._reference(digest=digest)):
                self.outcome.broken.append(f"manifest {digest} is gone")

        return task

    def _gone_check(self, digest: Digest) -> Callable[[Stop], None]:
        def task(_: Stop) -> None:
            if self._repository.head(self._reference(digest=digest), forbidden_is_absent=True):
                self.outcome.still_there.append(str(digest))

        return task

    def _tag_gone_check(self, tag: str, named: Digest) -> Callable[[Stop], None]:
        def task(_: Stop) -> None:
            found = self._repository.head(self._reference(tag=tag), forbidden_is_absent=True)
            if found is not None and found.digest == named:
                self.outcome.still_there.append(tag)

        return task

    def _blob_check(self, blob: Digest) -> Callable[[Stop], None]:
        def task(_: Stop) -> None:
            session = self._repository.session
            request = Request("HEAD", session.url(f"blobs/{blob}"), session.scopes("pull"))
            if session.answer(request).status == _ABSENT:
                self.outcome.broken.append(f"blob {blob} is gone")

        return task

    def _is_there(self, reference: Reference) -> bool:
        # What is not there is asked for twice.
        return any(self._repository.head(reference) is not None for _ in range(2))

    def _reference(self, *, tag: str | None = None, digest: Digest | None = None) -> Reference:
        return Reference(self._repository.host.domain, self._repository.session.path, tag, digest)


_ABSENT = 404


def _not_gone(digest: Digest) -> OcitoolError:
    return OcitoolError(f"the registry said that it deleted {digest}, and still has it")


def put_back(repository: Repository, digest: Digest, name: str) -> None:
    """Store a manifest that was read before again, under a tag or its digest."""
    session = repository.session
    found = repository.document(digest)
    if found is None:
        return
    media_type, raw = found
    headers = {"Content-Type": media_type}
    url = session.url(f"manifests/{name}")
    request = Request("PUT", url, session.scopes("pull,push"), headers, raw)
    answer = session.answer(request)
    if not 200 <= answer.status < 300:
        raise session.problem(request, answer).error(f"put {name} back")
