"""One request's way through a registry's challenges.

RFC 7235, and distribution's "Token Authentication".
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
from ocitool.places.registry.auth.state import UNAUTHORIZED, Knowledge, challenges_of
from ocitool.places.registry.auth.token_exchange import exchanged
from ocitool.places.registry.auth.tokens import (
    CredentialRefused,
    Token,
    TokenRequest,
    basic,
    bound,
    carried,
    verbatim,
)
from ocitool.places.registry.credentials.credential import Credential

Requests = Generator[httpx.Request, httpx.Response, None]


@dataclass(frozen=True, slots=True)
class _Grant:
    """What a request carries: a header, and the token in it if one was fetched."""

    scheme: str
    header: str = field(repr=False)
    token: Token | None = None


Grants = Generator[httpx.Request, httpx.Response, _Grant | None]
Tokens = Generator[httpx.Request, httpx.Response, Token]


class Conversation:
    """One request's way to its answer: as whom it goes, and what is made of a refusal.

    Every way on is taken once, so that no registry can keep it going.
    """

    def __init__(self, known: Knowledge, request: httpx.Request) -> None:
        self._known = known
        self._request = request
        self._writing = bool(request.extensions.get("writing", False))
        self._slot = known.slot(tuple(request.extensions.get("scopes", ())), writing=self._writing)
        self._refused: set[str] = set()
        self._taken: set[str] = set()

    def flow(self) -> Requests:
        """Send the request as is known to be accepted; answer refusals while there is a way."""
        grant = yield from self._known_grant()
        while True:
            response = yield self._sent_with(grant)
            if response.status_code != UNAUTHORIZED:
                if grant is not None:
                    self._known.prefer(grant.scheme)
                return
            must_resend = yield from self._learn(response)
            if self._has_another_way(grant, response):
                bound(response)
                grant = yield from self._grant(grant)
            elif must_resend:
                grant = None
            else:
                return

    def _sent_with(self, grant: _Grant | None) -> httpx.Request:
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
            self._known.remember(named)
        if named or self._known.challenges() or self._known.was_asked:
            return False
        bound(response)
        yield from self._known.ask(self._request)
        return True

    def _has_another_way(self, grant: _Grant | None, response: httpx.Response) -> bool:
        """Tell whether there is a way on, after taking note of what was refused."""
        if grant is not None and not self._may_use_again(grant, response):
            self._refused.add(grant.scheme)
        ways = {challenge.scheme for challenge in self._known.challenges()}
        return bool(ways - self._refused)

    def _may_use_again(self, grant: _Grant, response: httpx.Response) -> bool:
        """Tell whether the scheme that was refused may work with another token, or with none."""
        if grant.token is None:
            return self._gives_up_credential(grant)
        if self._slot.token is not grant.token:
            return self._takes("a newer token")
        lacking = lacking_scopes(challenges_of(response))
        if lacking:
            return self._slot.widen(grant.token, lacking) and self._takes("more scopes")
        return self._takes("a renewed token")

    def _gives_up_credential(self, grant: _Grant) -> bool:
        """Go on without a credential that the registry itself refused, where that is allowed."""
        is_bare_left = grant.scheme != BASIC or "bare" not in self._taken
        credential = self._known.credential()
        if credential is None or not self._may_be_nobody or not is_bare_left:
            return False
        self._slot.is_nobodys = True
        registry = self._known.realms.registry
        self._known.warn_once(f"{registry} refused the credential from {credential.origin}")
        return True

    def _takes(self, way: str) -> bool:
        is_new = way not in self._taken
        self._taken.add(way)
        return is_new

    @property
    def _may_be_nobody(self) -> bool:
        return not self._writing and not self._known.is_strict

    def _credential(self) -> Credential | None:
        return None if self._slot.is_nobodys else self._known.credential()

    def _known_grant(self) -> Grants:
        """Return what a request is sent with at once: a body is better sent only once."""
        challenges = self._known.challenges()
        if challenges and challenges[0].scheme == BASIC and self._credential() is None:
            # What is public can be read without a password all the same.
            return None
        return (yield from self._grant(None))

    def _grant(self, refused: _Grant | None) -> Grants:
        """Return what to send, by the first way that works; None to send nothing."""
        problem: AccessDenied | None = None
        for challenge in self._known.challenges():
            if challenge.scheme in self._refused:
                continue
            try:
                return (yield from self._granted(challenge, refused))
            except AccessDenied as error:
                self._refused.add(challenge.scheme)
                problem = problem or error
        if problem is not None:
            raise problem
        return None

    def _granted(self, challenge: Challenge, refused: _Grant | None) -> Grants:
        credential = self._credential()
        if credential is not None and credential.registry_token is not None:
            return _Grant(challenge.scheme, verbatim(credential))
        if challenge.scheme == BASIC:
            return self._basic(credential)
        slot, old = self._slot, None if refused is None else refused.token
        with slot.lock:
            token = slot.token
            if token is None or token is old or not token.lasts(self._known.clock()):
                token = slot.token = yield from self._fetched(challenge)
        return _Grant(BEARER, f"Bearer {token.value}", token)

    def _basic(self, credential: Credential | None) -> _Grant | None:
        if credential is not None:
            return _Grant(BASIC, basic(credential))
        if self._slot.is_nobodys and "bare" not in self._taken:
            return None
        registry = self._known.realms.registry
        raise AccessDenied(f"no credentials for {registry}", hint=f"ocitool login {registry}")

    def _fetched(self, challenge: Challenge) -> Tokens:
        """Fetch a token: with the credential, and where that is refused perhaps without."""
        credential = self._credential()
        try:
            return (yield from self._token(challenge, credential))
        except CredentialRefused as refused:
            if not self._may_be_nobody:
                raise
            try:
                token = yield from self._token(challenge, None)
            except AccessDenied:
                raise refused from None
            self._slot.is_nobodys = True
            self._known.warn_once(refused.message)
            return token

    def _token(self, challenge: Challenge, credential: Credential | None) -> Tokens:
        realms = self._known.realms
        realm = realms.resolved(challenge.parameters["realm"], self._request.url)
        if credential is not None:
            realms.check_credential(realm)
        asked = TokenRequest(
            realm=realm,
            service=challenge.parameters.get("service", ""),
            scopes=self._slot.scopes,
            credential=credential,
            registry=realms.registry,
            headers=carried(self._request),
            extensions=self._request.extensions,
        )
        return (yield from exchanged(asked, realms, self._known.clock))
