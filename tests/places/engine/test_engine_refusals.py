"""What an engine refuses is a refusal, whatever its words: never damage of the content."""

import json
from pathlib import Path

import pytest

from ocitool.errors import (
    AccessDenied,
    IntegrityError,
    NotFound,
    OcitoolError,
    Refused,
)
from ocitool.places.engine import Endpoint, Engine
from tests.support.engine import engine

ARCHIVE = [b"not", b"an archive"]


def connect(path: Path, kind: str = "docker") -> Engine:
    return Engine(Endpoint(kind=kind, url=f"unix://{path}", origin="the test"))


def load_error(path: Path, status: int, body: bytes) -> OcitoolError:
    """Return what loading an archive raises when the engine gives this answer."""
    with engine(path, lambda *_: (status, body)), connect(path) as place:
        with pytest.raises(OcitoolError) as caught:
            place.load(ARCHIVE)
        return caught.value


class TestLoading:
    @pytest.mark.parametrize(
        "text",
        [
            "Error processing tar file(exit status 1): unexpected EOF",
            "invalid tar header",
            "payload does not match any of the supported image formats",
            "open /blobs/sha256/aa: file does not exist",
            "max depth exceeded",
        ],
    )
    def test_an_error_among_the_lines_is_a_plain_failure(self, tmp_path: Path, text: str) -> None:
        lines = [{"stream": "Loading layer"}, {"errorDetail": {"message": text}, "error": text}]
        body = b"\n".join(json.dumps(line).encode() for line in lines)
        error = load_error(tmp_path / "socket", 200, body)
        assert type(error) is OcitoolError
        assert text in error.message

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, OcitoolError),
            (401, AccessDenied),
            (403, AccessDenied),
            (404, OcitoolError),
            (409, Refused),
            (500, OcitoolError),
        ],
    )
    def test_a_refusal_by_status_is_never_called_damage(
        self, tmp_path: Path, status: int, kind: type[OcitoolError]
    ) -> None:
        error = load_error(tmp_path / "socket", status, b'{"message": "layer does not exist"}')
        assert type(error) is kind
        assert "layer does not exist" in error.message
        assert not isinstance(error, IntegrityError | NotFound)


class TestAsking:
    def test_an_unknown_image_is_not_found(self, tmp_path: Path) -> None:
        path = tmp_path / "socket"
        body = b'{"message": "No such image: app:1"}'
        with engine(path, lambda *_: (404, body)), connect(path) as place:
            with pytest.raises(NotFound, match="has no image app:1"):
                place.names("app:1")
            with pytest.raises(NotFound, match="has no image app:1"):
                place.export(["app:1"], lambda _: None)

    def test_a_bad_request_is_a_plain_failure(self, tmp_path: Path) -> None:
        path = tmp_path / "socket"
        body = b'{"message": "invalid reference format"}'
        with (
            engine(path, lambda *_: (400, body)),
            connect(path) as place,
            pytest.raises(OcitoolError, match="invalid reference format") as caught,
        ):
            place.names("app:1")
        assert type(caught.value) is OcitoolError
