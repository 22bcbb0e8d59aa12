"""ocitool container commit: a container's changes as a new image."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, cast

import typer

from ocitool.cli.commands.container_diff import ContainerName
from ocitool.cli.completing import words
from ocitool.cli.options.expand import Group, with_options
from ocitool.cli.output import OUTPUT, Output
from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted

if TYPE_CHECKING:
    from ocitool.containers.committing import CommitOptions, Committed
    from ocitool.oci.mediatype import Compression

_COMPRESSIONS = ("gzip", "zstd", "none")


def _commit_options(
    _: typer.Context,
    *,
    change: list[str] | None,
    author: str,
    message: str,
    no_pause: bool,
    with_run_options: bool,
    compression: str,
) -> "CommitOptions":
    from ocitool.cli.options.times import source_date_epoch
    from ocitool.containers.committing import CommitOptions

    if compression not in _COMPRESSIONS:
        raise UsageError(
            f"{quoted(compression)} is not a compression", hint=f"use {', '.join(_COMPRESSIONS)}"
        )
    return CommitOptions(
        author=author,
        message=message,
        changes=tuple(change or ()),
        epoch=source_date_epoch(),
        run_options=with_run_options,
        pause=not no_pause,
        compression=cast("Compression", compression),
    )


COMMIT = Group(
    {
        "change": (
            Annotated[
                list[str] | None,
                typer.Option(
                    "--change",
                    "-c",
                    metavar="INSTRUCTION",
                    help="Set the configuration: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, "
                    "STOPSIGNAL, USER, VOLUME or WORKDIR and a value; may be repeated.",
                ),
            ],
            None,
        ),
        "author": (
            Annotated[
                str, typer.Option("--author", "-a", metavar="A", help="Author of the image.")
            ],
            "",
        ),
        "message": (
            Annotated[
                str,
                typer.Option("--message", "-m", metavar="TEXT", help="Comment for the history."),
            ],
            "",
        ),
        "no_pause": (
            Annotated[
                bool,
                typer.Option("--no-pause", help="Let a running container go on while it is read."),
            ],
            False,
        ),
        "with_run_options": (
            Annotated[
                bool,
                typer.Option(
                    "--with-run-options",
                    help="Take the container's command, environment, user and folder into the "
                    "image, as docker does.",
                ),
            ],
            False,
        ),
        "compression": (
            Annotated[
                str,
                typer.Option(
                    "--compression",
                    metavar="gzip|zstd|none",
                    autocompletion=words(*_COMPRESSIONS),
                    help="Compression of the new layer.",
                ),
            ],
            "gzip",
        ),
    },
    _commit_options,
)


@with_options(commit=COMMIT, out=OUTPUT)
def commit(
    name: ContainerName,
    destinations: Annotated[
        list[str] | None, typer.Argument(metavar="[NEW…]", help="Names for the image.")
    ] = None,
    *,
    commit: "CommitOptions",
    out: Output,
) -> None:
    """Keep what a container changed: one new layer on its image, under a new name.

    The layer holds exactly what `container diff` lists. The configuration stays the image's own,
    except for --change. With SOURCE_DATE_EPOCH equal changes give an equal digest. A running
    container is paused meanwhile.
    """
    from ocitool.cli import container_documents
    from ocitool.containers.committing import commit_container
    from ocitool.containers.records import find_container

    names = list(dict.fromkeys(_full_name(text) for text in destinations or ()))
    with out.options.open_store() as layout:
        container = find_container(layout, name)
        with out.working(f"reading container {container.name}"):
            done = commit_container(layout, container, names, commit)
    out.result(
        done,
        text=lambda done: [str(done.digest)],
        ids=lambda done: [str(done.digest)],
        view=container_documents.COMMITTED,
    )
    out.remark(_remarks(done))


def _full_name(text: str) -> str:
    """Return a name for the store; UsageError for another place."""
    from ocitool.cli.render import texts
    from ocitool.images.locations import PlaceKind, parse_place

    place = parse_place(text)
    if place.kind is not PlaceKind.STORE:
        raise UsageError(
            f"{quoted(text)} is not a name in the store, which is where the image goes",
            hint=f"choose a name such as app:kept, then `ocitool copy app:kept {text}`",
        )
    return texts.full(text.removeprefix("store:"))


def _remarks(done: "Committed") -> Iterator[str]:
    from ocitool.cli.render import texts
    from ocitool.cli.render.columns import counted, size

    called = ", ".join(texts.familiar(name) for name in done.names) or "an image without a name"
    counts = done.letters
    changes = f"{counts['A']} added, {counts['C']} changed, {counts['D']} deleted"
    if done.layer is None:
        yield f"{called}: nothing was changed, so it has no new layer"
    else:
        yield f"{called}: a layer of {size(done.layer.size)} with {changes}"
    if done.left_out:
        yield f"left out: {counted(done.left_out, 'socket')}"
    if done.not_paused is not None:
        yield f"container {done.container.name} went on while it was read: {done.not_paused}"
    for change in done.moved:
        if change.old is not None:
            yield f"{texts.familiar(change.name)} moved from {change.old} to {change.new}"
