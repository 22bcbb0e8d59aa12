"""ocitool artifact: files and folders in registries, and what is attached to images."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.editing import pairs
from ocitool.cli.options.expand import Group, with_options
from ocitool.cli.options.registry import REGISTRY, ChunkSize, Jobs, in_chunks, registries
from ocitool.cli.options.transfer import DigestFile
from ocitool.cli.output import JSON_OUTPUT, OUTPUT, Output
from ocitool.cli.parsing import command_group
from ocitool.cli.render.console import safe
from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ocitool.artifacts.receiving import PulledFile
    from ocitool.artifacts.sending import ArtifactReport
    from ocitool.places.registry import RegistryOptions

Name = Annotated[str, typer.Argument(metavar="NAME", help="NAME[:TAG][@DIGEST] in a registry.")]
Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE[:TYPE]|DIR…", help="A file, optionally with its media type, or a folder."
    ),
]
ArtifactType = Annotated[
    str | None,
    typer.Option(
        "--artifact-type",
        metavar="T",
        help="Type of the artifact, for example application/spdx+json.",
    ),
]
Annotations = Annotated[
    list[str] | None,
    typer.Option(
        "--annotation", metavar="K=V", help="Annotation of the artifact; may be repeated."
    ),
]
Config = Annotated[
    str | None,
    typer.Option(
        "--config", metavar="FILE[:TYPE]", help="File to use as the config of the artifact."
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """How files become an artifact, and how it is sent."""

    artifact_type: str | None
    annotation: list[str] | None
    config: str | None
    digestfile: str | None
    chunk_size: str | None
    jobs: int

    def send(
        self,
        send: "Callable[..., ArtifactReport]",
        name: str,
        files: list[str],
        out: Output,
        registry: "RegistryOptions",
    ) -> None:
        """Push or attach files, and print the name and digest of the artifact."""
        from ocitool.artifacts.sending import PackOptions
        from ocitool.cli import documents
        from ocitool.cli.render import texts
        from ocitool.cli.render.artifact import sent_remark, type_remarks
        from ocitool.images.locations import registry_reference

        options = PackOptions(
            files=files,
            artifact_type=self.artifact_type,
            annotations=pairs(self.annotation, "--annotation"),
            config=self.config,
            scratch=out.options.temporary,
            jobs=self.jobs,
        )
        texts.begin_digest_file(self.digestfile)
        with registries(in_chunks(registry, self.chunk_size), out.observer) as connected:
            report = send(connected, registry_reference(name), options, observer=out.observer)
        out.observer.remark(sent_remark(report))
        out.remark(type_remarks(report))
        if self.digestfile is not None:
            texts.write_digests(self.digestfile, [report.descriptor.digest])
        out.result(
            report,
            text=lambda report: [report.pinned],
            ids=lambda report: [str(report.descriptor.digest)],
            view=documents.SENT,
        )


PACKING = Group(
    {
        "artifact_type": (ArtifactType, None),
        "annotation": (Annotations, None),
        "config": (Config, None),
        "digestfile": (DigestFile, None),
        "chunk_size": (ChunkSize, None),
        "jobs": (Jobs, DEFAULT_JOBS),
    },
    lambda _, **options: Packing(**options),
)

artifact = command_group()


@artifact.command("push")
@with_options(packing=PACKING, out=OUTPUT, registry=REGISTRY)
def push(
    name: Annotated[str, typer.Argument(metavar="NAME", help="NAME[:TAG] in a registry.")],
    files: Files,
    *,
    packing: "Packing",
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Push files and folders as one artifact; the same content gives the same digest.

    The last line printed is NAME@DIGEST.
    """
    from ocitool.artifacts import sending

    packing.send(sending.push, name, files, out, registry)


@artifact.command("attach")
@with_options(packing=PACKING, out=OUTPUT, registry=REGISTRY)
def attach(
    name: Name,
    files: Files,
    *,
    packing: "Packing",
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Push files and folders as an artifact that is attached to the image that NAME names now.

    The last line printed is the artifact's NAME@DIGEST.
    """
    from ocitool.artifacts import sending

    packing.send(sending.attach, name, files, out, registry)


@artifact.command("pull")
@with_options(out=OUTPUT, registry=REGISTRY)
def pull(
    name: Name,
    *,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="DIR", help="The folder for the files.")
    ] = ".",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that exist already.")
    ] = False,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Write all files and folders of an artifact, or none of them, and print their paths."""
    from ocitool.artifacts import receiving
    from ocitool.cli import documents
    from ocitool.images.locations import registry_reference
    from ocitool.places.registry import Repository

    if os.path.exists(output) and not os.path.isdir(output):
        raise UsageError(f"{output!r} is not a folder", hint="-o names the folder for the files")
    reference = registry_reference(name)
    with registries(registry, out.observer) as connected:
        report = receiving.pull(
            Repository.of(connected, reference),
            reference,
            output,
            overwrite=overwrite,
            observer=out.observer,
        )
    out.result(
        report,
        text=lambda report: [_path(output, file) for file in report.files],
        view=documents.received(output).beside(name=reference.name),
    )
    if not report.files:
        out.remark([f"{reference.familiar} holds no files"])


@artifact.command("ls")
@with_options(out=JSON_OUTPUT, registry=REGISTRY)
def ls(name: Name, *, out: Output, registry: "RegistryOptions") -> None:
    """List what is attached to NAME, such as signatures and SBOMs, as a tree."""
    from ocitool.artifacts.attached import list_attached
    from ocitool.cli import documents
    from ocitool.cli.render.artifact import attached_lines
    from ocitool.images.locations import registry_reference
    from ocitool.places.registry import Repository

    reference = registry_reference(name)
    with registries(registry, out.observer) as connected:
        root, found = list_attached(Repository.of(connected, reference), reference)
    out.result(
        found,
        text=lambda found: [f"{reference.repository}@{root.digest}", *attached_lines(found)],
        view=documents.ATTACHED.under(
            "attached", name=reference.name, digest=root.digest, media_type=root.media_type
        ),
    )
    if not found:
        out.remark([f"nothing is attached to {reference.familiar}"])


def _path(folder: str, file: "PulledFile") -> str:
    path = os.path.normpath(os.path.join(folder, file.title))
    return safe(f"{path}/" if file.is_folder else path)
