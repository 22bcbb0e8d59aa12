"""ocitool registry: what a registry holds, and serving as one."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.commands.registry_prune import prune
from ocitool.cli.commands.registry_serve import serve
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.quantities import parse_seconds
from ocitool.cli.options.registry import REGISTRY, registries
from ocitool.cli.output import JSON_OUTPUT, OUTPUT, PLAIN_OUTPUT, Output
from ocitool.cli.parsing import command_group
from ocitool.cli.render import console
from ocitool.cli.render.console import safe
from ocitool.errors import NotFound, Unavailable, UsageError
from ocitool.oci.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ocitool.events import Observer
    from ocitool.oci import Descriptor, Reference
    from ocitool.places.registry import RegistryOptions, Repository, Session

Name = Annotated[str, typer.Argument(metavar="NAME", help="NAME[:TAG][@DIGEST] in a registry.")]
Repositories = Annotated[
    str, typer.Argument(metavar="REPOSITORY", help="A repository, for example ghcr.io/a/b.")
]
Most = Annotated[
    int | None, typer.Option("--limit", "-n", min=1, metavar="N", help="List at most N.")
]

Wait = Annotated[
    str | None,
    typer.Option("--wait", metavar="T", help="Wait so long for an image that does not exist yet."),
]
_PAUSE = 1.0
"""Seconds between two looks at a tag that does not exist yet."""

registry = command_group()
registry.command("prune")(prune)
registry.command("serve")(serve)


@registry.command("tags")
@with_options(out=JSON_OUTPUT, options=REGISTRY)
def tags(
    repository: Repositories, *, limit: Most = None, out: Output, options: "RegistryOptions"
) -> None:
    """List the tags of a repository."""
    from ocitool.images.locations import registry_reference
    from ocitool.places.registry import Session
    from ocitool.places.registry.listing import tags as list_tags

    reference = registry_reference(repository)
    with registries(options, out.observer) as connected:
        session = Session(connected, reference.domain, reference.path)
        _show_list(out, list_tags, session, limit, "tags", repository=reference.repository)


@registry.command("catalog")
@with_options(out=JSON_OUTPUT, options=REGISTRY)
def catalog(
    host: Annotated[
        str,
        typer.Argument(
            metavar="HOST[/PREFIX]", help="A registry, for example registry.example:5000."
        ),
    ],
    *,
    limit: Most = None,
    out: Output,
    options: "RegistryOptions",
) -> None:
    """List the repositories of a registry that offers such a list, or those below a prefix."""
    from ocitool.images.locations import registry_host
    from ocitool.places.registry import Session
    from ocitool.places.registry.listing import catalog as list_repositories
    from ocitool.places.registry.paging import IncompleteList

    name, _, prefix = host.partition("://")[2 if "://" in host else 0].partition("/")
    prefix = prefix.strip("/")

    def among(listed: "Sequence[str]") -> list[str]:
        return [path for path in listed if f"{path}/".startswith(f"{prefix}/")]

    def below_prefix(session: Session, most: int | None) -> list[str]:
        try:
            return among(list_repositories(session, None))[:most]
        except IncompleteList as error:
            raise IncompleteList(error, among(error.found)[:most]) from error

    domain = registry_host(name)
    read = below_prefix if prefix else list_repositories
    with registries(options, out.observer) as connected:
        session = Session(connected, domain)
        _show_list(out, read, session, limit, "repositories", registry=domain)


def _show_list(
    out: Output,
    read: "Callable[[Session, int | None], list[str]]",
    session: "Session",
    limit: int | None,
    key: str,
    **about: str,
) -> None:
    """Print a list, also the part that was read of one that breaks off; that is a failure."""
    from ocitool.places.registry.paging import IncompleteList

    problem = None
    try:
        found: Sequence[str] = read(session, limit)
    except IncompleteList as error:
        problem, found = error, error.found
    out.result({**about, key: list(found)}, text=lambda _: map(safe, found))
    if problem is not None:
        raise problem


@registry.command("digest")
@with_options(out=OUTPUT, options=REGISTRY)
def digest(
    names: Annotated[list[str], typer.Argument(metavar="NAME…")],
    *,
    wait: Wait = None,
    out: Output,
    options: "RegistryOptions",
) -> None:
    """Print NAME@DIGEST of the image that a tag names now, without fetching it."""
    from ocitool.cli import documents
    from ocitool.cli.attempts import Attempts
    from ocitool.images.locations import registry_reference
    from ocitool.places.registry import Repository
    from ocitool.places.registry.near_tags import tells_near_tags

    attempts = Attempts(out, len(names))
    deadline = time.monotonic() + (parse_seconds(wait) if wait is not None else 0)
    rows: list[object] = []
    with registries(options, out.observer) as connected:
        for reference in [registry_reference(name) for name in names]:
            repository = Repository.of(connected, reference)
            with attempts.one(reference), tells_near_tags(repository.session, reference):
                found = _wait_for(repository, reference, deadline, out.observer)
                out.lines([f"{reference.repository}@{found.digest}"], ids=[str(found.digest)])
                rows.append(documents.DIGEST.beside(name=reference.name)(found))
    rows += [documents.FAILURE(failure) for failure in attempts.failed]
    out.document(rows[0] if len(names) == 1 else rows)
    attempts.finish()


def _wait_for(
    repository: "Repository", reference: "Reference", deadline: float, observer: "Observer"
) -> "Descriptor":
    """Return what a tag names, once it exists; after the deadline raise what stands in the way."""
    told = False
    while True:
        left = deadline - time.monotonic()
        try:
            return repository.head(reference) or repository.fetch(reference)
        except (NotFound, Unavailable):
            if left <= 0:
                raise
        if not told:
            observer.wait(f"waiting for {reference.familiar}")
            told = True
        repository.session.registries.sleep(min(_PAUSE, left))


@registry.command("manifest")
@with_options(out=PLAIN_OUTPUT, options=REGISTRY)
def manifest(name: Name, *, out: Output, options: "RegistryOptions") -> None:
    """Print the bytes of a manifest or index as the registry gives them."""
    from ocitool.images.locations import registry_reference
    from ocitool.places.registry import Repository
    from ocitool.places.registry.near_tags import tells_near_tags

    reference = registry_reference(name)
    with registries(options, out.observer) as connected:
        repository = Repository.of(connected, reference)
        with tells_near_tags(repository.session, reference):
            descriptor = repository.fetch(reference)
        with repository.open(descriptor) as blob:
            raw = blob.read_all(descriptor.size)
    console.out_bytes(raw)


@registry.command("rm")
@with_options(out=PLAIN_OUTPUT, options=REGISTRY)
def rm(
    names: Annotated[list[str], typer.Argument(metavar="NAME…")],
    *,
    by_digest: Annotated[
        bool,
        typer.Option("--by-digest", help="Delete the image itself, and with it all its tags."),
    ] = False,
    attached: Annotated[
        bool,
        typer.Option(
            "--referrers", help="With --by-digest: also delete signatures and other attachments."
        ),
    ] = False,
    ignore_missing: Annotated[
        bool, typer.Option("--ignore-missing", help="Succeed for names that do not exist.")
    ] = False,
    out: Output,
    options: "RegistryOptions",
) -> None:
    """Delete tags from a registry, or with --by-digest images; failures do not stop the rest."""
    from ocitool.cli.attempts import Attempts
    from ocitool.places.registry import Repository

    if attached and not by_digest:
        raise UsageError("--referrers goes with --by-digest: a tag alone has nothing attached")
    references = [_deletable(name, by_digest=by_digest) for name in names]
    attempts = Attempts(out, len(names))
    with registries(options, out.observer) as connected:
        for reference in references:
            with attempts.one(reference):
                repository = Repository.of(connected, reference, writing=True)
                if by_digest:
                    deleted = _delete_images(repository, reference, out, attached=attached)
                else:
                    deleted = _delete_tag(repository, reference)
                if not deleted and not ignore_missing:
                    raise NotFound(f"{reference.familiar} does not exist")
                out.lines([f"Deleted: {safe(reference.repository)}{what}" for what in deleted])
    attempts.finish()


def _deletable(name: str, *, by_digest: bool) -> "Reference":
    """Return what a name means; UsageError where more would be deleted than it seems."""
    from ocitool.images.locations import registry_reference

    reference = registry_reference(name)
    if "@" not in name and ":" not in name.rpartition("/")[2]:
        raise UsageError(
            f"{quoted(name)} has no tag, and `latest` is not assumed when deleting",
            hint=f"write {name}:TAG",
        )
    if reference.digest is not None and not by_digest:
        raise UsageError(
            f"{reference.familiar} is an image by its digest: all its tags would be deleted",
            hint="use --by-digest to do that, or name a tag",
        )
    return reference


def _delete_tag(repository: "Repository", reference: "Reference") -> list[str]:
    """Delete a tag; return it as `:TAG`, or nothing when it does not exist."""
    from ocitool.places.registry.listing import delete

    tag = str(reference.tag)
    return [f":{tag}"] if delete(repository.session, tag, what=reference.familiar) else []


def _delete_images(
    repository: "Repository", reference: "Reference", out: Output, *, attached: bool
) -> list[str]:
    """Delete an image, and what is attached to it if wanted; return each as `@DIGEST`."""
    from ocitool.places.registry.removal import remove_image

    removed = remove_image(repository, reference, attached=attached)
    if removed is None:
        return []
    for tag in removed.left_tags:
        out.observer.remark(
            f"{reference.repository}:{tag} stays behind; --referrers deletes what is attached too"
        )
    return [f"@{digest}" for digest in removed.digests]
