"""ocitool pull: images from registries into the store."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.registry import (
    ForeignLayers,
    Jobs,
    Referrers,
    registries,
    with_foreign,
    with_reach,
)
from ocitool.cli.options.shared import Json, Quiet, SomePlatforms, platforms, settings
from ocitool.cli.render import console
from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import OcitoolError, UsageError

if TYPE_CHECKING:
    from ocitool.events import Observer
    from ocitool.oci import Reference
    from ocitool.places.layout import Writing
    from ocitool.places.registry import Registries, RegistryOptions
    from ocitool.transfer.pipeline import TransferOptions
    from ocitool.transfer.report import CopyReport

_SAVED_EVERY = 1.0
"""Seconds after which the names of finished images take effect while others still come."""


@with_reach
def pull(
    context: typer.Context,
    names: Annotated[
        list[str], typer.Argument(metavar="NAME…", help="NAME[:TAG][@DIGEST] in a registry.")
    ],
    *,
    platform: SomePlatforms = None,
    all_tags: Annotated[
        bool, typer.Option("--all-tags", "-a", help="Every tag of the repository.")
    ] = False,
    referrers: Referrers = False,
    allow_foreign_layers: ForeignLayers = False,
    jobs: Jobs = DEFAULT_JOBS,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="End at the first image that fails.")
    ] = False,
    quiet: Quiet = False,
    json: Json = False,
    reach: "RegistryOptions",
) -> None:
    """Copy images from registries into the store: all that a name holds, digests unchanged.

    What the store has is not fetched again, and a download that broke off goes on where it
    stopped. Prints NAME@DIGEST for each.
    """
    from ocitool.cli.render import texts
    from ocitool.images.locations import registry_reference
    from ocitool.places.layout import Layout, Writing
    from ocitool.transfer.pipeline import TransferOptions

    options = settings(context)
    references = [registry_reference(name) for name in names]
    if all_tags and any(":" in name.rpartition("/")[2] for name in names):
        raise UsageError("--all-tags takes every tag of a repository: name it without one")
    observer = options.observer(quiet=quiet)
    chosen = TransferOptions(platforms=platforms(platform), attached=referrers, jobs=jobs)
    reports: list[CopyReport] = []
    failures: list[OcitoolError] = []
    with (
        Layout.create(options.store, store=True, observer=observer) as layout,
        registries(with_foreign(reach, allowed=allow_foreign_layers), observer) as connected,
        Writing(layout, keep=True) as writing,
    ):
        saved = time.monotonic()
        for reference in references:
            try:
                report = _pull(connected, writing, reference, chosen, observer, all_tags=all_tags)
            except OcitoolError as error:
                if fail_fast or len(references) == 1:
                    raise
                observer.warn(f"{reference.familiar}: {error.message}")
                failures.append(error)
                continue
            reports.append(report)
            if time.monotonic() - saved > _SAVED_EVERY:
                writing.checkpoint()
                saved = time.monotonic()
            if not json:
                _print(report, reference, quiet=quiet or options.quiet)
            for line in texts.remarks(report):
                observer.remark(line)
    for line in texts.moves(writing.changes):
        observer.remark(line)
    if json:
        console.out_json(
            {
                "store": options.store,
                "moved": [texts.change_json(change) for change in writing.changes],
                "images": [texts.report_json(report) for report in reports],
            }
        )
    if failures:
        failures[0].message = (
            f"{len(failures)} of {len(references)} images could not be pulled; the first: "
            f"{failures[0].message}"
        )
        raise failures[0]


def _pull(
    connected: "Registries",
    writing: "Writing",
    reference: "Reference",
    chosen: "TransferOptions",
    observer: "Observer",
    *,
    all_tags: bool,
) -> "CopyReport":
    from ocitool.operations import pull as pulling
    from ocitool.places.registry import Repository
    from ocitool.places.registry.listing import tags

    repository = Repository.of(connected, reference)
    references = [reference]
    if all_tags:
        references = [reference.with_tag(tag) for tag in tags(repository.session)]
    return pulling.pull(repository, writing, references, chosen, observer=observer)


def _print(report: "CopyReport", reference: "Reference", *, quiet: bool) -> None:
    for image in report.images:
        pinned = f"{reference.repository}@{image.digest}"
        console.out(str(image.digest) if quiet else pinned)
