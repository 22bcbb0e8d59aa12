"""Containers: who uses which image, and containers of our own made from images.

`uses` matches what containers say with the images of a layout; `providers` asks the store
(`records`), engines and files (`listings`).
"""

from ocitool.containers.providers import providers
from ocitool.containers.records import Container, containers, find_container
from ocitool.containers.uses import ContainerProvider, ContainerUse, described, held_by

__all__ = [
    "Container",
    "ContainerProvider",
    "ContainerUse",
    "containers",
    "described",
    "find_container",
    "held_by",
    "providers",
]
