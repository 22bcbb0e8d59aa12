"""Write a planned bundle: as one file, or as volumes of a given size."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct

from ocitool.bundles.extents import located
from ocitool.bundles.files import BundleFile
from ocitool.bundles.objects import ObjectAddress, ObjectOutput, is_object
from ocitool.bundles.parity import parity_pieces
from ocitool.bundles.trust import SIDECAR
from ocitool.bundles.volumes import (
    Cutter,
    Piece,
    VolumePlan,
    covered_by,
    parity_name,
    parity_plan,
    plan_volumes,
    volume_name,
)
from ocitool.errors import OcitoolError
from ocitool.fsops import OutputFile, remove_output
from ocitool.oci import Digest
from ocitool.operations.bundle.ahead import reading_ahead
from ocitool.operations.bundle.create import BundlePlan
from ocitool.operations.bundle.damage import is_intact
from ocitool.places.archive.sections import Section, tar_pieces


class Written(Struct, frozen=True, kw_only=True):
    """A file of a bundle; `kept` when it was there already, whole, from an earlier run."""

    path: str
    size: int
    kept: bool = False


def write_bundle(plan: BundlePlan, path: str, *, signature: bytes | None = None) -> Written:
    """Write a bundle to a file that appears whole or not at all."""
    return _write(path, plan.pieces(signature), plan)


def stream_bundle(
    plan: BundlePlan, write: Callable[[bytes], object], *, signature: bytes | None = None
) -> int:
    """Write a bundle through `write`; return its bytes."""
    written = 0
    for piece in plan.pieces(signature):
        write(piece)
        written += len(piece)
    return written


def write_volumes(
    plan: BundlePlan,
    path: str,
    limit: int,
    *,
    signature: bytes | None = None,
    parity: bool = False,
) -> list[Written]:
    """Write a bundle as volumes of at most `limit` bytes, next to where `path` would be.

    With `parity` one more volume follows, from which any one of them is made again. A volume that
    is there already, whole and the same, is kept. UsageError for too small a limit.
    """
    volumes = plan_volumes(
        plan.contents, signature, limit, lambda parts: _digests(plan, parts), parity=parity
    )
    names = [volume_name(path, one.volume.volume, one.volume.of) for one in volumes]
    found = []
    with contextlib.closing(Cutter(plan.open_blob)) as cutter:
        total = sum(section.size for one in volumes for section in one.sections)
        with plan.observer.work("writing volumes", total):
            for name, volume in zip(names, volumes, strict=True):
                kept = _size_if_there(name, volume)
                if kept is not None:
                    plan.observer.advance(sum(section.size for section in volume.sections))
                    found.append(Written(path=name, size=kept, kept=True))
                else:
                    found.append(_write(name, _pieces(plan, volume, cutter), plan))
    if parity:
        found.append(_write_parity(plan, parity_name(path), names, volumes, signature))
    return found


def _write_parity(
    plan: BundlePlan,
    path: str,
    names: Sequence[str],
    volumes: Sequence[VolumePlan],
    signature: bytes | None,
) -> Written:
    """Write the parity of volumes that are there.

    They are read twice: what a volume says of itself, its digests included, stands at its
    beginning, and an object cannot be written but in its order.
    """
    covers = [covered_by(volume) for volume in volumes]
    size = max(one.size for one in covers)
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(BundleFile.open(name)).read_at for name in names]

        def pieces() -> Iterator[bytes]:
            for piece in parity_pieces(files, size):
                plan.observer.advance(len(piece))
                yield piece

        with plan.observer.work("writing the parity volume", 2 * size):
            parity = parity_plan(plan.contents, signature, covers, _digest(pieces()))
            kept = _size_if_there(path, parity)
            if kept is not None:
                return Written(path=path, size=kept, kept=True)
            return _write(path, tar_pieces(parity.sections, lambda _: pieces()), plan)


def _digest(pieces: Iterator[bytes]) -> Digest:
    hasher = hashlib.sha256()
    for piece in pieces:
        hasher.update(piece)
    return Digest("sha256", hasher.hexdigest())


def _pieces(plan: BundlePlan, volume: VolumePlan, cutter: Cutter) -> Iterator[bytes]:
    parts = {path for path, piece in volume.pieces.items() if piece.is_part}
    wholes = [section for section in volume.sections if section.path not in parts]
    with reading_ahead(plan.open_blob, wholes, plan.ahead) as whole:

        def read(section: Section) -> Iterable[bytes]:
            if section.path in parts:
                return cutter.read(volume.pieces[section.path])
            return whole(section)

        yield from tar_pieces(volume.sections, read)


def _digests(plan: BundlePlan, parts: Sequence[Piece]) -> list[Digest]:
    """Return the digests of the parts of one blob, which is read once and verified."""
    found = []
    with (
        plan.observer.work("reading a blob that is larger than a volume", parts[0].blob.size),
        contextlib.closing(Cutter(plan.open_blob)) as cutter,
    ):
        for part in parts:
            hasher = part.blob.digest.hasher()
            for data in cutter.read(part):
                hasher.update(data)
            found.append(Digest.from_hasher(part.blob.digest.algorithm, hasher))
    return found


def _size_if_there(path: str, volume: VolumePlan) -> int | None:
    """Return the size of a file that is this volume, whole, as an earlier run may have left it."""
    if not is_object(path) and not os.path.isfile(path):
        return None
    try:
        with BundleFile.open(path) as file:
            same = [section[:2] for section, _ in located(file)] == [s[:2] for s in volume.sections]
            return file.size if same and is_intact(file) else None
    except OcitoolError:
        return None


def _write(path: str, pieces: Iterator[bytes], plan: BundlePlan) -> Written:
    output = ObjectOutput(ObjectAddress(path)) if is_object(path) else OutputFile(path)
    try:
        for piece in pieces:
            output.write(piece)
        stale = _other_signature(path, plan.contents.raw)
        if stale is not None and remove_output(stale):
            plan.observer.warn(f"removed {stale}: it signed another bundle of this name")
        output.publish()
    finally:
        output.close()
    return Written(path=path, size=output.written)


def _other_signature(path: str, raw: bytes) -> str | None:
    """Return the signature beside a bundle that is replaced, unless that has the same list."""
    beside = f"{path}{SIDECAR}"
    if is_object(path) or not os.path.isfile(beside):
        return None
    try:
        with BundleFile.open(path) as before:
            return None if before.head.raw == raw else beside
    except OcitoolError:
        return beside
