"""images, tag, untag, rm, inspect, history and verify as a user sees them."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ocitool.cli.render.columns import bar, cells, clip, size
from tests.support.command import Command, environment
from tests.support.images import build_image, write_layout
from tests.support.layouts import tag_as_umoci

IMAGE_ID = "90886f9e406149e36949394a3ff5b9c179b322f2d581c97cd27700d18b323b35"


def test_images_of_no_store_is_an_empty_table(ocitool: Command) -> None:
    done = ocitool("images")
    assert done.code == 0
    assert done.out.startswith("REPOSITORY")
    assert done.out.count("\n") == 1
    assert not ocitool.store.exists()


def test_images_lists_names_ids_platforms_and_sizes(loaded: Command) -> None:
    lines = loaded("images").out.splitlines()
    app = next(line for line in lines if line.startswith("fmt/app "))
    assert app.split()[:4] == ["fmt/app", "1.0", IMAGE_ID[:12], "linux/amd64"]
    multi = next(line for line in lines if line.startswith("hyb/multiplat-full"))
    assert "3 platforms" in multi


def test_an_image_without_a_name_says_what_it_was_called(loaded: Command) -> None:
    loaded("untag", "fmt/app:1.0")
    assert "was fmt/app:1.0" in loaded.on_terminal("images")
    rows = loaded("images", "--json", "--filter", "dangling=true").json
    assert isinstance(rows, list)
    (row,) = rows
    assert row["names"] == []
    assert row["former_name"] == "docker.io/fmt/app:1.0"


def test_an_image_whose_name_moved_is_listed_as_none(loaded: Command) -> None:
    done = loaded("tag", "fmt/app:1.0", "fmt/base:1")
    assert "fmt/base:1 moved from sha256:" in done.err
    assert "<none> was fmt/base:1" in loaded.on_terminal("images", columns=200)


def test_untag_prints_the_name_as_rm_does(loaded: Command) -> None:
    loaded("tag", "fmt/app:1.0", "race:y")
    assert loaded("untag", "docker.io/library/race:y").out == "Untagged: race:y\n"


def test_what_another_tool_called_an_image_besides_is_shown(loaded: Command) -> None:
    tag_as_umoci(loaded.store, "docker.io/fmt/app:1.0", "v9")
    lines = [line.split() for line in loaded("images").out.splitlines()]
    names = {tuple(line[:2]) for line in lines if IMAGE_ID[:12] in line}
    assert names == {("fmt/app", "1.0"), ("<none>", "v9")}
    rows = loaded("images", "v9", "--json").json
    assert isinstance(rows, list)
    assert [row["other_names"] for row in rows] == [["v9"]]
    assert "\n  also        v9\n" in loaded("inspect", "fmt/app:1.0").out
    assert loaded("untag", "v9").out == "Untagged: v9\n"
    assert loaded("images", "v9", "--json").json == []


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["fmt/app"], 1),
        (["fmt/*"], 2),
        (["--filter", "reference=*:1"], 2),
        (["--filter", "label=org.opencontainers.image.title"], 1),
        (["--filter", "label=org.opencontainers.image.title=other"], 0),
        (["--filter", "dangling=true"], 0),
        (["--filter", "before=fmt/base:1"], 1),
        (["--filter", "since=hyb/multiplat-full:1"], 2),
    ],
)
def test_images_can_be_filtered(loaded: Command, arguments: list[str], count: int) -> None:
    rows = loaded("images", "--json", *arguments).json
    assert isinstance(rows, list)
    assert len(rows) == count


def test_an_unknown_filter_is_a_usage_error_that_lists_the_known(loaded: Command) -> None:
    done = loaded("images", "--filter", "colour=red")
    assert done.code == 2
    assert "dangling" in done.err


def test_an_image_is_found_by_the_start_of_its_id_and_of_its_digest(loaded: Command) -> None:
    digest = loaded("inspect", "-q", "fmt/app:1.0").out.strip()
    for text in (IMAGE_ID[:6], IMAGE_ID, f"sha256:{IMAGE_ID}", digest, digest[7:15]):
        assert loaded("inspect", "-q", text).out.strip() == digest


def test_a_name_with_its_digest_is_found_and_with_another_is_not(loaded: Command) -> None:
    digest = loaded("inspect", "-q", "fmt/app:1.0").out.strip()
    assert loaded("inspect", "-q", f"fmt/app:1.0@{digest}").code == 0
    assert loaded("inspect", "-q", f"fmt/app:1.0@sha256:{'0' * 64}").code == 4


def test_a_miss_suggests_the_tag_that_is_there(loaded: Command) -> None:
    done = loaded("inspect", "fmt/app")
    assert done.code == 4
    assert "did you mean fmt/app:1.0?" in done.err


def test_a_bare_word_that_is_a_file_hints_at_the_path(ocitool: Command, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"")
    done = ocitool("inspect", "x.tar")
    assert done.code == 4
    assert "write ./x.tar" in done.err


def test_rm_of_the_last_name_removes_blobs_that_only_it_needs(loaded: Command) -> None:
    done = loaded("rm", "fmt/app:1.0")
    assert done.code == 0
    assert "Untagged: fmt/app:1.0" in done.out
    assert "Deleted: sha256:" in done.out
    assert loaded("inspect", "fmt/base:1").code == 0
    report = loaded("verify", "--json").json
    assert isinstance(report, dict)
    assert report["sound"] is True
    assert report["unreferenced"] == []


def test_rm_of_one_of_two_names_keeps_the_image(loaded: Command) -> None:
    loaded("tag", "fmt/app:1.0", "other:1")
    done = loaded("rm", "fmt/app:1.0")
    assert "Deleted" not in done.out
    assert loaded("inspect", "other:1").code == 0


def test_rm_by_id_of_an_image_with_two_names_needs_force(loaded: Command) -> None:
    loaded("tag", "fmt/app:1.0", "other:1")
    done = loaded("rm", IMAGE_ID[:12])
    assert done.code == 6
    assert "--force" in done.err
    assert loaded("rm", "-f", IMAGE_ID[:12]).code == 0


def test_rm_of_what_is_not_there_removes_nothing(loaded: Command) -> None:
    before = (loaded.store / "index.json").read_bytes()
    assert loaded("rm", "fmt/app:1.0", "nosuch").code == 4
    assert (loaded.store / "index.json").read_bytes() == before


def test_inspect_shows_the_layers_with_their_instructions(loaded: Command) -> None:
    out = loaded("inspect", "fmt/app:1.0").out
    assert f"image ID    sha256:{IMAGE_ID}" in out
    assert "RUN mkdir -p /data/dir" in out
    assert "(Imported from -)" in out
    assert "and 6 steps that made no layer" in out


def test_inspect_fits_in_eighty_and_in_140_columns(loaded: Command) -> None:
    for columns in (80, 140):
        out = loaded("inspect", "fmt/app:1.0", variables={"COLUMNS": str(columns)}).out
        assert max(map(len, out.splitlines())) <= columns
    assert "DIGEST" in out


def test_inspect_of_an_index_lists_its_platforms_and_shows_the_one_asked_for(
    loaded: Command,
) -> None:
    out = loaded("inspect", "hyb/multiplat-full:1", "--platform", "linux/s390x").out
    assert "platform    linux/s390x" in out
    assert "* linux/s390x" in out
    assert "linux/arm64" in out
    assert "1 attestation" in out


def test_inspect_follows_dockers_default_platform(loaded: Command) -> None:
    variables = {"DOCKER_DEFAULT_PLATFORM": "linux/arm64"}
    out = loaded("inspect", "hyb/multiplat-full:1", variables=variables).out
    assert "platform    linux/arm64" in out


def test_inspect_gives_the_very_bytes_of_the_documents(loaded: Command) -> None:
    blobs = loaded.store / "blobs/sha256"
    config = loaded.run_bytes("inspect", "--config", "fmt/app:1.0").stdout
    assert config == (blobs / IMAGE_ID).read_bytes()
    report = loaded("inspect", "--json", "hyb/multiplat-full:1", "--platform", "arm64").json
    assert isinstance(report, dict)
    raw = loaded.run_bytes("inspect", "--raw", "hyb/multiplat-full:1").stdout
    assert raw == (blobs / report["index_digest"][7:]).read_bytes()
    manifest = loaded.run_bytes(
        "inspect", "--manifest", "hyb/multiplat-full:1", "--platform", "arm64"
    ).stdout
    assert manifest == (blobs / report["digest"][7:]).read_bytes()


def test_inspect_as_json_has_sizes_as_numbers_and_full_digests(loaded: Command) -> None:
    report = loaded("inspect", "--json", "fmt/app:1.0").json
    assert isinstance(report, dict)
    assert report["image_id"] == f"sha256:{IMAGE_ID}"
    assert [layer["unpacked"] for layer in report["layers"]] == [1996800, 13312, 4608, 2048, 2560]
    assert report["unpacked"] == sum(layer["unpacked"] for layer in report["layers"])


def test_inspect_of_two_images_is_an_array(loaded: Command) -> None:
    reports = loaded("inspect", "--json", "fmt/app:1.0", "fmt/base:1").json
    assert isinstance(reports, list)
    assert [report["names"] for report in reports] == [
        ["docker.io/fmt/app:1.0"],
        ["docker.io/fmt/base:1"],
    ]


def test_inspect_reads_an_archive_from_a_pipe(loaded: Command) -> None:
    archive = loaded.run_bytes("save", "fmt/app:1.0").stdout
    assert "fmt/app:1.0" in loaded("inspect", "-", stdin=archive).out


def test_history_joins_steps_with_layers(loaded: Command) -> None:
    steps = loaded("history", "--json", "fmt/app:1.0").json
    assert isinstance(steps, list)
    assert len(steps) == 11
    assert [step["unpacked"] for step in steps if step["layer"]] == [
        1996800,
        13312,
        4608,
        2048,
        2560,
    ]
    assert steps[-1]["instruction"] == 'CMD ["/bin/sh"]'


def test_control_characters_of_an_image_never_reach_the_output(
    ocitool: Command, tmp_path: Path
) -> None:
    evil = "a\x1b]0;owned\x07\x9b31m\u202ereversed\u2028"
    config = {
        "architecture": "amd64",
        "os": "linux",
        "author": evil,
        "config": {"Labels": {evil: evil}, "Env": [evil], "Cmd": [evil], "User": evil},
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [{"created_by": evil, "comment": evil, "empty_layer": True}],
    }
    folder = tmp_path / "evil"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    entry = {"Config": "config.json", "RepoTags": ["evil:1"], "Layers": []}
    (folder / "manifest.json").write_text(json.dumps([entry]))
    assert ocitool("load", folder).code == 0
    for arguments in (
        ["inspect", "evil:1"],
        ["inspect", "--json", "evil:1"],
        ["history", "--no-trunc", "evil:1"],
        ["images", "--json"],
    ):
        done = ocitool(*arguments)
        assert done.code == 0, done.err
        for character in done.out + done.err:
            assert character == "\n" or character.isprintable(), (arguments, character)


def test_verify_of_a_sound_store_is_0_and_of_a_damaged_one_3(loaded: Command) -> None:
    assert loaded("verify").code == 0
    blob = max((loaded.store / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    done = loaded("verify")
    assert done.code == 3
    assert blob.name in done.out


def test_a_read_only_store_can_be_read(loaded: Command) -> None:
    store = shlex.quote(str(loaded.store))
    mount = f"mount --bind {store} {store} && mount -o remount,ro,bind {store} && touch {store}/x"
    works = subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False)
    if b"Read-only" not in works.stderr:
        pytest.skip("needs a user namespace with mounts")
    mount = mount.removesuffix(f" && touch {store}/x")
    for arguments in ("images", "inspect fmt/app:1.0", "verify", "save fmt/app:1.0 -o x.tar"):
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-c", f"{mount} && {sys.executable} -m ocitool {arguments}"],
            cwd=loaded.cwd,
            env=environment(loaded.store),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stderr)
    untag = f"{mount} && {sys.executable} -m ocitool untag fmt/app:1.0"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", untag],
        cwd=loaded.cwd,
        env=environment(loaded.store),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 9, done.stderr
    assert b"read-only" in done.stderr


def test_output_is_not_coloured_in_a_pipe(loaded: Command) -> None:
    assert "\x1b" not in loaded("inspect", "fmt/app:1.0").out


def test_an_error_shows_a_traceback_only_with_debug(ocitool: Command) -> None:
    assert "Traceback" not in ocitool("load", "/no/such/file").err
    done = ocitool("--debug", "load", "/no/such/file")
    assert done.code == 4
    assert "Traceback" in done.err


def test_works_in_the_c_locale_and_with_closed_streams(loaded: Command) -> None:
    done = loaded("inspect", "fmt/app:1.0", variables={"LC_ALL": "C", "PYTHONUTF8": "0"})
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (12_345_678, "12.3 MB"),
        (5 * 10**9, "5.00 GB"),
        (None, "-"),
    ],
)
def test_sizes_have_three_digits(count: int | None, text: str) -> None:
    assert size(count) == text


def test_a_bar_never_exceeds_its_width_and_shows_anything_above_zero() -> None:
    for part in (0, 1, 50, 99, 100):
        assert cells(bar(part, 100, 10)) == 10
    assert bar(1, 10**9, 10).strip()
    assert not bar(0, 10, 10).strip()


def test_clipping_counts_wide_characters_as_two() -> None:
    assert cells(clip("日本語日本語", 7)) <= 7


def test_rm_by_the_id_of_one_platform_refuses_and_names_the_whole(loaded: Command) -> None:
    digest = loaded("inspect", "-q", "hyb/multiplat-full:1", "--platform", "arm64").out.strip()
    done = loaded("rm", "-f", digest)
    assert done.code == 6
    assert "one platform of hyb/multiplat-full:1" in done.err
    assert "linux/arm64" in loaded("inspect", digest).out


def test_a_store_that_lost_its_index_is_not_shown_as_empty(loaded: Command) -> None:
    (loaded.store / "index.json").unlink()
    assert loaded("images").code == 7


def test_a_filter_that_names_no_image_is_an_error(loaded: Command) -> None:
    assert loaded("images", "--filter", "before=nosuch").code == 4


def test_inspect_by_one_name_shows_the_others_too(loaded: Command) -> None:
    loaded("tag", "fmt/app:1.0", "other:1")
    assert "also        other:1" in loaded("inspect", "fmt/app:1.0").out


def test_a_name_that_looks_like_a_digest_is_refused(loaded: Command) -> None:
    assert loaded("tag", "fmt/app:1.0", f"sha256:{IMAGE_ID[:12]}").code == 2


def test_a_name_given_twice_is_untagged_once(loaded: Command) -> None:
    assert loaded("untag", "fmt/app:1.0", "store:fmt/app:1.0").code == 0


def test_an_empty_environment_entry_is_no_title(ocitool: Command, tmp_path: Path) -> None:
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["", "A=b"]},
        "rootfs": {"type": "layers", "diff_ids": []},
    }
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    entry = {"Config": "config.json", "RepoTags": ["env:1"], "Layers": []}
    (folder / "manifest.json").write_text(json.dumps([entry]))
    assert ocitool("load", folder).code == 0
    assert "  env         \n" in ocitool("inspect", "env:1").out


def test_in_a_layout_of_another_tool_a_tag_alone_is_untagged(tmp_path: Path) -> None:
    image = build_image([{"a": b"1"}])
    layout = write_layout(tmp_path / "layout", {"v1": image, "ex.io/app:2": image})
    ocitool = Command(layout, tmp_path)
    done = ocitool("untag", "v1", "ex.io/app:2")
    assert (done.code, done.out) == (0, "Untagged: v1\nUntagged: ex.io/app:2\n")
    assert ocitool("untag", "v1").code == 4
    assert str(image.descriptor.digest) in ocitool("images", "--digests").out
