"""--network, --hostname, --add-host, --dns, --sysctl: which network, and what it is called."""

import ipaddress
import re
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.completing import words
from ocitool.cli.options.expand import Group
from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted

if TYPE_CHECKING:
    from ocitool.containers.options import NetworkOptions

PANEL = "Network of the container"
_WORD = re.compile(r"[!-~]{1,253}")

_Network = Annotated[
    str,
    typer.Option(
        "--network",
        "--net",
        metavar="none|host",
        rich_help_panel=PANEL,
        autocompletion=words("none", "host"),
        help="none: only lo, in a network of its own. host: that of this machine.",
    ),
]
_Hostname = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", rich_help_panel=PANEL, help="Default: the first 12 digits of the ID."
    ),
]
_AddHost = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME:ADDRESS", rich_help_panel=PANEL, help="A line of /etc/hosts. Repeatable."
    ),
]
_Dns = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ADDRESS",
        rich_help_panel=PANEL,
        help="Name server, instead of those of this machine. Repeatable.",
    ),
]
_DnsSearch = Annotated[
    list[str] | None,
    typer.Option(
        metavar="DOMAIN", rich_help_panel=PANEL, help="Domain to search; . for none. Repeatable."
    ),
]
_DnsOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="OPTION", rich_help_panel=PANEL, help="Option of resolv.conf(5). Repeatable."
    ),
]
_Sysctl = Annotated[
    list[str] | None,
    typer.Option(
        metavar="K=V",
        rich_help_panel=PANEL,
        help="Parameter of the kernel, of the container's own network or queues. Repeatable.",
    ),
]


def _build(
    _: typer.Context,
    *,
    network: str,
    hostname: str | None,
    add_host: list[str] | None,
    dns: list[str] | None,
    dns_search: list[str] | None,
    dns_option: list[str] | None,
    sysctl: list[str] | None,
) -> "NetworkOptions":
    from ocitool.containers.options import NetworkOptions

    return NetworkOptions(
        mode=network,
        hostname=hostname,
        add_hosts=tuple(map(parse_host, add_host or ())),
        dns=tuple(_address(one, f"--dns {quoted(one)}") for one in dns or ()),
        dns_search=tuple(_word(one, "--dns-search") for one in dns_search or ()),
        dns_options=tuple(_word(one, "--dns-option") for one in dns_option or ()),
        sysctls=dict(_pair(one, "--sysctl") for one in sysctl or ()),
    )


def parse_host(text: str) -> tuple[str, str]:
    """Return name and address of NAME:ADDRESS, also with `=`; UsageError for other text."""
    separator = "=" if "=" in text else ":"
    name, _, address = text.partition(separator)
    what = f"--add-host {quoted(text)}"
    if not _WORD.fullmatch(name):
        raise UsageError(f"{what} has no name", hint="write it like db:10.0.0.7")
    return name, _address(address.removeprefix("[").removesuffix("]"), what)


def _address(text: str, what: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise UsageError(
            f"{what} has no address", hint="write an address such as 10.0.0.7 or fd00::7"
        ) from None


def _word(text: str, option: str) -> str:
    if not _WORD.fullmatch(text):
        raise UsageError(
            f"{option} {quoted(text)} is not one word", hint="give each its own option"
        )
    return text


def _pair(text: str, option: str) -> tuple[str, str]:
    name, has_value, value = text.partition("=")
    if not (name and has_value):
        raise UsageError(f"{option} {quoted(text)} has no value", hint=f"write {option} NAME=VALUE")
    return name, value


NETWORK = Group(
    {
        "network": (_Network, "none"),
        "hostname": (_Hostname, None),
        "add_host": (_AddHost, None),
        "dns": (_Dns, None),
        "dns_search": (_DnsSearch, None),
        "dns_option": (_DnsOption, None),
        "sysctl": (_Sysctl, None),
    },
    _build,
)
