"""Which images a file names: a list of names, YAML or JSON of Kubernetes, compose and others."""

from typing import Final

from ocitool.bundles.names.found import NamedImage, NamesFound, NoImage
from ocitool.bundles.names.lines import is_list, names_in_list, text_of

_HOW: Final = (
    "images stand in a list, one a line, in containers of Kubernetes, services of compose, "
    "images of a Kustomization, or a lock"
)
_RENDER: Final = "it may change images of other files; render first: kubectl kustomize DIR"


def names_in(data: bytes, what: str, *, include_candidates: bool = False) -> NamesFound:
    """Return the images that a file names; `what` is the file's name for messages.

    A list has one name a line; that it is one is all that is checked. In YAML and JSON the images
    are those of containers and image volumes of Kubernetes at any depth, of the services of
    compose, of the `images` of a Kustomization, and of imgpkg's ImagesLock. Other values that look
    like images are candidates, and become images only with `include_candidates`.

    NoImage for a file without an image; UsageError for a template that is not filled in, a value in
    such a place that is no name, and for what is not UTF-8 or too long; MalformedDocument for other
    text than YAML; LimitExceeded for YAML that is too deep or has too many values.
    """
    text = text_of(data, what)
    if is_list(text):
        images = tuple(names_in_list(text, what))
        if not images:
            raise NoImage(f"the list {what!r} holds no names", hint=_HOW)
        return NamesFound(what=what, images=images)
    return _of_yaml(text, what, include_candidates=include_candidates)


def _of_yaml(text: str, what: str, *, include_candidates: bool) -> NamesFound:
    from ocitool.bundles.names.positions import Document
    from ocitool.bundles.names.tree import documents
    from ocitool.bundles.names.values import ImageReader

    reader = ImageReader(text, what)
    images: list[NamedImage] = []
    candidates: list[NamedImage] = []
    hint = _HOW
    for document in map(Document, documents(text, what)):
        images += reader.images(document)
        candidates += reader.candidates(document)
        if document.is_kustomization:
            hint = _RENDER
    if include_candidates:
        images, candidates = _sorted([*images, *candidates]), []
    if not images:
        if candidates:
            count = f"{len(candidates)} values look" if len(candidates) > 1 else "one value looks"
            hint = f"{count} like an image: --include-candidates takes such values"
        raise NoImage(f"{what} names no image", hint=hint)
    return NamesFound(what=what, images=tuple(images), candidates=tuple(candidates))


def _sorted(images: list[NamedImage]) -> list[NamedImage]:
    return sorted(images, key=lambda image: (image.line, image.column))
