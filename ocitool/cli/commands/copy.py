"""ocitool copy: images from any place to any other."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.commands.push import Source, create_repositories, push_to, show
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.registry import (
    REGISTRY,
    ForeignLayers,
    connected_to,
    in_chunks,
    source_at,
    with_foreign,
)
from ocitool.cli.options.shared import usual_platform
from ocitool.cli.options.transfer import COPYING, SENDING, Sending
from ocitool.cli.output import OUTPUT, Output
from ocitool.errors import UsageError
from ocitool.images.locations import PlaceKind

if TYPE_CHECKING:
    from ocitool.image.content import Root
    from ocitool.images.locations import Place
    from ocitool.images.opening import Opened
    from ocitool.places.registry import RegistryOptions
    from ocitool.transfer.pipeline import TransferOptions
    from ocitool.transfer.report import CopyReport


Destination = Annotated[
    str, typer.Argument(metavar="DST", help="NAME, oci:DIR:TAG, oci-archive:FILE, …")
]


@with_options(options=COPYING, sending=SENDING, out=OUTPUT, registry=REGISTRY)
def copy(
    source: Source,
    destination: Destination,
    *,
    options: "TransferOptions",
    sending: Sending,
    allow_foreign_layers: ForeignLayers = False,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Copy images between registries, the store, layouts, archives and engines, digests unchanged.

    Places: docker://NAME, NAME or store:NAME, oci:DIR[:TAG], oci-archive:FILE[:TAG],
    docker-archive:FILE[:NAME], docker-daemon:NAME, podman:NAME, dir:DIR (read only), and paths
    that begin with ./ or /. If SRC names no image, everything in it is copied.
    """
    from ocitool.cli.delivery import check_destination
    from ocitool.images.locations import parse_place
    from ocitool.images.opening import with_attached
    from ocitool.oci import Reference

    origin, target = parse_place(source), parse_place(destination)
    _refuse_misunderstandings(target, destination)
    check_destination(target, out)
    sending.check()
    registry = with_foreign(in_chunks(registry, sending.chunk_size), allowed=allow_foreign_layers)
    with (
        connected_to(registry, out.observer, origin, target) as connected,
        source_at(origin, out.options, connected) as opened,
    ):
        images = with_attached(opened) if options.attached else opened
        if connected is not None and target.kind is PlaceKind.REGISTRY:
            name = Reference.parse(target.name or "")
            if sending.create_repo:
                create_repositories([name], out.observer)
            reports = push_to(images, [name], connected, options, sending, out.observer)
            show(reports, out, sending.digestfile)
        else:
            _show(_copy(images, target, options, out), target, sending, out)


def _refuse_misunderstandings(target: "Place", text: str) -> None:
    """Refuse a destination that cannot be written, or that looks like a file and is a name."""
    if target.kind is PlaceKind.FOLDER:
        raise UsageError("the dir: form is read only", hint="write oci:DIR:TAG instead")
    looks_like_a_file = os.path.exists(text) or text.endswith((".tar", ".gz", ".zst", "/"))
    if target.text == target.name and looks_like_a_file:
        raise UsageError(
            f"{text!r} would be the name of an image in the store",
            hint=f"for a file write ./{text}, for the name store:{text}",
        )


def _show(report: "CopyReport", target: "Place", sending: Sending, out: Output) -> None:
    from ocitool.cli import documents
    from ocitool.cli.render import texts

    if sending.digestfile is not None:
        texts.write_digests(sending.digestfile, [image.digest for image in report.images])
    stored = target.kind in (PlaceKind.STORE, PlaceKind.LAYOUT)
    view = documents.STORED if stored else documents.COPIED
    if target.path != "-":
        out.result(report, text=texts.digests, view=view.beside(destination=target.text))
    out.remark(texts.remarks(report, into_store=target.kind is PlaceKind.STORE))


def _copy(
    opened: "Opened", target: "Place", options: "TransferOptions", out: Output
) -> "CopyReport":
    from msgspec.structs import replace

    from ocitool.cli.delivery import deliver
    from ocitool.cli.render import texts
    from ocitool.operations import load as loading
    from ocitool.places.layout import Layout

    observer = out.observer
    if target.kind not in (PlaceKind.STORE, PlaceKind.LAYOUT):
        named = _named(opened, target)
        return deliver(opened.source, named, target, options, observer, featured=usual_platform())
    is_store = target.kind is PlaceKind.STORE
    path = out.options.store if is_store else target.path
    name = texts.full(target.name) if is_store and target.name else target.name
    with Layout.create(path, store=is_store, observer=observer) as layout:
        return loading.load(
            opened.source,
            layout,
            replace(options, name=name),
            roots=opened.roots,
            observer=observer,
        )


def _named(opened: "Opened", target: "Place") -> "list[Root]":
    """Return the roots under the name that the destination gives, if it gives one."""
    from msgspec.structs import replace

    from ocitool.cli.render import texts
    from ocitool.images.locations import PlaceKind
    from ocitool.images.opening import one_root

    if not target.name:
        return list(opened.roots)
    bare = target.kind is PlaceKind.OCI_ARCHIVE and not {"/", ":"} & set(target.name)
    names = () if bare else (texts.full(target.name),)
    return [replace(one_root(opened), names=names, label=target.name if bare else None)]
