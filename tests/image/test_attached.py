"""What is attached to an image, in the five ways that tools have to say it."""

import pytest
from msgspec.structs import replace

from ocitool.image.attached import (
    Content,
    is_in,
    referrers_tag,
    subject_of,
    subject_of_root,
    tags_of_attached,
)
from ocitool.image.content import Root
from ocitool.image.entries import attach_entries
from ocitool.oci import Descriptor, Digest, Index, Manifest, parse_manifest
from tests.support.images import (
    as_json,
    build_artifact,
    build_image,
    build_index,
    describe,
)

IMAGE = build_image([{"a": b"1"}])
OTHER = build_image([{"b": b"2"}])
SUBJECT = str(IMAGE.descriptor.digest)
HEX = IMAGE.descriptor.digest.hex
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
NAME = {"org.opencontainers.image.ref.name": "docker.io/library/a:1"}


def cosign(kind: str) -> dict[str, str]:
    return {"kind": f"dev.cosignproject.cosign/{kind}"}


def entry(descriptor: Descriptor, **annotations: str) -> Descriptor:
    return replace(descriptor, annotations=annotations)


def unread() -> Content | None:
    raise AssertionError("it was read")


def manifest_of(config: str, *layers: str) -> Manifest:
    fields = {
        "schemaVersion": 2,
        "config": describe(b"{}", config).to_json(),
        "layers": [describe(b"x", layer).to_json() for layer in layers],
    }
    document = parse_manifest(as_json(fields), MANIFEST)
    assert isinstance(document, Manifest)
    return document


class TestSubjects:
    def test_a_manifest_names_its_subject(self) -> None:
        artifact = build_artifact(IMAGE.descriptor)
        document = parse_manifest(artifact.blobs[artifact.descriptor.digest], MANIFEST)
        assert subject_of_root(Root(descriptor=artifact.descriptor), document) == SUBJECT

    def test_an_annotation_of_the_entry_does(self) -> None:
        annotations = {"io.containerd.manifest.subject": SUBJECT}
        assert subject_of(annotations, (), unread) == SUBJECT

    def test_an_attestation_tells_which_image_it_is_about(self) -> None:
        annotations = {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": SUBJECT,
        }
        assert subject_of(annotations, (), unread) == SUBJECT

    @pytest.mark.parametrize("ending", [".sig", ".att", ".sbom"])
    def test_a_tag_of_cosign_does(self, ending: str) -> None:
        names = [f"ghcr.io/a/b:sha256-{HEX}{ending}"]
        assert subject_of({}, names, lambda: Content(None, is_image=False)) == SUBJECT
        assert subject_of({}, names, lambda: Content(None, is_image=True)) is None
        assert subject_of({}, names, lambda: None) == SUBJECT

    def test_a_tag_of_referrers_does_for_a_list_of_artifacts_alone(self) -> None:
        names = [f"ghcr.io/a/b:sha256-{HEX}"]
        assert subject_of({}, names, lambda: Content(None, is_image=False)) == SUBJECT
        assert subject_of({}, names, lambda: Content(None, is_image=True)) is None
        assert subject_of({}, names, lambda: None) is None

    def test_a_name_of_its_own_means_a_life_of_its_own(self) -> None:
        names = [f"ghcr.io/a/b:sha256-{HEX}.sig", "ghcr.io/a/signature:1"]
        assert subject_of({}, names, unread) is None

    def test_a_tag_holds_the_first_digits_of_a_long_digest(self) -> None:
        long = Digest.of(b"x", "sha512")
        subject = subject_of({}, [f"a/b:{referrers_tag(long)}.sig"], lambda: None)
        assert subject is not None
        assert is_in(subject, {SUBJECT, str(long)})
        assert not is_in(subject, {SUBJECT})

    def test_a_damaged_annotation_is_passed_over(self) -> None:
        assert subject_of({"io.containerd.manifest.subject": "x"}, (), lambda: None) is None


class TestImagesAndArtifacts:
    @pytest.mark.parametrize(
        ("layers", "is_image"),
        [
            ((), True),
            (("application/vnd.oci.image.layer.v1.tar+gzip",), True),
            (("application/vnd.oci.image.layer.v1.tar+gzip+encrypted",), True),
            (("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",), True),
            (("application/vnd.stacker.image.layer.squashfs+zstd+verity",), True),
            (("application/vnd.dev.cosign.simplesigning.v1+json",), False),
            (("application/vnd.in-toto+json", "application/vnd.in-toto+json"), False),
        ],
    )
    def test_layers_of_a_file_system_make_an_image(
        self, layers: tuple[str, ...], *, is_image: bool
    ) -> None:
        assert manifest_of(CONFIG, *layers).is_image is is_image

    def test_another_config_makes_an_artifact(self) -> None:
        layer = "application/vnd.oci.image.layer.v1.tar+gzip"
        assert manifest_of("application/vnd.cncf.helm.config.v1+json", layer).is_artifact

    def test_a_list_of_artifacts_is_not_an_image(self) -> None:
        index = build_index([IMAGE])
        document = parse_manifest(index.blobs[index.descriptor.digest], INDEX)
        assert document.is_image
        listed = [IMAGE.descriptor.to_json() | {"artifactType": "application/x"}]
        referrers = parse_manifest(as_json({"schemaVersion": 2, "manifests": listed}), INDEX)
        assert isinstance(referrers, Index)
        assert not referrers.is_image


class TestEntries:
    def test_what_lies_behind_an_image_belongs_to_it(self) -> None:
        signature, statement = describe(b"s", MANIFEST), describe(b"t", MANIFEST)
        found = attach_entries(
            [
                entry(IMAGE.descriptor, **cosign("image")),
                entry(signature, **cosign("sigs")),
                entry(OTHER.descriptor, **cosign("imageIndex")),
                entry(statement, **cosign("atts")),
            ]
        )
        subjects = [one.annotations.get("io.containerd.manifest.subject") for one in found]
        assert subjects == [None, SUBJECT, None, str(OTHER.descriptor.digest)]
        tags = tags_of_attached(Root(descriptor=found[1]), SUBJECT)
        assert tags == (f"sha256-{HEX}.sig",)

    def test_a_name_of_several_entries_is_the_image_s(self) -> None:
        signature = describe(b"s", MANIFEST)
        found = attach_entries(
            [
                entry(signature, **cosign("sigs"), **NAME),
                entry(OTHER.descriptor, **cosign("image")),
                entry(IMAGE.descriptor, **cosign("image"), **NAME),
            ]
        )
        assert found[0].annotations == {
            **cosign("sigs"),
            "io.containerd.manifest.subject": SUBJECT,
        }
        assert found[2].annotations == {**cosign("image"), **NAME}

    def test_an_attestation_beside_its_image_leaves_it_the_name(self) -> None:
        reference = {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": SUBJECT,
        }
        attestation = describe(b"s", MANIFEST)
        found = attach_entries(
            [entry(IMAGE.descriptor, **NAME), entry(attestation, **reference, **NAME)]
        )
        assert "org.opencontainers.image.ref.name" not in found[1].annotations
        assert found[1].annotations["io.containerd.manifest.subject"] == SUBJECT

    def test_a_signature_without_its_image_stays_what_it_is(self) -> None:
        alone = entry(describe(b"s", MANIFEST), **cosign("sigs"), **NAME)
        assert attach_entries([alone]) == (alone,)
