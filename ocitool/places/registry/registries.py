"""All registries of one command: how each is reached, and what all requests to it share."""

import http.cookiejar
import os
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Self

import httpx

from ocitool import __version__
from ocitool.places.registry.credentials.ambient import find_ambient
from ocitool.places.registry.credentials.chain import CredentialChain
from ocitool.places.registry.hosts import Host
from ocitool.places.registry.http.backoff import HostBackoff
from ocitool.places.registry.http.transport import Transport
from ocitool.places.registry.options import HostRules, RegistryOptions

_WRITE_SECONDS = 120.0
_PROBE_SECONDS = 3.0


class Registries:
    """Every registry of one command: its connections and how long each is left alone.

    `warn` is told, once each, of what may be unexpected, `remark` of longer waits and of what is
    worth knowing, `trace` of each request; `busy` opens a block around each. Use it as a context
    manager. Thread-safe.
    """

    def __init__(
        self,
        options: RegistryOptions | None = None,
        *,
        warn: Callable[[str], None] = lambda _: None,
        remark: Callable[[str], None] = lambda _: None,
        trace: Callable[[str], None] = lambda _: None,
        busy: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext(),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.options = options or RegistryOptions()
        self.environment = os.environ if environment is None else environment
        self.credentials = CredentialChain(
            username=self.options.username,
            password=self.options.password,
            authfile=self.options.authfile,
            environment=self.environment,
            warn=self.warn,
            ambient=lambda domain: find_ambient(domain, self.environment, self.remark),
        )
        self.busy = busy
        self._warn = warn
        self._remark = remark
        self.trace = trace
        self._warned: set[str] = set()
        self._stopped = threading.Event()
        self._backoffs: dict[str, HostBackoff] = {}
        self._bases: dict[str, str] = {}
        self._wanting_tls: dict[str, bool] = {}
        self._rules: dict[str, HostRules] = {}
        self._lock = threading.Lock()
        self.client = self._new_client()

    def _new_client(self) -> httpx.Client:
        self.transport = Transport(self.options, self.environment, self.trace, self._rules)
        jar = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        limits = self.options.limits
        return httpx.Client(
            transport=self.transport,
            trust_env=False,
            follow_redirects=False,
            cookies=jar,
            headers={"User-Agent": f"ocitool/{__version__}", "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(
                limits.commit_seconds,
                connect=limits.connect_seconds,
                write=_WRITE_SECONDS,
                pool=None,
            ),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.client.close()

    def abort(self) -> None:
        """Break every transfer, from another thread; what waits fails with an error."""
        self._stopped.set()
        self.transport.abort()

    def resume(self) -> None:
        """Begin anew after `abort`, for work that does not depend on what failed."""
        if self._stopped.is_set():
            self.client.close()
            self.client = self._new_client()
            self._stopped.clear()

    def warn(self, text: str) -> None:
        """Say something once."""
        with self._lock:
            if text in self._warned:
                return
            self._warned.add(text)
        self._warn(text)

    def remark(self, text: str) -> None:
        """Say once what is worth knowing."""
        with self._lock:
            if text in self._warned:
                return
            self._warned.add(text)
        self._remark(text)

    def sleep(self, seconds: float) -> bool:
        """Wait; return True when the work was stopped meanwhile."""
        return self._stopped.wait(seconds)

    @property
    def stopped(self) -> bool:
        """Tell whether the work was stopped."""
        return self._stopped.is_set()

    def backoff(self, host: Host) -> HostBackoff:
        """Return what all sessions share about one host."""
        with self._lock:
            found = self._backoffs.get(host.domain)
            if found is None:
                found = self._backoffs[host.domain] = HostBackoff(
                    self.options,
                    self.sleep,
                    tell=lambda text: self._remark(f"{host.domain} {text}"),
                )
            return found

    def quotas(self) -> list[str]:
        """Return what each host said last of the pulls that are left, if it did."""
        with self._lock:
            return [
                f"{domain}: {backoff.quota} are left"
                for domain, backoff in self._backoffs.items()
                if backoff.quota is not None
            ]

    def wants_tls(self, host: Host) -> bool:
        """Find out whether a host that is to be spoken to in plain http speaks TLS there."""
        if not self.options.plain_http or self.stopped:
            return False
        with self._lock:
            if host.domain not in self._wanting_tls:
                self._wanting_tls[host.domain] = _speaks_tls(host.address)
            return self._wanting_tls[host.domain]

    def learn(self, domain: str, rules: HostRules) -> None:
        """Take note of how a host is reached; what was learned first counts."""
        with self._lock:
            self._rules.setdefault(domain, rules)

    def base(self, host: Host) -> str:
        """Return the URL at which a registry answers: https, or http where that is allowed.

        On this machine https is tried first, and http where that is not spoken.
        """
        with self._lock:
            found = self._bases.get(host.domain)
            if found is None:
                rules = self._rules.get(host.domain, HostRules())
                may_be_plain = host.is_loopback or rules.is_insecure
                plain = (
                    self.options.plain_http
                    or rules.is_plain
                    or (may_be_plain and not _speaks_tls(host.address))
                )
                found = f"{'http' if plain else 'https'}://{host.address}"
                self._bases[host.domain] = found
            return found


def _speaks_tls(address: str) -> bool:
    url = httpx.URL(f"https://{address}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((url.host, url.port or 443), _PROBE_SECONDS) as plain,
            context.wrap_socket(plain),
        ):
            return True
    except ssl.SSLError as error:
        # A server that wants a client certificate speaks TLS, too.
        return "ALERT" in (error.reason or "")
    except OSError:
        return False
