"""One name on several entries of an index.json, and names that are not true."""

from collections.abc import Mapping

import pytest

from ocitool.errors import Refused
from ocitool.image.content import Root
from ocitool.image.entries import Entries, arrange, entry_root
from ocitool.oci import Descriptor, Digest, Index, Platform, parse_manifest
from ocitool.oci.annotations import (
    ATTESTATION,
    IMAGE_NAME,
    KIND,
    REF_NAME,
    REFERENCE_DIGEST,
    REFERENCE_TYPE,
    SUBJECT,
)
from ocitool.oci.mediatype import OCI_MANIFEST

A = "docker.io/library/a:1"
B = "docker.io/library/b:1"
AMD64 = Platform(os="linux", architecture="amd64")
COSIGN = "dev.cosignproject.cosign"
ARM64 = Platform(os="linux", architecture="arm64")


def entry(
    content: str,
    name: str | None = A,
    platform: Platform | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Root:
    """Return an entry whose `content` stands for its manifest."""
    found = dict(annotations or {}) | ({IMAGE_NAME: name} if name is not None else {})
    return entry_root(
        Descriptor(
            media_type=OCI_MANIFEST,
            digest=digest(content),
            size=len(content),
            platform=platform,
            annotations=found,
        )
    )


def digest(content: str) -> Digest:
    return Digest.of(content.encode())


def entries(*roots: Root, join_nameless: bool = True) -> Entries:
    return arrange(roots, join_nameless=join_nameless)


def only(found: Entries) -> Root:
    (root,) = found.roots
    return root


def children(found: Entries, root: Root) -> list[Digest]:
    index = parse_manifest(found.indexes[root.descriptor.digest], None)
    assert isinstance(index, Index)
    return [child.digest for child in index.manifests]


class TestPlatforms:
    def test_entries_for_different_platforms_are_one_image(self) -> None:
        found = entries(entry("x", platform=AMD64), entry("y", platform=ARM64))
        root = only(found)
        assert root.names == (A,)
        assert children(found, root) == [digest("x"), digest("y")]

    def test_the_new_digest_is_told(self) -> None:
        found = entries(entry("x", platform=AMD64), entry("y", platform=ARM64))
        made = only(found).descriptor.digest
        assert str(made) in found.remarks[made][0]

    def test_each_of_them_is_found_by_its_digest_under_its_name(self) -> None:
        found = entries(entry("x", platform=AMD64), entry("y", platform=ARM64))
        assert found.resolve(str(digest("y")), "x.tar") == entry("y", platform=ARM64)

    def test_the_same_entries_give_the_same_index(self) -> None:
        pair = (entry("x", platform=AMD64), entry("y", platform=ARM64))
        assert entries(*pair) == entries(*pair)

    def test_a_name_of_its_own_stays(self) -> None:
        found = entries(entry("x", platform=AMD64), entry("x", B), entry("y", platform=ARM64))
        assert [root.names for root in found.roots] == [(A,), (B,)]

    def test_two_names_of_the_same_entries_are_names_of_one_index(self) -> None:
        pairs = [entry(text, name, platform) for name in (A, B) for text, platform in PAIR]
        assert only(entries(*pairs)).names == (A, B)

    def test_bare_tags_are_joined_too(self) -> None:
        pair = [entry(text, None, platform, {REF_NAME: "1"}) for text, platform in PAIR]
        assert only(entries(*pair)).label == "1"

    def test_nameless_entries_are_joined_where_they_are_all_there_is(self) -> None:
        pair = [entry(text, None, platform) for text, platform in PAIR]
        assert len(entries(*pair).roots) == 1
        assert len(entries(*pair, join_nameless=False).roots) == 2
        assert len(entries(*pair, entry("z")).roots) == 3

    @pytest.mark.parametrize("other", [None, AMD64, Platform(os="unknown", architecture="unknown")])
    def test_the_same_or_no_platform_is_ambiguous(self, other: Platform | None) -> None:
        found = entries(entry("x", platform=AMD64), entry("y", platform=other))
        with pytest.raises(Refused, match="more than one image") as raised:
            found.resolve(A, "x.tar")
        assert str(digest("x")) in raised.value.message
        assert raised.value.hint


PAIR = (("x", AMD64), ("y", ARM64))


class TestAttached:
    @pytest.mark.parametrize("kind", ["sigs", "atts", "sboms"])
    def test_a_kind_of_cosign_is_attached_to_the_image_of_its_name(self, kind: str) -> None:
        found = entries(entry("x"), entry("y", annotations={KIND: f"{COSIGN}/{kind}"}))
        image, attached = found.roots
        assert image.names == (A,)
        assert (attached.names, attached.label) == ((), None)
        assert attached.descriptor.annotations[SUBJECT] == str(digest("x"))

    def test_without_names_it_is_attached_to_the_image_beside_it(self) -> None:
        index = entry("x", None, annotations={KIND: f"{COSIGN}/imageIndex"})
        found = entries(index, entry("y", None, annotations={KIND: f"{COSIGN}/sigs"}))
        assert found.roots[1].descriptor.annotations[SUBJECT] == str(digest("x"))

    def test_an_attestation_is_attached_to_the_image_that_it_names(self) -> None:
        marks = {
            REFERENCE_TYPE: ATTESTATION,
            REFERENCE_DIGEST: str(digest("y")),
        }
        found = entries(*(entry(t, platform=p) for t, p in PAIR), entry("z", annotations=marks))
        attached = found.roots[1]
        assert attached.names == ()
        assert attached.descriptor.annotations[SUBJECT] == str(digest("y"))

    def test_a_subject_that_is_not_a_digest_is_not_believed(self) -> None:
        marks = {
            REFERENCE_TYPE: ATTESTATION,
            REFERENCE_DIGEST: "../x",
        }
        found = entries(entry("x"), entry("z", annotations=marks))
        assert found.roots[1].descriptor.annotations[SUBJECT] == str(digest("x"))

    def test_what_has_a_name_of_its_own_keeps_it(self) -> None:
        found = entries(entry("x"), entry("y", B, annotations={KIND: f"{COSIGN}/sigs"}))
        assert found.roots[1].names == (B,)


class TestNames:
    def test_the_digest_of_something_else_is_not_a_name(self) -> None:
        found = entries(entry("x", f"docker.io/library/a@{digest('y')}"))
        root = only(found)
        assert (root.names, root.label) == ((), None)
        assert "another digest" in found.remarks[digest("x")][0]

    def test_its_own_digest_is(self) -> None:
        name = f"docker.io/library/a@{digest('x')}"
        assert only(entries(entry("x", name))).names == (name,)

    def test_a_tag_is_kept_whatever_digest_follows(self) -> None:
        found = entries(entry("x", f"a:1@{digest('y')}"))
        assert only(found).names == (A,)
        assert found.remarks == {}

    def test_an_upper_case_name_is_left_out_and_called_by_it(self) -> None:
        found = entries(entry("x", "Foo/Bar:1"))
        root = only(found)
        assert (root.names, root.label) == ((), "Foo/Bar:1")
        assert "'Foo/Bar:1'" in found.remarks[digest("x")][0]
