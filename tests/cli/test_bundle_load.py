"""ocitool bundle load: names and maps, policies, several bundles at once, messages."""

import errno
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.places.registry.pushes import whole
from tests.support.command import Command, Done
from tests.support.disk import small_disk
from tests.support.images import Built, BuiltImage, build_artifact, build_image, write_layout
from tests.support.layouts import entries
from tests.support.made_bundles import tree
from tests.support.registry import EmulatedRegistry, Quirks

BASE = {"base": b"b" * 3000}
ONE = build_image([BASE, {"one": b"1"}])
TWO = build_image([BASE, {"two": b"2"}])
SBOM = build_artifact(ONE.descriptor, b"an SBOM")
IMAGES: dict[str, Built] = {"reg.example/team/one:1": ONE, "quay.example/x/two:2": TWO}


def bundle(ocitool: Command, name: str, images: dict[str, Built], *more: str | Path) -> Path:
    """Make a bundle of some images; `more` are further words for `bundle create`."""
    attached = [SBOM] if name == "full.tar" else []
    layout = write_layout(ocitool.cwd / f"{name}.layout", images, attached)
    file = ocitool.cwd / name
    done = ocitool("bundle", "create", f"oci:{layout}", "-o", file, *more)
    assert done.code == 0, done.err
    return file


@pytest.fixture
def full(ocitool: Command) -> Path:
    return bundle(ocitool, "full.tar", IMAGES)


def loaded(ocitool: Command, *words: str | Path, code: int = 0) -> Done:
    """Run `bundle load`, which has to end with this code."""
    done = ocitool("bundle", "load", *words)
    assert done.code == code, done.err
    return done


def names_in(layout: Path) -> dict[str, str]:
    """Return the digest of each full name of a layout."""
    key = "io.containerd.image.name"
    return {
        entry["annotations"][key]: entry["digest"]
        for entry in entries(layout)
        if key in entry.get("annotations", {})
    }


class TestMaps:
    def test_a21_rules_rename_and_the_map_tells_each_name(
        self, ocitool: Command, full: Path, tmp_path: Path
    ) -> None:
        with EmulatedRegistry() as registry:
            loaded(
                ocitool,
                *(full, "--to", f"{registry.host}/mirror", "--map-out", tmp_path / "map.json"),
                *("--map", f"reg.example/team={registry.host}/own"),
            )
            assert registry.tags["own/one"]["1"] == ONE.descriptor.digest
            assert registry.tags["mirror/x/two"]["2"] == TWO.descriptor.digest
            assert whole(registry, SBOM, "own/one")
            assert json.loads((tmp_path / "map.json").read_bytes()) == {
                "format": "ocitool-map/1",
                "images": [
                    {
                        "from": "quay.example/x/two:2",
                        "to": f"{registry.host}/mirror/x/two:2",
                        "digest": str(TWO.descriptor.digest),
                    },
                    {
                        "from": "reg.example/team/one:1",
                        "to": f"{registry.host}/own/one:1",
                        "digest": str(ONE.descriptor.digest),
                    },
                ],
            }

    def test_a21_check_takes_the_same_rules(self, ocitool: Command, full: Path) -> None:
        delta = bundle(ocitool, "next.delta.tar", {"reg.example/team/one:2": ONE}, "--base", full)
        with EmulatedRegistry() as registry:
            rules = ("--map", f"reg.example/team={registry.host}/own")
            to = ("--to", f"{registry.host}/mirror")
            assert ocitool("bundle", "check", delta, *to, *rules).code == 3
            registry.add_image("own/one", ONE, "1")
            assert ocitool("bundle", "check", delta, *to, *rules).code == 0
            assert ocitool("bundle", "check", delta, *to).code == 3
        meeting = ("reg.example/team/one:1=a.example/x:1", "quay.example/x/two:2=a.example/x:1")
        done = ocitool("bundle", "check", full, "--map", meeting[0], "--map", meeting[1])
        assert done.code == 2
        assert "would get the same name" in done.err

    def test_a21_the_map_rewrites_a_file(
        self, ocitool: Command, full: Path, tmp_path: Path
    ) -> None:
        pod = tmp_path / "pod.yaml"
        pod.write_text(
            "kind: Pod\nspec:\n  containers:\n  - image: reg.example/team/one:1  # kept\n"
        )
        map_file = tmp_path / "map.json"
        there = f"oci:{tmp_path / 'there'}"
        rule = "reg.example=registry.site/mirror"
        loaded(ocitool, full, "--to", there, "--map", rule, "--map-out", map_file)
        done = ocitool("rewrite", pod, "--map-file", map_file, "-i")
        assert done.code == 0, done.err
        text = pod.read_text()
        assert "image: registry.site/mirror/team/one:1" in text
        assert "  # kept\n" in text

    def test_a21_a_layout_gets_the_new_names(
        self, ocitool: Command, full: Path, tmp_path: Path
    ) -> None:
        rule = "reg.example/team/one:1=registry.site/a:3"
        loaded(ocitool, full, "--to", f"oci:{tmp_path / 'there'}", "--map", rule)
        assert names_in(tmp_path / "there") == {
            "registry.site/a:3": str(ONE.descriptor.digest),
            "quay.example/x/two:2": str(TWO.descriptor.digest),
        }

    @pytest.mark.parametrize("to", ["layout", "registry"])
    def test_a21_two_images_that_would_meet_are_refused_before_anything_is_written(
        self, ocitool: Command, full: Path, tmp_path: Path, to: str
    ) -> None:
        rules = ["--map", "reg.example/team/one:1=site.example/a:1"]
        rules += ("--map", "quay.example/x/two:2=site.example/a:1")
        with EmulatedRegistry() as registry:
            place = f"oci:{tmp_path / 'there'}" if to == "layout" else registry.host
            done = loaded(ocitool, full, "--to", place, *rules, code=2)
            assert "would get the same name" in done.err
            assert not (tmp_path / "there").exists()
            assert [r for r in registry.requests() if r.method != "HEAD"] == []

    def test_no_map_is_written_when_an_image_failed(
        self, ocitool: Command, full: Path, tmp_path: Path
    ) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image("mirror/team/one", TWO, "1")
            words = ("--to", f"{registry.host}/mirror", "--map-out", tmp_path / "map.json")
            loaded(ocitool, full, *words, code=6)
            assert registry.tags["mirror/x/two"]["2"] == TWO.descriptor.digest
            assert not (tmp_path / "map.json").exists()
            loaded(ocitool, full, *words, "--on-existing", "skip")
            told = json.loads((tmp_path / "map.json").read_bytes())["images"]
            assert [image["from"] for image in told] == ["quay.example/x/two:2"]


class TestA5:
    @pytest.mark.parametrize("tag", ["", ":1"], ids=["digest", "tag and digest"])
    def test_a5_names_keep_their_digests_into_a_registry(
        self, ocitool: Command, tmp_path: Path, tag: str
    ) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image("src/one", ONE, "1")
            registry.add_image("src/one", SBOM)
            registry.add_image("src/one", TWO, "2")
            name = f"{registry.host}/src/one{tag}@{ONE.descriptor.digest}"
            done = ocitool("bundle", "create", f"docker://{name}", "-o", tmp_path / "b.tar")
            assert done.code == 0, done.err
            kept = name.partition("@")[0] if tag else name
            shown: Any = ocitool("bundle", "show", tmp_path / "b.tar", "--json").json
            assert [(image["name"], image["digest"]) for image in shown["images"]] == [
                (kept, str(ONE.descriptor.digest))
            ]
            words = ("--to", f"{registry.host}/dst", "--map-out", tmp_path / "map.json")
            loaded(ocitool, tmp_path / "b.tar", *words)
            assert whole(registry, ONE, "dst/src/one")
            assert whole(registry, SBOM, "dst/src/one")
            tags = {"1": ONE.descriptor.digest} if tag else {}
            assert dict(registry.tags.get("dst/src/one", {})) == tags
            (told,) = json.loads((tmp_path / "map.json").read_bytes())["images"]
            assert told == {
                "from": kept,
                "to": kept.replace("/src/", "/dst/src/"),
                "digest": str(ONE.descriptor.digest),
            }

    def test_a5_the_store_knows_the_image_by_its_digest(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image("src/one", ONE, "1")
            name = f"{registry.host}/src/one@{ONE.descriptor.digest}"
            done = ocitool("bundle", "create", f"docker://{name}", "-o", tmp_path / "b.tar")
            assert done.code == 0, done.err
            loaded(ocitool, tmp_path / "b.tar")
        done = ocitool("inspect", str(ONE.descriptor.digest), "--json")
        assert done.code == 0, done.err
        shown: Any = done.json
        assert shown["digest"] == str(ONE.descriptor.digest)
        again = ocitool("bundle", "create", name, "-o", tmp_path / "again.tar")
        assert again.code == 0, again.err

    def test_a6_a_tag_that_moves_meanwhile_is_used_as_it_was(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        class Moving(EmulatedRegistry):
            """Moves the tag as soon as it was asked for."""

            def respond(self, exchange: Any) -> None:
                super().respond(exchange)
                if exchange.path.endswith("/manifests/1"):
                    self.add_image("src/one", TWO, "1")

        with Moving() as registry:
            registry.add_image("src/one", ONE, "1")
            name = f"docker://{registry.host}/src/one:1"
            done = ocitool("bundle", "create", name, "-o", tmp_path / "b.tar")
            assert done.code == 0, done.err
            shown: Any = ocitool("bundle", "show", tmp_path / "b.tar", "--json").json
            assert [image["digest"] for image in shown["images"]] == [str(ONE.descriptor.digest)]
            assert registry.tags["src/one"]["1"] == TWO.descriptor.digest


class TestSeveral:
    def test_a9_a_delta_named_before_its_base_waits_for_it(
        self, ocitool: Command, full: Path
    ) -> None:
        images: dict[str, Built] = {"reg.example/team/one:9": newer(ONE)}
        delta = bundle(ocitool, "next.delta.tar", images, "--base", full)
        loaded(ocitool, delta, full)
        assert f"{newer(ONE).descriptor.digest}" in names_in(ocitool.store).values()

    def test_a8_what_is_lacking_is_written_and_nothing_else(
        self, ocitool: Command, full: Path, tmp_path: Path
    ) -> None:
        images: dict[str, Built] = {"reg.example/team/one:9": newer(ONE)}
        delta = bundle(ocitool, "next.delta.tar", images, "--base", full)
        before = set(tree(tmp_path))
        done = loaded(ocitool, delta, "--need-out", tmp_path / "need.json", code=3)
        assert "nothing was changed" in done.err
        assert "--need-out" in done.err
        assert set(tree(tmp_path)) - before == {"need.json"}
        need = json.loads((tmp_path / "need.json").read_bytes())
        found = {blob["digest"] for blob in need["blobs"]}
        assert found == {str(blob.digest) for blob in ONE.layers}
        gap = bundle(ocitool, "gap.tar", images, "--need", tmp_path / "need.json")
        # Each of them needs what the other one brings.
        loaded(ocitool, gap, code=3)
        loaded(ocitool, delta, code=3)
        assert not ocitool.store.exists()
        assert ocitool("bundle", "check", gap, delta).code == 0
        loaded(ocitool, gap, delta)
        assert str(newer(ONE).descriptor.digest) in names_in(ocitool.store).values()

    def test_a11_a_lost_volume_is_replaced_by_a_bundle_of_its_need(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        images: dict[str, Built] = {
            f"reg.example/a{n}:1": build_image([{"x": os.urandom(700_000)}, {"y": b"%d" % n}])
            for n in range(5)
        }
        bundle(ocitool, "disk.tar", images, "--volume-size", "1900k")
        volumes = sorted(tmp_path.glob("disk.v*.tar"))
        assert len(volumes) == 3
        need = tmp_path / "need.json"
        done = ocitool("bundle", "verify", *volumes[1:], "--need-out", need)
        assert done.code == 3
        gap = bundle(ocitool, "gap.delta.tar", images, "--need", need)
        assert gap.stat().st_size < 1_900_000
        loaded(ocitool, *volumes[1:], gap)
        assert names_in(ocitool.store) == {
            name: str(image.descriptor.digest) for name, image in images.items()
        }


def newer(image: BuiltImage) -> BuiltImage:
    """Return the image with one more layer."""
    return build_image([*image.tars, {"newer": b"9"}])


class TestFaults:
    def test_a_full_disk_is_one_message_and_the_next_try_goes_on(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        images: dict[str, Built] = {
            f"reg.example/a{n}:1": build_image([{"x": os.urandom(400_000)}]) for n in range(4)
        }
        full = bundle(ocitool, "big.tar", images)
        with small_disk(tmp_path / "disk", "1200k") as disk:
            place = f"oci:{disk / 'layout'}"
            done = loaded(ocitool, full, "--to", place, code=9)
            assert done.err.count("ocitool: ") == 1
            assert "no space left" in done.err
            assert not (disk / "layout/index.json").exists() or names_in(disk / "layout") == {}

    def test_a_medium_that_was_pulled_says_what_is_lost_and_what_to_do(
        self, ocitool: Command, full: Path, tmp_path: Path
    ) -> None:
        """The file ends while it is read, as a device that vanishes lets it."""
        listing = full.read_bytes()
        layer = ONE.blobs[ONE.layers[1].digest]
        cut = tmp_path / "cut.tar"
        cut.write_bytes(listing[: listing.index(layer) + 10])
        before = tree(tmp_path)
        done = ocitool("bundle", "load", cut, "--to", f"oci:{tmp_path / 'there'}")
        assert done.code in (3, 4, 7), done.err
        assert "Traceback" not in done.err
        assert "lost: " in done.out + done.err or "cut" in done.err
        assert set(tree(tmp_path)) >= set(before)

    def test_an_error_of_the_medium_is_one_message(
        self, ocitool: Command, full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ocitool.bundles.files import open_bundles
        from ocitool.errors import StorageError
        from ocitool.operations.bundle.load import load_into_layout

        real = os.pread
        data, layer = full.read_bytes(), TWO.blobs[TWO.layers[1].digest]

        def pread(file: int, size: int, offset: int) -> bytes:
            if os.fstat(file).st_size == len(data) and offset == data.index(layer):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real(file, size, offset)

        there = tmp_path / "there"
        monkeypatch.setattr(os, "pread", pread)
        with open_bundles([str(full)]) as (one,), pytest.raises(StorageError) as failed:
            load_into_layout(one, str(there))
        monkeypatch.undo()
        assert str(full) in failed.value.message
        assert not there.exists() or names_in(there) == {}
        loaded(ocitool, full, "--to", f"oci:{there}")
        assert len(names_in(there)) == 2


def test_a22_a_registry_without_mounts_gets_all_and_says_nothing_wrong(
    ocitool: Command, full: Path
) -> None:
    with EmulatedRegistry(Quirks(mount_status=202)) as registry:
        done = loaded(ocitool, full, "--to", f"{registry.host}/m", "--json")
        found: Any = done.json
        assert [row["status"] for row in found["pushed"]] == ["pushed", "pushed"]
        assert whole(registry, TWO, "m/x/two")


class TestWhatIsSaidOfDamage:
    def test_a_cut_file_is_named_with_what_is_missing(
        self, ocitool: Command, full: Path, tmp_path: Path
    ) -> None:
        data = full.read_bytes()
        cut = tmp_path / "cut.tar"
        cut.write_bytes(data[:-1])
        done = loaded(ocitool, cut)
        told = rf"{re.escape(str(cut))} is cut: 1 B of its [0-9.]+ kB are missing"
        assert re.search(told, done.err)
        assert set(names_in(ocitool.store)) == set(IMAGES)
        cut.write_bytes(data[: data.index(b"blobs/") + 600])
        done = loaded(ocitool, cut, "--to", f"oci:{tmp_path / 'other'}", code=3)
        assert "is cut: " in done.err
        assert "copy the files again" in done.err

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ((b'"sha256:', b'"sha256;'), "is not a sha256 or sha512 digest"),
            ((b'"blobs":[{', b'"blobs":[;'), "is not the list of a bundle"),
        ],
    )
    def test_a_list_with_a_flipped_bit_is_named_with_its_file(
        self, ocitool: Command, full: Path, change: tuple[bytes, bytes], said: str
    ) -> None:
        full.write_bytes(full.read_bytes().replace(*change, 1))
        done = loaded(ocitool, full, code=7)
        assert f"the list of '{full}' cannot be used: " in done.err
        assert said in done.err
        assert "copy the file again from where it is whole" in done.err

    def test_an_empty_file_is_called_empty(self, ocitool: Command, tmp_path: Path) -> None:
        (tmp_path / "empty.tar").write_bytes(b"")
        done = loaded(ocitool, tmp_path / "empty.tar", code=7)
        assert "empty.tar' is empty" in done.err

    def test_a10_what_is_damaged_in_the_store_is_told_apart_from_what_is_lacking(
        self, ocitool: Command, full: Path
    ) -> None:
        delta = bundle(ocitool, "next.delta.tar", {"reg.example/team/one:2": ONE}, "--base", full)
        loaded(ocitool, full)
        blob = ocitool.store / "blobs/sha256" / ONE.layers[0].digest.hex
        blob.chmod(0o600)
        blob.write_bytes(b"?" * ONE.layers[0].size)
        done = ocitool("bundle", "check", delta)
        assert done.code == 3
        assert "damaged there" in done.out
        assert done.out.rstrip().endswith("lacking")
        assert f"cannot be applied to the store {ocitool.store}: 1 blob" in done.out
        done = loaded(ocitool, delta, code=3)
        assert "together with the bundle that it builds on" in done.err
        loaded(ocitool, delta, full)
        assert ocitool("verify").code == 0


@pytest.mark.parametrize("is_reversed", [False, True])
def test_a_tag_ends_at_the_newest_bundle_in_any_order_of_the_files(
    ocitool: Command, full: Path, *, is_reversed: bool
) -> None:
    new = build_image([BASE, {"one": b"new"}])
    delta = bundle(ocitool, "next.delta.tar", {"reg.example/team/one:1": new}, "--base", full)
    files = [full, delta]
    loaded(ocitool, *(files[::-1] if is_reversed else files))
    assert names_in(ocitool.store)["reg.example/team/one:1"] == str(new.descriptor.digest)
