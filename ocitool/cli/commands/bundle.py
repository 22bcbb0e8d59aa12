"""ocitool bundle: files that cross an air gap, whole or as the difference, and prove themselves."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.completing import store_names
from ocitool.cli.options.bundles import (
    Bundles,
    NeedOut,
    Target,
    base_of,
    bundle_target,
    need_of,
    opened_bundles,
    volume_size,
    write_need,
)
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.lists import ListFile, listed
from ocitool.cli.options.registry import REGISTRY, Jobs, registries
from ocitool.cli.options.shared import SomePlatforms, platforms, usual_platform
from ocitool.cli.options.transfer import OnExistingOption
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.parsing import command_group
from ocitool.cli.render import console
from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.bundles.files import BundleSet
    from ocitool.images.opening import Opened
    from ocitool.operations.bundle.check import CheckReport
    from ocitool.operations.bundle.create import BundlePlan
    from ocitool.operations.bundle.write import Written
    from ocitool.places.registry import Registries, RegistryOptions

_NO = 3
"""The exit code of "no": damaged, lacking, incomplete."""

bundle = command_group()

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME…",
        help="Images of the store, docker://NAME, ./FILE, oci:DIR, …",
        autocompletion=store_names,
    ),
]
Destination = Annotated[
    str,
    typer.Option("--output", "-o", metavar="FILE|-", help="The file to write; it ends in .tar."),
]
BaseOption = Annotated[
    list[str] | None,
    typer.Option(
        "--base",
        metavar="FILE|SRC",
        help="Leave out what this bundle, list, inventory or place has; may be repeated.",
    ),
]
Have = Annotated[
    str | None,
    typer.Option("--have", metavar="F", help="Leave out what this inventory has (have.json)."),
]
NeedOption = Annotated[
    str | None,
    typer.Option("--need", metavar="F", help="Write only the layers that this file names."),
]
VolumeSize = Annotated[
    str | None,
    typer.Option(
        "--volume-size", metavar="N|fat32|dvd", help="Write volumes of at most this size."
    ),
]
Complete = Annotated[
    bool,
    typer.Option("--strict", help="Write nothing if an image lacks something that belongs to it."),
]
FromRegistries = Annotated[
    bool,
    typer.Option(
        "--from-registries", help="Take names without a prefix from registries, not from the store."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be written.")]
LoadDryRun = Annotated[bool, typer.Option("--dry-run", help="Check, and write nothing.")]
NoClobber = Annotated[
    bool, typer.Option("--no-clobber", help="Refuse to move a name of the store or layout.")
]
OnlyList = Annotated[
    bool, typer.Option("--list", help="Print the list itself (JSON): it serves as --base.")
]


@bundle.command("create")
@with_options(out=OUTPUT, registry=REGISTRY)
def create(
    names: Names = None,
    *,
    file: ListFile = None,
    output: Destination,
    platform: SomePlatforms = None,
    base: BaseOption = None,
    have: Have = None,
    need: NeedOption = None,
    volumes: VolumeSize = None,
    strict: Complete = False,
    from_registries: FromRegistries = False,
    dry_run: DryRun = False,
    jobs: Jobs = DEFAULT_JOBS,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Write images, with signatures, SBOMs and all platforms, to one file or to volumes.

    The same images always give the same bytes. With --base or --have the bundle is a delta: it
    leaves out the layers that the other side has.
    """
    from ocitool.cli import documents
    from ocitool.cli.delivery import check_destination
    from ocitool.cli.render import bundle as words
    from ocitool.operations.bundle.create import plan_bundle
    from ocitool.transfer.pipeline import TransferOptions

    _check_output(output, volumes)
    check_destination(output, out)
    texts = listed(names, file, "NAME")
    limit = volume_size(volumes)
    wanted = need_of(need)
    if wanted is not None and (base or have):
        raise UsageError("--need excludes --base and --have: it says what is needed")
    options = TransferOptions(
        platforms=platforms(platform), attached=True, jobs=jobs, scratch=out.options.temporary
    )
    with (
        out.working("making the bundle"),
        registries(registry, out.observer) as connected,
        _opened(texts, connected, out, from_registries=from_registries) as sources,
    ):
        known = base_of(base or (), have, out, connected)
        with plan_bundle(
            sources,
            options,
            base=known,
            need=wanted,
            featured=usual_platform(),
            observer=out.observer,
        ) as plan:
            out.remark(words.gaps(plan.listing.images))
            if strict and plan.incomplete:
                out.document(plan, documents.BUNDLE_MADE.beside(files=[]))
                raise typer.Exit(_NO)
            written = [] if dry_run else _write(plan, output, limit)
    view = documents.BUNDLE_MADE.beside(files=[documents.BUNDLE_FILE(one) for one in written])
    if output != "-":
        out.result(plan, text=lambda _: words.written_lines(written), view=view)
    out.summary([words.made(written, plan.listing, out.seconds)])


def _check_output(output: str, volumes: str | None) -> None:
    if output != "-" and not output.endswith(".tar"):
        raise UsageError(
            f"the name of a bundle ends in .tar, unlike {output!r}",
            hint="layers are compressed already: compressing the bundle again saves nothing",
        )
    if output == "-" and volumes is not None:
        raise UsageError("volumes cannot be written to stdout", hint="use -o FILE.tar")


@contextlib.contextmanager
def _opened(
    texts: Sequence[str], connected: "Registries", out: Output, *, from_registries: bool
) -> "Iterator[list[Opened]]":
    """Open all images that are meant; a tag is resolved here, once."""
    from ocitool.images.locations import PlaceKind, parse_place
    from ocitool.images.opening import open_together

    places = [parse_place(text) for text in texts]
    if from_registries:
        places = [
            parse_place(f"docker://{place.text}") if place.kind is PlaceKind.STORE else place
            for place in places
        ]
    with open_together(
        places,
        store=out.options.store_for(*places),
        stdin=0,
        scratch=out.options.temporary,
        registries=connected,
        observer=out.observer,
    ) as sources:
        yield sources


def _write(plan: "BundlePlan", output: str, limit: int | None) -> "list[Written]":
    from ocitool.operations.bundle.write import Written, stream_bundle, write_bundle, write_volumes

    if limit is not None:
        return write_volumes(plan, output, limit)
    if output == "-":
        return [Written(path="-", size=stream_bundle(plan, console.out_bytes))]
    return [write_bundle(plan, output)]


@bundle.command("show")
@with_options(out=OUTPUT)
def show(files: Bundles, *, only_list: OnlyList = False, out: Output) -> None:
    """Show what is in a bundle: images, what is attached, what a delta requires."""
    from ocitool.cli import documents
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
                view=documents.BUNDLE,
            )


@bundle.command("verify")
@with_options(out=OUTPUT)
def verify(files: Bundles, *, need_out: NeedOut = None, out: Output) -> None:
    """Prove that a bundle arrived whole: every byte, by its list.

    The exit code is 0 if it is sound, 3 if not; what is lost is named, image by image. --need-out
    writes what a further bundle has to bring.
    """
    from ocitool.bundles.files import Unreadable
    from ocitool.cli import documents
    from ocitool.cli.render import bundle as words
    from ocitool.cli.render.console import safe
    from ocitool.operations.bundle.verify import verify_bundle

    unreadable: list[Unreadable] = []
    reports = []
    with out.working("verifying"), opened_bundles(files, out, unreadable) as found:
        for one in found:
            report = verify_bundle(one, observer=out.observer)
            reports.append(report)
            out.lines(words.verified_lines(report, one.what))
    for file in unreadable:
        out.lines([f"unreadable: {safe(file.error.message)}"])
    view = documents.BUNDLE_VERIFIED.under(
        "bundles", unreadable=[documents.UNREADABLE(file) for file in unreadable]
    )
    out.document(reports, view)
    if reports:
        write_need(need_out, [report.need for report in reports], out)
    if not reports and len(unreadable) == 1:
        raise unreadable[0].error
    if unreadable or not all(report.sound for report in reports):
        raise typer.Exit(_NO)


@bundle.command("check")
@with_options(out=OUTPUT, registry=REGISTRY)
def check(
    files: Bundles,
    *,
    to: Target = "store",
    need_out: NeedOut = None,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Tell whether a place has all that a bundle needs there; nothing is written.

    The exit code is 0 if the bundle can be applied, 3 if not.
    """
    from ocitool.cli import documents
    from ocitool.cli.render import bundle as words

    reports = []
    with out.working("checking"), opened_bundles(files, out) as found:
        for one in found:
            report = _check(one, to, out, registry)
            reports.append(report)
            out.lines(words.checked_lines(report, one.what, to))
    out.document(reports, documents.BUNDLE_CHECKED)
    write_need(need_out, [report.need for report in reports], out)
    if any(report.lacking for report in reports):
        raise typer.Exit(_NO)


def _check(one: "BundleSet", to: str, out: Output, registry: "RegistryOptions") -> "CheckReport":
    from ocitool.images.opening import known_blobs
    from ocitool.operations.bundle.check import RegistryCheck, check_at, check_registry

    target = bundle_target(to, out)
    if target.below is not None:
        with (
            registries(registry, out.observer) as connected,
            known_blobs(out.options.store_if_any) as known,
        ):
            return check_registry(one, RegistryCheck(one, target.below, connected, known=known))
    path = target.layout or out.options.store
    return check_at(one, path, observer=out.observer)


@bundle.command("load")
@with_options(out=OUTPUT, registry=REGISTRY)
def load(
    files: Bundles,
    *,
    to: Target = "store",
    on_existing: OnExistingOption = "same",
    need_out: NeedOut = None,
    no_clobber: NoClobber = False,
    dry_run: LoadDryRun = False,
    jobs: Jobs = DEFAULT_JOBS,
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
    """Put volumes together: the same bytes as if the bundle had never been divided."""
    from ocitool.operations.bundle.rejoin import join_bundle

    _check_output(output, None)
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
    out: Output,
) -> None:
    """Divide a bundle into volumes that each prove themselves, in a size that a medium holds."""
    from ocitool.operations.bundle.rejoin import split_bundle

    _check_output(output, volumes)
    limit = volume_size(volumes) or 0
    with out.working("splitting"), _one_bundle(files, out) as found:
        written = split_bundle(found, output, limit, observer=out.observer)
    _show_written(written, out)


@contextlib.contextmanager
def _one_bundle(files: Sequence[str], out: Output) -> "Iterator[BundleSet]":
    with opened_bundles(files, out) as found:
        if len(found) != 1:
            raise UsageError(f"these are files of {len(found)} bundles: name those of one")
        yield found[0]


def _show_written(written: "Sequence[Written]", out: Output) -> None:
    from ocitool.cli import documents
    from ocitool.cli.render import bundle as words

    out.result(
        list(written),
        text=words.written_lines,
        ids=lambda files: [file.path for file in files],
        view=documents.BUNDLE_FILE,
    )
