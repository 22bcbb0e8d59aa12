"""Every refusal in the words that a person reads: kind, message and hint, to the letter."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.errors import (
    AccessDenied,
    IntegrityError,
    NotFound,
    OcitoolError,
    Refused,
    StorageError,
    Unavailable,
    UsageError,
)
from ocitool.places.registry.hosts import Host
from ocitool.places.registry.http.problems import Problem, create_command, is_html

ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
PUSH = ("repository:team/app:pull,push",)
FILE = "/home/me/.docker/config.json"
MEND = "`ocitool login registry.example` replaces it, `ocitool logout registry.example` removes it"


def body(code: str, message: str = "", detail: object = None) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message, "detail": detail}]}).encode()


def problem(status: int, answer: bytes = b"", **more: Any) -> Problem:
    fields: dict[str, Any] = {
        "method": "PUT",
        "host": Host(more.pop("host", "registry.example")),
        "repository": "team/app",
        "headers": {},
        "scopes": PUSH,
        "origin": FILE,
    }
    return Problem(status=status, body=answer, **{**fields, **more})


def said(status: int, answer: bytes = b"", **more: Any) -> tuple[type[OcitoolError], str, str]:
    """Return kind, message and hint of the error for a push."""
    error = problem(status, answer, **more).error("push")
    return type(error), error.message, error.hint or ""


class TestMeaning:
    @pytest.mark.parametrize(
        ("found", "kind", "message", "hint"),
        [
            (
                said(401, body("UNAUTHORIZED", "authentication required"), origin=None),
                AccessDenied,
                (
                    "cannot push: PUT registry.example answered 401: "
                    "UNAUTHORIZED: authentication required"
                ),
                "no credentials were found for it: `ocitool login registry.example`",
            ),
            (
                said(403, body("DENIED", "requested access to the resource is denied")),
                AccessDenied,
                (
                    "cannot push: PUT registry.example answered 403: "
                    "DENIED: requested access to the resource is denied"
                ),
                (
                    f"the credential is from {FILE}; it may be wrong, have expired, or lack the "
                    f"right to push to team/app: {MEND}"
                ),
            ),
            (
                said(403, scopes=("repository:team/app:pull",)),
                AccessDenied,
                "cannot push: PUT registry.example answered 403",
                (
                    f"the credential is from {FILE}; it may be wrong, have expired, or lack the "
                    f"right to read team/app: {MEND}"
                ),
            ),
            (
                said(403, body("DENIED", "permission_denied: write_package"), host="ghcr.io"),
                AccessDenied,
                "cannot push: PUT ghcr.io answered 403: DENIED: permission_denied: write_package",
                (
                    "a workflow needs `permissions: packages: write`, and the package must be "
                    "linked to its repository (Package settings, Manage Actions access)"
                ),
            ),
            (
                said(401, host="ghcr.io", origin=None),
                AccessDenied,
                "cannot push: PUT ghcr.io answered 401",
                "no credentials were found for it: `ocitool login ghcr.io`",
            ),
            (
                said(403, host=ECR),
                AccessDenied,
                f"cannot push: PUT {ECR} answered 403",
                (
                    f"the token lasts 12 hours: `ocitool login {ECR}` gets another one with AWS "
                    "credentials"
                ),
            ),
            (
                said(
                    403,
                    body("DENIED", "x is not authorized to perform: ecr:InitiateLayerUpload"),
                    host=ECR,
                ),
                AccessDenied,
                (
                    f"cannot push: PUT {ECR} answered 403: "
                    "DENIED: x is not authorized to perform: ecr:InitiateLayerUpload"
                ),
                "the AWS identity lacks this right: look at its policies and the repository's",
            ),
            (
                said(404, body("NAME_UNKNOWN", "The repository does not exist"), host=ECR),
                NotFound,
                f"cannot push: PUT {ECR} answered 404: NAME_UNKNOWN: The repository does not exist",
                (
                    "the repository has to exist first: push --create-repo, or aws ecr "
                    "create-repository --repository-name team/app --region eu-central-1"
                ),
            ),
            (
                said(404, body("NAME_UNKNOWN")),
                NotFound,
                "cannot push: PUT registry.example answered 404: NAME_UNKNOWN",
                "there is no such repository, or it is private: look at its name, or log in",
            ),
            (
                said(404, b"404 page not found\n"),
                NotFound,
                "cannot push: PUT registry.example answered 404: 404 page not found",
                "",
            ),
            (
                said(407),
                AccessDenied,
                "cannot push: PUT registry.example answered 407",
                "the proxy wants a name and a password: HTTPS_PROXY=http://USER:PASSWORD@PROXY",
            ),
            (
                said(400, body("TAG_INVALID", "the tag cannot be overwritten"), host=ECR),
                Refused,
                f"cannot push: PUT {ECR} answered 400: TAG_INVALID: the tag cannot be overwritten",
                "the tag is immutable: push under another one",
            ),
            (
                said(412, body("PRECONDITION", "configured as immutable, cannot be updated")),
                Refused,
                (
                    "cannot push: PUT registry.example answered 412: "
                    "PRECONDITION: configured as immutable, cannot be updated"
                ),
                "the tag is immutable: push under another one",
            ),
            (
                said(413, b"<html><title>413</title><body>Too Large</body></html>"),
                Refused,
                "cannot push: PUT registry.example answered 413: 413 Too Large",
                "a proxy in front of the registry limits the size: try --chunk-size 10M",
            ),
            (
                said(413, method="PATCH"),
                Refused,
                "cannot push: PATCH registry.example answered 413",
                "a proxy in front of the registry limits the size: try a smaller --chunk-size",
            ),
            (
                said(413, host="europe-docker.pkg.dev"),
                Refused,
                "cannot push: PUT europe-docker.pkg.dev answered 413",
                "this registry has a limit on the size, and takes blobs whole only",
            ),
            (
                said(405, body("UNSUPPORTED"), method="PATCH"),
                Refused,
                "cannot push: PATCH registry.example answered 405: UNSUPPORTED",
                "this registry takes blobs whole only: leave out --chunk-size",
            ),
            (
                said(416, body("RANGE_INVALID", "exceeds maximum of 4.00MiB"), method="PATCH"),
                Refused,
                (
                    "cannot push: PATCH registry.example answered 416: "
                    "RANGE_INVALID: exceeds maximum of 4.00MiB"
                ),
                "the registry takes no such part: try a smaller --chunk-size, or none",
            ),
            (
                said(429, body("TOOMANYREQUESTS", "Rate exceeded"), host=ECR),
                Unavailable,
                f"cannot push: PUT {ECR} answered 429: TOOMANYREQUESTS: Rate exceeded",
                "too many requests: fewer at once with -j 1, or try again later",
            ),
            (
                said(
                    429,
                    host="docker.io",
                    headers={
                        "ratelimit-limit": "100;w=21600",
                        "ratelimit-remaining": "0;w=21600",
                    },
                ),
                Unavailable,
                "cannot push: PUT docker.io answered 429",
                (
                    "the quota is used up: wait, or `ocitool login` for a larger one. The quota "
                    "counts 6 hours."
                ),
            ),
            (
                said(
                    403,
                    body("DENIED", "1 MiB more will exceed the configured upper limit"),
                ),
                StorageError,
                (
                    "cannot push: PUT registry.example answered 403: DENIED: 1 MiB more "
                    "will exceed the configured upper limit"
                ),
                "there is no room left for this: delete something there first",
            ),
            (
                said(507),
                StorageError,
                "cannot push: PUT registry.example answered 507",
                "there is no room left for this: delete something there first",
            ),
            (
                said(503, b"<html><body><h1>Bad gateway</h1></body></html>"),
                Unavailable,
                "cannot push: PUT registry.example answered 503: Bad gateway",
                "the registry is in trouble; try again later",
            ),
            (
                said(400, body("DIGEST_INVALID", "provided digest did not match")),
                IntegrityError,
                (
                    "cannot push: PUT registry.example answered 400: "
                    "DIGEST_INVALID: provided digest did not match"
                ),
                "the registry received other bytes than were sent; push again",
            ),
            (
                said(400, b'{"details":"invalid repository name"}', host="docker.io"),
                UsageError,
                "cannot push: PUT docker.io answered 400: invalid repository name",
                "look at the name: some registries want a namespace, or only one",
            ),
            (
                said(400, body("MANIFEST_INVALID", "missing Media Type"), host=ECR),
                Refused,
                f"cannot push: PUT {ECR} answered 400: MANIFEST_INVALID: missing Media Type",
                "this registry wants the field mediaType in the manifest",
            ),
            (
                said(200, b"<!DOCTYPE html><p>Welcome!", headers={"content-type": "text/html"}),
                IntegrityError,
                "cannot push: PUT registry.example answered 200: Welcome!",
                (
                    "a web page came instead of the registry's answer: it is not a registry, or "
                    "a proxy in front of it answered; check the host's name and the proxy"
                ),
            ),
            (
                said(403, b"<html>Blocked", headers={"content-type": "text/html"}),
                AccessDenied,
                "cannot push: PUT registry.example answered 403: Blocked",
                (
                    "a web page came instead of the registry's answer: it is not a registry, or "
                    "a proxy in front of it answered; check the host's name and the proxy"
                ),
            ),
            (
                said(400, b"Client sent an HTTP request to an HTTPS server.\n"),
                Unavailable,
                (
                    "cannot push: PUT registry.example answered 400: "
                    "Client sent an HTTP request to an HTTPS server."
                ),
                "this port seems to speak TLS: leave out --plain-http",
            ),
            (
                said(
                    400,
                    b"<html><h1>400 Bad Request</h1>The plain HTTP request was sent to HTTPS port",
                ),
                Unavailable,
                (
                    "cannot push: PUT registry.example answered 400: 400 Bad Request "
                    "The plain HTTP request was sent to HTTPS port"
                ),
                "this port seems to speak TLS: leave out --plain-http",
            ),
            (
                said(503, headers={"retry-after": "3600"}, too_long_wait=3600.0),
                Unavailable,
                "cannot push: PUT registry.example answered 503",
                "it asks to come back in 3600 s; --retry-max-wait allows to wait that long",
            ),
            (
                said(400, body("MANIFEST_INVALID", "", {"message": "no such layer"})),
                OcitoolError,
                "cannot push: PUT registry.example answered 400: MANIFEST_INVALID: no such layer",
                "",
            ),
            (
                said(400, body("UNKNOWN", "bad", {"description": "Forbidden by policy"})),
                OcitoolError,
                (
                    "cannot push: PUT registry.example answered 400: "
                    "UNKNOWN: bad, Forbidden by policy"
                ),
                "",
            ),
            (
                said(400, body("MANIFEST_INVALID", "manifest invalid")),
                OcitoolError,
                (
                    "cannot push: PUT registry.example answered 400: "
                    "MANIFEST_INVALID: manifest invalid"
                ),
                "",
            ),
        ],
        ids=lambda value: value[1] if isinstance(value, tuple) else "",
    )
    def test_a_refusal_says_what_it_is_and_what_to_do(
        self,
        found: tuple[type[OcitoolError], str, str],
        kind: type[OcitoolError],
        message: str,
        hint: str,
    ) -> None:
        assert found == (kind, message, hint)


class TestText:
    def test_every_error_of_a_body_is_told(self) -> None:
        errors = [{"code": "A", "message": "one"}, {"code": "B"}, {"message": "two"}]
        answer = json.dumps({"errors": errors}).encode()
        assert problem(400, answer).text == "A: one; B; UNKNOWN: two"
        assert problem(400, answer).codes == ("A", "B", "UNKNOWN")

    def test_a_detail_adds_to_a_message_when_it_is_a_text(self) -> None:
        assert problem(400, body("A", "one", "two")).text == "A: one, two"
        assert problem(400, body("A", "one", {"Tag": "x"})).text == "A: one"
        assert problem(400, body("A", "one", "one")).text == "A: one"

    @pytest.mark.parametrize("key", ["details", "message", "error"])
    def test_other_shapes_of_json_are_read(self, key: str) -> None:
        assert problem(400, json.dumps({key: "why"}).encode()).text == "why"

    def test_scripts_and_styles_of_a_page_are_left_out(self) -> None:
        page = b"<html><style>p{}</style><script>x()</script><p>Sorry,\n\n it broke</p></html>"
        assert problem(500, page).text == "Sorry, it broke"

    def test_a_long_text_is_cut(self) -> None:
        assert len(problem(500, b"x" * 5000).text) == 201

    @pytest.mark.parametrize(
        "answer",
        [b"", b"null", b"[]", b'{"errors":null}', b'{"errors":[1]}', b'{"errors":{}}', b"\xff\xfe"],
    )
    def test_a_body_that_says_nothing_has_no_codes(self, answer: bytes) -> None:
        assert problem(400, answer).codes == ()

    def test_a_body_nested_too_deeply_is_no_json(self) -> None:
        assert problem(400, b'{"errors":' + b"[" * 100_000).codes == ()

    @given(st.binary(max_size=300), st.integers(300, 599))
    def test_any_answer_becomes_an_error(self, answer: bytes, status: int) -> None:
        assert isinstance(problem(status, answer).error("push"), OcitoolError)

    @pytest.mark.parametrize(
        ("kind", "answer", "is_page"),
        [
            ("text/html; charset=utf-8", b"", True),
            ("", b"\n <!doctype HTML>", True),
            ("", b"<html lang=en>", True),
            ("application/json", b"{}", False),
            ("application/json", b"<xml>", False),
        ],
    )
    def test_a_page_is_known_by_its_type_or_its_beginning(
        self, kind: str, answer: bytes, is_page: bool
    ) -> None:
        assert is_html({"content-type": kind}, answer) is is_page


@pytest.mark.parametrize(
    ("host", "repository", "command"),
    [
        (
            ECR,
            "team/app",
            "aws ecr create-repository --repository-name team/app --region eu-central-1",
        ),
        (
            "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
            "app",
            "aws ecr create-repository --repository-name app --region us-gov-west-1",
        ),
        (
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
            "app",
            "aws ecr create-repository --repository-name app --region cn-north-1",
        ),
        (
            "123456789012.dkr-ecr.us-east-1.on.aws",
            "app",
            "aws ecr create-repository --repository-name app --region us-east-1",
        ),
        (
            "public.ecr.aws",
            "a1b2c3d4/team/app",
            "aws ecr-public create-repository --repository-name team/app --region us-east-1",
        ),
    ],
)
def test_the_command_that_makes_a_repository_names_its_region(
    host: str, repository: str, command: str
) -> None:
    assert Host(host).is_ecr
    assert create_command(Host(host), repository) == command
