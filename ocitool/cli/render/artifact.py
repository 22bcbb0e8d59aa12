"""What the artifact commands say: in JSON, as remarks, and as a tree."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ocitool.cli.render.columns import size, when
from ocitool.cli.render.console import safe, unicode_output
from ocitool.cli.render.push import blobs_json

if TYPE_CHECKING:
    from ocitool.artifacts.attached import Attached
    from ocitool.artifacts.receiving import PullReport
    from ocitool.artifacts.sending import ArtifactReport
    from ocitool.oci import Descriptor, Reference

_TITLE = "org.opencontainers.image.title"


def sent_json(report: "ArtifactReport") -> dict[str, object]:
    """Return an artifact that was pushed or attached."""
    subject = report.subject
    return {
        "destination": str(report.destination),
        "pinned": report.pinned,
        "digest": str(report.descriptor.digest),
        "media_type": report.descriptor.media_type,
        "artifact_type": report.manifest.effective_artifact_type,
        "subject": str(subject.digest) if subject is not None else None,
        "files": [_file_json(layer) for layer in report.manifest.layers],
        "blobs": blobs_json(report.transfer),
    }


def sent_remark(report: "ArtifactReport") -> str:
    """Return in one line what was sent and what was there."""
    moved = report.transfer
    parts = [f"{moved.stored_blobs} sent ({size(moved.stored_bytes)})"]
    if moved.existing_blobs:
        parts.append(f"{moved.existing_blobs} there already")
    return f"{report.destination.familiar}: {', '.join(parts)}"


def pulled_json(report: "PullReport", reference: "Reference", output: str) -> dict[str, object]:
    """Return an artifact that was pulled, and where its files are."""
    return {
        "name": reference.name,
        "digest": str(report.descriptor.digest),
        "artifact_type": report.artifact_type,
        "files": [
            {
                **_file_json(file.descriptor),
                "title": file.title,
                "path": os.path.normpath(os.path.join(output, file.title)),
                "kind": "folder" if file.is_folder else "file",
            }
            for file in report.files
        ],
    }


def _file_json(layer: "Descriptor") -> dict[str, object]:
    return {
        "title": layer.annotations.get(_TITLE),
        "digest": str(layer.digest),
        "media_type": layer.media_type,
        "size": layer.size,
    }


def attached_json(one: "Attached") -> dict[str, object]:
    """Return an attached artifact, and what is attached to it."""
    return {
        "digest": str(one.descriptor.digest),
        "media_type": one.descriptor.media_type,
        "artifact_type": one.artifact_type,
        "size": one.descriptor.size,
        "created": one.created,
        "annotations": dict(one.descriptor.annotations),
        "attached": [attached_json(other) for other in one.attached],
    }


def attached_lines(found: "Sequence[Attached]", indent: str = "") -> Iterator[str]:
    """Yield the tree, a line for each artifact: type, digest, manifest's size, when created."""
    branch, last, line = ("├─ ", "└─ ", "│  ") if unicode_output() else ("|- ", "`- ", "|  ")
    for number, one in enumerate(found, 1):
        is_last = number == len(found)
        words = [
            safe(one.artifact_type or "unknown"),
            str(one.descriptor.digest),
            size(one.descriptor.size),
            *([when(one.created)] if one.created else []),
        ]
        yield indent + (last if is_last else branch) + "  ".join(words)
        yield from attached_lines(one.attached, indent + ("   " if is_last else line))
