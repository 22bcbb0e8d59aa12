"""A registry by the specification alone: tags are listed, manifests are deleted one at a time.

distribution-spec, "Deleting tags" and "Deleting manifests".
"""

from collections.abc import Mapping, Sequence
from typing import Final

from ocitool.errors import OcitoolError
from ocitool.oci import Digest
from ocitool.places.registry.http.request import Request
from ocitool.places.registry.session import Session
from ocitool.places.registry.vendors.service import TagsStay, Version

_DONE: Final = (200, 202, 204)
_WRONG, _ABSENT, _NOT_ALLOWED = 400, 404, 405


class PlainService:
    """Deletes by the registry's own API. `session` is one for writing."""

    name = "oci"
    keeps_tags = True
    tells_pulls = False
    batch = 1

    def __init__(self, session: Session) -> None:
        self._session = session
        self.untags: bool | None = None

    @property
    def closing(self) -> str:
        """What remains to be said: docker-registry before 3 cannot delete a single tag."""
        told = "the registry frees the space when it collects its garbage"
        if self.untags:
            return told
        return (
            f"{told}; docker-registry before 3: `garbage-collect` without -m, which also removes "
            "platforms of images that have a tag"
        )

    def versions(self) -> tuple[Version, ...] | None:
        """Return None: only tags are listed."""
        return None

    def untag(self, tag: str) -> bool:
        """Delete a tag. Whether that works is remembered."""
        if self.untags is False:
            raise TagsStay(f"{self._session.host.domain} deletes no single tags")
        request = self._request(tag)
        answer = self._session.answer(request)
        if answer.status in (*_DONE, _ABSENT):
            self.untags = self.untags or answer.status != _ABSENT or None
            return answer.status != _ABSENT
        if answer.status in (_WRONG, _NOT_ALLOWED):
            self.untags = False
            raise TagsStay(f"{self._session.host.domain} deletes no single tags")
        raise self._session.problem(request, answer).error(f"delete the tag {tag}")

    def delete(
        self,
        digests: Sequence[Digest],
        ids: Mapping[Digest, str],  # noqa: ARG002
    ) -> Mapping[Digest, OcitoolError]:
        """Delete images by their digests; any refusal ends the work."""
        for digest in digests:
            request = self._request(str(digest))
            answer = self._session.answer(request)
            if answer.status in (*_DONE, _ABSENT):
                continue
            problem = self._session.problem(request, answer)
            if answer.status == _NOT_ALLOWED or "UNSUPPORTED" in problem.codes:
                raise OcitoolError(
                    f"deletion is disabled at {self._session.host.domain}: it answered "
                    f"{answer.status} for {digest}",
                    hint="docker-registry deletes with `storage: {delete: {enabled: true}}`",
                )
            raise problem.error(f"delete {self._session.name}@{digest}")
        return {}

    def _request(self, name: str) -> Request:
        url = self._session.url(f"manifests/{name}")
        return Request("DELETE", url, self._session.scopes("pull,push,delete"))
