"""Settings of images in places: what moves, what stays, and what is said of it."""

import json
from pathlib import Path

import pytest

from ocitool.editing.settings import Settings
from ocitool.errors import NotFound, Refused, UsageError
from ocitool.oci import Digest, Platform
from ocitool.operations.edit.report import AttachedPolicy, EditOptions, EditReport, PlaceAccess
from ocitool.operations.edit.settings import IndexAnnotations, set_image
from ocitool.places.layout import Layout
from ocitool.places.registry import Registries, RegistryOptions
from tests.support.http_exchange import Exchange
from tests.support.images import (
    build_artifact,
    build_image,
    build_index,
    docker_archive,
    write_layout,
)
from tests.support.registry import EmulatedRegistry, Quirks

AMD = build_image([{"a": b"1" * 9000}, {"b": b"2"}, {"c": b"3"}, {"d": b"4"}])
ARM = build_image([{"a": b"5"}], platform="linux/arm64")
INDEX = build_index([AMD, ARM], attested=True, fields={"annotations": {"k": "v"}})
LABEL = Settings(labels={"team": "web"})
SIGNATURE = build_artifact(
    AMD.descriptor, artifact_type="application/vnd.dev.cosign.simplesigning.v1+json"
)
SBOM = build_artifact(AMD.descriptor, b"bom", artifact_type="application/spdx+json")


def set_in(
    registry: EmulatedRegistry,
    options: EditOptions,
    settings: Settings = LABEL,
    *,
    name: str = "team/app:1",
) -> EditReport:
    with Registries(RegistryOptions(plain_http=True)) as registries:
        access = PlaceAccess(registries=registries)
        return set_image(f"docker://{registry.host}/{name}", settings, options, access)


def to(registry: EmulatedRegistry, name: str) -> EditOptions:
    return EditOptions(targets=(f"docker://{registry.host}/{name}",))


class TestM14InARegistry:
    def test_only_config_and_manifest_move_in_six_requests(self) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image("team/app", AMD, "1")
            before = set(registry.blobs["team/app"])
            report = set_in(registry, to(registry, "team/app:2"))
            log = [(one.method, one.target.removeprefix("/v2/team/app/")) for one in registry.log]
            new = registry.tags["team/app"]["2"]
            assert report.new == new
            assert not [path for method, path in log if method == "GET" and "blobs" in path][1:]
            wrote = [
                line for line in log if line[0] != "GET" and line[1] not in ("manifests/1", "/v2/")
            ]
            assert len(wrote) <= 6, wrote
            assert wrote[-1] == ("HEAD", f"manifests/{new}")
            assert len(set(registry.blobs["team/app"]) - before) == 1
            assert registry.tags["team/app"]["1"] == AMD.descriptor.digest

    def test_layers_of_another_repository_are_mounted(self) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image("team/app", AMD, "1")
            set_in(registry, to(registry, "copies/app:2"))
            mounted = set(registry.blobs["copies/app"])
            assert {layer.digest for layer in AMD.layers} < mounted
            starts = registry.requests("POST", "/blobs/uploads/")
            assert len([one for one in starts if "mount=" in one.target]) == len(AMD.layers)
            assert not [
                one
                for one in registry.requests("GET", "/blobs/")
                if any(str(layer.digest) in one.target for layer in AMD.layers)
            ]

    def test_in_place_a_tag_that_moved_meanwhile_stays(self) -> None:
        class Moving(EmulatedRegistry):
            def respond(self, exchange: Exchange) -> None:
                super().respond(exchange)
                if "/blobs/" in exchange.path:
                    self.add_image("team/app", ARM, "1")

        with Moving() as registry:
            registry.add_image("team/app", AMD, "1")
            with pytest.raises(Refused, match="by now"):
                set_in(registry, EditOptions(in_place=True))
            assert registry.tags["team/app"]["1"] == ARM.descriptor.digest

    def test_a_second_run_sends_nothing(self) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image("team/app", AMD, "1")
            set_in(registry, EditOptions(in_place=True))
            registry.log.clear()
            report = set_in(registry, EditOptions(in_place=True))
            assert not report.changed
            assert {one.method for one in registry.log} <= {"GET", "HEAD"}


class TestM13Indexes:
    def test_every_image_changes_and_order_and_annotations_stay(self) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image("team/app", INDEX, "1")
            report = set_in(registry, to(registry, "team/app:2"))
            index = json.loads(registry.manifests["team/app"][report.new].raw)
            assert index["annotations"] == {"k": "v"}
            assert [one["platform"]["architecture"] for one in index["manifests"]] == [
                "amd64",
                "arm64",
            ]
            for entry in index["manifests"]:
                child = registry.manifests["team/app"][Digest.parse(entry["digest"])].raw
                assert entry["size"] == len(child)
                config = registry.blobs["team/app"][
                    Digest.parse(json.loads(child)["config"]["digest"])
                ]
                assert json.loads(config)["config"]["Labels"] == {"team": "web"}

    def test_with_a_platform_the_others_keep_their_bytes(self) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image("team/app", INDEX, "1")
            options = EditOptions(
                targets=(f"docker://{registry.host}/team/app:2",),
                platforms=(Platform.parse("linux/arm64"),),
            )
            report = set_in(registry, options)
            index = json.loads(registry.manifests["team/app"][report.new].raw)
            digests = [one["digest"] for one in index["manifests"]]
            assert digests[0] == str(AMD.descriptor.digest)
            assert str(ARM.descriptor.digest) not in digests
            # The attestation of amd64 still tells of it.
            assert len(digests) == 3

    def test_a_platform_that_is_not_there(self) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image("team/app", INDEX, "1")
            with pytest.raises(NotFound, match="s390x"):
                set_in(registry, EditOptions(platforms=(Platform.parse("s390x"),), dry_run=True))

    def test_annotations_of_the_index(self, tmp_path: Path) -> None:
        write_layout(tmp_path / "l", {"1": INDEX})
        report = set_image(
            f"oci:{tmp_path}/l:1",
            Settings(),
            EditOptions(targets=(f"oci:{tmp_path}/l:2",)),
            on_index=IndexAnnotations(added={"x": "y"}, without=("k",)),
        )
        with Layout.existing(str(tmp_path / "l")) as layout:
            root = layout.resolve("2")
            assert root.descriptor.digest == report.new
            with layout.open(root.descriptor) as blob:
                index = json.loads(blob.read_all(9999))
        assert index["annotations"] == {"x": "y"}
        assert index["manifests"] == json.loads(INDEX.blobs[INDEX.descriptor.digest])["manifests"]


class TestM11Attestations:
    def test_they_are_dropped_and_listed(self) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image("team/app", INDEX, "1")
            report = set_in(registry, to(registry, "team/app:2"))
            attestations = {child.digest for child in INDEX.children[2:]}
            assert set(report.attestations) == attestations
            assert len(json.loads(registry.manifests["team/app"][report.new].raw)["manifests"]) == 2

    def test_kept_ones_stand_beside_the_new_images(self) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image("team/app", INDEX, "1")
            target = f"docker://{registry.host}/team/app:2"
            report = set_in(registry, EditOptions(targets=(target,), keep_attestations=True))
            entries = json.loads(registry.manifests["team/app"][report.new].raw)["manifests"]
            assert [one["digest"] for one in entries[2:]] == [
                str(child.digest) for child in INDEX.children[2:]
            ]
            assert [one["annotations"]["vnd.docker.reference.digest"] for one in entries[2:]] == [
                one["digest"] for one in entries[:2]
            ]


class TestM12WhatIsAttached:
    @pytest.mark.parametrize("referrers", ["api", "404"])
    def test_it_is_listed_and_stays_with_the_old_image(self, referrers: str) -> None:
        with _signed(referrers) as registry:
            report = set_in(registry, to(registry, "team/app:2"))
            assert {(one.kind, one.subject) for one in report.attached} == {
                ("signature", AMD.descriptor.digest),
                ("sbom", AMD.descriptor.digest),
            }

    def test_the_tag_of_cosign_counts(self) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image("team/app", AMD, "1")
            tag = f"sha256-{AMD.descriptor.digest.hex}.sig"
            registry.add_image("team/app", build_artifact(None), tag)
            report = set_in(registry, to(registry, "team/app:2"))
            assert [(one.kind, one.tag) for one in report.attached] == [("signature", tag)]

    def test_fail_refuses_and_writes_nothing(self) -> None:
        with _signed() as registry:
            target = f"docker://{registry.host}/team/app:2"
            with pytest.raises(Refused, match="attached"):
                set_in(registry, EditOptions(targets=(target,), attached=AttachedPolicy.FAIL))
            assert set(registry.tags["team/app"]) == {"1"}

    def test_a_signed_image_is_replaced_in_place_only_with_force(self) -> None:
        with _signed() as registry:
            with pytest.raises(Refused, match="signed"):
                set_in(registry, EditOptions(in_place=True))
            assert registry.tags["team/app"]["1"] == AMD.descriptor.digest
            report = set_in(registry, EditOptions(in_place=True, force=True))
            assert registry.tags["team/app"]["1"] == report.new

    def test_copy_attaches_the_sbom_and_never_the_signature(self) -> None:
        with _signed() as registry:
            target = f"docker://{registry.host}/team/app:2"
            report = set_in(registry, EditOptions(targets=(target,), attached=AttachedPolicy.COPY))
            copied = {one.kind: one.copied_as for one in report.attached}
            assert copied["signature"] is None
            assert copied["sbom"] is not None
            new = json.loads(registry.manifests["team/app"][copied["sbom"]].raw)
            old = json.loads(SBOM.blobs[SBOM.descriptor.digest])
            assert new["subject"]["digest"] == str(report.new)
            assert {**new, "subject": 0} == {**old, "subject": 0}


def _signed(referrers: str = "api") -> EmulatedRegistry:
    registry = EmulatedRegistry(Quirks(referrers=referrers))  # type: ignore[arg-type]
    registry.add_image("team/app", AMD, "1")
    for artifact in (SIGNATURE, SBOM):
        registry.add_image("team/app", artifact)
    if referrers != "api":
        entries = [{**a.descriptor.to_json(), "artifactType": "x/y"} for a in (SIGNATURE, SBOM)]
        raw = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": entries,
            }
        ).encode()
        tag = f"sha256-{AMD.descriptor.digest.hex}"
        registry.add_manifest("team/app", raw, "application/vnd.oci.image.index.v1+json", tag)
    return registry


class TestPlaces:
    def test_an_old_docker_archive_gets_a_manifest_first(self, tmp_path: Path) -> None:
        plain = build_image([{"a": b"1"}, {"b": b"2"}], compression="none", docker=True)
        (tmp_path / "d.tar").write_bytes(docker_archive({"docker.io/library/app:1": plain}))
        report = set_image(
            f"{tmp_path}/d.tar", LABEL, EditOptions(targets=(f"oci:{tmp_path}/l:new",))
        )
        with Layout.existing(str(tmp_path / "l")) as layout:
            assert layout.resolve("new").descriptor.digest == report.new
        assert report.images[0].platform == Platform.parse("linux/amd64")

    @pytest.mark.parametrize(
        ("source", "options", "hint"),
        [
            ("oci:LAYOUT:1", EditOptions(), "-t DST"),
            ("oci:LAYOUT:1", EditOptions(in_place=True, targets=("x:1",)), ""),
            ("./LAYOUT.tar", EditOptions(in_place=True), "-t ./NEW"),
            ("docker://x/y@sha256:" + "0" * 64, EditOptions(in_place=True), "-t"),
        ],
    )
    def test_where_the_result_goes_has_to_be_said(
        self, source: str, options: EditOptions, hint: str
    ) -> None:
        with pytest.raises(UsageError) as caught:
            set_image(source, LABEL, options)
        assert hint in (caught.value.hint or "")
