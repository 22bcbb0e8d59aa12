"""The cache of tables: what is kept comes back the same, and damage is never believed."""

import multiprocessing
import os
import random
import stat
import time
import zlib
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict

from ocitool.errors import NotFound
from ocitool.formats.compression import Codec
from ocitool.image.content import Blob, Stamped
from ocitool.images.opening import open_source
from ocitool.inside.hashes import Hashes
from ocitool.inside.table import FILE, LayerTable
from ocitool.inside.toc_cache import TocCache
from ocitool.inside.toc_format import pack, unpack
from ocitool.oci import Descriptor, Digest
from tests.support.examples import part_of
from tests.support.faulty import flips, truncations
from tests.support.small_images import Form, file, small_image, write_image

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


class NoPlace:
    """A source whose content has no file."""

    def open(self, descriptor: Descriptor) -> Blob:
        raise NotFound("there is none")


class Place(NoPlace):
    """A source whose content has a file with a stamp."""

    def __init__(self, stamp: str | None = "1:2:3") -> None:
        self.now = stamp

    def stamp(self, descriptor: Descriptor) -> str | None:
        return self.now


NOWHERE = NoPlace()


def layer(number: int = 0) -> Descriptor:
    return Descriptor(media_type="x", digest=Digest.of(f"layer {number}".encode()), size=7)


def table(rows: int = 50, *, seed: int = 0, digests: bool = True) -> LayerTable:
    """Return a table of files that look like those of a package, with a bit of everything."""
    chance = random.Random(seed)
    made = LayerTable(codec=Codec.GZIP, tar_size=rows * 4096, diff_id="sha256:ab", verified=True)
    made.is_copyable = False
    made.folders = ["", *(f"usr/lib/{number}" for number in range(1 + rows // 20))]
    end = 0
    for row in range(rows):
        made.names.append(f"module_{row}.py")
        made.parents.append(1 + row // 20)
        made.kinds.append(FILE)
        made.sizes.append(size := chance.randrange(50_000))
        made.modes.append(0o4755 if row % 7 == 0 else 0o644)
        made.uids.append(row % 3 * (1 << 21))
        made.gids.append(-1)
        made.mtimes.append(chance.uniform(-1e6, 2e9))
        made.headers.append(end)
        made.datas.append(end + (1536 if row % 5 == 0 else 512))
        end = made.datas[-1] + size + (-size & 511)
    made.stored, made.sparse = {3: 4096}, {3}
    made.links = {5: "../target", 6: "\udcff\n"}
    made.xattrs = {7: {"security.capability": b"\1\0\xff", "user.\udcfe": b""}}
    made.devices = {8: (1, 3)}
    made.exact_mtimes = {9: "1700000000.123456789"}
    made.digests = bytearray(chance.randbytes(32 * rows)) if digests else None
    return made


def checked(made: LayerTable) -> LayerTable:
    """Return a table with a checksum for every file whose content can be read."""
    made.checks = array("q", (zlib.crc32(name.encode()) for name in made.names))
    for row in made.sparse:
        made.checks[row] = -1
    return made


def same(one: LayerTable | None, other: LayerTable) -> bool:
    return one is not None and asdict(one) == asdict(other)


@pytest.fixture
def cache(tmp_path: Path) -> TocCache:
    return TocCache(str(tmp_path / "cache" / "toc"))


def only_file(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "cache" / "toc").iterdir()
    return found


class TestWhatIsKept:
    def test_a_table_comes_back_the_same(self, cache: TocCache) -> None:
        cache.put(NOWHERE, layer(), table())
        assert same(cache.get(NOWHERE, layer(), Hashes.ALL), table())

    def test_no_column_of_the_table_above_has_its_default(self) -> None:
        # So that one that is added and not kept makes the test above fail.
        plain = asdict(LayerTable(codec=Codec.NONE))
        # Checksums are kept only in place of digests.
        kept = {**asdict(table()), "checks": checked(table()).checks}
        assert [name for name, value in kept.items() if value == plain[name]] == []

    def test_checksums_come_back_where_there_are_no_digests(self, cache: TocCache) -> None:
        expected = checked(table(digests=False))
        cache.put(NOWHERE, layer(), expected)
        assert same(cache.get(NOWHERE, layer(), Hashes.CHECKS), expected)
        assert cache.get(NOWHERE, layer(), Hashes.DOUBTFUL) is None
        assert same(cache.get(NOWHERE, layer(), Hashes.NONE), table(digests=False))

    def test_digests_serve_who_wants_checksums(self, cache: TocCache) -> None:
        cache.put(NOWHERE, layer(), checked(table()))
        assert same(cache.get(NOWHERE, layer(), Hashes.CHECKS), table())

    def test_some_checksums_are_no_use_for_a_compressed_layer(self, cache: TocCache) -> None:
        some = table(digests=False)
        some.set_check(1, 5)
        cache.put(NOWHERE, layer(), some)
        assert cache.get(NOWHERE, layer(), Hashes.CHECKS) is None

    def test_digests_are_left_out_unless_they_are_wanted(self, cache: TocCache) -> None:
        cache.put(NOWHERE, layer(), table())
        found = cache.get(NOWHERE, layer(), Hashes.NONE)
        assert same(found, table(digests=False))

    def test_a_table_without_digests_is_none_for_who_wants_them(self, cache: TocCache) -> None:
        cache.put(NOWHERE, layer(), table(digests=False))
        assert cache.get(NOWHERE, layer(), Hashes.ALL) is None
        assert same(cache.get(NOWHERE, layer(), Hashes.NONE), table(digests=False))

    def test_a_table_with_digests_takes_the_place_of_one_without(self, cache: TocCache) -> None:
        cache.put(NOWHERE, layer(), table(digests=False))
        cache.put(NOWHERE, layer(), table())
        assert same(cache.get(NOWHERE, layer(), Hashes.ALL), table())

    @pytest.mark.parametrize("rows", [0, 1])
    def test_small_tables(self, cache: TocCache, rows: int) -> None:
        small = table(rows, digests=False)
        small.stored, small.sparse, small.links = {}, set(), {}
        small.xattrs, small.devices, small.exact_mtimes = {}, {}, {}
        cache.put(NOWHERE, layer(), small)
        assert same(cache.get(NOWHERE, layer(), Hashes.NONE), small)

    def test_a_file_is_private_and_nothing_else_is_left(
        self, cache: TocCache, tmp_path: Path
    ) -> None:
        cache.put(NOWHERE, layer(), table())
        assert only_file(tmp_path).name == f"sha256-{layer().digest.hex}.v1"
        assert stat.S_IMODE(only_file(tmp_path).stat().st_mode) == 0o600

    def test_the_folder_is_private_unless_the_one_around_it_is_shared(
        self, cache: TocCache, tmp_path: Path
    ) -> None:
        before = os.umask(0)
        try:
            cache.put(NOWHERE, layer(), table())
            (tmp_path / "shared").mkdir(mode=0o2770)
            TocCache(str(tmp_path / "shared" / "a" / "b")).put(NOWHERE, layer(), table())
        finally:
            os.umask(before)
        for path, mode in (("cache/toc", 0o700), ("cache", 0o700), ("shared/a/b", 0o2770)):
            found = (tmp_path / path).stat()
            assert stat.S_IMODE(found.st_mode) & 0o2770 == mode, path
        (shared,) = (tmp_path / "shared" / "a" / "b").iterdir()
        assert stat.S_IMODE(shared.stat().st_mode) == 0o660

    def test_an_entry_takes_few_bytes(self) -> None:
        many = table(20_000, digests=False)
        packed = pack(many, "k")
        assert packed is not None
        # 8 of them are mtimes at random, which no real tree has.
        assert len(packed) / 20_000 < 16

    def test_a_name_with_a_nul_is_not_kept(self) -> None:
        odd = table()
        odd.names[0] = "a\0b"
        assert pack(odd, "k") is None


def unverified(*, hashed: int = 0) -> LayerTable:
    """Return the table of a plain layer that was read by headers; some files were hashed then."""
    made = table(digests=False)
    made.codec, made.verified = Codec.NONE, False
    for row in range(hashed):
        made.set_digest(row, bytes([row + 1]) * 32)
    return made


class TestWhatWasNotVerified:
    def test_it_is_found_again_for_its_own_file_alone(self, cache: TocCache) -> None:
        place = Place("1")
        assert cache.get(place, layer(), Hashes.NONE) is None
        cache.put(place, layer(), unverified())
        assert same(cache.get(place, layer(), Hashes.NONE), unverified())
        assert cache.get(Place("2"), layer(), Hashes.NONE) is None
        assert cache.get(NOWHERE, layer(), Hashes.NONE) is None
        assert cache.get(place, layer(1), Hashes.NONE) is None

    def test_it_is_not_kept_for_a_file_that_changed_while_it_was_read(
        self, cache: TocCache, tmp_path: Path
    ) -> None:
        place = Place("1")
        cache.get(place, layer(), Hashes.NONE)
        place.now = "2"
        cache.put(place, layer(), unverified())
        assert not (tmp_path / "cache").exists()

    @pytest.mark.parametrize("place", [NOWHERE, Place(None), Place("1")])
    def test_it_is_not_kept_for_what_has_no_stamp_or_was_not_asked_for(
        self, place: NoPlace, cache: TocCache, tmp_path: Path
    ) -> None:
        if not isinstance(place, Place) or place.now is None:
            cache.get(place, layer(), Hashes.NONE)
        cache.put(place, layer(), unverified())
        assert not (tmp_path / "cache").exists()

    def test_what_was_hashed_of_it_so_far_is_kept(self, cache: TocCache) -> None:
        place = Place()
        cache.get(place, layer(), Hashes.DOUBTFUL)
        cache.put(place, layer(), unverified(hashed=7))
        assert same(cache.get(place, layer(), Hashes.DOUBTFUL), unverified(hashed=7))
        assert cache.get(place, layer(), Hashes.ALL) is None
        cache.put(place, layer(), unverified(hashed=50))
        assert cache.get(place, layer(), Hashes.ALL) is not None

    def test_a_compressed_layer_is_rather_read_again_than_hashed_in_part(
        self, cache: TocCache
    ) -> None:
        cache.put(NOWHERE, layer(), table(digests=False))
        assert cache.get(NOWHERE, layer(), Hashes.DOUBTFUL) is None

    @pytest.mark.parametrize("form", ["layout", "oci-archive", "docker-save"])
    def test_a_file_is_told_from_what_takes_its_place(
        self, form: Form, cache: TocCache, tmp_path: Path
    ) -> None:
        image = small_image([file("a", 10)])
        path = write_image(tmp_path, image, form)
        (plain,) = image.layers
        held = path / "blobs" / "sha256" / plain.digest.hex if form == "layout" else path

        def found() -> bool:
            with open_source(str(path)) as opened:
                if cache.get(opened.source, plain, Hashes.NONE) is not None:
                    return True
                cache.put(opened.source, plain, unverified())
                return False

        time.sleep(0.1)  # A file that changed just now may change again within the same tick.
        assert [found(), found()] == [False, True]
        before = held.stat()
        held.write_bytes(held.read_bytes())
        os.utime(held, ns=(before.st_atime_ns, before.st_mtime_ns))
        time.sleep(0.1)
        assert [found(), found()] == [False, True]

    def test_what_came_through_a_pipe_has_no_stamp(self, cache: TocCache, tmp_path: Path) -> None:
        image = small_image([file("a", 10)])
        path = write_image(tmp_path, image, "oci-archive")
        descriptor = os.open(path, os.O_RDONLY)
        reading, writing = os.pipe()
        os.write(writing, os.read(descriptor, 1 << 16))
        os.close(writing)
        os.close(descriptor)
        with open_source("-", stdin=reading) as opened:
            assert isinstance(opened.source, Stamped)
            time.sleep(0.1)
            assert opened.source.stamp(image.layers[0]) is None
        os.close(reading)


TEXTS = st.binary(min_size=1, max_size=9).map(
    lambda raw: raw.replace(b"\0", b"?").decode("utf-8", "surrogateescape")
)
LONGS = st.integers(-(1 << 63), (1 << 63) - 1)


@st.composite
def tables(draw: st.DrawFn) -> LayerTable:
    """Any table that a tar can give."""
    made = LayerTable(codec=draw(st.sampled_from(list(Codec))), verified=True)
    made.folders += draw(st.lists(TEXTS, max_size=3))
    rows = draw(st.integers(0, 5))
    for _ in range(rows):
        made.names.append(draw(TEXTS | st.just("")))
        made.parents.append(draw(st.integers(0, len(made.folders) - 1)))
        made.kinds.append(draw(st.integers(0, 9)))
        made.modes.append(draw(st.integers(0, 0o7777)))
        made.mtimes.append(draw(st.floats(allow_nan=False)))
        made.headers.append(draw(st.integers(0, 1 << 62)))
        made.datas.append(made.headers[-1] + draw(st.integers(512, 1 << 22)))
        for column in (made.sizes, made.uids, made.gids):
            column.append(draw(LONGS))
    row = st.integers(0, max(rows - 1, 0))
    if rows:
        made.links = draw(st.dictionaries(row, TEXTS))
        made.xattrs = draw(st.dictionaries(row, st.dictionaries(TEXTS, st.binary())))
        made.devices = draw(st.dictionaries(row, st.tuples(LONGS, LONGS)))
        made.stored = draw(st.dictionaries(row, LONGS))
        made.sparse = draw(st.sets(row))
    made.digests = draw(st.none() | st.just(bytearray(b"d" * 32 * rows))) or None
    return made


class TestTheFormat:
    @settings(max_examples=part_of(200), deadline=None)
    @given(tables())
    def test_any_table_comes_back(self, made: LayerTable) -> None:
        packed = pack(made, "key")
        assert packed is not None
        assert same(unpack(packed, "key", Hashes.DOUBTFUL if made.digests else Hashes.NONE), made)

    @settings(max_examples=part_of(200), deadline=None)
    @given(st.binary(max_size=300))
    def test_any_other_bytes_are_no_table(self, data: bytes) -> None:
        assert unpack(data, "key", Hashes.NONE) is None

    def test_another_version_is_not_there(self) -> None:
        packed = pack(table(), "key")
        assert packed is not None
        assert unpack(packed[:7] + b"\2" + packed[8:], "key", Hashes.NONE) is None

    def test_another_layers_table_is_not_there(self) -> None:
        packed = pack(table(), "key")
        assert packed is not None
        assert unpack(packed, "other", Hashes.NONE) is None

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda made: made.kinds.append(0),
            lambda made: made.kinds.__setitem__(0, 10),
            lambda made: made.parents.__setitem__(0, 99),
            lambda made: made.names.append("more"),
            lambda made: made.sizes.pop(),
            lambda made: made.folders.__setitem__(0, "a"),
            lambda made: made.links.__setitem__(50, "a"),
            lambda made: made.sparse.add(-1),
            lambda made: made.digests.extend(bytes(32)),
        ],
    )
    def test_columns_that_disagree_are_no_table(self, spoil: object) -> None:
        # Whoever can write the file can write its checksum.
        made = table()
        spoil(made)  # type: ignore[operator]
        packed = pack(made, "key")
        assert packed is not None
        assert unpack(packed, "key", Hashes.ALL) is None


class TestDamage:
    @pytest.mark.parametrize("hashes", [Hashes.NONE, Hashes.ALL])
    def test_a_cut_or_flipped_file_is_not_there(self, hashes: Hashes) -> None:
        packed = pack(table(), "key")
        assert packed is not None
        spoilt = [*truncations(packed, percent=2), *flips(packed, percent=2)]
        assert len(spoilt) > 90
        for data in spoilt:
            assert unpack(data, "key", hashes) is None

    def test_more_bytes_than_it_had_are_not_there(self) -> None:
        packed = pack(table(), "key")
        assert packed is not None
        assert unpack(packed + b"\0", "key", Hashes.NONE) is None

    def test_what_is_not_there_is_written_again(self, cache: TocCache, tmp_path: Path) -> None:
        cache.put(NOWHERE, layer(), table())
        only_file(tmp_path).write_bytes(b"junk")
        assert cache.get(NOWHERE, layer(), Hashes.NONE) is None
        cache.put(NOWHERE, layer(), table())
        assert same(cache.get(NOWHERE, layer(), Hashes.ALL), table())

    def test_another_layers_file_is_not_there(self, cache: TocCache, tmp_path: Path) -> None:
        cache.put(NOWHERE, layer(1), table())
        only_file(tmp_path).rename(tmp_path / f"cache/toc/sha256-{layer(2).digest.hex}.v1")
        assert cache.get(NOWHERE, layer(2), Hashes.NONE) is None

    @pytest.mark.parametrize("kind", ["folder", "fifo", "link", "empty"])
    def test_what_is_no_file_of_ours_is_not_there(
        self, kind: str, cache: TocCache, tmp_path: Path
    ) -> None:
        cache.put(NOWHERE, layer(), table())
        path = only_file(tmp_path)
        path.rename(tmp_path / "elsewhere")
        make: dict[str, Callable[[], object]] = {
            "folder": path.mkdir,
            "fifo": lambda: os.mkfifo(path),
            "link": lambda: path.symlink_to(tmp_path / "elsewhere"),
            "empty": path.touch,
        }
        make[kind]()
        assert cache.get(NOWHERE, layer(), Hashes.NONE) is None
        cache.put(NOWHERE, layer(), table())
        assert (cache.get(NOWHERE, layer(), Hashes.NONE) is None) == (kind == "folder")

    def test_a_folder_that_cannot_be_made_is_no_failure(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        cache = TocCache(str(tmp_path / "file" / "toc"))
        cache.put(NOWHERE, layer(), table())
        assert cache.get(NOWHERE, layer(), Hashes.NONE) is None

    @as_root
    def test_what_another_user_wrote_is_not_believed_unless_the_folder_is_shared(
        self, cache: TocCache, tmp_path: Path
    ) -> None:
        cache.put(NOWHERE, layer(), table())
        os.chown(only_file(tmp_path), 12_345, 12_345)
        assert cache.get(NOWHERE, layer(), Hashes.NONE) is None
        (tmp_path / "cache" / "toc").chmod(0o2775)
        assert cache.get(NOWHERE, layer(), Hashes.NONE) is not None
        (tmp_path / "cache" / "toc").chmod(0o777)
        assert cache.get(NOWHERE, layer(), Hashes.NONE) is None


SMALL = 1 << 14
"""What a small file counts as."""


class TestRoom:
    def test_the_oldest_make_room(self, tmp_path: Path) -> None:
        cache = TocCache(str(tmp_path / "cache"), most=3 * SMALL + SMALL // 2)
        for number in (4, 2, 3, 5):
            cache.put(NOWHERE, layer(number), table())
            os.utime(tmp_path / f"cache/sha256-{layer(number).digest.hex}.v1", (number, number))
        kept = [number for number in range(1, 6) if cache.get(NOWHERE, layer(number), Hashes.NONE)]
        assert kept == [3, 4, 5]

    def test_what_other_processes_wrote_counts_too(self, tmp_path: Path) -> None:
        for number in range(6):
            # Each is the first of its process to write.
            cache = TocCache(str(tmp_path / "cache"), most=2 * SMALL + SMALL // 2)
            cache.put(NOWHERE, layer(number), table())
        assert len(list((tmp_path / "cache").iterdir())) == 2

    def test_a_table_larger_than_all_is_not_kept(self, tmp_path: Path) -> None:
        cache = TocCache(str(tmp_path / "cache"), most=100)
        cache.put(NOWHERE, layer(), table())
        assert not (tmp_path / "cache").exists()

    def test_what_a_dead_process_left_behind_goes(self, cache: TocCache, tmp_path: Path) -> None:
        folder = tmp_path / "cache" / "toc"
        folder.mkdir(parents=True)
        for name, age in (("new-old", 7200), ("new-young", 60)):
            (folder / name).touch()
            os.utime(folder / name, (time.time() - age,) * 2)
        cache.put(NOWHERE, layer(), table())
        assert sorted(path.name for path in folder.glob("new-*")) == ["new-young"]


def write_again_and_again(folder: str, seed: int, until: float) -> None:
    cache = TocCache(folder)
    while time.time() < until:
        cache.put(NOWHERE, layer(), table(seed=seed))


def test_two_writers_and_a_reader_never_see_a_mixture(tmp_path: Path) -> None:
    whole = [asdict(table(seed=seed)) for seed in (1, 2)]
    context = multiprocessing.get_context("fork")
    until = time.time() + 0.5
    writers = [
        context.Process(target=write_again_and_again, args=(str(tmp_path / "c"), seed, until))
        for seed in (1, 2)
    ]
    for writer in writers:
        writer.start()
    cache, seen = TocCache(str(tmp_path / "c")), []
    while any(writer.is_alive() for writer in writers):
        found = cache.get(NOWHERE, layer(), Hashes.ALL)
        seen.append(-1 if found is None else whole.index(asdict(found)))
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    first = next(number for number, one in enumerate(seen) if one >= 0)
    assert set(seen[first:]) == {0, 1}
    assert len(list((tmp_path / "c").iterdir())) == 1
