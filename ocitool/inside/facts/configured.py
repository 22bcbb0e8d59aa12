"""Secrets in the configuration of an image, each with its place and the step that wrote it."""

from collections.abc import Iterator, Mapping

from msgspec import Struct

from ocitool.image.instructions import step_words
from ocitool.inside.facts.leaks.commands import (
    secrets_in_command,
    secrets_in_pair,
    secrets_in_words,
)
from ocitool.inside.facts.leaks.finding import Found
from ocitool.oci import ImageConfig


class Configured(Struct, frozen=True, kw_only=True):
    """A secret outside of files: `place` is env, label, command, annotation or history.

    `name` is what it is called, `layer` the layer that the step made, if it made one.
    """

    found: Found
    place: str
    name: str
    layer: int | None = None
    instruction: str | None = None


def configured_secrets(config: ImageConfig, annotations: Mapping[str, str]) -> Iterator[Configured]:
    """Yield the secrets of variables, labels, commands, annotations and of the history."""
    runtime = config.config
    for line in runtime.env:
        name, _, value = line.partition("=")
        yield from _pair("env", name, value)
    for name, value in runtime.labels.items():
        yield from _pair("label", name, value)
    for name, value in annotations.items():
        yield from _pair("annotation", name, value)
    commands = {
        "entrypoint": runtime.entrypoint,
        "cmd": runtime.cmd,
        "healthcheck": runtime.healthcheck.test if runtime.healthcheck else (),
        "onbuild": runtime.on_build,
    }
    for name, words in commands.items():
        for found in secrets_in_words(words):
            yield Configured(found=found, place="command", name=found.name or name)
    yield from _history(config)


def _pair(place: str, name: str, value: str) -> Iterator[Configured]:
    for found in secrets_in_pair(name, value):
        yield Configured(found=found, place=place, name=name)


def _history(config: ImageConfig) -> Iterator[Configured]:
    for number, (entry, layer) in enumerate(config.history_steps(), 1):
        texts = (entry.created_by, entry.comment, entry.author)
        for found in [found for text in texts for found in secrets_in_command(text)]:
            yield Configured(
                found=found,
                place="history",
                name=found.name or str(number),
                layer=None if layer is None else layer + 1,
                instruction=step_words(entry),
            )
