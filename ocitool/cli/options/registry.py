"""Options for access to registries, the same for every command that uses a registry."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ocitool.cli.options.expand import Group
from ocitool.cli.options.quantities import parse_seconds, parse_size

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ocitool.cli.options.shared import Settings
    from ocitool.events import Observer
    from ocitool.images.locations import Place
    from ocitool.images.opening import Opened
    from ocitool.places.registry import Registries, RegistryOptions


_SLOW_ENGINE = 3.0
"""Seconds that an engine may take for an image before it is told how to keep it."""
PANEL = "Registry options (also as variables, such as OCITOOL_INSECURE)"


def _flag(name: str, text: str) -> Any:
    return Annotated[bool, _option(name, text)]


def _text(name: str, metavar: str, text: str) -> Any:
    return Annotated[str | None, _option(name, text, metavar)]


def _option(name: str, text: str, metavar: str | None = None) -> Any:
    variable = _variable(name)
    return typer.Option(
        name,
        envvar=variable,
        show_envvar=False,
        metavar=metavar,
        help=text,
        rich_help_panel=PANEL,
    )


def _variable(name: str) -> str:
    return "OCITOOL_" + name.lstrip("-").upper().replace("-", "_")


_OPTIONS: dict[str, tuple[Any, object]] = {
    "plain_http": (_flag("--plain-http", "Use HTTP without TLS."), False),
    "insecure": (_flag("--insecure", "Do not verify the certificate of the registry."), False),
    "ca_cert": (_text("--ca-cert", "FILE", "Also trust this certificate authority."), None),
    "client_cert": (_text("--client-cert", "FILE", "Present this client certificate."), None),
    "client_key": (_text("--client-key", "FILE", "Private key of the client certificate."), None),
    "authfile": (_text("--authfile", "FILE", "Look for credentials in this file first."), None),
    "allow_realm": (
        Annotated[
            list[str] | None,
            typer.Option(
                "--allow-realm",
                envvar=_variable("--allow-realm"),
                metavar="HOST",
                rich_help_panel=PANEL,
                show_envvar=False,
                help="Send credentials also to this token server; login remembers it.",
            ),
        ],
        None,
    ),
    "no_anonymous_fallback": (
        _flag(
            "--no-anonymous-fallback",
            "Fail if the registry refuses the credentials, instead of trying without.",
        ),
        False,
    ),
    "retry_max_wait": (
        _text("--retry-max-wait", "T", "Longest wait between two attempts. Default: 60s."),
        None,
    ),
}


def _build(
    _: typer.Context,
    *,
    allow_realm: list[str] | None,
    no_anonymous_fallback: bool,
    retry_max_wait: str | None,
    **same: Any,
) -> "RegistryOptions":
    from ocitool.places.registry.options import RegistryOptions

    found = RegistryOptions(
        allowed_realms=tuple(host for text in allow_realm or () for host in text.split(",")),
        anonymous_fallback=not no_anonymous_fallback,
        **same,
    )
    if retry_max_wait is None:
        return found
    return replace(found, retry_max_wait=parse_seconds(retry_max_wait))


REGISTRY = Group(_OPTIONS, _build)


def in_chunks(options: "RegistryOptions", chunk_size: str | None) -> "RegistryOptions":
    """Return the options with the size of --chunk-size, if one was given."""
    return options if chunk_size is None else replace(options, chunk_size=parse_size(chunk_size))


def with_foreign(options: "RegistryOptions", *, allowed: bool) -> "RegistryOptions":
    """Return the options with --allow-foreign-layers applied."""
    return replace(options, allow_foreign_layers=True) if allowed else options


@contextlib.contextmanager
def connected_to(
    options: "RegistryOptions", observer: "Observer", *places: "Place"
) -> "Iterator[Registries | None]":
    """Yield a `Registries` if one of the places is in a registry, else None."""
    from ocitool.images.locations import PlaceKind

    if not any(place.kind is PlaceKind.REGISTRY for place in places):
        yield None
        return
    with registries(options, observer) as connected:
        yield connected


def source_at(
    place: "Place", settings: "Settings", connected: "Registries | None", observer: "Observer"
) -> "AbstractContextManager[Opened]":
    """Return a context manager that opens a place for reading."""
    from ocitool.images.opening import open_source

    return open_source(
        place,
        store=settings.store_for(place),
        stdin=0,
        scratch=settings.temporary,
        registries=connected,
        observer=observer,
    )


@contextlib.contextmanager
def opened_at(
    place: "Place", settings: "Settings", options: "RegistryOptions", observer: "Observer"
) -> "Iterator[Opened]":
    """Yield a place, open for reading; say how not to wait again for a large one of an engine."""
    began = time.monotonic()
    with (
        connected_to(options, observer, place) as connected,
        source_at(place, settings, connected, observer) as opened,
    ):
        tell_of_slow_engine(place, time.monotonic() - began, observer)
        yield opened


def tell_of_slow_engine(place: "Place", seconds: float, observer: "Observer") -> None:
    """Tell how an image is kept that an engine took long to give out."""
    from ocitool.images.locations import ENGINES

    if place.kind in ENGINES and seconds >= _SLOW_ENGINE:
        observer.remark(
            f"the engine took {seconds:.0f} s to give {place.text} out, and each command asks for "
            f"it anew: `ocitool copy {place.text} store:{place.name}` keeps it"
        )


@contextlib.contextmanager
def opened_each(
    places: "Sequence[Place]",
    settings: "Settings",
    options: "RegistryOptions",
    observer: "Observer",
) -> "Iterator[Iterator[Opened]]":
    """Yield places that are open for reading, one after the other; the store is read once."""
    from ocitool.images.opening import open_each

    with connected_to(options, observer, *places) as connected:
        each = open_each(
            places,
            store=settings.store_for(*places),
            stdin=0,
            scratch=settings.temporary,
            registries=connected,
            observer=observer,
        )
        with contextlib.closing(each):
            yield each


def registries(options: "RegistryOptions", observer: "Observer") -> "Registries":
    """Return the `Registries` of this run, a context manager."""
    from ocitool.places.registry import Registries

    return Registries(
        options,
        warn=observer.warn,
        remark=observer.remark,
        trace=observer.trace,
        busy=observer.busy,
    )


ChunkSize = Annotated[
    str | None,
    typer.Option(
        "--chunk-size", metavar="N", help="Upload in parts of this size, for example 50M."
    ),
]
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        "-j",
        min=1,
        max=64,
        metavar="N",
        help="Number of blobs to transfer at the same time.",
    ),
]
ForeignLayers = Annotated[
    bool,
    typer.Option(
        "--allow-foreign-layers",
        help="Fetch layers that the registry does not hold from the https URLs in the manifest.",
    ),
]
Referrers = Annotated[
    bool,
    typer.Option(
        "--referrers", help="Also copy attached artifacts: signatures, SBOMs, attestations."
    ),
]
