"""Paths and links of an artifact's files: which are safe to create below a folder."""

import itertools

from ocitool.errors import IntegrityError
from ocitool.oci.limits import Limits
from ocitool.oci.quoting import quoted

Parts = tuple[str, ...]
DEEPEST = 100
"""How many folders deep a path may be: each level keeps one file open."""


def parts_of(path: str, limits: Limits) -> Parts:
    """Return the components of a relative path; "." and a slash at the end are dropped.

    IntegrityError for a path that is absolute, contains "..", or is too long or too deep.
    """
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if path.startswith("/") or ".." in parts or "\0" in path:
        raise IntegrityError(
            f"{quoted(path)} is not the path of a file below a folder",
            hint="this artifact may be malicious; nothing was written",
        )
    long = max((len(_raw(part)) for part in parts), default=0)
    if long > limits.component_bytes or len(_raw(path)) > limits.path_bytes:
        raise IntegrityError(f"{quoted(path)} is too long for a file system")
    if len(parts) > DEEPEST:
        raise IntegrityError(f"{quoted(path)} is more than {DEEPEST} folders deep")
    return parts


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def stays_inside(link: Parts, target: str) -> bool:
    """Tell whether a symbolic link at `link` leads to the root or a path below it.

    It may go up, but only at its beginning and no further than the root. A ".." after another name
    could lead anywhere: if that name is a link itself, ".." is relative to the target of that link.
    """
    if not target or target.startswith("/") or "\0" in target:
        return False
    steps = [step for step in target.split("/") if step not in ("", ".")]
    up = 0
    while up < len(steps) and steps[up] == "..":
        up += 1
    return ".." not in steps[up:] and up <= len(link) - 1


def collision(paths: list[Parts]) -> tuple[Parts, Parts] | None:
    """Return two paths that cannot both be files, equal or one below the other; None if all can."""
    ordered = sorted(paths)
    for first, second in itertools.pairwise(ordered):
        if second[: len(first)] == first:
            return first, second
    return None
