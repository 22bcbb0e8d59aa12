"""Amazon's interfaces in this process: ECR, STS, and the metadata of containers and machines.

Every signature is computed here anew, from the request as it arrived and AWS' description of
Signature Version 4, and compared.
"""

import base64
import calendar
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from tests.support.http_exchange import Exchange
from tests.support.http_server import RecordingServer

ACCESS, SECRET = "AKIDEXAMPLE", "canary/s3cret+key"
ROLE = "arn:aws:iam::123456789012:role/ci"
WEB_TOKEN = "canary.web-identity.token"
_SKEW = 300
_JSON = {"Content-Type": "application/x-amz-json-1.1"}
_MACHINE = "/latest/meta-data/iam/security-credentials/"


class EmulatedAws(RecordingServer):
    """All interfaces at one URL. `keys` are (secret, session token) by access key.

    `password` is what a token for a registry holds; `repositories` are those that were made.
    """

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[str, tuple[str, str | None]] = {ACCESS: (SECRET, None)}
        self.password = f"canary-{secrets.token_hex(8)}"
        self.repositories: set[str] = set()
        self.operations: list[tuple[str, str]] = []
        self.refusal: str | None = None
        self.metadata_token = "canary-metadata"

    def environment(self, **more: str) -> dict[str, str]:
        """Return the variables that lead to it, and others."""
        return {"AWS_ENDPOINT_URL": self.url, "AWS_EC2_METADATA_DISABLED": "true", **more}

    def with_keys(self, **more: str) -> dict[str, str]:
        """Return the variables that lead to it and hold credentials."""
        own = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}
        return self.environment(**own, **more)

    def respond(self, exchange: Exchange) -> None:
        """Answer one request."""
        path = exchange.path
        if path.startswith("/latest/"):
            self._machine(exchange)
        elif path == "/container":
            self._container(exchange)
        elif path == "/github":
            self._github(exchange)
        elif exchange.headers.get("X-Amz-Target"):
            self._ecr(exchange)
        else:
            self._sts(exchange)

    # ECR.

    def _ecr(self, exchange: Exchange) -> None:
        body = exchange.body()
        service, _, operation = exchange.headers["X-Amz-Target"].rpartition(".")
        problem = self._judge(exchange, body)
        if problem is not None:
            _refuse(exchange, problem, f"not with {exchange.headers.get('Authorization')}")
            return
        self.operations.append((service, operation))
        value = json.loads(body)
        if self.answer_ecr(exchange, operation, value):
            return
        if operation == "GetAuthorizationToken":
            token = base64.b64encode(f"AWS:{self.password}".encode()).decode()
            data = {"authorizationToken": token, "expiresAt": 1.0}
            is_public = service == "SpencerFrontendService"
            _answer(exchange, {"authorizationData": data if is_public else [data]})
        elif value["repositoryName"] in self.repositories:
            _refuse(exchange, "RepositoryAlreadyExistsException", "it exists")
        else:
            self.repositories.add(value["repositoryName"])
            _answer(exchange, {"repository": value})

    def answer_ecr(self, exchange: Exchange, operation: str, value: dict[str, Any]) -> bool:
        """Answer an operation that others add; False if there is none."""
        return False

    def _judge(self, exchange: Exchange, body: bytes) -> str | None:
        """Return what is wrong with a request: its signature, its time, or as the test said."""
        found = dict(
            part.strip().split("=", 1)
            for part in exchange.headers["Authorization"].partition(" ")[2].split(",")
        )
        access, scope = found["Credential"].split("/", 1)
        if access not in self.keys:
            return "UnrecognizedClientException"
        secret, token = self.keys[access]
        if exchange.headers.get("X-Amz-Security-Token") != token:
            return "InvalidClientTokenId"
        moment = exchange.headers["X-Amz-Date"]
        when = calendar.timegm(time.strptime(moment, "%Y%m%dT%H%M%SZ"))
        if abs(when - time.time()) > _SKEW:
            return "ExpiredTokenException"
        names = found["SignedHeaders"].split(";")
        required = {name.lower() for name in exchange.headers if name.lower().startswith("x-amz-")}
        if not required | {"host"} <= set(names) or names != sorted(names):
            return "IncompleteSignature"
        lines = "".join(f"{name}:{exchange.headers[name].strip()}\n" for name in names)
        request = f"{exchange.method}\n{exchange.path}\n{exchange.raw_query}\n{lines}\n"
        request += f"{found['SignedHeaders']}\n{hashlib.sha256(body).hexdigest()}"
        hashed = hashlib.sha256(request.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashed}"
        key = f"AWS4{secret}".encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        expected = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        return self.refusal if expected == found["Signature"] else "InvalidSignatureException"

    # STS.

    def _sts(self, exchange: Exchange) -> None:
        body = exchange.body()
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        action = form["Action"]
        problem = None
        if action == "AssumeRole":
            problem = self._judge(exchange, body)
        elif form.get("WebIdentityToken") != WEB_TOKEN:
            problem = "InvalidIdentityToken"
        elif self.refusal is not None:
            problem = self.refusal
        if problem is not None:
            text = f"<Error><Code>{problem}</Code><Message>not {form}</Message></Error>"
            exchange.answer(403, f"<ErrorResponse>{text}</ErrorResponse>".encode())
            return
        self.operations.append(("sts", f"{action} {form['RoleArn']} {form['RoleSessionName']}"))
        keys = self.new_keys()
        parts = "".join(f"<{name}>{value}</{name}>" for name, value in keys.items())
        exchange.answer(200, f"<R><Credentials>{parts}</Credentials></R>".encode())

    def new_keys(self) -> dict[str, str]:
        """Return credentials with a session token, which it takes from now on."""
        access, token = f"ASIA{secrets.token_hex(4)}", f"canary+/{secrets.token_hex(4)}=="
        self.keys[access] = (f"canary{secrets.token_hex(4)}", token)
        secret = self.keys[access][0]
        return {"AccessKeyId": access, "SecretAccessKey": secret, "SessionToken": token}

    # Metadata, and GitHub's tokens.

    def _machine(self, exchange: Exchange) -> None:
        if exchange.method == "PUT" and exchange.path == "/latest/api/token":
            wanted = exchange.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
            exchange.answer(200 if wanted else 400, self.metadata_token.encode())
        elif exchange.headers.get("X-aws-ec2-metadata-token") != self.metadata_token:
            exchange.answer(401, b"")
        elif exchange.path == _MACHINE:
            exchange.answer(200, b"node-role\n")
        else:
            self._own(exchange)

    def _container(self, exchange: Exchange) -> None:
        if exchange.headers.get("Authorization") != self.metadata_token:
            exchange.answer(403, b"no")
            return
        self._own(exchange)

    def _own(self, exchange: Exchange) -> None:
        keys = self.new_keys()
        _answer(exchange, {**keys, "Token": keys["SessionToken"]})

    def _github(self, exchange: Exchange) -> None:
        if exchange.headers.get("Authorization") != "Bearer canary-request":
            exchange.answer(401, f"not {exchange.headers.get('Authorization')}".encode())
            return
        assert exchange.query("audience") == "sts.amazonaws.com"
        assert exchange.query("api-version") == "2.0"
        _answer(exchange, {"value": WEB_TOKEN})


def _answer(exchange: Exchange, value: Mapping[str, object]) -> None:
    exchange.answer(200, json.dumps(value).encode(), _JSON)


def _refuse(exchange: Exchange, kind: str, message: str) -> None:
    exchange.answer(400, json.dumps({"__type": kind, "message": message}).encode(), _JSON)
