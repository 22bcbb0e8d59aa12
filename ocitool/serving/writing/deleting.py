"""DELETE of tags, manifests and blobs (distribution-spec, "Content Management").

What was deleted waits in the trash as after `rm`. A manifest that a tagged index lists is never
deleted under it: the tag would be broken.
"""

from ocitool.containers.providers import find_providers
from ocitool.errors import NotFound, Refused
from ocitool.garbage import remove
from ocitool.images.lookup import Found
from ocitool.oci import Digest
from ocitool.places.layout.index import entry_names
from ocitool.serving.library import Library
from ocitool.serving.lists import tagged_parents
from ocitool.serving.messages import Answer, Refusal
from ocitool.serving.reading import unknown_blob, unknown_manifest
from ocitool.serving.routing import Route, digest_of, is_digest, tag_of
from ocitool.serving.shelves import repositories_of
from ocitool.serving.view import ServedRepository, View
from ocitool.serving.writing.claims import Claims
from ocitool.serving.writing.sight import Sight
from ocitool.serving.writing.storing import Storing


class Deleting:
    """Deletes from one store."""

    def __init__(self, storing: Storing, claims: Claims, sight: Sight, library: Library) -> None:
        self._storing = storing
        self._claims = claims
        self._sight = sight
        self._library = library

    def manifest(self, name: str, where: Route) -> Answer:
        """Delete a tag, or a manifest with all its tags."""
        view = self._library.view()
        repository = view.repositories.get(name)
        if repository is None:
            raise unknown_manifest(where.rest)
        if not is_digest(where.rest):
            return self._tag(repository, where)
        digest = digest_of(where.rest)
        if not self._library.has_document(view, repository, digest):
            raise unknown_manifest(where.rest)
        self._refuse_needed(view, repository, digest)
        self._remove(repository, digest)
        return Answer(status=202)

    def _tag(self, repository: ServedRepository, where: Route) -> Answer:
        tag = tag_of(where.rest)
        digest = repository.tags.get(tag)
        if digest is None:
            raise unknown_manifest(tag)
        names = self._names(repository, digest, tag)
        self._storing.unname(digest, repository.name, names, stays=True)
        return Answer(status=202)

    def _refuse_needed(self, view: View, repository: ServedRepository, digest: Digest) -> None:
        parents = tagged_parents(self._library, view, repository, digest)
        if parents:
            raise Refusal(
                405,
                "UNSUPPORTED",
                f"the tag {parents[0]} needs this manifest: delete the tag first",
                detail={"tags": parents},
            )
        if digest not in repository.roots:
            raise Refusal(
                405, "UNSUPPORTED", "an index or an image needs this manifest: delete that first"
            )

    def _names(
        self, repository: ServedRepository, digest: Digest, tag: str | None = None
    ) -> list[str]:
        """Return the names of a digest in a repository, as index.json has them."""
        found: dict[str, None] = {}
        tags = [tag] if tag is not None else repository.tags
        wanted = {f"{repository.name}:{tag}" for tag in tags} | set(tags)
        wanted |= {f"{repository.name}@{digest}"} if tag is None else set()
        for entry in self._storing.layout.index().entries:
            if entry.digest == digest:
                # A layout of another tool has bare tags.
                found.update(dict.fromkeys(n for n in entry_names(entry) if n in wanted))
        return list(found)

    def _remove(self, repository: ServedRepository, digest: Digest) -> None:
        layout = self._storing.layout
        names = self._names(repository, digest)
        entries = [entry for entry in layout.index().entries if entry.digest == digest]
        others = {n for entry in entries for n in repositories_of(entry)} - {repository.name}
        others |= {n for e in entries for n in entry_names(e) if ":" in n or "/" in n} - set(names)
        if others:
            self._storing.unname(digest, repository.name, names, stays=False)
            return
        root = next((r for r in layout.roots() if r.descriptor.digest == digest), None)
        if root is None:
            raise unknown_manifest(str(digest))
        uses = [use for who in find_providers(["store"], layout=layout) for use in who.uses()]
        found = [Found(root=root, name=name) for name in names] or [Found(root=root, name=None)]
        try:
            remove(layout, found, uses=uses)
        except NotFound:
            raise unknown_manifest(str(digest)) from None
        except Refused as error:
            raise Refusal(405, "UNSUPPORTED", error.message) from None

    def blob(self, name: str, where: Route) -> Answer:
        """Delete a blob from its repository; its bytes go by garbage collection."""
        digest = digest_of(where.rest)
        if self._sight.lists(name, digest):
            raise Refusal(405, "UNSUPPORTED", "a manifest of this repository needs the blob")
        if not self._sight.has(name, digest):
            raise unknown_blob(where.rest)
        self._sight.hide(name, digest)
        self._claims.drop(name, digest)
        return Answer(status=202)
