"""AWS Signature Version 4 (docs.aws.amazon.com/IAM, "Create a signed AWS API request")."""

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsKeys:
    """AWS credentials. `origin` says where they were found. No secret is in the value's text."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    origin: str = ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must appear in no message."""
        return tuple(text for text in (self.secret_key, self.session_token) if text)


@dataclass(frozen=True, slots=True)
class SigningScope:
    """What a signature is good for: one service in one region, at one time in seconds."""

    service: str
    region: str
    now: float

    @property
    def moment(self) -> str:
        """The time, as the header X-Amz-Date has it."""
        return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self.now))

    @property
    def text(self) -> str:
        """The scope, as a signature names it."""
        return f"{self.moment[:8]}/{self.region}/{self.service}/aws4_request"

    def key(self, secret_key: str) -> bytes:
        """Return the key that signs within this scope."""
        key = f"AWS4{secret_key}".encode("utf-8", "surrogateescape")
        for part in self.text.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return key


def sign(
    keys: AwsKeys, scope: SigningScope, url: str, headers: Mapping[str, str], body: bytes
) -> dict[str, str]:
    """Return the headers of a POST request with a signature over all of them and the body."""
    parts = urlsplit(url)
    signed = {name.lower(): value.strip() for name, value in headers.items()}
    signed |= {"host": parts.netloc, "x-amz-date": scope.moment}
    if keys.session_token is not None:
        signed["x-amz-security-token"] = keys.session_token
    names = sorted(signed)
    canonical = "\n".join(
        [
            "POST",
            parts.path or "/",
            parts.query,
            *(f"{name}:{signed[name]}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(body).hexdigest(),
        ]
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"{_ALGORITHM}\n{scope.moment}\n{scope.text}\n{digest}"
    signature = hmac.new(scope.key(keys.secret_key), text.encode(), "sha256").hexdigest()
    authorization = (
        f"{_ALGORITHM} Credential={keys.access_key}/{scope.text}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return {**signed, "authorization": authorization}
