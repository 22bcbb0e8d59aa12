"""Help pages and messages are plain English: phrases that readers stumble over stay out."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.core

import ocitool.cli
from ocitool.cli.app import application

CLI = Path(ocitool.cli.__file__).parent
BANNED = (
    r"\bwhoever\b",
    r"\bnobody\b",
    r"\bsomebody\b",
    r"\banybody\b",
    r"\bwho is not\b",
    r"\bso\.$",
    r"\bso many\b",
    r"(?-i:\bOf (an index|each|a|the)\b)",
    r"\bis no (time|name|layout|folder|size|digest|place)\b",
    r"\b(comes|goes) (of|to be)\b",
    r", for there\b",
    r"\bwhat goes\b",
    r"\bthe first first\b",
)
_BANNED = re.compile("|".join(BANNED), re.IGNORECASE | re.MULTILINE)


def help_texts(command: object, path: str = "ocitool") -> Iterator[tuple[str, str]]:
    """Yield the help of a command, of its options and of the commands below it."""
    assert isinstance(command, typer.core.TyperCommand | typer.core.TyperGroup)
    yield path, command.help or ""
    for parameter in command.params:
        yield f"{path} {parameter.opts[0]}", getattr(parameter, "help", None) or ""
    for name, below in getattr(command, "commands", {}).items():
        yield from help_texts(below, f"{path} {name}")


def literals(path: Path) -> Iterator[str]:
    """Yield the texts of a module that are neither docstrings nor parts of the code's own names."""
    tree = ast.parse(path.read_text())
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            yield str(node.value)


HELP = dict(help_texts(application()))


def test_help_is_plain_english() -> None:
    assert [(place, text) for place, text in HELP.items() if _BANNED.search(text)] == []


@pytest.mark.parametrize("path", sorted(CLI.rglob("*.py")), ids=lambda path: path.name)
def test_messages_are_plain_english(path: Path) -> None:
    assert [text for text in literals(path) if _BANNED.search(text)] == []


def test_help_is_a_sentence_that_ends() -> None:
    endless = [
        (place, text)
        for place, text in HELP.items()
        if text and not place.endswith(("--help", "--filter")) and "…" not in text
        if not text.rstrip().endswith((".", "PATTERN"))
    ]
    assert endless == []
