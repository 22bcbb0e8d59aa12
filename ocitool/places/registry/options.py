"""How registries are reached, as the user chose it."""

from dataclasses import dataclass, field, replace

from ocitool.errors import UsageError
from ocitool.oci import DEFAULT_LIMITS, Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRules:
    """How one host is reached, where a file of this machine says it.

    With `is_insecure` its certificate is not verified, and http will do; `is_plain` is http alone.
    """

    is_insecure: bool = False
    is_plain: bool = False
    ca_cert: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryOptions:
    """How registries are reached. Times are in seconds, sizes in bytes.

    `plain_http` speaks http to hosts that are not this machine too; `insecure` verifies no
    certificate. `chunk_size` uploads in parts of that size. `username` and `password` take
    precedence over files and helpers. `allowed_realms` are hosts of token servers that may see
    credentials beside the registry's own; with `trusts_own_domain`, for who has just typed one, so
    may those in the registry's own domain. With `anonymous_fallback` reads continue anonymously,
    with a warning, when the credential that was found is refused. With `allow_foreign_layers` a
    foreign layer that a registry lacks is fetched from the first https URL that its descriptor
    gives, anonymously. At most `rate` requests a second go to a host.
    """

    plain_http: bool = False
    insecure: bool = False
    ca_cert: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    authfile: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    allowed_realms: tuple[str, ...] = ()
    trusts_own_domain: bool = False
    retry_max_wait: float = float(DEFAULT_LIMITS.retry_after_seconds)
    chunk_size: int | None = None
    anonymous_fallback: bool = True
    allow_foreign_layers: bool = False
    rate: float | None = None
    limits: Limits = DEFAULT_LIMITS

    def at(self, rules: HostRules | None) -> "RegistryOptions":
        """Return the options for TLS with a host for which there are rules."""
        if rules is None:
            return self
        return replace(
            self,
            plain_http=False,
            insecure=self.insecure or rules.is_insecure,
            ca_cert=rules.ca_cert or self.ca_cert,
        )

    def __post_init__(self) -> None:
        if (self.client_cert is None) != (self.client_key is None):
            raise UsageError("--client-cert and --client-key go together")
        if self.plain_http and self.insecure:
            raise UsageError(
                "--plain-http does not use TLS, so --insecure has no certificate to accept",
                hint="give one of the two",
            )
        if self.chunk_size is not None and self.chunk_size < 1:
            raise UsageError("--chunk-size is at least 1 byte")
