"""ocitool push: images into registries."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.attempts import Attempts, Failure
from ocitool.cli.completing import store_names
from ocitool.cli.elsewhere import says_where_else
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.registry import REGISTRY, in_chunks, registries, source_at
from ocitool.cli.options.transfer import COPYING, SENDING, FailFast, Sending
from ocitool.cli.output import OUTPUT, Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocitool.events import Observer
    from ocitool.image.content import Root
    from ocitool.images.opening import Opened
    from ocitool.oci import Reference
    from ocitool.operations.push import OnFailure
    from ocitool.operations.push_target import PushReport
    from ocitool.places.registry import Registries, RegistryOptions
    from ocitool.places.registry.known_blobs import KnownBlobs
    from ocitool.transfer.pipeline import TransferOptions


Source = Annotated[
    str,
    typer.Argument(metavar="SRC", help="NAME, oci:DIR:TAG, ./FILE, …", autocompletion=store_names),
]
Destinations = Annotated[
    list[str] | None,
    typer.Argument(metavar="[DST…]", help="Names in registries; default: the name of SRC."),
]


@with_options(options=COPYING, sending=SENDING, out=OUTPUT, registry=REGISTRY)
@says_where_else("ocitool push SRC DST", "ocitool copy SRC docker://DST")
def push(
    source: Source,
    destinations: Destinations = None,
    *,
    options: "TransferOptions",
    sending: Sending,
    fail_fast: FailFast = False,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Copy an image unchanged into registries, sending only what they lack.

    Plain layers of an old docker archive are compressed on the way. The last line printed is
    NAME@DIGEST. If one destination fails, the others are still pushed.
    """
    from ocitool.images.locations import parse_place, registry_reference
    from ocitool.images.opening import known_blobs, with_attached

    targets = [registry_reference(text) for text in destinations or ()]
    sending.check()
    with (
        registries(in_chunks(registry, sending.chunk_size), out.observer) as connected,
        source_at(parse_place(source), out.options, connected) as opened,
        known_blobs(out.options.store_if_any) as known,
    ):
        images = with_attached(opened) if options.attached else opened
        names = targets or _own_names(images.roots)
        attempts = Attempts(out, len(names), fail_fast=fail_fast)
        on_failure = None if attempts.ends_at_once else attempts.add
        if sending.create_repo:
            create_repositories(targets or _own_names(opened.roots), out.observer)
        reports = push_to(
            images, targets, connected, options, sending, out.observer, known, on_failure
        )
    finish(reports, out, sending.digestfile, attempts)


def push_to(
    opened: "Opened",
    targets: "Sequence[Reference]",
    connected: "Registries",
    options: "TransferOptions",
    sending: Sending,
    observer: "Observer",
    known: "KnownBlobs",
    on_failure: "OnFailure | None" = None,
) -> "list[PushReport]":
    """Push the open images to `targets`, or to their own names if there are none."""
    from ocitool.operations import push as pushing

    return pushing.push(
        opened.source,
        opened.roots,
        targets,
        connected,
        options,
        on_existing=sending.policy,
        observer=observer,
        on_failure=on_failure,
        known=known,
    )


def create_repositories(targets: "Sequence[Reference]", observer: "Observer") -> None:
    """Create the repositories that do not exist yet."""
    from ocitool.places.registry.aws.ecr import create_repository

    for repository in dict.fromkeys((target.domain, target.path) for target in targets):
        if create_repository(os.environ, *repository):
            observer.remark(f"created the repository {'/'.join(repository)}")


def finish(
    reports: "Sequence[PushReport]", out: Output, digestfile: str | None, attempts: Attempts
) -> None:
    """Print what was pushed and what failed, and write the digest file; raise if any failed."""
    for report in reports:
        name = report.destination.repository
        refused = [Failure(f"{name}@{one.digest}", one.error) for one in report.refused]
        attempts.add_parts(report.attached, refused)
    _show(reports, out, digestfile, attempts.failed)
    attempts.finish()


def _show(
    reports: "Sequence[PushReport]",
    out: Output,
    digestfile: str | None,
    failed: "Sequence[Failure]",
) -> None:
    from ocitool.cli import documents
    from ocitool.cli.render import texts
    from ocitool.cli.render.push import remarks

    for report in reports:
        for line in remarks(report):
            out.observer.remark(line)
    if digestfile is not None:
        texts.write_digests(digestfile, [report.digest for report in reports])
    out.result(
        reports,
        text=lambda reports: [report.pinned for report in reports],
        ids=lambda reports: [str(report.digest) for report in reports],
        view=lambda reports: [
            *map(documents.PUSHED, reports),
            *map(documents.FAILED_PUSH.beside(status="failed"), failed),
        ],
    )


def _own_names(roots: "Sequence[Root]") -> "list[Reference]":
    from ocitool.oci import Reference

    return [Reference.parse(name) for root in roots for name in root.names]
