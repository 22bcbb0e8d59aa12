"""Options of the commands about bundles: what is left out, where it goes, who signed it."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.expand import Group
from ocitool.cli.options.lists import read_input
from ocitool.cli.options.quantities import parse_size
from ocitool.cli.output import Output
from ocitool.cli.render.columns import counted
from ocitool.cli.render.console import safe
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.bundles.files import BundleSet, Unreadable
    from ocitool.bundles.inventory import Base, Need
    from ocitool.bundles.mapping import Below
    from ocitool.bundles.trust import Trust
    from ocitool.images.locations import Place
    from ocitool.places.archive.opening import Stdin
    from ocitool.places.registry import Registries

FAT32, DVD = 4_294_967_295, 4_700_000_000
_MEDIA = {"fat32": FAT32, "dvd": DVD, "cd": 700_000_000}
_LARGEST = 256 << 20
_ENGINES = {"docker": "docker-daemon:", "podman": "podman:", "containerd": "containerd:"}

Bundles = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE…",
        help="A bundle, its volumes in any order, or a folder of them; - is stdin; s3://BUCKET/KEY "
        "(also gs://, az://) is an object.",
    ),
]
Destination = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE|-",
        help="The file to write, or s3://BUCKET/KEY (also gs://, az://); it ends in .tar.",
    ),
]
Parity = Annotated[
    bool,
    typer.Option(
        "--parity",
        help="Write one more volume, NAME.parity.tar, from which any one of them is made again.",
    ),
]
NeedOut = Annotated[
    str | None,
    typer.Option("--need-out", metavar="F", help="Write what is lacking to this file (JSON)."),
]
Target = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="PLACE",
        help="store, docker, podman, containerd, oci:DIR, or HOST[/PREFIX] for a registry.",
    ),
]


def _trust(_: typer.Context, **options: str | None) -> "Trust":
    from ocitool.bundles.trust import Trust

    return Trust(**options)


_PANEL = "Signature"
TRUST = Group(
    {
        "allowed_signers": (
            Annotated[
                str | None,
                typer.Option(
                    "--allowed-signers",
                    metavar="F",
                    rich_help_panel=_PANEL,
                    help="Require a signature by a key in this file (ssh-keygen's form).",
                ),
            ],
            None,
        ),
        "identity": (
            Annotated[
                str | None,
                typer.Option(
                    "--identity",
                    metavar="I",
                    rich_help_panel=_PANEL,
                    help="Who has to have signed, as in that file, for example ci@example.org.",
                ),
            ],
            None,
        ),
        "signature": (
            Annotated[
                str | None,
                typer.Option(
                    "--signature",
                    metavar="F",
                    rich_help_panel=_PANEL,
                    help="File with the signature. Default: the one inside, or FILE.sig.",
                ),
            ],
            None,
        ),
        "minisign_key": (
            Annotated[
                str | None,
                typer.Option(
                    "--minisign-key",
                    metavar="KEY",
                    rich_help_panel=_PANEL,
                    help="Require a signature of minisign by this public key.",
                ),
            ],
            None,
        ),
    },
    _trust,
)


class BundleTarget:
    """Where a bundle goes: a layout (or the store), an engine, or below a prefix of a registry."""

    def __init__(
        self, layout: str | None, engine: "Place | None", below: "Below | None", *, is_store: bool
    ) -> None:
        self.layout = layout
        self.engine = engine
        self.below = below
        self.is_store = is_store


def bundle_target(text: str, out: Output) -> BundleTarget:
    """Return what --to means; UsageError for a place that takes no bundle."""
    from ocitool.bundles.mapping import Below
    from ocitool.images.locations import RECEIVERS, PlaceKind, parse_place

    if not text:
        raise UsageError(
            "the name of the place is empty", hint="such as store, oci:DIR or HOST/PREFIX"
        )
    word = _ENGINES.get(text, text)
    if word == "store":
        return BundleTarget(out.options.store, None, None, is_store=True)
    place = parse_place(word)
    if place.kind in RECEIVERS and not place.name:
        return BundleTarget(None, place, None, is_store=False)
    if place.kind is PlaceKind.LAYOUT and place.name is None:
        return BundleTarget(place.path, None, None, is_store=False)
    if place.kind in (PlaceKind.STORE, PlaceKind.REGISTRY):
        return BundleTarget(None, None, Below.parse(text), is_store=False)
    raise UsageError(
        f"a bundle cannot be loaded into {text!r}",
        hint="use store, docker, podman, containerd, oci:DIR, or HOST/PREFIX for a registry",
    )


def write_need(path: str | None, needs: "Sequence[Need]", out: Output) -> None:
    """Write what is lacking to the file of --need-out, if there is one."""
    from ocitool.bundles.inventory import encode_value
    from ocitool.fsops import write_output

    if path is None:
        return
    if len(needs) > 1:
        raise UsageError("--need-out is for one bundle", hint="name the files of one bundle")
    write_output(path, encode_value(needs[0]))
    count = counted(len(needs[0].blobs), "blob")
    out.remark([f"wrote {safe(path)}: what is lacking, {count}"])


def check_output(output: str, volumes: str | None) -> None:
    """Refuse a name that is not one of a tar, and volumes on stdout."""
    if output != "-" and not output.endswith(".tar"):
        raise UsageError(
            f"the name of a bundle ends in .tar, unlike {output!r}",
            hint="layers are compressed already: compressing the bundle again saves nothing",
        )
    if output == "-" and volumes is not None:
        raise UsageError("volumes cannot be written to stdout", hint="use -o FILE.tar")


def volume_size(text: str | None) -> int | None:
    """Return the bytes that --volume-size means: fat32, dvd, cd, or a size such as 4g."""
    return None if text is None else _MEDIA.get(text.lower()) or parse_size(text)


@contextlib.contextmanager
def opened_bundles(
    paths: Sequence[str],
    out: Output,
    on_unreadable: "list[Unreadable] | None" = None,
    stdin: "Stdin" = 0,
) -> "Iterator[list[BundleSet]]":
    """Yield the bundles in files, those with the same list together."""
    from ocitool.bundles.files import open_bundles

    with open_bundles(
        paths,
        stdin=stdin,
        scratch=out.options.temporary,
        observer=out.observer,
        on_unreadable=None if on_unreadable is None else on_unreadable.append,
    ) as found:
        yield found


def base_of(
    texts: Sequence[str], have: str | None, out: Output, connected: "Registries | None"
) -> "Base | None":
    """Return what the other side has, by --base and --have; None when neither was given."""
    from ocitool.bundles.inventory import Base, base_of_have, parse_have

    if not texts and have is None:
        return None
    base = Base()
    for text in texts:
        base |= _base(text, out, connected)
    if have is not None:
        base |= base_of_have(parse_have(read_input(have, have, _LARGEST), have))
    return base


def _base(text: str, out: Output, connected: "Registries | None") -> "Base":
    """Return what a bundle, a list, an inventory or a place has."""
    from ocitool.bundles.files import open_bundles
    from ocitool.bundles.head import NotABundle
    from ocitool.bundles.inventory import Base, base_of_list, parse_base
    from ocitool.bundles.objects import is_object
    from ocitool.cli.options.registry import source_at
    from ocitool.fsops import translated
    from ocitool.image.graph import closure_of
    from ocitool.images.locations import parse_place, path_place

    if is_object(text):
        with open_bundles([text]) as found:
            return base_of_list(found[0].head.listing, found[0].head.digest)
    place = path_place(text) if os.path.isfile(text) else parse_place(text)
    if os.path.isfile(text):
        with translated("read", text), open(text, "rb") as file:
            is_json = file.read(64).lstrip().startswith(b"{")
        if is_json:
            return parse_base(read_input(text, text, _LARGEST), text)
        with contextlib.suppress(NotABundle), open_bundles([text]) as found:
            return base_of_list(found[0].head.listing, found[0].head.digest)
    with source_at(place, out.options, connected, out.observer) as opened:
        closures = [closure_of(opened.source, root.descriptor) for root in opened.roots]
    return Base(digests=frozenset(d.digest for one in closures for d in one.descriptors))


def base_places(texts: Sequence[str]) -> "list[Place]":
    """Return the places among what --base names; files are none."""
    from ocitool.images.locations import parse_place

    return [parse_place(text) for text in texts if not os.path.isfile(text)]


def need_of(path: str | None) -> "Need | None":
    """Return what --need names; None when it was not given."""
    from ocitool.bundles.inventory import parse_need

    return None if path is None else parse_need(read_input(path, path, _LARGEST), path)
