"""The path a tar member means inside a layer, and the names that only layers give a meaning."""

from typing import Final

WHITEOUT_PREFIX: Final = ".wh."
OPAQUE_WHITEOUT: Final = ".wh..wh..opq"
_METADATA_PREFIX: Final = ".wh..wh."


def layer_path(name: str) -> str:
    """Return the one spelling of a member's path, relative to the layer's root; "" is the root.

    `./x`, `/x`, `x/` and `x` are one path, and `..` stays below the root, as where layers are
    unpacked.
    """
    path = name.removeprefix("./").strip("/")
    if "/." not in path and "//" not in path and path[:1] != ".":
        return path
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)


def is_whiteout(path: str) -> bool:
    """Tell whether a member hides something of the layers below (image-spec layer.md, Whiteouts).

    True for an opaque directory's marker too, whatever the member's type; false for what aufs kept
    for itself, and for a bare `.wh.`, which names nothing.
    """
    leaf = path.rpartition("/")[2]
    if leaf.startswith(_METADATA_PREFIX):
        return leaf == OPAQUE_WHITEOUT
    return leaf.startswith(WHITEOUT_PREFIX) and leaf != WHITEOUT_PREFIX
