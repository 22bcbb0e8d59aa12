"""Help pages: commands in sections, options under headings, examples and forms of sources."""

from collections.abc import Iterable, Sequence
from typing import Any

from ocitool.cli import examples
from ocitool.cli.catalogue import SECTIONS

Rows = list[tuple[str, str]]

_OPTIONS = "Options"
_GLOBAL = "Global options (before or after the command, or as variables OCITOOL_…)"
_HIDDEN = ("install_completion", "show_completion", "version")
"""Global options that only the first page lists."""
_FIRST_COLUMN = 24


def write_command(command: Any, context: Any, formatter: Any, everywhere: Sequence[Any]) -> None:
    """Write what follows the description of a command; options taken `everywhere` in one line."""
    _write_parameters(command, context, formatter, everywhere)
    _write_examples(context, formatter)
    _write_forms(context, formatter)


def write_group(group: Any, context: Any, formatter: Any, everywhere: Sequence[Any]) -> None:
    """Write what follows the description of a group: its commands, options and examples."""
    sections: dict[str, Rows] = {name: [] for name in SECTIONS}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if not command.hidden:
            sections.setdefault(command.rich_help_panel or "Commands", []).append(
                (name, first_sentence(command))
            )
    widest = max(len(name) for rows in sections.values() for name, _ in rows)
    for title, rows in sections.items():
        _write_section(formatter, title, [(name.ljust(widest), text) for name, text in rows])
    _write_parameters(group, context, formatter, everywhere)
    _write_examples(context, formatter)
    if context.parent is None:
        _write_section(formatter, "Sources and destinations", list(examples.FORMS))
        _write_section(formatter, "Exit codes", list(examples.EXIT_CODES))


def first_sentence(command: Any) -> str:
    """Return the first sentence of a command's help, whole."""
    text = " ".join((command.short_help or command.help or "").split("\n\n")[0].split())
    head, dot, _ = text.partition(". ")
    return head + dot.strip()


def _write_parameters(
    command: Any, context: Any, formatter: Any, everywhere: Sequence[Any]
) -> None:
    known = {id(option) for option in everywhere}
    arguments: Rows = []
    title = _OPTIONS if context.parent is not None else _GLOBAL
    sections: dict[str, Rows] = {title: []}
    for parameter in command.get_params(context):
        row = None if id(parameter) in known else parameter.get_help_record(context)
        if row is None:
            continue
        if parameter.param_type_name == "argument":
            arguments.append(row)
        else:
            sections.setdefault(parameter.rich_help_panel or title, []).append(row)
    _write_section(formatter, "Arguments", arguments)
    for heading, rows in sections.items():
        _write_section(formatter, heading, rows)
    _write_names(formatter, everywhere)


def _write_names(formatter: Any, options: Sequence[Any]) -> None:
    names = [max(one.opts, key=len) for one in options if one.name not in _HIDDEN]
    _write_lines(formatter, _GLOBAL, [" ".join(names)] if names else [])


def _write_examples(context: Any, formatter: Any) -> None:
    _write_lines(formatter, "Examples", examples.EXAMPLES.get(_words(context), ()))


def _write_forms(context: Any, formatter: Any) -> None:
    wanted = examples.TAKES.get(_words(context), ())
    forms = [row for row in examples.FORMS if row[0] in wanted]
    _write_section(formatter, "Sources and destinations", forms)


def _words(context: Any) -> str:
    """Return the words of a command behind `ocitool`, such as "registry tags"."""
    path: str = context.command_path
    return path.partition(" ")[2]


def _write_section(formatter: Any, title: str, rows: Sequence[tuple[str, str]]) -> None:
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows, col_max=_FIRST_COLUMN)


def _write_lines(formatter: Any, title: str, lines: Iterable[str]) -> None:
    """Write lines that are to be copied, so they are never wrapped."""
    found = list(lines)
    if found:
        with formatter.section(title):
            for line in found:
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
