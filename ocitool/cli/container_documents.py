"""The JSON documents about the files of containers; `README.md` beside this file describes them."""

from collections.abc import Mapping

from ocitool.cli.documents import CHANGE, PATH
from ocitool.cli.render.document import Encode, View


def letter_count(letter: str) -> Encode:
    """Return a function that takes one number out of the counts by letter."""
    return lambda counts: counts[letter] if isinstance(counts, Mapping) else None


CHANGED_PATH = View(change="letter") | PATH
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
