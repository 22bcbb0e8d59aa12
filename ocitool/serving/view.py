"""All repositories at one moment: what index.json and the archives say, by repository."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from msgspec import Struct

from ocitool.errors import UsageError
from ocitool.oci import Descriptor, Digest
from ocitool.oci.reference import Reference, is_tag
from ocitool.serving.names import NameRules, by_path
from ocitool.serving.shelves import Offer, Shelf


class ServedRepository(Struct, frozen=True, kw_only=True):
    """One repository: its tags, and every manifest that it has by itself."""

    name: str
    tags: dict[str, Digest]
    roots: dict[Digest, Descriptor]


class View(Struct, frozen=True, kw_only=True):
    """The repositories by their full names.

    `loose` are manifests that belong to no repository by themselves, such as signatures: they are
    in each that has what they are attached to. `paths` are the repositories by their paths;
    `unreachable` says which images have no name that a client could ask for.
    """

    repositories: Mapping[str, ServedRepository]
    loose: Mapping[Digest, Descriptor]
    paths: Mapping[str, Sequence[str]]
    unreachable: tuple[str, ...] = ()


def build_view(shelves: Iterable[tuple[Shelf, Sequence[Offer]]], rules: NameRules) -> View:
    """Sort what the places offer into repositories; of two images with one name the first counts.

    An image whose name is only a tag is in a repository that is called like its place.
    """
    found: dict[str, ServedRepository] = {}
    loose: dict[Digest, Descriptor] = {}
    unreachable: list[str] = []
    for shelf, offers in shelves:
        for offer in offers:
            homes = list(_homes(shelf, offer, rules, unreachable))
            for name, tag in homes:
                if rules.serves(name):
                    _put(found, name, tag, offer.descriptor)
            if not homes:
                loose.setdefault(offer.descriptor.digest, offer.descriptor)
    return View(
        repositories=found,
        loose=loose,
        paths=by_path(found),
        unreachable=tuple(unreachable),
    )


def _put(
    found: dict[str, ServedRepository], name: str, tag: str | None, descriptor: Descriptor
) -> None:
    repository = found.get(name)
    if repository is None:
        repository = found[name] = ServedRepository(name=name, tags={}, roots={})
    if tag is not None and repository.tags.setdefault(tag, descriptor.digest) != descriptor.digest:
        return
    repository.roots.setdefault(descriptor.digest, descriptor)


def _homes(
    shelf: Shelf, offer: Offer, rules: NameRules, unreachable: list[str]
) -> Iterable[tuple[str, str | None]]:
    """Yield the repositories of an image, each with its tag there or None."""
    for name in offer.names:
        reference = _reference(name)
        if reference is not None:
            yield reference.repository, reference.tag
        else:
            unreachable.append(name)
    for repository in offer.repositories:
        yield repository, None
    if not offer.names and offer.label is not None:
        name = f"{rules.host}/{called_like(shelf.what)}"
        if is_tag(offer.label):
            yield name, offer.label
        else:
            unreachable.append(offer.label)


def called_like(path: str) -> str:
    """Return a repository name that is made of the last part of a path."""
    last = path.rstrip("/").rpartition("/")[2].lower()
    for ending in (".gz", ".zst", ".tar", ".tgz", ".oci"):
        last = last.removesuffix(ending)
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in last)
    return "-".join(part for part in kept.split("-") if part) or "image"


@lru_cache(maxsize=1 << 15)
def _reference(name: str) -> Reference | None:
    try:
        return Reference.parse(name)
    except UsageError:
        return None
