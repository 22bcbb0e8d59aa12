"""Containers: which containers use which image, and containers that ocitool makes from images.

`uses` matches what containers say about their images with the images of a layout; `providers` asks
the store (`records`), engines, `runtimes` and files (`listings`, `workloads`). `creating` makes a
bundle that an OCI runtime starts, `removing` removes it, `staging` cleans up after killed commands.
"""

from ocitool.containers.creating import Created, CreateOptions, create_container
from ocitool.containers.providers import (
    EngineProvider,
    FileProvider,
    StoreProvider,
    file_providers,
    known_uses,
    providers,
)
from ocitool.containers.records import Container, containers, find_container, read_records
from ocitool.containers.removing import Removed, remove_container
from ocitool.containers.running import running_bundles
from ocitool.containers.staging import clear_leftovers, leftovers_of_containers
from ocitool.containers.usage import tree_bytes, written_bytes
from ocitool.containers.uses import (
    ContainerProvider,
    ContainerUse,
    containers_by_image,
    describe_uses,
)

__all__ = [
    "Container",
    "ContainerProvider",
    "ContainerUse",
    "CreateOptions",
    "Created",
    "EngineProvider",
    "FileProvider",
    "Removed",
    "StoreProvider",
    "clear_leftovers",
    "containers",
    "containers_by_image",
    "create_container",
    "describe_uses",
    "file_providers",
    "find_container",
    "known_uses",
    "leftovers_of_containers",
    "providers",
    "read_records",
    "remove_container",
    "running_bundles",
    "tree_bytes",
    "written_bytes",
]
