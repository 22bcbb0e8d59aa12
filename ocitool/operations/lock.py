"""lock: which digests names stand for at this moment, in registries or in the store."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from msgspec import Struct

from ocitool.concurrency import DEFAULT_JOBS, Stop, run_all
from ocitool.errors import NotFound, OcitoolError, UsageError
from ocitool.images.lookup import ImageFinder
from ocitool.images.opening import open_store
from ocitool.oci import Digest, Reference
from ocitool.oci.quoting import quoted
from ocitool.places.registry import Registries, Repository


class Locked(Struct, frozen=True, kw_only=True):
    """A name as it was asked for, and the image that it stands for, by its digest."""

    asked: str
    image: Reference

    @property
    def name(self) -> str:
        """The full name, without the digest where there is a tag."""
        return self.image.name

    @property
    def digest(self) -> Digest:
        """The digest of the manifest or index."""
        if self.image.digest is None:
            raise ValueError(f"{self.asked} was not resolved")
        return self.image.digest


Outcome = Locked | OcitoolError
_Asked = TypeVar("_Asked", str, Reference)


def lock_in_registries(
    references: Sequence[Reference], registries: Registries, *, jobs: int = DEFAULT_JOBS
) -> list[Outcome]:
    """Return what each name stands for in its registry, in their order, or why it is not known.

    Costs one request for each name; nothing is fetched.
    """

    def one(reference: Reference) -> Locked:
        repository = Repository.of(registries, reference)
        found = repository.head(reference)
        if found is None:
            raise NotFound(
                f"{reference.familiar} does not exist",
                hint=f"`ocitool registry tags {reference.familiar_repository}` lists the tags",
            )
        return Locked(asked=reference.familiar, image=reference.with_digest(found.digest))

    return _each(references, one, jobs)


def lock_in_store(names: Sequence[str], store: str) -> list[Outcome]:
    """Return what each name stands for in the store, in their order, or why it is not known.

    An ID means the image by its first name; UsageError when it has none.
    """
    with open_store(store) as layout:
        finder = ImageFinder(layout)

        def one(text: str) -> Locked:
            found = finder.find(text)
            name = found.name or next(iter(found.root.names), None)
            if name is None or found.whole is not None:
                raise UsageError(
                    f"{quoted(text)} has no name, and a lock says where an image is pulled from",
                    hint="give it one with `ocitool tag`",
                )
            image = Reference.parse(name).with_digest(found.root.descriptor.digest)
            return Locked(asked=text, image=image)

        return _each(names, one, 1)


def _each(asked: Sequence[_Asked], one: Callable[[_Asked], Locked], jobs: int) -> list[Outcome]:
    outcomes: dict[int, Outcome] = {}

    def task(number: int, what: _Asked, stop: Stop) -> None:
        stop.check()
        try:
            outcomes[number] = one(what)
        except OcitoolError as error:
            # The others are asked all the same, so that all that fail are told at once.
            outcomes[number] = error

    tasks = [partial(task, number, what) for number, what in enumerate(asked)]
    run_all(tasks, jobs)
    return [outcomes[number] for number in range(len(asked))]
