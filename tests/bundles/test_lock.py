"""The lock as bytes: what imgpkg's strict reader takes, and the same bytes for the same images."""

import yaml

from ocitool.bundles.lock import encode_lock
from ocitool.bundles.names import names_in
from ocitool.oci import Reference

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32
IMAGES = [
    Reference.parse(f"b.example/b:1@{DIGEST}"),
    Reference.parse(f"a.example/a:2@{OTHER}"),
    Reference.parse(f"a.example/a:1@{OTHER}"),
    Reference.parse(f"a.example/a@{DIGEST}"),
    Reference.parse(f"[::1]:5000/x:1@{DIGEST}"),
]


def test_it_is_an_images_lock_with_nothing_that_imgpkg_refuses() -> None:
    # imgpkg unmarshals strictly into apiVersion, kind and images[].{image,annotations}.
    assert yaml.safe_load(encode_lock(IMAGES)) == {
        "apiVersion": "imgpkg.carvel.dev/v1alpha1",
        "kind": "ImagesLock",
        "images": [
            {
                "image": f"[::1]:5000/x@{DIGEST}",
                "annotations": {"ocitool/name": "[::1]:5000/x:1"},
            },
            {"image": f"a.example/a@{DIGEST}"},
            {"image": f"a.example/a@{OTHER}", "annotations": {"ocitool/name": "a.example/a:1"}},
            {"image": f"a.example/a@{OTHER}", "annotations": {"ocitool/name": "a.example/a:2"}},
            {"image": f"b.example/b@{DIGEST}", "annotations": {"ocitool/name": "b.example/b:1"}},
        ],
    }


def test_the_same_images_give_the_same_bytes() -> None:
    assert encode_lock(IMAGES) == encode_lock([*IMAGES[::-1], IMAGES[0]])


def test_a5_a_lock_gives_back_tags_and_digests() -> None:
    names = names_in(encode_lock(IMAGES), "images.lock.yml").names
    assert set(names) == {str(image) for image in IMAGES}
