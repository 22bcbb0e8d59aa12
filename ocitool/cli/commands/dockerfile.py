"""ocitool dockerfile: what an image may have been built with."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ocitool.cli.elsewhere import says_where_else
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.registry import REGISTRY, opened_at
from ocitool.cli.options.shared import OnePlatform, one_platform, usual_platform
from ocitool.cli.options.sources import ImageSource
from ocitool.cli.options.tables import table_cache
from ocitool.cli.output import JSON_OUTPUT, Output
from ocitool.errors import NotFound

if TYPE_CHECKING:
    from ocitool.cli.render.dockerfile import Page
    from ocitool.images.opening import Opened
    from ocitool.inside.bases import Candidate
    from ocitool.inside.contents import LayerContent
    from ocitool.inside.dockerfile import Dockerfile
    from ocitool.oci import Platform
    from ocitool.places.registry import RegistryOptions


@with_options(out=JSON_OUTPUT, registry=REGISTRY)
@says_where_else("ocitool dockerfile SRC", "ocitool dockerfile SRC")
def dockerfile(
    source: ImageSource,
    *,
    platform: OnePlatform = None,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Write the Dockerfile that an image may have been built with.

    It is put together from the history and the configuration. What these do not record is not made
    up: a line with "# ?" is a guess, and a comment stands in for the sources of COPY. The base is
    named if an annotation, the history or an image of the store tells it.
    """
    from ocitool.cli import documents
    from ocitool.cli.render.dockerfile import page_lines
    from ocitool.images.locations import parse_place

    wanted = one_platform(platform)
    with opened_at(parse_place(source), out.options, registry, out.bar) as opened:
        page = _page(opened, wanted, out)
    out.result(page, text=page_lines, view=documents.DOCKERFILE)


def _page(opened: "Opened", wanted: "Platform | None", out: Output) -> "Page":
    from ocitool.cli.render.dockerfile import Page, written
    from ocitool.image.choosing import choose_image
    from ocitool.images.opening import one_root
    from ocitool.inside.dockerfile import dockerfile

    root = one_root(opened)
    chosen = choose_image(
        opened.source,
        root,
        wanted or usual_platform(),
        required=wanted is not None,
        without_layers=True,
    )
    manifest = chosen.image.manifest
    config = chosen.image.read_config(opened.source)
    file = dockerfile(config, manifest.annotations, _bases(chosen.image.platform, out))
    contents = _contents(opened, file, wanted, out)
    stored = [layer.size for layer in manifest.layers]
    return Page(
        called=root.called,
        platform=str(chosen.image.platform),
        digest=str(chosen.image.descriptor.digest),
        file=file,
        lines=written(file.lines, contents, stored),
        unrecorded=written(file.unrecorded, contents, stored),
    )


def _bases(platform: "Platform", out: Output) -> "Iterator[Candidate]":
    """Yield the images that may be the base, those of the store."""
    from ocitool.operations.bases import store_bases
    from ocitool.places.layout import Layout

    store = out.options.store_if_any
    if store is None:
        return
    try:
        layout = Layout.existing(store)
    except NotFound:
        return
    with layout:
        yield from store_bases(layout, platform)


def _contents(
    opened: "Opened", file: "Dockerfile", wanted: "Platform | None", out: Output
) -> "dict[int, LayerContent]":
    """Return what layers of unknown sources hold; those of a registry are not fetched."""
    from ocitool.images.locations import PlaceKind
    from ocitool.images.opening import one_root
    from ocitool.inside.contents import content_of
    from ocitool.inside.image import look_inside

    numbers = {line.layer for line in file.lines if line.copies_to is not None and line.layer}
    if not numbers or opened.place.kind is PlaceKind.REGISTRY:
        return {}
    inside = look_inside(
        opened.source,
        one_root(opened),
        platform=wanted or usual_platform(),
        required=wanted is not None,
        cache=table_cache(opened),
        observer=out.bar,
        layers=numbers,
    )
    tables = {layer.number: layer.table for layer in inside.layers}
    return {number: content_of(table) for number, table in tables.items() if table is not None}
