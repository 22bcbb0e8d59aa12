"""What the artifact commands say: as remarks, and as a tree."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ocitool.cli.render.columns import size, when
from ocitool.cli.render.console import safe, unicode_output

if TYPE_CHECKING:
    from ocitool.artifacts.attached import Attached
    from ocitool.artifacts.sending import ArtifactReport


def sent_remark(report: "ArtifactReport") -> str:
    """Return one line about what was sent and what existed already."""
    moved = report.transfer
    parts = [f"{moved.stored_blobs} sent ({size(moved.stored_bytes)})"]
    if moved.existing_blobs:
        parts.append(f"{moved.existing_blobs} already there")
    return f"{report.destination.familiar}: {', '.join(parts)}"


def type_remarks(report: "ArtifactReport") -> Iterator[str]:
    """Yield what an artifact is stored as that got no type, and how to remove it again."""
    from ocitool.artifacts.conventions import UNKNOWN_ARTIFACT

    if report.manifest.artifact_type == UNKNOWN_ARTIFACT:
        yield (
            f"without --artifact-type its type is {UNKNOWN_ARTIFACT}; to remove it again: "
            f"ocitool registry rm {report.pinned} --by-digest"
        )


def attached_lines(found: "Sequence[Attached]", indent: str = "") -> Iterator[str]:
    """Yield the tree, one line per artifact: type, digest, size of the manifest, creation time."""
    branch, last, line = ("├─ ", "└─ ", "│  ") if unicode_output() else ("|- ", "`- ", "|  ")
    for number, one in enumerate(found, 1):
        is_last = number == len(found)
        words = [
            safe(one.artifact_type or "unknown"),
            str(one.descriptor.digest),
            size(one.descriptor.size),
            *([when(one.created)] if one.created else []),
            *([safe(one.tag)] if one.tag else []),
            *(["(gone: its manifest was deleted)"] if one.is_gone else []),
        ]
        yield indent + (last if is_last else branch) + "  ".join(words)
        yield from attached_lines(one.attached, indent + ("   " if is_last else line))
