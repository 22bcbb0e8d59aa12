"""Other forms of the same image: docker's and OCI's, gzip and zstd; and attestations."""

import json
from pathlib import Path

import pytest

from ocitool.errors import Refused, UsageError
from ocitool.image.graph import read_document
from ocitool.oci import Digest, Manifest
from ocitool.operations.edit.attestations import AttestationAction, edit_attestations
from ocitool.operations.edit.converting import Form, convert_image
from ocitool.operations.edit.report import EditOptions, EditReport, PlaceAccess
from ocitool.places.layout import Layout
from ocitool.places.registry import Registries, RegistryOptions
from tests.support.images import Built, BuiltImage, build_image, build_index, write_layout
from tests.support.registry import EmulatedRegistry

OCI = build_image([{"a": b"1"}, {"b": b"2"}])
DOCKER = build_image([{"a": b"1"}, {"b": b"2"}], docker=True)
ARM = build_image([{"c": b"3"}], platform="linux/arm64")
INDEX = build_index([OCI, ARM], attested=True, fields={"annotations": {"k": "v"}})
ZSTD = build_image([{"a": b"1"}], compression="zstd")
ANNOTATED = build_image(manifest={"annotations": {"k": "v"}})
IN_TOTO = "application/vnd.in-toto+json"


class Place:
    def __init__(self, folder: Path, image: Built) -> None:
        self.folder = folder
        self.place = f"oci:{write_layout(folder, {'1': image})}"

    def convert(self, form: Form, to: str = "2", source: str = "1") -> EditReport:
        options = EditOptions(targets=(f"{self.place}:{to}",))
        return convert_image(f"{self.place}:{source}", form, options)

    def document(self, digest: Digest) -> dict[str, object]:
        raw = (self.folder / "blobs" / digest.algorithm / digest.hex).read_bytes()
        found: dict[str, object] = json.loads(raw)
        return found


def kinds(document: dict[str, object]) -> set[str]:
    """Return the media types in a manifest: its own, its config's, its layers'."""
    text = json.dumps(document)
    return {word for word in text.replace('"', " ").split() if word.startswith("application/")}


class TestM3Families:
    @pytest.mark.parametrize(("image", "docker"), [(OCI, True), (DOCKER, False)])
    def test_all_types_change_and_the_image_id_stays(
        self, tmp_path: Path, image: BuiltImage, docker: bool
    ) -> None:
        place = Place(tmp_path / "l", image)
        report = place.convert(Form(docker=docker))
        found = kinds(place.document(report.new))
        assert {kind.startswith("application/vnd.docker.") for kind in found} == {docker}
        assert len(found) == 3
        assert report.images[0].image_id == image.config.digest

    @pytest.mark.parametrize(("image", "docker"), [(OCI, True), (DOCKER, False)])
    def test_there_and_back_is_the_same_digest(
        self, tmp_path: Path, image: BuiltImage, docker: bool
    ) -> None:
        place = Place(tmp_path / "l", image)
        place.convert(Form(docker=docker))
        back = place.convert(Form(docker=not docker), "3", "2")
        assert back.new == image.descriptor.digest

    def test_what_it_is_already_stays(self, tmp_path: Path) -> None:
        report = Place(tmp_path / "l", INDEX).convert(Form(docker=False, compression="gzip"))
        assert not report.changed

    def test_docker_has_no_zstd_unless_it_is_converted(self, tmp_path: Path) -> None:
        place = Place(tmp_path / "l", ZSTD)
        with pytest.raises(Refused, match="zstd"):
            place.convert(Form(docker=True))
        report = place.convert(Form(docker=True, compression="gzip"))
        assert all("docker" in kind for kind in kinds(place.document(report.new)))
        assert report.images[0].old == ZSTD.descriptor.digest

    def test_docker_has_no_annotations_unless_they_are_dropped(self, tmp_path: Path) -> None:
        place = Place(tmp_path / "l", ANNOTATED)
        with pytest.raises(Refused, match="annotations"):
            place.convert(Form(docker=True))
        report = place.convert(Form(docker=True, drop=True))
        assert "annotations" not in place.document(report.new)
        assert report.remarks == ("annotations of the manifest left out: k",)

    def test_tables_of_the_former_bytes_of_a_layer_are_dropped(self, tmp_path: Path) -> None:
        noted = {"containerd.io/snapshot/stargz/toc.digest": "sha256:" + "1" * 64, "k": "v"}
        layer = {**OCI.layers[0].to_json(), "annotations": noted}
        image = build_image(
            [{"a": b"1"}, {"b": b"2"}],
            manifest={"layers": [layer, OCI.layers[1].to_json()]},
        )
        place = Place(tmp_path / "l", image)
        layers = place.document(place.convert(Form(compression="zstd")).new)["layers"]
        assert isinstance(layers, list)
        assert layers[0]["annotations"] == {"k": "v"}
        kept = place.convert(Form(docker=True), "3")
        kept_layers = place.document(kept.new)["layers"]
        assert isinstance(kept_layers, list)
        assert kept_layers[0]["annotations"] == noted

    def test_an_index_becomes_a_list_without_attestations(self, tmp_path: Path) -> None:
        place = Place(tmp_path / "l", INDEX)
        report = place.convert(Form(docker=True, drop=True))
        found = place.document(report.new)
        assert all("docker" in kind for kind in kinds(found))
        children = found["manifests"]
        assert isinstance(children, list)
        assert [one["platform"]["architecture"] for one in children] == ["amd64", "arm64"]
        assert len(report.attestations) == 2
        with pytest.raises(UsageError):
            convert_image(
                f"{place.place}:1",
                Form(docker=True),
                EditOptions(dry_run=True, keep_attestations=True),
            )

    def test_indexes_inside_an_index_are_converted_too(self, tmp_path: Path) -> None:
        inner = build_index([OCI])
        place = Place(tmp_path / "l", build_index([ARM], others=[inner]))
        report = place.convert(Form(docker=True))
        outer = place.document(report.new)
        assert all("docker" in kind for kind in kinds(outer))
        children = outer["manifests"]
        assert isinstance(children, list)
        nested = place.document(Digest.parse(children[1]["digest"]))
        assert all("docker" in kind for kind in kinds(nested))

    def test_zstd_makes_an_oci_image_of_dockers(self, tmp_path: Path) -> None:
        place = Place(tmp_path / "l", build_index([DOCKER], docker=True))
        report = place.convert(Form(compression="zstd"))
        assert "docker" not in json.dumps(place.document(report.new))
        child = place.document(report.images[0].new)
        assert not any("docker" in kind for kind in kinds(child))

    def test_compression_alone_drops_attestations_of_what_changed(self, tmp_path: Path) -> None:
        place = Place(tmp_path / "l", INDEX)
        report = place.convert(Form(compression="zstd"))
        assert [one.old for one in report.images] == [OCI.descriptor.digest, ARM.descriptor.digest]
        assert set(report.attestations) == {child.digest for child in INDEX.children[2:]}
        assert place.document(report.new)["annotations"] == {"k": "v"}


class TestM11Actions:
    def test_dropped_ones_leave_the_index(self, tmp_path: Path) -> None:
        place = Place(tmp_path / "l", INDEX)
        report = self.edit(place, AttestationAction.DROP)
        children = place.document(report.new)["manifests"]
        before = json.loads(INDEX.blobs[INDEX.descriptor.digest])["manifests"]
        assert children == before[:2]
        assert set(report.attestations) == {child.digest for child in INDEX.children[2:]}

    def test_one_image_stays_an_index_unless_it_is_unwrapped(self, tmp_path: Path) -> None:
        place = Place(tmp_path / "l", build_index([OCI], attested=True))
        assert "manifests" in place.document(self.edit(place, AttestationAction.DROP).new)
        report = self.edit(place, AttestationAction.DROP, unwrapped=True)
        assert report.new == OCI.descriptor.digest

    def test_keeping_changes_nothing_and_lists_them(self, tmp_path: Path) -> None:
        place = Place(tmp_path / "l", INDEX)
        report = self.edit(place, AttestationAction.KEEP)
        assert not report.changed
        assert len(report.attestations) == 2

    def edit(
        self, place: Place, action: AttestationAction, *, unwrapped: bool = False
    ) -> EditReport:
        options = EditOptions(targets=(f"{place.place}:2",))
        return edit_attestations(f"{place.place}:1", action, options, unwrapped=unwrapped)

    def test_referrers_are_listed_by_a_registry_with_the_same_statements(self) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image("team/app", INDEX, "1")
            with Registries(RegistryOptions(plain_http=True)) as registries:
                report = edit_attestations(
                    f"docker://{registry.host}/team/app:1",
                    AttestationAction.TO_REFERRERS,
                    EditOptions(in_place=True),
                    PlaceAccess(registries=registries),
                )
            assert registry.tags["team/app"]["1"] == report.new
            manifests = registry.manifests["team/app"]
            attached = [
                json.loads(one.raw) for one in manifests.values() if b'"subject":{' in one.raw
            ]
            subjects = {one["subject"]["digest"] for one in attached}
            assert subjects == {str(OCI.descriptor.digest), str(ARM.descriptor.digest)}
            statements = {
                layer["digest"]
                for child in INDEX.children[2:]
                for layer in json.loads(INDEX.blobs[child.digest])["layers"]
            }
            assert {one["layers"][0]["digest"] for one in attached} == statements
            assert {one["artifactType"] for one in attached} == {IN_TOTO}

    def test_in_a_layout_they_go_along_with_the_image(self, tmp_path: Path) -> None:
        place = Place(tmp_path / "l", INDEX)
        self.edit(place, AttestationAction.TO_REFERRERS)
        with Layout.existing(str(tmp_path / "l")) as layout:
            subjects = set()
            for root in layout.roots():
                document = read_document(layout, root.descriptor)
                if isinstance(document, Manifest) and document.subject is not None:
                    subjects.add(document.subject.digest)
        assert subjects == {OCI.descriptor.digest, ARM.descriptor.digest}


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        ("https://spdx.dev/Document", "application/vnd.in-toto.spdx+json"),
        ("https://slsa.dev/provenance/v0.2", "application/vnd.in-toto.provenance+json"),
        ("https://cyclonedx.org/bom", "application/vnd.in-toto.cyclonedx+json"),
        ("https://example.org/x", IN_TOTO),
        ("", IN_TOTO),
    ],
)
def test_m11_the_type_tells_the_predicate(predicate: str, expected: str) -> None:
    from ocitool.editing.attestations import artifact_type

    assert artifact_type(predicate) == expected
