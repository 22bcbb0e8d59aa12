"""gc --engine: what an engine calls dangling, who holds it, and what is removed through its API."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.support.command import Command, Done
from tests.support.engine import engine
from tests.support.images import build_image, docker_archive, oci_archive

DANGLING, HELD, NAMED = ("sha256:" + digit * 64 for digit in "123")


def image(identity: str, *names: str, **more: Any) -> dict[str, Any]:
    return {"Id": identity, "RepoTags": list(names), "Size": 1000, "Created": 1_700_000_000, **more}


def container(**said: Any) -> dict[str, Any]:
    return {"Id": "c" * 64, "Names": ["/web"], "State": "exited", "Image": "app:1", **said}


class FakeEngine:
    """An engine with images and containers; it refuses to remove those in `in_use`."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "e"
        self.dangling = [image(DANGLING), image(HELD)]
        self.named = [image(NAMED, "app:1", "app:2")]
        self.containers = [container(ImageID=HELD)]
        self.in_use: set[str] = set()
        self.moved: dict[str, str] = {}
        self.tagged: dict[str, str] = {}
        self.layer_bytes: list[int] = []
        self.archive = b""
        self.asked: list[str] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        with engine(self.socket, self._answer) as self.asked:
            yield

    @property
    def removed(self) -> list[str]:
        return [line.split("/images/")[1] for line in self.asked if line.startswith("DELETE")]

    def _answer(self, method: str, path: str) -> tuple[int, bytes]:
        if method == "DELETE":
            name = path.removeprefix("/images/")
            if name in self.in_use:
                return 409, b'{"message":"conflict: a container uses it"}'
            return 200, json.dumps([{"Untagged": name}, {"Deleted": name}]).encode()
        if path.startswith("/system/df"):
            if not self.layer_bytes:
                return 404, b"{}"
            return 200, json.dumps({"LayersSize": self.layer_bytes.pop(0)}).encode()
        if path.startswith("/images/get"):
            return 200, self.archive
        if path == "/version":
            return 200, b'{"Version": "20.10.24"}'
        if "containers" in path:
            return 200, json.dumps(self.containers).encode()
        if path.endswith("/json") and path != "/images/json":
            return self._inspected(unquote(path.removeprefix("/images/").removesuffix("/json")))
        found = self.dangling if "true" in path else self.named
        return 200, json.dumps(found).encode()

    def _inspected(self, name: str) -> tuple[int, bytes]:
        meant = {n: i["Id"] for i in (*self.dangling, *self.named) for n in i["RepoTags"]}
        meant |= {i["Id"]: i["Id"] for i in (*self.dangling, *self.named)}
        found = {**meant, **self.moved}.get(name)
        if not found:
            return 404, b'{"message":"no such image"}'
        metadata = {"LastTagTime": self.tagged.get(found, "0001-01-01T00:00:00Z")}
        return 200, json.dumps({"Id": found, "Metadata": metadata}).encode()


@pytest.fixture
def fake(tmp_path: Path) -> FakeEngine:
    return FakeEngine(tmp_path)


def gc(ocitool: Command, fake: FakeEngine, *arguments: str, engine: str = "docker") -> Done:
    variables = {"DOCKER_HOST": f"unix://{fake.socket}", "CONTAINER_HOST": f"unix://{fake.socket}"}
    with fake.running():
        return ocitool("gc", "--engine", engine, *arguments, variables=variables)


@pytest.fixture
def ocitool(tmp_path: Path) -> Command:
    return Command(tmp_path / "store", tmp_path)


@pytest.mark.parametrize("kind", ["docker", "podman"])
def test_a_dry_run_shows_what_goes_and_who_holds_what_stays(
    ocitool: Command, fake: FakeEngine, kind: str
) -> None:
    done = gc(ocitool, fake, "--dry-run", engine=kind)
    assert done.code == 0
    assert DANGLING[7:19] in done.out.splitlines()[1]
    assert f"kept: <none> {HELD[7:19]}: container web ({kind}, exited)" in done.out
    assert f"1 image of {kind}" in done.out
    assert fake.removed == []


def test_what_is_shown_is_what_is_removed(ocitool: Command, fake: FakeEngine) -> None:
    done = gc(ocitool, fake, "-f")
    assert done.code == 0
    assert fake.removed == [DANGLING]
    assert f"Untagged: {DANGLING}" in done.out
    assert done.out.endswith("1 image removed from docker\n")


def test_all_takes_named_images_too_by_each_of_their_names(
    ocitool: Command, fake: FakeEngine
) -> None:
    fake.containers = [container(ImageID=HELD, Image="other:1")]
    assert gc(ocitool, fake, "--all", "-f").code == 0
    assert fake.removed == [DANGLING, "app:1", "app:2"]


def test_a_name_that_moved_since_it_was_shown_is_left_alone(
    ocitool: Command, fake: FakeEngine
) -> None:
    fake.moved = {"app:1": "sha256:" + "9" * 64}
    fake.dangling, fake.containers = [], []
    assert gc(ocitool, fake, "--all", "-f").code == 0
    assert fake.removed == ["app:2"]


def test_an_image_whose_names_have_all_moved_is_told_of(ocitool: Command, fake: FakeEngine) -> None:
    fake.moved = dict.fromkeys(("app:1", "app:2"), "sha256:" + "9" * 64)
    fake.dangling, fake.containers = [], []
    done = gc(ocitool, fake, "--all", "-f")
    assert (done.code, fake.removed) == (6, [])
    assert "its names mean other images since" in done.err


def test_a_name_that_is_gone_meanwhile_is_no_obstacle(ocitool: Command, fake: FakeEngine) -> None:
    fake.moved = {"app:1": ""}
    fake.dangling, fake.containers = [], []
    assert gc(ocitool, fake, "--all", "-f").code == 0
    assert fake.removed == ["app:1", "app:2"]


def test_a_name_that_a_container_gave_holds_its_image(ocitool: Command, fake: FakeEngine) -> None:
    fake.containers = [container(Image="docker.io/library/app:2")]
    done = gc(ocitool, fake, "--all", "--dry-run")
    assert f"kept: app:1, app:2 {NAMED[7:19]}: container web" in done.out


def test_pods_of_a_file_hold_images_of_the_engine(
    ocitool: Command, fake: FakeEngine, tmp_path: Path
) -> None:
    listing = tmp_path / "cri.json"
    listing.write_text(json.dumps({"containers": [{"id": "x", "imageRef": DANGLING}]}))
    done = gc(ocitool, fake, "-f", "--containers", f"cri:{listing}")
    assert (done.code, fake.removed) == (0, [])
    assert done.out.endswith("no garbage in docker\n")


def test_an_image_of_several_repositories_without_a_tag_goes_by_its_digests(
    ocitool: Command, fake: FakeEngine
) -> None:
    digests = [f"a@{DANGLING}", f"b@{DANGLING}"]
    fake.dangling = [image(DANGLING, RepoDigests=digests)]
    gc(ocitool, fake, "-f")
    assert fake.removed == digests


def test_without_a_terminal_and_without_force_nothing_is_done(
    ocitool: Command, fake: FakeEngine
) -> None:
    done = gc(ocitool, fake)
    assert (done.code, done.out, fake.removed) == (2, "", [])
    assert DANGLING[7:19] in done.err
    assert "use -f" in done.err


def test_check_says_with_its_exit_code_whether_there_is_garbage(
    ocitool: Command, fake: FakeEngine
) -> None:
    assert gc(ocitool, fake, "--check").code == 3
    fake.dangling = []
    assert gc(ocitool, fake, "--check").code == 0
    assert fake.removed == []


def test_what_the_engine_refuses_is_told_and_the_rest_goes(
    ocitool: Command, fake: FakeEngine
) -> None:
    fake.containers = []
    fake.in_use = {DANGLING}
    done = gc(ocitool, fake, "-f")
    assert done.code == 6
    assert "a container uses it" in done.err
    assert fake.removed == [DANGLING, HELD]
    assert done.out.endswith("1 image removed from docker\n")


def test_the_plan_in_json(ocitool: Command, fake: FakeEngine) -> None:
    value = gc(ocitool, fake, "--dry-run", "--json").json
    assert isinstance(value, dict)
    assert [one["id"] for one in value["images"]] == [DANGLING]
    assert value["images"][0]["created"] == "2023-11-14T22:13:20Z"
    assert [one["containers"][0]["name"] for one in value["kept"]] == ["web"]
    assert (value["size"], value["done"]) == (1000, None)
    value = gc(ocitool, fake, "-f", "--json").json
    assert isinstance(value, dict)
    assert value["done"]["deleted"] == [DANGLING]


def test_containers_that_cannot_be_told_stop_everything(ocitool: Command, fake: FakeEngine) -> None:
    fake.containers = [{"Id": "x"}]
    done = gc(ocitool, fake, "-f")
    assert (done.code, fake.removed) == (6, [])


def test_text_of_an_engine_cannot_control_the_terminal(ocitool: Command, fake: FakeEngine) -> None:
    fake.dangling = [image("sha256:\x1b[2J", "\x1b]0;x\x07", Created=10**30)]
    for arguments in (["--dry-run"], ["-f"], ["-f", "-q"]):
        done = gc(ocitool, fake, *arguments)
        assert done.code == 0
        assert "\x1b" not in done.out + done.err
        assert "\x07" not in done.out + done.err


@pytest.mark.parametrize(
    "arguments",
    [("--undo",), ("--grace", "1h"), ("--untagged",), ("--containers", "store")],
)
def test_what_makes_no_sense_for_an_engine_is_refused(
    ocitool: Command, fake: FakeEngine, arguments: tuple[str, ...]
) -> None:
    assert gc(ocitool, fake, "-f", *arguments).code == 2
    assert fake.asked == []


def test_a_name_that_would_be_another_question_is_not_asked(
    ocitool: Command, fake: FakeEngine
) -> None:
    fake.dangling = [image("../containers/c")]
    done = gc(ocitool, fake, "-f")
    assert (done.code, fake.removed) == (6, [])
    assert not [line for line in fake.asked if line.startswith("DELETE")]


def test_an_unknown_engine_is_refused(ocitool: Command, fake: FakeEngine) -> None:
    assert gc(ocitool, fake, engine="containerd").code == 2


def test_filters_let_only_what_they_name_go(ocitool: Command, fake: FakeEngine) -> None:
    fake.containers = []
    fake.dangling = [image(DANGLING, Labels={"keep": "yes"}), image(HELD, Labels=None)]
    done = gc(ocitool, fake, "--all", "-f", "--filter", "label!=keep", "--filter", "reference=app")
    assert (done.code, fake.removed) == (0, ["app:1", "app:2"])
    assert gc(ocitool, fake, "-f", "--filter", "label=keep=yes").code == 0
    assert fake.removed == [DANGLING]


def test_unused_for_counts_from_the_last_tag_or_else_from_the_creation(
    ocitool: Command, fake: FakeEngine
) -> None:
    fake.containers = []
    fake.tagged = {HELD: "2999-01-01T00:00:00Z"}
    assert gc(ocitool, fake, "-f", "--filter", "unused-for=30d").code == 0
    assert fake.removed == [DANGLING]


def test_the_last_images_of_each_repository_stay(ocitool: Command, fake: FakeEngine) -> None:
    fake.containers, fake.dangling = [], []
    old = {"Created": 1_600_000_000}
    fake.named = [image(NAMED, "app:2"), image(HELD, "app:1", **old), image(DANGLING, "b:1", **old)]
    done = gc(ocitool, fake, "--all", "-f", "--keep-last", "1")
    assert fake.removed == ["app:1"]
    assert f"kept: app:2 {NAMED[7:19]}: it is one of the last 1 of its repository" in done.out


def test_the_store_tells_what_a_nameless_image_was_called(
    ocitool: Command, fake: FakeEngine, tmp_path: Path
) -> None:
    one, two = build_image([{"a": b"1"}]), build_image([{"a": b"2"}])
    (tmp_path / "x.tar").write_bytes(oci_archive({"shop:1": one, "shop:2": two}))
    assert ocitool("load", tmp_path / "x.tar").code == 0
    assert ocitool("untag", "shop:1").code == 0
    fake.dangling = [image(str(one.config.digest)), image(str(two.descriptor.digest))]
    done = gc(ocitool, fake, "--dry-run", "--json").json
    assert isinstance(done, dict)
    names = [one["former_name"] for one in done["images"]]
    assert names == ["docker.io/library/shop:1", "docker.io/library/shop:2"]
    assert "<none> was shop:1" in gc(ocitool, fake, "--dry-run").out
    fake.containers = []
    gc(ocitool, fake, "-f", "--filter", "reference=shop:2")
    assert fake.removed == [str(two.descriptor.digest)]


def test_it_says_what_became_free_where_the_engine_tells(
    ocitool: Command, fake: FakeEngine
) -> None:
    fake.layer_bytes = [5_000_000, 2_000_000]
    assert gc(ocitool, fake, "-f").out.endswith("1 image removed from docker, 3.00 MB freed\n")
    fake.layer_bytes = [5_000_000, 2_000_000]
    done = gc(ocitool, fake, "-f", "--json").json
    assert isinstance(done, dict)
    assert done["done"]["freed"] == 3_000_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DANGLING[7:15], "<none> 111111111111: garbage: it has no name and no container uses it"),
        (HELD, "<none> 222222222222: kept: containers use it"),
        ("app:2", "app:1, app:2 333333333333: kept: it has a name; --all takes those too"),
    ],
)
def test_explain_says_why_an_image_stays_or_goes(
    ocitool: Command, fake: FakeEngine, text: str, said: str
) -> None:
    done = gc(ocitool, fake, "--explain", text)
    assert (done.code, done.out.startswith(said), fake.removed) == (0, True, [])


def test_explain_of_what_is_not_there_is_not_found(ocitool: Command, fake: FakeEngine) -> None:
    assert gc(ocitool, fake, "--explain", "nosuch:1").code == 4


def test_what_is_removed_is_saved_first(ocitool: Command, fake: FakeEngine, tmp_path: Path) -> None:
    one = build_image([{"a": b"1"}])
    fake.archive = docker_archive({"app:1": one})
    fake.dangling = [image(str(one.config.digest))]
    done = gc(ocitool, fake, "-f", "--archive", str(tmp_path / "saved.tar"))
    assert (done.code, fake.removed) == (0, [str(one.config.digest)])
    lines = [line.partition("?")[0] for line in fake.asked]
    assert lines.index("GET /images/get") < lines.index(f"DELETE /images/{one.config.digest}")
    assert "saved to" in done.out
    assert ocitool("verify", tmp_path / "saved.tar").code == 0
    again = gc(ocitool, fake, "-f", "--archive", str(tmp_path / "saved.tar"))
    assert (again.code, fake.asked) == (6, [])


def test_what_cannot_be_saved_is_not_removed(
    ocitool: Command, fake: FakeEngine, tmp_path: Path
) -> None:
    fake.archive = b"cut off"
    done = gc(ocitool, fake, "-f", "--archive", str(tmp_path / "saved.tar"))
    assert done.code == 7
    assert fake.removed == []
    assert not (tmp_path / "saved.tar").exists()
