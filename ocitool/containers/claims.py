"""What one entry of a list of containers says about its image, checked and put into one form.

A list that is not understood is refused: a container that is overlooked would lose its image.
"""

import re
from collections.abc import Iterable, Mapping

from ocitool.containers.uses import ContainerUse, as_reference
from ocitool.errors import Refused
from ocitool.oci.quoting import quoted

_HEX = re.compile(r"[0-9a-f]{12,128}")
_PULLABLE = re.compile(r"[a-z-]+://")

Item = Mapping[str, object]


def container_use(
    provider: str,
    *,
    identity: str,
    name: str,
    state: str,
    images: Iterable[object],
    may_be_none: bool = False,
) -> ContainerUse:
    """Return a use of the image that `images` describe; each is a digest, a name or nothing.

    Refused when none of them says anything, unless `may_be_none`.
    """
    texts = [_PULLABLE.sub("", image) for image in images if isinstance(image, str) and image]
    digests = [text for text in texts if _HEX.fullmatch(text.removeprefix("sha256:"))]
    names = [text for text in texts if not text.startswith("sha256:")]
    if not (digests or any(as_reference(text) is not None for text in names) or may_be_none):
        raise not_understood(
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


def objects(value: object, provider: str) -> list[Item]:
    """Return the objects of a list; an absent list is an empty one."""
    values = value if isinstance(value, list) else []
    return [mapping(item, provider) for item in values]


def mapping(value: object, provider: str) -> Item:
    """Return a JSON object; Refused for another value."""
    if not isinstance(value, dict):
        raise not_understood(provider, "it is not a list of containers")
    return value


def part(item: Item, key: str) -> Item:
    """Return the object below a key, an empty one if there is none."""
    value = item.get(key)
    return value if isinstance(value, Mapping) else {}


def first(item: Item, *keys: str) -> str:
    """Return the first of these fields that is not empty, as text."""
    return next((str(item[key]) for key in keys if item.get(key)), "")


def not_understood(provider: str, why: str) -> Refused:
    """Return the error for a list that cannot be used."""
    return Refused(
        f"{provider} cannot say which images containers use: {why}",
        hint="an unreadable list does not count as `no containers`; correct it or leave it out",
    )
