"""The images of a bundle that another tool made, whatever its form."""

from msgspec import Struct, field
from msgspec.structs import replace

from ocitool.image.content import Root
from ocitool.image.entries import Entries, arrange
from ocitool.oci import Digest
from ocitool.places.archive.synthesis import Content


class ForeignImages(Struct, kw_only=True):
    """The images of such a bundle.

    `contents` tells where the bytes of each digest are. `refused` is what is wrong with names that
    cannot be used, and `remarks` is what else there is to say, both by the digest of a root.
    """

    roots: list[Root] = field(default_factory=list)
    contents: dict[Digest, Content] = field(default_factory=dict)
    refused: dict[Digest, list[str]] = field(default_factory=dict)
    remarks: dict[Digest, str] = field(default_factory=dict)

    def entries(self) -> Entries:
        """Return the images as if an index.json listed them."""
        entries = arrange(self.roots, join_nameless=False, refused=self.refused)
        remarks = dict(entries.remarks)
        for digest, text in self.remarks.items():
            remarks[digest] = (*remarks.get(digest, ()), text)
        return replace(entries, remarks=remarks)
