"""Place 4: a running Docker or Podman engine, over its socket.

An engine gives and takes archives: what it exports is read like any `docker save`, what it shall
load is the universal tar. `endpoint` finds the socket, `engine` talks to it.
"""

from ocitool.places.engine.endpoint import Endpoint, docker_endpoint, podman_endpoint
from ocitool.places.engine.engine import Engine

__all__ = ["Endpoint", "Engine", "docker_endpoint", "podman_endpoint"]
