"""Amazon's DescribeImages and BatchDeleteImage, over what an emulated registry holds.

The signatures are checked as in `aws`. An image by its last tag goes whole, and one that an index
lists is refused.
"""

import json
from collections.abc import Mapping
from typing import Any, cast

from ocitool.errors import MalformedDocument
from ocitool.oci import Digest
from tests.support.aws import EmulatedAws
from tests.support.http_exchange import Exchange
from tests.support.registry import EmulatedRegistry, Quirks

ECR = Quirks(delete_405=True, immutable_tags=True)
LONG_AGO = 1_767_322_800.0
_JSON = {"Content-Type": "application/x-amz-json-1.1"}
_MOST = 100


class EmulatedEcr(EmulatedAws):
    """Amazon's interfaces for one registry. `pushed` and `pulled` are times, by digest.

    `page` images are listed at a time; `refused` are failures that are not Amazon's usual ones.
    """

    def __init__(self, registry: EmulatedRegistry, page: int = 1000) -> None:
        super().__init__()
        self._registry = registry
        self._page = page
        self.pushed: dict[Digest, float] = {}
        self.pulled: dict[Digest, float] = {}
        self.refused: dict[Digest, str] = {}
        self.batches: list[int] = []

    def answer_ecr(self, exchange: Exchange, operation: str, value: dict[str, Any]) -> bool:
        """Answer an operation on images; False for any other."""
        name = value.get("repositoryName", "")
        if operation not in ("DescribeImages", "BatchDeleteImage"):
            return False
        if name not in self._registry.manifests:
            body = {"__type": "RepositoryNotFoundException", "message": f"no {name}"}
            exchange.answer(400, json.dumps(body).encode(), _JSON)
        elif operation == "DescribeImages":
            self._say(exchange, self._describe(name, value))
        elif len(value["imageIds"]) > _MOST:
            body = {"__type": "InvalidParameterException", "message": "too many imageIds"}
            exchange.answer(400, json.dumps(body).encode(), _JSON)
        else:
            self.batches.append(len(value["imageIds"]))
            failures = [self._delete(name, one) for one in value["imageIds"]]
            self._say(exchange, {"failures": [one for one in failures if one is not None]})
        return True

    def _describe(self, name: str, value: Mapping[str, Any]) -> dict[str, object]:
        start = int(value.get("nextToken") or 0)
        size = min(self._page, int(value.get("maxResults") or 100))
        with self._registry.state.lock:
            digests = sorted(self._registry.manifests[name])
            tags = dict(self._registry.tags.get(name, {}))
        found: dict[str, object] = {
            "imageDetails": [self._detail(one, tags) for one in digests[start : start + size]]
        }
        if start + size < len(digests):
            found["nextToken"] = str(start + size)
        return found

    def _detail(self, digest: Digest, tags: Mapping[str, Digest]) -> dict[str, object]:
        detail: dict[str, object] = {
            "imageDigest": str(digest),
            "imagePushedAt": self.pushed.get(digest, LONG_AGO),
        }
        named = [tag for tag, target in tags.items() if target == digest]
        if named:
            detail["imageTags"] = named
        if digest in self.pulled:
            detail["lastRecordedPullTime"] = self.pulled[digest]
        return detail

    def _delete(self, name: str, one: Mapping[str, str]) -> dict[str, object] | None:
        state = self._registry.state
        tag = one.get("imageTag")
        try:
            digest = state.digest_of(name, tag or one["imageDigest"])
        except MalformedDocument:
            digest = None
        if digest is None:
            return _failure(one, "ImageNotFound", "Requested image not found")
        if digest in self.refused:
            return _failure(one, "UpstreamAccessDenied", self.refused[digest])
        left = [other for other, named in state.tags[name].items() if named == digest]
        if tag is not None and left != [tag]:
            state.delete(name, tag, digest)
            return None
        if self._is_listed(name, digest):
            return _failure(one, "ImageReferencedByManifestList", "it is referenced")
        state.delete(name, None, digest)
        return None

    def _is_listed(self, name: str, digest: Digest) -> bool:
        return any(
            str(digest) == child.get("digest")
            for manifest in self._registry.manifests[name].values()
            for child in cast("list[dict[str, object]]", manifest.fields.get("manifests") or [])
        )

    def _say(self, exchange: Exchange, value: Mapping[str, object]) -> None:
        exchange.answer(200, json.dumps(value).encode(), _JSON)


def _failure(one: Mapping[str, str], code: str, reason: str) -> dict[str, object]:
    return {"imageId": dict(one), "failureCode": code, "failureReason": reason}
