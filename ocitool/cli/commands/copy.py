"""ocitool copy: images from any place to any other."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.commands.push import CreateRepository, DigestFile, OnExistingOption
from ocitool.cli.options.registry import (
    ChunkSize,
    ForeignLayers,
    Jobs,
    Referrers,
    connected_to,
    in_chunks,
    source_at,
    with_foreign,
    with_reach,
)
from ocitool.cli.options.shared import (
    Compression,
    Json,
    Quiet,
    Settings,
    SomePlatforms,
    Strict,
    platforms,
    settings,
    usual_platform,
)
from ocitool.cli.render import console
from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.events import Observer
    from ocitool.image.content import Root
    from ocitool.images.locations import Opened, Place
    from ocitool.places.registry import RegistryOptions
    from ocitool.transfer.pipeline import TransferOptions
    from ocitool.transfer.report import CopyReport


@with_reach
def copy(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SRC", help="NAME, oci:DIR:TAG, ./FILE, …")],
    destination: Annotated[
        str, typer.Argument(metavar="DST", help="NAME, oci:DIR:TAG, oci-archive:FILE, …")
    ],
    *,
    platform: SomePlatforms = None,
    compression: Compression = None,
    strict: Strict = False,
    on_existing: OnExistingOption = "overwrite",
    referrers: Referrers = False,
    allow_foreign_layers: ForeignLayers = False,
    digestfile: DigestFile = None,
    create_repo: CreateRepository = False,
    chunk_size: ChunkSize = None,
    jobs: Jobs = DEFAULT_JOBS,
    quiet: Quiet = False,
    json: Json = False,
    reach: "RegistryOptions",
) -> None:
    """Copy images between registries, the store, layouts, archives and engines, digests unchanged.

    Places: docker://NAME, NAME or store:NAME, oci:DIR[:TAG], oci-archive:FILE[:TAG],
    docker-archive:FILE[:NAME], docker-daemon:NAME, podman:NAME, dir:DIR (read only), and paths
    that begin with ./ or /. Without a name in SRC everything in it is copied.
    """
    from ocitool.cli.commands.push import policy, push_to, show
    from ocitool.cli.delivery import check_destination
    from ocitool.cli.render import texts
    from ocitool.images.locations import PlaceKind, parse_place, with_attached
    from ocitool.transfer.pipeline import TransferOptions

    options = settings(context)
    origin, target = parse_place(source), parse_place(destination)
    if target.kind is PlaceKind.FOLDER:
        raise UsageError("the dir: form is read only", hint="write oci:DIR:TAG instead")
    if target.text == target.name and (
        os.path.exists(destination) or destination.endswith((".tar", ".gz", ".zst", "/"))
    ):
        raise UsageError(
            f"{destination!r} would be the name of an image in the store",
            hint=f"for a file write ./{destination}, for the name store:{destination}",
        )
    check_destination(target, json=json)
    texts.check_digest_file(digestfile)
    observer = options.observer(quiet=quiet)
    chosen = TransferOptions(
        platforms=platforms(platform),
        compression=compression,
        strict=strict,
        attached=referrers,
        jobs=jobs,
        scratch=options.temporary,
    )
    reach = with_foreign(in_chunks(reach, chunk_size), allowed=allow_foreign_layers)
    with (
        connected_to(reach, observer, origin, target) as connected,
        source_at(origin, options, connected) as opened,
    ):
        images = with_attached(opened) if referrers else opened
        if connected is not None and target.kind is PlaceKind.REGISTRY:
            reports = push_to(
                images,
                target,
                connected,
                chosen,
                observer,
                on_existing=policy(on_existing),
                create=create_repo,
            )
            show(
                reports,
                observer,
                quiet=quiet or options.quiet,
                json=json,
                digestfile=digestfile,
            )
            return
        report = _copy(images, target, options, chosen, observer)
    if digestfile is not None:
        texts.write_digests(digestfile, [image.digest for image in report.images])
    if json:
        console.out_json({"destination": destination, **texts.report_json(report)})
        return
    if target.path != "-":
        for image in report.images:
            console.out(str(image.digest))
    for line in texts.remarks(report, into_store=target.kind is PlaceKind.STORE):
        observer.remark(line)


def _copy(
    opened: "Opened",
    target: "Place",
    options: Settings,
    chosen: "TransferOptions",
    observer: "Observer",
) -> "CopyReport":
    from msgspec.structs import replace

    from ocitool.cli.delivery import deliver
    from ocitool.cli.render import texts
    from ocitool.images.locations import PlaceKind
    from ocitool.operations import load as copying
    from ocitool.places.layout import Layout

    if target.kind not in (PlaceKind.STORE, PlaceKind.LAYOUT):
        named = _named(opened, target)
        return deliver(opened.source, named, target, chosen, observer, featured=usual_platform())
    own = target.kind is PlaceKind.STORE
    path = options.store if own else target.path
    with Layout.create(path, store=own, observer=observer) as layout:
        return copying.load(
            opened.source,
            layout,
            replace(chosen, name=texts.full(target.name) if own and target.name else target.name),
            roots=opened.roots,
            observer=observer,
        )


def _named(opened: "Opened", target: "Place") -> "list[Root]":
    """Return the roots under the name that the destination gives, if it gives one."""
    from msgspec.structs import replace

    from ocitool.cli.render import texts
    from ocitool.images.locations import PlaceKind, one_root

    if not target.name:
        return list(opened.roots)
    bare = target.kind is PlaceKind.OCI_ARCHIVE and not {"/", ":"} & set(target.name)
    names = () if bare else (texts.full(target.name),)
    return [replace(one_root(opened), names=names, label=target.name if bare else None)]
