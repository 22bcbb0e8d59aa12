"""ocitool pull: images from registries into the store."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from ocitool.cli.attempts import Attempts, Failure
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.registry import (
    REGISTRY,
    ForeignLayers,
    registries,
    with_foreign,
)
from ocitool.cli.options.transfer import PULLING, FailFast
from ocitool.cli.output import OUTPUT, Output
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.oci import Reference
    from ocitool.places.layout import NameChange
    from ocitool.places.registry import Registries, RegistryOptions
    from ocitool.transfer.pipeline import TransferOptions
    from ocitool.transfer.report import CopyReport

_SAVED_EVERY = 1.0
"""Seconds after which the names of finished images take effect while others are still pulled."""

AllTags = Annotated[
    bool, typer.Option("--all-tags", "-a", help="Pull every tag of the repository.")
]


@with_options(options=PULLING, out=OUTPUT, registry=REGISTRY)
def pull(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME…", help="NAME[:TAG][@DIGEST] in a registry.")
    ],
    *,
    options: "TransferOptions",
    all_tags: AllTags = False,
    allow_foreign_layers: ForeignLayers = False,
    fail_fast: FailFast = False,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Copy images from registries into the store, all platforms by default, digests unchanged.

    Blobs that the store already has are not fetched again, and an interrupted download resumes.
    Prints NAME@DIGEST for each image.
    """
    from ocitool.cli import documents
    from ocitool.cli.render import texts
    from ocitool.images.locations import registry_reference

    references = [registry_reference(name) for name in names]
    if all_tags and any(":" in name.rpartition("/")[2] for name in names):
        raise UsageError("--all-tags pulls every tag of a repository: give its name without a tag")
    attempts = Attempts(out, len(references), fail_fast=fail_fast)
    registry = with_foreign(registry, allowed=allow_foreign_layers)
    pulled = _pull_all(references, options, attempts, out, registry, all_tags=all_tags)
    for line in texts.moves(pulled.moved):
        out.observer.remark(line)
    out.document(pulled, documents.PULLED)
    attempts.finish()


class _Pulled(Struct, frozen=True, kw_only=True):
    """What was pulled into the store, the names that moved, and what failed."""

    store: str
    moved: "tuple[NameChange, ...]"
    images: "tuple[CopyReport, ...]"
    failed: tuple[Failure, ...]


def _pull_all(
    references: "Sequence[Reference]",
    options: "TransferOptions",
    attempts: Attempts,
    out: Output,
    registry: "RegistryOptions",
    *,
    all_tags: bool,
) -> _Pulled:
    """Pull images one after the other, and print each one that has arrived."""
    from ocitool.operations import pull as pulling
    from ocitool.places.layout import Layout, Writing
    from ocitool.places.registry import Repository

    reports: list[CopyReport] = []
    with (
        Layout.create(out.options.store, store=True, observer=out.observer) as layout,
        registries(registry, out.observer) as connected,
        Writing(layout, keep=True) as writing,
    ):
        saved = time.monotonic()
        for reference in references:
            with attempts.one(reference):
                found = _references(connected, reference, attempts, all_tags=all_tags)
                repository = Repository.of(connected, reference)
                report = pulling.pull(repository, writing, found, options, observer=out.observer)
                reports.append(report)
                if time.monotonic() - saved > _SAVED_EVERY:
                    writing.checkpoint()
                    saved = time.monotonic()
                _show(report, reference, out)
        out.remark(connected.quotas())
    return _Pulled(
        store=out.options.store,
        moved=tuple(writing.changes),
        images=tuple(reports),
        failed=tuple(attempts.failed),
    )


def _show(report: "CopyReport", reference: "Reference", out: Output) -> None:
    from ocitool.cli.render import texts

    digests = texts.digests(report)
    out.lines([f"{reference.repository}@{digest}" for digest in digests], ids=digests)
    for line in texts.remarks(report):
        out.observer.remark(line)


def _references(
    connected: "Registries", reference: "Reference", attempts: Attempts, *, all_tags: bool
) -> "list[Reference]":
    """Return what is pulled; of a list that breaks off what there is, as a failure."""
    from ocitool.places.registry import Repository
    from ocitool.places.registry.listing import tags
    from ocitool.places.registry.paging import IncompleteList

    if not all_tags:
        return [reference]
    try:
        found = tags(Repository.of(connected, reference).session)
    except IncompleteList as error:
        if attempts.ends_at_once and not error.found:
            raise
        attempts.add(reference, error)
        found = list(error.found)
    return [reference.with_tag(tag) for tag in found]
