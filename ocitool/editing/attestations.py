"""BuildKit's attestations as artifacts that are attached to their image by `subject`."""

from collections.abc import Iterator

from ocitool.oci import Descriptor, Digest, Manifest, mediatype
from ocitool.oci.document import encode

EMPTY = b"{}"
PREDICATE = "in-toto.io/predicate-type"
_NAMES = (
    ("https://slsa.dev/provenance/", "provenance"),
    ("https://spdx.dev/document", "spdx"),
    ("https://cyclonedx.org/bom", "cyclonedx"),
    ("https://in-toto.io/attestation/vulns", "vulns"),
    ("https://slsa.dev/verification_summary/", "vsa"),
)
"""The names of predicates in media types, by how the type of the predicate begins."""


def artifact_type(predicate: str) -> str:
    """Return the type of an artifact that holds a statement with this type of predicate."""
    name = next((name for start, name in _NAMES if predicate.lower().startswith(start)), None)
    return mediatype.IN_TOTO if name is None else f"application/vnd.in-toto.{name}+json"


def as_artifacts(attestation: Manifest, subject: Descriptor) -> Iterator[bytes]:
    """Yield a manifest for each statement of an attestation, attached to `subject`.

    The statements are the layers, whose bytes stay. Configurations are empty (image-spec
    manifest.md, "Guidance for an Empty Descriptor").
    """
    empty = Descriptor(
        media_type=mediatype.OCI_EMPTY, digest=Digest.of(EMPTY), size=len(EMPTY), data=EMPTY
    )
    for layer in attestation.layers:
        predicate = layer.annotations.get(PREDICATE, "")
        fields: dict[str, object] = {
            "schemaVersion": 2,
            "mediaType": mediatype.OCI_MANIFEST,
            "artifactType": artifact_type(predicate),
            "config": empty.to_json(),
            "layers": [layer.to_json()],
            "subject": subject.alone.to_json(),
        }
        if predicate:
            fields["annotations"] = {PREDICATE: predicate}
        yield encode(fields)
