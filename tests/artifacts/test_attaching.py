"""What is attached to an artifact or image, and how it is found."""

import json
from pathlib import Path

import pytest

from ocitool.artifacts.attached import list_attached
from ocitool.errors import (
    NotFound,
)
from ocitool.oci import Descriptor, Reference
from ocitool.oci.mediatype import OCI_INDEX
from tests.artifacts.site import REPOSITORY, Site
from tests.support.docker_registry import running_registry
from tests.support.images import build_artifact, build_image
from tests.support.registry import EmulatedRegistry, Quirks


class TestAttaching:
    @pytest.mark.parametrize("quirks", [Quirks(), Quirks(referrers="404", subject_header=False)])
    def test_what_is_attached_is_listed_with_what_is_attached_to_that(
        self, tmp_path: Path, data: Path, quirks: Quirks
    ) -> None:
        with EmulatedRegistry(quirks) as registry:
            image = registry.add_image(REPOSITORY, build_image([{"a": b"a"}]), "1")
            site = Site(registry.host, tmp_path)
            with site.registries:
                bill = site.attach(data, subject=site.reference(), artifact_type="a/bill")
                pinned = Reference.parse(bill.pinned)
                site.attach(data, subject=pinned, artifact_type="a/signature")
                root, found = list_attached(site.repository, site.reference())
            assert root.digest == image.digest
            (one,) = found
            (other,) = one.attached
            assert (one.artifact_type, other.artifact_type) == ("a/bill", "a/signature")
            assert one.descriptor.digest == bill.descriptor.digest
            assert other.attached == ()
            assert set(registry.tags[REPOSITORY]) >= {"1"}

    def test_debians_registry_lists_it_by_a_tag(self, tmp_path: Path, data: Path) -> None:
        with running_registry(tmp_path / "registry") as running:
            site = Site(running.host, tmp_path)
            with site.registries:
                subject = site.push(data)
                one = site.attach(data, subject=site.reference(), artifact_type="a/b")
                root, found = list_attached(site.repository, site.reference())
        assert root.digest == subject.descriptor.digest
        assert [other.descriptor.digest for other in found] == [one.descriptor.digest]

    def test_what_cosign_attaches_by_tags_is_listed_too(self, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry:
            image = registry.add_image(REPOSITORY, build_image([{"a": b"a"}]), "1")
            bill = build_artifact(None, b"bill", artifact_type="a/bill")
            signature = build_artifact(None, b"signature", artifact_type="a/signature")
            registry.add_image(REPOSITORY, bill, f"sha256-{image.digest.hex}.sbom")
            tag = f"sha256-{bill.descriptor.digest.hex}.sig"
            registry.add_image(REPOSITORY, signature, tag)
            site = Site(registry.host, tmp_path)
            with site.registries:
                (one,) = list_attached(site.repository, site.reference())[1]
            (other,) = one.attached
            assert (one.tag, one.artifact_type) == (f"sha256-{image.digest.hex}.sbom", "a/bill")
            assert (other.tag, other.artifact_type) == (tag, "a/signature")

    def test_it_does_not_change_the_tag(
        self, registry: EmulatedRegistry, site: Site, data: Path
    ) -> None:
        subject = site.push(data)
        one = site.attach(data, subject=site.reference(), artifact_type="a/b")
        assert registry.tags[REPOSITORY] == {"1": subject.descriptor.digest}
        assert one.manifest.subject is not None
        assert one.manifest.subject.digest == subject.descriptor.digest

    def test_attaching_the_same_again_attaches_nothing_more(self, site: Site, data: Path) -> None:
        site.push(data)
        for _ in range(2):
            site.attach(data, subject=site.reference(), artifact_type="a/b")
        assert len(list_attached(site.repository, site.reference())[1]) == 1

    def test_there_must_be_something_to_attach_to(self, site: Site, data: Path) -> None:
        with pytest.raises(NotFound):
            site.attach(data, subject=site.reference("missing"), artifact_type="a/b")

    def test_a_circle_of_attachments_ends(self, tmp_path: Path) -> None:
        with EmulatedRegistry(Quirks(referrers="404")) as registry:
            one = registry.add_image(REPOSITORY, build_image([{"a": b"a"}]), "1")
            two = registry.add_image(REPOSITORY, build_image([{"b": b"b"}]))
            for subject, other in ((one, two), (two, one)):
                tag = f"sha256-{subject.digest.hex}"
                registry.add_manifest(REPOSITORY, index(other), OCI_INDEX, tag)
            site = Site(registry.host, tmp_path)
            with site.registries:
                (found,) = list_attached(site.repository, site.reference())[1]
        assert (found.descriptor.digest, found.attached) == (two.digest, ())


def index(*descriptors: Descriptor) -> bytes:
    entries = [descriptor.to_json() for descriptor in descriptors]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
