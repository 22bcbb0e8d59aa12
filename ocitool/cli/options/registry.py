"""The options that say how registries are reached, the same for every command that reaches one."""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ocitool.cli.options.quantities import parse_seconds, parse_size

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ocitool.cli.options.shared import Settings
    from ocitool.events import Observer
    from ocitool.images.locations import Opened, Place
    from ocitool.places.registry import Registries, RegistryOptions


def _flag(name: str, text: str) -> Any:
    return Annotated[bool, typer.Option(name, envvar=_variable(name), help=text)]


def _text(name: str, metavar: str, text: str) -> Any:
    return Annotated[
        str | None, typer.Option(name, envvar=_variable(name), metavar=metavar, help=text)
    ]


def _variable(name: str) -> str:
    return "OCITOOL_" + name.lstrip("-").upper().replace("-", "_")


_OPTIONS: dict[str, tuple[Any, object]] = {
    "plain_http": (_flag("--plain-http", "Speak http, without TLS."), False),
    "insecure": (_flag("--insecure", "Verify no certificate."), False),
    "ca_cert": (_text("--ca-cert", "FILE", "Trust this authority too."), None),
    "client_cert": (_text("--client-cert", "FILE", "Show this certificate."), None),
    "client_key": (_text("--client-key", "FILE", "The key of that certificate."), None),
    "authfile": (_text("--authfile", "FILE", "Credentials, before all other places."), None),
    "allow_realm": (
        Annotated[
            list[str] | None,
            typer.Option(
                "--allow-realm", metavar="HOST", help="A token server that may see credentials."
            ),
        ],
        None,
    ),
    "no_anonymous_fallback": (
        _flag("--no-anonymous-fallback", "Fail when the credentials that are found are refused."),
        False,
    ),
    "retry_max_wait": (
        _text("--retry-max-wait", "T", "Wait no longer than this between two tries (60s)."),
        None,
    ),
}


def with_reach(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options; it takes what they say as `reach`, a RegistryOptions."""
    own = inspect.signature(command)
    kept = [parameter for name, parameter in own.parameters.items() if name != "reach"]
    added = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )
        for name, (annotation, default) in _OPTIONS.items()
    ]

    @wraps(command)
    def wrapper(**values: Any) -> None:
        said = {name: values.pop(name) for name in _OPTIONS}
        command(**values, reach=_options(**said))

    wrapper.__signature__ = own.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
    wrapper.__annotations__ = {
        **{name: value for name, value in command.__annotations__.items() if name != "reach"},
        **{name: annotation for name, (annotation, _) in _OPTIONS.items()},
    }
    return wrapper


def _options(
    *,
    plain_http: bool,
    insecure: bool,
    ca_cert: str | None,
    client_cert: str | None,
    client_key: str | None,
    authfile: str | None,
    allow_realm: list[str] | None,
    no_anonymous_fallback: bool,
    retry_max_wait: str | None,
) -> "RegistryOptions":
    from ocitool.places.registry.options import RegistryOptions

    found = RegistryOptions(
        plain_http=plain_http,
        insecure=insecure,
        ca_cert=ca_cert,
        client_cert=client_cert,
        client_key=client_key,
        authfile=authfile,
        allowed_realms=tuple(allow_realm or ()),
        anonymous_fallback=not no_anonymous_fallback,
    )
    if retry_max_wait is None:
        return found
    return replace(found, retry_max_wait=parse_seconds(retry_max_wait))


def in_chunks(reach: "RegistryOptions", chunk_size: str | None) -> "RegistryOptions":
    """Return the options with the size of --chunk-size, if one was given."""
    return reach if chunk_size is None else replace(reach, chunk_size=parse_size(chunk_size))


def with_foreign(reach: "RegistryOptions", *, allowed: bool) -> "RegistryOptions":
    """Return the options with what --allow-foreign-layers says."""
    return replace(reach, allow_foreign_layers=True) if allowed else reach


@contextlib.contextmanager
def connected_to(
    reach: "RegistryOptions", observer: "Observer", *places: "Place"
) -> "Iterator[Registries | None]":
    """Yield what talks to registries, if one of the places is in one; else None."""
    from ocitool.images.locations import PlaceKind

    if not any(place.kind is PlaceKind.REGISTRY for place in places):
        yield None
        return
    with registries(reach, observer) as connected:
        yield connected


def source_at(
    place: "Place", options: "Settings", connected: "Registries | None"
) -> "AbstractContextManager[Opened]":
    """Return a place for reading, ready to be entered."""
    from ocitool.images.locations import open_source

    return open_source(
        place,
        store=options.store,
        stdin=0,
        scratch=options.temporary,
        registries=connected,
    )


def registries(reach: "RegistryOptions", observer: "Observer") -> "Registries":
    """Return what talks to registries in this run, ready to be entered."""
    from ocitool.places.registry import Registries

    return Registries(reach, warn=observer.warn)


ChunkSize = Annotated[
    str | None,
    typer.Option("--chunk-size", metavar="N", help="Upload in parts of this size, such as 50M."),
]
Jobs = Annotated[
    int, typer.Option("--jobs", "-j", min=1, max=64, metavar="N", help="Blobs at a time.")
]
ForeignLayers = Annotated[
    bool,
    typer.Option(
        "--allow-foreign-layers",
        help="Fetch layers that the registry lacks from the https URLs in the manifest.",
    ),
]
Referrers = Annotated[
    bool,
    typer.Option("--referrers", help="With what is attached: signatures, SBOMs, attestations."),
]
