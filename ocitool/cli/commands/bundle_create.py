"""ocitool bundle create: images into a bundle, whole or as a delta, in one file or in volumes."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from ocitool.cli.completing import store_names
from ocitool.cli.elsewhere import says_where_else
from ocitool.cli.interrupted import not_all_volumes, not_written
from ocitool.cli.options.bundles import (
    Destination,
    Parity,
    base_of,
    base_places,
    check_output,
    need_of,
    volume_size,
)
from ocitool.cli.options.expand import Group, with_options
from ocitool.cli.options.lists import LISTS, NameLists
from ocitool.cli.options.registry import REGISTRY, Jobs, connected_to, registries
from ocitool.cli.options.rules import images_taken, is_rules, read_rules
from ocitool.cli.options.shared import SomePlatforms, platforms, usual_platform
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render import console
from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.images.locations import Place
    from ocitool.images.opening import Opened
    from ocitool.operations.bundle.create import BundlePlan
    from ocitool.operations.bundle.write import Written
    from ocitool.places.registry import Registries, RegistryOptions
    from ocitool.transfer.pipeline import TransferOptions

_NO = 3

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME…",
        help="Images of the store, docker://NAME, ./FILE, oci:DIR, …",
        autocompletion=store_names,
    ),
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
SignKey = Annotated[
    str | None,
    typer.Option(
        "--sign-key", metavar="K", help="Sign with this SSH key (a file; ssh-keygen does it)."
    ),
]
InfoOut = Annotated[
    str | None,
    typer.Option(
        "--info-out", metavar="F", help="Write who made the bundle, when and of what (JSON)."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be written.")]


class Shape(Struct, frozen=True, kw_only=True):
    """What is left out of a bundle, and in which form it is written."""

    base: list[str] | None
    have: str | None
    need: str | None
    volumes: str | None
    parity: bool
    sign_key: str | None
    info_out: str | None
    strict: bool
    from_registries: bool
    dry_run: bool

    def __post_init__(self) -> None:
        if self.need is not None and (self.base or self.have):
            raise UsageError("--need excludes --base and --have: it says what is needed")
        if self.parity and self.volumes is None:
            raise UsageError(
                "--parity goes with --volume-size: it covers the loss of one volume",
                hint="name the size of the media, for example --volume-size dvd",
            )


SHAPE = Group(
    {
        "base": (BaseOption, None),
        "have": (Have, None),
        "need": (NeedOption, None),
        "volumes": (VolumeSize, None),
        "parity": (Parity, False),
        "sign_key": (SignKey, None),
        "info_out": (InfoOut, None),
        "strict": (Complete, False),
        "from_registries": (FromRegistries, False),
        "dry_run": (DryRun, False),
    },
    lambda _, **options: Shape(**options),
)


class _Wanted(Struct, frozen=True, kw_only=True):
    """The images that are named, and the files of rules that take more."""

    texts: Sequence[str]
    rules: Sequence[str]


@with_options(lists=LISTS, shape=SHAPE, out=OUTPUT, registry=REGISTRY)
@says_where_else(
    "ocitool bundle create SRC -o FILE",
    "ocitool bundle create SRC -o FILE, or --from-registries for all names",
)
def create(
    names: Names = None,
    *,
    lists: NameLists,
    output: Destination,
    platform: SomePlatforms = None,
    shape: Shape,
    jobs: Jobs = DEFAULT_JOBS,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Write images, with signatures, SBOMs and all platforms, to one file or to volumes.

    A file of -f may also be one of rules for `ocitool sync`: the bundle has the images that they
    take. The same images always give the same bytes. With --base or --have the bundle is a delta:
    it leaves out the layers that the other side has.
    """
    from ocitool.cli.delivery import check_destination
    from ocitool.transfer.pipeline import TransferOptions

    check_output(output, shape.volumes)
    check_destination(output, out)
    options = TransferOptions(
        platforms=platforms(platform), attached=True, jobs=jobs, scratch=out.options.temporary
    )
    rules = [path for path in lists.files if is_rules(path)]
    texts = list(names or ())
    if names or len(rules) < len(lists.files) or not rules:
        texts = lists.without(rules).names(names, "NAME", out)
    wanted = _Wanted(texts=texts, rules=rules)
    left = not_all_volumes(output) if shape.volumes is not None else not_written(output)
    with (
        out.working("making the bundle", left=left),
        _planned(wanted, options, shape, registry, out) as plan,
    ):
        _remark(plan, out)
        if shape.strict and plan.incomplete:
            _show(plan, [], output, out)
            raise typer.Exit(_NO)
        written = [] if shape.dry_run else _write(plan, output, shape)
    if shape.info_out is not None and not shape.dry_run:
        _write_info(shape.info_out, plan, [*texts, *rules], written)
    _show(plan, written, output, out)


@contextlib.contextmanager
def _planned(
    wanted: _Wanted,
    options: "TransferOptions",
    shape: Shape,
    registry: "RegistryOptions",
    out: Output,
) -> "Iterator[BundlePlan]":
    """Plan the bundle; its images are open while it is written."""
    from ocitool.operations.bundle.create import plan_bundle

    bases = shape.base or ()
    places = _places(wanted.texts, shape)
    with (
        _connected(wanted, [*places, *base_places(bases)], registry, out) as connected,
        _opened([*places, *_taken(wanted, connected, options, out)], connected, out) as sources,
        plan_bundle(
            sources,
            options,
            base=base_of(bases, shape.have, out, connected),
            need=need_of(shape.need),
            featured=usual_platform(),
            observer=out.observer,
        ) as plan,
    ):
        yield plan


@contextlib.contextmanager
def _connected(
    wanted: _Wanted, places: "Sequence[Place]", registry: "RegistryOptions", out: Output
) -> "Iterator[Registries | None]":
    """Yield connections to registries, if any is asked for images or for their tags."""
    if not wanted.rules:
        with connected_to(registry, out.observer, *places) as connected:
            yield connected
        return
    with registries(registry, out.observer) as connected:
        yield connected


def _taken(
    wanted: _Wanted, connected: "Registries | None", options: "TransferOptions", out: Output
) -> "list[Place]":
    """Return the images that rules take."""
    from ocitool.images.locations import parse_place

    if connected is None or not wanted.rules:
        return []
    files = [read_rules(path) for path in wanted.rules]
    return [parse_place(text) for text in images_taken(files, connected, options.jobs, out)]


def _remark(plan: "BundlePlan", out: Output) -> None:
    """Tell what had to be converted, and what could not be had."""
    from ocitool.cli.render import bundle as words
    from ocitool.cli.render import texts

    for report in plan.reports:
        out.remark(texts.remarks(report, into_store=False))
    out.remark(words.gaps(plan.listing.images))


def _show(plan: "BundlePlan", written: "Sequence[Written]", output: str, out: Output) -> None:
    """Print the files that were written, unless the bundle itself is on stdout."""
    from ocitool.cli import bundle_documents
    from ocitool.cli.render import bundle as words

    view = bundle_documents.BUNDLE_MADE.beside(
        files=[bundle_documents.BUNDLE_FILE(one) for one in written]
    )
    if output != "-":
        out.result(plan, text=lambda _: words.written_lines(written), view=view)
    out.summary([words.made(written, plan.listing, out.seconds)])


def _places(texts: Sequence[str], shape: Shape) -> "list[Place]":
    """Return the places that are meant."""
    from ocitool.images.locations import PlaceKind, parse_place

    places = [parse_place(text) for text in texts]
    if not shape.from_registries:
        return places
    return [
        parse_place(f"docker://{place.text}") if place.kind is PlaceKind.STORE else place
        for place in places
    ]


@contextlib.contextmanager
def _opened(
    places: "Sequence[Place]", connected: "Registries | None", out: Output
) -> "Iterator[list[Opened]]":
    """Open all images that are meant; a tag is resolved here, once."""
    from ocitool.images.opening import open_together

    with open_together(
        places,
        store=out.options.store_for(*places),
        stdin=0,
        scratch=out.options.temporary,
        registries=connected,
        observer=out.observer,
    ) as sources:
        yield sources


def _write(plan: "BundlePlan", output: str, shape: Shape) -> "list[Written]":
    from ocitool.operations.bundle.write import Written, stream_bundle, write_bundle, write_volumes

    signature = _sign(plan.contents.raw, shape.sign_key)
    limit = volume_size(shape.volumes)
    if limit is not None:
        return write_volumes(plan, output, limit, signature=signature, parity=shape.parity)
    if output == "-":
        size = stream_bundle(plan, console.out_bytes, signature=signature)
        return [Written(path="-", size=size)]
    return [write_bundle(plan, output, signature=signature)]


def _write_info(
    path: str, plan: "BundlePlan", sources: Sequence[str], written: "Sequence[Written]"
) -> None:
    """Write the file of --info-out, which is no part of the bundle."""
    from ocitool.bundles.info import encode_info, info_of
    from ocitool.fsops import write_output
    from ocitool.oci import Digest

    files = [file.path for file in written]
    write_output(path, encode_info(info_of(Digest.of(plan.contents.raw), sources, files)))


def _sign(raw: bytes, key: str | None) -> bytes | None:
    if key is None:
        return None
    from ocitool.bundles.signature import sign

    return sign(raw, key)
