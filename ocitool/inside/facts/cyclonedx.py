"""The packages of an image as a CycloneDX 1.6 document in JSON (ECMA-424)."""

import json
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from ocitool.inside.facts.packages.package import Package, package_url
from ocitool.inside.facts.report import Facts

FORMATS = ("cyclonedx",)
_SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
_NAMESPACE = uuid.UUID("6c0c2c4a-8f0e-5a53-9b0e-0b1f6f1d7a11")
Fields = dict[str, object]


def cyclonedx(facts: Facts, created: datetime, *, version: str) -> bytes:
    """Return the document that this version of ocitool makes.

    Equal facts and times give equal bytes, the serial number included.
    """
    image = _image(facts)
    body: Fields = {
        "metadata": {
            "timestamp": created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tools": {
                "components": [{"type": "application", "name": "ocitool", "version": version}]
            },
            "component": image,
        },
        "components": [*_system(facts), *_components(facts)],
    }
    serial = uuid.uuid5(_NAMESPACE, json.dumps(body, sort_keys=True))
    document: Fields = {
        "$schema": _SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        **body,
    }
    return json.dumps(document, indent=2, ensure_ascii=True).encode() + b"\n"


def _image(facts: Facts) -> Fields:
    digest = str(facts.digest)
    name = facts.names[0] if facts.names else digest
    short = name.partition("@")[0].rpartition("/")[2].partition(":")[0] or "image"
    purl = f"pkg:oci/{short.lower()}@{digest}" if facts.names else None
    fields: Fields = {"type": "container", "bom-ref": digest, "name": name, "version": digest}
    if purl is not None:
        fields["purl"] = purl
    fields["properties"] = [
        {"name": "ocitool:platform", "value": str(facts.platform)},
        {"name": "ocitool:class", "value": facts.image_class.value},
    ]
    return fields


def _system(facts: Facts) -> Iterator[Fields]:
    system = facts.distribution
    if system.id:
        yield {
            "type": "operating-system",
            "bom-ref": f"os:{system.id}:{system.version}",
            "name": system.id,
            **({"version": system.version} if system.version else {}),
            **({"description": system.name} if system.name else {}),
        }


def _components(facts: Facts) -> Iterator[Fields]:
    """Yield one component for each package URL, with all places where it was found."""
    places: dict[str, list[Package]] = {}
    for package in facts.packages:
        places.setdefault(package_url(package, facts.distribution), []).append(package)
    for purl, same in sorted(places.items()):
        yield _component(purl, same[0], {package.path for package in same})


def _component(purl: str, package: Package, paths: Iterable[str]) -> Fields:
    fields: Fields = {"type": "library", "bom-ref": purl}
    if package.group:
        fields["group"] = package.group
    fields["name"] = package.name
    if package.version:
        fields["version"] = package.version
    if package.license:
        fields["licenses"] = [{"license": {"name": package.license}}]
    fields["purl"] = purl
    occurrences = [{"location": _plain(path)} for path in sorted(paths)]
    fields["evidence"] = {"occurrences": occurrences}
    return fields


def _plain(path: str) -> str:
    """Return a path in which bytes that are not UTF-8 are U+FFFD."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
