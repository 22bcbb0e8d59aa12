"""Requests that change something, for one writable store or layout."""

import time

from ocitool.oci import Digest
from ocitool.places.layout import Layout
from ocitool.places.layout.uploads import clear_old_uploads
from ocitool.serving.library import Library
from ocitool.serving.messages import Answer, Refusal, Request
from ocitool.serving.routing import Route
from ocitool.serving.writing.claims import Claims
from ocitool.serving.writing.sight import Sight
from ocitool.serving.writing.storing import Storing
from ocitool.serving.writing.uploads import RESERVED, Uploads

LOCK_SECONDS = 5.0
"""How long a request waits for other processes that change the store."""


class StoreWriter:
    """Writes to one store or layout. A context manager."""

    def __init__(
        self,
        layout: Layout,
        library: Library,
        *,
        deletes: bool = False,
        largest: int | None = None,
    ) -> None:
        layout.patience = LOCK_SECONDS
        self.storing = Storing(layout)
        self.claims = Claims(layout)
        self._sight = Sight(library, self.claims)
        parts = self.storing, self.claims, self._sight, library
        self._uploads = Uploads(*parts, largest=largest)
        self._parts = parts
        self._deletes = deletes

    def close(self) -> None:
        """Give up claims and leases; uploads that are not whole stay."""
        self.claims.close()
        self.storing.close()

    def tidy(self) -> None:
        """Remove uploads and claims of clients that have gone; called from time to time."""
        clear_old_uploads(self.storing.control, time.time())
        self.claims.expire()

    def has_room(self) -> bool:
        """Tell whether the disk has room for uploads."""
        return self.storing.control.free_space()[0] > RESERVED

    def sees_blob(self, request: Request, name: str, digest: Digest) -> bool:
        """Tell whether a request finds a blob in a repository."""
        return self._sight.sees(request, name, digest)

    def answer(self, request: Request, name: str, where: Route) -> Answer:
        """Answer a request that changes something, or asks for an upload."""
        method = request.method
        if where.kind == "upload":
            if method == "POST" and not where.rest:
                return self._uploads.start(request, name, where)
            return self._uploads.serve(request, name, where)
        if where.kind == "manifest" and method == "PUT":
            from ocitool.serving.writing.manifests import Manifests

            return Manifests(*self._parts).put(request, name, where)
        if where.kind in ("manifest", "blob") and method == "DELETE":
            return self._delete(name, where)
        raise Refusal(405, "UNSUPPORTED", "this method is not answered here")

    def _delete(self, name: str, where: Route) -> Answer:
        if not self._deletes:
            raise Refusal(405, "UNSUPPORTED", "this registry does not delete")
        from ocitool.serving.writing.deleting import Deleting

        deleting = Deleting(*self._parts)
        return (
            deleting.manifest(name, where)
            if where.kind == "manifest"
            else deleting.blob(name, where)
        )
