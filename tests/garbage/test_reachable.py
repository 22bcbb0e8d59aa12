"""What is reachable from the roots of a layout, and what is said about what is not there."""

from pathlib import Path

import pytest

from ocitool.errors import IntegrityError, NotFound
from ocitool.garbage.reachable import (
    Reachable,
    StoredDocuments,
    mark_arrived,
    mark_reachable,
    mark_readable,
    refuse_missing_documents,
)
from ocitool.garbage.references import DescriptorRef
from ocitool.oci import Descriptor
from ocitool.places.layout import Layout
from tests.support.images import Built, blob_path, build_index
from tests.support.layouts import image, store

IMAGE = image("a")
ARM = image("arm", platform="linux/arm64")
INDEX = build_index([IMAGE, ARM])


def ref(descriptor: Descriptor) -> DescriptorRef:
    return DescriptorRef.to(descriptor, may_be_absent=False)


def documents_of(layout: Layout) -> StoredDocuments:
    return StoredDocuments(layout, layout.listing().blobs)


def texts(*built: Built) -> set[str]:
    return {str(digest) for one in built for digest in one.blobs}


def test_marking_goes_on_where_an_earlier_one_ended(tmp_path: Path) -> None:
    with store(tmp_path, a=INDEX) as layout:
        found, documents = Reachable(), documents_of(layout)
        mark_reachable(documents, [ref(IMAGE.descriptor)], found)
        assert found.digests == texts(IMAGE)
        (tmp_path / blob_path(IMAGE.descriptor)).unlink()
        mark_reachable(documents, [ref(INDEX.descriptor)], found)
        assert found.digests == texts(INDEX)


def test_a_missing_layer_stops_what_deletes_by_elimination_and_not_what_deletes_by_name(
    tmp_path: Path,
) -> None:
    with store(tmp_path, a=IMAGE) as layout:
        (tmp_path / blob_path(IMAGE.layers[0])).unlink()
        found, documents = Reachable(), documents_of(layout)
        mark_reachable(documents, [ref(IMAGE.descriptor)], found, refuse_missing_documents)
        assert found.digests == texts(IMAGE)
        with pytest.raises(IntegrityError, match="missing, and an image needs it"):
            mark_reachable(documents, [ref(IMAGE.descriptor)], Reachable())


def test_a_missing_manifest_stops_both(tmp_path: Path) -> None:
    with store(tmp_path, a=IMAGE) as layout:
        (tmp_path / blob_path(IMAGE.descriptor)).unlink()
        documents, roots = documents_of(layout), [ref(IMAGE.descriptor)]
        with pytest.raises(NotFound, match="garbage cannot be told from it"):
            mark_reachable(documents, roots, Reachable(), refuse_missing_documents)
        found = Reachable()
        mark_readable(documents, roots, found)
        assert found.digests == {str(IMAGE.descriptor.digest)}


def test_a_platform_that_arrives_after_the_marking_is_marked_too(tmp_path: Path) -> None:
    manifest = tmp_path / blob_path(ARM.descriptor)
    with store(tmp_path, a=INDEX) as layout:
        data = manifest.read_bytes()
        manifest.unlink()
        found = Reachable()
        mark_reachable(documents_of(layout), [ref(INDEX.descriptor)], found)
        assert str(ARM.layers[0].digest) not in found.digests
        manifest.write_bytes(data)
        mark_arrived(layout, found)
        assert found.digests == texts(INDEX)
