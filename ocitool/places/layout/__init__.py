"""Place 1: an OCI image layout directory, and the store that is built on one.

`layout` reads and `writing` writes; `exclusive` changes names and deletes; `index` edits the
entries of index.json; `lock` and `lease` keep processes apart; `partial` receives blobs in parts;
`reflog` records what names pointed to, `pins` what must stay, `cache` what was measured; `trash`
keeps what garbage collection removed; `quarantine` keeps damaged blobs; `leftovers` finds what
killed processes left; `reserve` leaves room to remove images on a full disk.
(image-spec image-layout.md)
"""

from ocitool.places.layout.cache import Cache
from ocitool.places.layout.exclusive import exclusive, untag
from ocitool.places.layout.index import NameChange
from ocitool.places.layout.layout import Layout
from ocitool.places.layout.writing import Writing, temporary_layout

__all__ = ["Cache", "Layout", "NameChange", "Writing", "exclusive", "temporary_layout", "untag"]
