"""What `files find` looks for."""

import datetime as dt
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.expand import Group
from ocitool.cli.options.quantities import parse_moment, parse_size

if TYPE_CHECKING:
    from ocitool.inside.searching import FileQuery


def _query(
    _: typer.Context,
    *,
    name: str | None,
    types: str | None,
    size: str | None,
    suid: bool,
    newer: str | None,
) -> "FileQuery":
    from ocitool.inside.searching import FileQuery

    least, most = _sizes(size) if size is not None else (None, None)
    now = dt.datetime.now(dt.UTC)
    since = parse_moment(newer, "--newer", now, ago=True).timestamp() if newer else None
    letters = (types or "").replace(",", "")
    return FileQuery(name=name, types=letters, least=least, most=most, set_id=suid, newer=since)


def _sizes(text: str) -> tuple[int | None, int | None]:
    """Return the least and the most bytes of `+1M`, `-10k` or `5M`."""
    size = parse_size(text.lstrip("+-"))
    if text.startswith("+"):
        return size + 1, None
    return (None, size - 1) if text.startswith("-") else (size, size)


QUERY = Group(
    {
        "name": (
            Annotated[
                str | None,
                typer.Option(
                    "--name",
                    metavar="PATTERN",
                    help="Names that match, such as '*.so'; with a slash in it, whole paths.",
                ),
            ],
            None,
        ),
        "types": (
            Annotated[
                str | None,
                typer.Option(
                    "--type",
                    metavar="T,…",
                    help="f file, d folder, l link, h several names, c and b device, p pipe, "
                    "w whiteout.",
                ),
            ],
            None,
        ),
        "size": (
            Annotated[
                str | None,
                typer.Option(
                    "--size", metavar="[+-]N", help="Files of more (+) or less (-) than 10k, 1M, …"
                ),
            ],
            None,
        ),
        "suid": (
            Annotated[
                bool, typer.Option("--suid", help="Files with a set-user-ID or set-group-ID bit.")
            ],
            False,
        ),
        "newer": (
            Annotated[
                str | None,
                typer.Option(
                    "--newer", metavar="T", help="Changed after 2024-05-06, or in the last 7d."
                ),
            ],
            None,
        ),
    },
    _query,
)
