"""Images on other bases: layers by diff ID, settings three ways, what is refused and told."""

import json
from pathlib import Path

import pytest

from ocitool.editing.parts import ImageParts
from ocitool.errors import NotFound, Refused
from ocitool.oci import Digest
from ocitool.operations.edit.rebasing import rebase_image
from ocitool.operations.edit.report import EditOptions, EditReport, PlaceAccess
from ocitool.places.layout import Layout
from ocitool.places.registry import Registries, RegistryOptions
from tests.support.images import (
    CREATED,
    Built,
    BuiltImage,
    Compression,
    build_image,
    build_index,
    whiteout,
    write_layout,
)
from tests.support.registry import EmulatedRegistry

OLD = [{"etc/os": b"1", "lib": b"old"}, {"usr": b"1"}]
NEW = [{"etc/os": b"2", "lib": b"new"}, {"usr": b"2"}, {"opt": b"2"}]
APP = [{"app": b"binary"}, {whiteout("lib"): b"", "usr": b"mine"}]
OLD_CONFIG: dict[str, object] = {
    "Env": ["PATH=/bin", "SSL=old", "GONE=1"],
    "Cmd": ["sh"],
    "User": "",
    "Labels": {"version": "1", "vendor": "x"},
    "ExposedPorts": {"80/tcp": {}},
}
NEW_CONFIG: dict[str, object] = {
    "Env": ["PATH=/bin:/opt", "SSL=new", "ADDED=1"],
    "Cmd": ["bash"],
    "User": "nobody",
    "Labels": {"version": "2", "vendor": "x"},
    "ExposedPorts": {"80/tcp": {}, "443/tcp": {}},
}
APP_CONFIG: dict[str, object] = {
    "Env": ["PATH=/bin", "SSL=mine", "GONE=1", "APP=1"],
    "Cmd": ["/app"],
    "User": "",
    "Labels": {"version": "1", "vendor": "x", "app": "yes"},
    "ExposedPorts": {"80/tcp": {}, "9000/tcp": {}},
}


def base(
    layers: list[dict[str, bytes]], config: dict[str, object], word: str, **how: object
) -> BuiltImage:
    steps: list[dict[str, object]] = [
        {"created": CREATED, "created_by": f"{word} {number}"} for number in range(len(layers))
    ]
    steps.append({"created": CREATED, "created_by": f"{word} CMD", "empty_layer": True})
    return build_image(layers, config={"config": config}, history=steps, **how)  # type: ignore[arg-type]


def app(**how: object) -> BuiltImage:
    before: list[dict[str, object]] = [
        {"created": CREATED, "created_by": f"old {n}"} for n in range(2)
    ]
    steps: list[dict[str, object]] = [
        *before,
        {"created": CREATED, "created_by": "old CMD", "empty_layer": True},
        {"created_by": "COPY app"},
        {"created_by": "ENV APP", "empty_layer": True},
        {"created_by": "RUN rm"},
    ]
    return build_image([*OLD, *APP], config={"config": APP_CONFIG}, history=steps, **how)  # type: ignore[arg-type]


def place_of(folder: Path, **images: Built) -> str:
    return f"oci:{write_layout(folder, images)}"


def rebase(place: str, **how: object) -> EditReport:
    how = {"old_base": f"{place}:old", **how}
    options = EditOptions(targets=(f"{place}:result",))
    return rebase_image(f"{place}:app", f"{place}:new", options, **how)  # type: ignore[arg-type]


def parts_in(place: str, tag: str = "result") -> ImageParts:
    with Layout.existing(place[4:]) as layout:
        return ImageParts.read(layout, layout.resolve(tag).descriptor)


@pytest.fixture
def place(tmp_path: Path) -> str:
    return place_of(
        tmp_path / "l",
        app=app(),
        old=base(OLD, OLD_CONFIG, "old"),
        new=base(NEW, NEW_CONFIG, "new"),
    )


class TestM7Layers:
    def test_the_layers_of_the_image_stand_on_those_of_the_new_base(self, place: str) -> None:
        report = rebase(place)
        new = parts_in(place)
        upper = app().layers[2:]
        assert new.manifest.layers == (*base(NEW, NEW_CONFIG, "new").layers, *upper)
        assert new.config.diff_ids == (
            *base(NEW, NEW_CONFIG, "new").diff_ids,
            *app().diff_ids[2:],
        )
        assert report.images[0].old == app().descriptor.digest

    @pytest.mark.parametrize("compression", ["zstd", "none"])
    def test_a_base_that_was_compressed_anew_is_the_same_base(
        self, tmp_path: Path, compression: Compression
    ) -> None:
        place = place_of(
            tmp_path / "l",
            app=app(),
            old=base(OLD, OLD_CONFIG, "old", compression=compression),
            new=base(NEW, NEW_CONFIG, "new"),
        )
        rebase(place)

    def test_an_old_base_that_is_not_below_is_refused(self, place: str) -> None:
        with pytest.raises(Refused, match="layer 1 unpacks to"):
            rebase(place, old_base=f"{place}:new")

    def test_history_of_the_new_base_and_of_the_image_above_the_seam(self, place: str) -> None:
        rebase(place)
        assert [one.created_by for one in parts_in(place).config.history] == [
            *("new 0", "new 1", "new 2", "new CMD"),
            *("COPY app", "ENV APP", "RUN rm"),
        ]
        assert parts_in(place).has_full_history

    def test_a_base_without_history(self, tmp_path: Path) -> None:
        new = build_image(NEW, config={"config": NEW_CONFIG}, history=[])
        place = place_of(tmp_path / "l", app=app(), old=base(OLD, OLD_CONFIG, "old"), new=new)
        report = rebase(place)
        assert parts_in(place).config.history == ()
        assert any("history is left out" in one for one in report.remarks)

    def test_what_the_image_does_to_files_of_its_base_is_told(self, place: str) -> None:
        told = "\n".join(rebase(place).remarks)
        assert "deletes 1 file of its old base" in told
        assert "replaces 1 file of its old base" in told


class TestM7Settings:
    def test_three_way_merge(self, place: str) -> None:
        report = rebase(place)
        config = json.loads(parts_in(place).config.raw)["config"]
        assert config == {
            "Env": ["PATH=/bin:/opt", "SSL=mine", "APP=1", "ADDED=1"],
            "Cmd": ["/app"],
            "User": "nobody",
            "Labels": {"version": "2", "vendor": "x", "app": "yes"},
            "ExposedPorts": {"80/tcp": {}, "9000/tcp": {}, "443/tcp": {}},
        }
        conflicts = [one for one in report.remarks if one.startswith("both")]
        assert len(conflicts) == 2
        assert "Cmd" in conflicts[0]
        assert "Env SSL" in conflicts[1]

    def test_the_same_base_changes_nothing_but_annotations(self, place: str) -> None:
        options = EditOptions(targets=(f"{place}:result",))
        rebase_image(f"{place}:app", f"{place}:old", options, old_base=f"{place}:old")
        assert parts_in(place).config.raw == parts_in(place, "app").config.raw

    def test_platforms_have_to_agree(self, tmp_path: Path) -> None:
        new = base(NEW, NEW_CONFIG, "new", platform="linux/arm64")
        place = place_of(tmp_path / "l", app=app(), old=base(OLD, OLD_CONFIG, "old"), new=new)
        with pytest.raises((Refused, NotFound), match="linux/a"):
            rebase(place)


class TestM3MediaTypes:
    """crane rebase gives an OCI image a docker manifest with layers of both kinds."""

    @pytest.mark.parametrize(("image", "other"), [(False, True), (True, False)])
    def test_the_result_has_the_family_of_the_image(
        self, tmp_path: Path, image: bool, other: bool
    ) -> None:
        place = place_of(
            tmp_path / "l",
            app=app(docker=image),
            old=base(OLD, OLD_CONFIG, "old", docker=other),
            new=base(NEW, NEW_CONFIG, "new", docker=other),
        )
        rebase(place)
        manifest = parts_in(place).manifest
        kinds = {manifest.media_type, manifest.config.media_type}
        kinds |= {layer.media_type for layer in manifest.layers}
        assert {kind.startswith("application/vnd.docker.") for kind in kinds} == {image}

    def test_a_base_of_zstd_makes_all_of_it_oci(self, tmp_path: Path) -> None:
        place = place_of(
            tmp_path / "l",
            app=app(docker=True),
            old=base(OLD, OLD_CONFIG, "old", docker=True),
            new=base(NEW, NEW_CONFIG, "new", compression="zstd"),
        )
        rebase(place)
        assert "docker" not in parts_in(place).manifest.raw.decode()


class TestM7Annotations:
    def test_the_new_base_is_noted_by_the_digest_of_what_was_named(self) -> None:
        new = build_index([base(NEW, NEW_CONFIG, "new")])
        with _registry() as (registry, access):
            registry.add_image("library/base", new, "2")
            registry.add_image("team/app", _noting(registry.host), "1")
            report = self.rebase(registry, access)
            manifest = json.loads(registry.manifests["team/app"][report.new].raw)
            assert manifest["annotations"] == {
                "org.opencontainers.image.base.name": f"{registry.host}/library/base:2",
                "org.opencontainers.image.base.digest": str(new.descriptor.digest),
            }

    def test_in_a_registry_layers_are_mounted_and_none_is_read(self) -> None:
        with _registry() as (registry, access):
            registry.add_image("library/base", base(NEW, NEW_CONFIG, "new"), "2")
            registry.add_image("team/app", _noting(registry.host), "1")
            self.rebase(registry, access)
            layers = {str(one.digest) for one in (*app().layers, *base(NEW, {}, "").layers)}
            read = {one.target.rpartition("/")[2] for one in registry.requests("GET", "/blobs/")}
            assert not read & layers
            assert len(registry.requests("POST", "mount=")) == 3

    def test_an_old_base_that_is_gone_or_was_never_noted(self) -> None:
        with _registry() as (registry, access):
            registry.add_image("library/base", base(NEW, NEW_CONFIG, "new"), "2")
            registry.add_image("team/app", app(), "1")
            with pytest.raises(NotFound) as caught:
                self.rebase(registry, access)
            assert "--old-base" in (caught.value.hint or "")
            registry.add_image("team/app", _noting(registry.host, "sha256:" + "1" * 64), "1")
            with pytest.raises(NotFound) as caught:
                self.rebase(registry, access)
            assert "--old-base" in (caught.value.hint or "")

    def rebase(self, registry: EmulatedRegistry, access: PlaceAccess) -> EditReport:
        host = registry.host
        return rebase_image(
            f"docker://{host}/team/app:1",
            f"docker://{host}/library/base:2",
            EditOptions(targets=(f"docker://{host}/team/app:2",)),
            access,
        )


def _noting(host: str, digest: str | None = None) -> BuiltImage:
    """Return the image with annotations that name its base."""
    old = base(OLD, OLD_CONFIG, "old")
    annotations = {
        "org.opencontainers.image.base.name": f"{host}/library/base:1",
        "org.opencontainers.image.base.digest": digest or str(old.descriptor.digest),
    }
    return app(manifest={"annotations": annotations})


class _registry:  # noqa: N801
    """A registry with the old base, which has no tag any more, and access to it."""

    def __enter__(self) -> tuple[EmulatedRegistry, PlaceAccess]:
        self._registry = EmulatedRegistry().__enter__()
        self._registry.add_image("library/base", base(OLD, OLD_CONFIG, "old"))
        self._registries = Registries(RegistryOptions(plain_http=True)).__enter__()
        return self._registry, PlaceAccess(registries=self._registries)

    def __exit__(self, *error: object) -> None:
        self._registries.__exit__(None, None, None)
        self._registry.__exit__(None, None, None)


def test_m13_an_index_on_an_index(tmp_path: Path) -> None:
    apps = [app(), app(platform="linux/arm64")]
    place = place_of(
        tmp_path / "l",
        app=build_index(apps, attested=True),
        old=build_index([base(OLD, OLD_CONFIG, "old", platform=one) for one in ("amd64", "arm64")]),
        new=build_index([base(NEW, NEW_CONFIG, "new", platform=one) for one in ("arm64", "amd64")]),
    )
    report = rebase(place)
    assert [str(one.platform) for one in report.images] == ["linux/amd64", "linux/arm64"]
    with Layout.existing(place[4:]) as layout:
        for one in report.images:
            raw = (Path(place[4:]) / "blobs/sha256" / one.new.hex).read_bytes()
            assert len(json.loads(raw)["layers"]) == 5
            assert Digest.of(raw) == one.new
        assert layout.resolve("result").descriptor.digest == report.new
