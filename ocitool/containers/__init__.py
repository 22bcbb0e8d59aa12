"""Containers: who uses which image, and containers of our own made from images.

`uses` matches what containers say with the images of a layout.
"""

from ocitool.containers.uses import ContainerProvider, ContainerUse, described, held_by

__all__ = ["ContainerProvider", "ContainerUse", "described", "held_by"]
