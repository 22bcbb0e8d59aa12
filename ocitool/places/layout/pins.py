"""Pins: images that stay whatever happens to their names. `.ocitool/pins.json`.

A pin names an image by its digest, so it stays with the image when the name moves to another one.
An expired pin protects nothing.
"""

import datetime as dt
import re
from collections.abc import Iterable

from msgspec import Struct

from ocitool.errors import MalformedDocument, NotFound
from ocitool.fsops import Directory, replace_file
from ocitool.oci import Digest
from ocitool.oci.document import array, as_object, decode_object, encode, optional_string, string
from ocitool.places.layout.lease import TEMPORARY
from ocitool.places.layout.reflog import time_text

PINS = "pins.json"
_PINS_BYTES = 16 << 20
_TIME = r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]Z"


class Pin(Struct, frozen=True, kw_only=True):
    """An image that must stay, and why. Times are RFC 3339 UTC; `until` None means for ever.

    `name` is the name of the image when it was pinned, or its digest.
    """

    digest: Digest
    name: str
    since: str
    until: str | None = None
    reason: str | None = None

    def holds(self, now: dt.datetime) -> bool:
        """Tell whether the pin has not expired."""
        return self.until is None or self.until > time_text(now)

    def to_json(self) -> dict[str, object]:
        """Return the JSON object that `pin_of` reads."""
        return {
            "digest": str(self.digest),
            "name": self.name,
            "since": self.since,
            "until": self.until,
            "reason": self.reason,
        }


def pin_of(value: object, path: str) -> Pin:
    """Decode a pin; `path` is its place in the document, for MalformedDocument."""
    obj = as_object(value, path)
    until = optional_string(obj, "until", path)
    if until is not None and not re.fullmatch(_TIME, until):
        raise MalformedDocument(f"{path}.until is not a time in UTC, such as 2030-01-31T00:00:00Z")
    return Pin(
        digest=Digest.parse(string(obj, "digest", path)),
        name=string(obj, "name", path),
        since=string(obj, "since", path),
        until=until,
        reason=optional_string(obj, "reason", path),
    )


def read_pins(control: Directory | None) -> tuple[Pin, ...]:
    """Return all pins, also expired ones. A damaged file raises: it must not mean "no pins"."""
    if control is None:
        return ()
    try:
        data = control.read_file(PINS, _PINS_BYTES)
    except NotFound:
        return ()
    try:
        values = array(decode_object(data, what=PINS, limit=_PINS_BYTES), "pins", PINS)
        return tuple(pin_of(value, f"{PINS}.pins[{n}]") for n, value in enumerate(values))
    except MalformedDocument as error:
        raise MalformedDocument(
            f"the list of pins is damaged: {error.message}",
            hint=f"repair .ocitool/{PINS} in the store, or remove it: then nothing is pinned",
        ) from error


def write_pins(control: Directory, pins: Iterable[Pin]) -> None:
    """Replace all pins, atomically and durably. Call under the layout's lock."""
    data = encode({"version": 1, "pins": [pin.to_json() for pin in pins]})
    with control.subdirectory(TEMPORARY, create=True, lasting=False) as staging:
        replace_file(control, PINS, data, staging=staging)
