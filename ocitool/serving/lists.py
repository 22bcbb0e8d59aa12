"""Lists: tags, repositories, referrers (distribution-spec, "Content Discovery")."""

import bisect
from collections.abc import Sequence
from urllib.parse import quote

from ocitool.errors import OcitoolError
from ocitool.oci import Digest, Index, mediatype, parse_manifest
from ocitool.serving.documents import DocumentFacts
from ocitool.serving.library import Library, unknown_repository
from ocitool.serving.messages import Answer, Refusal, Request, json_answer
from ocitool.serving.routing import Route, digest_of
from ocitool.serving.view import ServedRepository, View


def tags(library: Library, request: Request, name: str, route: Route) -> Answer:
    """Answer a list of tags."""
    repository = library.view().repositories.get(name)
    if repository is None:
        raise unknown_repository(route.path)
    page, headers = _page(request, sorted(repository.tags))
    return json_answer({"name": route.path, "tags": page}, headers=headers)


def catalog(library: Library, request: Request) -> Answer:
    """Answer a list of repositories."""
    view = library.view()
    names = {library.rules.published(name, view.paths) for name in view.repositories}
    page, headers = _page(request, sorted(name for name in names if name is not None))
    return json_answer({"repositories": page}, headers=headers)


def _page(request: Request, names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the part of a sorted list that `n` and `last` ask for, and the link to the next."""
    asked, last = request.parameter("n"), request.parameter("last")
    start = bisect.bisect_right(names, last) if last is not None else 0
    if asked is None:
        return list(names[start:]), {}
    if not asked.isascii() or not asked.isdigit():
        raise Refusal(400, "PAGINATION_NUMBER_INVALID", "n is not a number of entries")
    page = list(names[start : start + int(asked[:18])])
    if not page or start + len(page) >= len(names):
        return page, {}
    kept = "".join(
        f"&{key}={quote(value, safe='')}"
        for key, value in request.query
        if key not in ("n", "last")
    )
    target = f"{request.path}?n={len(page)}&last={quote(page[-1], safe='')}{kept}"
    return page, {"Link": f'<{target}>; rel="next"'}


def referrers(library: Library, request: Request, name: str, route: Route) -> Answer:
    """Answer a list of what is attached to a digest, which may be unknown."""
    subject = digest_of(route.rest)
    view = library.view()
    repository = view.repositories.get(name)
    found: dict[str, dict[str, object]] = {}
    if repository is not None:
        for digest, facts in library.referring(view, repository, subject):
            found[str(digest)] = _descriptor(digest, facts)
        for entry in _by_fallback_tag(library, repository, subject):
            found.setdefault(str(entry["digest"]), entry)
    wanted = request.parameter("artifactType")
    headers = {}
    listed = list(found.values())
    if wanted is not None:
        listed = [entry for entry in listed if entry.get("artifactType") == wanted]
        headers["OCI-Filters-Applied"] = "artifactType"
    index = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": listed}
    return json_answer(index, media_type=mediatype.OCI_INDEX, headers=headers)


def _descriptor(digest: Digest, facts: DocumentFacts) -> dict[str, object]:
    entry: dict[str, object] = {
        "mediaType": facts.media_type,
        "digest": str(digest),
        "size": facts.size,
    }
    if facts.artifact_type is not None:
        entry["artifactType"] = facts.artifact_type
    if facts.annotations:
        entry["annotations"] = dict(facts.annotations)
    return entry


def _by_fallback_tag(
    library: Library, repository: ServedRepository, subject: Digest
) -> list[dict[str, object]]:
    """Return what a client without this end point has listed under a tag of the digest."""
    digest = repository.tags.get(f"{subject.algorithm}-{subject.hex}")
    if digest is None:
        return []
    try:
        index = parse_manifest(library.document(digest), None)
    except OcitoolError:
        return []
    return [child.to_json() for child in index.manifests] if isinstance(index, Index) else []


def tagged_parents(
    library: Library, view: View, repository: ServedRepository, digest: Digest
) -> list[str]:
    """Return the tags of the indexes, at any depth, that list a manifest."""
    del view
    found = []
    for tag, root in repository.tags.items():
        if root != digest and digest in _children_of(library, root):
            found.append(tag)
    return sorted(found)


def _children_of(library: Library, root: Digest) -> set[Digest]:
    found: set[Digest] = set()
    todo = [root]
    while todo:
        facts = library.documents.facts(todo.pop())
        for child in facts.documents if facts is not None else ():
            if child not in found:
                found.add(child)
                todo.append(child)
    return found
