"""What index.json says: names move, images stay, and nothing that others wrote is lost."""

import json
from pathlib import Path
from typing import Any

import pytest

from ocitool.errors import NotFound, Refused
from ocitool.garbage import remove
from ocitool.images.lookup import find_image
from ocitool.oci import Descriptor
from ocitool.places.layout import Layout, untag
from ocitool.places.layout.index import IndexFile, drop_name, set_root
from tests.support.images import (
    IMAGE_NAME,
    REF_NAME,
    as_json,
    build_artifact,
    build_image,
    build_index,
    index_file,
    named_entry,
    write_layout,
)
from tests.support.layouts import A, B, C, bring, entries, image, names_of, store, tag_as_umoci
from tests.support.stores import checked

IMAGE = image("a")
OTHER = image("b")


def rewrite(path: Path, *, fields: dict[str, Any] | None = None, **extra: Any) -> None:
    """Add fields to an index.json, and `extra` ones to its first entry."""
    document = json.loads((path / "index.json").read_bytes())
    document.update(fields or {})
    document["manifests"][0].update(extra)
    (path / "index.json").write_bytes(as_json(document))


class TestNamesInOurStore:
    def test_both_annotations_hold_the_full_name(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE):
            (entry,) = entries(tmp_path)
        assert entry["annotations"] == {IMAGE_NAME: A, REF_NAME: A}

    def test_an_image_may_have_several_names(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE, A, B)
            bring(layout, IMAGE, C)
            (root,) = layout.roots()
            assert root.names == (A, B, C)
        assert len(entries(tmp_path)) == 3

    def test_a_name_that_moves_leaves_an_image_without_a_name(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE, A)
            bring(layout, OTHER, A)
            assert names_of(layout) == {A: str(OTHER.descriptor.digest)}
            nameless = [root for root in layout.roots() if not root.names]
            assert [root.descriptor.digest for root in nameless] == [IMAGE.descriptor.digest]
            assert nameless[0].label is None
        assert checked(tmp_path).unreferenced == ()

    def test_a_name_that_moves_from_an_image_with_others_leaves_no_entry(
        self, tmp_path: Path
    ) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE, A, B)
            bring(layout, OTHER, A)
            assert names_of(layout) == {
                B: str(IMAGE.descriptor.digest),
                A: str(OTHER.descriptor.digest),
            }
        assert len(entries(tmp_path)) == 2

    def test_an_image_without_a_name_gets_one_entry(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE)
            bring(layout, IMAGE)
        (entry,) = entries(tmp_path)
        assert "annotations" not in entry

    def test_an_image_that_has_a_name_stays_as_it_is_when_it_comes_without(
        self, tmp_path: Path
    ) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            before = (tmp_path / "index.json").read_bytes()
            bring(layout, IMAGE)
        assert (tmp_path / "index.json").read_bytes() == before

    def test_a_nameless_image_that_gets_a_name_has_one_entry(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE)
            bring(layout, IMAGE, A)
        assert [entry["annotations"][IMAGE_NAME] for entry in entries(tmp_path)] == [A]

    def test_the_same_image_under_the_same_name_changes_nothing(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            before = (tmp_path / "index.json").stat()
            assert bring(layout, IMAGE, A).changes == []
        after = (tmp_path / "index.json").stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    def test_changes_tell_which_names_moved_from_where_to_where(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            moved = [(c.name, c.old, c.new) for c in bring(layout, OTHER, A, B).changes]
        digest = OTHER.descriptor.digest
        assert moved == [(A, IMAGE.descriptor.digest, digest), (B, None, digest)]

    def test_platform_and_annotations_of_the_entry_are_kept(self, tmp_path: Path) -> None:
        index = build_index([IMAGE])
        described = Descriptor(
            media_type=index.descriptor.media_type,
            digest=index.descriptor.digest,
            size=index.descriptor.size,
            annotations={"org.example.note": "kept", REF_NAME: "old"},
            platform=IMAGE.descriptor.platform,
        )
        with store(tmp_path) as layout:
            bring(layout, index)
            with_names, _ = set_root(layout.index().entries, described, [A], is_store=True)
        (entry,) = with_names
        assert entry.annotations == {"org.example.note": "kept", IMAGE_NAME: A, REF_NAME: A}
        assert entry.platform == IMAGE.descriptor.platform

    def test_annotations_outlive_the_name(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            rewrite(tmp_path, annotations={"org.example.note": "kept", IMAGE_NAME: A, REF_NAME: A})
            untag(layout, [A])
        assert entries(tmp_path)[0]["annotations"] == {"org.example.note": "kept"}


class TestForeignLayouts:
    def test_a_bare_tag_is_a_label_and_no_name(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {"1.0": IMAGE})
        with Layout.existing(str(tmp_path)) as layout:
            (root,) = layout.roots()
        assert (root.names, root.label) == ((), "1.0")

    def test_a_full_name_wins_over_the_tag_beside_it(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {"example.com/app:2": IMAGE})
        with Layout.existing(str(tmp_path)) as layout:
            (root,) = layout.roots()
            assert (root.names, root.label) == (("example.com/app:2",), None)
            assert layout.resolve("2") == layout.resolve("example.com/app:2") == root

    def test_a_bare_tag_is_written_as_it_was_typed(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {})
        with Layout.create(str(tmp_path)) as layout:
            bring(layout, IMAGE, "1.0")
        assert entries(tmp_path)[0]["annotations"] == {REF_NAME: "1.0"}

    def test_a_bare_tag_moves_like_a_name(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {"1.0": IMAGE})
        with Layout.create(str(tmp_path)) as layout:
            bring(layout, OTHER, "1.0")
            assert layout.resolve("1.0").descriptor.digest == OTHER.descriptor.digest
            assert [root.label for root in layout.roots()] == [None, "1.0"]

    def test_fields_that_are_not_known_here_survive_a_rewrite(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {"1.0": IMAGE})
        fields = {"annotations": {"note": "top"}, "org.example.field": [1, {"a": None}]}
        rewrite(tmp_path, fields=fields, **{"org.example.entry": {"deep": [True]}})
        with Layout.create(str(tmp_path)) as layout:
            bring(layout, OTHER, "2.0")
        document = json.loads((tmp_path / "index.json").read_bytes())
        assert {key: document[key] for key in fields} == fields
        assert document["manifests"][0]["org.example.entry"] == {"deep": [True]}

    def test_entries_that_are_no_images_survive_a_rewrite(self, tmp_path: Path) -> None:
        artifact = build_artifact(IMAGE.descriptor)
        write_layout(tmp_path, {"1.0": IMAGE}, [artifact])
        before = entries(tmp_path)
        with Layout.create(str(tmp_path)) as layout:
            bring(layout, OTHER, "2.0")
        assert entries(tmp_path)[:2] == before

    def test_text_beyond_ascii_survives_a_rewrite(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {"1.0": IMAGE})
        rewrite(tmp_path, fields={"annotations": {"note": "größer ☃"}})
        with Layout.create(str(tmp_path)) as layout:
            bring(layout, OTHER, "2.0")
        assert json.loads((tmp_path / "index.json").read_bytes())["annotations"] == {
            "note": "größer ☃"
        }

    def test_an_index_that_docker_25_wrote_empty_can_be_written(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {})
        (tmp_path / "index.json").write_bytes(b'{"schemaVersion":2,"manifests":null}')
        with Layout.create(str(tmp_path)) as layout:
            bring(layout, IMAGE, "1.0")
        assert len(entries(tmp_path)) == 1


class TestNamesOfOtherTools:
    @pytest.mark.parametrize(
        ("tag", "shown"), [("v9", "v9"), ("quay.io/b:2", "quay.io/b:2"), ("b:1", B), ("1", None)]
    )
    def test_what_another_tool_wrote_beside_a_full_name_is_listed(
        self, tmp_path: Path, tag: str, shown: str | None
    ) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            tag_as_umoci(tmp_path, A, tag)
            (root,) = layout.roots()
        assert (root.names, root.label) == ((A,), None)
        assert root.other_names == ((shown,) if shown else ())

    def test_two_tags_without_a_full_name_are_both_listed(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {"1.0": IMAGE})
        tag_as_umoci(tmp_path, "1.0", "v9")
        with Layout.existing(str(tmp_path)) as layout:
            (root,) = layout.roots()
            assert (root.names, root.label, root.other_names) == ((), "1.0", ("v9",))
            assert find_image(layout, "v9").root == root

    def test_a_full_one_finds_the_image_in_a_store(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            tag_as_umoci(tmp_path, A, "quay.io/b:2")
            found = find_image(layout, "quay.io/b:2")
        assert (found.root.descriptor.digest, found.name) == (
            IMAGE.descriptor.digest,
            "quay.io/b:2",
        )

    def test_it_stays_when_the_full_name_moves(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            tag_as_umoci(tmp_path, A, "v9")
            bring(layout, OTHER, A)
            labels = {root.descriptor.digest: root.label for root in layout.roots()}
        assert labels == {IMAGE.descriptor.digest: "v9", OTHER.descriptor.digest: None}
        assert len(entries(tmp_path)) == 2

    def test_the_full_name_stays_when_it_is_dropped(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            tag_as_umoci(tmp_path, A, "v9")
            untag(layout, ["v9"])
            (root,) = layout.roots()
        assert (root.names, root.other_names) == ((A,), ())

    def test_rm_by_digest_takes_them_all(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            tag_as_umoci(tmp_path, A, "v9")
            remove(layout, [find_image(layout, str(IMAGE.descriptor.digest))], force=True)
            assert layout.roots() == ()


class TestResolving:
    def test_by_name_by_digest_and_not_by_part_of_them(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            assert layout.resolve(A) == layout.resolve(str(IMAGE.descriptor.digest))
            for part in ("a:1", "a", IMAGE.descriptor.digest.hex, A + "0"):
                with pytest.raises(NotFound, match="there is no image"):
                    layout.resolve(part)

    def test_a_name_of_two_images_is_refused_and_both_are_listed(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {"1.0": IMAGE, "2.0": OTHER})
        pair = [named_entry(built.descriptor, "1.0") for built in (IMAGE, OTHER)]
        (tmp_path / "index.json").write_bytes(index_file(pair))
        with Layout.existing(str(tmp_path)) as layout:
            with pytest.raises(Refused, match="names more than one image") as caught:
                layout.resolve("1.0")
            assert str(IMAGE.descriptor.digest) in caught.value.message
            assert str(OTHER.descriptor.digest) in caught.value.message
            assert caught.value.hint
            assert layout.resolve(str(OTHER.descriptor.digest)).label == "1.0"

    def test_one_short_tag_of_two_repositories_is_no_conflict_of_full_names(
        self, tmp_path: Path
    ) -> None:
        write_layout(tmp_path, {"example.com/a:1": IMAGE, "example.com/b:1": OTHER})
        with Layout.existing(str(tmp_path)) as layout:
            assert layout.resolve("example.com/b:1").descriptor.digest == OTHER.descriptor.digest

    def test_an_entry_that_is_there_twice_is_one_image(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {"1.0": IMAGE})
        twice = [named_entry(IMAGE.descriptor, "1.0")] * 2
        (tmp_path / "index.json").write_bytes(index_file(twice))
        with Layout.existing(str(tmp_path)) as layout:
            assert len(layout.roots()) == 1
            assert layout.resolve("1.0").label == "1.0"


class TestUntagging:
    def test_the_last_name_leaves_an_image_without_a_name(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            changes = untag(layout, [A])
            (root,) = layout.roots()
        assert root.names == ()
        assert [(c.name, c.old, c.new) for c in changes] == [(A, IMAGE.descriptor.digest, None)]

    def test_one_of_several_names_leaves_the_others(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE, A, B)
            untag(layout, [A])
            assert list(names_of(layout)) == [B]
            assert len(layout.roots()) == 1

    def test_all_names_at_once_leave_one_entry(self, tmp_path: Path) -> None:
        with store(tmp_path) as layout:
            bring(layout, IMAGE, A, B)
            untag(layout, [A, B])
        assert len(entries(tmp_path)) == 1

    def test_nothing_changes_when_one_of_the_names_is_not_there(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            before = (tmp_path / "index.json").read_bytes()
            with pytest.raises(NotFound, match="b:1"):
                untag(layout, [A, B])
        assert (tmp_path / "index.json").read_bytes() == before

    def test_blobs_stay(self, tmp_path: Path) -> None:
        with store(tmp_path, a=IMAGE) as layout:
            untag(layout, [A])
            assert all(layout.blob_size(digest) is not None for digest in IMAGE.blobs)

    def test_an_image_whose_entry_is_there_twice_keeps_an_entry(self) -> None:
        entry = Descriptor.from_json(named_entry(IMAGE.descriptor, "1.0"), "entry")
        after, changes = drop_name([entry, entry], "1.0")
        assert [kept.digest for kept in after] == [IMAGE.descriptor.digest]
        assert len(changes) == 1


def _parsed(index: IndexFile) -> IndexFile:
    return IndexFile.parse(index.encode(), what="x", limit=10_000, is_store=True)


class TestEncoding:
    def test_an_index_reads_back_the_same(self) -> None:
        index = IndexFile(entries=(build_image().descriptor,), fields={"annotations": {"a": "b"}})
        assert _parsed(index).entries == index.entries

    def test_an_index_is_compact_and_begins_with_its_version(self) -> None:
        assert IndexFile().encode() == (
            b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json",'
            b'"manifests":[]}'
        )
