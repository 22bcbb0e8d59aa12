"""gc as a user sees it: shown, refused, done, undone."""

import fcntl
import json
import os
import pty
import re
import subprocess
import sys
import threading

import pytest

from ocitool.cli.render.columns import size
from tests.support.command import ROOT, Command, environment
from tests.support.images import build_image, write_layout
from tests.support.stores import contents

NOBODY = ("--containers", "none")


def dangling(ocitool: Command) -> Command:
    """Leave the store with one image that lost its name."""
    assert ocitool("untag", "fmt/app:1.0").code == 0
    return ocitool


def test_without_garbage_it_says_so_and_needs_no_answer(loaded: Command) -> None:
    done = loaded("gc", *NOBODY)
    assert done.code == 0
    nothing, more = done.out.splitlines()
    assert nothing == "no garbage"
    assert re.fullmatch(r"`ocitool gc -a` would also remove \d+ images that nothing uses: .+", more)
    freed = loaded("df", *NOBODY, "--json").json["unheld"]  # type: ignore[index]
    assert size(freed) in more


def test_without_a_store_there_is_no_garbage_and_none_is_made(ocitool: Command) -> None:
    done = ocitool("gc", *NOBODY)
    assert (done.code, done.out) == (0, "no garbage: there is no store yet\n")
    assert not ocitool.store.exists()


def test_without_a_terminal_and_force_the_plan_is_on_stderr_and_nothing_happens(
    loaded: Command,
) -> None:
    dangling(loaded)
    before = contents(loaded.store)
    done = loaded("gc", *NOBODY)
    assert (done.code, done.out) == (2, "")
    assert "<none> was fmt/app:1.0" in done.err
    assert "use -f" in done.err
    assert contents(loaded.store) == before


def test_a_dry_run_shows_the_plan_and_changes_nothing(loaded: Command) -> None:
    dangling(loaded)
    before = contents(loaded.store)
    done = loaded("gc", "--dry-run", *NOBODY)
    assert done.code == 0
    assert "<none> was fmt/app:1.0" in done.out
    assert contents(loaded.store) == before
    assert not (loaded.store / ".ocitool" / "trash").exists()


def test_a_check_exits_with_3_when_there_is_garbage(loaded: Command) -> None:
    assert loaded("gc", "--check", *NOBODY).code == 0
    assert dangling(loaded)("gc", "--check", *NOBODY).code == 3


def test_what_went_waits_and_undo_brings_it_back_bit_for_bit(loaded: Command) -> None:
    dangling(loaded)
    before = {path: data for path, data in contents(loaded.store).items() if "blobs" in path}
    done = loaded("gc", "-f", *NOBODY)
    assert done.code == 0
    assert "moved to the trash" in done.out
    assert len(contents(loaded.store)) < len(before)
    assert "restored 1 image" in loaded("gc", "--undo").out
    after = {path: data for path, data in contents(loaded.store).items() if "blobs" in path}
    assert after == before
    assert "fmt/app:1.0" in loaded("images").out


def test_undo_without_anything_in_the_trash_is_not_found(loaded: Command) -> None:
    done = loaded("gc", "--undo")
    assert done.code == 4
    assert "nothing to undo" in done.err


def test_purge_frees_what_waited_and_cannot_be_undone(loaded: Command) -> None:
    dangling(loaded)("gc", "-f", *NOBODY)
    refused = loaded("gc", "--purge")
    assert refused.code == 2
    done = loaded("gc", "--purge", "-f", "--json").json
    assert isinstance(done, dict)
    assert done["blobs"] > 0
    assert done["freed"] > 0
    assert loaded("gc", "--undo").code == 4


def test_the_set_of_a_dry_run_is_the_set_that_is_removed(loaded: Command) -> None:
    dangling(loaded)
    planned = loaded("gc", "--dry-run", "--json", *NOBODY).json
    done = loaded("gc", "-f", "--json", *NOBODY).json
    assert isinstance(planned, dict)
    assert isinstance(done, dict)
    assert planned["done"] is None
    assert [blob["digest"] for blob in planned["blobs"]] == done["done"]["blobs"]
    assert [image["digest"] for image in planned["images"]] == done["done"]["images"]
    assert planned["size"] == done["done"]["waiting"]


def test_quiet_prints_digests_alone(loaded: Command) -> None:
    dangling(loaded)
    lines = loaded("gc", "-q", "-f", *NOBODY).out.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("sha256:")


def test_all_takes_named_images_too_and_undo_gives_them_their_names_back(loaded: Command) -> None:
    names = loaded("images", "--json").json
    assert loaded("gc", "-a", "-f", *NOBODY).code == 0
    assert loaded("images", "-q").out == ""
    assert "Tagged: fmt/app:1.0" in loaded("gc", "--undo").out
    assert loaded("images", "--json").json == names
    assert loaded("verify").code == 0


def test_explain_shows_the_path_from_a_name_to_a_layer(loaded: Command) -> None:
    report = loaded("inspect", "fmt/app:1.0", "--json").json
    text = json.dumps(report)
    manifest = json.loads(loaded("inspect", "--raw", "fmt/app:1.0").out)
    layer = manifest["layers"][0]["digest"]
    assert layer in text
    done = loaded("gc", "--explain", layer, *NOBODY)
    assert done.code == 0
    assert "kept" in done.out
    assert "fmt/" in done.out
    assert done.out.rstrip().endswith(layer)


def test_explain_says_why_a_blob_goes_and_that_it_waits(loaded: Command) -> None:
    manifest = json.loads(loaded("inspect", "--raw", "fmt/app:1.0").out)
    config = manifest["config"]["digest"]
    dangling(loaded)
    assert "garbage" in loaded("gc", "--explain", config[:20], *NOBODY).out
    loaded("gc", "-f", *NOBODY)
    assert "trash" in loaded("gc", "--explain", config, *NOBODY).out
    assert loaded("gc", "--explain", "sha256:" + "0" * 64, *NOBODY).code == 4
    assert loaded("gc", "--explain", "xyz!", *NOBODY).code == 2


def test_explain_takes_a_name_also_one_that_an_image_lost(loaded: Command) -> None:
    listed = loaded("images", "fmt/app:1.0", "--json").json
    assert isinstance(listed, list)
    text = str(listed[0]["digest"])
    done = loaded("gc", "--explain", "fmt/app:1.0", *NOBODY)
    assert done.out.startswith(f"{text}: kept: an image with a name needs it")
    assert "pinned" not in done.out
    assert loaded("pin", "fmt/app:1.0", "--reason", "release 7").code == 0
    both = loaded("gc", "--explain", "fmt/app:1.0", *NOBODY).out
    assert "kept: an image with a name needs it, and it is pinned: release 7" in both
    assert loaded("unpin", "fmt/app:1.0").code == 0
    dangling(loaded)
    done = loaded("gc", "--explain", "fmt/app:1.0", *NOBODY)
    assert done.out.startswith(f"{text}: garbage:")
    assert loaded("gc", "--explain", "never/there:1", *NOBODY).code == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ["--undo", "--purge"],
        ["--dry-run", "--undo"],
        ["--filter", "colour=red"],
        ["--grace", "soon"],
        ["--containers", "nonsense"],
        ["docker://ghcr.io/x"],
        ["oci:DIR", "-a"],
    ],
)
def test_what_makes_no_sense_is_a_usage_error(loaded: Command, arguments: list[str]) -> None:
    write_layout(loaded.cwd / "layout", {"1.0": build_image()})
    words = [text.replace("DIR", str(loaded.cwd / "layout")) for text in arguments]
    done = loaded("gc", *words)
    assert done.code == 2, done.err


@pytest.mark.parametrize("verb", ["gc", "prune"])
@pytest.mark.parametrize("prefix", ["", "docker://"])
def test_a_repository_is_pruned_by_another_command(
    ocitool: Command, verb: str, prefix: str
) -> None:
    done = ocitool(verb, f"{prefix}ghcr.io/team/app")
    assert done.code == 2
    assert "`ocitool registry prune ghcr.io/team/app`" in " ".join(done.err.split())


def test_a_container_that_a_file_lists_keeps_its_image_and_is_named(loaded: Command) -> None:
    report = json.loads(loaded("inspect", "--raw", "fmt/app:1.0").out)
    listing = loaded.cwd / "containers.json"
    container = {
        "Id": "4f0c" * 16,
        "Name": "/web",
        "Image": report["config"]["digest"],
        "Config": {"Image": "fmt/app:1.0"},
        "State": {"Status": "exited"},
    }
    listing.write_text(json.dumps([container]))
    dangling(loaded)
    done = loaded("gc", "-f", "--containers", f"docker:{listing}")
    assert done.code == 0, done.err
    assert "kept: <none> was fmt/app:1.0" in done.out
    assert "container web" in done.out
    assert loaded("images", "-q", "--filter", "dangling=true").out != ""


def test_somebody_who_is_asked_for_containers_and_cannot_answer_stops_everything(
    loaded: Command,
) -> None:
    dangling(loaded)
    before = contents(loaded.store)
    done = loaded("gc", "-f", "--containers", f"docker:{loaded.cwd}/absent.json")
    assert done.code == 6
    assert contents(loaded.store) == before


def test_containers_none_asks_no_engine_and_the_stores_own_still_count(loaded: Command) -> None:
    assert loaded("container", "create", "--name", "web", "fmt/app:1.0").code == 0
    dangling(loaded)
    done = loaded("gc", "-f", *NOBODY, variables={"DOCKER_HOST": f"unix://{loaded.cwd}/gone"})
    assert done.code == 0, done.err
    assert "container web (store, created)" in done.out


def test_an_engine_that_a_variable_names_and_that_is_gone_stops_everything(loaded: Command) -> None:
    dangling(loaded)
    before = contents(loaded.store)
    for name in ("DOCKER_HOST", "CONTAINER_HOST"):
        done = loaded("gc", "-f", variables={name: f"unix://{loaded.cwd}/gone"})
        assert done.code == 6, done.err
        assert f"{loaded.cwd}/gone ({name})" in done.err
    assert contents(loaded.store) == before


def test_damage_of_what_stays_stops_everything(loaded: Command) -> None:
    dangling(loaded)
    digest = loaded("images", "--json", "fmt/base").json[0]["digest"]  # type: ignore[index]
    path = loaded.store / "blobs" / "sha256" / digest.partition(":")[2]
    path.write_bytes(b"#" * path.stat().st_size)
    before = contents(loaded.store)
    done = loaded("gc", "-f", *NOBODY)
    assert done.code == 7
    assert "garbage cannot be told from it" in done.err
    assert contents(loaded.store) == before


def test_it_works_in_any_layout_and_gives_young_blobs_an_hour(loaded: Command) -> None:
    layout = write_layout(loaded.cwd / "layout", {"1.0": build_image()})
    stray = layout / "blobs" / "sha256" / ("ab" * 32)
    stray.write_bytes(b"young")
    assert loaded("gc", "-f", f"oci:{layout}", *NOBODY).code == 0
    assert stray.exists()
    old = stray.stat().st_mtime - 7200
    os.utime(stray, (old, old))
    assert loaded("gc", "-f", f"oci:{layout}", *NOBODY).code == 0
    assert not stray.exists()
    assert loaded("verify", f"oci:{layout}").code == 0


def answered(ocitool: Command, answer: str) -> tuple[int, str]:
    """Run gc on a terminal of its own and answer its question."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ocitool", "gc", *NOBODY],
        cwd=ROOT,
        env={**environment(ocitool.store), "TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(master, 1024)
    os.write(master, f"{answer}\n".encode())
    try:
        while part := os.read(master, 1024):
            shown += part
    except OSError:
        pass  # The other end is closed.
    os.close(master)
    return process.wait(timeout=30), shown.decode()


@pytest.mark.parametrize(
    ("answer", "code", "gone"), [("y", 0, True), ("", 1, False), ("n", 1, False)]
)
def test_on_a_terminal_it_shows_the_plan_and_asks(
    loaded: Command, answer: str, code: int, gone: bool
) -> None:
    dangling(loaded)
    ended, shown = answered(loaded, answer)
    assert ended == code
    assert "<none> was fmt/app:1.0" in shown
    assert "\x1b[1mIMAGE " in shown
    assert "\\x1b" not in shown
    assert (loaded("images", "-q", "--filter", "dangling=true").out == "") is gone


def test_undo_exits_with_7_when_an_image_lacks_a_part(loaded: Command) -> None:
    dangling(loaded)
    loaded("gc", "-f", *NOBODY)
    next((loaded.store / ".ocitool" / "trash").glob("*/sha256/*")).unlink()
    done = loaded("gc", "--undo")
    assert done.code == 7
    assert "has a missing or damaged blob and stays in the trash" in done.out


@pytest.mark.parametrize("mode", ["--undo", "--purge"])
@pytest.mark.parametrize("choice", [("-a",), ("--filter", "reference=x"), ("--keep-last", "1")])
def test_what_takes_a_run_whole_chooses_nothing(
    loaded: Command, mode: str, choice: tuple[str, ...]
) -> None:
    done = loaded("gc", mode, *choice)
    assert done.code == 2
    assert mode in done.err


def test_without_a_store_there_is_nothing_to_undo(ocitool: Command) -> None:
    assert ocitool("gc", "--undo").code == 4


def test_what_goes_for_good_is_said_before(loaded: Command) -> None:
    dangling(loaded)
    loaded("gc", "-f", *NOBODY)
    loaded("untag", "fmt/base:1")
    done = loaded("gc", "--dry-run", *NOBODY)
    assert "already in the trash will be deleted for good" in done.out


def test_who_waits_for_another_process_is_told_for_whom(loaded: Command) -> None:
    lock = loaded.store / ".ocitool" / "lock"
    with lock.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write(b"4711".ljust(20) + b"\n")
        held.flush()
        threading.Timer(2.5, lambda: fcntl.flock(held, fcntl.LOCK_UN)).start()
        done = loaded("tag", "fmt/app:1.0", "more:1")
    assert done.code == 0
    assert done.err.count("waiting for process 4711") == 1


def test_the_plan_in_json_has_the_same_keys_without_a_store(loaded: Command) -> None:
    with_store = json.loads(loaded("gc", "--dry-run", "--json", "--containers", "none").out)
    nowhere = Command(loaded.cwd / "nowhere", loaded.cwd)
    without = json.loads(nowhere("gc", "--json").out)
    assert without.keys() == with_store.keys()
    assert without["waiting"].keys() == with_store["waiting"].keys()
