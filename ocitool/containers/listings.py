"""Lists of containers that other tools print, read as container uses.

Formats: `docker inspect`, `docker ps --format json`, `podman ps --format json`, `podman inspect`,
`ctr containers info`, `nerdctl inspect`, `crictl ps -a -o json`, `crictl inspect`,
`kubectl get … -A -o json`, and the answers of engines. A file may hold several documents.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from ocitool.containers.claims import (
    Item,
    container_use,
    first,
    mapping,
    not_understood,
    objects,
    part,
)
from ocitool.containers.uses import ContainerUse
from ocitool.containers.workloads import workload_uses
from ocitool.errors import Refused
from ocitool.oci.quoting import quoted

_SILENT_WHEN_EMPTY = ("docker", "containerd")
"""Kinds whose tools print nothing at all when there is no container."""
_NOT_SPACE = re.compile(r"\S")
_OF_DOCKER = "com.docker/engine.bundle.path"
_NAME_LABELS = ("nerdctl/name", "io.kubernetes.container.name")

Remark = Callable[[str], object]


def read_listing(
    kind: str, data: bytes, provider: str, remark: Remark = lambda _: None
) -> list[ContainerUse]:
    """Return the containers of a file; `kind` is a word of FileProvider.

    A file without a single document is an answer from tools that print nothing when there is no
    container, and remarked. Refused for an empty file of others, and for what is not understood.
    """
    if not data.strip():
        if kind not in _SILENT_WHEN_EMPTY:
            raise Refused(
                f"{provider} is empty: that may be a failure and does not count as `no containers`",
                hint="write the list again with all containers, or leave it out",
            )
        remark(f"{provider} is empty: it counts as a host without containers")
        return []
    documents = _documents(data, provider)
    if kind == "kube":
        return workload_uses(documents, provider, remark)
    items, read = _READERS[kind]
    return [u for one in documents for item in items(one, provider) for u in read(item, provider)]


def engine_uses(values: object, provider: str) -> list[ContainerUse]:
    """Return the containers in an engine's answer to a request for all of them."""
    if not isinstance(values, list):
        raise not_understood(provider, "its answer is not a list of containers")
    return [use for item in values for use in _engine_container(mapping(item, provider), provider)]


def _documents(data: bytes, provider: str) -> list[object]:
    """Return the JSON documents of a file, one after the other, on lines of their own or not."""
    decoder = json.JSONDecoder()
    values, position = [], 0
    try:
        text = data.decode("utf-8-sig")
        while start := _NOT_SPACE.search(text, position):
            value, position = decoder.raw_decode(text, start.start())
            values.append(value)
    except (ValueError, RecursionError) as error:
        raise not_understood(provider, "it is not JSON") from error
    return values


def _each(document: object, provider: str) -> Iterator[Item]:
    for item in document if isinstance(document, list) else [document]:
        yield mapping(item, provider)


def _engine_container(item: Item, provider: str) -> Iterator[ContainerUse]:
    """Read a container as docker and podman print it, from `ps` and from `inspect`."""
    if not isinstance(item.get("Image"), str):
        raise not_understood(provider, "a container in it does not say which image it uses")
    use = partial(
        container_use,
        provider,
        identity=first(item, "Id", "ID"),
        name=_name(item),
        state=_state(item),
    )
    # Podman also lists containers that Buildah builds from scratch: they have no image.
    from_scratch = item.get("Image") == "" and item.get("ImageID") == ""
    yield use(
        images=(
            item.get("Image"),
            item.get("ImageID"),
            item.get("ImageName"),
            item.get("ImageDigest"),
            part(item, "Config").get("Image"),
            part(item, "ImageManifestDescriptor").get("digest"),
        ),
        may_be_none=from_scratch,
    )
    for images in _image_volumes(item):
        yield use(images=images)


def _image_volumes(item: Item) -> Iterable[list[object]]:
    """Return what is said of each image that is mounted as a volume: it is in use as well.

    The source of a mount may be a path, then the request for it says which image was meant.
    """
    found: dict[object, list[object]] = {}
    for mounts in (item.get("Mounts"), part(item, "HostConfig").get("Mounts")):
        for mount in mounts if isinstance(mounts, list) else ():
            if isinstance(mount, Mapping) and mount.get("Type") == "image":
                place = mount.get("Destination") or mount.get("Target")
                found.setdefault(place, []).extend((mount.get("Source"), mount.get("Name")))
    return found.values()


def _name(item: Item) -> str:
    names = item.get("Names") or item.get("Name")
    called = names[0] if isinstance(names, list) and names else names
    return str(called or first(item, "Id", "ID")[:12]).removeprefix("/")


def _state(item: Item) -> str:
    state = item.get("State")
    if isinstance(state, Mapping):
        state = state.get("Status")
    return str(state or item.get("Status") or "unknown").lower()


def _containerd_container(item: Item, provider: str) -> Iterator[ContainerUse]:
    """Read a container as containerd keeps it: it says only the name of its image."""
    image = item.get("Image")
    if not isinstance(image, str):
        raise not_understood(provider, "a container in it does not say which image it uses")
    labels = part(item, "Labels")
    if not image and _OF_DOCKER in labels:
        # Docker knows which image it is, and is asked itself.
        return
    yield container_use(
        provider,
        identity=first(item, "ID", "Id"),
        name=first(labels, *_NAME_LABELS) or first(item, "ID", "Id")[:12],
        state="unknown",
        images=(image,),
        # `ctr run --rootfs` takes a folder.
        may_be_none=not image and not item.get("SnapshotKey"),
    )


def _cri_items(document: object, provider: str) -> Iterator[Item]:
    """Yield the containers of `crictl ps`, or of `crictl inspect` for one or several."""
    inspected = document if isinstance(document, list) and document else [document]
    for value in inspected:
        found = mapping(value, provider)
        listed = [found["status"]] if "status" in found else found.get("containers")
        if not isinstance(listed, list):
            raise not_understood(provider, f"it has no {quoted('containers')}")
        yield from objects(listed, provider)


def _cri_container(item: Item, provider: str) -> Iterator[ContainerUse]:
    references = (part(item, "image").get("image"), item.get("imageRef"), item.get("imageId"))
    if not any(isinstance(reference, str) and reference for reference in references):
        raise not_understood(provider, "a container in it does not say which image it uses")
    use = partial(
        container_use,
        provider,
        identity=first(item, "id"),
        name=first(part(item, "metadata"), "name") or first(item, "id")[:12],
        state=str(item.get("state") or "unknown").removeprefix("CONTAINER_").lower(),
    )
    yield use(images=references)
    for mount in objects(item.get("mounts"), provider):
        if "image" in part(mount, "image"):
            yield use(images=(part(mount, "image")["image"],))


_READERS: dict[
    str,
    tuple[Callable[[object, str], Iterable[Item]], Callable[[Item, str], Iterable[ContainerUse]]],
] = {
    "docker": (_each, _engine_container),
    "podman": (_each, _engine_container),
    "containerd": (_each, _containerd_container),
    "cri": (_cri_items, _cri_container),
}
