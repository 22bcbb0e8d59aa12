"""What --format prints: a line for each record, or a table."""

import re
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from ocitool.cli.render.columns import table
from ocitool.cli.render.template import Record, Template, as_json
from ocitool.errors import UsageError

Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="TEMPLATE",
        help="Print with a template as in docker: '{{.ID}}', 'table {{.ID}}\\t{{.Size}}', json.",
    ),
]
_TABLE = "table"
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")


def is_template(text: str | None, *, json: bool) -> bool:
    """Tell whether --format asks for something else than the usual table."""
    if text is not None and json:
        raise UsageError("--format and --json exclude each other", hint="leave one of them out")
    return text not in (None, _TABLE)


class _Heads(dict[str, object]):
    """A record that has the title of its column in every field."""

    def get(self, key: str, default: object = None) -> object:  # noqa: ARG002
        return _WORDS.sub(" ", key).upper()


def formatted(text: str, records: Iterable[Record]) -> Iterator[str]:
    """Yield the lines that --format asks for, or rows with their columns in line."""
    if text == "json":
        yield from map(as_json, records)
        return
    if text.startswith(f"{_TABLE} "):
        template = Template(text.removeprefix(_TABLE).lstrip())
        rows = [template(record).split("\t") for record in (_Heads(), *records)]
        header, *lines = [_filled_up(row, max(map(len, rows))) for row in rows]
        yield from table(header, lines)
        return
    template = Template(text)
    yield from map(template, records)


def _filled_up(row: list[str], length: int) -> list[str]:
    return row + [""] * (length - len(row))
