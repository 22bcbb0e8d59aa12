"""pull through the mirrors of this machine: they are asked first, the registry itself last."""

from collections.abc import Sequence

from ocitool.errors import NotFound, OcitoolError, StorageError, Unavailable
from ocitool.events import SILENT, Observer
from ocitool.oci import Reference
from ocitool.operations.pull import pull
from ocitool.places.layout import Writing
from ocitool.places.registry import Registries, Repository
from ocitool.places.registry.listing import tags
from ocitool.places.registry.mirrors.finding import repositories
from ocitool.transfer.pipeline import TransferOptions
from ocitool.transfer.report import CopyReport


class MirroredPulls:
    """Pulls from the first place that has an image, and remembers which places do not answer.

    `observer` hears which mirror gave an image, and why another one did not. Content is verified
    wherever it comes from; a blob that is wrong there is fetched from the next place.
    """

    def __init__(
        self, registries: Registries, observer: Observer = SILENT, *, asks_mirrors: bool = True
    ) -> None:
        self._registries = registries
        self._asks_mirrors = asks_mirrors
        self._observer = observer
        self._silent: set[str] = set()

    def tags(self, reference: Reference) -> list[str]:
        """Return the tags of a repository, as the first place that answers lists them."""
        places = self._places(reference)
        for place in places:
            try:
                return tags(place.session)
            except OcitoolError as error:
                if place is places[-1]:
                    raise
                self._pass_over(place, error)
        raise NotFound(f"there is no place to ask for {reference.familiar_repository}")

    def pull(
        self,
        writing: Writing,
        references: Sequence[Reference],
        options: TransferOptions | None = None,
    ) -> CopyReport:
        """Pull images of one repository; raises what its registry itself raises. See `pull`."""
        places = self._places(references[0])
        for place in places:
            try:
                report = pull(place, writing, references, options, observer=self._observer)
            except OcitoolError as error:
                if place is places[-1] or isinstance(error, StorageError):
                    raise
                self._pass_over(place, error)
                continue
            if place.name != place.known_as:
                self._observer.remark(f"{references[0].familiar} came from {place.name}")
            return report
        raise NotFound(f"there is no place to ask for {references[0].familiar}")

    def _places(self, reference: Reference) -> list[Repository]:
        if not self._asks_mirrors:
            return [Repository.of(self._registries, reference)]
        found = repositories(self._registries, reference)
        return [place for place in found[:-1] if place.name not in self._silent] + found[-1:]

    def _pass_over(self, place: Repository, error: OcitoolError) -> None:
        """Tell why a mirror is left for the next place; the work ends where it was stopped."""
        if self._registries.stopped:
            raise error
        if isinstance(error, Unavailable):
            self._silent.add(place.name)
        tell = self._observer.remark if isinstance(error, NotFound) else self._observer.warn
        tell(f"the mirror {place.name} was passed over: {error.message}")
