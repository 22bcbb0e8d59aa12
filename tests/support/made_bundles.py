"""Bundles for tests, made of built images by the code under test, and what a place holds."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ocitool.bundles.files import BundleSet, open_bundles
from ocitool.bundles.inventory import Base, Need, base_of_list
from ocitool.images.opening import open_source
from ocitool.operations.bundle.create import plan_bundle
from ocitool.operations.bundle.write import write_bundle, write_volumes
from ocitool.places.archive.bundle import BundleList
from ocitool.places.registry import Registries
from ocitool.transfer.pipeline import TransferOptions
from tests.places.registry.pushes import options
from tests.support.images import Built, write_layout


def made(
    path: Path,
    images: Mapping[str, Built],
    attached: Sequence[Built] = (),
    *,
    base: "Sequence[Path | Base] | None" = None,
    need: Need | None = None,
    volume_size: int | None = None,
    parity: bool = False,
) -> Path:
    """Write a bundle of some images; `base` are bundles that the other side has, or inventories."""
    layout = write_layout(path.with_suffix(".layout"), images, attached)
    known = None
    for one in base or ():
        found = one if isinstance(one, Base) else base_of(one)
        known = found if known is None else known | found
    with (
        open_source(f"oci:{layout}") as opened,
        plan_bundle([opened], TransferOptions(attached=True), base=known, need=need) as plan,
    ):
        if volume_size is not None:
            write_volumes(plan, str(path), volume_size, parity=parity)
        else:
            write_bundle(plan, str(path))
    return path


def base_of(path: Path) -> Base:
    """Return what a place has that took a bundle."""
    with opened(path) as one:
        return base_of_list(one.head.listing, one.head.digest)


def list_of(path: Path) -> BundleList:
    """Return the list of a bundle."""
    with opened(path) as one:
        return one.head.listing


@contextlib.contextmanager
def opened(*paths: Path) -> Iterator[BundleSet]:
    """Open the files of one bundle."""
    with open_bundles([str(path) for path in paths]) as found:
        (one,) = found
        yield one


@contextlib.contextmanager
def connected(**more: object) -> Iterator[Registries]:
    """Open registries under which nothing waits long."""
    with Registries(options(**more), environment={}) as registries:
        yield registries


def tree(folder: Path) -> dict[str, bytes | None]:
    """Return all that is below a folder: the bytes of files by path, None for folders."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
    }
