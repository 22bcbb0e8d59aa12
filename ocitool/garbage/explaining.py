"""Why a blob stays, as the path from a root to it, or why it is garbage."""

import datetime as dt
from collections.abc import Sequence

from msgspec import Struct

from ocitool.errors import NotFound, Refused, UsageError
from ocitool.garbage.planned import Plan
from ocitool.garbage.reachable import path_to
from ocitool.garbage.retention import IN_USE, pinned
from ocitool.garbage.roots import root_entries
from ocitool.images.lookup import full_name
from ocitool.oci import Digest
from ocitool.oci.quoting import quoted
from ocitool.places.layout import Layout
from ocitool.places.layout.trash import blobs_of, last_sound_run, run_names

_SHORTEST = 4


class Explanation(Struct, frozen=True, kw_only=True):
    """What becomes of a blob. `state` is "kept", "garbage" or "trash".

    `path` leads from a root to the blob, both included, when it is kept; `names` are those of the
    root.
    """

    digest: Digest
    state: str
    reason: str
    path: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def explain(layout: Layout, plan: Plan, text: str) -> Explanation:
    """Explain an image by its name, also one that it lost, or a blob by the start of its digest.

    The plan was made with paths. NotFound when there is none, Refused when there are several,
    UsageError for what is neither.
    """
    digest = _named(layout, text) or _find(layout, text)
    if digest is None:
        return _in_trash(layout, text)
    blob = next((blob for blob in plan.blobs if blob.digest == digest), None)
    if blob is None:
        return _kept(plan, digest)
    image = next((i for i in plan.images if i.digest == blob.image), None)
    reason = blob.reason
    if image is not None:
        called = ", ".join(image.names) or image.former or "<none>"
        reason = f"only images to remove need it, such as {image.digest.short} ({called}): "
        reason += image.reason
    return Explanation(digest=digest, state="garbage", reason=reason)


def _kept(plan: Plan, digest: Digest) -> Explanation:
    reachable = plan.facts.reachable
    if str(digest) not in reachable.digests:
        return Explanation(digest=digest, state="kept", reason=IN_USE)
    path = tuple(path_to(str(digest), reachable.found_by))
    root = root_entries(plan.facts.index.entries).get(path[0])
    kept = next((k for k in plan.kept if str(k.digest) == path[0]), None)
    names = root.names if root is not None else ()
    if kept is not None:
        reason = kept.reason
    elif names:
        reason = "an image with a name needs it" + _also_pinned(plan, path[0])
    elif root is not None:
        reason = "an entry of index.json leads to it"
    else:
        reason = "it is not old enough, or a container or a running command names it"
    return Explanation(digest=digest, state="kept", reason=reason, path=path, names=names)


def _also_pinned(plan: Plan, digest: str) -> str:
    """Return that an image with a name is pinned too: without its name it would stay as well."""
    now = dt.datetime.now(dt.UTC)
    pin = next((p for p in plan.facts.pins if str(p.digest) == digest and p.holds(now)), None)
    return "" if pin is None else f", and {pinned(pin)}"


def _named(layout: Layout, text: str) -> Digest | None:
    """Return the image that a name means, or the last one that had it and is still here."""
    name = full_name(text)
    found = layout.current_names()
    digest = found.get(text) or found.get(name or "")
    if digest is not None:
        return Digest.parse(digest)
    former = {one.name: digest for digest, one in layout.former_names().items()}
    digest = former.get(name or "")
    if digest is None or layout.blob_size(Digest.parse(digest)) is None:
        return None
    return Digest.parse(digest)


def _find(layout: Layout, text: str) -> Digest | None:
    algorithm, _, prefix = text.rpartition(":")
    hexadecimal = all(character in "0123456789abcdef" for character in prefix)
    if algorithm not in ("", "sha256", "sha512") or len(prefix) < _SHORTEST or not hexadecimal:
        if full_name(text) is not None:
            raise NotFound(
                f"there is no image {quoted(text)} in {layout.path!r}",
                hint="`ocitool reflog` lists all names that were here",
            )
        raise UsageError(
            f"{quoted(text)} is neither a name nor a digest",
            hint=f"give {_SHORTEST} or more hex digits of a digest",
        )
    return _one(text, sorted(layout.listing().blobs), algorithm, prefix)


def _one(text: str, digests: Sequence[str], algorithm: str, prefix: str) -> Digest | None:
    found = []
    for digest in digests:
        own, _, hex_digits = digest.partition(":")
        if hex_digits.startswith(prefix) and algorithm in ("", own):
            found.append(digest)
    if len(found) > 1:
        raise Refused(
            f"{quoted(text)} is the beginning of {len(found)} digests", hint="give more digits"
        )
    return Digest.parse(found[0]) if found else None


def _in_trash(layout: Layout, text: str) -> Explanation:
    algorithm, _, prefix = text.rpartition(":")
    if layout.control is not None:
        run = last_sound_run(layout.control)
        for name in run_names(layout.control):
            waiting = [str(digest) for digest, _ in blobs_of(layout.control, name)]
            digest = _one(text, waiting, algorithm, prefix)
            if digest is not None:
                if run is not None and run.name == name:
                    back = "`ocitool gc --undo` restores it"
                    reason = f"it was moved to the trash at {run.time}; {back}"
                else:
                    reason = "it is left over from an earlier run; the next run deletes it"
                return Explanation(digest=digest, state="trash", reason=reason)
    raise NotFound(
        f"there is no blob {quoted(text)} in {layout.path!r}",
        hint="give the digest of a manifest, config or layer, or its beginning",
    )
