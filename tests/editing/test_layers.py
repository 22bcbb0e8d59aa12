"""A layer on top of an image: both documents grow, and nothing else in them changes."""

import hashlib
import json
from collections.abc import Mapping

import pytest

from ocitool.editing.layers import NewEntry, NewLayer, append_entries
from ocitool.editing.parts import ImageParts
from ocitool.oci import Digest, ImageConfig, Manifest, parse_manifest
from ocitool.oci.mediatype import Compression
from tests.support.images import CREATED, BuiltImage, build_image, compressed, tar_of

TAR = tar_of({"added": b"new\n"})
DIFF_ID = f"sha256:{hashlib.sha256(TAR).hexdigest()}"
LATER = "2025-01-02T03:04:05Z"


def parts_of(image: BuiltImage) -> ImageParts:
    manifest = parse_manifest(image.manifest, None)
    assert isinstance(manifest, Manifest)
    return ImageParts(
        manifest=manifest, config=ImageConfig.parse(image.blobs[manifest.config.digest])
    )


def layer(compression: Compression = "gzip") -> NewLayer:
    stored = compressed(TAR, compression)
    return NewLayer(
        digest=Digest("sha256", hashlib.sha256(stored).hexdigest()),
        size=len(stored),
        diff_id=Digest.parse(DIFF_ID),
        compression=compression,
    )


def entry(new: NewLayer | None) -> NewEntry:
    return NewEntry(created_by="ocitool append a.tar", comment="why", layer=new)


def documents(parts: ImageParts) -> tuple[dict[str, object], dict[str, object]]:
    return json.loads(parts.manifest.raw), json.loads(parts.config.raw)


def named_config(parts: ImageParts) -> Mapping[str, object]:
    manifest, _ = documents(parts)
    named = manifest["config"]
    assert isinstance(named, dict)
    return named


class TestM4M5AppendedLayers:
    def test_layers_diff_ids_and_history_grow_together(self) -> None:
        image = build_image([{"a": b"1"}, {"b": b"2"}])
        new = append_entries(parts_of(image), [entry(layer())])
        manifest, config = documents(new)
        before, config_before = documents(parts_of(image))
        stored = compressed(TAR, "gzip")
        assert manifest["layers"] == [
            *before["layers"],  # type: ignore[misc]
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": f"sha256:{hashlib.sha256(stored).hexdigest()}",
                "size": len(stored),
            },
        ]
        assert config["rootfs"] == {
            "type": "layers",
            "diff_ids": [*map(str, image.diff_ids), DIFF_ID],
        }
        assert config["history"] == [
            *config_before["history"],  # type: ignore[misc]
            {"created": CREATED, "created_by": "ocitool append a.tar", "comment": "why"},
        ]

    def test_the_manifest_names_the_new_config(self) -> None:
        new = append_entries(parts_of(build_image()), [entry(layer())])
        assert named_config(new)["digest"] == f"sha256:{hashlib.sha256(new.config.raw).hexdigest()}"
        assert named_config(new)["size"] == len(new.config.raw)

    def test_a_config_that_the_manifest_embeds_is_no_longer_in_it(self) -> None:
        import base64

        image = build_image()
        raw = image.blobs[image.config.digest]
        data = {**image.config.to_json(), "data": base64.b64encode(raw).decode()}
        embedded = build_image(manifest={"config": data})
        assert "data" not in named_config(append_entries(parts_of(embedded), [entry(layer())]))

    def test_an_entry_without_a_layer_is_an_empty_one(self) -> None:
        image = build_image()
        new = append_entries(parts_of(image), [entry(None)])
        manifest, config = documents(new)
        assert manifest["layers"] == documents(parts_of(image))[0]["layers"]
        history = config["history"]
        assert isinstance(history, list)
        assert history[-1]["empty_layer"] is True
        assert new.config.diff_ids == image.diff_ids

    @pytest.mark.parametrize(
        "history",
        [
            [],
            [{"created_by": "one"}, {"created_by": "two"}],
            [{"created_by": "only", "empty_layer": True}],
        ],
    )
    def test_a_history_that_does_not_fit_the_layers_is_not_continued(
        self, history: list[dict[str, object]]
    ) -> None:
        image = build_image(history=history)
        _, config = documents(append_entries(parts_of(image), [entry(layer())]))
        assert config["history"] == history

    def test_an_image_without_layers_gets_its_first(self) -> None:
        image = build_image([], config={"rootfs": {"type": "layers"}, "history": None})
        new = append_entries(parts_of(image), [entry(layer())])
        assert new.config.diff_ids == (Digest.parse(DIFF_ID),)
        assert [one.created_by for one in new.config.history] == ["ocitool append a.tar"]


class TestM1Times:
    def test_without_a_time_the_image_keeps_its_own_and_so_does_the_entry(self) -> None:
        new = append_entries(parts_of(build_image()), [entry(layer())])
        assert new.config.created == CREATED
        assert new.config.history[-1].created == CREATED

    def test_a_time_is_that_of_the_image_and_of_the_new_entry_only(self) -> None:
        new = append_entries(parts_of(build_image()), [entry(layer())], created=LATER)
        assert new.config.created == LATER
        assert [one.created for one in new.config.history] == [CREATED, LATER]

    def test_an_image_without_a_time_gets_none(self) -> None:
        image = build_image(config={"created": None})
        _, config = documents(append_entries(parts_of(image), [entry(layer())]))
        assert config["created"] is None
        assert config["history"][-1] == {  # type: ignore[index]
            "created_by": "ocitool append a.tar",
            "comment": "why",
        }


class TestM2WhatIsNotChanged:
    def test_unknown_members_and_the_order_stay(self) -> None:
        odd = {"x.config": {"b": [1, None], "a": "é"}, "container": "0" * 64, "Created": None}
        odd.pop("Created")
        image = build_image(config=odd, manifest={"annotations": {"z": "1", "a": "2"}, "x": 0})
        new = append_entries(parts_of(image), [entry(layer())])
        for before, after in zip(documents(parts_of(image)), documents(new), strict=True):
            assert list(before) == list(after)
        manifest, config = documents(new)
        assert (manifest["annotations"], manifest["x"]) == ({"z": "1", "a": "2"}, 0)
        assert {key: config[key] for key in odd} == odd
        assert list(manifest["annotations"]) == ["z", "a"]  # type: ignore[call-overload]

    def test_changed_documents_are_compact(self) -> None:
        new = append_entries(parts_of(build_image(config={"x": "é"})), [entry(layer())])
        for raw in (new.manifest.raw, new.config.raw):
            expected = json.dumps(json.loads(raw), ensure_ascii=False, separators=(",", ":"))
            assert raw == expected.encode()

    def test_nothing_to_add_gives_the_very_same_bytes(self) -> None:
        pretty = json.dumps(json.loads(build_image().manifest), indent=3).encode()
        manifest = parse_manifest(pretty, None)
        assert isinstance(manifest, Manifest)
        parts = ImageParts(manifest=manifest, config=parts_of(build_image()).config)
        assert append_entries(parts, []).manifest.raw == pretty


class TestM3MediaTypes:
    def test_a_docker_image_stays_one(self) -> None:
        new = append_entries(parts_of(build_image(docker=True)), [entry(layer())])
        assert new.manifest.media_type == "application/vnd.docker.distribution.manifest.v2+json"
        assert {one.media_type for one in new.manifest.layers} == {
            "application/vnd.docker.image.rootfs.diff.tar.gzip"
        }

    def test_a_layer_of_zstd_makes_all_of_it_oci(self) -> None:
        foreign = {
            "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "digest": f"sha256:{'5' * 64}",
            "size": 5,
        }
        image = build_image(docker=True, manifest={"layers": [foreign]})
        manifest, _ = documents(append_entries(parts_of(image), [entry(layer("zstd"))]))
        assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
        assert manifest["config"]["mediaType"] == (  # type: ignore[index]
            "application/vnd.oci.image.config.v1+json"
        )
        kinds = [one["mediaType"].rpartition("image.layer.")[2] for one in manifest["layers"]]  # type: ignore[attr-defined]
        assert kinds == ["nondistributable.v1.tar+gzip", "v1.tar+zstd"]
