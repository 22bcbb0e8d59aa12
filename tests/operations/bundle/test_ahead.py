"""Bundles of images in registries: small layers are fetched while others are written."""

import os
import threading
import time
from pathlib import Path

import pytest

from ocitool.errors import OcitoolError
from ocitool.images.opening import open_source
from ocitool.operations.bundle.create import plan_bundle
from ocitool.operations.bundle.write import write_bundle, write_volumes
from ocitool.transfer.pipeline import TransferOptions
from tests.support.bundle_bytes import verified
from tests.support.http_exchange import Exchange
from tests.support.images import build_image, write_layout
from tests.support.made_bundles import connected
from tests.support.registry import EmulatedRegistry
from tests.support.registry_faults import Status

IMAGE = build_image(
    [*({str(n): os.urandom(3000)} for n in range(12)), {"large": os.urandom(3_000_000)}],
    compression="none",
)


class Slow(EmulatedRegistry):
    """Takes its time for each blob, and counts how many are asked for at once."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._now = 0
        self._counting = threading.Lock()

    def respond(self, exchange: Exchange) -> None:
        if "/blobs/" not in exchange.path:
            super().respond(exchange)
            return
        with self._counting:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(0.02)
        super().respond(exchange)
        with self._counting:
            self._now -= 1


def written(registry: EmulatedRegistry, path: Path, volume_size: int | None = None) -> None:
    """Write a bundle of the image in a registry."""
    with (
        connected() as registries,
        open_source(f"docker://{registry.host}/t/app:1", registries=registries) as opened,
        plan_bundle([opened], TransferOptions(attached=True, jobs=4)) as plan,
    ):
        if volume_size is None:
            write_bundle(plan, str(path))
        else:
            write_volumes(plan, str(path), volume_size)


@pytest.mark.parametrize("volume_size", [None, 1_200_000])
def test_several_are_fetched_at_once_and_each_once(tmp_path: Path, volume_size: int | None) -> None:
    with Slow() as registry:
        registry.add_image("t/app", IMAGE, "1")
        written(registry, tmp_path / "b.tar", volume_size)
        asked = [one.target for one in registry.requests("GET", "/blobs/")]
        small = [one.digest.hex for one in IMAGE.layers[:-1]]
        assert sorted(one[-64:] for one in asked if one[-64:] in small) == sorted(small)
        assert registry.most >= 3
    assert verified(*tmp_path.glob("b*.tar")).sound


def test_the_bytes_are_those_of_the_image_in_another_place(tmp_path: Path) -> None:
    with Slow() as registry:
        registry.add_image("t/app", IMAGE, "1")
        written(registry, tmp_path / "far.tar")
        layout = write_layout(tmp_path / "layout", {f"{registry.host}/t/app:1": IMAGE})
        with (
            open_source(f"oci:{layout}") as opened,
            plan_bundle([opened], TransferOptions(attached=True)) as plan,
        ):
            assert plan.ahead == 0
            write_bundle(plan, str(tmp_path / "near.tar"))
    # What was asked for what is attached differs, so the lists do.
    verified_far, verified_near = verified(tmp_path / "far.tar"), verified(tmp_path / "near.tar")
    assert verified_far.listing.blobs == verified_near.listing.blobs
    assert verified_far.sound
    assert verified_near.sound


def test_a_failure_ends_it_with_that_error_and_leaves_no_file(tmp_path: Path) -> None:
    with Slow() as registry:
        registry.add_image("t/app", IMAGE, "1")
        registry.fail("GET", str(IMAGE.layers[5].digest), Status(status=500), times=99)
        with pytest.raises(OcitoolError, match="500"):
            written(registry, tmp_path / "b.tar")
    assert [*tmp_path.iterdir()] == []
