"""Places by the text that means them, and what every place promises alike."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ocitool.errors import DigestMismatch, IntegrityError, NotFound, UsageError
from ocitool.image.content import Blob, Catalog, Inventory, Target
from ocitool.image.graph import closure_of
from ocitool.images.locations import PlaceKind, parse_place, source_and_path
from ocitool.images.opening import Opened, one_root, open_source
from ocitool.oci import Descriptor
from ocitool.places.archive import open_archive
from ocitool.places.layout import Layout, Writing
from tests.support.disk import open_descriptors
from tests.support.images import (
    BuiltImage,
    build_artifact,
    build_image,
    describe,
    docker_archive,
    hybrid_archive,
    layout_files,
    oci_archive,
    write_files,
    write_layout,
)
from tests.support.layouts import A, B, blob_of, blobs_in, bring, image, store
from tests.support.stores import load_archive, written

DIGEST = "sha256:" + "a" * 64
BIG = bytes(range(256)) * 12_000
# Plain layers, so that a docker archive gives the same digests as a layout.
ONE = build_image([{"base": b"base"}, {"big": BIG}], compression="none")
TWO = build_image([{"base": b"base"}, {"two": b"2"}], compression="none")
ABSENT = describe(b"absent", "application/octet-stream")


class TestTheGrammar:
    @pytest.mark.parametrize(
        ("text", "kind", "path", "name"),
        [
            ("a", PlaceKind.STORE, "", "a"),
            ("a:1", PlaceKind.STORE, "", "a:1"),
            ("localhost:5000/a", PlaceKind.STORE, "", "localhost:5000/a"),
            ("store:a:1", PlaceKind.STORE, "", "a:1"),
            (f"store:{DIGEST}", PlaceKind.STORE, "", DIGEST),
            ("oci:dir", PlaceKind.LAYOUT, "dir", None),
            ("oci:dir:1.0", PlaceKind.LAYOUT, "dir", "1.0"),
            ("oci:/a/b:x/y:1.0", PlaceKind.LAYOUT, "/a/b", "x/y:1.0"),
            (f"oci:dir@{DIGEST}", PlaceKind.LAYOUT, "dir", DIGEST),
            (f"oci:dir:a@{DIGEST}", PlaceKind.LAYOUT, "dir", f"a@{DIGEST}"),
            ("oci:a@b", PlaceKind.LAYOUT, "a@b", None),
            ("oci-archive:f.tar", PlaceKind.OCI_ARCHIVE, "f.tar", None),
            ("oci-archive:f.tar:1.0", PlaceKind.OCI_ARCHIVE, "f.tar", "1.0"),
            ("docker-archive:f.tar", PlaceKind.DOCKER_ARCHIVE, "f.tar", None),
            ("docker-archive:f.tar:a:1", PlaceKind.DOCKER_ARCHIVE, "f.tar", "a:1"),
            ("dir:a:b", PlaceKind.FOLDER, "a:b", None),
            ("docker-daemon:a:1", PlaceKind.DOCKER_ENGINE, "", "a:1"),
            ("docker-daemon:", PlaceKind.DOCKER_ENGINE, "", None),
            ("podman:a:1", PlaceKind.PODMAN_ENGINE, "", "a:1"),
            ("/a:1", PlaceKind.PATH, "/a:1", None),
            ("./a", PlaceKind.PATH, "./a", None),
            ("../a", PlaceKind.PATH, "../a", None),
            ("-", PlaceKind.PATH, "-", None),
            ("ocia:1", PlaceKind.STORE, "", "ocia:1"),
        ],
    )
    def test_a_text_means_one_place(
        self, text: str, kind: PlaceKind, path: str, name: str | None
    ) -> None:
        place = parse_place(text)
        assert (place.kind, place.path, place.name, place.text) == (kind, path, name, text)

    @pytest.mark.parametrize("prefix", ["store", "oci", "oci-archive", "docker-archive", "dir"])
    def test_a_prefix_alone_is_refused(self, prefix: str) -> None:
        with pytest.raises(UsageError, match="names no"):
            parse_place(f"{prefix}:")

    @pytest.mark.parametrize("text", ["oci::1.0", "docker-archive::a:1"])
    def test_a_name_without_a_path_is_refused(self, text: str) -> None:
        with pytest.raises(UsageError, match="names no path"):
            parse_place(text)

    def test_an_empty_text_is_refused(self) -> None:
        with pytest.raises(UsageError, match="empty"):
            parse_place("")

    @pytest.mark.parametrize("text", ["docker://a", "registry:a", "docker:a", "registry://a"])
    def test_a_registry_is_named_in_several_ways(self, text: str) -> None:
        place = parse_place(text)
        assert (place.kind, place.name) == (PlaceKind.REGISTRY, "docker.io/library/a:latest")

    def test_a_place_that_is_out_of_reach_is_refused_with_those_that_are_not(self) -> None:
        with pytest.raises(UsageError, match="not a place that ocitool reaches") as caught:
            parse_place("containers-storage:a")
        assert "oci-archive:" in (caught.value.hint or "")

    def test_only_the_text_decides_and_not_what_is_on_the_disk(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "name").write_bytes(b"")
        assert parse_place("name").kind is PlaceKind.STORE


@dataclass(frozen=True, kw_only=True)
class Offer:
    """An open place with two images in it (one in the `dir` form)."""

    source: Catalog
    images: dict[str, BuiltImage]
    named: bool = True


Opener = Callable[[Path], AbstractContextManager[Catalog]]
BOTH = {"a:1": ONE, "b:1": TWO}


def own_store(folder: Path) -> AbstractContextManager[Catalog]:
    with store(folder / "s") as layout:
        bring(layout, ONE, A)
        bring(layout, TWO, B)
    return Layout.existing(str(folder / "s"))


def foreign_layout(folder: Path) -> AbstractContextManager[Catalog]:
    return Layout.existing(str(write_layout(folder / "l", {A: ONE, B: TWO})))


def oci_tar(folder: Path) -> AbstractContextManager[Catalog]:
    return open_archive(str(written(folder / "oci.tar", oci_archive({A: ONE, B: TWO}))))


def docker_tar(folder: Path) -> AbstractContextManager[Catalog]:
    return open_archive(str(written(folder / "docker.tar", docker_archive(BOTH))))


def hybrid_tar(folder: Path) -> AbstractContextManager[Catalog]:
    return open_archive(str(written(folder / "hybrid.tar", hybrid_archive(BOTH))))


def unpacked(folder: Path) -> AbstractContextManager[Catalog]:
    return open_archive(str(write_files(folder / "u", layout_files({A: ONE, B: TWO}))))


def dir_form(folder: Path) -> AbstractContextManager[Catalog]:
    files = {digest.hex: data for digest, data in ONE.blobs.items()}
    del files[ONE.descriptor.digest.hex]
    files |= {"manifest.json": ONE.manifest, "version": b"Directory Transport Version: 1.1\n"}
    return open_archive(str(write_files(folder / "d", files)))


PLACES: dict[str, Opener] = {
    "store": own_store,
    "layout": foreign_layout,
    "oci archive": oci_tar,
    "docker archive": docker_tar,
    "hybrid archive": hybrid_tar,
    "unpacked archive": unpacked,
    "dir": dir_form,
}


@pytest.fixture(params=PLACES)
def offer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Offer]:
    with PLACES[request.param](tmp_path) as source:
        named = request.param != "dir"
        yield Offer(source=source, images={A: ONE, B: TWO} if named else {"": ONE}, named=named)


def read(source: Catalog, descriptor: Descriptor) -> bytes:
    with source.open(descriptor) as blob:
        return blob.read_all(1 << 30)


def has(source: Catalog, descriptor: Descriptor) -> bool:
    assert isinstance(source, Inventory)
    return source.has(descriptor)


def resized(descriptor: Descriptor, change: int) -> Descriptor:
    return Descriptor(
        media_type=descriptor.media_type,
        digest=descriptor.digest,
        size=descriptor.size + change,
    )


class TestEveryPlace:
    def test_it_offers_its_images_in_order_under_their_names(self, offer: Offer) -> None:
        assert [root.names for root in offer.source.roots()] == [
            (name,) if name else () for name in offer.images
        ]

    def test_roots_are_the_same_at_every_time(self, offer: Offer) -> None:
        assert offer.source.roots() == offer.source.roots()

    def test_an_image_is_found_by_its_name_and_by_its_digest(self, offer: Offer) -> None:
        for root in offer.source.roots():
            for name in (*root.names, str(root.descriptor.digest)):
                assert offer.source.resolve(name) == root

    def test_a_name_that_is_not_there_is_not_found(self, offer: Offer) -> None:
        for name in ("docker.io/library/none:1", DIGEST, "1.0.0", ""):
            with pytest.raises(NotFound, match="there is no image"):
                offer.source.resolve(name)

    def test_everything_under_a_root_can_be_read(self, offer: Offer) -> None:
        for root, built in zip(offer.source.roots(), offer.images.values(), strict=True):
            closure = closure_of(offer.source, root.descriptor)
            assert {blob.digest for blob in closure.blobs} == {
                descriptor.digest for descriptor in (built.config, *built.layers)
            }
            for descriptor in closure.blobs:
                assert has(offer.source, descriptor)
                assert read(offer.source, descriptor) == built.blobs[descriptor.digest]
            assert has(offer.source, root.descriptor)
            assert read(offer.source, root.descriptor) == closure.documents[-1][1].raw

    def test_what_is_absent_is_not_found(self, offer: Offer) -> None:
        sha512 = describe(b"absent", "application/octet-stream", algorithm="sha512")
        for descriptor in (ABSENT, sha512):
            assert not has(offer.source, descriptor)
            with pytest.raises(NotFound, match=str(descriptor.digest)):
                offer.source.open(descriptor)

    @pytest.mark.parametrize("change", [-1, 1])
    def test_another_size_than_promised_is_refused(self, offer: Offer, change: int) -> None:
        layer = resized(ONE.layers[1], change)
        assert not has(offer.source, layer)
        with pytest.raises(IntegrityError, match="promise"):
            offer.source.open(layer)

    def test_a_blob_that_is_read_in_parts_is_the_same(self, offer: Offer) -> None:
        layer = ONE.layers[1]
        with offer.source.open(layer) as blob:
            parts = []
            while part := blob.read(4097):
                assert len(part) <= 4097
                parts.append(part)
            assert blob.read() == b""
        assert b"".join(parts) == ONE.blobs[layer.digest]

    def test_a_blob_can_be_left_in_the_middle(self, offer: Offer) -> None:
        layer = ONE.layers[1]
        offer.source.open(layer).close()
        before = open_descriptors()
        with offer.source.open(layer) as blob:
            blob.read(100)
        assert open_descriptors() == before
        assert read(offer.source, layer) == ONE.blobs[layer.digest]

    def test_many_threads_may_read_at_once(self, offer: Offer) -> None:
        layers = list(ONE.layers)
        wrong: list[object] = []
        gate = threading.Barrier(8)

        def work(number: int) -> None:
            gate.wait()
            for turn in range(6):
                layer = layers[(number + turn) % len(layers)]
                try:
                    with offer.source.open(layer) as blob:
                        parts = []
                        while part := blob.read(50_000):
                            parts.append(part)
                    if b"".join(parts) != ONE.blobs[layer.digest]:
                        wrong.append(layer)
                except IntegrityError as error:
                    wrong.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


@pytest.mark.parametrize("name", PLACES)
def test_no_place_leaves_anything_open(name: str, tmp_path: Path) -> None:
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    PLACES[name](tmp_path / "first").__exit__(None, None, None)
    before = open_descriptors()
    with PLACES[name](tmp_path / "second") as source:
        for root in source.roots():
            closure_of(source, root.descriptor)
    assert open_descriptors() == before


@pytest.mark.parametrize("name", PLACES)
def test_a_flipped_bit_is_found_wherever_it_is_read(name: str, tmp_path: Path) -> None:
    PLACES[name](tmp_path).__exit__(None, None, None)
    layer = ONE.layers[1]
    needle = ONE.blobs[layer.digest][5000:9000]
    (victim,) = [p for p in tmp_path.rglob("*") if p.is_file() and needle in p.read_bytes()]
    data = bytearray(victim.read_bytes())
    data[data.index(needle) + 100] ^= 1
    victim.write_bytes(data)
    reopened = {"store": "s", "layout": "l"}.get(name)
    source = (
        Layout.existing(str(tmp_path / reopened))
        if reopened
        else open_archive(str(tmp_path / {"unpacked archive": "u", "dir": "d"}.get(name, victim)))
    )
    with source, pytest.raises(DigestMismatch, match=str(layer.digest)):
        read(source, layer)


class Targets:
    """A layout that is written, and how to look at it afterwards."""

    def __init__(self, path: Path, *, own: bool) -> None:
        self.path = path
        if not own:
            write_layout(path, {})
        self.layout = Layout.create(str(path), store=own)

    def writing(self) -> Writing:
        return Writing(self.layout)


@pytest.fixture(params=["store", "layout"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Targets]:
    targets = Targets(tmp_path / "t", own=request.param == "store")
    with targets.layout:
        yield targets


def put(target: Target, built: BuiltImage, descriptor: Descriptor) -> None:
    target.put(descriptor, lambda: blob_of(descriptor, built.blobs[descriptor.digest]))


class TestEveryTarget:
    def test_what_is_put_is_there_and_can_be_put_again(self, target: Targets) -> None:
        with target.writing() as writing:
            for descriptor in (ONE.config, *ONE.layers, ONE.descriptor):
                assert not writing.has(descriptor)
                put(writing, ONE, descriptor)
                assert writing.has(descriptor)
                put(writing, ONE, descriptor)
        assert blobs_in(target.path) == {digest.hex for digest in ONE.blobs}

    def test_another_size_is_not_there(self, target: Targets) -> None:
        with target.writing() as writing:
            put(writing, ONE, ONE.config)
            assert not writing.has(resized(ONE.config, 1))

    def test_wrong_content_is_refused_and_not_there(self, target: Targets) -> None:
        with target.writing() as writing:
            wrong = Blob.of(ONE.config, b"x" * ONE.config.size, where="the test")
            with pytest.raises(DigestMismatch):
                writing.put(ONE.config, lambda: wrong)
            assert not writing.has(ONE.config)

    def test_an_image_is_a_root_when_the_writer_is_done_and_not_before(
        self, target: Targets
    ) -> None:
        with target.writing() as writing:
            for descriptor in (ONE.config, *ONE.layers, ONE.descriptor):
                put(writing, ONE, descriptor)
            writing.root(ONE.descriptor, [A])
            assert target.layout.roots() == ()
        (root,) = target.layout.roots()
        assert root.names == (A,)
        assert target.layout.resolve(A) == root

    def test_many_threads_may_write_at_once(self, target: Targets) -> None:
        images = [image(str(number)) for number in range(12)]
        failures: list[BaseException] = []

        def work(writing: Target, built: BuiltImage) -> None:
            try:
                writing.announce([built.config, *built.layers, built.descriptor])
                for descriptor in (built.config, *built.layers, built.descriptor):
                    put(writing, built, descriptor)
                    put(writing, images[0], images[0].layers[0])
                writing.root(built.descriptor, [f"docker.io/library/x:{built.config.digest.hex}"])
            except BaseException as error:
                failures.append(error)

        with target.writing() as writing:
            threads = [threading.Thread(target=work, args=(writing, built)) for built in images]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert failures == []
        assert {root.descriptor.digest for root in target.layout.roots()} == {
            built.descriptor.digest for built in images
        }
        assert blobs_in(target.path) == {d.hex for built in images for d in built.blobs}


class TestOpening:
    def names(self, text: str, home: Path) -> list[tuple[str, ...]]:
        with open_source(parse_place(text), store=str(home / "s")) as opened:
            return [root.names for root in opened.roots]

    def test_a_name_opens_the_store_and_means_one_image(self, tmp_path: Path) -> None:
        own_store(tmp_path).__exit__(None, None, None)
        assert self.names("a:1", tmp_path) == [(A,)]

    def test_only_the_name_that_was_given_is_kept(self, tmp_path: Path) -> None:
        with store(tmp_path / "s") as layout:
            bring(layout, ONE, A, B)
        assert self.names("b:1", tmp_path) == [(B,)]
        assert self.names(f"store:{ONE.config.digest.hex[:12]}", tmp_path) == [(A, B)]

    def test_a_store_that_is_not_there_is_not_found_and_not_made(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="there is no image yet") as caught:
            self.names("a:1", tmp_path)
        assert "ocitool load" in (caught.value.hint or "")
        assert not (tmp_path / "s").exists()

    @pytest.mark.parametrize("prefix", ["oci:{}/l", "./l", "{}/l"])
    def test_a_layout_without_a_name_means_all_its_images(
        self, tmp_path: Path, prefix: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        foreign_layout(tmp_path).__exit__(None, None, None)
        monkeypatch.chdir(tmp_path)
        assert self.names(prefix.format(tmp_path), tmp_path) == [(A,), (B,)]

    @pytest.mark.parametrize("name", [A, "b:1", "docker.io/b:1"])
    def test_a_full_or_a_short_name_means_one_image_of_a_layout(
        self, tmp_path: Path, name: str
    ) -> None:
        foreign_layout(tmp_path).__exit__(None, None, None)
        expected = A if name == A else B
        assert self.names(f"oci:{tmp_path}/l:{name}", tmp_path) == [(expected,)]

    def test_a_digest_means_one_image_of_a_layout(self, tmp_path: Path) -> None:
        foreign_layout(tmp_path).__exit__(None, None, None)
        assert self.names(f"oci:{tmp_path}/l@{TWO.descriptor.digest}", tmp_path) == [(B,)]

    def test_a_name_means_one_image_of_an_archive(self, tmp_path: Path) -> None:
        docker_tar(tmp_path).__exit__(None, None, None)
        assert self.names(f"docker-archive:{tmp_path}/docker.tar:b:1", tmp_path) == [(B,)]

    def test_a_name_that_a_place_does_not_hold_is_not_found(self, tmp_path: Path) -> None:
        foreign_layout(tmp_path).__exit__(None, None, None)
        docker_tar(tmp_path).__exit__(None, None, None)
        for text in (f"oci:{tmp_path}/l:c:1", f"docker-archive:{tmp_path}/docker.tar:c:1"):
            with pytest.raises(NotFound, match="c:1"):
                self.names(text, tmp_path)

    def test_a_pipe_is_read_from_the_descriptor_that_was_given(self, tmp_path: Path) -> None:
        docker_tar(tmp_path).__exit__(None, None, None)
        with (
            (tmp_path / "docker.tar").open("rb") as file,
            open_source(parse_place("-"), store="", stdin=file.fileno()) as opened,
        ):
            assert [root.names for root in opened.roots] == [(A,), (B,)]

    def test_only_a_layout_directory_remembers(self, tmp_path: Path) -> None:
        own_store(tmp_path).__exit__(None, None, None)
        docker_tar(tmp_path).__exit__(None, None, None)
        place = parse_place(f"{tmp_path}/docker.tar")
        with open_source(place, store="") as opened:
            assert opened.layout is None
        with open_source(parse_place("a:1"), store=str(tmp_path / "s")) as opened:
            assert opened.layout is opened.source

    def test_what_one_place_offers_arrives_in_another(self, tmp_path: Path) -> None:
        for opener in (docker_tar, oci_tar, hybrid_tar, unpacked):
            opener(tmp_path).__exit__(None, None, None)
        for name in ("docker.tar", "oci.tar", "hybrid.tar", "u"):
            load_archive(tmp_path / name, tmp_path / f"store {name}")
            with Layout.existing(str(tmp_path / f"store {name}")) as layout:
                assert [root.names for root in layout.roots()] == [(A,), (B,)]


class TestOneRoot:
    def opened(self, folder: Path, text: str = "") -> Opened:
        with open_source(parse_place(text or f"oci:{folder}"), store="") as opened:
            return opened

    def test_the_only_root_is_meant(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {"1.0": ONE})
        assert one_root(self.opened(tmp_path)).label == "1.0"

    def test_roots_without_a_name_do_not_count_beside_one_that_has(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {"1.0": ONE}, [build_artifact(ONE.descriptor), TWO])
        assert one_root(self.opened(tmp_path)).label == "1.0"

    def test_several_are_listed_with_advice(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {A: ONE, "1.0": TWO})
        with pytest.raises(UsageError, match="holds 2 images") as caught:
            one_root(self.opened(tmp_path))
        assert A in caught.value.message
        assert "1.0" in caught.value.message
        assert caught.value.hint

    def test_several_without_a_name_are_listed_by_digest(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {}, [ONE, TWO])
        with pytest.raises(UsageError, match=str(TWO.descriptor.digest)):
            one_root(self.opened(tmp_path))

    def test_none_is_not_found(self, tmp_path: Path) -> None:
        write_layout(tmp_path, {})
        with pytest.raises(NotFound, match="holds no image"):
            one_root(self.opened(tmp_path))


class TestPathsInImages:
    @pytest.mark.parametrize(
        ("text", "source", "path"),
        [
            ("app", "app", None),
            ("app:1.0", "app:1.0", None),
            ("app:/etc", "app", "/etc"),
            ("app:1.0:/etc/passwd", "app:1.0", "/etc/passwd"),
            ("localhost:5000/a:1:/x:/y", "localhost:5000/a:1", "/x:/y"),
            (f"a@{DIGEST}:/", f"a@{DIGEST}", "/"),
            ("docker://host/a", "docker://host/a", None),
            ("docker://host:1/a:2:/etc", "docker://host:1/a:2", "/etc"),
            ("registry:host/a:/b", "registry:host/a", "/b"),
            ("oci:/dir", "oci:/dir", None),
            ("oci:/dir:/etc", "oci:/dir", "/etc"),
            ("oci:/dir:tag:/etc", "oci:/dir:tag", "/etc"),
            ("oci-archive:/a.tar", "oci-archive:/a.tar", None),
            ("docker-archive:/a.tar:x:1:/b", "docker-archive:/a.tar:x:1", "/b"),
            ("dir:/a:/b", "dir:/a", "/b"),
            ("docker-daemon:a:1:/b", "docker-daemon:a:1", "/b"),
            ("./a.tar:/etc", "./a.tar", "/etc"),
            ("-:/etc", "-", "/etc"),
        ],
    )
    def test_a_path_follows_a_source(self, text: str, source: str, path: str | None) -> None:
        assert source_and_path(text) == (source, path)

    def test_a_path_on_the_disk_may_have_the_same_form(self, tmp_path: Path) -> None:
        (tmp_path / "a:").mkdir()
        (tmp_path / "a:/b").write_bytes(b"")
        assert source_and_path(f"{tmp_path}/a:/b") == (f"{tmp_path}/a:/b", None)
