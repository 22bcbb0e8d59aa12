"""Indexes that are put together: from any place, in any order, by several at once."""

import itertools
import json
import threading
from pathlib import Path

import pytest

from ocitool.errors import NotFound, Refused, Unmet, UsageError
from ocitool.oci import Platform
from ocitool.operations.edit.indexes import (
    Listing,
    add_to_index,
    create_index,
    remove_from_index,
)
from ocitool.operations.edit.report import EditOptions, EditReport, PlaceAccess
from ocitool.operations.edit.unwrapping import unwrap_image
from ocitool.places.layout import Layout
from ocitool.places.registry import Registries, RegistryOptions
from tests.support.http_exchange import Exchange
from tests.support.images import Built, BuiltImage, build_image, build_index, write_layout
from tests.support.registry import EmulatedRegistry, Quirks

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
AMD = build_image([{"a": b"1"}, {"b": b"2"}])
ARM = build_image([{"a": b"1"}, {"c": b"3"}], platform="linux/arm64")
ARM7 = build_image([{"d": b"4"}], platform="linux/arm/v7")
WINDOWS = build_image(
    [{"w": b"5"}],
    platform="windows/amd64",
    config={"os.version": "10.0.17763.1", "os.features": ["win32k"]},
)
ALL = (AMD, ARM, ARM7, WINDOWS)
PLATFORMS: list[dict[str, object]] = [
    {"architecture": "arm", "os": "linux", "variant": "v7"},
    {"architecture": "arm64", "os": "linux"},
    {"architecture": "amd64", "os": "linux"},
    {
        "architecture": "amd64",
        "os": "windows",
        "os.version": "10.0.17763.1",
        "os.features": ["win32k"],
    },
]
EDIT = EditOptions()


def index_in(folder: Path, tag: str) -> dict[str, object]:
    with (
        Layout.existing(str(folder)) as layout,
        layout.open(layout.resolve(tag).descriptor) as blob,
    ):
        found: dict[str, object] = json.loads(blob.read_all(99999))
        return found


def children(index: dict[str, object]) -> list[dict[str, object]]:
    found = index["manifests"]
    assert isinstance(found, list)
    return found


@pytest.fixture
def layout(tmp_path: Path) -> str:
    images = {"amd": AMD, "arm": ARM, "arm7": ARM7, "win": WINDOWS}
    built: dict[str, Built] = {
        **images,
        "amd-attested": build_index([AMD], attested=True),
        "arm-attested": build_index([ARM], attested=True),
        "amd-other": build_image([{"x": b"y"}]),
        "docker": build_image([{"q": b"1"}], docker=True),
        "docker-arm": build_image([{"q": b"2"}], docker=True, platform="arm64"),
    }
    return f"oci:{write_layout(tmp_path / 'l', built)}"


class TestM9Create:
    def test_platforms_are_those_of_the_configurations(self, layout: str, tmp_path: Path) -> None:
        tags = ("win", "amd", "arm7", "arm")
        create_index(f"{layout}:all", [f"{layout}:{tag}" for tag in tags], Listing(), EDIT)
        listed = children(index_in(tmp_path / "l", "all"))
        assert [one["platform"] for one in sorted(listed, key=_digest)] == [
            one for _, one in sorted(_expected().items())
        ]

    def test_whatever_the_order_the_index_is_the_same(self, layout: str) -> None:
        tags = [f"{layout}:{tag}" for tag in ("amd-attested", "arm-attested", "arm7")]
        digests = {
            create_index(f"{layout}:all", order, Listing(), EDIT).new
            for order in itertools.permutations(tags)
        }
        assert len(digests) == 1

    def test_an_order_can_be_given(self, layout: str, tmp_path: Path) -> None:
        tags = [f"{layout}:{tag}" for tag in ("win", "arm", "amd")]
        create_index(f"{layout}:all", tags, Listing(as_given=True), EDIT)
        listed = children(index_in(tmp_path / "l", "all"))
        assert [one["digest"] for one in listed] == [
            str(image.descriptor.digest) for image in (WINDOWS, ARM, AMD)
        ]

    def test_attestations_stay_beside_their_images(self, layout: str, tmp_path: Path) -> None:
        tags = [f"{layout}:{tag}" for tag in ("arm-attested", "amd-attested")]
        create_index(f"{layout}:all", tags, Listing(), EDIT)
        listed = children(index_in(tmp_path / "l", "all"))
        subjects = [
            one["annotations"]["vnd.docker.reference.digest"]  # type: ignore[index]
            for one in listed[2:]
        ]
        assert subjects == [one["digest"] for one in listed[:2]]

    def test_two_images_for_one_platform(self, layout: str, tmp_path: Path) -> None:
        tags = [f"{layout}:{tag}" for tag in ("amd-attested", "amd-other")]
        with pytest.raises(Refused, match="two images for linux/amd64"):
            create_index(f"{layout}:all", tags, Listing(), EDIT)
        create_index(f"{layout}:all", tags, Listing(replacing=True), EDIT)
        # The attestation told of the image that was replaced.
        assert len(children(index_in(tmp_path / "l", "all"))) == 1

    def test_the_same_image_twice_is_listed_once(self, layout: str) -> None:
        twice = create_index(f"{layout}:x", [f"{layout}:amd"] * 2, Listing(), EDIT)
        assert twice.new == create_index(f"{layout}:y", [f"{layout}:amd"], Listing(), EDIT).new

    def test_a_platform_for_the_only_image(self, layout: str, tmp_path: Path) -> None:
        listing = Listing(platform=Platform.parse("linux/riscv64"))
        create_index(f"{layout}:all", [f"{layout}:amd"], listing, EDIT)
        (child,) = children(index_in(tmp_path / "l", "all"))
        assert child["platform"] == {"architecture": "riscv64", "os": "linux"}
        with pytest.raises(UsageError):
            create_index(f"{layout}:all", [f"{layout}:amd", f"{layout}:arm"], listing, EDIT)

    def test_missing_platforms_are_unmet_and_nothing_is_written(self, layout: str) -> None:
        listing = Listing(expected=(Platform.parse("amd64"), Platform.parse("s390x")))
        with pytest.raises(Unmet, match="linux/arm64 is not expected"):
            create_index(f"{layout}:all", [f"{layout}:amd", f"{layout}:arm"], listing, EDIT)
        with Layout.existing(layout[4:]) as found, pytest.raises(NotFound):
            found.resolve("all")

    def test_dockers_images_make_a_dockers_list(self, layout: str, tmp_path: Path) -> None:
        docker = [f"{layout}:docker", f"{layout}:docker-arm"]
        create_index(f"{layout}:all", docker, Listing(), EDIT)
        kind = "application/vnd.docker.distribution.manifest.list.v2+json"
        assert index_in(tmp_path / "l", "all")["mediaType"] == kind
        create_index(f"{layout}:all", [docker[0], f"{layout}:arm"], Listing(), EDIT)
        assert index_in(tmp_path / "l", "all")["mediaType"] == OCI_INDEX


def _digest(child: dict[str, object]) -> str:
    return str(child["digest"])


def _expected() -> dict[str, dict[str, object]]:
    images = (ARM7, ARM, AMD, WINDOWS)
    return {
        str(image.descriptor.digest): dict(platform)
        for image, platform in zip(images, PLATFORMS, strict=True)
    }


class TestM9InARegistry:
    def test_runners_push_by_digest_and_one_merges(self) -> None:
        """Children are there already: the index is all that is sent."""
        with EmulatedRegistry() as registry, _access() as access:
            for image in ALL:
                registry.add_image("team/app", image)
            target = f"docker://{registry.host}/team/app:1"
            digests = [str(image.descriptor.digest) for image in ALL]
            report = create_index(target, digests, Listing(), EDIT, access)
            assert registry.tags["team/app"] == {"1": report.new}
            writes = [one for one in registry.log if one.method not in ("GET", "HEAD")]
            assert [(one.method, one.target) for one in writes] == [
                ("PUT", "/v2/team/app/manifests/1")
            ]

    def test_children_of_other_repositories_are_mounted_first(self) -> None:
        with EmulatedRegistry() as registry, _access() as access:
            registry.add_image("a", AMD, "1")
            registry.add_image("b", ARM, "1")
            sources = [f"docker://{registry.host}/{name}:1" for name in "ab"]
            create_index(f"docker://{registry.host}/c:1", sources, Listing(), EDIT, access)
            for image in (AMD, ARM):
                assert image.descriptor.digest in registry.manifests["c"]
                assert {layer.digest for layer in image.layers} <= set(registry.blobs["c"])
            puts = registry.requests("PUT", "/manifests/")
            assert puts[-1].target.endswith("/manifests/1")
            starts = registry.requests("POST", "/blobs/uploads/")
            assert all("mount=" in one.target for one in starts)

    def test_a_registry_that_is_another_one_gets_the_content(self, layout: str) -> None:
        with EmulatedRegistry() as one, EmulatedRegistry() as two, _access() as access:
            one.add_image("a", AMD, "1")
            sources = [f"docker://{one.host}/a:1", f"{layout}:arm"]
            create_index(f"docker://{two.host}/c:1", sources, Listing(), EDIT, access)
            for image in (AMD, ARM):
                assert {layer.digest for layer in image.layers} <= set(two.blobs["c"])

    def test_an_image_that_a_registry_shows_late_is_waited_for(self) -> None:
        class Late(EmulatedRegistry):
            """Shows a manifest only from the second request for it on."""

            asked = 0

            def respond(self, exchange: Exchange) -> None:
                if exchange.method == "GET" and exchange.path.endswith(AMD.descriptor.digest.hex):
                    self.asked += 1
                    if self.asked == 2:
                        self.add_image("team/app", AMD)
                super().respond(exchange)

        with Late() as registry, _access() as access:
            target, sources = f"docker://{registry.host}/team/app:1", [str(AMD.descriptor.digest)]
            report = create_index(target, sources, Listing(wait=9), EDIT, access)
            assert registry.tags["team/app"]["1"] == report.new
            assert registry.asked == 2

    @pytest.mark.parametrize("etags", [True, False])
    def test_runners_that_add_at_once_lose_nothing(self, etags: bool) -> None:
        with EmulatedRegistry(Quirks(etags=etags)) as registry, _access() as access:
            for image in ALL:
                registry.add_image("team/app", image)
            target = f"docker://{registry.host}/team/app:1"
            create_index(target, [str(AMD.descriptor.digest)], Listing(), EDIT, access)
            failures: list[Exception] = []

            def add(image: BuiltImage) -> None:
                try:
                    with _access() as own:
                        options = EditOptions(in_place=True)
                        add_to_index(
                            target, [str(image.descriptor.digest)], Listing(), options, own
                        )
                except Refused as error:
                    failures.append(error)

            threads = [threading.Thread(target=add, args=(image,)) for image in ALL[1:]]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            raw = registry.manifests["team/app"][registry.tags["team/app"]["1"]].raw
            assert len(json.loads(raw)["manifests"]) + len(failures) == len(ALL)

    def test_a_tag_that_moves_before_the_write_is_extended_anew(self) -> None:
        class Moving(EmulatedRegistry):
            """Another client adds an image right before the first write of the tag."""

            moves = 1

            def respond(self, exchange: Exchange) -> None:
                if exchange.method == "PUT" and "If-Match" in exchange.headers and self.moves:
                    self.moves -= 1
                    other = build_index([AMD, ARM7])
                    self.add_image("team/app", other, "1")
                super().respond(exchange)

        with Moving(Quirks(etags=True)) as registry, _access() as access:
            for image in ALL:
                registry.add_image("team/app", image)
            target = f"docker://{registry.host}/team/app:1"
            create_index(target, [str(AMD.descriptor.digest)], Listing(), EDIT, access)
            options = EditOptions(in_place=True)
            report = add_to_index(target, [str(ARM.descriptor.digest)], Listing(), options, access)
            assert [str(image.platform) for image in report.images] == [
                "linux/amd64",
                "linux/arm/v7",
                "linux/arm64",
            ]


def _access() -> "_Access":
    return _Access()


class _Access:
    """Access to registries in plain http, in a block."""

    def __enter__(self) -> PlaceAccess:
        self._registries = Registries(RegistryOptions(plain_http=True))
        return PlaceAccess(registries=self._registries.__enter__())

    def __exit__(self, *error: object) -> None:
        self._registries.__exit__(None, None, None)


class TestM9AddAndRemove:
    def changed(self, report: EditReport, tmp_path: Path) -> list[str]:
        return [str(one["digest"]) for one in children(index_in(tmp_path / "l", "x"))]

    def test_an_image_is_added_in_its_place_and_removed_again(
        self, layout: str, tmp_path: Path
    ) -> None:
        first = create_index(
            f"{layout}:x", [f"{layout}:amd-attested", f"{layout}:win"], Listing(), EDIT
        )
        options = EditOptions(in_place=True)
        report = add_to_index(f"{layout}:x", [f"{layout}:arm"], Listing(), options)
        listed = self.changed(report, tmp_path)
        assert listed[:3] == [str(image.descriptor.digest) for image in (AMD, ARM, WINDOWS)]
        again = add_to_index(f"{layout}:x", [f"{layout}:arm"], Listing(), options)
        assert not again.changed
        back = remove_from_index(f"{layout}:x", [Platform.parse("arm64")], options)
        assert back.new == first.new

    def test_attestations_go_with_their_image(self, layout: str, tmp_path: Path) -> None:
        create_index(f"{layout}:x", [f"{layout}:amd-attested", f"{layout}:arm"], Listing(), EDIT)
        report = remove_from_index(
            f"{layout}:x", [str(AMD.descriptor.digest)], EditOptions(in_place=True)
        )
        assert self.changed(report, tmp_path) == [str(ARM.descriptor.digest)]

    def test_what_cannot_be_removed(self, layout: str) -> None:
        create_index(f"{layout}:x", [f"{layout}:amd"], Listing(), EDIT)
        options = EditOptions(in_place=True)
        with pytest.raises(NotFound, match="s390x"):
            remove_from_index(f"{layout}:x", [Platform.parse("s390x")], options)
        with pytest.raises(Refused):
            remove_from_index(f"{layout}:x", [Platform.parse("amd64")], options)
        with pytest.raises(UsageError, match="not an index"):
            add_to_index(f"{layout}:amd", [f"{layout}:arm"], Listing(), options)


class TestM10Unwrap:
    def test_the_image_keeps_its_digest_and_losses_are_listed(self, tmp_path: Path) -> None:
        index = build_index([AMD], attested=True, fields={"annotations": {"k": "v"}})
        place = f"oci:{write_layout(tmp_path / 'l', {'1': index})}"
        report = unwrap_image(f"{place}:1", EditOptions(targets=(f"{place}:2",)))
        assert report.new == AMD.descriptor.digest
        assert report.attestations == (index.children[1].digest,)
        assert "annotation k" in report.remarks[0]
        with Layout.existing(str(tmp_path / "l")) as layout:
            assert layout.resolve("2").descriptor.digest == AMD.descriptor.digest

    def test_several_images_are_refused(self, tmp_path: Path) -> None:
        place = f"oci:{write_layout(tmp_path / 'l', {'1': build_index([AMD, ARM])})}"
        with pytest.raises(Refused, match="2 images: linux/amd64, linux/arm64"):
            unwrap_image(f"{place}:1", EditOptions(targets=(f"{place}:2",)))

    def test_in_a_registry_it_is_one_tag(self) -> None:
        with EmulatedRegistry() as registry, _access() as access:
            registry.add_image("a", build_index([AMD], attested=True), "1")
            target = f"docker://{registry.host}/a:2"
            unwrap_image(f"docker://{registry.host}/a:1", EditOptions(targets=(target,)), access)
            assert registry.tags["a"]["2"] == AMD.descriptor.digest
            writes = [one.method for one in registry.log if one.method not in ("GET", "HEAD")]
            assert writes == ["PUT"]
