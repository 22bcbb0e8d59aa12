"""How two configurations and their histories differ."""

import json
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Final

from ocitool.image.instructions import step_words
from ocitool.inside.differences import ConfigChange, HistoryChange, HistoryChanges
from ocitool.inside.settings import Setting, settings
from ocitool.oci import HistoryEntry, ImageConfig, document

_NAMED: Final = frozenset(
    ["created", "author", "architecture", "os", "variant", "config", "rootfs", "history"]
)
_SET: Final = frozenset(
    (
        *("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels"),
        *("StopSignal", "StopTimeout", "Healthcheck", "Shell", "OnBuild"),
    )
)
_TRACES: Final = frozenset(
    (
        *("container", "container_config", "id", "parent", "throwaway", "Size"),
        *("config.Image", "config.Hostname"),
    )
)
"""What docker keeps of the container that it built the image in: other in each build."""
_MOST_STEPS: Final = 400
"""Steps that are aligned one by one; what differs of longer histories is told as a whole."""


def compare_configs(
    a: ImageConfig,
    b: ImageConfig,
    annotations: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {}),
    *,
    times: bool = True,
) -> tuple[ConfigChange, ...]:
    """Return the fields that differ; `annotations` are those of the two manifests.

    Without `times` the time of creation is not compared, and never what docker notes about the
    container in which it built the image.
    """
    one, other = (_fields(c, noted) for c, noted in zip((a, b), annotations, strict=True))
    if not times:
        one.pop("created", None)
        other.pop("created", None)
    return tuple(
        ConfigChange(field=field, a=one.get(field), b=other.get(field))
        for field in {**one, **other}
        if one.get(field) != other.get(field)
    )


def _fields(config: ImageConfig, annotations: Mapping[str, str]) -> dict[str, Setting]:
    raw = document.decode_object(config.raw, what="config", limit=len(config.raw))
    inner = raw.get("config")
    found: dict[str, Setting] = {"platform": str(config.platform), "created": config.created or ""}
    found |= {"author": config.author, **settings(config.config)}
    if isinstance(inner, dict):
        found |= {f"config.{key}": _text(inner[key]) for key in inner if key not in _SET}
    found |= {key: _text(raw[key]) for key in raw if key not in _NAMED}
    found |= {f"annotations.{key}": text for key, text in annotations.items()}
    return {field: value for field, value in found.items() if value and field not in _TRACES}


def _text(value: object) -> str:
    """Return a value that has no field of its own; what Go writes for an unset one is nothing."""
    if value in (None, False, "", [], {}):
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def compare_histories(
    a: Sequence[HistoryEntry], b: Sequence[HistoryEntry], *, times: bool = True
) -> HistoryChanges:
    """Return the steps whose instruction only one history has; `times` are notes on a step."""
    changes: list[HistoryChange] = []
    only_notes = 0
    for tag, start, end, other_start, other_end in _aligned(
        [*map(step_words, a)], [*map(step_words, b)]
    ):
        if tag == "equal":
            pairs = zip(a[start:end], b[other_start:other_end], strict=True)
            only_notes += sum(_notes(x, times=times) != _notes(y, times=times) for x, y in pairs)
            continue
        changes += _steps(a, start, end, is_added=False)
        changes += _steps(b, other_start, other_end, is_added=True)
    return HistoryChanges(changes=tuple(changes), only_notes=only_notes)


def _notes(step: HistoryEntry, *, times: bool) -> tuple[object, ...]:
    created = step.created if times else None
    return step.created_by, step.comment, step.author, step.empty_layer, created


def _steps(
    history: Sequence[HistoryEntry], start: int, end: int, *, is_added: bool
) -> list[HistoryChange]:
    return [
        HistoryChange(
            is_added=is_added,
            step=number + 1,
            instruction=step_words(history[number]),
            created_by=history[number].created_by,
        )
        for number in range(start, end)
    ]


def _aligned(a: Sequence[object], b: Sequence[object]) -> Sequence[tuple[str, int, int, int, int]]:
    """Return which parts of two sequences are equal, as `SequenceMatcher.get_opcodes` does."""
    same = _common(a, b)
    tail = _common(a[same:][::-1], b[same:][::-1])
    end, other_end = len(a) - tail, len(b) - tail
    middle: list[tuple[str, int, int, int, int]] = [("replace", same, end, same, other_end)]
    # Aligning may take the cube of their number; a hostile history has ten thousand steps.
    if max(end, other_end) - same <= _MOST_STEPS:
        matcher = SequenceMatcher(None, a[same:end], b[same:other_end], autojunk=False)
        middle = [
            (tag, same + i, same + j, same + k, same + m)
            for tag, i, j, k, m in matcher.get_opcodes()
        ]
    return [
        ("equal", 0, same, 0, same),
        *middle,
        ("equal", end, len(a), other_end, len(b)),
    ]


def _common(a: Sequence[object], b: Sequence[object]) -> int:
    """Return how many elements at the beginning are equal."""
    count = 0
    for one, other in zip(a, b, strict=False):
        if one != other:
            break
        count += 1
    return count
