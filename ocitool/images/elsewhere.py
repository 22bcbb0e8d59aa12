"""Where an image is that the store does not have: in an engine of this machine."""

import os

from ocitool.errors import OcitoolError

_SECONDS = 2.0
_PREFIXES = {"docker": "docker-daemon:", "podman": "podman:"}


def engine_place(name: str) -> tuple[str, str] | None:
    """Return the engine that has an image of this name or ID, and how to name the image in it.

    Each engine whose socket exists is asked one question. One that does not answer at once, or
    refuses, counts as not having it: this serves a hint.
    """
    from ocitool.places.engine import KINDS, Engine, engine_endpoint

    for kind in KINDS:
        try:
            endpoint = engine_endpoint(kind)
            if endpoint.socket is None or not os.path.exists(endpoint.socket):
                continue
            with Engine(endpoint, patience=_SECONDS) as engine:
                engine.image_id(name)
        except OcitoolError:
            continue
        return kind, f"{_PREFIXES[kind]}{name}"
    return None
