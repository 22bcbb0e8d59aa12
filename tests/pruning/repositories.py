"""Repositories to prune: images of known ages, what is attached to them, and reading them."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from ocitool.cli.options.quantities import parse_seconds
from ocitool.oci import DEFAULT_LIMITS, Descriptor, Reference
from ocitool.operations.prune import PlannedPrune, plan_prune
from ocitool.places.registry import Registries, RegistryOptions
from ocitool.pruning.policy import Written
from ocitool.pruning.rules import PruneRules
from tests.support.images import Built, BuiltImage, build_artifact, build_image
from tests.support.registry import EmulatedRegistry

NAME = "team/app"


@cache
def image(text: str, day: int = 1, platform: str = "linux/amd64") -> BuiltImage:
    """Return an image made on a day of January 2026; equal texts give equal images."""
    made = {"created": f"2026-01-{day:02}T00:00:00Z"}
    return build_image([{"text": text.encode()}], platform=platform, config=made)


def sign(registry: EmulatedRegistry, subject: Descriptor, how: str, text: str = "") -> Descriptor:
    """Attach a signature to an image: by `subject`, by a fallback tag, or by a tag of cosign."""
    content = f"signature of {subject.digest} {text}".encode()
    if how == "cosign":
        signature = build_artifact(None, content)
        tag = f"sha256-{subject.digest.hex}.sig"
        return registry.add_image(NAME, signature, tag)
    signature = build_artifact(subject, content)
    registry.add_image(NAME, signature)
    if how == "fallback":
        entry = {**signature.descriptor.to_json(), "artifactType": "application/vnd.example"}
        add_fallback(registry, subject, [entry])
    return signature.descriptor


def add_fallback(
    registry: EmulatedRegistry, subject: Descriptor, entries: list[dict[str, object]]
) -> Descriptor:
    """Write the list of what is attached to an image, under its tag."""
    from tests.support.images import OCI, as_json

    kind = f"{OCI}.index.v1+json"
    raw = as_json({"schemaVersion": 2, "mediaType": kind, "manifests": entries})
    return registry.add_manifest(NAME, raw, kind, f"sha256-{subject.digest.hex}")


def reference(registry: EmulatedRegistry, name: str = NAME) -> Reference:
    """Return the full name of a repository."""
    return Reference.parse(f"{registry.host}/{name}")


def rules(*delete: str, **written: object) -> PruneRules:
    """Return rules that may delete tags, with others; all images may go."""
    keep = {k.replace("_", "-"): v for k, v in written.items() if k.startswith("keep_")}
    others = {k: v for k, v in written.items() if not k.startswith("keep_")}
    fields = {"max_delete": "100%", "min_keep": 0, **others}
    return Written(keep=keep, delete_tags=delete, **fields).rules(parse_seconds)  # type: ignore[arg-type]


@contextmanager
def connected(retries: int = 0) -> Iterator[Registries]:
    """Yield registries that are asked once, unless more `retries` are wanted."""
    limits = DEFAULT_LIMITS.with_limit("retries", retries)
    options = RegistryOptions(limits=limits, retry_max_wait=0.01)
    with Registries(options, environment={}) as found:
        yield found


def plan(
    connected: Registries, registry: EmulatedRegistry, by: PruneRules, **how: object
) -> PlannedPrune:
    """Return the plan for the one repository."""
    (planned,) = plan_prune(connected, [reference(registry)], by, **how)  # type: ignore[arg-type]
    return planned


def whole(registry: EmulatedRegistry, built: Built) -> bool:
    """Tell whether all manifests of an image are in the registry."""
    here = registry.manifests[NAME]
    manifests = [
        digest for digest, data in built.blobs.items() if data.startswith(b'{"schemaVersion"')
    ]
    return all(digest in here for digest in manifests)
