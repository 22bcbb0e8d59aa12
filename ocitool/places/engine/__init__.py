"""A running engine as a place: Docker or Podman over its socket, containerd by `ctr`.

An engine exports and loads archives: its export is read like any `docker save`, and it is sent the
universal tar. `endpoint` finds the socket, `engine` talks to it. `containerd` is only written to.
"""

from typing import TYPE_CHECKING

from ocitool.lazy import lazy

if TYPE_CHECKING:
    from ocitool.places.engine.containerd import Containerd as Containerd
    from ocitool.places.engine.endpoint import CONTAINERD_SOCKETS as CONTAINERD_SOCKETS
    from ocitool.places.engine.endpoint import KINDS as KINDS
    from ocitool.places.engine.endpoint import Endpoint as Endpoint
    from ocitool.places.engine.endpoint import endpoint_at as endpoint_at
    from ocitool.places.engine.endpoint import engine_endpoint as engine_endpoint
    from ocitool.places.engine.endpoint import usual_endpoints as usual_endpoints
    from ocitool.places.engine.engine import Engine as Engine
    from ocitool.places.engine.tools import ask_tool as ask_tool

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "containerd": "Containerd",
        "endpoint": "CONTAINERD_SOCKETS KINDS Endpoint endpoint_at engine_endpoint usual_endpoints",
        "engine": "Engine",
        "tools": "ask_tool",
    },
)
