"""What a command prints: text, IDs alone with -q, or one JSON document."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import typer

from ocitool.cli.failures import first_of
from ocitool.cli.interrupted import Interrupted
from ocitool.cli.options.expand import Group
from ocitool.cli.options.shared import Json, Quiet, Settings, settings
from ocitool.cli.render import console
from ocitool.errors import OcitoolError, Unavailable

if TYPE_CHECKING:
    from ocitool.cli.render.progress import Messages

Value = TypeVar("Value")


class Output:
    """How this command prints its results and messages.

    With --json a result is one document and no text. With -q only IDs or digests are printed, one
    per line, and no remarks.
    """

    def __init__(self, options: Settings, *, quiet: bool = False, json: bool = False) -> None:
        self.options = options
        self._quiet = quiet
        self.is_json = json
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long the command has been running."""
        return time.monotonic() - self._began

    @contextlib.contextmanager
    def working(self, text: str, *, left: str | Callable[[], str] | None = None) -> Iterator[None]:
        """Do the work of the command in the block, with a sign of life that says what is done.

        `left` is what stays behind where it is interrupted, or finds that out then.
        """
        try:
            with self.observer.busy(text):
                yield
        except Interrupted as interrupted:
            interrupted.left = left() if callable(left) else left
            raise

    @contextlib.contextmanager
    def moving(self, text: str, *, left: str) -> Iterator[None]:
        """Do the same with work that the same command continues, also after a network's failure."""
        try:
            with self.working(text, left=left):
                yield
        except OcitoolError as error:
            if self.observer.moved and isinstance(first_of(error), Unavailable):
                error.hint = "; ".join(filter(None, (error.hint, left)))
            raise

    @cached_property
    def observer(self) -> "Messages":
        """The observer that shows progress and messages."""
        return self.options.observer(quiet=self._quiet)

    @cached_property
    def bar(self) -> "Messages":
        """The observer of commands that only read: it shows progress only on a terminal."""
        return self.options.observer(quiet=self._quiet or not console.is_terminal(sys.stderr))

    @property
    def is_text(self) -> bool:
        """Whether the result is text, rather than IDs alone or JSON."""
        return not (self._quiet or self.is_json)

    def result(
        self,
        value: Value,
        *,
        text: Callable[[Value], Iterable[str]],
        ids: Callable[[Value], Iterable[str]] | None = None,
        view: Callable[[Value], object] | None = None,
    ) -> None:
        """Print the result in the form that was asked for.

        `ids` returns the lines to print with -q; without it, -q prints those of `text`. `view`
        returns the JSON document; without it, the document has all fields of the value.
        """
        if self.is_json:
            self.document(value, view)
        elif self._quiet and ids is not None:
            self.lines(ids(value))
        else:
            self.lines(text(value))

    def document(self, value: Value, view: Callable[[Value], object] | None = None) -> None:
        """Print the JSON document if --json was given; for commands that print text by `lines`."""
        if self.is_json:
            from ocitool.cli.render.document import plain

            console.out_json((view or plain)(value))

    def lines(self, text: Iterable[str], *, ids: Iterable[str] | None = None) -> None:
        """Print some lines of a result, or with -q those of `ids`; print nothing with --json.

        The caller has made untrusted parts safe.
        """
        if not self.is_json:
            for line in ids if self._quiet and ids is not None else text:
                console.out(line)

    def remark(self, lines: Iterable[str]) -> None:
        """Show remarks about a result; show nothing with --json or -q."""
        if not self.is_json:
            for line in lines:
                self.observer.remark(line)

    def summary(self, lines: Iterable[str]) -> None:
        """Tell, after the result, how much was done; nothing with --json or -q."""
        console.flush()
        self.remark(lines)


def nothing(_: object) -> tuple[str, ...]:
    """Return no lines, for a command that prints no IDs."""
    return ()


def output(context: typer.Context, *, quiet: bool = False, json: bool = False) -> Output:
    """Return the output for --json and -q; -q may also stand before the command."""
    options = settings(context)
    return Output(options, quiet=quiet or options.quiet, json=json)


OUTPUT = Group({"quiet": (Quiet, False), "json": (Json, False)}, output)
JSON_OUTPUT = Group(
    {"json": (Json, False)}, lambda context, json: Output(settings(context), json=json)
)
"""For commands whose text is the same with -q."""
PLAIN_OUTPUT = Group({}, lambda context: Output(settings(context)))
"""For commands that print lines and no JSON."""
