"""What is known about how one registry authenticates, shared by all requests to it."""

import threading
from collections.abc import Callable, Generator, Sequence

import httpx

from ocitool.places.registry.auth.challenge import Challenge, answerable, parse_challenges
from ocitool.places.registry.auth.scopes import merge
from ocitool.places.registry.auth.token_servers import TokenServerPolicy
from ocitool.places.registry.auth.tokens import Token, read_limited, shared_headers
from ocitool.places.registry.credentials.credential import Credential

UNAUTHORIZED = 401


class TokenSlot:
    """The token for one set of scopes, and the lock under which it is fetched."""

    def __init__(self, scopes: tuple[str, ...]) -> None:
        self.scopes = merge(scopes)
        self.lock = threading.Lock()
        self.token: Token | None = None
        self.is_anonymous = False

    def widen(self, token: Token, scopes: Sequence[str]) -> bool:
        """Ask for these scopes too from now on; tell whether `token` lacks any."""
        self.scopes = merge(self.scopes, scopes)
        return self.scopes != token.scopes


class AuthState:
    """The credential, the tokens, and the challenges of one registry. Thread-safe.

    `clock` counts seconds. With `is_strict` a credential that was refused is an error.
    """

    def __init__(
        self,
        servers: TokenServerPolicy,
        *,
        find: Callable[[], Credential | None],
        warn: Callable[[str], None],
        clock: Callable[[], float],
        is_strict: bool,
    ) -> None:
        self.servers = servers
        self.clock = clock
        self.is_strict = is_strict
        self._find = find
        self._warn = warn
        self._found: tuple[Credential | None] | None = None
        self._find_lock = threading.Lock()
        self._ask_lock = threading.Lock()
        self._was_asked = False
        self._lock = threading.Lock()
        self._has_warned = False
        self.newly_trusted: str | None = None
        self._challenges: tuple[Challenge, ...] = ()
        self._slots: dict[tuple[tuple[str, ...], bool], TokenSlot] = {}

    def credential(self) -> Credential | None:
        """Return what `find` found, asking it once."""
        with self._find_lock:
            if self._found is None:
                self._found = (self._find(),)
            return self._found[0]

    def slot(self, scopes: tuple[str, ...], *, writing: bool) -> TokenSlot:
        """Return the place of the token for these scopes, whatever their order.

        A token that was got without the credential for reading is not used for writing.
        """
        with self._lock:
            return self._slots.setdefault((tuple(sorted(scopes)), writing), TokenSlot(scopes))

    def challenges(self) -> tuple[Challenge, ...]:
        """Return the ways to authenticate that were named last, the one that worked first."""
        with self._lock:
            return self._challenges

    def remember(self, challenges: tuple[Challenge, ...]) -> None:
        """Keep the challenges, for requests whose refusal does not name any."""
        with self._lock:
            self._challenges = challenges

    def prefer(self, scheme: str) -> None:
        """Begin from now on with the way that worked."""
        with self._lock:
            self._challenges = tuple(
                sorted(self._challenges, key=lambda challenge: challenge.scheme != scheme)
            )

    @property
    def was_asked(self) -> bool:
        """Tell whether the API's root was asked what the registry wants."""
        return self._was_asked

    def ask(self, template: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Ask the API's root for challenges, unless that was done."""
        with self._ask_lock:
            if self._was_asked:
                return
            response = yield httpx.Request(
                "GET",
                self.servers.base.copy_with(path="/v2/"),
                headers=shared_headers(template),
                extensions=template.extensions,
            )
            read_limited(response)
            self._was_asked = True
            if response.status_code == UNAUTHORIZED:
                self.remember(answerable(challenges_of(response)))

    def warn_once(self, text: str) -> None:
        """Warn, once, that reads continue without the credential."""
        with self._lock:
            had_warned, self._has_warned = self._has_warned, True
        if not had_warned:
            self._warn(f"{text}; continuing without credentials")


def challenges_of(response: httpx.Response) -> tuple[Challenge, ...]:
    """Return the challenges of a response."""
    return parse_challenges(response.headers.get_list("www-authenticate"))
