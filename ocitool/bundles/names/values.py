"""The names that the values of a document make, and where in the text they stand."""

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from ocitool.bundles.lock import NAME_ANNOTATION
from ocitool.bundles.names.candidates import candidate_in
from ocitool.bundles.names.found import Entry, Form, NamedImage, Span, unrendered
from ocitool.bundles.names.lines import Lines
from ocitool.bundles.names.positions import Document, Position
from ocitool.bundles.names.tree import Fields, Items, Node, Scalar
from ocitool.errors import UsageError
from ocitool.oci import Reference
from ocitool.oci.quoting import quoted

_NAME, _NEW_NAME, _NEW_TAG, _DIGEST = _PARTS = ("name", "newName", "newTag", "digest")
_BLOCKS: Final = ("|", ">")
_FILL: Final = "docker compose config | ocitool … -f -"


class ImageReader:
    """Reads the images of the documents of one text."""

    def __init__(self, text: str, what: str) -> None:
        self._text = text
        self._what = what
        self._lines = Lines(text)
        # Where the values of the document at hand begin that a rule has used.
        self._used: set[int] = set()

    def images(self, document: Document) -> list[NamedImage]:
        """Return the images of a document in the order of the text, each place once.

        UsageError for a place that holds no name.
        """
        self._used = set()
        found: dict[tuple[int, int], NamedImage] = {}
        for position in document.positions():
            image = self._image(document, position)
            if image is not None:
                found.setdefault((image.line, image.column), image)
        return [found[place] for place in sorted(found)]

    def candidates(self, document: Document) -> list[NamedImage]:
        """Return what else looks like an image, in the order of the text; `images` comes first."""
        found: dict[int, NamedImage] = {}
        for node in document.collections():
            for key, scalar in _scalars(document, node):
                name = candidate_in(key, scalar.value)
                if name is not None and scalar.start not in self._used:
                    found.setdefault(scalar.start, self._named(scalar, name, "candidate"))
        return [found[start] for start in sorted(found)]

    def _image(self, document: Document, position: Position) -> NamedImage | None:
        form, node = position
        if form == "kustomize":
            return self._kustomized(document, node)
        if form == "lock":
            return self._locked(document, node)
        if isinstance(node, Scalar):
            return self._checked(self._named(node, node.value.strip(), form))
        if self._text.startswith("{{", node.start):
            raise unrendered(self._what, self._lines.place(node.start)[0])
        return None

    def _named(self, scalar: Scalar, name: str, form: Form) -> NamedImage:
        """Return the name that a value is or ends with."""
        self._used.add(scalar.start)
        span = self._span(scalar, name)
        line, column = self._lines.place(span.start)
        return NamedImage(name=name, line=line, column=column, form=form, slot=span)

    def _span(self, scalar: Scalar, part: str) -> Span:
        raw = self._text[scalar.start : scalar.end]
        # The first line of a block has its sign, an anchor and perhaps a comment.
        begin = raw.find("\n") + 1 if scalar.style in _BLOCKS else 0
        at = raw.find(part, begin) if begin else raw.rfind(part)
        if at >= 0:
            begin, is_plain = scalar.start + at, not scalar.style and part == scalar.value
            return Span(begin, begin + len(part), is_plain=is_plain)
        # Only between double quotes can a value be written with other characters than its own.
        opening = scalar.start + raw.index('"')
        return Span(opening, scalar.end, '"' + scalar.value.removesuffix(part), '"')

    def _checked(self, image: NamedImage) -> NamedImage:
        """Return an image whose name is one; UsageError says what else it is."""
        try:
            Reference.parse(image.name)
        except UsageError as error:
            if "{{" in image.name:
                raise unrendered(self._what, image.line) from None
            hint = f"render first: {_FILL}" if "$" in image.name else error.hint
            message = f"{self._what}:{image.line}: {error.message}"
            raise UsageError(message, hint=hint) from None
        return image

    def _locked(self, document: Document, node: Node) -> NamedImage:
        """Return an image of a lock, with the tag of its name if ocitool wrote the lock."""
        scalar = document.field(node, "image")
        if not isinstance(scalar, Scalar):
            line = self._lines.place(node.start)[0]
            raise UsageError(f"{self._what}:{line}: an entry of the lock has no image")
        image = self._checked(self._named(scalar, scalar.value, "lock"))
        noted = document.field(document.field(node, "annotations"), NAME_ANNOTATION)
        if not isinstance(noted, Scalar):
            return image
        self._used.add(noted.start)
        return _with_tag(image, noted.value)

    def _kustomized(self, document: Document, node: Node) -> NamedImage | None:
        """Return the image that an entry of a Kustomization puts in the place of others."""
        fields = {part: document.field(node, part) for part in _PARTS}
        scalars = {key: one for key, one in fields.items() if isinstance(one, Scalar)}
        texts = {key: one.value for key, one in scalars.items() if one.value}
        if not isinstance(node, Fields) or _NAME not in texts or len(texts) == 1:
            return None
        self._used |= {one.start for one in scalars.values()}
        spans = {key: self._span(one, one.value) for key, one in scalars.items()}
        line, column = self._lines.place(spans[_NAME].start)
        name = texts.get(_NEW_NAME, texts[_NAME])
        if _NEW_TAG not in texts and _DIGEST not in texts:
            raise UsageError(
                f"{self._what}:{line}: the tag of {quoted(name)} is not in this file",
                hint="render first: kubectl kustomize DIR | ocitool … -f -",
            )
        changes = [entry.at for entry in node.entries if entry.key in _PARTS[1:]]
        at = min(changes, default=node.entries[0].at)
        slot = Entry(spans=spans, texts=texts, at=at, is_flow=node.is_flow)
        name += f":{texts[_NEW_TAG]}" if _NEW_TAG in texts else ""
        name += f"@{texts[_DIGEST]}" if _DIGEST in texts else ""
        found = NamedImage(name=name, line=line, column=column, form="kustomize", slot=slot)
        return self._checked(found)


def _scalars(document: Document, node: Fields | Items) -> Iterator[tuple[str, Scalar]]:
    """Yield the texts in a mapping and its lists, each with the key that says what it is."""
    if isinstance(node, Items):
        yield from (("", item) for item in node.items if isinstance(item, Scalar))
        return
    variable = document.text(node, "name")
    for entry in node.entries:
        key = variable if entry.key == "value" else entry.key
        if isinstance(entry.value, Scalar):
            yield key, entry.value
        elif isinstance(entry.value, Items):
            yield from ((key, item) for item in entry.value.items if isinstance(item, Scalar))


def _with_tag(image: NamedImage, noted: str) -> NamedImage:
    """Return an image with the tag of the name that was noted, if that is of its repository."""
    try:
        named = Reference.parse(noted)
    except UsageError:
        return image
    found = image.reference
    if found.tag is not None or named.tag is None or named.repository != found.repository:
        return image
    return replace(image, name=f"{named.name}@{found.digest}")
