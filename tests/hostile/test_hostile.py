"""Every hostile input, through the commands: refused or taken as stated, nothing else touched."""

import json
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from fixtures.hostile import CANARY, CASES, EVIL_TEXTS, Case, archive, layout, table
from tests.hostile.forks import ROOT, Forks, Ran
from tests.hostile.scene import Scene, control_characters, snapshot, words

MEMORY = 256 << 20
SECONDS = 20.0
# What the command line itself sends to a terminal: these styles, and nothing else.
OUR_STYLES = re.compile(rb"\x1b\[(?:0|1|2|31|32|33|36)(?:;(?:1|2|31|32|33|36))*m")
SLOW = ("graphs", "json", "layers", "streams")
SHOWN = (" in a config", " in annotations and types", " in the platform", " in a name")
# All inputs with evil text that is taken, and every eighth of those that are quick.
ALSO_AS_JSON = tuple(
    case
    for case in CASES
    if case.name.endswith(SHOWN)
    or (case.category not in SLOW and not case.heavy and zlib.crc32(case.name.encode()) % 8 == 0)
)
ON_TERMINALS = tuple(
    case
    for case in CASES
    if case.category == "text" and any(case.name.startswith(name) for name in EVIL_TEXTS)
)
LOOKED_INTO = tuple(case for case in CASES if case.category in ("layers", "diff IDs"))
LOOKING = (["size", "--json"], ["files", "ls", "-R"], ["facts"], ["dockerfile"])
REAL_PROCESSES = (
    "a link that leads out for index.json",
    "a PAX header of 64 MiB",
    "a digest with ../",
    "escape sequences in a config",
    "a FIFO for index.json",
    "a link to the canary for leases",
)


def identifier(case: Case) -> str:
    text = re.sub(r"[^\w.,'-]+", "_", f"{case.category}: {case.name}", flags=re.ASCII)
    return f"{text[:60]}-{zlib.crc32(case.name.encode()):08x}"


def parameters(cases: tuple[Case, ...]) -> list[object]:
    return [
        pytest.param(case, id=identifier(case), marks=[pytest.mark.soak] if case.heavy else [])
        for case in cases
    ]


def built(case: Case, scene: Scene) -> Path:
    try:
        return case.build(scene.input)
    except PermissionError:
        pytest.skip("this file cannot be made here")


def run(forks: Forks, scene: Scene, *arguments: str, terminal: bool = False) -> Ran:
    variables = scene.variables | ({"OCITOOL_PROGRESS": "none"} if terminal else {})
    return forks.run(
        *arguments, cwd=scene.folder, variables=variables, terminal=terminal, seconds=SECONDS
    )


def assert_bounded(ran: Ran) -> None:
    assert ran.code >= 0, f"killed: {ran}"
    assert ran.seconds < SECONDS, ran
    assert ran.peak <= MEMORY, f"{ran.peak >> 20} MiB: {ran}"


def assert_calm(ran: Ran) -> None:
    """No bug was met, and nothing that was printed can control a terminal."""
    assert ran.code != 1, ran
    assert b"Traceback" not in ran.out + ran.err, ran
    assert b"this is a bug" not in ran.out + ran.err, ran
    assert control_characters(ran.out) == set(), ran
    assert control_characters(ran.err) == set(), ran


def assert_as_stated(case: Case, loaded: Ran, inspected: Ran, verified: Ran) -> None:
    stated = case.outcome
    codes = (loaded.code, inspected.code, verified.code)
    reason = f"{loaded}\n{inspected}\n{verified}"
    assert codes == (stated.load, stated.inspect, stated.verify), reason
    assert stated.says in loaded.err.decode(), loaded
    assert stated.shows in inspected.out.decode(), inspected


@pytest.mark.parametrize("case", parameters(CASES))
def test_an_input_is_refused_or_taken_as_stated_and_nothing_else_is_touched(
    case: Case, forks: Forks, scene: Scene
) -> None:
    path = built(case, scene)
    around, inside, entries = scene.around_the_store(), scene.in_the_store(), scene.listed()
    ran = [run(forks, scene, *arguments) for arguments in words(case, path)]
    for one in ran:
        assert_bounded(one)
        assert_calm(one)
    assert scene.around_the_store() == around
    assert_as_stated(case, *ran)
    assert scene.leftovers() == []
    if case.outcome.is_refused:
        assert scene.in_the_store() == inside
    else:
        assert len(scene.listed() or ()) > len(entries or ())
        after = run(forks, scene, "verify")
        assert after.code == case.outcome.after, after


@pytest.mark.parametrize("case", parameters(ALSO_AS_JSON))
def test_json_is_pure_ascii_and_comes_with_the_same_exit_codes(
    case: Case, forks: Forks, scene: Scene
) -> None:
    path = built(case, scene)
    stated = case.outcome
    codes = (stated.load, stated.inspect, stated.verify)
    for arguments, code in zip(words(case, path), codes, strict=True):
        ran = run(forks, scene, *arguments, "--json")
        assert_bounded(ran)
        assert_calm(ran)
        assert ran.code == code, ran
        assert ran.out.isascii()
        if code == 0:
            json.loads(ran.out)
    listed = run(forks, scene, "images", "--all", "--json")
    assert_calm(listed)
    assert listed.out.isascii()


@pytest.mark.parametrize("case", parameters(LOOKED_INTO))
def test_who_looks_inside_gets_an_answer_or_a_reason_in_little_time_and_memory(
    case: Case, forks: Forks, scene: Scene
) -> None:
    path = built(case, scene)
    around = scene.around_the_store()
    _, (_, _, place), _ = words(case, path)
    for command in LOOKING[:2]:
        ran = run(forks, scene, *command, place)
        assert ran.code in (0, 4, 7), ran
        assert_calm(ran)
        assert ran.code >= 0, ran
        assert ran.seconds < SECONDS, ran
        # A table has all names, links and attributes of its layer.
        assert ran.peak <= MEMORY + (64 << 20), ran
    assert scene.around_the_store() == around


@pytest.mark.parametrize("case", parameters(ON_TERMINALS))
def test_a_terminal_gets_no_control_character_but_our_own_styles(
    case: Case, forks: Forks, scene: Scene
) -> None:
    path = built(case, scene)
    load, inspect, verify = words(case, path)
    commands = [load, inspect]
    if case.name.endswith(SHOWN):
        commands += [verify, ["history", *inspect[1:]], ["images", "--all"]]
        commands += [[*words, inspect[-1]] for words in LOOKING]
    for arguments in commands:
        ran = run(forks, scene, *arguments, terminal=True)
        assert ran.code not in (1, 70), ran
        text = OUR_STYLES.sub(b"", ran.out).replace(b"\r\n", b"\n")
        assert control_characters(text) == set(), ran


@pytest.mark.parametrize("name", REAL_PROCESSES)
def test_a_process_of_its_own_behaves_like_a_fork(name: str, scene: Scene) -> None:
    (case,) = [case for case in CASES if case.name == name]
    path = built(case, scene)
    around = scene.around_the_store()
    kept = {key: text for key, text in os.environ.items() if not key.startswith("OCITOOL_")}
    codes = []
    for arguments in words(case, path):
        done = subprocess.run(
            [sys.executable, "-m", "ocitool", *arguments],
            cwd=scene.folder,
            env={**kept, **scene.variables, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=120,
        )
        codes.append(done.returncode)
        assert control_characters(done.stdout + done.stderr) == set()
        assert b"Traceback" not in done.stderr
    stated = case.outcome
    assert codes == [stated.load, stated.inspect, stated.verify]
    assert scene.around_the_store() == around


@pytest.mark.parametrize(
    "name", ["a second tar after the end", "noise", "two PAX headers before a member"]
)
def test_an_archive_from_a_pipe_is_treated_like_a_file(
    name: str, forks: Forks, scene: Scene
) -> None:
    (case,) = [case for case in CASES if case.name == name]
    path = built(case, scene)
    around = scene.around_the_store()
    ran = forks.run("load", "-", cwd=scene.folder, variables=scene.variables, stdin=path)
    assert_calm(ran)
    assert ran.code == case.outcome.load, ran
    assert scene.around_the_store() == around


def test_an_index_is_full_before_it_cannot_be_read_any_more(forks: Forks, scene: Scene) -> None:
    """Entries bring their annotations along: no archive may fill an index up beyond reading."""
    codes = []
    for number in range(6):
        text = {"annotations": {"x": "x" * 3_900_000, "n": str(number)}}
        files = layout(config={"author": str(number)}, entry=text)
        path = archive(files)(scene.input)
        codes.append(run(forks, scene, "load", str(path)).code)
    assert codes == [0, 0, 0, 0, 6, 6]
    assert run(forks, scene, "verify").code == 0
    assert run(forks, scene, "images").code == 0


# The tests of the tests.


def test_there_are_well_over_150_inputs_and_each_has_a_name_of_its_own() -> None:
    names = [(case.category, case.name) for case in CASES]
    assert len(names) == len(set(names)) > 600


def test_the_table_has_a_line_for_each_input() -> None:
    lines = table()
    assert len(lines) == len(CASES) + 2
    assert all(line.isprintable() for line in lines)
    assert len({line.count("|") - line.count("\\|") for line in lines}) == 1


@pytest.mark.parametrize("name", ["a chain of 40 links", "noise", "a layer: gzip cut short"])
def test_an_input_is_built_the_same_every_time(name: str, tmp_path: Path) -> None:
    (case,) = [case for case in CASES if case.name == name]
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    assert case.build(first).read_bytes() == case.build(second).read_bytes()


@pytest.mark.parametrize("change", ["write", "touch", "replace", "add", "link", "mode"])
def test_the_canary_notices(change: str, scene: Scene) -> None:
    before = scene.around_the_store()
    secret = scene.folder / CANARY / "secret"
    if change == "write":
        times = secret.stat()
        secret.write_bytes(secret.read_bytes()[::-1])
        os.utime(secret, ns=(times.st_atime_ns, times.st_mtime_ns))
    elif change == "touch":
        os.utime(secret)
    elif change == "replace":
        data = secret.read_bytes()
        secret.unlink()
        secret.write_bytes(data)
    elif change == "add":
        (secret.parent / "deep" / "folder" / "x").touch()
    elif change == "link":
        (scene.input / "x").hardlink_to(secret)
    else:
        secret.chmod(0o600)
    assert scene.around_the_store() != before


def test_a_store_that_got_a_blob_is_noticed(scene: Scene) -> None:
    before = scene.in_the_store()
    (scene.store / "blobs" / "sha256" / ("0" * 64)).touch()
    assert scene.in_the_store() != before


def test_what_hangs_or_never_ends_is_killed(forks: Forks, scene: Scene) -> None:
    os.mkfifo(scene.input / "fifo")
    ran = forks.run(
        "load", str(scene.input / "fifo"), cwd=scene.folder, variables=scene.variables, seconds=0.2
    )
    assert ran.code < 0


def test_the_meter_sees_memory_and_time(forks: Forks, scene: Scene) -> None:
    (case,) = [case for case in CASES if case.name == "245,000 objects with a key"]
    small = run(forks, scene, "verify")
    large = run(forks, scene, "verify", str(built(case, scene)))
    assert large.peak > small.peak + (20 << 20)
    assert large.seconds > small.seconds


def test_control_characters_are_seen() -> None:
    text = "a\tb\x1b\x9b\u202e\u2028\x7f\n"
    assert control_characters(text.encode()) == set("\t\x1b\x9b\u202e\u2028\x7f")


def test_a_snapshot_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").mkdir()
    assert set(snapshot(tmp_path / "inside")) == {".", "link"}
