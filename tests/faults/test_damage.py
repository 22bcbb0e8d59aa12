"""Damage of every kind, at random places: it is found, named, and never passed on."""

import os
import random
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from ocitool.image.graph import closure_of, images_of
from ocitool.places.layout import Layout
from tests.faults import figures
from tests.faults.scenes import SCENES, Scene, Stage, names_in
from tests.faults.zygote import Zygote
from tests.support.images import build_image, describe, write_layout
from tests.support.layouts import temporaries
from tests.support.stores import checked

SAVE = Scene(arguments=("save", "old:1", "both:1", "both:2", "gone:1", "-o", "OUT/file.tar"))


@dataclass(frozen=True, slots=True)
class Damage:
    """What was done to which file, for messages."""

    path: Path
    what: str


def damaged_file(path: Path, places: range | list[int], chance: random.Random) -> Damage:
    """Flip a byte at one of the places, cut the file there, or let it grow."""
    data = bytearray(path.read_bytes())
    place = chance.choice(places)
    match kind := chance.choice(["flip", "flip", "cut", "grow"]):
        case "flip":
            data[place] ^= 1 << chance.randrange(8)
        case "cut":
            del data[place:]
        case _:
            data += chance.randbytes(chance.randrange(1, 2000))
    path.write_bytes(data)
    return Damage(path, f"{kind} at {place} of {path.name}")


def damage_blobs(parent: Zygote, prepared: Path, folder: Path, turns: range) -> Iterator[Damage]:
    """Damage one blob of a store each time; `verify`, `save`, `copy` and `load` must notice."""
    for turn in figures.current.in_time(turns):
        chance = random.Random(turn)
        stage = Stage(SAVE, prepared, folder / str(turn))
        blobs = sorted(path for path in (stage.store / "blobs").rglob("*") if path.is_file())
        path = chance.choice(blobs)
        damage = damaged_file(path, range(path.stat().st_size), chance)
        ended = parent.run(["--store", str(stage.store), "verify"])
        assert ended.code == 3, damage
        assert path.name[:12] in ended.out, damage
        ended = parent.run(stage.command)
        assert ended.code == 7, f"{damage}: {ended.code} {ended.err}"
        assert list(stage.out.iterdir()) == [], damage
        copy = ["copy", f"oci:{stage.store}", f"oci:{stage.out}/layout"]
        ended = parent.run(["--store", str(stage.store), *copy])
        assert ended.code == 7, f"{damage}: {ended.code} {ended.err}"
        assert names_in(stage.out / "layout") == {}, damage
        _assert_inspect_notices(parent, prepared, stage, damage)
        stage.remove()
        yield damage


def documents(prepared: Path) -> dict[str, set[str]]:
    """Return the file names of the manifest and the config of every image."""
    with Layout.existing(str(prepared / "store")) as layout:
        found = {}
        for root in layout.roots():
            closure = closure_of(layout, root.descriptor)
            configs = {manifest.config.digest.hex for _, manifest in images_of(closure)}
            found[root.names[0]] = {root.descriptor.digest.hex, *configs}
        return found


def _assert_inspect_notices(parent: Zygote, prepared: Path, stage: Stage, damage: Damage) -> None:
    for name, files in documents(prepared).items():
        ended = parent.run(["--store", str(stage.store), "inspect", name])
        # A layer need not be read for this.
        codes = (7,) if damage.path.name in files else (0, 7)
        assert ended.code in codes, f"{damage}: {ended.code} {ended.err}"


def content_places(archive: Path) -> list[int]:
    """Return the offsets of an archive's headers and blobs: what a digest or checksum covers."""
    places: list[int] = []
    with tarfile.open(archive) as tar:
        for member in tar:
            places += range(member.offset, member.offset + 512)
            if member.name.startswith("blobs/"):
                places += range(member.offset_data, member.offset_data + member.size)
    return places


def damage_archives(parent: Zygote, prepared: Path, folder: Path, turns: range) -> Iterator[Damage]:
    """Damage a saved archive each time; `verify` and `load` must notice."""
    stage = Stage(SAVE, prepared, folder / "saved")
    assert parent.run(stage.command).code == 0
    places = content_places(stage.out / "file.tar")
    whole = (stage.out / "file.tar").read_bytes()
    for turn in figures.current.in_time(turns):
        chance = random.Random(turn)
        path = folder / f"{turn}.tar"
        data = bytearray(whole)
        place = chance.choice(places)
        if chance.random() < 0.7:
            data[place] ^= 1 << chance.randrange(8)
            damage = Damage(path, f"flip at {place}")
        else:
            del data[place:]
            damage = Damage(path, f"cut at {place}")
        path.write_bytes(data)
        store = folder / f"store-{turn}"
        ended = parent.run(["--store", str(store), "verify", str(path)])
        assert ended.code in (3, 7), f"{damage}: {ended.code} {ended.out}{ended.err}"
        ended = parent.run(["--store", str(store), "load", str(path)])
        assert ended.code == 7, f"{damage}: {ended.code} {ended.out}{ended.err}"
        if store.exists():
            assert names_in(store) == {}, damage
            assert temporaries(store) == [], damage
            assert checked(store).unreferenced == (), damage
            shutil.rmtree(store)
        path.unlink()
        yield damage


def structure_places(index: bytes) -> list[int]:
    """Return the offsets in index.json of brackets, digests and sizes: what has one right value."""
    quotes = [n for n, byte in enumerate(index) if byte == ord('"')]
    texts = {
        n
        for start, end in zip(quotes[::2], quotes[1::2], strict=True)
        for n in range(start + 1, end)
    }
    places = [n for n, byte in enumerate(index) if byte in b'{}[]:"' and n not in texts]
    for key in (b'"digest":"', b'"size":', b'"manifests"'):
        start = index.find(key)
        while start >= 0:
            begin = start + len(key) if key != b'"manifests"' else start + 1
            end = begin
            while end < len(index) and index[end : end + 1] not in (b",", b'"', b"}"):
                end += 1
            places += range(begin, end)
            start = index.find(key, end)
    return places


def damage_indexes(parent: Zygote, prepared: Path, folder: Path, turns: range) -> Iterator[Damage]:
    """Damage index.json each time; every command must notice and none may repair it silently.

    Names and annotations are left out: no digest vouches for them, and another name is a name.
    """
    stage = Stage(SAVE, prepared, folder / "whole")
    assert parent.run(stage.command).code == 0
    whole = stage.file()
    for turn in figures.current.in_time(turns):
        chance = random.Random(turn)
        stage = Stage(SAVE, prepared, folder / str(turn))
        path = stage.store / "index.json"
        damage = damaged_file(path, structure_places(path.read_bytes()), chance)
        damaged = path.read_bytes()
        ended = parent.run(["--store", str(stage.store), "verify"])
        assert ended.code in (3, 7), f"{damage}: {ended.code} {ended.out}{ended.err}"
        if ended.code == 7:
            words = ["tag", "old:1", "new:1"]
            ended = parent.run(["--store", str(stage.store), *words])
            assert ended.code == 7, f"{damage}: {ended.code} {ended.err}"
        assert path.read_bytes() == damaged
        ended = parent.run(stage.command)
        if damage.what.startswith("flip") and ended.code == 0:
            # One of two entries of an image lied; what was saved is what the other one says.
            assert stage.file() == whole, damage
        else:
            assert ended.code in (4, 7), f"{damage}: {ended.code} {ended.err}"
            assert list(stage.out.iterdir()) == [], damage
        stage.remove()
        yield damage


DAMAGES = {"blobs": damage_blobs, "archives": damage_archives, "indexes": damage_indexes}


class TestAnyPlace:
    @pytest.mark.parametrize("what", DAMAGES)
    def test_damage_at_a_random_place_is_found_and_not_passed_on(
        self, what: str, parent: Zygote, prepared: Path, tmp_path: Path
    ) -> None:
        found = len(list(DAMAGES[what](parent, prepared, tmp_path, range(10))))
        figures.current.count("G1 G9 G12", f"random damages of {what}", found)

    @pytest.mark.soak
    @pytest.mark.parametrize("what", DAMAGES)
    def test_damage_at_any_of_200_places_is_found_and_not_passed_on(
        self, what: str, parent: Zygote, prepared: Path, tmp_path: Path
    ) -> None:
        for _ in DAMAGES[what](parent, prepared, tmp_path, range(1000, 1200)):
            figures.current.count("G1 G9 G12", f"random damages of {what}")


def _swap(path: Path) -> None:
    other = next(p for p in sorted(path.parent.iterdir()) if p != path)
    ours, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(ours)


def _replaced(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def _zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _link(path: Path) -> None:
    shutil.copy(path, path.parent.parent.parent / "outside")
    _replaced(path, lambda p: p.symlink_to(p.parent.parent.parent / "outside"))


KINDS: Mapping[str, tuple[Callable[[Path], object], set[str]]] = {
    "flipped": (_flipped, {"digest"}),
    "first byte": (lambda p: p.write_bytes(b"\0" + p.read_bytes()[1:]), {"digest"}),
    "zeroed": (_zeroed, {"digest"}),
    "cut": (lambda p: os.truncate(p, p.stat().st_size // 2), {"size"}),
    "one byte short": (lambda p: os.truncate(p, p.stat().st_size - 1), {"size"}),
    "grown": (lambda p: os.truncate(p, p.stat().st_size + 1), {"size"}),
    "emptied": (lambda p: os.truncate(p, 0), {"size"}),
    "removed": (lambda p: p.unlink(), {"missing"}),
    "swapped": (_swap, {"digest", "size"}),
    "a folder": (lambda p: _replaced(p, Path.mkdir), {"file"}),
    "a fifo": (lambda p: _replaced(p, os.mkfifo), {"file"}),
    "a link": (_link, {"file"}),
}


class TestEveryKind:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("which", range(3))
    def test_damage_is_called_what_it_is(
        self, kind: str, which: int, prepared: Path, tmp_path: Path
    ) -> None:
        stage = Stage(SCENES["load"], prepared, tmp_path / "stage")
        blobs = sorted((stage.store / "blobs" / "sha256").iterdir())
        path = blobs[which * len(blobs) // 3]
        damage, classes = KINDS[kind]
        damage(path)
        problems = checked(stage.store).problems
        found = {problem.kind for problem in problems if path.name in problem.subject}
        assert found, f"{kind} of {path.name} was not found in {problems}"
        assert found <= classes
        figures.current.count("G12", f"damages of {len(KINDS) + 3} kinds")

    def test_a_layer_that_is_not_what_the_config_says_is_called_a_diff_id(
        self, tmp_path: Path
    ) -> None:
        wrong = str(describe(b"other", "x").digest)
        lying = build_image(config={"rootfs": {"type": "layers", "diff_ids": [wrong]}})
        write_layout(tmp_path / "l", {"docker.io/library/a:1": lying})
        assert {problem.kind for problem in checked(tmp_path / "l").problems} == {"diff-id"}
        figures.current.count("G12", f"damages of {len(KINDS) + 3} kinds")

    def test_a_manifest_that_is_none_is_called_a_document(self, tmp_path: Path) -> None:
        built = build_image(manifest={"layers": "none"})
        write_layout(tmp_path / "l", {"docker.io/library/a:1": built})
        assert "document" in {problem.kind for problem in checked(tmp_path / "l").problems}
        figures.current.count("G12", f"damages of {len(KINDS) + 3} kinds")

    def test_a_name_without_its_image_is_called_missing(self, tmp_path: Path) -> None:
        built = build_image()
        write_layout(tmp_path / "l", {"docker.io/library/a:1": built}, without=list(built.blobs))
        assert "missing" in {problem.kind for problem in checked(tmp_path / "l").problems}
        figures.current.count("G12", f"damages of {len(KINDS) + 3} kinds")
