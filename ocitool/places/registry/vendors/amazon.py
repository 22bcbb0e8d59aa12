"""Amazon's registry by its own interface: all images are listed, many are deleted at a time.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/: DescribeImages, BatchDeleteImage. An
image by its tag loses that tag, and goes with the last one; by its digest it goes with all tags.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ocitool.errors import IntegrityError, NotFound, OcitoolError, Refused
from ocitool.oci import Digest
from ocitool.places.registry.aws.client import AwsClient, AwsRefusal
from ocitool.places.registry.aws.ecr import call
from ocitool.places.registry.aws.hosts import EcrHost
from ocitool.places.registry.aws.identity import require_keys
from ocitool.places.registry.aws.signing import AwsKeys
from ocitool.places.registry.session import Session
from ocitool.places.registry.vendors.service import Version

_MOST: Final = 100
"""Images of one BatchDeleteImage."""
_PAGE: Final = 1_000
_ABSENT: Final = "ImageNotFound"
_HELD: Final = "ImageReferencedByManifestList"
_REGIONS: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")


class AmazonService:
    """Lists and deletes the images of one repository, with AWS credentials. Thread-safe."""

    name = "ecr"
    untags: bool | None = True
    keeps_tags = False
    tells_pulls = True
    batch = _MOST
    closing = "Amazon has deleted them for good; --archive keeps a copy"

    def __init__(self, session: Session) -> None:
        self._session = session
        self._environment = session.registries.environment
        self._host = EcrHost.parse(session.host.domain) or self._emulated()
        self._keys: AwsKeys | None = None
        self._lock = threading.Lock()

    def versions(self) -> tuple[Version, ...] | None:
        """Return all images. NotFound when there is no such repository."""
        return tuple(self._all_versions())

    def untag(self, tag: str) -> bool:
        """Delete one tag; Refused if Amazon says no."""
        failures = self._delete([{"imageTag": tag}])
        for code, reason in failures.values():
            if code == _ABSENT:
                return False
            raise Refused(f"Amazon does not delete the tag {tag}: {code}: {reason}")
        return True

    def delete(
        self,
        digests: Sequence[Digest],
        ids: Mapping[Digest, str],  # noqa: ARG002
    ) -> Mapping[Digest, OcitoolError]:
        """Delete images; those that Amazon refuses are returned."""
        failed = self._delete([{"imageDigest": str(digest)} for digest in digests])
        held = [text for text, (code, _) in failed.items() if code == _HELD]
        if held:
            # What listed it may have gone in the same call.
            again = self._delete([{"imageDigest": text} for text in held])
            failed = {text: one for text, one in failed.items() if text not in held} | again
        by_text = {str(digest): digest for digest in digests}
        return {
            by_text[text]: OcitoolError(f"Amazon does not delete {text}: {code}: {reason}")
            for text, (code, reason) in failed.items()
            if code != _ABSENT and text in by_text
        }

    def _delete(self, images: Sequence[Mapping[str, str]]) -> dict[str, tuple[str, str]]:
        """Delete images by tag or digest; return code and reason of each that was refused."""
        answer = self._call("BatchDeleteImage", {"imageIds": list(images)})
        found: dict[str, tuple[str, str]] = {}
        failures = answer.get("failures") or []
        for failure in failures if isinstance(failures, list) else [None]:
            if not isinstance(failure, dict) or not isinstance(failure.get("imageId"), dict):
                raise IntegrityError("the answer to BatchDeleteImage cannot be understood")
            named = failure["imageId"]
            text = str(named.get("imageDigest") or named.get("imageTag"))
            code, reason = failure.get("failureCode"), failure.get("failureReason")
            found[text] = str(code), str(reason)
        return found

    def _all_versions(self) -> Iterator[Version]:
        token: object = None
        seen: set[str] = set()
        while True:
            wanted: dict[str, object] = {"maxResults": _PAGE}
            if token is not None:
                wanted["nextToken"] = token
            answer = self._call("DescribeImages", wanted)
            details = answer.get("imageDetails")
            if not isinstance(details, list):
                raise IntegrityError("the answer to DescribeImages has no list of images")
            yield from map(_version, details)
            token = answer.get("nextToken")
            if token is None:
                return
            if str(token) in seen:
                raise IntegrityError("DescribeImages leads back to a page that was read already")
            seen.add(str(token))

    def _call(self, operation: str, more: Mapping[str, object]) -> Mapping[str, object]:
        path, host = self._session.path, self._host
        wanted: dict[str, object] = {"repositoryName": path, **more}
        if host.is_public:
            # The first part of a public name is its owner's.
            wanted["repositoryName"] = path.partition("/")[2] or path
        elif host.account:
            wanted["registryId"] = host.account
        with AwsClient(self._environment) as client:
            with self._lock:
                self._keys = self._keys or require_keys(client, host)
            try:
                return call(client, host, self._keys, operation, wanted)
            except AwsRefusal as refusal:
                if "RepositoryNotFound" in refusal.code:
                    raise NotFound(f"there is no repository {self._session.name}") from refusal
                raise

    def _emulated(self) -> EcrHost:
        """Return what stands for a host that has no name of Amazon's."""
        region = next(filter(None, map(self._environment.get, _REGIONS)), "us-east-1")
        return EcrHost(region=region, account="")


def _version(value: object) -> Version:
    """Return one image; IntegrityError for what is none."""
    fields = value if isinstance(value, dict) else {}
    tags = fields.get("imageTags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise IntegrityError("the answer to DescribeImages has an image with unknown tags")
    return Version(
        digest=Digest.parse(str(fields.get("imageDigest"))),
        tags=tuple(tags),
        at=_seconds(fields.get("imagePushedAt")),
        source="imagePushedAt",
        pulled=_seconds(fields.get("lastRecordedPullTime")),
    )


def _seconds(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None  # type: ignore[arg-type]
