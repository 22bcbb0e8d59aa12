"""What Kubernetes runs or would run: the images of pods, and of the templates that make pods.

A ReplicaSet at 0 is what a rollback starts, a CronJob is tonight's run: their images are in use
though no pod has them. Templates are found in every kind of object, also in those of extensions.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

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
from ocitool.oci.quoting import quoted

WORKLOADS = "deploy,rs,ds,sts,job,cronjob,controllerrevision,pod"
_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
_WITH_TEMPLATE = (
    "Deployment",
    "ReplicaSet",
    "ReplicationController",
    "DaemonSet",
    "StatefulSet",
    "Job",
    "CronJob",
    "PodTemplate",
)


def workload_uses(
    documents: Iterable[object], provider: str, remark: Callable[[str], object]
) -> list[ContainerUse]:
    """Return the uses of images in what `kubectl get … -o json` printed.

    Remarks once when there are only pods. Refused for what is not understood.
    """
    items = [item for document in documents for item in _items(document, provider)]
    if items and all(_is_pod(item) for item in items):
        remark(
            f"{provider} has pods only, so workloads without pods are not seen; write it with "
            f"`kubectl get {WORKLOADS} -A -o json`"
        )
    return [
        use for item in items for use in (_pod if _is_pod(item) else _templates)(item, provider)
    ]


def _items(document: object, provider: str) -> Sequence[Item]:
    found = mapping(document, provider)
    if part(found, "metadata").get("continue"):
        raise not_understood(provider, "it is one page of several; ask for all at once")
    if "items" not in found and "kind" in found:
        return [found]
    if not isinstance(found.get("items"), list):
        raise not_understood(provider, f"it has no list of {quoted('items')}")
    return objects(found["items"], provider)


def _is_pod(item: Item) -> bool:
    return item.get("kind", "Pod") == "Pod"


def _pod(item: Item, provider: str) -> Iterator[ContainerUse]:
    """Read every container of a pod: the image it should run, and the image it runs."""
    mapping(item.get("metadata"), provider)
    pod = _called(item)
    spec, status = mapping(item.get("spec"), provider), part(item, "status")
    running = {
        str(found.get("name")): found
        for key in _STATUSES
        for found in objects(status.get(key), provider)
    }
    phase = str(status.get("phase") or "unknown").lower()
    yield from _spec(spec, running, pod, phase, provider)


def _templates(item: Item, provider: str) -> Iterator[ContainerUse]:
    """Read the templates of pods in an object; Refused when a kind that must have one has none."""
    called, kind = _called(item), str(item.get("kind"))
    specs = list(_pod_specs(item))
    if not specs and kind in _WITH_TEMPLATE:
        raise not_understood(provider, f"the {kind} {quoted(called)} has no template of pods")
    for spec in specs:
        yield from _spec(spec, None, called, f"template of {kind}", provider)


def _pod_specs(value: object) -> Iterator[Item]:
    """Yield the objects inside a document that say what a pod consists of."""
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, Mapping):
            listed = one.get("containers")
            if isinstance(listed, list) and any(
                isinstance(container, Mapping) and "image" in container for container in listed
            ):
                yield one
            else:
                todo += one.values()
        elif isinstance(one, list):
            todo += one


def _spec(
    spec: Item, running: Mapping[str, Item] | None, called: str, state: str, provider: str
) -> Iterator[ContainerUse]:
    """Read what a pod consists of; `running` are the statuses of its containers, if it is one."""
    is_template = running is None
    wanted = [found for key in _CONTAINERS for found in objects(spec.get(key), provider)]
    if not wanted:
        raise not_understood(provider, f"the pod {quoted(called)} has no containers")
    for container in wanted:
        name = str(container.get("name"))
        actual = (running or {}).get(name, {})
        yield container_use(
            provider,
            identity=str(actual.get("containerID") or f"{called}/{name}"),
            name=f"{called}/{name}",
            state=state,
            images=(container.get("image"), actual.get("image"), actual.get("imageID")),
            # What makes pods may leave it to others to fill in the image.
            may_be_none=is_template,
        )
    for volume in objects(spec.get("volumes"), provider):
        if reference := part(volume, "image").get("reference"):
            name = f"{called}/{first(volume, 'name')}"
            yield container_use(
                provider, identity=name, name=name, state=state, images=(reference,)
            )


def _called(item: Item) -> str:
    metadata = part(item, "metadata")
    return f"{metadata.get('namespace') or 'default'}/{metadata.get('name')}"
