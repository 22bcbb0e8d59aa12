"""The HTTP client for Amazon's interfaces: TLS verified by the system, and few seconds to wait.

It shares nothing with the connections to registries: what `--insecure` and `--ca-cert` say about a
registry does not hold for the servers that see AWS credentials.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx
from msgspec.structs import replace

from ocitool import __version__
from ocitool.errors import AccessDenied, OcitoolError, Unavailable
from ocitool.oci import DEFAULT_LIMITS
from ocitool.places.registry.aws.signing import AwsKeys, SigningScope, sign
from ocitool.places.registry.http.backoff import HostBackoff
from ocitool.places.registry.http.request import Answer, read
from ocitool.places.registry.http.retrying import Retries, RetryStep
from ocitool.places.registry.http.transport import Transport
from ocitool.places.registry.http.unreachable import unreachable
from ocitool.places.registry.http.wire import Wire
from ocitool.places.registry.options import RegistryOptions

_SECONDS, _CONNECT_SECONDS, _METADATA_SECONDS = 20.0, 10.0, 1.0
_RETRIES = 3
_LONGEST_WAIT = 5.0
_SHOWN = 300
_ALREADY = "AlreadyExists"
_LIMITS = replace(DEFAULT_LIMITS, retries=_RETRIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request to one of Amazon's interfaces. `secrets` must appear in no message about it."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    secrets: tuple[str, ...] = ()


class AwsRefusal(AccessDenied):
    """An interface of Amazon says no; `code` is its word for why."""

    def __init__(self, message: str, code: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code

    @property
    def is_already_there(self) -> bool:
        """Tell whether what was to be made exists."""
        return _ALREADY in self.code


class AwsClient:
    """Sends requests to Amazon's interfaces. Use it as a context manager.

    `clock` is the time of day in seconds, as signatures need it.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], bool] | None = None,
    ) -> None:
        self.environment = environment
        self._clock = clock
        self._sleep = sleep or threading.Event().wait
        trusted = RegistryOptions(ca_cert=environment.get("AWS_CA_BUNDLE") or None)
        self._client = _new_client(Transport(trusted, environment), _CONNECT_SECONDS, _SECONDS)
        # What a machine says about itself is asked directly: a proxy would see the credentials.
        direct = Transport(RegistryOptions(), {})
        self._direct = _new_client(direct, _METADATA_SECONDS, _METADATA_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.close()
        self._direct.close()

    def send(self, call: Call) -> Answer:
        """Send a request, again where that may help; return the answer whatever its status."""
        host = httpx.URL(call.url).host
        backoff = HostBackoff(RegistryOptions(retry_max_wait=_LONGEST_WAIT), self._sleep)
        wire = Wire(self._client, host, backoff, lambda _: None)
        step = RetryStep(backoff, _LIMITS)
        try:
            return step.run(
                lambda: wire.send(_build(self._client, call), httpx.Auth()),
                lambda response: read(response, _LIMITS),
                Retries(_RETRIES),
            )
        except httpx.TransportError as error:
            raise unreachable(host, error) from error

    def ask_machine(self, call: Call) -> Answer | None:
        """Ask a server that this machine or container has for itself; None when there is none."""
        try:
            response = self._direct.send(_build(self._direct, call), stream=True)
            return read(response, _LIMITS)
        except httpx.TransportError:
            return None

    def signed(
        self, url: str, service: str, region: str, keys: AwsKeys, target: str, value: object
    ) -> Mapping[str, object]:
        """Call an operation of a JSON interface; return its answer. Raises AwsRefusal."""
        body = json.dumps(value).encode()
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": target}
        scope = SigningScope(service, region, self._clock())
        call = Call(
            method="POST",
            url=url,
            headers=sign(keys, scope, url, headers, body),
            body=body,
            secrets=keys.secrets,
        )
        answer = self.send(call)
        fields = _object(answer)
        if answer.status != 200:
            code = str(fields.get("__type") or answer.headers.get("x-amzn-errortype", ""))
            said = fields.get("message") or fields.get("Message") or ""
            operation = target.rpartition(".")[2]
            raise refusal(call, answer, operation, code.rpartition("#")[2], str(said), keys.origin)
        return fields

    def now(self) -> float:
        """Return the time of day."""
        return self._clock()


def refusal(
    call: Call, answer: Answer, operation: str, code: str, said: str, origin: str
) -> OcitoolError:
    """Return the error for a refusal, without anything secret that the answer may repeat."""
    host = httpx.URL(call.url).host
    text = hide(f"{code}: {said}" if said else code or answer.text, call.secrets)
    message = f"{host} answered {answer.status} to {operation}: {' '.join(text.split())[:_SHOWN]}"
    if answer.status >= 500:
        return Unavailable(message, hint="try again later")
    hint = f"the AWS credentials are those of {origin}: look at their policies"
    if "Expired" in code or "Invalid" in code or "UnrecognizedClient" in code:
        hint = f"the AWS credentials are those of {origin}: they are wrong or have expired"
    return AwsRefusal(message, code, hint=hint)


def hide(text: str, secrets: Iterable[str]) -> str:
    """Return a text without secrets."""
    for secret in secrets:
        text = text.replace(secret, "***").replace(json.dumps(secret)[1:-1], "***")
    return text


def _new_client(transport: Transport, connect: float, others: float) -> httpx.Client:
    return httpx.Client(
        transport=transport,
        trust_env=False,
        follow_redirects=False,
        headers={"User-Agent": f"ocitool/{__version__}", "Accept-Encoding": "identity"},
        timeout=httpx.Timeout(others, connect=connect),
    )


def _build(client: httpx.Client, call: Call) -> httpx.Request:
    return client.build_request(
        call.method, call.url, headers=dict(call.headers), content=call.body or None
    )


def _object(answer: Answer) -> Mapping[str, object]:
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
