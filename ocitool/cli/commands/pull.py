"""ocitool pull: images from registries into the store."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from ocitool.cli.attempts import Attempts, Failure
from ocitool.cli.interrupted import FETCHED
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.lists import LISTS, NameLists
from ocitool.cli.options.registry import (
    REGISTRY,
    ForeignLayers,
    registries,
    with_foreign,
)
from ocitool.cli.options.transfer import PULLING, FailFast
from ocitool.cli.output import OUTPUT, Output

if TYPE_CHECKING:
    from ocitool.images.locations import TagPattern
    from ocitool.oci import Reference
    from ocitool.operations.pull_mirrored import MirroredPulls
    from ocitool.places.layout import NameChange
    from ocitool.places.registry import RegistryOptions
    from ocitool.transfer.pipeline import TransferOptions
    from ocitool.transfer.report import CopyReport

    Wanted = tuple[Reference, TagPattern | None]

_SAVED_EVERY = 1.0
"""Seconds after which the names of finished images take effect while others are still pulled."""

AllTags = Annotated[
    bool, typer.Option("--all-tags", "-a", help="Pull every tag of the repository.")
]

NoMirrors = Annotated[
    bool,
    typer.Option(
        "--no-mirrors", help="Do not ask the mirrors that registries.conf and hosts.toml name."
    ),
]


Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME…", help="NAME[:TAG][@DIGEST] in a registry."),
]


@with_options(lists=LISTS, options=PULLING, out=OUTPUT, registry=REGISTRY)
def pull(
    names: Names = None,
    *,
    lists: NameLists,
    options: "TransferOptions",
    all_tags: AllTags = False,
    no_mirrors: NoMirrors = False,
    allow_foreign_layers: ForeignLayers = False,
    fail_fast: FailFast = False,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Copy images from registries into the store, all platforms by default, digests unchanged.

    Blobs that the store already has are not fetched again, and an interrupted download resumes.
    A pattern such as 'NAME:v1.*' pulls all tags that match. Prints NAME@DIGEST for each image.
    """
    from ocitool.cli import documents
    from ocitool.cli.render import texts
    from ocitool.cli.render.summary import done
    from ocitool.transfer.report import merge_reports

    found = [_wanted(name, all_tags=all_tags) for name in lists.names(names, "NAME", out)]
    wanted = list(dict.fromkeys(found))
    attempts = Attempts(out, len(wanted), fail_fast=fail_fast)
    registry = with_foreign(registry, allowed=allow_foreign_layers)
    with out.moving("pulling", left=FETCHED):
        pulled = _pull_all(wanted, options, attempts, out, registry, asks_mirrors=not no_mirrors)
        for line in texts.moves(pulled.moved):
            out.observer.remark(line)
        out.document(pulled, documents.PULLED)
        if pulled.images:
            together = merge_reports(pulled.images)
            what = f"pulled {texts.several(together.images)}"
            out.summary([done(what, together.transfer, out.seconds)])
        attempts.finish()


class _Pulled(Struct, frozen=True, kw_only=True):
    """What was pulled into the store, the names that moved, and what failed."""

    store: str
    moved: "tuple[NameChange, ...]"
    images: "tuple[CopyReport, ...]"
    failed: tuple[Failure, ...]


def _pull_all(
    wanted: "Sequence[Wanted]",
    options: "TransferOptions",
    attempts: Attempts,
    out: Output,
    registry: "RegistryOptions",
    *,
    asks_mirrors: bool,
) -> _Pulled:
    """Pull images one after the other, and print each one that has arrived."""
    from ocitool.operations.pull_mirrored import MirroredPulls
    from ocitool.places.layout import Layout, Writing

    reports: list[CopyReport] = []
    with (
        Layout.create(out.options.store, store=True, observer=out.observer) as layout,
        registries(registry, out.observer) as connected,
        Writing(layout, keep=True) as writing,
    ):
        saved = time.monotonic()
        pulls = MirroredPulls(connected, out.observer, asks_mirrors=asks_mirrors)
        for reference, pattern in wanted:
            with attempts.one(reference):
                found = _found(pulls, reference, pattern, attempts)
                report = pulls.pull(writing, found, options)
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


def _found(
    pulls: "MirroredPulls",
    reference: "Reference",
    pattern: "TagPattern | None",
    attempts: Attempts,
) -> "list[Reference]":
    """Return what is pulled; of a list that breaks off what there is, as a failure."""
    from ocitool.places.registry.paging import IncompleteList

    if pattern is None:
        return [reference]
    try:
        tags = pulls.tags(reference)
    except IncompleteList as error:
        if attempts.ends_at_once and not error.found:
            raise
        attempts.add(reference, error)
        tags = list(error.found)
    return pattern.among(tags)


def _wanted(name: str, *, all_tags: bool) -> "Wanted":
    """Return the image that a name means, or the repository and which of its tags."""
    from ocitool.images.locations import registry_reference, tag_pattern

    pattern = tag_pattern(name, all_tags=all_tags)
    return (registry_reference(name), None) if pattern is None else (pattern.repository, pattern)
