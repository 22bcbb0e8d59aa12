"""Names from files: lists, and YAML or JSON that names images; each name counts once."""

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.expand import Group
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.bundles.names import NamesFound
    from ocitool.cli.output import Output

_STDIN = "-"
_MOST_TOLD = 10

_Files = Annotated[
    list[str] | None,
    typer.Option(
        "--file",
        "-f",
        metavar="LIST",
        help="Read more names from this file: a list (# begins a comment), a lock, or YAML of "
        "Kubernetes, compose or Kustomize; - is stdin. Repeatable.",
    ),
]
_Candidates = Annotated[
    bool,
    typer.Option(
        "--include-candidates",
        help="Also take the values of YAML files that only look like images.",
    ),
]


class NameLists:
    """The files of -f."""

    def __init__(self, files: Sequence[str] = (), *, include_candidates: bool = False) -> None:
        self.files = tuple(files)
        self._include_candidates = include_candidates

    def names(self, given: Sequence[str] | None, what: str, out: "Output") -> list[str]:
        """Return the names of the command line and of the files, each once, in their order.

        Candidates that are not taken are told. UsageError, which asks for `what`, when there are
        no names at all; see `read_names` for other failures.
        """
        found = list(given or ())
        for names in self.found():
            found += names.names
            out.remark(candidate_remarks(names))
        if not found:
            raise UsageError(
                f"Missing argument {what!r}.", hint="name one, or give a list with -f LIST"
            )
        return list(dict.fromkeys(found))

    def without(self, files: Sequence[str]) -> "NameLists":
        """Return the same without some files."""
        left = [path for path in self.files if path not in files]
        return NameLists(left, include_candidates=self._include_candidates)

    def found(self) -> "Iterator[NamesFound]":
        """Yield what each file names."""
        if self.files.count(_STDIN) > 1:
            raise UsageError("standard input can be read once only")
        for path in self.files:
            yield read_names(path, include_candidates=self._include_candidates)


LISTS = Group(
    {"file": (_Files, None), "include_candidates": (_Candidates, False)},
    lambda _, file, include_candidates: NameLists(
        file or (), include_candidates=include_candidates
    ),
)


def read_names(path: str, *, include_candidates: bool = False) -> "NamesFound":
    """Return what a file names; - is stdin.

    NotFound or StorageError when it cannot be read, and the errors of `names_in`.
    """
    from ocitool.bundles.names import LARGEST, names_in

    what = "stdin" if path == _STDIN else path
    data = read_input(path, what, LARGEST)
    return names_in(data, what, include_candidates=include_candidates)


def read_input(path: str, what: str, most: int) -> bytes:
    """Return the bytes of a file, or of stdin for -; UsageError for more than `most`.

    NotFound or StorageError, which names `what` it is, when it cannot be read.
    """
    from ocitool.fsops import translated

    with translated("read", path):
        if path == _STDIN:
            data = sys.stdin.buffer.read(most + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(most + 1)
    if len(data) > most:
        raise UsageError(f"{what} is larger than {most >> 20} MiB")
    return data


def candidate_remarks(found: "NamesFound") -> Iterator[str]:
    """Yield what to say of values that look like images and were not taken."""
    from ocitool.cli.render.console import safe

    for image in found.candidates[:_MOST_TOLD]:
        yield f"{safe(found.where(image))}: {image.name} looks like an image and is not taken"
    if len(found.candidates) > _MOST_TOLD:
        yield f"and {len(found.candidates) - _MOST_TOLD} more like these"
    if found.candidates:
        yield "--include-candidates takes these values as well"
