"""Read a bundle although some of its bytes are damaged: from other copies, or by the parity."""

import functools
from collections.abc import Callable, Iterator
from typing import Concatenate, Final, ParamSpec, TypeVar

from msgspec import Struct

from ocitool.bundles.extents import cut_files
from ocitool.bundles.files import BundleSet
from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import IntegrityError
from ocitool.events import SILENT, Observer
from ocitool.oci.amounts import counted
from ocitool.operations.bundle.damage import Checked, Damage, check_files

_TOLD: Final = 3

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class Mended(Struct, frozen=True, kw_only=True):
    """A bundle without what is damaged in it, and what that was.

    `rebuilt` are the numbers of volumes, lost or damaged, of which the parity gave back each byte.
    """

    bundle: BundleSet
    damage: tuple[Damage, ...]
    rebuilt: tuple[int, ...]


def mended(bundle: BundleSet, *, jobs: int = DEFAULT_JOBS, observer: Observer = SILENT) -> Mended:
    """Check every byte of a bundle's files, and return it without those that are damaged.

    A member that is damaged in one copy is read from another one. Where a volume has no sound copy
    and the parity volume is here, what that gives back is checked and used as a further copy.
    """
    files = BundleSet(bundle.files)
    checked = check_files(files, jobs, observer)
    damaged = {number for number, _ in checked.damage}
    spares = [files.rebuild(number, damaged) for number in files.numbers_without(damaged)]
    found = [spare for spare in spares if spare is not None]
    again = check_files(BundleSet(found), jobs, observer) if found else Checked()
    bad = {number for number, _ in again.damage}
    behind = len(files.all_files)
    return Mended(
        bundle=BundleSet(
            [*files.all_files, *found],
            checked.unsound | {(behind + number, path) for number, path in again.unsound},
            is_checked=True,
        ),
        damage=tuple(one for _, one in checked.damage),
        rebuilt=tuple(spare.number for n, spare in enumerate(found) if n not in bad),
    )


def mending(
    run: Callable[Concatenate[BundleSet, _Arguments], _Result],
) -> Callable[Concatenate[BundleSet, _Arguments], _Result]:
    """Let a function that reads a bundle run once more, without what is damaged, if it has spares.

    Nothing is checked before the first run: who has sound files reads them once. Cut files are
    named in any case.
    """

    @functools.wraps(run)
    def run_again(
        bundle: BundleSet, /, *arguments: _Arguments.args, **options: _Arguments.kwargs
    ) -> _Result:
        given = options.get("observer", SILENT)
        observer = given if isinstance(given, Observer) else SILENT
        for message in (*cut_files(bundle), *_given_back(bundle)):
            observer.warn(message)
        try:
            return run(bundle, *arguments, **options)
        except IntegrityError:
            if not can_be_mended(bundle, options.get("beside") or ()):
                raise
        found = mended(bundle, observer=observer)
        _tell(found, observer)
        return run(found.bundle, *arguments, **options)

    return run_again


def _given_back(bundle: BundleSet) -> Iterator[str]:
    """Yield which volumes are not here and yet nothing of them is lost."""
    for number in bundle.lost_volumes:
        if number in bundle.rebuilt_volumes:
            yield f"volume {number} of {bundle.volumes} is missing: the parity volume gives it back"


def can_be_mended(bundle: BundleSet, beside: object = ()) -> bool:
    """Tell whether damage may be passed over by reading a bundle once more.

    Its volumes, its parity or the bundles beside it may have what is damaged.
    """
    return (bundle.has_spares or bool(beside)) and not bundle.is_checked


def _tell(found: Mended, observer: Observer) -> None:
    """Name what is damaged, which is now read from elsewhere or left out."""
    for one in found.damage[:_TOLD]:
        observer.warn(one.message)
    if len(found.damage) > _TOLD:
        rest = len(found.damage) - _TOLD
        are = "is" if rest == 1 else "are"
        observer.warn(f"… and {counted(rest, 'more member')} {are} damaged")
