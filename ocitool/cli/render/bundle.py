"""What the commands about bundles print."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ocitool.cli.render import console
from ocitool.cli.render.columns import counted, size, stacked
from ocitool.cli.render.texts import familiar

if TYPE_CHECKING:
    from ocitool.bundles.files import BundleSet
    from ocitool.operations.bundle.check import CheckReport
    from ocitool.operations.bundle.load import Loaded
    from ocitool.operations.bundle.verify import BundleReport
    from ocitool.operations.bundle.write import Written
    from ocitool.places.archive.bundle import BundleImage, BundleList
    from ocitool.transfer.report import CopyReport

_SHOWN = 20
_FILES_SHOWN = 5


def called(name: str) -> str:
    """Return the name of an image as it is shown: short, or its digest."""
    return console.safe(name if name.startswith("sha256:") else familiar(name))


def written_lines(written: "Sequence[Written]") -> Iterator[str]:
    """Yield the files that were written."""
    for file in written:
        yield f"{console.safe(file.path)}{' (kept)' if file.kept else ''}"


def made(written: "Sequence[Written]", listing: "BundleList", seconds: float) -> str:
    """Return the summary of a bundle that was made, or that would be."""
    total = sum(file.size for file in written)
    kind = "delta" if listing.is_delta else "bundle"
    images = counted(len(listing.names), "image")
    attached = len({one.digest for image in listing.images for one in image.attached})
    extra = f" and {counted(attached, 'attached artifact')}" if attached else ""
    left = sum(blob.size for blob in listing.requires)
    out = f"; {counted(len(listing.requires), 'blob')} ({size(left)}) left out" if left else ""
    if not written:
        return f"nothing was written; a {kind} of {images}{extra} has {size(listing.size)}{out}"
    return f"wrote a {kind} of {images}{extra}: {size(total)} in {seconds:.1f} s{out}"


def in_folders(paths: Sequence[str], found: "Sequence[BundleSet]") -> Iterator[str]:
    """Yield, for each folder that was named, which of its files are bundles or volumes of them."""
    for folder in (path for path in paths if os.path.isdir(path)):
        names = [
            os.path.basename(file.what)
            for one in found
            for file in one.files
            if os.path.dirname(file.what) == folder.rstrip("/")
        ]
        listed = ", ".join(map(console.safe, names[:_FILES_SHOWN]))
        more = f" and {len(names) - _FILES_SHOWN} more" if len(names) > _FILES_SHOWN else ""
        count = counted(len(names), "file")
        yield f"{console.safe(folder)}: {count} of {counted(len(found), 'bundle')}: {listed}{more}"


def gaps(images: "Sequence[BundleImage]") -> Iterator[str]:
    """Yield, for each image that is not complete, what of it could not be had."""
    for image in images:
        for digest in image.closure.missing:
            yield f"{called(image.called)} is incomplete: {digest} could not be had"


def shown(bundle: "BundleSet") -> Iterator[str]:
    """Yield what is in a bundle, without reading its blobs."""
    listing, lost = bundle.head.listing, lost_here(bundle)
    rows = [
        (
            called(image.called),
            image.digest.partition(":")[2][:12],
            console.safe(",".join(image.platforms)) or "-",
            str(len(image.attached)) if image.attached else "-",
            "yes" if image.closure.complete and image.called not in lost else "no",
        )
        for image in listing.images
    ]
    header = ("NAME", "DIGEST", "PLATFORMS", "ATTACHED", "COMPLETE")
    yield from stacked(header, rows, width=console.terminal_width())
    for number in bundle.lost_volumes:
        yield f"missing: volume {number} of {bundle.volumes}"
    for name in lost:
        yield f"lost: {called(name)}"
    inside = sum(blob.size for blob in listing.blobs)
    yield f"{_kind(bundle)}: {counted(len(listing.blobs), 'blob')} of {size(inside)}"
    if listing.requires:
        left = sum(blob.size for blob in listing.requires)
        yield f"it requires {counted(len(listing.requires), 'blob')} of {size(left)}"
    for digest in listing.builds_on:
        yield f"builds on the bundle with the list {digest}"
    yield f"signature: {signature_of(bundle) or 'none'}"
    yield f"list: {bundle.head.digest}"


def lost_here(bundle: "BundleSet") -> list[str]:
    """Return what the images are called of which a blob is in none of the files that are here."""
    from ocitool.bundles.extents import open_set
    from ocitool.operations.bundle.check import outside_of

    listing = bundle.head.listing
    with open_set(bundle) as archive:
        lost = {str(blob.digest) for blob in outside_of(listing, archive).lost}
    needed_by = listing.needed_by() if lost else {}
    names = {name for digest in lost for name in needed_by.get(digest, ())}
    return [name for name in listing.names if name in names]


def signature_of(bundle: "BundleSet") -> str | None:
    """Return where the signature of a bundle is, which nothing has checked; None without one."""
    from ocitool.bundles.trust import signature_beside

    if bundle.head.signature is not None:
        return "inside"
    beside = signature_beside(bundle.files)
    return console.safe(beside) if beside is not None else None


def unchecked(bundle: "BundleSet") -> list[str]:
    """Return that nothing has checked the signature of a bundle, if it has one."""
    by = signature_of(bundle)
    if by is None:
        return []
    return [f"{bundle.what} is signed ({by}); --allowed-signers F --identity I checks that"]


def _kind(bundle: "BundleSet") -> str:
    kind = bundle.head.listing.kind
    if not bundle.volumes:
        return f"{kind} bundle"
    have = bundle.volumes - len(bundle.lost_volumes)
    parity = ", and their parity" if bundle.has_parity else ""
    return f"{kind} bundle in {counted(bundle.volumes, 'volume')}, {have} of them here{parity}"


def verified_lines(report: "BundleReport", what: str) -> Iterator[str]:
    """Yield what was found in a bundle; the last line is the verdict."""
    for damage in report.damage:
        needed = f"; needed by {_several(damage.images)}" if damage.images else ""
        yield f"{damage.kind}: {console.safe(damage.message)}{needed}"
    for number in report.lost_volumes:
        yield f"missing: volume {number} of {report.volumes}"
    for number in report.rebuilt_volumes:
        yield f"rebuilt: volume {number} of {report.volumes}, by the parity volume"
    for name in report.lost_images:
        yield f"lost: {called(name)}"
    for name in report.whole:
        yield f"sound: {called(name)}"
    if report.signer is not None:
        yield f"signed by {console.safe(report.signer)}"
    lost = sum(blob.size for blob in report.lost)
    word = "damaged" if report.damage else "incomplete"
    verdict = "sound" if report.sound else f"{word}, but no blob is lost: it can be loaded"
    if report.lost:
        verdict = f"{word}: {counted(len(report.lost), 'blob')} lost ({size(lost)})"
    kind = report.listing.kind
    rate = f", {size(round(report.size / report.seconds))}/s" if report.seconds else ""
    yield (
        f"{console.safe(what)}: {kind} bundle of {counted(len(report.listing.names), 'image')}, "
        f"{size(report.size)} in {report.seconds:.1f} s{rate}: {verdict}"
    )


def _several(names: Sequence[str]) -> str:
    others = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{called(names[0])}{others}"


def checked_lines(report: "CheckReport", what: str, place: str) -> Iterator[str]:
    """Yield whether a bundle can be applied, and what is lacking."""
    for blob in report.lacking[:_SHOWN]:
        why = "required" if blob.is_required else "in a volume that is not here"
        why = "damaged there" if blob.is_damaged else why
        yield f"lacking: {blob.digest} ({size(blob.size)}, {why}): {_several(blob.images)}"
    if len(report.lacking) > _SHOWN:
        yield f"… and {counted(len(report.lacking) - _SHOWN, 'more blob')}"
    if not report.applies:
        for digest in report.builds_on[:_SHOWN]:
            yield f"load the bundle with the list {digest} first"
    lacking = sum(blob.size for blob in report.lacking)
    verdict = f"can be applied to {console.safe(place)}"
    if report.lacking:
        count = counted(len(report.lacking), "blob")
        verdict = f"cannot be applied to {console.safe(place)}: {count} ({size(lacking)}) lacking"
        if report.applies:
            lost = counted(len(report.lost_images), "image")
            verdict = f"can be applied to {console.safe(place)} in part: {lost} lost"
    yield f"{console.safe(what)}: {verdict}"


def loaded_lines(report: "CopyReport") -> Iterator[str]:
    """Yield a line for each name that was loaded."""
    for image in report.images:
        for name in image.names or (str(image.digest),):
            yield f"Loaded image: {called(name)}"


def lost_lines(loaded: "Sequence[Loaded]") -> Iterator[str]:
    """Yield a line for each image that could not be loaded."""
    for one in loaded:
        for name in one.check.lost_images:
            yield f"lost: {called(name)}"


def how_to_complete(loaded: "Loaded", need_out: str | None) -> Iterator[str]:
    """Yield what is missing of a bundle of which images are lost, and how to bring it."""
    report = loaded.check
    if not report.lost_images:
        return
    if report.lost_volumes:
        numbers = ", ".join(map(str, report.lost_volumes[:_SHOWN]))
        more = " and more" if len(report.lost_volumes) > _SHOWN else ""
        word = "volume" if len(report.lost_volumes) == 1 else "volumes"
        yield f"missing: {word} {numbers}{more} of {report.volumes}"
    if loaded.kept_bytes:
        yield (
            f"kept {size(loaded.kept_bytes)} of these images: what is missing may come in another "
            "command, before the next `ocitool gc`"
        )
    if need_out is None:
        yield (
            "copy the files again, or have --need-out F write what a further bundle "
            "(`bundle create --need F`) has to bring"
        )
