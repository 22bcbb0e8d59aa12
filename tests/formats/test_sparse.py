"""Sparse files, as GNU tar writes them and as nobody should."""

import io
import tarfile

import pytest

from ocitool.errors import LimitExceeded, MalformedArchive
from ocitool.formats.tar import SeekableInput, TarReader, sparse_content
from tests.support.sparse import SPARSE_FORMS, holed, sparse_tar

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("form", SPARSE_FORMS)
class TestGnuTar:
    @pytest.mark.parametrize("parts", [0, 1, 3, 40])
    def test_holes_are_zeros(self, form: str, parts: int) -> None:
        content = holed(parts)
        tar = sparse_tar(form, {"f": content, "g": b"next"})
        assert len(tar) < len(content) + 20_000
        assert b"".join(sparse_content(io.BytesIO(tar).read)) == content

    def test_the_members_after_it_are_found(self, form: str) -> None:
        tar = sparse_tar(form, {"f": holed(), "g": b"next"})
        found = {}
        reader = TarReader(SeekableInput(io.BytesIO(tar)))
        for entry in reader:
            found[entry.name] = entry.logical_size, entry.sparse
        assert found == {"f": (len(holed()), True), "g": (4, False)}


def member(data: bytes, **records: str) -> bytes:
    """Return a member with PAX records of a sparse file."""
    info = tarfile.TarInfo("s")
    info.size = len(data)
    info.pax_headers = {f"GNU.sparse.{key}": value for key, value in records.items()}
    return info.tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % 512)


def content_of(data: bytes, **records: str) -> bytes:
    return b"".join(sparse_content(io.BytesIO(member(data, **records)).read))


def in_data(text: bytes, rest: bytes = b"") -> bytes:
    return text + bytes(-len(text) % 512) + rest


NEWEST = {"major": "1", "minor": "0", "realsize": "9"}


def test_small_maps_by_hand() -> None:
    assert content_of(b"abc", size="9", map="2,1,5,2") == b"\0\0a\0\0bc\0\0"
    assert content_of(in_data(b"2\n2\n1\n5\n2\n", b"abc"), **NEWEST) == b"\0\0a\0\0bc\0\0"
    assert content_of(b"", size="3", map="0,0") == bytes(3)


@pytest.mark.parametrize(
    ("data", "records", "wrong"),
    [
        (b"abc", {"size": "9", "map": "2,1,2,2"}, "overlap"),
        (b"abc", {"size": "9", "map": "5,2,2,1"}, "not in order"),
        (b"abc", {"size": "6", "map": "2,1,5,2"}, "behind the end"),
        (b"abc", {"size": "9", "map": "2,1,5,1"}, "not that of its data"),
        (b"abc", {"size": "9"}, "not that of its data"),
        (b"abc", {"size": "9", "map": "2,1,5"}, "without a size"),
        (b"abc", {"size": "9", "map": "2,1,-5,2"}, "not a number"),
        (b"abc", {"size": "9", "map": "2,1,5," + "2" * 30}, "not a number"),
        (in_data(b"x\n"), NEWEST, "not a number"),
        (in_data(b"2\n2\n1\n"), NEWEST, "ends too early|not a number"),
        (b"1" * 1024, NEWEST, "not a number"),
        (b"1\n0\n", NEWEST, "ends too early"),
    ],
)
def test_wrong_maps_are_refused(data: bytes, records: dict[str, str], wrong: str) -> None:
    with pytest.raises(MalformedArchive, match=f"map of the sparse file 's' .*({wrong})"):
        content_of(data, **records)


def test_a_huge_map_is_refused() -> None:
    with pytest.raises(LimitExceeded, match="map"):
        content_of(b"600000\n" + b"1\n0\n" * 600_000, **NEWEST)


def test_old_maps_with_numbers_that_are_none_harm_nobody_who_passes_over_them() -> None:
    header = bytearray(tarfile.TarInfo("s").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[386:410] = b"nonsense....nonsense...."
    header[483:495] = b"00000000100\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (entry,) = TarReader(SeekableInput(io.BytesIO(bytes(header) + bytes(1024))))
    assert (entry.sparse, entry.logical_size) == (True, 64)
    with pytest.raises(MalformedArchive, match="not a number"):
        list(sparse_content(io.BytesIO(bytes(header)).read))
