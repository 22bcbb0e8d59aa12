"""ocitool push: images into registries."""

from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.registry import (
    ChunkSize,
    Jobs,
    Referrers,
    in_chunks,
    registries,
    source_at,
    with_reach,
)
from ocitool.cli.options.shared import (
    Compression,
    Json,
    Quiet,
    SomePlatforms,
    Strict,
    platforms,
    settings,
)
from ocitool.cli.render import console
from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import OcitoolError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocitool.events import Observer
    from ocitool.image.content import Root
    from ocitool.images.locations import Opened, Place
    from ocitool.oci import Reference
    from ocitool.operations.push_target import OnExisting, PushReport
    from ocitool.places.registry import Registries, RegistryOptions
    from ocitool.transfer.pipeline import TransferOptions

OnExistingOption = Annotated[
    str,
    typer.Option(
        "--on-existing",
        metavar="same|overwrite|skip|error",
        help="When the tag exists: only the same image, move it, leave it, or fail.",
    ),
]
DigestFile = Annotated[
    str | None, typer.Option("--digestfile", metavar="F", help="Write the digest to this file.")
]
CreateRepository = Annotated[
    bool,
    typer.Option("--create-repo", help="Make the repository first (Amazon ECR, by the aws CLI)."),
]
FailFast = Annotated[
    bool, typer.Option("--fail-fast", help="End at the first destination that fails.")
]


@with_reach
def push(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SRC", help="NAME, oci:DIR:TAG, ./FILE, …")],
    destinations: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DST…]", help="Names in registries; none: the name that SRC has."),
    ] = None,
    *,
    on_existing: OnExistingOption = "overwrite",
    platform: SomePlatforms = None,
    compression: Compression = None,
    strict: Strict = False,
    referrers: Referrers = False,
    digestfile: DigestFile = None,
    create_repo: CreateRepository = False,
    chunk_size: ChunkSize = None,
    jobs: Jobs = DEFAULT_JOBS,
    fail_fast: FailFast = False,
    quiet: Quiet = False,
    json: Json = False,
    reach: "RegistryOptions",
) -> None:
    """Copy an image into registries, as it is, sending only what they lack.

    Plain layers of an old docker archive are compressed on the way. The last line printed is
    NAME@DIGEST, to pin what was pushed. A destination that fails does not keep the others.
    """
    from ocitool.cli.render import texts
    from ocitool.images.locations import parse_place, registry_reference, with_attached
    from ocitool.operations import push as pushing
    from ocitool.transfer.pipeline import TransferOptions

    options = settings(context)
    targets = [registry_reference(text) for text in destinations or ()]
    texts.check_digest_file(digestfile)
    observer = options.observer(quiet=quiet)
    existing = policy(on_existing)
    chosen = TransferOptions(
        platforms=platforms(platform),
        compression=compression,
        strict=strict,
        attached=referrers,
        jobs=jobs,
        scratch=options.temporary,
    )
    with (
        registries(in_chunks(reach, chunk_size), observer) as connected,
        source_at(parse_place(source), options, connected) as opened,
    ):
        images = with_attached(opened) if referrers else opened
        if create_repo:
            create_repositories(targets or _own_names(opened.roots), observer)
        failures = Failures(observer)
        reports = pushing.push(
            images.source,
            images.roots,
            targets,
            connected,
            chosen,
            on_existing=existing,
            observer=observer,
            on_failure=None if fail_fast or _is_single(images.roots, targets) else failures.add,
        )
    show(
        reports,
        observer,
        quiet=quiet or options.quiet,
        json=json,
        digestfile=digestfile,
        failures=failures,
    )


def policy(text: str) -> "OnExisting":
    """Return the policy of --on-existing; UsageError for another word."""
    from ocitool.operations.push_target import OnExisting

    try:
        return OnExisting(text)
    except ValueError:
        words = ", ".join(OnExisting)
        raise UsageError(f"--on-existing {text!r} is not one of {words}") from None


def push_to(
    opened: "Opened",
    target: "Place",
    connected: "Registries",
    chosen: "TransferOptions",
    observer: "Observer",
    *,
    on_existing: "OnExisting",
    create: bool,
) -> "list[PushReport]":
    """Push what is open to the one name that a place of a registry means."""
    from ocitool.oci import Reference
    from ocitool.operations import push as pushing

    destination = Reference.parse(target.name or "")
    if create:
        create_repositories([destination], observer)
    return pushing.push(
        opened.source,
        opened.roots,
        [destination],
        connected,
        chosen,
        on_existing=on_existing,
        observer=observer,
    )


def create_repositories(targets: "Sequence[Reference]", observer: "Observer") -> None:
    """Make the repositories that have to exist first."""
    from ocitool.places.registry.create_repository import create_repository

    for repository in dict.fromkeys((target.domain, target.path) for target in targets):
        if create_repository(*repository):
            observer.remark(f"made the repository {'/'.join(repository)}")


class Failures:
    """The destinations that could not be pushed to, each told at once."""

    def __init__(self, observer: "Observer") -> None:
        self.found: list[tuple[Reference, OcitoolError]] = []
        self._observer = observer

    def add(self, destination: "Reference", error: OcitoolError) -> None:
        """Note a failure, and tell it."""
        self.found.append((destination, error))
        self._observer.warn(f"{destination.familiar}: {error.message}")

    def raise_first(self, pushed: int) -> None:
        """Raise the first failure, if there is one, in the name of all."""
        if self.found:
            error = self.found[0][1]
            error.message = (
                f"{len(self.found)} of {len(self.found) + pushed} pushes failed; the first: "
                f"{error.message}"
            )
            raise error


def show(
    reports: "Sequence[PushReport]",
    observer: "Observer",
    *,
    quiet: bool,
    json: bool,
    digestfile: str | None,
    failures: Failures | None = None,
) -> None:
    """Print what was pushed, and write the digest file; then raise the first failure."""
    from ocitool.cli.render import texts
    from ocitool.cli.render.push import failure_json, remarks, report_json

    failed = failures.found if failures is not None else []
    for report in reports:
        for line in remarks(report):
            observer.remark(line)
    if digestfile is not None:
        texts.write_digests(digestfile, [report.digest for report in reports])
    if json:
        console.out_json(
            [
                *(report_json(report) for report in reports),
                *(failure_json(destination, error) for destination, error in failed),
            ]
        )
    for report in () if json else reports:
        console.out(str(report.digest) if quiet else report.pinned)
    if failures is not None:
        failures.raise_first(len(reports))


def _is_single(roots: "Sequence[Root]", targets: "Sequence[Reference]") -> bool:
    """Tell whether there is one image for one name, whose failure is that of all."""
    return len(targets or _own_names(roots)) <= 1


def _own_names(roots: "Sequence[Root]") -> "list[Reference]":
    from ocitool.oci import Reference

    return [Reference.parse(name) for root in roots for name in root.names]
