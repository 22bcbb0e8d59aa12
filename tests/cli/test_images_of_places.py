"""images PLACE: what an archive, a layout or an engine holds, and filters over it."""

import json
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.engine import engine
from tests.support.images import build_image, build_index, docker_archive, oci_archive, write_layout

IMAGE = build_image([{"a": b"1"}], config={"config": {"Labels": {"k": "v"}}})
OTHER = build_image([{"b": b"2"}], platform="linux/arm64")
BOTH = build_index([IMAGE, OTHER])
ENGINE_IMAGES = [
    {
        "Id": f"sha256:{'1' * 64}",
        "RepoTags": ["app:1", "app:2"],
        "RepoDigests": [f"app@sha256:{'2' * 64}"],
        "Created": 1_700_000_000,
        "Size": 1000,
        "Labels": {"k": "v"},
    },
    {"Id": f"sha256:{'3' * 64}", "RepoTags": ["<none>:<none>"], "Created": 1, "Size": 5},
]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "x.tar"
    path.write_bytes(oci_archive({"app:1": IMAGE, "both:1": BOTH}))
    return path


def test_an_archive_is_listed_with_digests_and_nothing_is_stored(
    ocitool: Command, archive: Path
) -> None:
    rows = ocitool("images", "./x.tar", "--json").json
    assert isinstance(rows, list)
    found = {row["names"][0]: (row["digest"], row["kind"]) for row in rows}
    assert found == {
        "docker.io/library/app:1": (str(IMAGE.descriptor.digest), "image"),
        "docker.io/library/both:1": (str(BOTH.descriptor.digest), "index"),
    }
    assert "app" in ocitool("images", archive).out
    assert not ocitool.store.exists()


def test_an_old_docker_archive_is_listed(ocitool: Command, tmp_path: Path) -> None:
    (tmp_path / "old.tar").write_bytes(docker_archive({"old:1": IMAGE}))
    rows = ocitool("images", f"docker-archive:{tmp_path / 'old.tar'}", "--json").json
    assert isinstance(rows, list)
    assert rows[0]["names"] == ["docker.io/library/old:1"]
    assert rows[0]["image_ids"] == [str(IMAGE.config.digest)]


def test_a_layout_is_listed_whole_or_by_a_tag(ocitool: Command, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {"1": IMAGE, "2": OTHER})
    for place, count in ((f"oci:{layout}", 2), (f"oci:{layout}:2", 1), (str(layout), 2)):
        rows = ocitool("images", place, "--json").json
        assert isinstance(rows, list)
        assert len(rows) == count


def test_the_filters_are_those_of_the_store(ocitool: Command, archive: Path) -> None:
    for text, count in (("label=k", 2), ("label!=k", 0), ("reference=app", 1), ("dangling=1", 0)):
        rows = ocitool("images", archive, "--filter", text, "--json").json
        assert isinstance(rows, list)
        assert len(rows) == count, text
    assert ocitool("images", archive, "--filter", "unused-for=1d").code == 2
    assert ocitool("images", archive, "--filter", "before=none:1").code == 4


def test_several_references_select_images_that_match_one_of_them(
    ocitool: Command, archive: Path
) -> None:
    filters = ("--filter", "reference=app", "--filter", "reference=both")
    rows = ocitool("images", archive, *filters, "--json").json
    assert isinstance(rows, list)
    assert len(rows) == 2


def test_an_engine_is_asked_and_not_exported(ocitool: Command, tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(method: str, path: str) -> tuple[int, bytes]:
        asked.append(path)
        dangling = "true" in path
        return 200, json.dumps(
            [one for one in ENGINE_IMAGES if (len(one) < 5) is dangling]
        ).encode()

    with engine(tmp_path / "e", answer):
        variables = {"DOCKER_HOST": f"unix://{tmp_path / 'e'}"}
        rows = ocitool("images", "docker-daemon:", "--json", variables=variables).json
        text = ocitool("images", "docker-daemon:app:2", variables=variables).out
    assert isinstance(rows, list)
    first, second = rows
    assert first["names"] == ["docker.io/library/app:1", "docker.io/library/app:2"]
    assert (first["digest"], first["created"]) == (f"sha256:{'2' * 64}", "2023-11-14T22:13:20Z")
    assert (second["names"], second["digest"], second["size"]) == ([], None, 5)
    assert "app" in text
    assert not any("export" in path or "/get" in path for path in asked)


def test_a_place_without_an_image_says_so(ocitool: Command, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "empty", {})
    done = ocitool("images", f"oci:{layout}")
    assert (done.code, done.out) == (4, "")
    assert "holds no image" in done.err
    assert ocitool("images", "./nothing.tar").code == 4


def test_a_registry_is_not_listed_and_the_message_says_what_to_use(ocitool: Command) -> None:
    done = ocitool("images", "docker://host.example/a")
    assert done.code == 2
    assert "ocitool registry tags" in done.err
