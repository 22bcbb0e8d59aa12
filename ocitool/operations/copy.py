"""copy: images from any place to any other."""

import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ocitool.bundles.mapping import Below
from ocitool.errors import NotFound, UsageError
from ocitool.events import SILENT, Observer
from ocitool.image.content import Root
from ocitool.images.hints import check_kind
from ocitool.images.locations import FILES, Place, PlaceKind, parse_place, refuse_bare_host
from ocitool.images.lookup import find_image, new_name
from ocitool.images.opening import Opened, connected, one_root, open_source, with_attached
from ocitool.oci import Platform, Reference
from ocitool.oci.quoting import quoted
from ocitool.oci.reference import typed_host
from ocitool.operations.deliver import deliver
from ocitool.operations.load import load
from ocitool.operations.push_report import OnExisting, PushReport
from ocitool.operations.save import NOT_WRITTEN, check_file_name
from ocitool.places.layout import Layout
from ocitool.transfer.pipeline import TransferOptions
from ocitool.transfer.report import CopyReport

if TYPE_CHECKING:
    from ocitool.places.registry import Registries
    from ocitool.places.registry.known_blobs import KnownBlobs

_FILE_ENDINGS = (".tar", ".gz", ".tgz", ".zst", ".tzst", *NOT_WRITTEN)


def copy(
    source: str | Place,
    destination: str | Place,
    options: TransferOptions | None = None,
    *,
    store: str | None = None,
    registries: "Registries | None" = None,
    on_existing: OnExisting = OnExisting.OVERWRITE,
    observer: Observer = SILENT,
) -> CopyReport:
    """Copy images from any place to any other, such as "docker://A" to "docker://B".

    If the source names no image, everything in it is copied. `store` is the folder of the store,
    for images in it; `registries` says how registries are reached. Idempotent: what the
    destination has is not sent. Raises what the two places raise, and UsageError for a place that
    cannot be written.
    """
    chosen = options or TransferOptions()
    target = parse_place(destination) if isinstance(destination, str) else destination
    check_writable(target)
    check_store_name(target, store)
    with contextlib.ExitStack() as stack:
        opened = stack.enter_context(
            open_source(source, store=store, scratch=chosen.scratch, registries=registries)
        )
        if target.kind is PlaceKind.SSH:
            from ocitool.operations.bundle.send import send

            return send([opened], target, chosen, observer=observer)
        images = with_attached(opened) if chosen.attached else opened
        if target.kind is not PlaceKind.REGISTRY:
            return copy_to_place(images, target, chosen, store=store, observer=observer)
        reached = stack.enter_context(connected(registries))
        pushed = copy_to_registry(
            images, target, reached, chosen, on_existing=on_existing, observer=observer
        )
    return CopyReport(
        images=tuple(report.image for report in pushed),
        attached=sum(report.attached for report in pushed),
        conversions=pushed[0].conversions,
        transfer=pushed[0].transfer,
    )


def check_writable(target: Place) -> None:
    """Refuse a destination that cannot be written, or an image name that looks like a file."""
    text = target.text
    check_kind(target, is_new=True)
    if target.kind in FILES:
        check_file_name(target.path)
    if target.kind is PlaceKind.FOLDER:
        raise UsageError("the dir: form is read only", hint=f"write oci:{target.path} instead")
    looks_like_a_file = os.path.exists(text) or text.endswith((*_FILE_ENDINGS, "/"))
    if text == target.name and looks_like_a_file:
        raise UsageError(
            f"{text!r} would be the name of an image in the store",
            hint=f"for a file write ./{text}, for the name store:{text}",
        )


def check_store_name(target: Place, store: str | None) -> None:
    """Refuse a new name in the store that begins with a registry: it looks as if it were pushed.

    After store: it is meant, and so it is when the store has the name already.
    """
    name = target.name
    if target.kind is not PlaceKind.STORE or name is None or target.text != name:
        return
    refuse_bare_host(name, "docker://")
    if typed_host(name) is not None and not (store is not None and _is_stored(name, store)):
        raise UsageError(
            f"{quoted(name)} begins with a registry, but without docker:// it is only a name "
            "in the store, and nothing would be pushed",
            hint=f"write docker://{name} to push it, or store:{name} to name it in the store",
        )


def _is_stored(name: str, store: str) -> bool:
    try:
        with Layout.existing(store) as layout:
            return find_image(layout, name).name is not None
    except NotFound:
        return False


def copy_to_registry(
    opened: Opened,
    target: Place,
    registries: "Registries",
    options: TransferOptions,
    *,
    on_existing: OnExisting = OnExisting.OVERWRITE,
    observer: Observer = SILENT,
    known: "KnownBlobs | None" = None,
    replacing: str | None = None,
) -> list[PushReport]:
    """Push what is open to the name that a place of a registry means, or below its prefix.

    See `push`.
    """
    from ocitool.operations.push import push

    return push(
        opened.source,
        opened.roots,
        destinations(target),
        registries,
        options,
        on_existing=on_existing,
        observer=observer,
        known=known,
        replacing=replacing,
    )


def destinations(target: Place, *, flatten: bool = False) -> list[Reference] | Below:
    """Return where a copy to a registry goes: to one name, or below `docker://HOST/PREFIX/`."""
    if target.name is None:
        return Below.parse(target.path, flatten=flatten)
    if flatten:
        raise UsageError("--flatten goes with docker://HOST/PREFIX/, with a slash at its end")
    return [Reference.parse(target.name)]


def copy_to_place(
    opened: Opened,
    target: Place,
    options: TransferOptions,
    *,
    store: str | None = None,
    featured: Platform | None = None,
    write: Callable[[bytes], object] | None = None,
    observer: Observer = SILENT,
) -> CopyReport:
    """Copy the open images to a layout, an archive or an engine, under the name in `target`.

    See `load` and `deliver`.
    """
    if target.kind not in (PlaceKind.STORE, PlaceKind.LAYOUT):
        return deliver(
            opened.source,
            _name_roots(opened, target),
            target,
            options,
            featured=featured,
            write=write,
            observer=observer,
        )
    is_store = target.kind is PlaceKind.STORE
    path = store if is_store else target.path
    if path is None:
        raise UsageError("a copy into the store needs the store's folder")
    name = new_name(target.name) if is_store and target.name else target.name
    with Layout.create(path, store=is_store, observer=observer) as layout:
        named = replace(options, name=name)
        return load(opened.source, layout, named, roots=opened.roots, observer=observer)


def _name_roots(opened: Opened, target: Place) -> list[Root]:
    """Return the roots under the name that the destination gives, if it gives one."""
    if not target.name:
        return list(opened.roots)
    bare = target.kind is PlaceKind.OCI_ARCHIVE and not {"/", ":"} & set(target.name)
    names = () if bare else (new_name(target.name),)
    return [replace(one_root(opened), names=names, label=target.name if bare else None)]
