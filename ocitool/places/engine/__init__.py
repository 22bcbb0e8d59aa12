"""A running Docker or Podman engine as a place, over its socket.

An engine exports and loads archives: its export is read like any `docker save`, and it is sent the
universal tar. `endpoint` finds the socket, `engine` talks to it.
"""

from ocitool.places.engine.endpoint import Endpoint, docker_endpoint, podman_endpoint
from ocitool.places.engine.engine import Engine

__all__ = ["Endpoint", "Engine", "docker_endpoint", "podman_endpoint"]
