"""Talking to an engine: exporting its images as an archive, loading one (Docker Engine API)."""

import json
import math
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Self
from urllib.parse import quote

import httpx

from ocitool.errors import (
    AccessDenied,
    NotFound,
    OcitoolError,
    Refused,
    Unavailable,
)
from ocitool.oci.quoting import quoted
from ocitool.places.engine.endpoint import Endpoint, EngineSystem

_CONNECT_SECONDS = 15.0
# An engine is silent while it unpacks what it was sent, or removes.
_SILENCE_SECONDS = 1800.0
_QUESTION_SECONDS = 60.0
_ANSWER_BYTES = 4 << 20
_LIST_BYTES = 256 << 20
_STARTS = {
    "docker": "start it with `systemctl start docker`",
    "podman": "start it with `podman system service --time 0`",
}


class Engine:
    """An engine as a place. Use it as a context manager. Not thread-safe."""

    def __init__(self, endpoint: Endpoint, *, patience: float | None = None) -> None:
        """`patience` are the seconds that an answer may take, by default 60."""
        self.endpoint = endpoint
        self._patience = patience
        timeout = httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
        transport = httpx.HTTPTransport(uds=endpoint.socket, verify=_trust(endpoint))
        base = "http://engine" if endpoint.socket else endpoint.url
        self._client = httpx.Client(
            transport=transport, base_url=base, timeout=timeout, trust_env=False
        )

    def close(self) -> None:
        """Close the connection; harmless when repeated."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def what(self) -> str:
        """What to call the engine in messages."""
        return f"the {self.endpoint.kind} engine at {self.endpoint.url}"

    def system(self) -> EngineSystem:
        """Return what the engine runs on."""
        answer = self._request("GET", "/info")
        found = answer if isinstance(answer, dict) else {}
        return EngineSystem(
            os=str(found.get("OSType") or ""),
            has_classic_store=self.endpoint.kind == "docker"
            and "io.containerd.snapshotter" not in str(found.get("DriverStatus")),
        )

    def version(self) -> str:
        """Return the engine's version; Unavailable when it does not answer."""
        answer = self._request("GET", "/version")
        found = answer.get("Version") if isinstance(answer, dict) else None
        return str(found) if found else "unknown"

    def names(self, name: str) -> tuple[str, ...]:
        """Return all names of the image called `name`, which may be an ID; NotFound if none is."""
        answer = self._request("GET", f"/images/{name}/json", image=name)
        tags = answer.get("RepoTags") if isinstance(answer, dict) else None
        return tuple(str(tag) for tag in tags or () if tag != "<none>:<none>")

    def containers(self) -> object:
        """Return what the engine says of every container, stopped ones too, as JSON values.

        Podman includes those that other tools keep in its storage, such as Buildah, and the mounts
        of its own, which its list leaves out.
        """
        if self.endpoint.kind != "podman":
            return self._request("GET", "/containers/json?all=1", _LIST_BYTES)
        question = "libpod/containers/json?all=true&external=true"
        version = "v4.0.0"
        try:
            found = self._request("GET", f"/{version}/{question}", _LIST_BYTES)
        except Unavailable:
            raise
        except OcitoolError:
            # Podman 3 does not know that version of its interface.
            version = "v3.0.0"
            found = self._request("GET", f"/{version}/{question}", _LIST_BYTES)
        if not isinstance(found, list):
            return found
        return [self._with_mounts(item, version) for item in found]

    def _with_mounts(self, item: object, version: str) -> object:
        if not isinstance(item, dict) or not item.get("Mounts"):
            return item
        identity = str(item.get("Id"))
        try:
            path = f"/{version}/libpod/containers/{quote(identity, safe='')}/json"
            inspected = self._request("GET", path, image=identity)
        except NotFound:
            # It ended meanwhile, or belongs to another tool.
            return item
        return {**item, "Mounts": inspected.get("Mounts")} if isinstance(inspected, dict) else item

    def images(self, *, dangling: bool) -> object:
        """Return what the engine says of its images, or of those that are dangling, as JSON."""
        filters = json.dumps({"dangling": ["true" if dangling else "false"]})
        question = httpx.QueryParams({"filters": filters})
        return self._request("GET", f"/images/json?{question}", _LIST_BYTES)

    def image_id(self, name: str) -> str:
        """Return what the engine calls the image that a name means now; NotFound if none."""
        answer = self._request("GET", f"{_image_path(name)}/json", image=name)
        return str(answer.get("Id")) if isinstance(answer, dict) else ""

    def describe(self, name: str) -> tuple[object, object]:
        """Return what the engine says of an image and of its history; NotFound if it has none."""
        path = _image_path(name)
        image = self._request("GET", f"{path}/json", image=name)
        return image, self._request("GET", f"{path}/history", image=name)

    def last_tagged(self, name: str) -> str | None:
        """Return when an image was tagged last, as docker writes it; NotFound if it is gone."""
        answer = self._request("GET", f"{_image_path(name)}/json", image=name)
        metadata = answer.get("Metadata") if isinstance(answer, dict) else None
        found = metadata.get("LastTagTime") if isinstance(metadata, dict) else None
        return str(found) if found else None

    def layer_bytes(self) -> int | None:
        """Return the bytes of all layers of the engine; None if it does not tell."""
        try:
            answer = self._request("GET", "/system/df?type=image", _LIST_BYTES)
        except OcitoolError:
            return None
        found = answer.get("LayersSize") if isinstance(answer, dict) else None
        return found if type(found) is int else None

    def remove_image(self, name: str) -> object:
        """Remove a name or, by its ID, an image; return what the engine says of it, as JSON.

        Never by force: Refused when a container uses it, NotFound when it is not there.
        """
        return self._request("DELETE", _image_path(name), image=name)

    def export(self, names: Sequence[str], write: Callable[[bytes], object]) -> None:
        """Write images as the archive that `docker save` gives; NotFound when one is absent."""
        query = httpx.QueryParams([("names", name) for name in names])
        called = ", ".join(names)
        with (
            self._translated(called),
            self._client.stream("GET", "/images/get", params=query) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise self._failure(response, image=called)
            for part in response.iter_raw(1 << 20):
                write(part)

    def load(self, pieces: Iterable[bytes]) -> tuple[str, ...]:
        """Send an archive and return what the engine says it loaded, a line each.

        When `pieces` raises, the connection breaks and the engine loads nothing.
        """
        headers = {"Content-Type": "application/x-tar"}
        with (
            self._translated("the archive"),
            self._client.stream(
                "POST", "/images/load", params={"quiet": "1"}, content=pieces, headers=headers
            ) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise self._failure(response)
            return tuple(self._messages(response))

    def _messages(self, response: httpx.Response) -> Iterator[str]:
        """Yield what a load reported; an error among the lines ends it, whatever the status.

        Why an engine refuses an archive is its own affair: that is a failure, not damage.
        """
        for line in _body(response).decode("utf-8", "replace").splitlines():
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if not isinstance(message, dict):
                continue
            if message.get("error"):
                raise OcitoolError(
                    f"{self.what} refused the archive: {message['error']}",
                    hint=_advice(str(message["error"])),
                )
            text = str(message.get("stream") or "").strip()
            if text:
                yield text

    def _request(
        self, method: str, path: str, limit: int = _ANSWER_BYTES, *, image: str | None = None
    ) -> object:
        # Removing takes an engine as long as its disk does; a question is answered soon.
        usual = _SILENCE_SECONDS if method == "DELETE" else _QUESTION_SECONDS
        patience = usual if self._patience is None else self._patience
        timeout = httpx.Timeout(patience, connect=min(patience, _CONNECT_SECONDS))
        deadline = time.monotonic() + patience
        with (
            self._translated(image or path.partition("?")[0]),
            self._client.stream(method, path, timeout=timeout) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise self._failure(response, image=image)
            try:
                return json.loads(_body(response, limit, deadline))
            except (ValueError, RecursionError) as error:
                raise Unavailable(f"{self.what} gave an answer that is not JSON") from error

    def _failure(self, response: httpx.Response, *, image: str | None = None) -> OcitoolError:
        """Return what a refusal means; only a question about an image is answered by NotFound."""
        body = _body(response).decode("utf-8", "replace")
        try:
            value = json.loads(body)
            text = str(value.get("message") or value.get("cause") or body)
        except (ValueError, AttributeError):
            text = body.strip()
        is_absent = response.status_code == httpx.codes.NOT_FOUND or any(
            words in text.lower() for words in ("no such image", "does not exist", "not known")
        )
        if image is not None and is_absent:
            return NotFound(
                f"{self.what} has no image {image}",
                hint=f"`{self.endpoint.kind} images` lists what it has",
            )
        if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return AccessDenied(f"{self.what} does not allow this: {text}")
        if response.status_code == httpx.codes.CONFLICT:
            return Refused(f"{self.what} refused: {text}")
        return OcitoolError(
            f"{self.what} failed with status {response.status_code}: {text}", hint=_advice(text)
        )

    def _translated(self, called: str) -> "_Translation":
        return _Translation(self, called)


class _Translation:
    """Translates the errors of httpx into our kinds of error."""

    def __init__(self, engine: Engine, called: str) -> None:
        self._engine = engine
        self._called = called

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if not isinstance(error, httpx.HTTPError):
            return
        engine = self._engine
        endpoint = engine.endpoint
        if isinstance(error, httpx.ConnectError):
            if "Permission denied" in str(error):
                raise AccessDenied(
                    f"permission denied for {engine.what}",
                    hint=f"be root, or a member of the group that owns {endpoint.socket}",
                ) from error
            raise Unavailable(
                f"there is no {endpoint.kind} engine at {endpoint.url} ({endpoint.origin})",
                hint=f"{_STARTS[endpoint.kind]}, or name its socket in "
                f"{'DOCKER_HOST' if endpoint.kind == 'docker' else 'CONTAINER_HOST'}",
            ) from error
        if isinstance(error, httpx.TimeoutException):
            raise Unavailable(f"{engine.what} did not answer in time for {self._called}") from error
        raise Unavailable(
            f"the connection to {engine.what} broke for {self._called}: {error}"
        ) from error


def _image_path(name: str) -> str:
    if ".." in name.split("/"):
        raise Refused(f"{quoted(name)} is not the name of an image")
    return f"/images/{quote(name, safe='/:@')}"


def _body(
    response: httpx.Response, limit: int = _ANSWER_BYTES, deadline: float = math.inf
) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in response.iter_raw():
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("it trickles", request=response.request)
        parts.append(part)
        size += len(part)
        if size > limit:
            break
    return b"".join(parts)


def _advice(text: str) -> str | None:
    if "unexpected EOF" in text or "invalid tar header" in text:
        return "docker before version 23 cannot read zstd layers: use --compression gzip"
    if "no space left" in text:
        return "free some space where the engine keeps its images"
    return None


def _trust(endpoint: Endpoint) -> ssl.SSLContext | bool:
    if endpoint.certificates is None:
        return True
    folder = endpoint.certificates
    context = ssl.create_default_context(cafile=f"{folder}/ca.pem")
    context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
    return context
