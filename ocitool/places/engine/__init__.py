"""A running Docker or Podman engine as a place, over its socket.

An engine exports and loads archives: its export is read like any `docker save`, and it is sent the
universal tar. `endpoint` finds the socket, `engine` talks to it.
"""

from ocitool.places.engine.endpoint import (
    KINDS,
    Endpoint,
    endpoint_at,
    engine_endpoint,
    usual_endpoints,
)
from ocitool.places.engine.engine import Engine
from ocitool.places.engine.tools import ask_tool

__all__ = [
    "KINDS",
    "Endpoint",
    "Engine",
    "ask_tool",
    "endpoint_at",
    "engine_endpoint",
    "usual_endpoints",
]
