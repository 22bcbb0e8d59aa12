"""Lists of containers that other tools print, read as container uses.

Formats: `docker inspect`, `docker ps --format json`, `podman ps --format json`, `podman inspect`,
`crictl ps -a -o json`, `kubectl get pods -A -o json`, and the answers of engines. A list
that is not understood is refused: a container that is overlooked would lose its image.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from ocitool.containers.uses import ContainerUse, as_reference
from ocitool.errors import Refused
from ocitool.oci.quoting import quoted

_HEX = re.compile(r"[0-9a-f]{12,128}")
_PULLABLE = re.compile(r"[a-z-]+://")
_POD_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
_POD_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")

Item = Mapping[str, object]
Read = Callable[[Item, str], Iterable[ContainerUse]]


def read_listing(kind: str, data: bytes, provider: str) -> list[ContainerUse]:
    """Return the containers of a file; `kind` is docker, podman, cri or kube.

    Refused for an empty file, and for anything that is not understood.
    """
    if not data.strip():
        raise Refused(
            f"{provider} is empty, which may be a failure and does not count as `no containers`",
            hint="write the list again with all containers, or leave it out",
        )
    read: Read = {
        "docker": _engine_container,
        "podman": _engine_container,
        "cri": _cri_container,
    }.get(kind, _pod)
    key = {"cri": "containers", "kube": "items"}.get(kind)
    return [use for item in _items(data, key, provider) for use in read(item, provider)]


def engine_uses(values: object, provider: str) -> list[ContainerUse]:
    """Return the containers in an engine's answer to a request for all of them."""
    if not isinstance(values, list):
        raise _not_understood(provider, "its answer is not a list of containers")
    return [use for item in values for use in _engine_container(_mapping(item, provider), provider)]


def _items(data: bytes, key: str | None, provider: str) -> Iterator[Item]:
    """Yield the objects of one JSON document, or of one document on each line."""
    values = _documents(data, provider)
    if key is not None:
        (value,) = values if len(values) == 1 else (None,)
        document = _mapping(value, provider)
        inner = [document] if document.get("kind") == "Pod" else document.get(key)
        metadata = document.get("metadata")
        if isinstance(metadata, Mapping) and metadata.get("continue"):
            raise _not_understood(provider, "it is one page of several; ask for all at once")
        if inner is None:
            raise _not_understood(provider, f"it has no {quoted(key)}")
        values = [inner]
    for value in values:
        for item in value if isinstance(value, list) else [value]:
            yield _mapping(item, provider)


def _documents(data: bytes, provider: str) -> list[object]:
    try:
        text = data.decode("utf-8")
        try:
            return [json.loads(text)]
        except ValueError:
            return [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise _not_understood(provider, "it is not JSON") from error


def _engine_container(item: Item, provider: str) -> Iterator[ContainerUse]:
    """Read a container as docker and podman print it, from `ps` and from `inspect`."""
    if not isinstance(item.get("Image"), str):
        raise _not_understood(provider, "a container in it does not say which image it uses")
    config = item.get("Config")
    named = config.get("Image") if isinstance(config, Mapping) else None
    manifest = item.get("ImageManifestDescriptor")
    by_manifest = manifest.get("digest") if isinstance(manifest, Mapping) else None
    # Podman also lists containers that Buildah builds from scratch: they have no image.
    from_scratch = item.get("Image") == "" and item.get("ImageID") == ""
    yield _use(
        provider,
        identity=_first(item, "Id", "ID"),
        name=_name(item),
        state=_state(item),
        images=(
            item.get("Image"),
            item.get("ImageID"),
            item.get("ImageName"),
            item.get("ImageDigest"),
            named,
            by_manifest,
        ),
        may_be_none=from_scratch,
    )


def _name(item: Item) -> str:
    names = item.get("Names") or item.get("Name")
    first = names[0] if isinstance(names, list) and names else names
    return str(first or _first(item, "Id", "ID")[:12]).removeprefix("/")


def _state(item: Item) -> str:
    state = item.get("State")
    if isinstance(state, Mapping):
        state = state.get("Status")
    return str(state or item.get("Status") or "unknown").lower()


def _cri_container(item: Item, provider: str) -> Iterator[ContainerUse]:
    image = item.get("image")
    called = image.get("image") if isinstance(image, Mapping) else None
    references = (called, item.get("imageRef"), item.get("imageId"))
    if not any(isinstance(reference, str) and reference for reference in references):
        raise _not_understood(provider, "a container in it does not say which image it uses")
    metadata = item.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    yield _use(
        provider,
        identity=_first(item, "id"),
        name=str(name or _first(item, "id")[:12]),
        state=str(item.get("state") or "unknown").removeprefix("CONTAINER_").lower(),
        images=references,
    )


def _pod(item: Item, provider: str) -> Iterator[ContainerUse]:
    """Read every container of a pod: the image it should run, and the image it runs."""
    metadata = _mapping(item.get("metadata"), provider)
    pod = f"{metadata.get('namespace') or 'default'}/{metadata.get('name')}"
    spec, status = _mapping(item.get("spec"), provider), item.get("status")
    status = status if isinstance(status, Mapping) else {}
    running = {
        str(found.get("name")): found
        for key in _POD_STATUSES
        for found in _objects(status.get(key), provider)
    }
    wanted = [found for key in _POD_CONTAINERS for found in _objects(spec.get(key), provider)]
    if not wanted:
        raise _not_understood(provider, f"the pod {quoted(pod)} has no containers")
    for container in wanted:
        name = str(container.get("name"))
        actual = running.pop(name, {})
        yield _use(
            provider,
            identity=str(actual.get("containerID") or f"{pod}/{name}"),
            name=f"{pod}/{name}",
            state=str(status.get("phase") or "unknown").lower(),
            images=(container.get("image"), actual.get("image"), actual.get("imageID")),
        )


def _use(
    provider: str,
    *,
    identity: str,
    name: str,
    state: str,
    images: Iterable[object],
    may_be_none: bool = False,
) -> ContainerUse:
    texts = [_PULLABLE.sub("", image) for image in images if isinstance(image, str) and image]
    digests = [text for text in texts if _HEX.fullmatch(text.removeprefix("sha256:"))]
    names = [text for text in texts if not text.startswith("sha256:")]
    if not (digests or any(as_reference(text) is not None for text in names) or may_be_none):
        raise _not_understood(
            provider, f"the container {quoted(name)} does not say which image it uses"
        )
    return ContainerUse(
        provider=provider,
        id=identity,
        name=name,
        state=state,
        digests=tuple(dict.fromkeys(digests)),
        # A name may consist of hex digits alone.
        names=tuple(dict.fromkeys(names)),
    )


def _objects(value: object, provider: str) -> list[Item]:
    values = value if isinstance(value, list) else []
    return [_mapping(item, provider) for item in values]


def _mapping(value: object, provider: str) -> Item:
    if not isinstance(value, dict):
        raise _not_understood(provider, "it is not a list of containers")
    return value


def _first(item: Item, *keys: str) -> str:
    return next((str(item[key]) for key in keys if item.get(key)), "")


def _not_understood(provider: str, why: str) -> Refused:
    return Refused(
        f"{provider} cannot say which images containers use: {why}",
        hint="an unreadable list does not count as `no containers`; correct it or leave it out",
    )
