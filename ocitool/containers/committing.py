"""Keeping what a container changed: as one new layer on its image, under a new name."""

import contextlib
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from msgspec import Struct

from ocitool.containers.freezing import at_rest_if_possible, frozen
from ocitool.containers.images import read_parts
from ocitool.containers.records import Container
from ocitool.containers.running import process_in
from ocitool.containers.running_options import apply_run_options
from ocitool.containers.writable.changes import Change
from ocitool.containers.writable.layer import LayerTar
from ocitool.containers.writable.opening import Writable, open_writable
from ocitool.editing.instructions import Instruction, apply_instructions, parse_instruction
from ocitool.editing.layers import NewEntry, NewLayer, append_entries
from ocitool.editing.parts import ImageParts
from ocitool.editing.storing import store_tar
from ocitool.errors import NotFound, UsageError
from ocitool.image.content import Blob
from ocitool.oci import Descriptor, Digest, Reference, mediatype
from ocitool.oci.annotations import BASE_DIGEST, BASE_NAME
from ocitool.oci.mediatype import Compression
from ocitool.oci.members import CONFIG_ORDER, MANIFEST_ORDER, members_of, put
from ocitool.places.layout import Layout, NameChange, Writing


class CommitOptions(Struct, frozen=True, kw_only=True):
    """How a container is kept.

    `epoch` (seconds since 1970) is the time of the image, and the latest time of a member; without
    it the time is now. `run_options` takes the container's command, environment, user and folder
    into the configuration, as docker does; `changes`, lines such as `CMD ["sh"]`, come after that.
    `pause` freezes a container
    that runs while it is read.
    """

    author: str = ""
    message: str = ""
    changes: tuple[str, ...] = ()
    epoch: int | None = None
    run_options: bool = False
    pause: bool = True
    compression: Compression = "gzip"


class Committed(Struct, frozen=True, kw_only=True):
    """A new image. `layer` is None if the container changed nothing.

    `letters` counts the changes. `left_out` counts the sockets that are not in the layer,
    `not_paused` says why a running container went on meanwhile.
    """

    container: Container
    digest: Digest
    config: Digest
    layer: Descriptor | None
    letters: Mapping[str, int]
    left_out: int
    names: tuple[str, ...]
    moved: tuple[NameChange, ...] = ()
    not_paused: str | None = None


def commit_container(
    layout: Layout, container: Container, names: Sequence[str], options: CommitOptions
) -> Committed:
    """Make an image of a container's own image and one layer with what the container changed.

    It has the names given, or none. It appears whole, or nothing changes. Equal changes make an
    equal image if `epoch` is given. NotFound if the image or the bundle is gone, Refused if files
    change while they are read, UsageError for a line of `changes` that cannot be used.
    """
    instructions = [parse_instruction(line) for line in options.changes]
    image = read_parts(layout, container)
    with contextlib.ExitStack() as stack:
        writable = stack.enter_context(open_writable(layout, container))
        writing = stack.enter_context(Writing(layout))
        _claim(writing, image)
        with _standing_still(container, pause=options.pause) as not_paused:
            changes = writable.changes()
            tar = LayerTar(writable, changes, newest=options.epoch)
            layer = store_tar(writing, tar.pieces(), options.compression) if changes else None
        new = _new_image(image, writable, layer, options, instructions)
        writing.root(_store_documents(writing, new), names)
    return Committed(
        container=container,
        digest=new.descriptor.digest,
        config=new.manifest.config.digest,
        layer=new.manifest.layers[-1] if layer is not None else None,
        letters=_count(changes),
        left_out=tar.left_out,
        names=tuple(names),
        moved=tuple(writing.changes),
        not_paused=not_paused,
    )


@contextlib.contextmanager
def _standing_still(container: Container, *, pause: bool) -> Iterator[str | None]:
    """Keep the files as they are for the block; yields why a running container goes on, if so."""
    if process_in(container.bundle) is None:
        with at_rest_if_possible(container):
            yield None
    elif pause:
        with frozen(container.bundle) as problem:
            yield problem
    else:
        yield "it was not to be paused"


def _claim(writing: Writing, image: ImageParts) -> None:
    """Make sure that the layers of the image are there, and stay."""
    writing.announce(image.manifest.layers)
    for layer in image.manifest.layers:
        if not (writing.has(layer) or mediatype.is_foreign_layer(layer.media_type)):
            raise NotFound(
                f"layer {layer.digest} of the image is missing from the store",
                hint="`ocitool verify --repair-from SRC` fetches it from where it is",
            )


def _new_image(
    image: ImageParts,
    writable: Writable,
    layer: NewLayer | None,
    options: CommitOptions,
    instructions: Sequence[Instruction],
) -> ImageParts:
    entry = NewEntry(
        created_by=" ".join(writable.facts.arguments),
        comment=options.message,
        author=options.author,
        layer=layer,
    )
    new = append_entries(image, [entry], created=_time(options.epoch))
    config, manifest = members_of(new.config.raw), members_of(new.manifest.raw)
    if options.author:
        put(config, "author", options.author, CONFIG_ORDER)
    if options.run_options:
        apply_run_options(config, image.config, writable)
    apply_instructions(config, instructions)
    if new.manifest.media_type != mediatype.DOCKER_MANIFEST:
        # Docker's manifests have no annotations.
        old = cast("dict[str, str]", manifest.get("annotations") or {})
        annotations = {**old, **_base(writable.container)}
        put(manifest, "annotations", annotations, MANIFEST_ORDER)
    return new.with_members(config=config, manifest=manifest)


def _base(container: Container) -> dict[str, str]:
    """Return the annotations that name the image below (image-spec annotations.md)."""
    found = {BASE_DIGEST: container.digest}
    with contextlib.suppress(UsageError):
        found[BASE_NAME] = Reference.parse(container.image).name
    return dict(sorted(found.items()))


def _time(epoch: int | None) -> str:
    """Return a time as in RFC 3339; without an epoch it is now."""
    when = dt.datetime.now(dt.UTC) if epoch is None else dt.datetime.fromtimestamp(epoch, dt.UTC)
    return f"{when.isoformat().removesuffix('+00:00')}Z"


def _store_documents(writing: Writing, image: ImageParts) -> Descriptor:
    """Store configuration and manifest; return the descriptor of the latter."""
    config, manifest = image.manifest.config, image.descriptor
    documents = {config: image.config.raw, manifest: image.manifest.raw}
    writing.announce(list(documents))
    for descriptor, raw in documents.items():
        writing.put(descriptor, lambda d=descriptor, r=raw: Blob.of(d, r, where="the new image"))  # type: ignore[misc]
    return manifest


def _count(changes: Sequence[Change]) -> dict[str, int]:
    found = {"A": 0, "C": 0, "D": 0}
    for change in changes:
        if change.letter is not None:
            found[change.letter.value] += 1
    return found
