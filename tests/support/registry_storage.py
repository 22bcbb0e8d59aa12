"""The storage behind a registry: blobs at signed addresses, for those who bring no credential."""

import re

from ocitool.oci import Digest
from tests.support.http_exchange import Exchange
from tests.support.http_server import RecordingServer, ServerTls
from tests.support.registry_blobs import send_range
from tests.support.registry_quirks import Quirks

_PATH = re.compile(r"/storage/(?P<hops>\d+)/(?P<digest>[^/]+)").fullmatch
_SIGNATURE = "signature=a%2Fb%3D%3D"


class Storage(RecordingServer):
    """Where `Quirks.redirect_to` leads: give it `url`, and the blobs by `add`.

    As with S3, an Authorization header is an error 400, a changed query is a 403, and with
    `signs_get_only` so is HEAD. As long as a redirect has hops left, it goes on here.
    """

    def __init__(
        self,
        quirks: Quirks | None = None,
        tls: ServerTls | None = None,
        *,
        signs_get_only: bool = False,
    ) -> None:
        super().__init__(tls)
        self.blobs: dict[Digest, bytes] = {}
        self._quirks = quirks or Quirks()
        self._signs_get_only = signs_get_only

    def add(self, data: bytes) -> Digest:
        """Store a blob."""
        digest = Digest.of(data)
        self.blobs[digest] = data
        return digest

    def respond(self, exchange: Exchange) -> None:
        """Answer one request."""
        xml = {"Content-Type": "application/xml"}
        found = _PATH(exchange.path)
        if "Authorization" in exchange.headers:
            exchange.answer(400, b"<Error>Only one auth mechanism allowed</Error>", xml)
        elif exchange.raw_query != _SIGNATURE:
            exchange.answer(403, b"<Error>SignatureDoesNotMatch</Error>", xml)
        elif exchange.method == "HEAD" and self._signs_get_only:
            exchange.answer(403, b"", xml)
        elif found is None or Digest.parse(found["digest"]) not in self.blobs:
            exchange.answer(404, b"<Error>NoSuchKey</Error>", xml)
        elif int(found["hops"]) > 1:
            path = f"/storage/{int(found['hops']) - 1}/{found['digest']}?{_SIGNATURE}"
            exchange.answer(307, headers={"Location": path})
        else:
            send_range(exchange, self.blobs[Digest.parse(found["digest"])], {}, self._quirks)
