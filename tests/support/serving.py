"""A registry of ours without sockets, and over one."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ocitool.oci import Digest
from ocitool.places.layout import Layout
from ocitool.serving.application import Application
from ocitool.serving.library import Library
from ocitool.serving.messages import Answer, FilePart, Parts, Request
from ocitool.serving.names import NameRules
from ocitool.serving.shelves import LayoutShelf, Shelf
from ocitool.serving.writing.writer import StoreWriter


class Bytes:
    """The body of a request, in pieces."""

    def __init__(self, *pieces: bytes, length: int | None = -1) -> None:
        self._pieces = list(pieces)
        self.length = sum(map(len, pieces)) if length == -1 else length
        self.reads = 0

    def read(self) -> bytes:
        self.reads += 1
        return self._pieces.pop(0) if self._pieces else b""


class Asked:
    """An answer with its body read."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.headers = dict(answer.headers)
        self.note = answer.note
        body = answer.body
        if isinstance(body, FilePart):
            with open(body.file, "rb") as file:
                file.seek(body.offset)
                self.body = file.read(body.length)
        elif isinstance(body, Parts):
            self.body = b"".join(body.source)
            body.close()
        else:
            self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["errors"][0]["code"])

    @property
    def detail(self) -> Any:
        return self.json["errors"][0]["detail"]


class Registry:
    """An application, asked directly."""

    def __init__(
        self, application: Application, library: Library, told: list[str] | None = None
    ) -> None:
        self.application = application
        self.library = library
        self.told = told if told is not None else []

    def ask(
        self,
        method: str,
        target: str,
        body: bytes | Bytes = b"",
        headers: Mapping[str, str] | None = None,
        client: str = "127.0.0.1",
    ) -> Asked:
        pieces = body if isinstance(body, Bytes) else Bytes(*([body] if body else []))
        request = Request(
            method=method, target=target, headers=headers or {}, body=pieces, client=client
        )
        return Asked(self.application.answer(request))

    def get(self, target: str, **headers: str) -> Asked:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("GET", target, headers=names)

    def push_blob(self, name: str, data: bytes, algorithm: str = "sha256") -> Digest:
        digest = Digest.of(data, algorithm)
        answer = self.ask("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", data)
        assert answer.status == 201, answer.body
        return digest

    def put_manifest(
        self,
        name: str,
        reference: str,
        raw: bytes,
        media_type: str = "application/vnd.oci.image.manifest.v1+json",
    ) -> Asked:
        headers = {"content-type": media_type}
        return self.ask("PUT", f"/v2/{name}/manifests/{reference}", raw, headers)

    def push_image(self, name: str, tag: str, text: str = "x") -> Digest:
        raw = self.image_of(name, text)
        answer = self.put_manifest(name, tag, raw)
        assert answer.status == 201, answer.body
        return Digest.of(raw)

    def image_of(self, name: str, text: str) -> bytes:
        """Push the blobs of a small image and return its manifest."""
        layer = f"layer {text}".encode()
        config = config_of(layer)
        self.push_blob(name, layer)
        self.push_blob(name, config)
        return manifest_of(config, layer)


def config_of(*layers: bytes) -> bytes:
    """Return the configuration of an image with these plain layers."""
    diff_ids = [str(Digest.of(layer)) for layer in layers]
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()


def manifest_of(config: bytes, *layers: bytes, **fields: object) -> bytes:
    """Return the manifest of an image of these bytes."""
    kind = "application/vnd.oci.image"
    document = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "config": described(f"{kind}.config.v1+json", config),
        "layers": [described(f"{kind}.layer.v1.tar", layer) for layer in layers],
        **fields,
    }
    return json.dumps(document).encode()


def index_of(*manifests: bytes, **fields: object) -> bytes:
    """Return an index of manifests."""
    kind = "application/vnd.oci.image"
    listed = [described(f"{kind}.manifest.v1+json", raw) for raw in manifests]
    document = {"schemaVersion": 2, "mediaType": f"{kind}.index.v1+json", "manifests": listed}
    return json.dumps({**document, **fields}).encode()


INDEX = "application/vnd.oci.image.index.v1+json"


def described(media_type: str, data: bytes) -> dict[str, object]:
    """Return the descriptor of some bytes."""
    return {"mediaType": media_type, "digest": str(Digest.of(data)), "size": len(data)}


def registry_of(*shelves: Shelf, rules: NameRules | None = None) -> Registry:
    """Return a read-only registry."""
    library = Library(shelves, rules or NameRules())
    return Registry(Application(library), library)


@contextlib.contextmanager
def reading(path: Path, rules: NameRules | None = None) -> Iterator[Registry]:
    """Serve a layout read-only."""
    with Layout.existing(str(path)) as layout:
        yield registry_of(LayoutShelf(layout), rules=rules)


@contextlib.contextmanager
def writing(
    path: Path,
    *,
    rules: NameRules | None = None,
    by_repository: bool = False,
    deletes: bool = True,
    largest: int | None = None,
) -> Iterator[Registry]:
    """Serve a store that clients may change."""
    with Layout.create(str(path), store=True) as layout:
        library = Library([LayoutShelf(layout)], rules or NameRules(), by_repository=by_repository)
        writer = StoreWriter(layout, library, deletes=deletes, largest=largest)
        told: list[str] = []
        try:
            yield Registry(Application(library, writer=writer, tell=told.append), library, told)
        finally:
            writer.close()


def raw_exchange(address: tuple[str, int], *pieces: bytes, pause: float = 0.0) -> bytes:
    """Send bytes over one connection and return all that comes back until it closes."""
    with socket.create_connection(address, timeout=10) as sock:
        for piece in pieces:
            sock.sendall(piece)
            time.sleep(pause)
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while data := sock.recv(1 << 16):
                got += data
        return got
