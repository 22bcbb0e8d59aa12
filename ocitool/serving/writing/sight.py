"""Which blobs a client of a writable registry sees in a repository."""

import threading

from ocitool.oci import Digest
from ocitool.serving.library import Library
from ocitool.serving.messages import Request
from ocitool.serving.writing.claims import Claims


class Sight:
    """What clients pushed, mounted and deleted, beside what the manifests of a repository list."""

    def __init__(self, library: Library, claims: Claims) -> None:
        self._library = library
        self._claims = claims
        self._hidden: dict[str, set[Digest]] = {}
        self._lock = threading.Lock()

    def sees(self, request: Request, name: str, digest: Digest) -> bool:
        """Tell whether a request finds a blob; one that nothing here lists yet is claimed for it.

        A client that finds a blob does not push it, and names it a moment later.
        """
        if self._library.size(digest) is None:
            return False
        is_hidden = digest in self._hidden.get(name, ())
        if request.method == "GET" and not is_hidden and not self._library.by_repository:
            # What the manifests list need not be looked up.
            return True
        if self.lists(name, digest):
            return True
        if is_hidden:
            return False
        if self._claims.holds(name, digest):
            return True
        if self._library.by_repository:
            return False
        if request.method == "HEAD":
            self._claims.add(name, request.client, [digest])
            return self._library.size(digest) is not None
        return True

    def has(self, name: str, digest: Digest) -> bool:
        """Tell whether a manifest that is pushed to a repository may list a blob."""
        if self._library.size(digest) is None:
            return False
        if digest in self._hidden.get(name, ()):
            return self.lists(name, digest)
        if not self._library.by_repository:
            return True
        return self._claims.holds(name, digest) or self.lists(name, digest)

    def lists(self, name: str, digest: Digest) -> bool:
        """Tell whether a manifest of a repository lists a blob or is it."""
        view = self._library.view()
        repository = view.repositories.get(name)
        if repository is None:
            return False
        holdings = self._library.holdings(view, repository)
        return digest in holdings.blobs or digest in holdings.documents

    def may_mount(self, source: str | None, digest: Digest) -> bool:
        """Tell whether a blob may be mounted from a repository, or (None) from any."""
        if self._library.size(digest) is None:
            return False
        if source is not None:
            return self.has(source, digest)
        return not self._library.by_repository

    def show(self, name: str, digest: Digest) -> None:
        """Note that a blob was pushed or mounted."""
        with self._lock:
            self._hidden.get(name, set()).discard(digest)

    def hide(self, name: str, digest: Digest) -> None:
        """Note that a blob was deleted; its bytes are a matter of garbage collection."""
        with self._lock:
            self._hidden.setdefault(name, set()).add(digest)
