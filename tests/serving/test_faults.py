"""S11, S13, S14, S18: kills and full disks at every change, gc and rivals beside pushes."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocitool.oci import Digest
from ocitool.places.layout import Layout
from ocitool.places.layout.uploads import UPLOADS
from tests.faults.watched import Plan, Watch
from tests.serving.test_pushing import collect
from tests.support.layouts import image, store
from tests.support.serving import (
    Registry,
    config_of,
    manifest_of,
    reading,
    writing,
)
from tests.support.stores import checked

LAYER = b"0123456789" * 1000
CONFIG = config_of(LAYER)
MANIFEST = manifest_of(CONFIG, LAYER)
Step = tuple[str, int]


def story(registry: Registry, tell: Callable[[str, int], object]) -> None:
    """Push an image in all the ways there are, and delete another; tell each answer."""

    def ask(what: str, *request: object) -> dict[str, str]:
        answer = registry.ask(*request)  # type: ignore[arg-type]
        tell(what, answer.status)
        return answer.headers

    where = ask("begin", "POST", "/v2/app/blobs/uploads/").get("Location", "/v2/x/blobs/uploads/x")
    ask("first half", "PATCH", where, LAYER[:5000])
    ask("second half", "PATCH", where, LAYER[5000:])
    ask("layer", "PUT", f"{where}?digest={Digest.of(LAYER)}")
    ask("config", "POST", f"/v2/app/blobs/uploads/?digest={Digest.of(CONFIG)}", CONFIG)
    kind = {"content-type": "application/vnd.oci.image.manifest.v1+json"}
    ask("manifest", "PUT", "/v2/app/manifests/1", MANIFEST, kind)
    ask("again", "PUT", "/v2/app/manifests/2", MANIFEST, kind)
    ask("delete tag", "DELETE", "/v2/app/manifests/2")
    ask("delete image", "DELETE", f"/v2/old/manifests/{OLD.descriptor.digest}")


OLD = image("old")


def in_a_child(folder: Path, plan: Plan) -> dict[str, int]:
    """Run the story in a process that fails as planned; return what was answered until then."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            write = os.write

            def changed(_event: object) -> None:
                write(theirs, b"changes=1\n")

            Watch(plan, changed, lambda: None).install()
            with writing(folder) as registry:
                story(registry, lambda what, status: write(theirs, f"{what}={status}\n".encode()))
        finally:
            os._exit(0)
    os.close(theirs)
    with open(ours) as pipe:
        lines = pipe.read().splitlines()
    os.waitpid(child, 0)
    answered = [line.partition("=") for line in lines]
    return {what: int(status) for what, _, status in answered} | {
        "changes": lines.count("changes=1")
    }


def prepared(folder: Path) -> Path:
    from tests.support.layouts import bring

    with store(folder) as layout:
        bring(layout, OLD, "localhost/old:1")
    return folder


def check(folder: Path, answered: dict[str, int]) -> None:
    """Fail if anything that was acknowledged is not there, or what is there is not whole."""
    report = checked(folder)
    assert report.problems == ()
    with reading(folder) as registry:
        if answered.get("layer") == 201:
            assert registry.get(f"/v2/app/blobs/{Digest.of(LAYER)}").body == LAYER
        if answered.get("manifest") == 201:
            assert registry.get("/v2/app/manifests/1").body == MANIFEST
        if answered.get("delete image") == 202:
            assert registry.get("/v2/old/manifests/1").status == 404
        elif "delete tag" not in answered:
            assert registry.get("/v2/old/manifests/1").body == OLD.manifest


def uploads_of(folder: Path) -> Iterator[tuple[str, int]]:
    with writing(folder) as registry:
        for name in sorted(os.listdir(folder / ".ocitool" / UPLOADS)):
            if not name.endswith(".ranges"):
                answer = registry.ask("GET", f"/v2/app/blobs/uploads/{name}")
                if answer.status == 204:
                    yield name, int(answer.headers["Range"].rpartition("-")[2])


@pytest.fixture(scope="module")
def changes(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many changes of the disk the story makes."""
    folder = prepared(tmp_path_factory.mktemp("counted") / "store")
    answered = in_a_child(folder, Plan(root=str(folder), record=True))
    total = answered.pop("changes")
    assert all(200 <= status < 300 for status in answered.values())
    assert total > 100
    return total


def killed(tmp_path: Path, number: int) -> None:
    folder = prepared(tmp_path / str(number))
    check(folder, in_a_child(folder, Plan(root=str(folder), kill_at=number)))
    if not (folder / ".ocitool" / UPLOADS).exists():
        return
    for name, last in uploads_of(folder):
        data = (folder / ".ocitool" / UPLOADS / name).read_bytes()
        # Never an offset that is not there, and never other bytes than were sent.
        assert last <= max(0, len(data) - 1)
        assert LAYER.startswith(data) or CONFIG.startswith(data)


def failed(tmp_path: Path, number: int, error: int) -> bool:
    """Let one change fail; return whether that was told in an answer."""
    folder = prepared(tmp_path / f"{error}-{number}")
    answered = in_a_child(folder, Plan(root=str(folder), fail_at=number, error=error))
    check(folder, answered)
    with writing(folder) as registry:
        again: dict[str, int] = {}
        story(registry, again.__setitem__)
        assert again["manifest"] == 201
    return any(status == 500 for status in answered.values())


class TestAtEveryChange:
    def test_a_kill_loses_nothing_that_was_answered(self, tmp_path: Path, changes: int) -> None:
        for number in range(3, changes, 11):
            killed(tmp_path, number)

    @pytest.mark.parametrize(("error", "first"), [(errno.ENOSPC, 2), (errno.EIO, 9)])
    def test_an_error_of_the_disk_is_one_answer(
        self, tmp_path: Path, changes: int, error: int, first: int
    ) -> None:
        told = [failed(tmp_path, number, error) for number in range(first, changes, 14)]
        assert any(told)

    @pytest.mark.soak
    def test_each_and_every_one(self, tmp_path: Path, changes: int) -> None:
        for number in range(1, changes + 1):
            killed(tmp_path, number)
            for error in (errno.ENOSPC, errno.EIO):
                failed(tmp_path, number, error)


class TestBesideOthers:
    def test_gc_in_a_loop_beside_pushers(self, tmp_path: Path) -> None:
        folder = tmp_path / "store"
        ended = threading.Event()
        problems: list[object] = []
        runs = 0
        pushed: list[tuple[str, bytes]] = []
        with writing(folder) as registry:

            def sweep() -> None:
                nonlocal runs
                while not ended.is_set():
                    try:
                        collect(folder)
                    except Exception as error:
                        problems.append(error)
                    runs += 1

            def push(client: int) -> None:
                for number in range(12):
                    name = f"c{client}"
                    raw = registry.image_of(name, f"{client}/{number}")
                    answer = registry.put_manifest(name, str(number), raw)
                    if answer.status != 201:
                        problems.append((answer.status, answer.body))
                    pushed.append((f"/v2/{name}/manifests/{number}", raw))

            sweeper = threading.Thread(target=sweep)
            pushers = [threading.Thread(target=push, args=(client,)) for client in range(4)]
            sweeper.start()
            for thread in pushers:
                thread.start()
            for thread in pushers:
                thread.join()
            ended.set()
            sweeper.join()
            assert problems == []
            assert len(pushed) == 48
            assert runs > 1
            for target, raw in pushed:
                assert registry.get(target).body == raw
        report = checked(folder)
        assert report.problems == ()

    def test_two_clients_on_one_tag_lose_no_other(self, tmp_path: Path) -> None:
        folder = tmp_path / "store"
        with writing(folder) as registry:
            raws = [registry.image_of("app", str(number)) for number in range(2)]
            for number in range(20):
                registry.put_manifest("app", f"t{number}", raws[0])
            statuses: list[int] = []

            def put(raw: bytes) -> None:
                asked = (registry.put_manifest("app", "latest", raw) for _ in range(40))
                statuses.extend(answer.status for answer in asked)

            threads = [threading.Thread(target=put, args=(raw,)) for raw in raws]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert set(statuses) == {201}
            tags = registry.get("/v2/app/tags/list").json["tags"]
            assert tags == sorted(["latest", *(f"t{number}" for number in range(20))])
            assert registry.get("/v2/app/manifests/latest").body in raws

    def test_what_a_server_remembers_of_the_index_is_what_is_there(self, tmp_path: Path) -> None:
        folder = tmp_path / "store"
        with store(folder, a=OLD) as layout, writing(folder) as registry:
            for number in range(3):
                registry.push_image("app", str(number), str(number % 2))
                registry.ask("DELETE", f"/v2/app/manifests/{number - 1}")
                with Layout.existing(str(folder)) as fresh:
                    assert registry.library.shelves[0].layout is not None
                    assert registry.library.shelves[0].layout.index() == fresh.index()
                    assert layout.index() == fresh.index()

    def test_two_servers_on_one_store(self, tmp_path: Path) -> None:
        folder = tmp_path / "store"
        with writing(folder) as one, writing(folder) as other:
            where = one.ask("POST", "/v2/app/blobs/uploads/").headers["Location"]
            assert one.ask("PATCH", where, LAYER[:5000]).status == 202
            assert other.ask("PATCH", where, LAYER[5000:]).status == 202
            assert one.ask("PUT", f"{where}?digest={Digest.of(LAYER)}").status == 201
            other.push_blob("app", CONFIG)
            assert other.put_manifest("app", "1", MANIFEST).status == 201
            assert one.get("/v2/app/manifests/1").body == MANIFEST
