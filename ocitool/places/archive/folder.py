"""skopeo's and podman's `dir` form: a registry manifest and files named by their hex digest.

The media types in such a folder may lie about compression: podman writes plain tars and calls
them gzip. Digests are right, so they are kept.
"""

import os
from typing import Self

from ocitool.errors import NotFound, SizeMismatch
from ocitool.fsops import Directory, translated
from ocitool.image.content import Blob, Root
from ocitool.oci import DEFAULT_LIMITS, Descriptor, Digest, Limits, parse_manifest
from ocitool.oci.quoting import quoted
from ocitool.places.archive.diagnosis import DAMAGED


class FolderSource:
    """An open `dir` folder: one image or index, without a name. Thread-safe."""

    def __init__(self, folder: Directory, manifest: bytes, limits: Limits = DEFAULT_LIMITS) -> None:
        self._folder = folder
        self._manifest = manifest
        what = f"manifest.json of {folder.path!r}"
        document = parse_manifest(manifest, None, limits=limits, what=what)
        self._root = Root(
            descriptor=Descriptor(
                media_type=document.media_type, digest=Digest.of(manifest), size=len(manifest)
            )
        )

    @property
    def what(self) -> str:
        """What the user calls the folder, for messages."""
        return self._folder.path

    def close(self) -> None:
        """Close the folder; harmless when repeated."""
        self._folder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def roots(self) -> tuple[Root, ...]:
        """Return the one root."""
        return (self._root,)

    def resolve(self, name: str) -> Root:
        """Return the root when `name` is its digest; the form has no names."""
        if name != str(self._root.descriptor.digest):
            raise NotFound(
                f"there is no image {quoted(name)} in {self.what!r}",
                hint="the dir form holds one image without a name; leave the name out",
            )
        return self._root

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether the folder holds content of that digest and size."""
        if descriptor.digest == self._root.descriptor.digest:
            return True
        return self._size(descriptor.digest) == descriptor.size

    def open(self, descriptor: Descriptor) -> Blob:
        """Return content as a stream that verifies itself; NotFound when absent."""
        if descriptor.digest == self._root.descriptor.digest:
            return Blob.of(descriptor, self._manifest, where=f"manifest.json of {self.what!r}")
        file, size = self._open(descriptor.digest)
        where = f"{descriptor.digest.hex} in {self.what!r}"
        if size != descriptor.size:
            os.close(file)
            raise SizeMismatch(
                f"{where} is {size} bytes; {descriptor.size} are promised", hint=DAMAGED
            )

        def read(count: int) -> bytes:
            with translated("read", where):
                return os.read(file, count)

        return Blob(descriptor, read, where=where, close=lambda: os.close(file), hint=DAMAGED)

    def located(self, digest: Digest) -> tuple[int, int, int] | bytes | None:
        """Return where the bytes of a digest are: (file descriptor, offset, size), or themselves.

        The caller closes the descriptor. None if they are not here; nothing is verified.
        """
        if digest == self._root.descriptor.digest:
            return self._manifest
        try:
            file, size = self._open(digest)
        except NotFound:
            return None
        return file, 0, size

    def size_of(self, digest: Digest) -> int | None:
        """Return the size of content of that digest; None if it is not here."""
        is_root = digest == self._root.descriptor.digest
        return len(self._manifest) if is_root else self._size(digest)

    def _size(self, digest: Digest) -> int | None:
        sizes = (self._folder.size_of(name) for name in _file_names(digest))
        return next((size for size in sizes if size is not None), None)

    def _open(self, digest: Digest) -> tuple[int, int]:
        for name in _file_names(digest):
            if self._folder.size_of(name) is not None:
                return self._folder.open_file(name)
        raise NotFound(f"blob {digest} is missing from {self.what!r}")


def _file_names(digest: Digest) -> tuple[str, str]:
    # Children of an index are kept as HEX.manifest.json.
    return digest.hex, f"{digest.hex}.manifest.json"
