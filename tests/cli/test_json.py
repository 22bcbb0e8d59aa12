"""The JSON documents of all commands: their fields are an interface and stay what they are."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ocitool.cli
from ocitool.cli.app import application
from tests.cli.json_scene import Documents, documents
from tests.cli.json_shapes import Shape, shape_of

PAGE = Path(ocitool.cli.__file__).with_name("README.md")
PROMISED: dict[str, Shape] = json.loads(Path(__file__).with_name("json_documents.json").read_text())


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Documents:
    return documents(tmp_path_factory.mktemp("json"))


def test_every_command_prints_the_documents_that_are_promised(printed: Documents) -> None:
    assert set(printed) == set(PROMISED)


def test_every_command_that_can_print_json_is_promised() -> None:
    assert set(commands_with_json(application())) <= set(PROMISED)


def commands_with_json(command: Any, words: str = "") -> Iterator[str]:
    """Yield the words of each command that has an option --json, hidden ones left out."""
    if any("--json" in parameter.opts for parameter in command.params):
        yield words
    for name, below in getattr(command, "commands", {}).items():
        if not below.hidden:
            yield from commands_with_json(below, f"{words} {name}".strip())


@pytest.mark.parametrize("name", PROMISED)
def test_a_document_has_the_fields_and_types_that_are_promised(
    printed: Documents, name: str
) -> None:
    found, promised = shape_of(printed[name]), PROMISED[name]
    assert set(found) == set(promised)
    for path, types in found.items():
        # What is not the case here, such as a tree that the kernel shares, may be elsewhere.
        assert set(types.split("|")) <= set(promised[path].split("|")), path


def test_the_page_describes_every_field_with_its_type() -> None:
    described: dict[str, dict[str, str]] = {}
    for section in PAGE.read_text().split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        rows = re.findall(r"^\| (?:`(.*?)` )?\| ([a-z ]+) \| (.+) \|$", body, re.MULTILINE)
        described[title] = {
            path: types.replace(" or ", "|") for path, types, _ in rows if types != "type"
        }
    assert described == PROMISED
