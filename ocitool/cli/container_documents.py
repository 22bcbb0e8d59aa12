"""The JSON documents about the files of containers; `README.md` beside this file describes them."""

from collections.abc import Mapping

import msgspec

from ocitool.cli.documents import CHANGE, PATH
from ocitool.cli.render.document import Encode, View
from ocitool.containers.inspection import Inspection


def letter_count(letter: str) -> Encode:
    """Return a function that takes one number out of the counts by letter."""
    return lambda counts: counts[letter] if isinstance(counts, Mapping) else None


CHANGED_PATH = View(change="letter") | PATH
COPIED = View(
    "destination",
    entries="extracted.entries",
    bytes="extracted.size",
    special_left_out="extracted.special",
    attributes_left_out="extracted.attributes",
    sockets_left_out="sockets",
)
COMMITTED = View(
    "digest names left_out not_paused",
    container="container.id",
    image_id="config",
    base="container.digest",
    layer=View("digest size media_type"),
    added=("letters", letter_count("A")),
    changed=("letters", letter_count("C")),
    deleted=("letters", letter_count("D")),
    moved=CHANGE,
)
EXPORTED = View("destination bytes_written left_out", container="container.id")


def inspection(found: Inspection) -> dict[str, object]:
    """Return what is known of a container with docker's names; sizes only if they were measured."""
    document: dict[str, object] = msgspec.to_builtins(found)
    for size in ("SizeRw", "SizeRootFs"):
        if document[size] is None:
            del document[size]
    return document
