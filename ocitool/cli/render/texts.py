"""The text about images, names and changes."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ocitool.cli.render import console
from ocitool.cli.render.columns import counted, size
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.inside.problems import Problem
    from ocitool.oci import Digest
    from ocitool.places.layout import NameChange
    from ocitool.transfer.report import CopiedImage, CopyReport


def familiar(name: str) -> str:
    """Return a full name in docker's short form, safe to print."""
    from ocitool.oci import reference

    return console.safe(reference.familiar(name))


def tabbed(line: str) -> str:
    """Return a line of a file, safe to print, with its tabs as they are."""
    return "\t".join(map(console.safe, line.split("\t")))


def full(name: str) -> str:
    """Return the full name for what a user typed; UsageError when it is not a name."""
    from ocitool.images.lookup import new_name

    return new_name(name)


def repository(name: str) -> str | None:
    """Return the full name of a repository that a user typed; None for a name with a tag."""
    from ocitool.oci import Reference

    has_tag = ":" in name.rpartition("/")[2]
    return None if has_tag else Reference.parse(name).repository


def digests(report: "CopyReport") -> list[str]:
    """Return the digests of the images that were copied, as text."""
    return [str(image.digest) for image in report.images]


def remarks(report: "CopyReport", *, into_store: bool = True) -> list[str]:
    """Return what a user should know about a load or copy, one remark per line."""
    lines: list[str] = []
    called = {image.digest: called_image(image) for image in report.images}
    for conversion in report.conversions:
        image = called.get(conversion.new, conversion.new.short)
        layers = counted(conversion.layers, "layer")
        if conversion.old is None:
            done = ""
            if conversion.layers:
                done = f", {layers} compressed with {conversion.compression}"
            lines.append(f"{image} had no manifest: one was made{done}")
        else:
            lines.append(f"{image}: {layers} converted to {conversion.compression}")
        lines.append(f"  its digest is {conversion.new}")
    for image_report in report.images:
        lines += _missing(image_report)
        if into_store and not image_report.names and image_report.label:
            label = image_report.label
            what = "not a name" if "/" in label or ":" in label else "a tag without a repository"
            lines.append(
                f"the source calls it {label!r}, {what}; name it with: "
                f"ocitool tag {(image_report.image_id or image_report.digest).short} NAME"
            )
    return lines + moves(report.moved, into_store=into_store)


def several(images: "Sequence[CopiedImage]") -> str:
    """Return what to call images in a summary: one by its name, several by their number."""
    return called_image(images[0]) if len(images) == 1 else counted(len(images), "image")


def saved(what: str, report: "CopyReport", seconds: float, made_by: str | None = None) -> str:
    """Return the last line of a command that wrote an archive: its size, and what its layers are.

    The same image by two routes may differ in these, and so in size and digest. `made_by` is the
    option that has changed the layers.
    """
    from ocitool.cli.render.summary import duration

    words = {"none": "uncompressed", "other": "of another kind"}
    layers = " and ".join(words.get(word, word) for word in report.layer_compression) or "none"
    why = made_by or "as they were; --compression gzip|zstd|none changes them"
    parts = [counted(len(report.images), "image"), size(report.written), duration(seconds)]
    return f"{what}  {', '.join(parts)}; layers: {layers} ({why})"


def moves(changes: "Sequence[NameChange]", *, into_store: bool = True) -> list[str]:
    """Return which names moved from one image to another, one per line."""
    return [
        f"{familiar(change.name) if into_store else change.name} moved from {change.old} to "
        f"{change.new}"
        for change in changes
        if change.old is not None and change.new is not None
    ]


def _missing(image: "CopiedImage") -> list[str]:
    if not image.missing:
        return []
    listed = ", ".join(
        str(child.platform) if child.platform is not None else child.digest.short
        for child in image.missing
    )
    return [f"{called_image(image)} is incomplete: the source lacks {listed}"]


def called_image(image: "CopiedImage") -> str:
    """Return what to call an image in a message."""
    if image.names:
        return familiar(image.names[0])
    return image.label or f"image {(image.image_id or image.digest).short}"


def one_line(instruction: str, *, shorten: bool) -> str:
    """Return a build step on one line, safe to print.

    With `shorten`, the checksums in it keep a few digits, so that the path behind them is seen.
    """
    from ocitool.image.instructions import shortened

    text = console.safe(" ".join(instruction.split()))
    return shortened(text) if shorten else text


def table_name(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return (repository, tag) pairs of names, for a table."""
    from ocitool.oci import Reference

    pairs = []
    for name in names:
        reference = Reference.parse(name)
        pairs.append((reference.familiar_repository, reference.tag or "<none>"))
    return pairs


def check_output_file(path: str | None) -> None:
    """Fail before any work if a file that an option names cannot be written."""
    from ocitool.fsops import OutputFile

    if path is None:
        return
    # A pipe must not be opened twice.
    if os.path.isfile(path) or os.path.isdir(path) or not os.path.exists(path):
        OutputFile(path).close()


def begin_digest_file(path: str | None, *, dry_run: bool = False) -> None:
    """Fail before any work if a digest file cannot be written, and remove that of an earlier run.

    A run that fails must not leave the digest of another image there.
    """
    from ocitool.fsops import remove_output

    if path == "-":
        raise UsageError(
            "--digestfile writes a file, not to stdout",
            hint="-q prints the digests alone; a file of that name is ./-",
        )
    check_output_file(path)
    if path is not None and not dry_run:
        remove_output(path)


def write_digests(path: str, digests: "Sequence[Digest]") -> None:
    """Write digests to a file, one per line and each once; the file appears whole or not at all."""
    from ocitool.fsops import write_output

    write_output(path, "".join(f"{digest}\n" for digest in dict.fromkeys(digests)).encode())


def oddity(problem: "Problem") -> str:
    """Return what is odd about a layer of an image, on one line that is safe to print."""
    path = f"{console.safe(problem.path)}: " if problem.path else ""
    return f"layer {problem.layer}: {path}{console.safe(problem.text)}"
