"""container create, ls and rm as a user sees them."""

import json
import os
import shutil
from pathlib import Path

import pytest

from ocitool.containers.sharing import can_share
from tests.support.command import Command, Done
from tests.support.images import build_image, build_index, oci_archive
from tests.support.root_files import Node, layer_of, program


@pytest.fixture
def filled(ocitool: Command, tmp_path: Path) -> Command:
    """Return the command with an image app:1 and an index both:1."""
    layer = layer_of(program("bin/app", b"x"), Node(path="null", type=b"3", device=(0, 0)))
    app = build_image([layer], config={"config": {"Entrypoint": ["/bin/app"]}})
    foreign = ("linux/s390x", "linux/ppc64le")
    both = build_index([build_image([{"p": p.encode()}], platform=p) for p in foreign])
    archive = tmp_path / "x.tar"
    archive.write_bytes(oci_archive({"app:1": app, "both:1": both}))
    assert ocitool("load", archive).code == 0
    return ocitool


def test_create_prints_the_bundle_last_and_tells_what_was_unpacked(filled: Command) -> None:
    done = filled("container", "create", "--name", "web", "app:1")
    assert done.code == 0
    bundle = Path(done.out.strip())
    assert json.loads((bundle / "config.json").read_bytes())["process"]["args"] == ["/bin/app"]
    assert "container web of app:1: 2 members, 1 B unpacked" in done.err
    assert "left out: 1 special file" in done.err
    again = filled("container", "create", "app:1")
    shared = can_share(str(bundle), rootless=os.geteuid() != 0)
    assert ("shares files that were unpacked before" in again.err) == shared


def test_a_bundle_goes_where_it_is_wanted_and_runs_what_is_wanted(
    filled: Command, tmp_path: Path
) -> None:
    done = filled("container", "create", "--bundle", tmp_path / "b", "--copy", "app:1", "a", "-b")
    assert done.out == f"{tmp_path}/b\n"
    process = json.loads((tmp_path / "b/config.json").read_bytes())["process"]
    assert process["args"] == ["/bin/app", "a", "-b"]
    assert (tmp_path / "b/rootfs/bin/app").exists()


def test_create_in_json_says_everything(filled: Command) -> None:
    value = filled("container", "create", "--name", "web", "--json", "app:1").json
    assert isinstance(value, dict)
    assert value["name"] == "web"
    assert value["image"] == "docker.io/library/app:1"
    assert value["unpacked"] == {
        "entries": 2,
        "bytes": 1,
        "special_left_out": 1,
        "attributes_left_out": 0,
    }
    assert os.path.isdir(value["bundle"])


def test_ls_lists_containers_and_the_images_that_they_keep(filled: Command) -> None:
    empty = filled("container", "ls")
    assert empty.out.split("  ")[0] == "CONTAINER ID"
    assert empty.out.count("\n") == 1
    identity = filled("container", "create", "--name", "web", "-q", "app:1").out.strip()
    filled("untag", "app:1")
    line = filled("container", "ls").out.splitlines()[1]
    assert line.split()[:3] == [identity[:12], "web", "app:1"]
    assert filled("container", "ls", "-q").out == f"{identity}\n"
    (row,) = json.loads(filled("container", "ls", "--json").out)
    assert (row["id"], row["state"]) == (identity, "created")


def test_rm_takes_names_and_ids(filled: Command) -> None:
    first = filled("container", "create", "-q", "app:1").out.strip()
    filled("container", "create", "--name", "second", "app:1")
    done = filled("container", "rm", first[:12], "second")
    assert done.code == 0
    assert done.out.splitlines()[1] == "Removed: second"
    assert filled("container", "ls", "-q").out == ""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("create", "nothing:1"), 4),
        (("create", "both:1"), 4),
        (("create", "--name", "taken", "app:1"), 6),
        (("create", "--name", "a/b", "app:1"), 2),
        (("create", "--bundle", "/", "app:1"), 6),
        (("rm", "nobody"), 4),
    ],
)
def test_what_cannot_be_done_has_its_exit_code(
    filled: Command, arguments: tuple[str, ...], code: int
) -> None:
    filled("container", "create", "--name", "taken", "app:1")
    done = filled("container", *arguments)
    assert done.code == code, done.err
    assert done.out == ""
    assert done.err.startswith("ocitool: ")


def test_create_in_no_store_is_not_found(ocitool: Command) -> None:
    assert ocitool("container", "create", "x").code == 4
    assert ocitool("container", "ls").code == 4


@pytest.mark.parametrize("what", ["digest", "manifest", "config"])
def test_a_record_whose_image_is_no_digest_is_not_taken_for_no_image(
    filled: Command, what: str
) -> None:
    filled("container", "create", "--name", "web", "app:1", "sh")
    (path,) = (filled.store / ".ocitool" / "containers").glob("*.json")
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, what: record[what].replace("sha256:", "sha25x:")}))
    filled("untag", "app:1")
    done = filled("gc", "-f", "--containers", "store")
    assert done.code == 6
    assert "cannot be read" in done.err


def test_a_damaged_record_stops_neither_ls_nor_df_nor_the_removal_of_others(
    filled: Command,
) -> None:
    for name in ("other", "web"):
        created = filled("container", "create", "--name", name, "--json", "app:1").json
    damaged = created["id"]  # type: ignore[index]
    (filled.store / f".ocitool/containers/{damaged}.json").write_text("{")
    listed = filled("container", "ls")
    assert (listed.code, "web" in listed.out, "other" in listed.out) == (0, False, True)
    assert f"its record is damaged: {filled.store}/.ocitool/containers/{damaged}" in listed.err
    used = filled("df", "--containers", "none")
    assert (used.code, "container other" in used.out) == (0, True)
    assert "gc would stop: the record of a container cannot be read" in used.err
    assert filled("gc", "-f", "--containers", "none").code == 6
    assert filled("images").code == 0
    assert filled("container", "rm", "web").code == 6
    assert filled("container", "rm", "other").code == 0


@pytest.mark.parametrize("options", [(), ("--copy",)])
def test_ls_and_df_count_what_a_container_wrote(filled: Command, options: tuple[str, ...]) -> None:
    created = filled("container", "create", "--name", "web", *options, "--json", "app:1").json
    assert isinstance(created, dict)
    place = "upper" if created["shared_tree"] else "rootfs"
    # Counted in blocks of the disk: holes take none, and a file with two names counts once.
    log = Path(created["bundle"], place, "log")
    log.write_bytes(b"x" * 5000)
    os.link(log, log.with_name("log.1"))
    with log.with_name("hole").open("wb") as file:
        file.truncate(1 << 30)
    layer, image = log.stat().st_blocks * 512, _blocks_of_the_image(created)
    unpacked = 0 if created["shared_tree"] else image
    listed = first(filled("container", "ls", "-s", "--json"))
    assert (listed["written"], listed["total"]) == (layer + unpacked, layer + image)
    assert "TOTAL" in filled("container", "ls", "-s").out
    used = filled("df", "--json", "--containers", "none").json
    assert isinstance(used, dict)
    assert (used["written"], used["trees"]) == (layer + unpacked, image - unpacked)
    assert "written by containers:" in filled("df", "--containers", "none").out
    shown = first(filled("container", "inspect", "-s", "web"))
    assert (shown["SizeRw"], shown["SizeRootFs"]) == (layer + unpacked, layer + image)


def first(done: Done) -> dict[str, object]:
    """Return the only object of a list."""
    found = done.json
    assert isinstance(found, list)
    (only,) = found
    assert isinstance(only, dict)
    return only


def _blocks_of_the_image(created: dict[str, object]) -> int:
    """Return what the one file with content takes."""
    bundle = Path(str(created["bundle"]))
    tree = created["shared_tree"]
    root = bundle.parent.parent / "trees" / str(tree) if tree else bundle / "rootfs"
    return (root / "bin/app").stat().st_blocks * 512


def test_ls_says_when_a_bundle_is_gone(filled: Command) -> None:
    bundle = filled("container", "create", "--name", "web", "app:1").out.strip()
    assert '"state": "created"' in filled("container", "ls", "--json").out
    shutil.rmtree(bundle)
    assert "bundle missing" in filled("container", "ls").out
    assert filled("container", "rm", "web").code == 0


def test_an_image_for_another_machine_is_told(filled: Command) -> None:
    done = filled("container", "create", "--platform", "linux/s390x", "both:1", "p")
    assert done.code == 0
    assert "the image is for linux/s390x, and this machine is" in done.err
    assert "this machine is" not in filled("container", "create", "app:1").err


def test_an_empty_bundle_is_refused(filled: Command) -> None:
    assert filled("container", "create", "--bundle", "", "app:1").code == 2
    assert filled("container", "ls", "-q").out == ""
