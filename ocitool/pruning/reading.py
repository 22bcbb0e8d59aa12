"""Reading all of a repository: everything that is asked for is answered, or nothing counts."""

import time
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec.structs import replace

from ocitool.concurrency import DEFAULT_JOBS, Stop
from ocitool.errors import MalformedDocument
from ocitool.image.attached import is_tag_of_digest
from ocitool.oci import Digest
from ocitool.places.registry import Repository
from ocitool.places.registry.listing import every_tag
from ocitool.places.registry.referrers import find_referrers
from ocitool.places.registry.vendors.service import Service
from ocitool.pruning.ages import Ages
from ocitool.pruning.choosing import Age
from ocitool.pruning.graph import Edges, Graph, Listed, subject_of_tag
from ocitool.pruning.manifests import Manifests, Reading, Task

_SKEW: Final = 300.0


class Reader:
    """Reads one repository. What was read once is not read again. `jobs` requests go at a time."""

    def __init__(
        self,
        repository: Repository,
        service: Service,
        *,
        ignored: Iterable[Digest] = (),
        jobs: int = DEFAULT_JOBS,
    ) -> None:
        self.repository = repository
        self.service = service
        self._ignored = frozenset(ignored)
        self._manifests = Manifests(repository, self._ignored, jobs)
        self._ages = Ages(self._manifests)
        self._asked: set[Digest] = set()
        self.began = time.monotonic()
        """When the last reading of the tags began."""

    def read(self) -> Graph:
        """Return all that tags lead to, and all that the service lists.

        NotFound when there is no such repository; NotRead, or Unavailable, when not all of it can
        be read.
        """
        self.began = time.monotonic()
        versions = self.service.versions()
        by_service = {tag: one.digest for one in versions or () for tag in one.tags}
        names = every_tag(self.repository.session)
        tags: dict[str, Digest] = {}
        broken: list[str] = []
        unknown = [tag for tag in names if tag not in by_service]
        self._manifests.run([self._manifests.tag_task(tag, tags, broken) for tag in unknown])
        tags |= {tag: by_service[tag] for tag in names if tag in by_service}
        self._manifests.missing.clear()
        wanted = {digest: f"tag {tag}" for tag, digest in sorted(tags.items())}
        wanted |= {one.digest: "its service" for one in versions or ()}
        self._manifests.follow(wanted)
        graph = Graph(
            repository=self.repository.name,
            api=self.service.name,
            tags=dict(sorted(tags.items())),
            nodes=dict(self._manifests.nodes),
            missing=dict(self._manifests.missing),
            ignored=self._ignored,
            broken_tags=tuple(sorted(broken)),
            listed={
                one.digest: Listed(
                    age=Age(at=one.at, source=one.source), pulled=one.pulled, id=one.id
                )
                for one in versions or ()
            },
            tells_all=versions is not None,
            now=self._time(),
        )
        return graph if graph.tells_all else self._with_subjects(graph)

    def _with_subjects(self, graph: Graph) -> Graph:
        """Also read what tags made from digests are about, where that has no tag of its own."""
        known = Edges(graph).known
        wanted: dict[Digest, str] = {}
        for tag in graph.tags:
            text = subject_of_tag(tag) if is_tag_of_digest(tag) else ""
            if not text or text in known:
                continue
            try:
                wanted[Digest.parse(text)] = f"tag {tag}"
            except MalformedDocument:
                continue  # One of sha512, that was cut.
        absent = self._manifests.follow(wanted)
        missing = {one: text for one, text in self._manifests.missing.items() if one not in absent}
        return replace(graph, nodes=dict(self._manifests.nodes), missing=missing)

    def include(self, graph: Graph, digests: Iterable[Digest]) -> Graph:
        """Return the graph with some manifests that no tag leads to any more, if they are there."""
        self._manifests.follow(dict.fromkeys(sorted(set(digests) - graph.nodes.keys()), "the plan"))
        return replace(graph, nodes=dict(self._manifests.nodes))

    def attach(self, graph: Graph, digests: Iterable[Digest]) -> Graph:
        """Return the graph with what the registry lists as attached to some manifests.

        A registry without such a list has tags for that, which were read.
        """
        if graph.tells_all:
            return graph
        waiting = [one for one in digests if one in graph.nodes]
        while waiting:
            fresh = [one for one in waiting if one not in self._asked]
            self._asked.update(fresh)
            found: dict[Digest, Digest] = {}
            self._manifests.run([self._referrers_task(one, found) for one in fresh])
            absent = self._manifests.follow({one: f"the list of {to}" for one, to in found.items()})
            waiting = [one for one in found if one not in absent]
        return replace(graph, nodes=dict(self._manifests.nodes))

    def _referrers_task(self, subject: Digest, found: dict[Digest, Digest]) -> Task:
        def task(_: Stop) -> None:
            with Reading(self.repository, f"what is attached to {subject}"):
                for one in find_referrers(self.repository, subject).entries:
                    found[one.digest] = subject

        return task

    def ages(self, graph: Graph, digests: Iterable[Digest]) -> Mapping[Digest, Age]:
        """Return the ages of images: what the service says, else what they say of themselves."""
        return self._ages.of(graph, digests)

    def _time(self) -> float:
        """Return the time of the registry; told where this machine's clock differs."""
        here = time.time()
        if self._manifests.now is None:
            return here
        if abs(self._manifests.now - here) > _SKEW:
            minutes = abs(self._manifests.now - here) / 60
            self.repository.session.registries.warn(
                f"the clocks of {self.repository.host.domain} and of this machine differ by "
                f"{minutes:.0f} minutes: the registry's counts"
            )
        return self._manifests.now
