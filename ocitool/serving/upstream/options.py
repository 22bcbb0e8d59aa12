"""How other registries are asked."""

from msgspec import Struct

from ocitool.serving.upstream.origins import Origin


class UpstreamOptions(Struct, frozen=True, kw_only=True):
    """From where misses are fetched, and how long an answer about a tag counts, in seconds.

    With `shares_private` clients without a user see what this machine's credentials see.
    """

    origins: tuple[Origin, ...] = ()
    ttl: float = 300.0
    shares_private: bool = False
