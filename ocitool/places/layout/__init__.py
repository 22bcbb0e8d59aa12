"""Place 1: an OCI image layout directory, and the store that is built on one.

`layout` reads, `writing` writes, `exclusive` changes names and deletes, `index` knows what
index.json holds, `lock` and `lease` keep several processes apart, `reflog` remembers what names
pointed to, `cache` what was measured.
(image-spec image-layout.md)
"""

from ocitool.places.layout.cache import Cache
from ocitool.places.layout.exclusive import exclusive, untag
from ocitool.places.layout.index import NameChange
from ocitool.places.layout.layout import Layout
from ocitool.places.layout.writing import Writing

__all__ = ["Cache", "Layout", "NameChange", "Writing", "exclusive", "untag"]
