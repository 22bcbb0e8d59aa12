"""When the images of a repository were made, as far as anything says so."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Final

from ocitool.concurrency import Stop
from ocitool.errors import LimitExceeded, MalformedDocument
from ocitool.oci import Digest, ImageConfig, parse_time
from ocitool.places.registry.http.request import Answer, Request
from ocitool.pruning.choosing import Age
from ocitool.pruning.graph import Graph
from ocitool.pruning.manifests import Manifests, Reading, Task

_OLDEST: Final = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
"""Reproducible builds write 1970 or 0001 where they know no time."""
_OK, _ABSENT = 200, 404


class Ages:
    """Finds out the ages of images; each configuration is read once."""

    def __init__(self, manifests: Manifests) -> None:
        self._manifests = manifests
        self._repository = manifests.repository
        self._ages: dict[Digest, Age] = {}

    def of(self, graph: Graph, digests: Iterable[Digest]) -> Mapping[Digest, Age]:
        """Return the ages of images: what the service says, else what their configurations say.

        Of an index that of its newest image.
        """
        wanted = set(digests)
        configs = {
            config
            for one in wanted
            if graph.age_of(one).at is None
            for config in _configs(graph, one)
        }
        fresh = sorted(config for config in configs if config not in self._ages)
        self._manifests.run([self._age_task(one) for one in fresh])
        return {one: self._age(graph, one) for one in wanted}

    def _age(self, graph: Graph, digest: Digest) -> Age:
        listed = graph.age_of(digest)
        if listed.at is not None:
            return listed
        found = [self._ages[config] for config in _configs(graph, digest)]
        node = graph.nodes.get(digest)
        if not found and node is not None and node.created is not None:
            return _age_of_text(node.created, "annotation")
        if not found or any(age.at is None for age in found):
            return Age(source="config")
        return max(found, key=lambda age: age.at or 0.0)

    def _age_task(self, config: Digest) -> Task:
        def task(_: Stop) -> None:
            session = self._repository.session
            request = Request("GET", session.url(f"blobs/{config}"), session.scopes("pull"))
            limit = session.limits.config_bytes
            with Reading(self._repository, f"the configuration {config}"):
                answer = session.answer(request, limit=limit)
                if answer.status not in (_OK, _ABSENT):
                    raise session.problem(request, answer).error(f"read {config}")
            self._ages[config] = _age_in(config, answer)

        return task


def _configs(graph: Graph, digest: Digest) -> list[Digest]:
    """Return the configurations of an image, or of the images of an index."""
    waiting, seen, found = [digest], set[Digest](), []
    while waiting:
        one = waiting.pop()
        node = graph.nodes.get(one)
        if node is None or one in seen:
            continue
        seen.add(one)
        waiting += node.children
        if node.config is not None:
            found.append(node.config)
    return found


def _age_in(config: Digest, answer: Answer) -> Age:
    """Return the time in a configuration; none where it is absent or cannot be understood."""
    if answer.status == _ABSENT or Digest.of(answer.body, config.algorithm) != config:
        return Age(source="config")
    try:
        created = ImageConfig.parse(answer.body).created
    except (MalformedDocument, LimitExceeded):
        created = None
    return _age_of_text(created, "config")


def _age_of_text(text: str | None, source: str) -> Age:
    moment = parse_time(text) if text else None
    if moment is None or moment < _OLDEST:
        return Age(source=source)
    return Age(at=moment.timestamp(), source=source)
