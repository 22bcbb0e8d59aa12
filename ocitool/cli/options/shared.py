"""Options that several commands share, and the values of the global options."""

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ocitool.errors import UsageError
from ocitool.home import base_folder
from ocitool.oci.quoting import quoted

if TYPE_CHECKING:
    from ocitool.cli.render.progress import Messages
    from ocitool.images.locations import Place
    from ocitool.oci import Platform
    from ocitool.places.layout import Layout

PROGRESS = ("auto", "bar", "plain", "none")
"""The modes of --progress."""
_FIELDS = {"store": "named_store", "tmp_dir": "temporary"}


class Settings:
    """The global options of this run."""

    # Not a dataclass: making one takes a millisecond of every command.
    def __init__(self, *, temporary: str | None = None) -> None:
        self.named_store: str | None = None
        self.quiet = False
        self.verbose = False
        self.debug = False
        self.progress = "auto"
        self.temporary = temporary
        self.observers: dict[bool, Messages] = {}

    @property
    def store(self) -> str:
        """The folder of the store; UsageError where nothing says where it is."""
        return self.named_store or default_store()

    @property
    def store_if_any(self) -> str | None:
        """The folder of the store; None where nothing says where it is."""
        try:
            return self.store
        except UsageError:
            return None

    def store_for(self, *places: "Place") -> str | None:
        """Return the folder of the store if one of the places is in it: no other needs a home."""
        from ocitool.images.locations import PlaceKind

        return self.store if any(place.kind is PlaceKind.STORE for place in places) else None

    def change(self, name: str, value: Any, *, called: str | None = None) -> None:
        """Take the value of a global option; UsageError for one that it cannot have.

        `called` is how the user gave it, if not by the option of that name.
        """
        if name == "store" and value == "":
            raise UsageError("--store is empty")
        if name == "progress" and value not in PROGRESS:
            words = f"{', '.join(PROGRESS[:-1])} or {PROGRESS[-1]}"
            raise UsageError(
                f"{called or '--progress'} {quoted(value)} is not a way to show progress",
                hint=f"set {called or 'it'} to {words}",
            )
        setattr(self, _FIELDS.get(name, name), value)

    def observer(self, *, quiet: bool = False) -> "Messages":
        """Return the observer that shows progress and messages."""
        from ocitool.cli.render.progress import progress

        silent = self.quiet or quiet
        # One for all: two bars would draw over each other.
        if silent not in self.observers:
            self.observers[silent] = progress(self.progress, quiet=silent, verbose=self.verbose)
        return self.observers[silent]

    def open_store(self) -> "Layout":
        """Open the store; NotFound with a hint if it does not exist yet."""
        from ocitool.images.opening import open_store

        return open_store(self.store, self.observer())


def settings(context: typer.Context) -> Settings:
    """Return the global options."""
    return context.find_object(Settings) or Settings()


def default_store() -> str:
    """Return $XDG_DATA_HOME/ocitool, by default ~/.local/share/ocitool."""
    data = base_folder(os.environ, "XDG_DATA_HOME", ".local", "share")
    if data is None:
        raise UsageError(
            "there is no home folder for the store", hint="set HOME, or name a folder with --store"
        )
    return os.path.join(data, "ocitool")


def platforms(text: str | None) -> "tuple[Platform, ...]":
    """Return the platforms of `--platform a,b`; UsageError for anything else."""
    from ocitool.oci import Platform

    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise UsageError(f"--platform {text!r} has an empty part")
    return tuple(Platform.parse(part) for part in parts)


def one_platform(text: str | None) -> "Platform | None":
    """Return the platform of `--platform P`, or None; UsageError for several."""
    found = platforms(text)
    if len(found) > 1:
        raise UsageError("this command takes one platform")
    return found[0] if found else None


def usual_platform() -> "Platform":
    """Return the platform to show by default: DOCKER_DEFAULT_PLATFORM, else this machine's."""
    from ocitool.oci import Platform

    wanted = os.environ.get("DOCKER_DEFAULT_PLATFORM")
    if wanted:
        return Platform.parse(wanted)
    return Platform(os="linux", architecture=os.uname().machine).normalized()


Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print IDs or digests only, without progress.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
OnePlatform = Annotated[
    str | None,
    typer.Option(
        "--platform",
        metavar="P",
        help="Platform to use from a multi-platform image, for example linux/arm64.",
    ),
]
SomePlatforms = Annotated[
    str | None,
    typer.Option(
        "--platform", metavar="P,…", help="Take only these platforms, for example linux/amd64."
    ),
]
NoTruncation = Annotated[bool, typer.Option("--no-trunc", help="Do not shorten anything.")]
