"""ocitool login and logout: credentials for registries."""

import getpass
import sys
import warnings
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.expand import with_options
from ocitool.cli.options.registry import REGISTRY, registries
from ocitool.cli.output import JSON_OUTPUT, Output
from ocitool.cli.render import console
from ocitool.errors import AccessDenied, UsageError

if TYPE_CHECKING:
    from ocitool.events import Observer
    from ocitool.places.registry import RegistryOptions

_LONGEST = 1 << 20
_HOW_TO_GIVE_IT = "give -u USER and --password-stdin, or run it in a terminal to be asked"

HostArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[HOST[/NAMESPACE]]", help="The registry, or a part of it; default: Docker Hub."
    ),
]


UserName = Annotated[
    str | None, typer.Option("--username", "-u", metavar="USER", help="The user name.")
]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")]
TypedPassword = Annotated[str | None, typer.Option("--password", "-p", hidden=True)]


@with_options(out=JSON_OUTPUT, registry=REGISTRY)
def login(
    host: HostArgument = None,
    *,
    username: UserName = None,
    password_stdin: FromStdin = False,
    password: TypedPassword = None,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Log in to a registry: check a user name and password, then store them as docker does.

    The credential helper that docker's config.json names stores them; without a helper they are
    stored in that file, where docker and podman also find them. The password may be an access
    token. At Amazon ECR, AWS credentials get the password if no user name is given.
    """
    from ocitool.places.registry.credentials.credential import Credential
    from ocitool.places.registry.credentials.store import CredentialStore

    if password is not None:
        raise UsageError(
            "a password on the command line can be read by every user of this machine",
            hint="use --password-stdin, or leave it out to be asked for it",
        )
    domain, namespace = _place(host)
    # Where there is no place to keep it, the password is not asked for.
    store = CredentialStore(authfile=registry.authfile)
    if username is None and not password_stdin and not namespace and _is_at_amazon(domain):
        from ocitool.cli.commands.login_amazon import login_at_amazon

        check = partial(_check, domain=domain, observer=out.observer)
        user, kept = login_at_amazon(domain, store, check, out, registry)
        _say_logged_in(domain, user, kept, (), out, is_plain=kept == store.path)
        return
    user, secret = _asked(username, from_stdin=password_stdin)
    given = replace(registry, username=user, password=secret, trusts_own_domain=True)
    servers = _check(given, domain, out.observer)
    kept = store.save(domain, Credential.of_pair(user, secret, ""), servers, namespace=namespace)
    shown = f"{domain}/{namespace}" if namespace else domain
    _say_logged_in(shown, user, kept, servers, out, is_plain=kept == store.path)


def _say_logged_in(
    shown: str, user: str, kept: str, servers: Iterable[str], out: Output, *, is_plain: bool
) -> None:
    out.result(
        {"registry": shown, "username": user, "kept_in": kept},
        text=lambda _: [f"Logged in to {shown} as {console.safe(user)}"],
    )
    out.remark([f"kept in {kept}{', unencrypted' if is_plain else ''}"])
    out.remark(f"its token server {server} may see it from now on" for server in servers)


@with_options(out=JSON_OUTPUT)
def logout(
    host: HostArgument = None,
    *,
    everywhere: Annotated[
        bool, typer.Option("--all", "-a", help="Log out from every registry.")
    ] = False,
    authfile: Annotated[
        str | None,
        typer.Option(
            "--authfile",
            envvar="OCITOOL_AUTHFILE",
            metavar="FILE",
            help="File that holds the credentials.",
        ),
    ] = None,
    out: Output,
) -> None:
    """Log out from a registry: remove its user name and password from the file or the helper."""
    from ocitool.places.registry.credentials.store import CredentialStore

    if everywhere and host is not None:
        raise UsageError("--all logs out from every registry: do not name one")
    store = CredentialStore(authfile=authfile)
    if everywhere:
        removed = store.erase_all()
    else:
        domain, namespace = _place(host)
        shown = f"{domain}/{namespace}" if namespace else domain
        removed = (shown,) if store.erase(domain, namespace) else ()
    out.result(
        {"removed": removed},
        text=lambda _: (
            [f"Logged out from {console.safe(name)}" for name in removed]
            or [f"Not logged in to {'any registry' if everywhere else shown}"]
        ),
    )
    if not everywhere:
        _tell_what_remains(domain, namespace, authfile, out.observer)


def _place(host: str | None) -> tuple[str, str]:
    """Return the host of the registry and the namespace in it or ""; like docker, accept a URL."""
    from ocitool.oci.reference import DEFAULT_DOMAIN, Reference
    from ocitool.places.registry.credentials.keys import is_hub

    name = host.partition("://")[2] or host if host is not None else DEFAULT_DOMAIN
    for ending in ("/", "/v1", "/v2"):
        name = name.removesuffix(ending)
    first, _, namespace = name.partition("/")
    hint = "such as ghcr.io, ghcr.io/team or registry.example:5000"
    try:
        domain = Reference.parse(f"{first}/x/x").domain
        if namespace:
            Reference.parse(f"{DEFAULT_DOMAIN}/{namespace}")
    except UsageError:
        raise UsageError(f"{host!r} is not a registry host", hint=hint) from None
    if is_hub(first):
        return DEFAULT_DOMAIN, namespace
    if domain != first or ":" in namespace or "@" in namespace:
        raise UsageError(f"{host!r} is not a registry host", hint=hint)
    return domain, namespace


def _is_at_amazon(domain: str) -> bool:
    from ocitool.places.registry.aws.hosts import EcrHost

    return EcrHost.parse(domain) is not None


def _asked(username: str | None, *, from_stdin: bool) -> tuple[str, str]:
    """Return the user name and the password, from the options and stdin or from the terminal."""
    is_terminal = console.is_terminal(sys.stdin)
    if from_stdin and username is None:
        raise UsageError("--password-stdin needs a user name", hint="give -u USER")
    if from_stdin and is_terminal:
        raise UsageError("--password-stdin would show the password", hint="leave it out")
    if not from_stdin and not is_terminal:
        raise UsageError("there is no terminal to ask for the password", hint=_HOW_TO_GIVE_IT)
    user = _prompted_name() if username is None else username
    if not user or ":" in user:
        raise UsageError(f"{user!r} is not a user name: it is empty or has a colon")
    secret = _from_stdin() if from_stdin else _prompted_secret()
    if not secret:
        raise UsageError("the password is empty", hint=_HOW_TO_GIVE_IT)
    return user, secret


def _from_stdin() -> str:
    data = sys.stdin.buffer.read(_LONGEST + 1)
    if len(data) > _LONGEST:
        raise UsageError(f"the password on stdin is longer than {_LONGEST} bytes")
    # The line end that `echo` adds is not part of the password.
    return data.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "surrogateescape")


def _prompted_name() -> str:
    sys.stderr.write("Username: ")
    sys.stderr.flush()
    return sys.stdin.readline().rstrip("\r\n")


def _prompted_secret() -> str:
    with warnings.catch_warnings():
        # The fallback of getpass would show the password.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass("Password: ")
        except (EOFError, getpass.GetPassWarning):
            raise UsageError(
                "this terminal cannot ask for a password", hint=_HOW_TO_GIVE_IT
            ) from None


def _check(options: "RegistryOptions", domain: str, observer: "Observer") -> tuple[str, ...]:
    """Ask the registry whether it accepts the user name and the password.

    Return the token servers that may see them from now on: those that were allowed, and the one
    in the registry's own domain that has just taken them.
    """
    from ocitool.places.registry import Session
    from ocitool.places.registry.auth.token_servers import TokenServerRefused

    with registries(options, observer) as connected:
        session = Session(connected, domain, writing=True)
        if session.base.startswith("http:") and not session.host.is_loopback:
            observer.warn(f"the password goes to {domain} without encryption")
        try:
            session.ping()
        except TokenServerRefused:
            raise
        except AccessDenied as error:
            hint = "check the user name and the password; some registries need an access token"
            raise AccessDenied(error.message, hint=hint) from error
        if not session.has_credential:
            observer.warn(f"{domain} did not ask for a password, so it was not checked")
        trusted = session.newly_trusted
    return (*options.allowed_realms, *([trusted] if trusted is not None else ()))


def _tell_what_remains(
    domain: str, namespace: str, authfile: str | None, observer: "Observer"
) -> None:
    """Say where a credential is still stored: docker and podman have files of their own."""
    from ocitool.places.registry.credentials.chain import CredentialChain

    chain = CredentialChain(authfile=authfile, warn=lambda _: None)
    found = chain.find(domain, namespace, writing=False)
    if found is not None:
        observer.remark(f"{found.origin} still has a credential for {domain}")
