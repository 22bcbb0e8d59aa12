"""GitHub's packages API in this process, over what an emulated registry holds.

A version is a digest with all its tags; deleting it takes both. As GHCR, such a registry lists
nothing that is attached and deletes nothing itself: `GHCR` are its quirks.
"""

import json
import re
from collections.abc import Mapping
from urllib.parse import unquote

from ocitool.oci import Digest
from tests.support.http_exchange import Exchange
from tests.support.http_server import RecordingServer
from tests.support.registry import EmulatedRegistry, Quirks

GHCR = Quirks(referrers="404", delete_405=True, tag_delete="405")
TOKEN = "canary-github-token"
LONG_AGO = "2026-01-02T03:04:05Z"
_LIST = re.compile(r"/(orgs|users)/([^/]+)/packages/container/([^/]+)/versions").fullmatch
_ONE = re.compile(r"/(orgs|users)/([^/]+)/packages/container/([^/]+)/versions/([0-9]+)").fullmatch
_JSON = {"Content-Type": "application/json"}


class EmulatedGitHub(RecordingServer):
    """The API at `url`. `kind` is what the owner is; `times` are updated_at, by digest.

    `refused` versions are answered with 400, such as one that was downloaded too often. `limited`
    answers say so many times that the limit is used up. `page` is the most of one page.
    """

    def __init__(self, registry: EmulatedRegistry, kind: str = "orgs", page: int = 100) -> None:
        super().__init__()
        self._registry = registry
        self._kind = kind
        self._page = page
        self.times: dict[Digest, str] = {}
        self.refused: dict[Digest, str] = {}
        self.limited = 0
        self.deleted: list[Digest] = []
        self._numbers: dict[tuple[str, Digest], int] = {}

    def environment(self) -> Mapping[str, str]:
        """Return the variables that lead to it, with a token."""
        return {"GITHUB_API_URL": self.url, "GITHUB_TOKEN": TOKEN}

    def respond(self, exchange: Exchange) -> None:
        """Answer one request."""
        path = exchange.target.partition("?")[0]
        found = _LIST(path) or _ONE(path)
        if exchange.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._say(exchange, 401, "Bad credentials")
        elif self.limited:
            self.limited -= 1
            headers = {**_JSON, "Retry-After": "0", "x-ratelimit-remaining": "0"}
            exchange.answer(403, b'{"message":"API rate limit exceeded"}', headers)
        elif found is None or found[1] != self._kind:
            self._say(exchange, 404, "Not Found")
        else:
            self._serve(exchange, f"{found[2]}/{unquote(found[3])}", _ONE(path))

    def _serve(self, exchange: Exchange, name: str, one: "re.Match[str] | None") -> None:
        if name not in self._registry.manifests:
            self._say(exchange, 404, "Package not found.")
        elif one is None and exchange.method == "GET":
            self._list(exchange, name)
        elif one is not None and exchange.method == "DELETE":
            self._delete(exchange, name, int(one[4]))
        else:
            self._say(exchange, 404, "Not Found")

    def number(self, name: str, digest: Digest) -> int:
        """Return the ID of a version."""
        return self._numbers.setdefault((name, digest), 1000 + len(self._numbers))

    def _list(self, exchange: Exchange, name: str) -> None:
        size = min(self._page, int(exchange.query("per_page") or 30))
        page = int(exchange.query("page") or 1)
        with self._registry.state.lock:
            tags = dict(self._registry.tags.get(name, {}))
            digests = sorted(self._registry.manifests[name])
        rows = [self._row(name, one, tags) for one in digests[(page - 1) * size : page * size]]
        headers = dict(_JSON)
        if page * size < len(digests):
            path = f"{exchange.target.partition('?')[0]}?per_page={size}&page={page + 1}"
            headers["Link"] = f'<{self.url}{path}>; rel="next", <{self.url}{path}>; rel="last"'
        exchange.answer(200, json.dumps(rows).encode(), headers)

    def _row(self, name: str, digest: Digest, tags: Mapping[str, Digest]) -> dict[str, object]:
        named = [tag for tag, target in tags.items() if target == digest]
        return {
            "id": self.number(name, digest),
            "name": str(digest),
            "created_at": LONG_AGO,
            "updated_at": self.times.get(digest, LONG_AGO),
            "metadata": {"package_type": "container", "container": {"tags": named}},
        }

    def _delete(self, exchange: Exchange, name: str, number: int) -> None:
        found = [d for (owner, d), own in self._numbers.items() if (owner, own) == (name, number)]
        if not found or found[0] not in self._registry.manifests[name]:
            self._say(exchange, 404, "Package not found.")
        elif found[0] in self.refused:
            self._say(exchange, 400, self.refused[found[0]])
        else:
            self.deleted.append(found[0])
            self._registry.state.delete(name, None, found[0])
            exchange.answer(204)

    def _say(self, exchange: Exchange, status: int, message: str) -> None:
        exchange.answer(status, json.dumps({"message": message}).encode(), _JSON)
