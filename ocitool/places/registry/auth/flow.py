"""The way of one request through a registry's challenges (RFC 7235).

The text of the error for a wrong password: `TokenRequest._refusal` in `tokens` if a token server
refuses it, `Problem.error` in `http.problems` if the registry itself does. Here are the warning
before a read without credentials (`_give_up_credential`) and the error without any (`_basic`).
"""

from collections.abc import Generator
from dataclasses import dataclass, field

import httpx

from ocitool.errors import AccessDenied
from ocitool.places.registry.auth.challenge import (
    BASIC,
    BEARER,
    Challenge,
    answerable,
    lacking_scopes,
)
from ocitool.places.registry.auth.state import UNAUTHORIZED, AuthState, challenges_of
from ocitool.places.registry.auth.token_exchange import exchange
from ocitool.places.registry.auth.tokens import (
    CredentialRefused,
    Token,
    TokenRequest,
    basic_header,
    bearer_header,
    read_limited,
    shared_headers,
)
from ocitool.places.registry.credentials.credential import Credential, how_to_mend
from ocitool.places.registry.hosts import ECR_PUBLIC

_BAD_REQUEST = 400
Requests = Generator[httpx.Request, httpx.Response, None]


@dataclass(frozen=True, slots=True)
class _Grant:
    """What a request carries: a header, and the token in it if one was fetched."""

    scheme: str
    header: str = field(repr=False)
    token: Token | None = None


Grants = Generator[httpx.Request, httpx.Response, _Grant | None]
Tokens = Generator[httpx.Request, httpx.Response, Token]


class AuthFlow:
    """One request until it is answered: what authorizes it, and what follows from a refusal.

    Every way is tried once, so that no registry can prolong it without end.
    """

    def __init__(self, state: AuthState, request: httpx.Request) -> None:
        self._state = state
        self._request = request
        self._writing = bool(request.extensions.get("writing", False))
        self._slot = state.slot(tuple(request.extensions.get("scopes", ())), writing=self._writing)
        self._refused: set[str] = set()
        self._taken: set[str] = set()

    def run(self) -> Requests:
        """Send the request with what was accepted before; answer refusals while there is a way."""
        grant = yield from self._first_grant()
        while True:
            response = yield self._authorize(grant)
            if response.status_code != UNAUTHORIZED and not self._is_expired(grant, response):
                if grant is not None:
                    self._state.prefer(grant.scheme)
                return
            must_resend = yield from self._learn(response)
            if self._has_another_way(grant, response):
                read_limited(response)
                grant = yield from self._grant(grant)
            elif must_resend:
                grant = None
            else:
                return

    def _is_expired(self, grant: _Grant | None, response: httpx.Response) -> bool:
        """Tell whether a token may be too old: Amazon's public registry says so by 400."""
        is_amazons = self._state.servers.registry == ECR_PUBLIC
        had_token = grant is not None and grant.token is not None
        return (
            is_amazons
            and had_token
            and response.status_code == _BAD_REQUEST
            and "a renewed token" not in self._taken
        )

    def _authorize(self, grant: _Grant | None) -> httpx.Request:
        if grant is None:
            self._taken.add("bare")
            self._request.headers.pop("authorization", None)
        else:
            self._request.headers["Authorization"] = grant.header
        return self._request

    def _learn(self, response: httpx.Response) -> Generator[httpx.Request, httpx.Response, bool]:
        """Remember what the registry wants; True when the response was given up to ask for it."""
        named = answerable(challenges_of(response))
        if named:
            self._state.remember(named)
        if named or self._state.challenges() or self._state.was_asked:
            return False
        read_limited(response)
        yield from self._state.ask(self._request)
        return True

    def _has_another_way(self, grant: _Grant | None, response: httpx.Response) -> bool:
        """Tell whether there is a way on, after taking note of what was refused."""
        if grant is not None and not self._may_repeat(grant, response):
            self._refused.add(grant.scheme)
        ways = {challenge.scheme for challenge in self._state.challenges()}
        return bool(ways - self._refused)

    def _may_repeat(self, grant: _Grant, response: httpx.Response) -> bool:
        """Tell whether the scheme that was refused may work with another token, or with none."""
        if grant.token is None:
            return self._give_up_credential(grant)
        if self._slot.token is not grant.token:
            return self._try_once("a newer token")
        lacking = lacking_scopes(challenges_of(response))
        if lacking:
            return self._slot.widen(grant.token, lacking) and self._try_once("more scopes")
        return self._try_once("a renewed token")

    def _give_up_credential(self, grant: _Grant) -> bool:
        """Continue without a credential that the registry itself refused, where that is allowed."""
        is_bare_left = grant.scheme != BASIC or "bare" not in self._taken
        credential = self._state.credential()
        if credential is None or not self._may_be_anonymous or not is_bare_left:
            return False
        self._slot.is_anonymous = True
        registry = self._state.servers.registry
        mend = how_to_mend(registry, credential.origin)
        self._state.warn_once(f"{registry} refused the credential from {credential.origin}: {mend}")
        return True

    def _try_once(self, way: str) -> bool:
        is_new = way not in self._taken
        self._taken.add(way)
        return is_new

    @property
    def _may_be_anonymous(self) -> bool:
        return not self._writing and not self._state.is_strict

    def _credential(self) -> Credential | None:
        return None if self._slot.is_anonymous else self._state.credential()

    def _first_grant(self) -> Grants:
        """Return what a request is sent with at once: a body is better sent only once."""
        challenges = self._state.challenges()
        if challenges and challenges[0].scheme == BASIC and self._credential() is None:
            # Public content can be read without a password all the same.
            return None
        return (yield from self._grant(None))

    def _grant(self, refused: _Grant | None) -> Grants:
        """Return what to send, by the first way that works; None to send nothing."""
        problem: AccessDenied | None = None
        for challenge in self._state.challenges():
            if challenge.scheme in self._refused:
                continue
            try:
                return (yield from self._grant_by(challenge, refused))
            except AccessDenied as error:
                self._refused.add(challenge.scheme)
                problem = problem or error
        if problem is not None:
            raise problem
        return None

    def _grant_by(self, challenge: Challenge, refused: _Grant | None) -> Grants:
        credential = self._credential()
        if credential is not None and credential.registry_token is not None:
            return _Grant(challenge.scheme, bearer_header(credential))
        if challenge.scheme == BASIC:
            return self._basic(credential)
        slot, old = self._slot, None if refused is None else refused.token
        with slot.lock:
            token = slot.token
            if token is None or token is old or not token.lasts(self._state.clock()):
                token = slot.token = yield from self._fetch_token(challenge)
        return _Grant(BEARER, f"Bearer {token.value}", token)

    def _basic(self, credential: Credential | None) -> _Grant | None:
        if credential is not None:
            return _Grant(BASIC, basic_header(credential))
        if self._slot.is_anonymous and "bare" not in self._taken:
            return None
        registry = self._state.servers.registry
        raise AccessDenied(f"no credentials for {registry}", hint=f"ocitool login {registry}")

    def _fetch_token(self, challenge: Challenge) -> Tokens:
        """Fetch a token: with the credential, and where that is refused perhaps without."""
        credential = self._credential()
        try:
            return (yield from self._ask_for_token(challenge, credential))
        except CredentialRefused as refused:
            if not self._may_be_anonymous:
                raise
            try:
                token = yield from self._ask_for_token(challenge, None)
            except AccessDenied:
                raise refused from None
            self._slot.is_anonymous = True
            self._state.warn_once(f"{refused.message}; {refused.hint}")
            return token

    def _ask_for_token(self, challenge: Challenge, credential: Credential | None) -> Tokens:
        servers = self._state.servers
        realm = servers.resolve(challenge.parameters["realm"], self._request.url)
        if credential is not None:
            servers.check_credential(realm)
            if servers.is_in_own_domain(realm):
                self._state.newly_trusted = realm.netloc.decode("ascii")
        asked = TokenRequest(
            realm=realm,
            service=challenge.parameters.get("service", ""),
            scopes=self._slot.scopes,
            credential=credential,
            registry=servers.registry,
            headers=shared_headers(self._request),
            extensions=self._request.extensions,
        )
        return (yield from exchange(asked, servers, self._state.clock))
