"""Deltas into stores and layouts: checked before anything is written, in any order, repeated."""

import itertools
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocitool.bundles.inventory import encode_value, parse_need
from ocitool.errors import NotFound
from ocitool.garbage import Choice, plan, sweep
from ocitool.operations.bundle import load as loading
from ocitool.operations.bundle.check import NotApplicable, check_at
from ocitool.operations.bundle.load import Loaded, load_into_layout
from ocitool.operations.bundle.verify import verify_bundle
from ocitool.operations.load import load as load_images
from ocitool.places.layout import Layout
from tests.support.images import (
    Built,
    BuiltImage,
    build_artifact,
    build_image,
    build_index,
    write_layout,
)
from tests.support.layouts import blobs_in, names_of
from tests.support.made_bundles import list_of, made, opened, tree
from tests.support.stores import checked

Apply = Callable[[Path, Path], bytes]
BASE = {"base": b"b" * 3000}
NAME = "reg.example/t/app"


def version(number: int) -> BuiltImage:
    """Return a version of the image: a base, and a layer of its own."""
    return build_image([BASE, {"code": b"%d" % number * 500}])


FIRST = version(0)
SBOM = build_artifact(version(1).descriptor, b"an SBOM")
SIGNATURE = build_artifact(SBOM.descriptor, b"a signature of the SBOM")
BASE_LAYER = FIRST.layers[0]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a base and three deltas over it, and one over the first delta."""
    folder = tmp_path_factory.mktemp("bundles")
    base = made(folder / "base.tar", {f"{NAME}:0": FIRST})
    for number in (1, 2, 3):
        attached = [SBOM, SIGNATURE] if number == 1 else []
        images = {f"{NAME}:{number}": version(number)}
        made(folder / f"{number}.delta.tar", images, attached, base=[base])
    both = build_index([version(1), build_image([{"arm": b"a" * 700}], platform="linux/arm64")])
    made(folder / "chain.delta.tar", {f"{NAME}:4": both}, base=[folder / "1.delta.tar"])
    return folder


def load(bundle: Path, store: Path, *, dry_run: bool = False) -> Loaded:
    """Load a bundle into a store."""
    with opened(bundle) as one:
        return load_into_layout(one, str(store), is_store=True, dry_run=dry_run)


def state(store: Path) -> tuple[dict[str, str], set[str]]:
    """Return the names and the blobs of a store, which has to be sound."""
    report = checked(store)
    assert report.problems == ()
    assert report.unreferenced == ()
    with Layout.existing(str(store)) as layout:
        return names_of(layout), blobs_in(store)


class TestA7:
    def test_a7_bases_are_united_and_count_what_they_require(self, tmp_path: Path) -> None:
        first = made(tmp_path / "first.tar", {f"{NAME}:0": FIRST})
        second = made(tmp_path / "second.delta.tar", {f"{NAME}:1": version(1)}, base=[first])
        other = made(tmp_path / "other.tar", {f"{NAME}:2": version(2)})
        joint = build_index([version(1), version(2)])
        images: dict[str, Built] = {f"{NAME}:3": joint}
        # The base layer is only required by `second`, and yet it is on the other side.
        alone = list_of(made(tmp_path / "a.delta.tar", images, base=[second]))
        layers = [version(number).layers[1] for number in (1, 2)]
        assert {one.digest for one in alone.requires} == {
            str(BASE_LAYER.digest),
            str(layers[0].digest),
        }
        united = made(tmp_path / "b.delta.tar", images, base=[second, other])
        assert {one.digest for one in list_of(united).requires} == {
            str(blob.digest) for blob in (BASE_LAYER, *layers)
        }
        swapped = made(tmp_path / "c.delta.tar", images, base=[other, second])
        assert united.read_bytes() == swapped.read_bytes()

    def test_a7_all_documents_travel_and_whole_images_alone_are_in_index_json(
        self, bundles: Path
    ) -> None:
        listing = list_of(bundles / "1.delta.tar")
        kinds = {blob.digest: blob.type for blob in listing.blobs}
        image = version(1)
        assert kinds[str(image.descriptor.digest)] == "document"
        assert kinds[str(image.config.digest)] == "config"
        assert str(BASE_LAYER.digest) not in kinds
        with opened(bundles / "1.delta.tar") as one:
            assert verify_bundle(one).sound


class TestA8:
    @pytest.fixture(params=["check", "dry run", "load"])
    def apply(self, request: pytest.FixtureRequest) -> Apply:
        def run(bundle: Path, store: Path) -> bytes:
            """Return the need.json that says what is lacking."""
            if request.param == "check":
                with opened(bundle) as one:
                    report = check_at(one, str(store))
                assert not report.applies
                return encode_value(report.need)
            with pytest.raises(NotApplicable) as refused:
                load(bundle, store, dry_run=request.param == "dry run")
            return encode_value(refused.value.report.need)

        return run

    def test_a8_nothing_at_all_is_written_where_there_is_no_store(
        self, bundles: Path, tmp_path: Path, apply: Apply
    ) -> None:
        need = apply(bundles / "1.delta.tar", tmp_path / "store")
        assert list(tmp_path.iterdir()) == []
        parsed = parse_need(need, "need.json")
        assert [(one.digest, one.size) for one in parsed.blobs] == [
            (str(BASE_LAYER.digest), BASE_LAYER.size)
        ]
        with opened(bundles / "1.delta.tar") as one:
            assert parsed.bundle == str(one.head.digest)

    def test_a8_nothing_at_all_is_written_into_a_store(
        self, bundles: Path, tmp_path: Path, apply: Apply
    ) -> None:
        store = tmp_path / "store"
        other = made(tmp_path / "other.tar", {f"{NAME}:9": build_image([{"x": b"y"}])})
        load(other, store)
        before = tree(store)
        apply(bundles / "1.delta.tar", store)
        assert tree(store) == before

    def test_a8_nothing_at_all_is_written_into_a_folder_that_is_no_layout(
        self, bundles: Path, tmp_path: Path
    ) -> None:
        folder = tmp_path / "layout"
        folder.mkdir()
        with opened(bundles / "1.delta.tar") as one, pytest.raises(NotApplicable):
            load_into_layout(one, str(folder))
        assert list(folder.iterdir()) == []

    def test_a8_nothing_at_all_is_written_into_a_layout_of_another_tool(
        self, bundles: Path, tmp_path: Path
    ) -> None:
        damaged = build_image([BASE, {"other": b"1"}])
        layout = write_layout(tmp_path / "layout", {"x": damaged})
        (layout / "blobs/sha256" / BASE_LAYER.digest.hex).write_bytes(b"?" * BASE_LAYER.size)
        before = tree(layout)
        with opened(bundles / "1.delta.tar") as one, pytest.raises(NotApplicable):
            load_into_layout(one, str(layout))
        assert tree(layout) == before


class TestA9:
    def test_a9_three_deltas_in_all_orders_give_one_store(
        self, bundles: Path, tmp_path: Path
    ) -> None:
        load(bundles / "base.tar", tmp_path / "base")
        found = []
        for order in itertools.permutations((1, 2, 3)):
            store = tmp_path / "".join(map(str, order))
            shutil.copytree(tmp_path / "base", store)
            for number in order:
                load(bundles / f"{number}.delta.tar", store)
            found.append(state(store))
        names, blobs = found[0]
        assert names == {f"{NAME}:{n}": str(version(n).descriptor.digest) for n in range(4)}
        images: list[Built] = [*map(version, range(4)), SBOM, SIGNATURE]
        assert blobs == {digest.hex for image in images for digest in image.blobs}
        assert all(one == found[0] for one in found)

    def test_a9_repeated_and_interleaved_they_change_nothing_more(
        self, bundles: Path, tmp_path: Path
    ) -> None:
        store = tmp_path / "store"
        for name in ("base.tar", "1.delta.tar", "2.delta.tar", "chain.delta.tar"):
            load(bundles / name, store)
        before = state(store)
        for name in ("2.delta.tar", "base.tar", "chain.delta.tar", "1.delta.tar", "1.delta.tar"):
            load(bundles / name, store)
        assert state(store) == before

    def test_a9_a_delta_over_a_delta_waits_for_it(self, bundles: Path, tmp_path: Path) -> None:
        store = tmp_path / "store"
        load(bundles / "base.tar", store)
        with pytest.raises(NotApplicable) as refused:
            load(bundles / "chain.delta.tar", store)
        layer = version(1).layers[1]
        assert [one.digest for one in refused.value.report.lacking] == [str(layer.digest)]
        assert refused.value.report.lost_images == (f"{NAME}:4",)
        load(bundles / "1.delta.tar", store)
        load(bundles / "chain.delta.tar", store)
        assert f"{NAME}:4" in state(store)[0]


class TestA10:
    @pytest.mark.parametrize("damage", [b"?", b""], ids=["changed", "cut"])
    def test_a10_a_required_blob_that_is_damaged_in_the_store_is_lacking(
        self, bundles: Path, tmp_path: Path, damage: bytes
    ) -> None:
        store = tmp_path / "store"
        load(bundles / "base.tar", store)
        blob = store / "blobs/sha256" / BASE_LAYER.digest.hex
        blob.chmod(0o600)
        blob.write_bytes(damage * BASE_LAYER.size)
        before = tree(store)
        with pytest.raises(NotApplicable) as refused:
            load(bundles / "1.delta.tar", store)
        assert [one.digest for one in refused.value.report.lacking] == [str(BASE_LAYER.digest)]
        assert tree(store) == before

    @pytest.mark.parametrize("damage", [b"?", b""], ids=["changed", "cut"])
    @pytest.mark.parametrize("brought_by", ["base", "gap"])
    def test_a10_what_is_damaged_there_is_replaced_by_what_is_loaded_with_the_delta(
        self, bundles: Path, tmp_path: Path, damage: bytes, brought_by: str
    ) -> None:
        store = tmp_path / "store"
        load(bundles / "base.tar", store)
        blob = store / "blobs/sha256" / BASE_LAYER.digest.hex
        blob.chmod(0o600)
        blob.write_bytes(damage * BASE_LAYER.size)
        with opened(bundles / "1.delta.tar") as one:
            need = check_at(one, str(store)).need
        gap = made(tmp_path / "gap.delta.tar", {f"{NAME}:base": build_image([BASE])}, need=need)
        beside = gap if brought_by == "gap" else bundles / "base.tar"
        with opened(bundles / "1.delta.tar") as one, opened(beside) as other:
            load_into_layout(one, str(store), is_store=True, beside=[other])
        assert checked(store).problems == ()
        # What was damaged is set aside, and only a person may remove it. One that is cut is stored
        # again in any case.
        aside = [path.name for path in (store / ".ocitool").glob("quarantine/*")]
        assert [name.partition(".")[0] for name in aside] == (
            [f"sha256-{BASE_LAYER.digest.hex}"] if damage else []
        )


class TestA11:
    def test_a11_what_a_need_names_travels_with_the_documents_and_nothing_else(
        self, bundles: Path, tmp_path: Path
    ) -> None:
        store = tmp_path / "store"
        with opened(bundles / "1.delta.tar") as one:
            need = check_at(one, str(store)).need
        images = {f"{NAME}:1": version(1)}
        gap = made(tmp_path / "gap.delta.tar", images, [SBOM, SIGNATURE], need=need)
        listing = list_of(gap)
        layers = [blob.digest for blob in listing.blobs if blob.type in ("layer", "other")]
        assert layers == [str(BASE_LAYER.digest)]
        documents = {version(1).descriptor, SBOM.descriptor, SIGNATURE.descriptor}
        assert {blob.digest for blob in listing.blobs if blob.type == "document"} == {
            str(one.digest) for one in documents
        }
        # Neither can be applied alone, and both together are the image.
        with pytest.raises(NotApplicable):
            load(gap, store)
        assert not store.exists()

    def test_a11_the_gap_of_a_delta_is_closed_by_its_need(
        self, bundles: Path, tmp_path: Path
    ) -> None:
        with opened(bundles / "1.delta.tar") as one:
            need = check_at(one, str(tmp_path / "store")).need
        # The image of the base needs nothing but the layer that is lacking here.
        base = build_image([BASE])
        gap = made(tmp_path / "gap.delta.tar", {f"{NAME}:base": base}, need=need)
        load(gap, tmp_path / "store")
        load(bundles / "1.delta.tar", tmp_path / "store")
        assert state(tmp_path / "store")[0][f"{NAME}:1"] == str(version(1).descriptor.digest)

    def test_a11_a_need_of_other_images_is_refused(self, bundles: Path, tmp_path: Path) -> None:
        with opened(bundles / "1.delta.tar") as one:
            need = check_at(one, str(tmp_path / "store")).need
        with pytest.raises(NotFound, match="belong to none of these images"):
            made(tmp_path / "gap.tar", {f"{NAME}:x": build_image([{"x": b"y"}])}, need=need)
        assert not (tmp_path / "gap.tar").exists()


@pytest.mark.parametrize("left", [(), (".ocitool",), (".ocitool", "blobs")])
def test_a16_where_a_layout_was_only_begun_the_next_load_ends_it(
    bundles: Path, tmp_path: Path, left: tuple[str, ...]
) -> None:
    # What a run that was killed in its first moments leaves.
    store = tmp_path / "store"
    store.mkdir()
    for name in left:
        (store / name).mkdir()
    with pytest.raises(NotApplicable):
        load(bundles / "1.delta.tar", store)
    load(bundles / "base.tar", store)
    load(bundles / "1.delta.tar", store)
    assert checked(store).problems == ()


class TestTheBaseIsRemoved:
    def test_between_check_and_load_it_is_lacking(self, bundles: Path, tmp_path: Path) -> None:
        store = tmp_path / "store"
        load(bundles / "base.tar", store)
        with opened(bundles / "1.delta.tar") as one:
            assert check_at(one, str(store)).applies
        collect(store)
        with pytest.raises(NotApplicable):
            load(bundles / "1.delta.tar", store)

    def test_while_it_is_loaded_nothing_takes_it(
        self, bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = tmp_path / "store"
        load(bundles / "base.tar", store)

        def load_after_gc(*arguments: Any, **how: Any) -> object:
            collect(store)
            return load_images(*arguments, **how)

        monkeypatch.setattr(loading, "load", load_after_gc)
        load(bundles / "1.delta.tar", store)
        names, blobs = state(store)
        assert names == {f"{NAME}:1": str(version(1).descriptor.digest)}
        assert BASE_LAYER.digest.hex in blobs


def collect(store: Path) -> None:
    """Remove all images of a store, as `gc -a` would."""
    with Layout.existing(str(store)) as layout:
        now = time.time() + 10
        sweep(layout, plan(layout, Choice(everything=True), now=now), now=now)
