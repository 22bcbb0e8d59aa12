"""ocitool registry: what a registry holds: tags, repositories, digests, manifests."""

from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.registry import registries, with_reach
from ocitool.cli.options.shared import Json, Quiet, settings
from ocitool.cli.render import console
from ocitool.cli.render.console import safe
from ocitool.errors import NotFound, OcitoolError, UsageError
from ocitool.oci.quoting import quoted

if TYPE_CHECKING:
    from ocitool.places.registry import RegistryOptions

Name = Annotated[str, typer.Argument(metavar="NAME", help="NAME[:TAG][@DIGEST] in a registry.")]
Repositories = Annotated[str, typer.Argument(metavar="REPOSITORY", help="Such as ghcr.io/a/b.")]
Most = Annotated[
    int | None, typer.Option("--limit", "-n", min=1, metavar="N", help="Not more than this.")
]

registry = typer.Typer(rich_markup_mode=None, no_args_is_help=True)


@registry.command("tags")
@with_reach
def tags(
    context: typer.Context,
    repository: Repositories,
    *,
    limit: Most = None,
    json: Json = False,
    reach: "RegistryOptions",
) -> None:
    """List the tags of a repository."""
    from ocitool.images.locations import registry_reference
    from ocitool.places.registry import Session
    from ocitool.places.registry.listing import tags as listed

    reference = registry_reference(repository)
    with registries(reach, settings(context).observer()) as connected:
        found = listed(Session(connected, reference.domain, reference.path), limit)
    if json:
        console.out_json({"repository": reference.repository, "tags": found})
        return
    for tag in found:
        console.out(safe(tag))


@registry.command("catalog")
@with_reach
def catalog(
    context: typer.Context,
    host: Annotated[str, typer.Argument(metavar="HOST", help="Such as registry.example:5000.")],
    *,
    limit: Most = None,
    json: Json = False,
    reach: "RegistryOptions",
) -> None:
    """List the repositories of a registry, where it tells."""
    from ocitool.images.locations import registry_host
    from ocitool.places.registry import Session
    from ocitool.places.registry.listing import catalog as listed

    domain = registry_host(host)
    with registries(reach, settings(context).observer()) as connected:
        found = listed(Session(connected, domain), limit)
    if json:
        console.out_json({"registry": domain, "repositories": found})
        return
    for name in found:
        console.out(safe(name))


@registry.command("digest")
@with_reach
def digest(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME…")],
    *,
    quiet: Quiet = False,
    json: Json = False,
    reach: "RegistryOptions",
) -> None:
    """Print NAME@DIGEST of what a tag stands for now; nothing is fetched."""
    from ocitool.images.locations import registry_reference
    from ocitool.places.registry import Repository

    options = settings(context)
    rows: list[dict[str, object]] = []
    failures: list[OcitoolError] = []
    observer = options.observer(quiet=quiet)
    with registries(reach, observer) as connected:
        for reference in [registry_reference(name) for name in names]:
            repository = Repository.of(connected, reference)
            try:
                found = repository.head(reference) or repository.fetch(reference)
            except OcitoolError as error:
                if len(names) == 1:
                    raise
                observer.warn(f"{reference.familiar}: {error.message}")
                failures.append(error)
                continue
            pinned = f"{reference.repository}@{found.digest}"
            rows.append(
                {
                    "name": reference.name,
                    "digest": str(found.digest),
                    "media_type": found.media_type,
                    "size": found.size,
                }
            )
            if not json:
                console.out(str(found.digest) if quiet or options.quiet else pinned)
    if json:
        console.out_json(rows if len(names) > 1 else rows[0])
    if failures:
        raise failures[0]


@registry.command("manifest")
@with_reach
def manifest(context: typer.Context, name: Name, *, reach: "RegistryOptions") -> None:
    """Print the bytes of a manifest or index as the registry gives them."""
    from ocitool.images.locations import registry_reference
    from ocitool.places.registry import Repository

    reference = registry_reference(name)
    with registries(reach, settings(context).observer()) as connected:
        repository = Repository.of(connected, reference)
        descriptor = repository.fetch(reference)
        with repository.open(descriptor) as blob:
            raw = blob.read_all(descriptor.size)
    console.out_bytes(raw)


@registry.command("rm")
@with_reach
def rm(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME…")],
    *,
    by_digest: Annotated[
        bool,
        typer.Option("--by-digest", help="Delete the image itself, hence all tags that it has."),
    ] = False,
    ignore_missing: Annotated[
        bool, typer.Option("--ignore-missing", help="What is not there counts as deleted.")
    ] = False,
    reach: "RegistryOptions",
) -> None:
    """Delete tags from a registry, or with --by-digest images."""
    from ocitool.images.locations import registry_reference
    from ocitool.places.registry import Repository
    from ocitool.places.registry.listing import delete

    with registries(reach, settings(context).observer()) as connected:
        for name in names:
            reference = registry_reference(name)
            if "@" not in name and ":" not in name.rpartition("/")[2]:
                raise UsageError(
                    f"{quoted(name)} names no tag, and `latest` is not meant by chance here",
                    hint=f"write {name}:TAG",
                )
            if reference.digest is not None and not by_digest:
                raise UsageError(
                    f"{reference.familiar} is an image by its digest: all its tags would go",
                    hint="say --by-digest if that is meant, or name a tag",
                )
            repository = Repository.of(connected, reference, writing=True)
            found = repository.head(reference) if by_digest else None
            what = str(found.digest) if found is not None else str(reference.tag)
            there = found is not None or not by_digest
            gone = there and delete(repository.session, what, what=reference.familiar)
            if not gone and not ignore_missing:
                raise NotFound(f"there is no {reference.familiar}")
            if gone:
                console.out(f"Deleted: {safe(reference.repository)}{_joined(what)}")


def _joined(what: str) -> str:
    return f"@{what}" if ":" in what else f":{what}"
