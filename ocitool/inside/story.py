"""What each layer of an image did to a path."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from ocitool.errors import NotFound
from ocitool.inside.image import Inside
from ocitool.inside.tree import MergedTree, Node

_SHOWN = ("kind", "mode", "uid", "gid", "link", "device")
_WORDS = {"kind": "type", "uid": "owner", "gid": "owner"}


class Event(Struct, frozen=True, kw_only=True):
    """What a layer did to a path: added, changed or deleted it.

    `what` are the parts that changed: content, type, mode, owner, link, device, xattrs or times.
    "content" means that the layer has another file at the path, whose bytes may be the same;
    nothing, that it has the very same file again.
    `size` is that of the file from then on. `instruction` is the layer's build step.
    """

    layer: int
    action: str
    instruction: str | None
    size: int
    what: tuple[str, ...] = ()


def stories(inside: Inside, paths: Iterable[str]) -> Mapping[str, tuple[Event, ...]]:
    """Return for each path what happened to it, the lowest layer first.

    The layers are put over each other once more, and each path is looked at after each of them.
    """
    events: dict[str, list[Event]] = {path: [] for path in paths}
    last: dict[str, Node | None] = dict.fromkeys(events)
    tree = MergedTree()
    for layer in inside.layers:
        if layer.table is None:
            continue
        tree.apply(layer.number, layer.table)
        for path, before in last.items():
            after = last[path] = _at(tree, path)
            action, what = _compared(inside, before, after)
            if action is not None:
                size = after.size if after is not None else 0
                events[path].append(
                    Event(
                        layer=layer.number,
                        action=action,
                        instruction=layer.instruction,
                        size=size,
                        what=what,
                    )
                )
    return {path: tuple(found) for path, found in events.items()}


def _at(tree: MergedTree, path: str) -> Node | None:
    try:
        return tree.find(path, follow=False)
    except NotFound:
        return None


def _compared(
    inside: Inside, before: Node | None, after: Node | None
) -> tuple[str | None, tuple[str, ...]]:
    """Return what was done between two layers, and to what."""
    if after is None:
        return ("deleted" if before is not None else None), ()
    if before is None:
        return "added", ()
    if (before.layer, before.row) == (after.layer, after.row):
        return None, ()
    what = [
        _WORDS.get(name, name) for name in _SHOWN if getattr(before, name) != getattr(after, name)
    ]
    if before.xattrs != after.xattrs:
        what.append("xattrs")
    if not after.is_folder and _content(inside, before) != _content(inside, after):
        what.insert(0, "content")
    if not what and before.mtime != after.mtime:
        what.append("times")
    if after.is_folder and not what:
        return None, ()
    return "changed", tuple(dict.fromkeys(what))


def _content(inside: Inside, node: Node) -> object:
    """Return what tells whether two files have the same bytes, as far as that is known."""
    if node.row is None or node.link is not None or node.size == 0:
        return node.size
    return inside.table(node.layer).digest(node.row) or (node.layer, node.row)
