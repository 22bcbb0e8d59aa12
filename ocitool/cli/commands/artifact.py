"""ocitool artifact: files and folders in registries, and what is attached to images."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.commands.push import DigestFile
from ocitool.cli.options.registry import ChunkSize, Jobs, in_chunks, registries, with_reach
from ocitool.cli.options.shared import Json, Quiet, settings
from ocitool.cli.render import console
from ocitool.cli.render.console import safe
from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.artifacts.sending import ArtifactReport
    from ocitool.events import Observer
    from ocitool.places.registry import RegistryOptions

Name = Annotated[str, typer.Argument(metavar="NAME", help="NAME[:TAG][@DIGEST] in a registry.")]
Files = Annotated[
    list[str], typer.Argument(metavar="FILE[:TYPE]|DIR…", help="With a media type, or a folder.")
]
ArtifactType = Annotated[
    str | None,
    typer.Option("--artifact-type", metavar="T", help="Such as application/spdx+json."),
]
Annotations = Annotated[
    list[str] | None,
    typer.Option("--annotation", metavar="K=V", help="Of the artifact; may be repeated."),
]
Config = Annotated[
    str | None, typer.Option("--config", metavar="FILE[:TYPE]", help="The artifact's config.")
]

artifact = typer.Typer(rich_markup_mode=None, no_args_is_help=True)


@artifact.command("push")
@with_reach
def push(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="NAME[:TAG] in a registry.")],
    files: Files,
    *,
    artifact_type: ArtifactType = None,
    annotation: Annotations = None,
    config: Config = None,
    digestfile: DigestFile = None,
    chunk_size: ChunkSize = None,
    jobs: Jobs = DEFAULT_JOBS,
    quiet: Quiet = False,
    json: Json = False,
    reach: "RegistryOptions",
) -> None:
    """Push files and folders as one artifact; the same content gives the same digest.

    The last line printed is NAME@DIGEST.
    """
    from ocitool.artifacts import sending
    from ocitool.images.locations import registry_reference

    options = settings(context)
    observer = options.observer(quiet=quiet)
    making = sending.PackOptions(
        files=files,
        artifact_type=artifact_type,
        annotations=_annotations(annotation),
        config=config,
        scratch=options.temporary,
        jobs=jobs,
    )
    with registries(in_chunks(reach, chunk_size), observer) as connected:
        report = sending.push(connected, registry_reference(name), making, observer=observer)
    _show(report, observer, quiet=quiet or options.quiet, json=json, digestfile=digestfile)


@artifact.command("attach")
@with_reach
def attach(
    context: typer.Context,
    name: Name,
    files: Files,
    *,
    artifact_type: ArtifactType = None,
    annotation: Annotations = None,
    config: Config = None,
    digestfile: DigestFile = None,
    chunk_size: ChunkSize = None,
    jobs: Jobs = DEFAULT_JOBS,
    quiet: Quiet = False,
    json: Json = False,
    reach: "RegistryOptions",
) -> None:
    """Push files and folders as an artifact that is attached to what NAME stands for now.

    The last line printed is the artifact's NAME@DIGEST.
    """
    from ocitool.artifacts import sending
    from ocitool.images.locations import registry_reference

    options = settings(context)
    observer = options.observer(quiet=quiet)
    making = sending.PackOptions(
        files=files,
        artifact_type=artifact_type,
        annotations=_annotations(annotation),
        config=config,
        scratch=options.temporary,
        jobs=jobs,
    )
    with registries(in_chunks(reach, chunk_size), observer) as connected:
        report = sending.attach(connected, registry_reference(name), making, observer=observer)
    _show(report, observer, quiet=quiet or options.quiet, json=json, digestfile=digestfile)


@artifact.command("pull")
@with_reach
def pull(
    context: typer.Context,
    name: Name,
    *,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="DIR", help="Where the files go.")
    ] = ".",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that exist already.")
    ] = False,
    quiet: Quiet = False,
    json: Json = False,
    reach: "RegistryOptions",
) -> None:
    """Write the files and folders of an artifact, all of them or none; prints their paths."""
    from ocitool.artifacts import receiving
    from ocitool.cli.render.artifact import pulled_json
    from ocitool.images.locations import registry_reference
    from ocitool.places.registry import Repository

    if os.path.exists(output) and not os.path.isdir(output):
        raise UsageError(f"{output!r} is no folder", hint="-o names the folder for the files")
    observer = settings(context).observer(quiet=quiet)
    reference = registry_reference(name)
    with registries(reach, observer) as connected:
        report = receiving.pull(
            Repository.of(connected, reference),
            reference,
            output,
            overwrite=overwrite,
            observer=observer,
        )
    if json:
        console.out_json(pulled_json(report, reference, output))
        return
    if not report.files:
        observer.remark(f"{reference.familiar} holds no files")
    for file in report.files:
        path = os.path.normpath(os.path.join(output, file.title))
        console.out(safe(f"{path}/" if file.is_folder else path))


@artifact.command("ls")
@with_reach
def ls(context: typer.Context, name: Name, *, json: Json = False, reach: "RegistryOptions") -> None:
    """List what is attached to NAME: signatures, SBOMs, attestations, and what is to those."""
    from ocitool.artifacts.attached import list_attached
    from ocitool.cli.render.artifact import attached_json, attached_lines
    from ocitool.images.locations import registry_reference
    from ocitool.places.registry import Repository

    observer = settings(context).observer()
    reference = registry_reference(name)
    with registries(reach, observer) as connected:
        root, found = list_attached(Repository.of(connected, reference), reference)
    if json:
        console.out_json(
            {
                "name": reference.name,
                "digest": str(root.digest),
                "media_type": root.media_type,
                "attached": [attached_json(one) for one in found],
            }
        )
        return
    console.out(f"{reference.repository}@{root.digest}")
    for line in attached_lines(found):
        console.out(line)
    if not found:
        observer.remark(f"nothing is attached to {reference.familiar}")


def _annotations(texts: list[str] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UsageError(f"--annotation {text!r} is not KEY=VALUE")
        if key in found:
            raise UsageError(f"--annotation {key!r} is there twice")
        found[key] = value
    return found


def _show(
    report: "ArtifactReport",
    observer: "Observer",
    *,
    quiet: bool,
    json: bool,
    digestfile: str | None,
) -> None:
    from ocitool.cli.render import texts
    from ocitool.cli.render.artifact import sent_json, sent_remark

    observer.remark(sent_remark(report))
    if digestfile is not None:
        texts.write_digests(digestfile, [report.descriptor.digest])
    if json:
        console.out_json(sent_json(report))
    else:
        console.out(str(report.descriptor.digest) if quiet else report.pinned)
