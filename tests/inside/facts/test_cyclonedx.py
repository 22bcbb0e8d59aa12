"""The SBOM: valid by CycloneDX's own schema, and equal bytes for equal facts."""

import datetime as dt
import functools
import json
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ocitool.inside.facts.cyclonedx import cyclonedx
from ocitool.inside.facts.packages.package import Distribution, Package, PackageType
from ocitool.inside.facts.report import Facts, ImageClass
from ocitool.oci import Digest, Platform

if TYPE_CHECKING:
    from cyclonedx.validation.json import JsonStrictValidator

NOW = dt.datetime(2024, 5, 6, 7, 8, 9, tzinfo=dt.UTC)
FACTS = Facts(
    names=("ghcr.io/team/App:1.0",),
    digest=Digest.of(b"x"),
    platform=Platform(os="linux", architecture="arm64", variant="v8"),
    created=None,
    distribution=Distribution(id="debian", version="12", name="Debian 12"),
    image_class=ImageClass.DISTROLESS,
    reasons=(),
    user="",
    packages=(
        Package(type=PackageType.DEB, name="libc6", version="2.36-9+deb12u4", path="status"),
        Package(type=PackageType.NODE, name="core", group="@babel", version="7", path="a/p.json"),
        Package(type=PackageType.NODE, name="core", group="@babel", version="7", path="b/p.json"),
        Package(type=PackageType.GO, name="example.com/app", path="usr/bin/\udcff"),
        Package(type=PackageType.RPM, name="bash", version="5", license="GPL-3.0+", path="db"),
    ),
)


@functools.cache
def validator() -> "JsonStrictValidator":
    # Its grammars take two seconds to load: too long for each process that collects tests.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.V1_6)


def document(facts: Facts) -> dict[str, Any]:
    data = cyclonedx(facts, NOW, version="1")
    assert data.isascii()
    assert validator().validate_str(data.decode()) is None
    found: dict[str, Any] = json.loads(data)
    return found


def test_it_is_valid_and_names_the_image() -> None:
    found = document(FACTS)
    image = found["metadata"]["component"]
    assert image["type"] == "container"
    assert image["purl"] == f"pkg:oci/app@{FACTS.digest}"
    assert found["metadata"]["timestamp"] == "2024-05-06T07:08:09Z"


def test_each_package_is_one_component_with_all_its_places() -> None:
    components = {one["name"]: one for one in document(FACTS)["components"]}
    assert set(components) == {"debian", "libc6", "core", "example.com/app", "bash"}
    assert components["core"]["group"] == "@babel"
    places = components["core"]["evidence"]["occurrences"]
    assert [place["location"] for place in places] == ["a/p.json", "b/p.json"]
    assert components["bash"]["licenses"] == [{"license": {"name": "GPL-3.0+"}}]
    assert components["libc6"]["purl"] == ("pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?distro=debian-12")


def test_an_image_without_names_and_packages_is_valid() -> None:
    found = document(replace(FACTS, names=(), packages=(), distribution=Distribution()))
    assert found["components"] == []


def test_equal_facts_give_equal_bytes_and_others_another_serial_number() -> None:
    assert cyclonedx(FACTS, NOW, version="1") == cyclonedx(FACTS, NOW, version="1")
    other = document(replace(FACTS, packages=FACTS.packages[:1]))
    assert other["serialNumber"] != document(FACTS)["serialNumber"]


text = st.text(min_size=1, max_size=20)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(PackageType), text, text, st.none() | text, text)
def test_any_package_makes_a_valid_document(
    kind: PackageType, name: str, version: str, group: str | None, path: str
) -> None:
    package = Package(type=kind, name=name, version=version, group=group, path=path)
    document(replace(FACTS, packages=(package,)))
