"""ocitool bundle load: bundles into a store, an engine or a registry."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from msgspec import Struct
from msgspec.structs import replace

from ocitool.cli.attempts import Attempts
from ocitool.cli.options.bundles import (
    BundleTarget,
    bundle_target,
    opened_bundles,
    write_need,
)
from ocitool.cli.options.registry import registries
from ocitool.cli.options.shared import usual_platform
from ocitool.cli.output import Output
from ocitool.cli.render.columns import counted
from ocitool.cli.render.console import safe

if TYPE_CHECKING:
    from ocitool.bundles.files import BundleSet, Unreadable
    from ocitool.bundles.mapping import Mapping
    from ocitool.bundles.stream import BundleStream
    from ocitool.bundles.trust import Trust
    from ocitool.images.locations import Place
    from ocitool.operations.bundle.check import NotApplicable
    from ocitool.operations.bundle.load import Loaded
    from ocitool.operations.push_report import PushReport
    from ocitool.places.registry import RegistryOptions
    from ocitool.transfer.report import CopyReport

_NO = 3


class LoadOptions(Struct, frozen=True, kw_only=True):
    """The options of `bundle load`."""

    to: str
    on_existing: str
    need_out: str | None
    clobber: bool
    dry_run: bool
    jobs: int
    trust: "Trust"
    rules: tuple[str, ...] = ()
    map_out: str | None = None


def load_bundles(
    paths: Sequence[str], options: LoadOptions, registry: "RegistryOptions", out: Output
) -> None:
    """Load all bundles of some files, in an order in which each can be applied."""
    from ocitool.cli.render import bundle as words

    target = bundle_target(options.to, out)
    unreadable: list[Unreadable] = []
    stream = _stream(paths, target, options)
    if stream is not None and stream.is_whole:
        _receive(stream, target, options, out)
        return
    stdin = stream.read if stream is not None else 0
    with out.working("loading"), opened_bundles(paths, out, unreadable, stdin) as found:
        if unreadable and not found:
            raise unreadable[0].error
        for file in unreadable:
            out.observer.warn(f"{file.path} is left out: {file.error.message}")
        out.remark(words.in_folders(paths, found))
        for one in found:
            if options.trust.require(one) is None:
                out.remark(words.unchecked(one))
        # A registry takes one image after another, all other places a bundle as a whole.
        names = sum(len(one.head.listing.names) for one in found)
        attempts = Attempts(out, len(found) if target.below is None else names)
        loaded = _load_all(found, target, options, registry, attempts, out)
    _show(loaded, unreadable, target, options, attempts, out)
    attempts.finish()
    if unreadable or any(one.check.lost_images for one in loaded):
        raise typer.Exit(_NO)
    _write_map(loaded, options, out)


def _write_map(loaded: "Sequence[Loaded]", options: LoadOptions, out: Output) -> None:
    """Write what the names became to the file of --map-out, once all images are there."""
    from ocitool.bundles.mapping import encode_map
    from ocitool.fsops import write_output

    if options.map_out is None or options.dry_run:
        return
    images = [image for one in loaded for image in one.mapped]
    write_output(options.map_out, encode_map(images))
    out.remark([f"wrote {safe(options.map_out)}: where {counted(len(images), 'image')} went"])


def load_parts(
    paths: Sequence[str], attempts: Attempts, out: Output, *, clobber: bool, jobs: int
) -> "list[Loaded]":
    """Load deltas and volumes into the store, for `ocitool load`; failures go to `attempts`."""
    from ocitool.bundles.trust import Trust
    from ocitool.cli.render import bundle as words
    from ocitool.cli.render import texts

    options = LoadOptions(
        to="store",
        on_existing="same",
        need_out=None,
        clobber=clobber,
        dry_run=False,
        jobs=jobs,
        trust=Trust(),
    )
    unreadable: list[Unreadable] = []
    with opened_bundles(paths, out, unreadable) as found:
        for file in unreadable:
            with attempts.one(file.path):
                raise file.error
        out.remark(words.in_folders(paths, found))
        target = bundle_target("store", out)
        loaded = _load_all(found, target, options, None, attempts, out)
    for one in loaded:
        if one.copied is not None:
            out.lines(words.loaded_lines(one.copied), ids=texts.digests(one.copied))
        out.lines(words.lost_lines([one]))
        out.remark(words.how_to_complete(one, None))
    return loaded


def _stream(
    paths: Sequence[str], target: BundleTarget, options: LoadOptions
) -> "BundleStream | None":
    """Return standard input as a bundle whose blobs can be stored as they arrive."""
    from ocitool.bundles.stream import BundleStream
    from ocitool.places.archive.diagnosis import STDIN

    if list(paths) != ["-"] or target.layout is None or options.dry_run:
        return None
    return BundleStream(0, STDIN)


def _receive(
    stream: "BundleStream", target: BundleTarget, options: LoadOptions, out: Output
) -> None:
    """Load a bundle from a pipe into the store or a layout."""
    from ocitool.bundles.mapping import Mapping
    from ocitool.operations.bundle.check import NotApplicable
    from ocitool.operations.bundle.receive import receive_into_layout

    attempts = Attempts(out, 1)
    loaded = []
    with out.working("loading"), attempts.one(stream.what):
        options.trust.require(stream)
        try:
            one = receive_into_layout(
                stream,
                target.layout or out.options.store,
                is_store=target.is_store,
                mapping=Mapping.parse(options.rules),
                clobber=options.clobber,
                jobs=options.jobs,
                observer=out.observer,
            )
        except NotApplicable as error:
            write_need(options.need_out, [error.report.need], out)
            raise
        loaded.append(one)
    _show(loaded, [], target, options, attempts, out)
    attempts.finish()
    _write_map(loaded, options, out)


def _load_all(
    bundles: "Sequence[BundleSet]",
    target: BundleTarget,
    options: LoadOptions,
    registry: "RegistryOptions | None",
    attempts: Attempts,
    out: Output,
) -> "list[Loaded]":
    """Load each bundle, completed by the others; one that lacks something waits for them."""
    from ocitool.bundles.mapping import Mapping
    from ocitool.operations.bundle.check import NotApplicable

    where = _Destination(
        target=target,
        mapping=Mapping.parse(options.rules, below=target.below),
        options=options,
        registry=registry,
    )
    loaded: list[Loaded] = []
    waiting = _in_building_order(bundles)
    while waiting:
        later = []
        for one in waiting:
            try:
                others = tuple(other for other in bundles if other is not one)
                loaded.append(_load(one, replace(where, beside=others), attempts, out))
            except NotApplicable as error:
                later.append((one, error))
        if len(later) == len(waiting):
            _refuse(later, options, attempts, out)
            break
        waiting = [one for one, _ in later]
    return loaded


def _in_building_order(bundles: "Sequence[BundleSet]") -> "list[BundleSet]":
    """Return bundles with those that others build on first: the last one has the newest tags."""
    ordered: list[BundleSet] = []
    waiting = list(bundles)
    while waiting:
        lists = {str(one.head.digest) for one in waiting}
        # A list names the digests of others, so no two can build on each other.
        first = [one for one in waiting if lists.isdisjoint(one.head.listing.builds_on)] or waiting
        ordered += first
        waiting = [one for one in waiting if one not in first]
    return ordered


def _refuse(
    lacking: "Sequence[tuple[BundleSet, NotApplicable]]",
    options: LoadOptions,
    attempts: Attempts,
    out: Output,
) -> None:
    """Say what bundles lack that cannot be applied; write it to the file of --need-out."""
    write_need(options.need_out, [error.report.need for _, error in lacking], out)
    for bundle, error in lacking:
        with attempts.one(bundle.what):
            raise error


class _Destination(Struct, frozen=True, kw_only=True):
    """Where bundles go, under which names, and with which bundles beside them."""

    target: BundleTarget
    mapping: "Mapping"
    options: LoadOptions
    registry: "RegistryOptions | None"
    beside: "Sequence[BundleSet]" = ()


def _load(one: "BundleSet", where: _Destination, attempts: Attempts, out: Output) -> "Loaded":
    from ocitool.operations.bundle.load import load_into_layout

    if where.target.below is not None and where.registry is not None:
        return _load_into_registry(one, where, where.registry, attempts, out)
    if where.target.engine is not None:
        return _load_into_engine(one, where, where.target.engine, out)
    return load_into_layout(
        one,
        where.target.layout or out.options.store,
        is_store=where.target.is_store,
        beside=where.beside,
        mapping=where.mapping,
        clobber=where.options.clobber,
        jobs=where.options.jobs,
        dry_run=where.options.dry_run,
        observer=out.observer,
    )


def _load_into_registry(
    one: "BundleSet",
    where: _Destination,
    registry: "RegistryOptions",
    attempts: Attempts,
    out: Output,
) -> "Loaded":
    from ocitool.images.opening import known_blobs
    from ocitool.operations.bundle.load import load_into_registry
    from ocitool.operations.push_report import OnExisting

    with (
        registries(registry, out.observer) as connected,
        known_blobs(out.options.store_if_any) as known,
    ):
        return load_into_registry(
            one,
            where.mapping,
            connected,
            beside=where.beside,
            known=known,
            on_existing=OnExisting(where.options.on_existing),
            on_failure=None if attempts.ends_at_once else attempts.add,
            jobs=where.options.jobs,
            dry_run=where.options.dry_run,
            observer=out.observer,
        )


def _load_into_engine(
    one: "BundleSet", where: _Destination, engine: "Place", out: Output
) -> "Loaded":
    from ocitool.operations.bundle.check import layout_at
    from ocitool.operations.bundle.load import load_into_engine

    with layout_at(out.options.store_if_any) as layout:
        return load_into_engine(
            one,
            engine,
            layout=layout,
            beside=where.beside,
            mapping=where.mapping,
            featured=usual_platform(),
            jobs=where.options.jobs,
            observer=out.observer,
        )


def _show(
    loaded: "Sequence[Loaded]",
    unreadable: "Sequence[Unreadable]",
    target: BundleTarget,
    options: LoadOptions,
    attempts: Attempts,
    out: Output,
) -> None:
    """Print what was loaded, what could not be, and the summary."""
    from ocitool.cli import documents
    from ocitool.cli.bundle_documents import BUNDLE_LOADED, UNREADABLE
    from ocitool.cli.render import bundle as words
    from ocitool.transfer.report import merge_reports

    pushed = [report for one in loaded for report in one.pushed]
    copied = merge_reports([one.copied for one in loaded if one.copied is not None])
    lost = [name for one in loaded for name in one.check.lost_images]
    view = BUNDLE_LOADED.beside(
        failed=[documents.FAILURE(one) for one in attempts.failed],
        unreadable=[UNREADABLE(one) for one in unreadable],
        lost_images=lost,
        pushed=[documents.PUSHED(report) for report in pushed],
    )
    out.document(copied, view)
    if pushed:
        _print_pushed(pushed, out)
    elif not options.dry_run:
        _print_copied(copied, target, out)
    out.lines(words.lost_lines(loaded))
    for one in loaded:
        out.remark(words.how_to_complete(one, options.need_out))
    write_need(options.need_out, [one.check.need for one in loaded if one.check.lacking], out)
    if options.dry_run:
        out.summary([f"{options.to} has all that is required; nothing was changed"])
    elif loaded:
        out.summary(_totals(pushed, copied, out))


def _print_pushed(pushed: "Sequence[PushReport]", out: Output) -> None:
    from ocitool.cli.render import push as words

    for report in pushed:
        out.remark(words.remarks(report))
    out.lines(words.table_of(pushed), ids=[str(report.digest) for report in pushed])


def _print_copied(copied: "CopyReport", target: BundleTarget, out: Output) -> None:
    from ocitool.cli.render import bundle as words
    from ocitool.cli.render import texts

    out.lines(words.loaded_lines(copied), ids=texts.digests(copied))
    out.remark(texts.remarks(copied, into_store=target.is_store))


def _totals(pushed: "Sequence[PushReport]", copied: "CopyReport", out: Output) -> list[str]:
    from ocitool.cli.render import push as words
    from ocitool.cli.render import texts
    from ocitool.cli.render.summary import done

    if pushed:
        return words.totals(pushed)[-1:]
    return [done(f"loaded {texts.several(copied.images)}", copied.transfer, out.seconds)]
