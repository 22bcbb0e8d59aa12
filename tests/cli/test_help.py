"""Help pages: whole sentences that fit, examples that parse, defaults, and typing errors."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from ocitool.cli.app import application
from ocitool.cli.catalogue import COMMANDS, GROUPS, SECTIONS
from ocitool.cli.examples import EXAMPLES, EXIT_CODES, FORMS, TAKES
from ocitool.errors import UsageError
from tests.support.command import ROOT, Command

WIDTH = 80
DELETING = {"gc", "logout", "prune", "rm", "rmi", "unpin", "untag"}


def pages() -> Iterator[tuple[str, Any]]:
    """Yield the words of every command that is shown, and its context."""
    stack: list[tuple[str, Any]] = [("", typer.Context(application(), info_name="ocitool"))]  # type: ignore[arg-type]
    while stack:
        words, context = stack.pop()
        yield words, context
        for name, below in getattr(context.command, "commands", {}).items():
            if not below.hidden:
                there = typer.Context(below, info_name=name, parent=context)
                stack.append((f"{words} {name}".strip(), there))


PAGES = dict(pages())
each_page = pytest.mark.parametrize("words", sorted(PAGES), ids=lambda words: words or "ocitool")


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))


@each_page
def test_a_page_fits_the_terminal_and_cuts_nothing(words: str) -> None:
    page = PAGES[words].get_help()
    assert [line for line in page.splitlines() if len(line) > WIDTH] == []
    assert "..." not in page.replace("[ARGS]...", "")


@each_page
def test_a_page_has_examples_that_parse(words: str) -> None:
    assert EXAMPLES[words]
    for line in EXAMPLES[words]:
        assert line in PAGES[words].get_help()
        for command in line.split(" | "):
            program, *arguments = shlex.split(command.partition(" > ")[0].strip("<()source "))
            if program == "ocitool":
                parse(arguments)


def parse(arguments: list[str]) -> None:
    here: Any = PAGES[""]
    while hasattr(here.command, "commands"):
        name, *arguments = arguments
        below = here.command.commands[name]
        if hasattr(below, "commands"):
            here = typer.Context(below, info_name=name, parent=here)
        else:
            here = below.make_context(name, arguments, parent=here)


def test_no_example_is_for_a_command_that_does_not_exist() -> None:
    assert set(EXAMPLES) == set(PAGES)
    assert set(TAKES) <= set(PAGES)
    assert {form for forms in TAKES.values() for form in forms} <= {form for form, _ in FORMS}


def test_the_first_page_says_each_command_in_one_line_by_sections() -> None:
    page = PAGES[""].get_help()
    titles = [title for title in SECTIONS if f"\n{title}:\n" in page]
    assert titles == list(SECTIONS)
    for section, commands in SECTIONS.items():
        part = page.partition(f"\n{section}:\n")[2].partition("\n\n")[0]
        texts = {name: text for name, (_, text) in commands.items()}
        texts |= {name: text for name, (where, text) in GROUPS.items() if where == section}
        assert texts
        for name, text in texts.items():
            assert text.endswith(".")
            assert re.search(rf"^  {name} +{re.escape(text)}$", part, re.MULTILINE)


def test_the_exit_codes_are_those_of_the_page() -> None:
    readme = (ROOT / "ocitool" / "cli" / "README.md").read_text(encoding="utf-8")
    page = PAGES[""].get_help()
    for code, _ in EXIT_CODES:
        assert f"| {code} |" in readme
        assert f"  {code} " in page


@pytest.mark.parametrize("words", sorted(TAKES))
def test_a_command_that_takes_several_forms_lists_them(words: str) -> None:
    page = PAGES[words].get_help().partition("\nSources and destinations:\n")[2]
    assert all(form in page for form in TAKES[words])


@pytest.mark.parametrize(
    ("words", "usage"), [("restore", "NAME@{n}"), ("tag", "SRC NEW…"), ("load", "[FILE|DIR|-]…")]
)
def test_the_usage_line_shows_what_has_to_be_typed(words: str, usage: str) -> None:
    assert PAGES[words].get_help().startswith(f"Usage: ocitool {words} [OPTIONS] {usage}\n")


def test_options_for_registries_have_a_heading_of_their_own() -> None:
    page = PAGES["push"].get_help()
    options, _, registry = page.partition("\nRegistry options")
    assert "--insecure" not in options
    assert "--insecure" in registry
    assert "Default: 60s." in registry
    assert "[default: overwrite]" in options


class TestHelpCommand:
    @pytest.mark.parametrize("words", ["load", "registry tags", "ls", ""])
    def test_it_shows_the_same_page_as_the_option(self, ocitool: Command, words: str) -> None:
        by_command = ocitool("help", *words.split())
        by_option = ocitool(*words.split(), "--help")
        assert by_command.code == by_option.code == 0
        assert by_command.out == by_option.out

    def test_a_command_that_does_not_exist_is_a_usage_error(self, ocitool: Command) -> None:
        done = ocitool("help", "lod")
        assert done.code == 2
        assert "did you mean `ocitool load`?" in done.err

    def test_version_prints_what_the_option_prints(self, ocitool: Command) -> None:
        assert ocitool("version").out == ocitool("--version").out

    def test_ls_lists_images(self, loaded: Command) -> None:
        assert loaded("ls").out == loaded("images").out


class TestTypingErrors:
    @pytest.mark.parametrize(
        "word", ["run", "pune", "prun", "rmm", "untg", "gcc", "upin", "logou", "images-rm", "r"]
    )
    def test_no_suggestion_leads_to_a_command_that_deletes(self, word: str) -> None:
        with pytest.raises(UsageError) as caught:
            PAGES[""].command.resolve_command(PAGES[""], [word])
        suggested = set(re.findall(r"`ocitool (\w+)", caught.value.hint or ""))
        assert not suggested & DELETING

    @pytest.mark.parametrize(("word", "meant"), [("lod", "load"), ("psh", "push"), ("cpy", "copy")])
    def test_a_command_that_only_looks_or_adds_is_suggested(self, word: str, meant: str) -> None:
        with pytest.raises(UsageError) as caught:
            PAGES[""].command.resolve_command(PAGES[""], [word])
        assert f"`ocitool {meant}`" in (caught.value.hint or "")

    def test_a_word_of_docker_leads_to_what_is_here(self, ocitool: Command) -> None:
        done = ocitool("run", "x")
        assert done.code == 2
        assert "'run' is not a command of ocitool" in done.err
        assert "ocitool container run" in done.err

    def test_below_a_group_too(self, ocitool: Command) -> None:
        done = ocitool("registry", "tgs", "x")
        assert done.code == 2
        assert "did you mean `ocitool registry tags`?" in done.err


def test_every_command_is_in_the_table() -> None:
    assert set(PAGES[""].command.commands) >= {*COMMANDS, *GROUPS}


@pytest.mark.parametrize("words", [("size", "x"), ("bundle", "create", "x")])
def test_a_word_behind_a_command_is_wrong_usage(ocitool: Command, words: tuple[str, ...]) -> None:
    done = ocitool("help", *words)
    assert done.code == 2
    assert f"ocitool {words[0]}" in done.err
    assert "-h` shows" in done.err
