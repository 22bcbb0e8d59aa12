"""Lists of the emulated registry: tags, repositories, referrers. distribution-spec, "Content
Discovery".
"""

import json
from collections.abc import Sequence
from typing import cast
from urllib.parse import quote

from ocitool.oci import Digest
from tests.support.http_exchange import Exchange
from tests.support.registry_quirks import Quirks
from tests.support.registry_state import Refusal, State

_INDEX = "application/vnd.oci.image.index.v1+json"
_JSON = {"Content-Type": "application/json"}


class Lists:
    """The endpoints of one registry that list something."""

    def __init__(self, state: State, quirks: Quirks) -> None:
        self._state = state
        self._quirks = quirks

    def tags(self, exchange: Exchange, repository: str) -> None:
        """GET tags/list, sorted, a page at a time."""
        self._state.known(repository)
        kind = self._quirks.tags
        if kind == "null":
            exchange.answer(200, _body({"name": repository, "tags": None}), _JSON)
            return
        page, link = self._page(exchange, sorted(self._state.tags.get(repository, {})))
        if kind == "duplicates":
            page = [*page, *page]
        elif kind == "endless":
            link = exchange.target
        elif kind == "foreign":
            link = self._quirks.foreign_link
        headers = {**_JSON, **self._link(exchange, link)}
        exchange.answer(200, _body({"name": repository, "tags": page}), headers)

    def catalog(self, exchange: Exchange) -> None:
        """GET _catalog."""
        if not self._quirks.catalog:
            raise Refusal(404, "UNSUPPORTED", "the operation is unsupported")
        page, link = self._page(exchange, sorted(self._state.repositories))
        headers = {**_JSON, **self._link(exchange, link)}
        exchange.answer(200, _body({"repositories": page}), headers)

    def _link(self, exchange: Exchange, link: str | None) -> dict[str, str]:
        form = self._quirks.link
        if link is None or form is None:
            return {}
        path, _, query = link.partition("?")
        host = exchange.headers.get("Host", "")
        return {"Link": form.format(link=link, path=path, query=query, host=host)}

    def _page(self, exchange: Exchange, names: Sequence[str]) -> tuple[list[str], str | None]:
        last = exchange.query("last")
        left = [name for name in names if last is None or name > last]
        asked = exchange.query("n")
        size = len(left) if asked is None else int(asked)
        size = min(size, self._quirks.page_size or size)
        page = left[:size]
        if len(page) == len(left) or not page:
            return page, None
        return page, f"{exchange.path}?n={size}&last={quote(page[-1], safe='')}"

    def referrers(self, exchange: Exchange, repository: str, digest: Digest) -> None:
        """GET referrers: an index of the manifests with that subject, which may be unknown."""
        kind = self._quirks.referrers
        if kind == "html":
            exchange.answer(200, b"<html>hello</html>", {"Content-Type": "text/html"})
            return
        if kind != "api":
            text = {"Content-Type": "text/plain; charset=utf-8"}
            exchange.answer(int(kind), b"404 page not found\n", text)
            return
        found = self._referring(repository, digest)
        headers = {"Content-Type": _INDEX}
        wanted = exchange.query("artifactType")
        if wanted is not None and self._quirks.referrers_filter:
            found = [entry for entry in found if entry.get("artifactType") == wanted]
            headers["OCI-Filters-Applied"] = "artifactType"
        page, link = self._referrers_page(exchange, found)
        headers |= self._link(exchange, link)
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": page}
        exchange.answer(200, _body(index), headers)

    def _referrers_page(
        self, exchange: Exchange, found: list[dict[str, object]]
    ) -> tuple[list[dict[str, object]], str | None]:
        size = self._quirks.page_size
        start = int(exchange.query("start") or "0")
        if size is None or start + size >= len(found):
            return found[start:], None
        wanted = exchange.query("artifactType")
        kept = "" if wanted is None else f"&artifactType={quote(wanted, safe='')}"
        link = f"{exchange.path}?start={start + size}{kept}"
        return found[start : start + size], link

    def _referring(self, repository: str, subject: Digest) -> list[dict[str, object]]:
        found = []
        with self._state.lock:
            manifests = list(self._state.manifests.get(repository, {}).items())
        for digest, manifest in manifests:
            fields = manifest.fields
            named = fields.get("subject")
            if not isinstance(named, dict) or named.get("digest") != str(subject):
                continue
            entry: dict[str, object] = {
                "mediaType": manifest.media_type,
                "digest": str(digest),
                "size": len(manifest.raw),
            }
            config = cast("dict[str, object]", fields.get("config") or {})
            kind = fields.get("artifactType") or config.get("mediaType")
            if kind is not None:
                entry["artifactType"] = kind
            if fields.get("annotations"):
                entry["annotations"] = fields["annotations"]
            found.append(entry)
        return found


def _body(value: object) -> bytes:
    return json.dumps(value).encode()
