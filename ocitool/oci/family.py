"""The two families of media types, OCI's and docker's: a manifest and what it lists have one."""

from typing import cast

from ocitool.oci import mediatype
from ocitool.oci.members import MANIFEST_ORDER, put


def use_family(manifest: dict[str, object], *, docker: bool) -> None:
    """Give the members of a manifest the media types of a family: its own, config's and layers'.

    A type that has no other name in that family stays.
    """
    own = mediatype.DOCKER_MANIFEST if docker else mediatype.OCI_MANIFEST
    put(manifest, "mediaType", own, MANIFEST_ORDER)
    layers = cast("list[dict[str, object]]", manifest["layers"] or [])
    for descriptor in (cast("dict[str, object]", manifest["config"]), *layers):
        descriptor["mediaType"] = mediatype.in_family(str(descriptor["mediaType"]), docker=docker)
