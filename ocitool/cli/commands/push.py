"""ocitool push: images into registries."""

import contextlib
import os
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from ocitool.cli.attempts import Attempts, Failure
from ocitool.cli.completing import store_names
from ocitool.cli.elsewhere import says_where_else
from ocitool.cli.interrupted import SENT
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.lists import LISTS, NameLists
from ocitool.cli.options.registry import REGISTRY, in_chunks, registries
from ocitool.cli.options.transfer import COPYING, SENDING, FailFast, Sending
from ocitool.cli.output import OUTPUT, Output
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.bundles.mapping import Below
    from ocitool.events import Observer
    from ocitool.images.locations import Place
    from ocitool.images.opening import Opened
    from ocitool.oci import Reference
    from ocitool.operations.push_report import PushReport
    from ocitool.places.registry import Registries, RegistryOptions
    from ocitool.transfer.pipeline import TransferOptions


Arguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SRC [DST…]",
        help="An image, and its names in registries (default: the name of SRC). With --to or -f "
        "each argument is a source.",
        autocompletion=store_names,
    ),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="HOST[/PREFIX]",
        help="Push every image of the sources below this prefix, under the name that it has.",
    ),
]
OriginalNames = Annotated[
    bool,
    typer.Option(
        "--original-names",
        help="Push the images of an archive or a layout to the registries in their own names.",
    ),
]
ByDigest = Annotated[
    bool,
    typer.Option(
        "--by-digest",
        help="Push to HOST/NAME without a tag: the image is there by its digest alone.",
    ),
]


@with_options(lists=LISTS, options=COPYING, sending=SENDING, out=OUTPUT, registry=REGISTRY)
@says_where_else("ocitool push SRC DST", "ocitool copy SRC docker://DST")
def push(
    arguments: Arguments = None,
    *,
    to: To = None,
    original_names: OriginalNames = False,
    by_digest: ByDigest = False,
    lists: NameLists,
    options: "TransferOptions",
    sending: Sending,
    fail_fast: FailFast = False,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Copy images unchanged into registries, sending only what they lack.

    Plain layers of an old docker archive are compressed on the way. The last line printed is
    NAME@DIGEST; with --to it is a table of old and new names. If one destination fails, the
    others are still pushed.
    """
    from ocitool.images.opening import open_together

    sending.check()
    texts = lists.names(arguments, "SRC", out)
    is_list, flatten = bool(lists.files), sending.flatten
    if by_digest:
        _check_by_digest(texts, to, are_sources=is_list, original_names=original_names)
    wanted = _wanted(
        texts,
        to,
        are_sources=is_list,
        original_names=original_names,
        flatten=flatten,
        by_digest=by_digest,
    )
    with out.moving("pushing", left=SENT):
        with (
            registries(in_chunks(registry, sending.chunk_size), out.observer) as connected,
            open_together(
                wanted.places,
                store=out.options.store_for(*wanted.places),
                stdin=0,
                scratch=out.options.temporary,
                registries=connected,
                observer=out.observer,
            ) as sources,
        ):
            reports, attempts = push_sources(
                sources, wanted.destinations, connected, options, sending, out, fail_fast=fail_fast
            )
        finish(reports, out, sending, attempts, table=to is not None)


def _check_by_digest(
    texts: list[str], to: str | None, *, are_sources: bool, original_names: bool
) -> None:
    """Refuse --by-digest where nobody typed into which repository the image goes."""
    if to is not None or original_names:
        other = "--to" if to is not None else "--original-names"
        raise UsageError(f"--by-digest and {other} exclude each other")
    if are_sources or len(texts) == 1:
        raise UsageError(
            "--by-digest needs a destination", hint="ocitool push SRC HOST/NAME --by-digest"
        )


class _Wanted(Struct, frozen=True, kw_only=True):
    """The sources of a push, and where they go."""

    places: "list[Place]"
    destinations: "list[Reference] | Below"


def _wanted(
    texts: list[str],
    to: str | None,
    *,
    are_sources: bool,
    original_names: bool,
    flatten: bool,
    by_digest: bool,
) -> _Wanted:
    """Return what the arguments mean; UsageError where a tar would go to hosts nobody typed.

    All of them are sources with `to`, and when `are_sources`: else all but the first are names.
    """
    from ocitool.bundles.mapping import Below
    from ocitool.images.locations import (
        ENGINES,
        PlaceKind,
        parse_place,
        registry_reference,
        untagged_reference,
    )

    if to is not None and original_names:
        raise UsageError("--to and --original-names exclude each other")
    if to is not None:
        below = Below.parse(to, flatten=flatten)
        return _Wanted(places=[parse_place(text) for text in texts], destinations=below)
    if flatten:
        raise UsageError("--flatten goes with --to HOST/PREFIX")
    sources = texts if are_sources else texts[:1]
    places = [parse_place(text) for text in sources]
    destination = untagged_reference if by_digest else registry_reference
    targets = [destination(text) for text in texts[len(sources) :]]
    safe = (PlaceKind.STORE, PlaceKind.REGISTRY, *ENGINES)
    unsafe = [place for place in places if place.kind not in safe]
    if unsafe and not targets and not original_names:
        text = unsafe[0].text
        raise UsageError(
            f"no destination is given, and the names in {text} may belong to any registry",
            hint=f"ocitool push {text} --to HOST/PREFIX, or to the registries in its names: "
            "--original-names",
        )
    return _Wanted(places=places, destinations=targets)


def push_sources(
    sources: "Sequence[Opened]",
    destinations: "Sequence[Reference] | Below",
    connected: "Registries",
    options: "TransferOptions",
    sending: Sending,
    out: Output,
    *,
    fail_fast: bool = False,
) -> "tuple[list[PushReport], Attempts]":
    """Push what is open; what one push leaves in a registry, the next ones mount.

    Destinations are names in registries, a prefix, or nothing: then the images' own names.
    """
    from ocitool.images.opening import known_blobs
    from ocitool.operations import push
    from ocitool.places.registry.holders import Holders

    targets = _targets(sources, destinations)
    attempts = Attempts(out, len(targets), fail_fast=fail_fast)
    reports: list[PushReport] = []
    if sending.create_repo and not sending.dry_run:
        create_repositories(targets, out.observer)
    holders = Holders()
    with known_blobs(out.options.store_if_any) as known:
        for opened in sources:
            images, chosen = _with_attached(opened, options, destinations)
            with _names_one_of(opened):
                reports += push.push(
                    images.source,
                    images.roots,
                    destinations,
                    connected,
                    chosen,
                    on_existing=sending.policy,
                    observer=out.observer,
                    on_failure=None if attempts.ends_at_once else attempts.add,
                    holders=holders,
                    known=known,
                    dry_run=sending.dry_run,
                )
    return reports, attempts


@contextlib.contextmanager
def _names_one_of(opened: "Opened") -> "Iterator[None]":
    """Say how to name one of several images, and how to push all of them."""
    from ocitool.images.hints import how_to_name
    from ocitool.operations.push_names import SeveralImages

    try:
        yield
    except SeveralImages as error:
        place = opened.place
        hint = f"all of them: ocitool push {shlex.quote(place.text)} --to {error.prefix}"
        if place.path != "-":
            hint = f"name one, for example {how_to_name(place, error.first)}; {hint}"
        raise UsageError(error.message, hint=hint) from error


def _targets(
    sources: "Sequence[Opened]", destinations: "Sequence[Reference] | Below"
) -> "Sequence[Reference]":
    """Return the names that will be pushed to; UsageError if different images would share one."""
    from ocitool.bundles.mapping import Below
    from ocitool.oci import Reference
    from ocitool.operations.push_names import check_clashes

    roots = [root for opened in sources for root in opened.roots]
    names = [name for root in roots for name in root.names]
    if not isinstance(destinations, Below):
        return destinations or [Reference.parse(name) for name in names]
    check_clashes(roots, destinations)
    return list(dict.fromkeys(destinations.destination(name) for name in names))


def _with_attached(
    opened: "Opened", options: "TransferOptions", destinations: "Sequence[Reference] | Below"
) -> "tuple[Opened, TransferOptions]":
    """Return what is pushed of a source: what is attached goes along below a prefix.

    Only a registry has to be asked for it, and only with --referrers.
    """
    from msgspec.structs import replace

    from ocitool.bundles.mapping import Below
    from ocitool.images.locations import PlaceKind
    from ocitool.images.opening import with_attached

    if isinstance(destinations, Below) and opened.place.kind is not PlaceKind.REGISTRY:
        options = replace(options, attached=True)
    return (with_attached(opened) if options.attached else opened), options


def create_repositories(targets: "Sequence[Reference]", observer: "Observer") -> None:
    """Create the repositories that do not exist yet."""
    from ocitool.places.registry.aws.ecr import create_repository

    for repository in dict.fromkeys((target.domain, target.path) for target in targets):
        if create_repository(os.environ, *repository):
            observer.remark(f"created the repository {'/'.join(repository)}")


def finish(
    reports: "Sequence[PushReport]",
    out: Output,
    sending: Sending,
    attempts: Attempts,
    *,
    table: bool = False,
) -> None:
    """Print what was pushed and what failed, and write the digest file; raise if any failed.

    With `table`, or when it is only planned, that is a table of old and new names.
    """
    from ocitool.cli import documents
    from ocitool.cli.render import push as words
    from ocitool.cli.render import texts

    for report in reports:
        name = report.destination.repository
        refused = [Failure(f"{name}@{one.digest}", one.error) for one in report.refused]
        attempts.add_parts(report.attached, refused)
    for report in reports:
        out.remark(words.remarks(report))
    if sending.digestfile is not None and not (sending.dry_run or attempts.failed):
        texts.write_digests(sending.digestfile, [report.digest for report in reports])
    as_table = table or sending.dry_run
    out.result(
        reports,
        text=words.table_of if as_table else lambda reports: [r.pinned for r in reports],
        ids=lambda reports: [str(report.digest) for report in reports],
        view=lambda reports: [
            *map(documents.PUSHED, reports),
            *map(documents.FAILED_PUSH.beside(status="failed"), attempts.failed),
        ],
    )
    if not sending.dry_run:
        out.summary(words.totals(reports))
    attempts.finish()
