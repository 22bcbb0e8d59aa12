"""bundle load from a pipe, as a user sees it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.command import Command, environment
from tests.support.images import Built, build_image
from tests.support.made_bundles import made
from tests.support.stores import assert_whole, roots_of
from tests.support.terminal import wait_until

NAME = "registry.example/app:1"


def test_a27_a_cut_pipe_says_what_to_do_and_is_gone_on_with(
    ocitool: Command, tmp_path: Path
) -> None:
    bundle = made(tmp_path / "b.tar", {NAME: build_image([{"a": os.urandom(50_000)}])})
    data = bundle.read_bytes()
    done = ocitool("bundle", "load", "-", stdin=data[:-30_000])
    assert done.code == 7
    assert "load it again, and what has arrived is kept" in done.err
    assert ocitool("bundle", "load", "-", stdin=data).out == f"Loaded image: {NAME}\n"
    assert "0 B" in ocitool("bundle", "load", "-", stdin=data).err


def test_a21_names_are_mapped_as_it_arrives(ocitool: Command, tmp_path: Path) -> None:
    images: dict[str, Built] = {
        f"registry.example/{text}:1": build_image([{text: os.urandom(50_000)}]) for text in "ab"
    }
    data = made(tmp_path / "b.tar", images).read_bytes()
    map_file = tmp_path / "map.json"
    words = ("bundle", "load", "-", "--map-out", map_file, "--map")
    rule = "registry.example=mirror.site/x"
    done = ocitool(*words, rule, stdin=data[:-30_000])
    assert done.code == 7
    assert not map_file.exists()
    # What arrived is there: it was not collected in a file first.
    assert [*(ocitool.store / "blobs" / "sha256").iterdir()] != []
    assert ocitool(*words, rule, stdin=data).code == 0
    assert set(roots_of(ocitool.store)) == {"mirror.site/x/a:1", "mirror.site/x/b:1"}
    value = json.loads(map_file.read_bytes())
    assert [one["to"] for one in value["images"]] == ["mirror.site/x/a:1", "mirror.site/x/b:1"]
    meeting = ("--map", "registry.example/b:1=t/x:1")
    done = ocitool(*words, "registry.example/a:1=t/x:1", *meeting, stdin=data)
    assert done.code == 2
    assert "would get the same name" in done.err


def test_a16_killed_while_it_reads_a_pipe_it_leaves_a_sound_store_and_what_arrived(
    ocitool: Command, tmp_path: Path
) -> None:
    layers = [{"a": os.urandom(300_000)}, {"b": os.urandom(300_000)}]
    data = made(tmp_path / "b.tar", {NAME: build_image(layers)}).read_bytes()
    words = [sys.executable, "-m", "ocitool", "bundle", "load", "-"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, env=environment(ocitool.store)) as process:
        assert process.stdin is not None
        process.stdin.write(data[:450_000])
        process.stdin.flush()
        blobs = ocitool.store / "blobs" / "sha256"
        wait_until(lambda: any(path.stat().st_size > 200_000 for path in blobs.glob("*")))
        process.kill()
    assert ocitool("verify").code == 0
    have = ocitool("inventory", "store", "--unreferenced").json
    assert isinstance(have, dict)
    assert have["blobs"]
    assert ocitool("bundle", "load", "-", stdin=data).code == 0
    assert_whole(ocitool.store)


def test_volumes_and_compressed_bundles_in_a_pipe_are_read_as_before(
    ocitool: Command, tmp_path: Path
) -> None:
    import gzip

    image = build_image([{"a": b"x" * 5000}])
    made(tmp_path / "v.tar", {NAME: image}, volume_size=4 << 20)
    (volume,) = tmp_path.glob("v.v*.tar")
    assert ocitool("bundle", "load", "-", stdin=volume.read_bytes()).code == 0
    packed = gzip.compress(made(tmp_path / "b.tar", {NAME: image}).read_bytes())
    assert ocitool("bundle", "load", "-", stdin=packed).code == 0
    assert ocitool("bundle", "load", "-", stdin=b"nothing").code != 0


def test_a_need_is_written_when_a_delta_cannot_be_applied(ocitool: Command, tmp_path: Path) -> None:
    base = made(tmp_path / "b.tar", {NAME: build_image([{"a": b"x" * 5000}])})
    delta = made(
        tmp_path / "d.tar",
        {NAME: build_image([{"a": b"x" * 5000}, {"b": b"y"}])},
        base=[base],
    )
    words = ("bundle", "load", "-", "--need-out", str(tmp_path / "need.json"))
    assert ocitool(*words, stdin=delta.read_bytes()).code == 3
    assert (tmp_path / "need.json").exists()
    assert not ocitool.store.exists()
