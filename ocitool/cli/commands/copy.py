"""ocitool copy: images from any place to any other."""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.attempts import Attempts
from ocitool.cli.commands.copy_report import show_copied
from ocitool.cli.commands.push import finish, push_sources
from ocitool.cli.completing import store_names
from ocitool.cli.elsewhere import says_where_else
from ocitool.cli.interrupted import SENT, UNCHANGED, no_image_in, not_written
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
from ocitool.cli.options.transfer import COPYING, SENDING, FailFast, Sending
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render import console
from ocitool.errors import UsageError
from ocitool.images.locations import FILES, PlaceKind

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ocitool.images.locations import Place
    from ocitool.places.registry import RegistryOptions
    from ocitool.transfer.pipeline import TransferOptions


Arguments = Annotated[
    list[str],
    typer.Argument(
        metavar="SRC DST",
        help="From where, and to where: NAME, oci:DIR:TAG, ./FILE, … To ssh:// also several SRC.",
        autocompletion=store_names,
    ),
]
_MACHINE = "ssh:"
RemoteCommand = Annotated[
    str,
    typer.Option(
        "--remote-ocitool",
        metavar="COMMAND",
        help="How ocitool is called on the other machine, with ssh://.",
    ),
]
AllTags = Annotated[
    bool, typer.Option("--all-tags", "-a", help="Copy every tag of the repository.")
]


@with_options(options=COPYING, sending=SENDING, out=OUTPUT, registry=REGISTRY)
@says_where_else("ocitool copy SRC DST", "ocitool copy SRC DST")
def copy(
    arguments: Arguments,
    *,
    options: "TransferOptions",
    sending: Sending,
    allow_foreign_layers: ForeignLayers = False,
    all_tags: AllTags = False,
    fail_fast: FailFast = False,
    remote_ocitool: RemoteCommand = "ocitool",
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Copy images between registries, the store, layouts, archives and engines, digests unchanged.

    Places: docker://NAME, NAME or store:NAME, oci:DIR[:TAG], oci-archive:FILE[:TAG],
    docker-archive:FILE[:NAME], docker-daemon:NAME, podman:NAME, containerd: (write only), dir:DIR
    (read only), and paths that begin with ./ or /. If SRC names no image, everything in it is
    copied. Below docker://HOST/PREFIX/, with a slash at its end, each image keeps its name. Between
    registries a pattern such as 'docker://NAME:v1.*' copies all tags that match, under the same
    tags. To ssh://[USER@]HOST[:PORT][/STORE], into the store of another machine that has ocitool,
    only what is missing there is sent, through the ssh command.
    """
    from ocitool.cli.commands.copy_tags import TagsCommand, copy_tags, is_about_tags

    source, destination, others = _source_and_destination(arguments)
    sending.check()
    registry = with_foreign(in_chunks(registry, sending.chunk_size), allowed=allow_foreign_layers)
    if destination.startswith(_MACHINE):
        from ocitool.cli.commands.copy_ssh import copy_to_machine

        sources = [source, *others]
        copy_to_machine(sources, destination, remote_ocitool, options, sending, out, registry)
        return
    whole = destination.endswith("/")
    if whole or not is_about_tags(source, all_tags=all_tags, dry_run=sending.dry_run):
        _copy(source, destination, options, sending, out, registry)
        return
    with out.moving("copying", left=SENT):
        copy_tags(
            TagsCommand(
                source=source,
                destination=destination,
                all_tags=all_tags,
                is_fail_fast=fail_fast,
                options=options,
                sending=sending,
                registry=registry,
            ),
            out,
        )


def _source_and_destination(arguments: Sequence[str]) -> tuple[str, str, list[str]]:
    """Return source and destination, and further sources, which ssh:// takes."""
    if len(arguments) < 2:
        raise UsageError("copy needs a source and a destination", hint="ocitool copy SRC DST")
    source, *others, destination = arguments
    if others and not destination.startswith(_MACHINE):
        raise UsageError(
            "copy takes several sources only to ssh://",
            hint="for several images of the store: ocitool save NAME… -o FILE, ocitool push "
            "-f LIST --to HOST/PREFIX",
        )
    return source, destination, others


def _copy(
    source: str,
    destination: str,
    options: "TransferOptions",
    sending: Sending,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Copy one image, or all that a place holds."""
    from ocitool.images.locations import parse_place
    from ocitool.images.opening import with_attached
    from ocitool.operations import copy as copying
    from ocitool.transfer.report import CopyReport

    origin, target = parse_place(source), parse_place(destination)
    _check(target, sending, out)
    attempts = Attempts(out, 1)
    report = CopyReport(images=())
    with (
        _working(target, out),
        connected_to(registry, out.observer, origin, target) as connected,
        _attempt(attempts, source, target),
        source_at(origin, out.options, connected, out.observer) as opened,
    ):
        if connected is not None and target.kind is PlaceKind.REGISTRY:
            where = copying.destinations(target, flatten=sending.flatten)
            reports, attempts = push_sources([opened], where, connected, options, sending, out)
            finish(reports, out, sending, attempts, table=target.name is None)
            return
        report = copying.copy_to_place(
            with_attached(opened) if options.attached else opened,
            target,
            options,
            store=out.options.store_for(target),
            featured=usual_platform(),
            write=console.out_bytes,
            observer=out.observer,
        )
    show_copied(report, target, sending, options, attempts, out)
    attempts.finish()


def _working(target: "Place", out: Output) -> "AbstractContextManager[None]":
    """Return a block that copies, and says what is left where it is interrupted."""
    if target.kind is PlaceKind.REGISTRY:
        return out.moving("copying", left=SENT)
    if target.kind is PlaceKind.LAYOUT:
        return out.working("copying", left=no_image_in(target.path))
    left = not_written(target.path) if target.kind in FILES else UNCHANGED
    return out.working("copying", left=left)


def _check(target: "Place", sending: Sending, out: Output) -> None:
    """Refuse a place that cannot be written, and options that are not for it."""
    from ocitool.cli.delivery import check_destination
    from ocitool.operations.copy import check_store_name, check_writable

    check_writable(target)
    check_store_name(target, out.options.store_for(target))
    check_destination(target.path, out)
    if target.kind is not PlaceKind.REGISTRY and (sending.flatten or sending.dry_run):
        raise UsageError("--flatten and --dry-run are for copies into a registry")


def _attempt(attempts: Attempts, source: str, target: "Place") -> "AbstractContextManager[None]":
    """Return a block whose failure is in the JSON document; a push notes each image's itself."""
    if target.kind is PlaceKind.REGISTRY:
        return contextlib.nullcontext()
    return attempts.one(source)
