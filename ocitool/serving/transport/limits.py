"""What a client may cost. Times are in seconds."""

from msgspec import Struct


class ServerLimits(Struct, frozen=True, kw_only=True):
    """The limits of one server.

    `clients` requests are worked on at a time; one that waits longer than `queued` for its turn is
    refused. A connection without a request is closed after `idle`; a header must be whole after
    `header`; a body and an answer must make progress within `stalled`.
    """

    clients: int = 200
    connections: int = 4096
    queued: float = 2.0
    idle: float = 60.0
    header: float = 10.0
    handshake: float = 10.0
    stalled: float = 60.0
    drain: float = 30.0
    header_bytes: int = 32 << 10
    header_fields: int = 100
    slowest_body: int = 1024
    """Bytes a second that a body must bring, measured over `stalled`."""
