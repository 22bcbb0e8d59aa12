"""A registry that fails in the middle of an edit: a tag names its old image or the new one."""

import json

import pytest

from ocitool.editing.settings import Settings
from ocitool.errors import OcitoolError
from ocitool.operations.edit.indexes import Listing, create_index
from ocitool.operations.edit.report import EditOptions, PlaceAccess
from ocitool.operations.edit.settings import set_image
from ocitool.places.registry import Registries, RegistryOptions
from tests.support.http_exchange import Exchange
from tests.support.images import build_image, build_index
from tests.support.registry import EmulatedRegistry
from tests.support.registry_state import error_body

AMD = build_image([{"a": b"1"}])
ARM = build_image([{"b": b"1"}], platform="linux/arm64")
INDEX = build_index([AMD, ARM], attested=True)


class Failing(EmulatedRegistry):
    """Refuses everything from one request on."""

    left = 1 << 30

    def respond(self, exchange: Exchange) -> None:
        self.left -= 1
        if self.left < 0:
            exchange.answer(500, error_body("UNKNOWN", "broken"))
        else:
            super().respond(exchange)


def attempt(registry: Failing, left: int) -> bool:
    """Edit an index in place while the registry takes so many requests; tell whether it worked."""
    registry.left = left
    options = RegistryOptions(plain_http=True, retry_max_wait=0.001)
    with Registries(options) as registries:
        source = f"docker://{registry.host}/team/app:1"
        try:
            set_image(
                source,
                Settings(labels={"a": "b"}),
                EditOptions(in_place=True),
                PlaceAccess(registries=registries),
            )
        except OcitoolError:
            return False
        finally:
            registry.left = 1 << 30
    return True


def test_whenever_it_fails_the_tag_is_whole_and_the_next_run_finishes() -> None:
    new, seen = None, 0
    for left in range(0, 200, 5):
        with Failing() as registry:
            registry.add_image("team/app", INDEX, "1")
            worked = attempt(registry, left)
            tag = registry.tags["team/app"]["1"]
            assert_whole(registry, str(tag))
            assert worked or tag in (INDEX.descriptor.digest, new)
            assert attempt(registry, 1 << 30)
            new = registry.tags["team/app"]["1"]
            assert new != INDEX.descriptor.digest
            seen += not worked
        if worked:
            break
    assert worked
    assert seen > 2


def assert_whole(registry: EmulatedRegistry, tag: str) -> None:
    """Fail unless a tagged index, its children and their blobs are all there."""
    manifests = {str(digest): one for digest, one in registry.manifests["team/app"].items()}
    blobs = {str(digest) for digest in registry.blobs["team/app"]}

    for child in json.loads(manifests[tag].raw)["manifests"]:
        document = json.loads(manifests[child["digest"]].raw)
        for blob in (document["config"], *document["layers"]):
            assert blob["digest"] in blobs


@pytest.mark.parametrize("left", [0, 2, 4])
def test_an_index_that_cannot_be_made_leaves_no_tag(left: int) -> None:
    with Failing() as registry:
        for image in (AMD, ARM):
            registry.add_image("team/app", image)
        registry.left = left
        options = RegistryOptions(plain_http=True, retry_max_wait=0.001)
        with Registries(options) as registries, pytest.raises(OcitoolError):
            create_index(
                f"docker://{registry.host}/team/app:1",
                [str(image.descriptor.digest) for image in (AMD, ARM)],
                Listing(),
                EditOptions(),
                PlaceAccess(registries=registries),
            )
        assert registry.tags.get("team/app", {}) == {}
