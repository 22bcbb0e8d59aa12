"""ocitool lock: names with their digests, so that they mean the same images from now on."""

from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.completing import store_names
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.lists import LISTS, NameLists
from ocitool.cli.options.registry import REGISTRY, registries
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render import console
from ocitool.errors import OcitoolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocitool.operations.lock import Outcome
    from ocitool.places.registry import RegistryOptions

_STORE = "store:"

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME…",
        help="NAME[:TAG][@DIGEST] in a registry, or store:NAME.",
        autocompletion=store_names,
    ),
]
Destination = Annotated[
    str,
    typer.Option("--output", "-o", metavar="FILE|-", help="Write the lock to FILE, or to stdout."),
]
FromStore = Annotated[
    bool,
    typer.Option("--from-store", help="Look in the store for all names, and ask no registry."),
]


@with_options(lists=LISTS, out=OUTPUT, registry=REGISTRY)
def lock(
    names: Names = None,
    *,
    lists: NameLists,
    output: Destination = "-",
    from_store: FromStore = False,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Write down which digests names stand for now, as imgpkg's ImagesLock.

    imgpkg reads the file, and so does -f of all commands: a lock means the same images whatever
    the tags point to later. The same images give the same bytes. It is written only if every name
    was found.
    """
    from ocitool.bundles.lock import encode_lock
    from ocitool.cli import documents
    from ocitool.cli.attempts import Attempts
    from ocitool.cli.render.columns import counted
    from ocitool.fsops import write_output

    wanted = list(dict.fromkeys(lists.names(names, "NAME", out)))
    with out.working("resolving"):
        outcomes = _resolve(wanted, registry, out, from_store=from_store)
    attempts = Attempts(out, len(wanted))
    for name, outcome in zip(wanted, outcomes, strict=True):
        with attempts.one(name):
            if isinstance(outcome, OcitoolError):
                raise outcome
    locked = [one for one in outcomes if not isinstance(one, OcitoolError)]
    rows = [documents.LOCKED(one) for one in locked]
    out.document([*rows, *map(documents.FAILURE, attempts.failed)])
    attempts.finish()
    data = encode_lock(one.image for one in locked)
    if output != "-":
        write_output(output, data)
        out.lines([str(one.image) for one in locked], ids=[str(one.digest) for one in locked])
        out.summary([f"wrote {console.safe(output)}  {counted(len(locked), 'image')}"])
    elif not out.is_json:
        console.out_bytes(data)


def _resolve(
    wanted: "Sequence[str]", registry: "RegistryOptions", out: Output, *, from_store: bool
) -> "list[Outcome]":
    """Return what each name stands for, where it is to be looked for."""
    from ocitool.images.locations import registry_reference
    from ocitool.operations.lock import lock_in_registries, lock_in_store

    stored = [name for name in wanted if from_store or name.startswith(_STORE)]
    found: dict[str, Outcome] = {}
    if stored:
        texts = [name.removeprefix(_STORE) for name in stored]
        found |= zip(stored, lock_in_store(texts, out.options.store), strict=True)
    remote = {name: registry_reference(name) for name in wanted if name not in found}
    if remote:
        with registries(registry, out.observer) as connected:
            outcomes = lock_in_registries(list(remote.values()), connected)
        found |= zip(remote, outcomes, strict=True)
    return [found[name] for name in wanted]
