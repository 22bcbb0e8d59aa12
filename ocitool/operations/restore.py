"""The history of names, and making a name point to an earlier image again."""

from collections.abc import Mapping

from msgspec import Struct

from ocitool.errors import IntegrityError, NotFound, Refused
from ocitool.image.content import Root
from ocitool.oci import Digest
from ocitool.oci.reference import familiar
from ocitool.operations.tag import tag
from ocitool.places.layout import Layout, NameChange
from ocitool.places.layout.documents import stored_document
from ocitool.places.layout.index import entry_names
from ocitool.places.layout.reflog import NameEvent, events, meanings
from ocitool.places.layout.trash import last_sound_run


class Meaning(Struct, frozen=True, kw_only=True):
    """What `NAME@{number}` is: the name's image since `time` (RFC 3339 UTC, "" if unknown).

    `digest` is None if the name was removed. `state` is "named", "nameless", "trash", "gone" or
    "none".
    """

    name: str
    number: int
    time: str
    digest: str | None
    state: str


def name_history(layout: Layout, name: str | None = None) -> tuple[Meaning, ...]:
    """Return the history of a full name, or of every name; sorted by name, the newest first.

    NotFound for a name that never existed here.
    """
    known = _events(layout)
    if name is not None and name not in known:
        raise NotFound(
            f"{familiar(name)!r} never named an image in {layout.path!r}",
            hint="`ocitool reflog` lists all known names",
        )
    named, nameless, trash = _states(layout)
    found = []
    for one in [name] if name is not None else sorted(known):
        for number, event in enumerate(known[one]):
            state = _state(layout, event.new, named, nameless, trash)
            found.append(
                Meaning(name=one, number=number, time=event.time, digest=event.new, state=state)
            )
    return tuple(found)


def restore(layout: Layout, name: str, number: int) -> list[NameChange]:
    """Make a full name point to its image of `number` changes ago; return the change, if any.

    NotFound if the name or that image does not exist, Refused if the name had no image then.
    """
    history, short = name_history(layout, name), familiar(name)
    if number >= len(history):
        raise NotFound(
            f"{short!r} changed {_times(len(history))}, so there is no {short}@{{{number}}}",
            hint=f"`ocitool reflog {short}` lists its history",
        )
    meaning = history[number]
    if meaning.digest is None:
        named = history[0].digest is not None
        raise Refused(
            f"{short}@{{{number}}} was not an image",
            hint=f"`ocitool untag {short}` removes the name" if named else None,
        )
    return tag(layout, _root(layout, meaning), [name])


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _root(layout: Layout, meaning: Meaning) -> Root:
    for root in layout.roots():
        if str(root.descriptor.digest) == meaning.digest:
            return root
    unlisted = _unlisted(layout, meaning.digest or "")
    if unlisted is not None:
        return unlisted
    hint = "load or pull that image again"
    if meaning.state == "trash":
        hint = "`ocitool gc --undo` restores it"
    raise NotFound(
        f"the image {meaning.digest} of {familiar(meaning.name)} is not here any more", hint=hint
    )


def _events(layout: Layout) -> Mapping[str, tuple[NameEvent, ...]]:
    written = events(layout.control) if layout.control is not None else ()
    return meanings(written, layout.current_names())


def _states(layout: Layout) -> tuple[set[str], set[str], set[str]]:
    named: set[str] = set()
    nameless: set[str] = set()
    for entry in layout.index().entries:
        (named if entry_names(entry) else nameless).add(str(entry.digest))
    run = last_sound_run(layout.control) if layout.control is not None else None
    trash = {str(entry.digest) for entry in run.entries} if run is not None else set()
    return named, nameless, trash


def _state(
    layout: Layout, digest: str | None, named: set[str], nameless: set[str], trash: set[str]
) -> str:
    if digest is None:
        return "none"
    states = (("named", named), ("nameless", nameless), ("trash", trash))
    found = next((state for state, digests in states if digest in digests), None)
    if found is not None:
        return found
    # Another tool took its entry out of index.json.
    return "gone" if _unlisted(layout, digest) is None else "nameless"


def _unlisted(layout: Layout, digest: str) -> Root | None:
    """Return an image that index.json does not list, but whose manifest is still here."""
    try:
        found = stored_document(layout, Digest.parse(digest))
    except IntegrityError:
        return None
    return Root(descriptor=found[0]) if found is not None else None
