"""A Dockerfile that an image may have been built with: from its history and its configuration.

The history is a note of what builders did, not the file that they read. What it does not tell is
never made up: such a line says that it is a guess, and why (I23).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from ocitool.image.instructions import POSIX_SHELL, Builder, Step, read_step, step_words
from ocitool.inside.bases import Base, Candidate, find_base
from ocitool.inside.recorded import WORDS_ARE_LOST, Wording, wording
from ocitool.inside.settings import Setting, exec_form, keyword_of, line_for, settings
from ocitool.oci import HistoryEntry, ImageConfig

NOT_IN_HISTORY: Final = "not in the history"
NOT_TOLD: Final = "the history does not say what made it"
LAYER_IS_GUESSED: Final = "which layer it made is not certain"
ARGUMENT_IS_ELSEWHERE: Final = "where it is declared is not recorded"
ARGUMENT_OF_BUILD: Final = "its value in this build"
LINE_BREAK: Final = "a line break, which cannot be written here"
RAN_OR_COMMITTED: Final = "it ran without a shell, or a container of it was committed"
_SHELLS: Final = ("sh", "bash", "ash", "dash", "zsh")
_MAKE_LAYERS: Final = ("RUN", "COPY", "ADD", "WORKDIR")
_DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What builders set for an image that has no PATH."""


class Line(Struct, frozen=True, kw_only=True):
    """An instruction, maybe of several lines.

    `guess` says what is not certain about it, "" if everything is. `layer` is the number of the
    layer it made, None if it made none or that is not known. `copies_to` is the destination of an
    ADD or COPY whose sources are not recorded; they are then missing at the end of `text`. A step
    that is not an instruction and made no layer has the text "".
    """

    text: str
    guess: str = ""
    layer: int | None = None
    created_by: str = ""
    copies_to: str | None = None


class Dockerfile(Struct, frozen=True, kw_only=True):
    """The lines that may have made an image.

    `lines` follow the history; those of the base are left out if it is known which they are.
    `unrecorded` are instructions for what the configuration says and the history does not.
    `layers` and `steps` are those of the whole image. `problem` says why layers and steps do not
    fit each other, "" if they do. `has_mounts` tells whether a RUN may have had a --mount, which
    BuildKit does not record.
    """

    base: Base | None
    lines: tuple[Line, ...]
    unrecorded: tuple[Line, ...]
    layers: int
    steps: int
    problem: str = ""
    has_mounts: bool = False


def dockerfile(
    config: ImageConfig,
    annotations: Mapping[str, str] | None = None,
    candidates: Iterable[Candidate] = (),
) -> Dockerfile:
    """Return a Dockerfile for an image; `candidates` are images that may be its base."""
    base = find_base(config, annotations or {}, candidates)
    own = (base.steps or 0) if base is not None else 0
    writer = _Writer(config)
    lines: list[Line] = []
    for number, (entry, layer) in enumerate(config.history_steps()):
        written = list(writer.step(entry, None if layer is None else layer + 1))
        lines += written if number >= own else []
    lines += writer.rest()
    return Dockerfile(
        base=base,
        lines=tuple(map(_writable, _with_values(lines))),
        unrecorded=tuple(map(_writable, writer.unrecorded())),
        layers=len(config.diff_ids),
        steps=len(config.history),
        problem=writer.problem,
        has_mounts=writer.has_mounts,
    )


def _writable(line: Line) -> Line:
    """Return a line; as a guess alone if a line break in it would begin another instruction."""
    keyword = line.text.partition(" ")[0]
    # A RUN of several lines is written as a here-document.
    text = line.text if keyword != "RUN" else ""
    if "\n" not in f"{text}{line.copies_to or ''}".replace("\\\n", ""):
        return line
    told = " ".join(f"{line.text} {line.copies_to or ''}".split())
    return replace(line, text="", copies_to=None, guess=f"{LINE_BREAK}: {told}")


def _with_values(lines: Iterable[Line]) -> list[Line]:
    """Return the lines with values of build arguments where these are declared without one."""
    found: list[Line] = []
    declared: dict[str, int] = {}
    for line in lines:
        name = line.text.partition("=")[0]
        at = declared.pop(name, None) if line.guess == ARGUMENT_OF_BUILD else None
        if at is not None:
            found[at] = replace(found[at], text=line.text, guess=line.guess)
            continue
        if line.text == name and name.startswith("ARG "):
            declared[name] = len(found)
        found.append(line)
    return found


class _Writer:
    """Writes the lines of one image, step by step, and knows what they have set so far."""

    def __init__(self, config: ImageConfig) -> None:
        self._settings = settings(config.config)
        self._layers = len(config.diff_ids)
        self._made = sum(not step.empty_layer for step in config.history)
        self._is_classic = any(
            read_step(step).builder is Builder.CLASSIC for step in config.history
        )
        self._shell: tuple[str, ...] = POSIX_SHELL
        self._arguments: dict[str, str] = {}
        self._set: dict[str, Setting] = {}
        self._set_any: set[str] = set()
        self.has_mounts = False

    @property
    def problem(self) -> str:
        """Why layers and steps do not fit each other."""
        if self._made == self._layers:
            return ""
        steps = "1 step" if self._made == 1 else f"{self._made} steps"
        return f"by the history {steps} made a layer, and there are {self._layers}"

    def step(self, entry: HistoryEntry, layer: int | None) -> Iterator[Line]:
        """Yield the lines of a step, which made this layer."""
        step = read_step(entry, self._shell)
        if not step.keyword:
            yield self._unknown(entry, layer)
            return
        self.has_mounts |= step.keyword == "RUN" and step.builder is Builder.BUILDKIT
        yield from self._declare(step)
        told = wording(step, self._settings)
        self._note(step.keyword, told)
        guesses = [told.guess] if told.guess else []
        if told.copies_to is not None and not entry.empty_layer and self.problem:
            guesses.append(LAYER_IS_GUESSED)
        yield Line(
            text=told.text,
            guess="; ".join(guesses),
            layer=layer,
            created_by=entry.created_by,
            copies_to=told.copies_to,
        )
        if layer is not None and step.keyword not in _MAKE_LAYERS:
            yield Line(text="", guess=f"layer {layer} holds what the steps above made", layer=layer)

    def rest(self) -> Iterator[Line]:
        """Yield a line for each layer that the history does not know."""
        if self._made < self._layers:
            for layer in range(self._made + 1, self._layers + 1):
                yield Line(text="COPY", guess=NOT_IN_HISTORY, layer=layer, copies_to="/")

    def unrecorded(self) -> Iterator[Line]:
        """Yield instructions for what is configured and was not set by any step."""
        for field, value in self._settings.items():
            keyword = keyword_of(field)
            is_default = field == "env.PATH" and value == _DEFAULT_PATH
            known = keyword is None or keyword in self._set_any or self._set.get(field) == value
            if not known and not is_default:
                yield Line(text=line_for(field, value))

    def _unknown(self, entry: HistoryEntry, layer: int | None) -> Line:
        """Return the line for a step that is not an instruction of a Dockerfile."""
        command = self._without_shell(entry)
        if command is not None:
            guess = f"{RAN_OR_COMMITTED}; {WORDS_ARE_LOST}"
            return Line(text=command, guess=guess, layer=layer, created_by=entry.created_by)
        told = step_words(entry)
        if told and entry.comment and entry.created_by.strip():
            told = f"{told} ({entry.comment})"
        made_by = Line(text="", guess=told or NOT_TOLD, layer=layer, created_by=entry.created_by)
        return made_by if entry.empty_layer else replace(made_by, text="COPY", copies_to="/")

    def _without_shell(self, entry: HistoryEntry) -> str | None:
        """Return the RUN that docker's classic builder may have run without a shell, or None.

        It notes the words alone, and so does a commit, of the program that ran in the container.
        """
        words = entry.created_by.split()
        is_path = bool(words) and words[0].startswith("/")
        is_terminal = len(words) == 1 and words[0].rpartition("/")[2] in _SHELLS
        if not is_path or is_terminal or entry.comment or entry.empty_layer:
            return None
        return f"RUN {exec_form(words)}" if self._is_classic else None

    def _declare(self, step: Step) -> Iterator[Line]:
        """Yield a declaration of each build argument that RUN saw and no ARG before it gave."""
        if step.keyword == "ARG":
            for text in step.words.split():
                name, _, value = text.partition("=")
                self._arguments[name] = value.strip("\"'")
        for text in step.arguments:
            name, _, value = text.partition("=")
            if self._arguments.get(name) != value:
                known = name in self._arguments
                self._arguments[name] = value
                line = line_for(f"env.{name}", value).partition(" ")[2]
                guess = ARGUMENT_OF_BUILD if known else ARGUMENT_IS_ELSEWHERE
                yield Line(text=f"ARG {line}", guess=guess)

    def _note(self, keyword: str, told: Wording) -> None:
        self._set.update(told.sets)
        if told.sets_any:
            self._set_any.add(keyword)
        shell = told.sets.get("shell")
        if isinstance(shell, tuple) and shell:
            self._shell = shell
