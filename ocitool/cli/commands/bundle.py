"""ocitool bundle: files that cross an air gap, whole or as the difference, and prove themselves."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.commands.bundle_create import create
from ocitool.cli.commands.bundle_sign import sign
from ocitool.cli.options.bundles import (
    TRUST,
    Bundles,
    Destination,
    NeedOut,
    Parity,
    Target,
    bundle_target,
    check_output,
    opened_bundles,
    volume_size,
    write_need,
)
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.registry import REGISTRY, Jobs, registries
from ocitool.cli.options.transfer import OnExistingOption
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.parsing import command_group
from ocitool.cli.render import console
from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.bundles.files import BundleSet, Unreadable
    from ocitool.bundles.trust import Trust
    from ocitool.operations.bundle.check import CheckReport
    from ocitool.operations.bundle.write import Written
    from ocitool.places.registry import RegistryOptions

_NO = 3
"""The exit code of "no": damaged, lacking, incomplete."""

bundle = command_group()
bundle.command("create")(create)
bundle.command("sign")(sign)

MapRules = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="OLD=NEW",
        help="Rename: two prefixes such as HOST/A=HOST/B, or two names; may be repeated.",
    ),
]
MapOut = Annotated[
    str | None,
    typer.Option(
        "--map-out", metavar="F", help="Write what each name became to this file, for `rewrite`."
    ),
]
LoadDryRun = Annotated[bool, typer.Option("--dry-run", help="Check, and write nothing.")]
NoClobber = Annotated[
    bool, typer.Option("--no-clobber", help="Refuse to move a name of the store or layout.")
]
OnlyList = Annotated[
    bool, typer.Option("--list", help="Print the list itself (JSON): it serves as --base.")
]


@bundle.command("show")
@with_options(out=OUTPUT)
def show(files: Bundles, *, only_list: OnlyList = False, out: Output) -> None:
    """Show what is in a bundle: images, what is attached, what a delta requires."""
    from ocitool.cli import bundle_documents
    from ocitool.cli.render import bundle as words

    with opened_bundles(files, out) as found:
        for one in found:
            if only_list:
                console.out_bytes(one.head.raw + b"\n")
                continue
            out.result(
                one,
                text=words.shown,
                ids=lambda one: list(dict.fromkeys(i.digest for i in one.head.listing.images)),
                view=bundle_documents.BUNDLE.beside(lost_images=words.lost_here(one)),
            )


@bundle.command("verify")
@with_options(trust=TRUST, out=OUTPUT)
def verify(files: Bundles, *, need_out: NeedOut = None, trust: "Trust", out: Output) -> None:
    """Prove that a bundle arrived whole: every byte, by its list.

    The exit code is 0 if it is sound, 3 if not; what is lost is named, image by image. --need-out
    writes what a further bundle has to bring.
    """
    from ocitool.cli.commands.bundle_verify import verify_bundles

    verify_bundles(files, trust, out, need_out=need_out)


@bundle.command("check")
@with_options(trust=TRUST, out=OUTPUT, registry=REGISTRY)
def check(
    files: Bundles,
    *,
    to: Target = "store",
    rules: MapRules = None,
    need_out: NeedOut = None,
    trust: "Trust",
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Tell whether a place has all that a bundle needs there; nothing is written.

    The exit code is 0 if the bundle can be applied, 3 if not.
    """
    from ocitool.cli import bundle_documents
    from ocitool.cli.render import bundle as words

    reports = []
    with out.working("checking"), opened_bundles(files, out) as found:
        for one in found:
            trust.require(one)
            others = [other for other in found if other is not one]
            report = _check(one, others, to, tuple(rules or ()), out, registry)
            reports.append(report)
            out.lines(words.checked_lines(report, one.what, _called(to, out)))
    out.document(reports, bundle_documents.BUNDLE_CHECKED)
    write_need(need_out, [report.need for report in reports], out)
    if any(report.lacking for report in reports):
        raise typer.Exit(_NO)


def _called(to: str, out: Output) -> str:
    """Return what the place of --to is called: a store that was named, by its folder."""
    named = out.options.named_store
    return f"the store {named}" if to == "store" and named is not None else to


def _check(
    one: "BundleSet",
    others: "Sequence[BundleSet]",
    to: str,
    rules: tuple[str, ...],
    out: Output,
    registry: "RegistryOptions",
) -> "CheckReport":
    from ocitool.bundles.mapping import Mapping
    from ocitool.images.opening import known_blobs
    from ocitool.operations.bundle.check import check_at, check_names
    from ocitool.operations.bundle.registry_check import RegistryCheck, check_registry

    target = bundle_target(to, out)
    mapping = Mapping.parse(rules, below=target.below)
    check_names(one.head.listing, mapping.destination)
    if target.below is not None:
        with (
            registries(registry, out.observer) as connected,
            known_blobs(out.options.store_if_any) as known,
        ):
            check = RegistryCheck(one, mapping, connected, known=known)
            return check_registry(one, check, others)
    path = target.layout or out.options.store
    return check_at(one, path, beside=others, observer=out.observer)


@bundle.command("load")
@with_options(trust=TRUST, out=OUTPUT, registry=REGISTRY)
def load(
    files: Bundles,
    *,
    to: Target = "store",
    rules: MapRules = None,
    map_out: MapOut = None,
    on_existing: OnExistingOption = "same",
    need_out: NeedOut = None,
    no_clobber: NoClobber = False,
    dry_run: LoadDryRun = False,
    jobs: Jobs = DEFAULT_JOBS,
    trust: "Trust",
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Load bundles into the store, an engine, a layout, or below a prefix of a registry.

    Nothing is written unless the place has what a delta needs there. Into a registry each blob is
    sent at most once, and mounted into the other repositories. If volumes are missing, the images
    that are whole are loaded, and the exit code is 3.
    """
    from ocitool.cli.commands.bundle_load import LoadOptions, load_bundles

    options = LoadOptions(
        to=to,
        on_existing=on_existing,
        need_out=need_out,
        clobber=not no_clobber,
        dry_run=dry_run,
        jobs=jobs,
        trust=trust,
        rules=tuple(rules or ()),
        map_out=map_out,
    )
    load_bundles(files, options, registry, out)


@bundle.command("join")
@with_options(out=OUTPUT)
def join(
    files: Bundles,
    *,
    output: Destination,
    out: Output,
) -> None:
    """Put volumes together: the same bytes as if the bundle had never been divided.

    One volume may be missing or damaged if their parity volume is among them.
    """
    from ocitool.operations.bundle.rejoin import join_bundle

    check_output(output, None)
    with out.working("joining"), _one_bundle(files, out) as found:
        written = join_bundle(found, output, observer=out.observer)
    _show_written([written], out)


@bundle.command("split")
@with_options(out=OUTPUT)
def split(
    files: Bundles,
    *,
    output: Destination,
    volumes: Annotated[
        str, typer.Option("--volume-size", metavar="N|fat32|dvd", help="Size of each volume.")
    ],
    parity: Parity = False,
    out: Output,
) -> None:
    """Divide a bundle into volumes that each prove themselves, in a size that a medium holds."""
    from ocitool.operations.bundle.rejoin import split_bundle

    check_output(output, volumes)
    limit = volume_size(volumes) or 0
    with out.working("splitting"), _one_bundle(files, out) as found:
        written = split_bundle(found, output, limit, parity=parity, observer=out.observer)
    _show_written(written, out)


@contextlib.contextmanager
def _one_bundle(files: Sequence[str], out: Output) -> "Iterator[BundleSet]":
    unreadable: list[Unreadable] = []
    with opened_bundles(files, out, unreadable) as found:
        if unreadable and not found:
            raise unreadable[0].error
        if len(found) != 1:
            raise UsageError(f"these are files of {len(found)} bundles: name those of one")
        for file in unreadable:
            out.observer.warn(f"{file.path} is left out: {file.error.message}")
        yield found[0]


def _show_written(written: "Sequence[Written]", out: Output) -> None:
    from ocitool.cli import bundle_documents
    from ocitool.cli.render import bundle as words

    out.result(
        list(written),
        text=words.written_lines,
        ids=lambda files: [file.path for file in files],
        view=bundle_documents.BUNDLE_FILE,
    )
