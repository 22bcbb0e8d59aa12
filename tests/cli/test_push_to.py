"""A tar of many images into one's own registry: push --to, and copy to docker://HOST/PREFIX/."""

import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.places.registry.pushes import NAME, methods, received, whole
from tests.support.command import Command
from tests.support.images import (
    Built,
    build_artifact,
    build_image,
    build_index,
    docker_archive,
    docker_members,
    oci_archive,
    tar_of,
)
from tests.support.registry import EmulatedRegistry

BASE = {"base": random.Random(7).randbytes(30_000)}
IMAGES = [build_image([BASE, {"n": str(number).encode()}]) for number in range(19)]
INDEX = build_index([IMAGES[0], build_image([BASE, {"arm": b"1"}], platform="linux/arm64")])
CARRY: dict[str, Built] = {
    "docker.io/library/busybox:1": INDEX,
    "quay.io/prometheus/prom:v2": IMAGES[1],
    "ghcr.io/acme/deep/er/app:1": IMAGES[2],
    **{f"docker.io/acme/app{n}:1": IMAGES[n] for n in range(3, 19)},
    "reg.example:5000/x:9": IMAGES[2],
}


@pytest.fixture(scope="module")
def carry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tar of 20 names with a common base, one of them signed."""
    file = tmp_path_factory.mktemp("carry") / "carry.tar"
    signature = build_artifact(INDEX.descriptor)
    file.write_bytes(oci_archive(CARRY, [signature]))
    return file


def sent_blobs(registry: EmulatedRegistry) -> Counter[str]:
    """Return how often the content of each blob came to the registry."""
    puts = registry.requests("PUT", "/blobs/uploads/")
    return Counter(put.target.rpartition("digest=")[2] for put in puts)


class TestPushTo:
    def test_20_images_keep_their_names_and_digests_and_each_blob_is_sent_once(
        self, ocitool: Command, carry: Path
    ) -> None:
        with EmulatedRegistry() as registry:
            done = ocitool("push", carry, "--to", f"{registry.host}/mirror")
            assert done.code == 0, done.err
            for name, image in CARRY.items():
                path, _, tag = name.partition("/")[2].rpartition(":")
                assert registry.tags[f"mirror/{path}"][tag] == image.descriptor.digest
                assert whole(registry, image, f"mirror/{path}")
            sent = sent_blobs(registry)
            assert set(sent.values()) == {1}
            blobs = {d for i in CARRY.values() for d in i.blobs} | set(
                build_artifact(INDEX.descriptor).blobs
            )
            assert len(sent) + len({d for m in registry.manifests.values() for d in m}) == len(
                blobs
            )
            signature = build_artifact(INDEX.descriptor)
            assert whole(registry, signature, "mirror/library/busybox")
            lines = [line.split() for line in done.out.splitlines()]
            assert lines[0] == ["FROM", "TO", "DIGEST"]
            table = {old: (new, digest) for old, new, digest in lines[1:]}
            assert table["docker.io/library/busybox:1"] == (
                f"{registry.host}/mirror/library/busybox:1",
                str(INDEX.descriptor.digest),
            )
            assert len(table) == 20
            assert done.err.splitlines()[-1].startswith("pushed 20 images  ")

    def test_a_copy_to_a_prefix_does_the_same(self, ocitool: Command, carry: Path) -> None:
        with EmulatedRegistry() as registry:
            done = ocitool("copy", "--json", carry, f"docker://{registry.host}/mirror/")
            assert done.code == 0, done.err
            found: Any = done.json
            assert {one["from"]: one["destination"] for one in found} == {
                name: f"{registry.host}/mirror/{name.partition('/')[2]}" for name in CARRY
            }
            assert set(sent_blobs(registry).values()) == {1}
            assert len(found[0]["blobs"]) == found[0]["blobs_stored"] + found[0]["blobs_existing"]
            assert all(0 < one["seconds"] < 60 for one in found)
            assert found[0]["bytes_stored"] > 30_000

    def test_an_old_docker_archive_is_converted_and_each_layer_sent_once(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        file = tmp_path / "old.tar"
        file.write_bytes(docker_archive({"a:1": IMAGES[1], "b:1": IMAGES[2]}))
        with EmulatedRegistry() as registry:
            done = ocitool("push", file, "--to", registry.host)
            assert done.code == 0, done.err
            assert set(registry.tags) == {"library/a", "library/b"}
            assert set(sent_blobs(registry).values()) == {1}

    def test_several_sources_and_images_of_the_store(
        self, ocitool: Command, carry: Path, tmp_path: Path
    ) -> None:
        other = tmp_path / "other.tar"
        other.write_bytes(oci_archive({"other:1": IMAGES[3]}))
        assert ocitool("load", carry).code == 0
        with EmulatedRegistry() as registry:
            done = ocitool("push", "busybox:1", other, "acme/app4:1", "--to", f"{registry.host}/m")
            assert done.code == 0, done.err
            assert set(registry.tags) == {"m/library/busybox", "m/acme/app4", "m/library/other"}
            assert set(sent_blobs(registry).values()) == {1}

    def test_a_second_push_asks_for_each_tag_and_sends_nothing(
        self, ocitool: Command, carry: Path
    ) -> None:
        with EmulatedRegistry() as registry:
            ocitool("push", carry, "--to", registry.host)
            before = received(registry)
            done = ocitool("push", carry, "--to", registry.host)
            assert done.code == 0, done.err
            assert received(registry) == before
            assert "pushed 0 images  0 blobs, 0 B" in done.err


class TestNames:
    def test_flatten_keeps_the_last_component(self, ocitool: Command, carry: Path) -> None:
        with EmulatedRegistry() as registry:
            done = ocitool("push", carry, "--to", f"{registry.host}/p", "--flatten")
            assert done.code == 0, done.err
            assert {"p/busybox", "p/prom", "p/app", "p/x"} < set(registry.tags)

    @pytest.mark.parametrize(
        ("names", "flags", "code"),
        [
            (("a/x:1", "b/x:1"), ("--flatten",), 2),
            (("ghcr.io/a/x:1", "quay.io/a/x:1"), (), 2),
            (("ghcr.io/a/x:1", "quay.io/a/x:2"), (), 0),
        ],
    )
    @pytest.mark.parametrize("apart", [False, True], ids=["one-tar", "two-tars"])
    def test_a_clash_is_refused_before_anything_is_sent(
        self,
        ocitool: Command,
        tmp_path: Path,
        names: tuple[str, str],
        flags: tuple[str, ...],
        code: int,
        *,
        apart: bool,
    ) -> None:
        images = dict(zip(names, IMAGES[:2], strict=True))
        files = [tmp_path / "1.tar", tmp_path / "2.tar"] if apart else [tmp_path / "1.tar"]
        for number, file in enumerate(files):
            held = dict([list(images.items())[number]]) if apart else images
            file.write_bytes(oci_archive(held))
        with EmulatedRegistry() as registry:
            done = ocitool("push", *files, "--to", registry.host, *flags)
            assert done.code == code, done.err
            if code:
                assert all(name in done.err for name in names)
                assert methods(registry) == []

    def test_two_names_of_one_image_may_become_one(self, ocitool: Command, tmp_path: Path) -> None:
        file = tmp_path / "x.tar"
        file.write_bytes(oci_archive({"ghcr.io/a/x:1": INDEX, "quay.io/a/x:1": INDEX}))
        with EmulatedRegistry() as registry:
            done = ocitool("push", file, "--to", registry.host)
            assert done.code == 0, done.err
            assert registry.tags["a/x"] == {"1": INDEX.descriptor.digest}

    def test_an_image_without_a_name_is_refused_before_anything_is_sent(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        file = tmp_path / "x.tar"
        file.write_bytes(oci_archive({"a:1": IMAGES[0]}, [IMAGES[1]]))
        with EmulatedRegistry() as registry:
            done = ocitool("push", file, "--to", registry.host)
            assert done.code == 2
            assert IMAGES[1].descriptor.digest.hex[:12] in done.err
            assert methods(registry) == []

    @pytest.mark.parametrize("text", ["mine", "localhost:5000/a:1", "localhost:5000/UP", "a b", ""])
    def test_what_is_no_prefix(self, ocitool: Command, carry: Path, text: str) -> None:
        done = ocitool("push", carry, "--to", text)
        assert (done.code, done.out) == (2, "")
        assert "HOST/PREFIX" in done.err


class TestNotToAnyHost:
    @pytest.mark.parametrize("form", ["{}", "oci-archive:{}", "docker-archive:{}:a:1"])
    def test_a_tar_without_a_destination_is_refused(
        self, ocitool: Command, tmp_path: Path, form: str
    ) -> None:
        with EmulatedRegistry() as registry:
            file = tmp_path / "x.tar"
            file.write_bytes(oci_archive({f"{registry.host}/{NAME}:1": IMAGES[0]}))
            done = ocitool("push", form.format(file))
            assert done.code == 2
            assert "--to HOST/PREFIX" in done.err
            assert methods(registry) == []

    def test_original_names_say_so(self, ocitool: Command, tmp_path: Path) -> None:
        with EmulatedRegistry() as registry:
            file = tmp_path / "x.tar"
            file.write_bytes(oci_archive({f"{registry.host}/{NAME}:1": IMAGES[0]}))
            done = ocitool("push", file, "--original-names")
            assert done.code == 0, done.err
            assert whole(registry, IMAGES[0])


class TestDryRun:
    @pytest.mark.parametrize("verb", ["push", "copy"])
    def test_it_shows_the_table_and_asks_nobody(
        self, ocitool: Command, carry: Path, verb: str
    ) -> None:
        with EmulatedRegistry() as registry:
            to = (
                ("--to", f"{registry.host}/m")
                if verb == "push"
                else (f"docker://{registry.host}/m/",)
            )
            done = ocitool(verb, carry, *to, "--dry-run")
            assert done.code == 0, done.err
            assert len(done.out.splitlines()) == 21
            found = json.loads(ocitool(verb, carry, *to, "--dry-run", "--json").out)
            assert {one["status"] for one in found} == {"planned"}
            assert sorted(one["from"] for one in found) == sorted(CARRY)
            assert methods(registry) == []

    def test_on_a_narrow_terminal_no_name_is_broken(self, ocitool: Command, tmp_path: Path) -> None:
        file = tmp_path / "long.tar"
        name = f"reg.example/{'team/' * 8}app:1.0"
        file.write_bytes(docker_archive({name: IMAGES[1]}))
        shown = ocitool.on_terminal("push", file, "--to", "h.invalid/m", "--dry-run", columns=80)
        lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
        target = f"h.invalid/m/{'team/' * 8}app:1.0"
        assert lines[0] == "FROM"
        assert lines[2] == name
        assert [line.split() for line in lines[1::2]] == [["TO", "DIGEST"], [target, "-"]]
        assert max(map(len, lines)) <= 80

    def test_a_digest_that_a_conversion_will_change_is_not_told(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        file = tmp_path / "old.tar"
        file.write_bytes(docker_archive({"a:1": IMAGES[1]}))
        done = ocitool("push", file, "reg.example/x:1", "--dry-run")
        assert done.out.splitlines()[1].split() == [
            "docker.io/library/a:1",
            "reg.example/x:1",
            "-",
        ]


class TestAskedFirst:
    @pytest.mark.parametrize(("policy", "code"), [("skip", 0), ("error", 6)])
    @pytest.mark.parametrize("below", [False, True], ids=["one-name", "prefix"])
    def test_the_tag_is_asked_by_one_request_before_anything_is_converted(
        self, ocitool: Command, tmp_path: Path, policy: str, code: int, *, below: bool
    ) -> None:
        members = docker_members({"a:1": IMAGES[1]})
        layer = next(path for path in members if path.endswith("layer.tar"))
        # A conversion would find that this is not the layer that the config promises.
        file = tmp_path / "old.tar"
        file.write_bytes(tar_of({**members, layer: tar_of({"other": b"content"})}))
        with EmulatedRegistry() as registry:
            registry.add_image("library/a", IMAGES[2], "1")
            to = ("--to", registry.host) if below else (f"{registry.host}/library/a:1",)
            done = ocitool("push", "--on-existing", policy, file, *to)
            assert done.code == code, done.err
            assert methods(registry) == ["HEAD"]
            assert registry.tags["library/a"]["1"] == IMAGES[2].descriptor.digest

    def test_what_is_not_there_is_converted_and_sent(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        file = tmp_path / "old.tar"
        file.write_bytes(docker_archive({"a:1": IMAGES[1], "b:1": IMAGES[2]}))
        with EmulatedRegistry() as registry:
            registry.add_image("library/a", IMAGES[2], "1")
            done = ocitool("push", "--on-existing", "skip", "--json", file, "--to", registry.host)
            found: Any = done.json
            assert [one["status"] for one in found] == ["skipped", "pushed"], done.err
            assert "1" in registry.tags["library/b"]
