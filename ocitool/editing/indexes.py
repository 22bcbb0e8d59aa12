"""Indexes that are put together from images: which children they list, and in which order."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from ocitool.errors import NotFound, Refused
from ocitool.image.attached import attested
from ocitool.image.graph import image_children
from ocitool.oci import Descriptor, Index, Platform, build_index, mediatype
from ocitool.oci.document import encode
from ocitool.oci.members import MANIFEST_ORDER, members_of, put

_OCI_FAMILY = "application/vnd.oci."


class Children(Struct, frozen=True, kw_only=True):
    """What an index lists: images, each with its platform, and what else, such as attestations."""

    images: tuple[Descriptor, ...] = ()
    others: tuple[Descriptor, ...] = ()

    @classmethod
    def of(cls, index: Index) -> "Children":
        """Return what an index lists."""
        images = image_children(index)
        known = {id(one) for one in images}
        others = tuple(child for child in index.manifests if id(child) not in known)
        return cls(images=images, others=others)

    @property
    def listed(self) -> tuple[Descriptor, ...]:
        """All of them, images first."""
        return (*self.images, *self.others)

    @property
    def is_sorted(self) -> bool:
        """Whether the images stand in the order of their platforms."""
        return list(self.images) == sorted(self.images, key=_place)

    def by_platform(self) -> "Children":
        """Return them in the order of their platforms, attestations in the order of their images.

        Whatever order they came in, it is the same now.
        """
        images = tuple(sorted(self.images, key=_place))
        places = {str(image.digest): number for number, image in enumerate(images)}

        def key(other: Descriptor) -> tuple[int, str]:
            return places.get(attested(other) or "", len(places)), str(other.digest)

        return Children(images=images, others=tuple(sorted(self.others, key=key)))

    def without(self, images: Collection[Descriptor]) -> "Children":
        """Return them without some images and without the attestations of these."""
        texts = {str(image.digest) for image in images}
        kept = tuple(one for one in self.images if one not in images)
        texts -= {str(image.digest) for image in kept}
        others = tuple(one for one in self.others if attested(one) not in texts)
        return Children(images=kept, others=others)


def merge_children(parts: Iterable[Children], *, replacing: bool = False) -> Children:
    """Return what all parts list; one image that several list stands there once.

    Refused for two images for one platform, or with `replacing` the later one is taken.
    """
    merged = Children()
    for part in parts:
        for image in part.images:
            rival = next((one for one in merged.images if _place(one) == _place(image)), None)
            if rival is not None and rival.digest != image.digest and not replacing:
                raise Refused(
                    f"there are two images for {image.platform}: {rival.digest} and {image.digest}",
                    hint="leave one of them out, or take the later one with --replace",
                )
            if rival is not None and rival.digest != image.digest:
                merged = merged.without([rival])
            if rival is None or rival.digest != image.digest:
                merged = replace(merged, images=(*merged.images, image))
        held = {one.digest for one in merged.others}
        new = tuple(one for one in part.others if one.digest not in held)
        merged = replace(merged, others=(*merged.others, *new))
    return merged


def new_index(children: Children, annotations: Mapping[str, str]) -> tuple[bytes, str]:
    """Return the bytes and the type of a new index.

    It is a docker list if all its children are docker's and it has no annotations, else OCI's.
    """
    types = [child.media_type for child in children.listed]
    is_oci = bool(annotations) or any(one.startswith(_OCI_FAMILY) for one in types) or not types
    media_type = mediatype.OCI_INDEX if is_oci else mediatype.DOCKER_LIST
    return build_index(children.listed, annotations, media_type), media_type


def changed_index(index: Index, children: Children) -> tuple[bytes, str]:
    """Return the bytes and the type of an index that lists other children, all else as it was.

    Where the images stood in the order of their platforms, they do so afterwards.
    """
    before = Children.of(index)
    ordered = children.by_platform() if before.is_sorted else children
    if list(ordered.listed) == list(before.listed):
        return index.raw, index.media_type
    fields = members_of(index.raw)
    old = dict(zip(index.manifests, _values(fields), strict=True))
    fields["manifests"] = [old.get(child) or child.to_json() for child in ordered.listed]
    is_oci = any(child.media_type.startswith(_OCI_FAMILY) for child in ordered.images)
    if index.media_type == mediatype.DOCKER_LIST and is_oci:
        put(fields, "mediaType", mediatype.OCI_INDEX, MANIFEST_ORDER)
        return encode(fields), mediatype.OCI_INDEX
    return encode(fields), index.media_type


def matching(children: Children, wanted: Sequence[Platform | str], called: str) -> list[Descriptor]:
    """Return the images that platforms or the texts of digests mean; NotFound for none."""
    found: list[Descriptor] = []
    for one in wanted:
        here = [image for image in children.images if _is_meant(image, one)]
        if not here:
            listed = ", ".join(str(image.platform) for image in children.images) or "none"
            raise NotFound(f"{called} lists no image {one}", hint=f"it lists: {listed}")
        found += here
    return found


def _is_meant(image: Descriptor, wanted: Platform | str) -> bool:
    if isinstance(wanted, str):
        return str(image.digest) == wanted
    return image.platform is not None and image.platform.normalized() == wanted.normalized()


def _place(image: Descriptor) -> str:
    """Return what images are told apart and ordered by."""
    return str(image.platform.normalized()) if image.platform is not None else ""


def _values(fields: dict[str, object]) -> list[object]:
    found = fields["manifests"]
    return found if isinstance(found, list) else []
