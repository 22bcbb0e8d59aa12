"""Containers: who uses which image, and containers of our own made from images.

`uses` matches what containers say with the images of a layout; `providers` asks the store
(`records`), engines and files (`listings`). `creating` makes a bundle that an OCI runtime starts,
`removing` takes it away again, `staging` clears up after killed commands.
"""

from ocitool.containers.creating import Created, Wish, create_container
from ocitool.containers.providers import EngineProvider, FileProvider, StoreProvider, providers
from ocitool.containers.records import Container, containers, find_container
from ocitool.containers.removing import Removed, remove_container
from ocitool.containers.running import running
from ocitool.containers.staging import clear_leftovers, leftovers_of_containers
from ocitool.containers.uses import ContainerProvider, ContainerUse, described, held_by

__all__ = [
    "Container",
    "ContainerProvider",
    "ContainerUse",
    "Created",
    "EngineProvider",
    "FileProvider",
    "Removed",
    "StoreProvider",
    "Wish",
    "clear_leftovers",
    "containers",
    "create_container",
    "described",
    "find_container",
    "held_by",
    "leftovers_of_containers",
    "providers",
    "remove_container",
    "running",
]
