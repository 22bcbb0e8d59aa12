"""ocitool rewrite: all files or none, exit code 3 for what the map lacks, a second run is none."""

import stat
from pathlib import Path
from typing import Any

import pytest

from ocitool.bundles.mapping import MappedImage, encode_map
from tests.support.command import Command

ONE, TWO = (f"sha256:{letter * 64}" for letter in "ab")
DEPLOY = b"\xef\xbb\xbfkind: Pod\r\nspec:\r\n  containers:\r\n  - image: 'r.example/a:1' # a\r\n"
COMPOSE = b"services:\n  b: {image: r.example/b:2}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = [
        MappedImage(from_="r.example/a:1", to="s.example/a:1", digest=ONE),
        MappedImage(from_="r.example/b:2", to="s.example/b:2", digest=TWO),
    ]
    (tmp_path / "map.json").write_bytes(encode_map(images))
    (tmp_path / "deploy.yaml").write_bytes(DEPLOY)
    (tmp_path / "compose.yaml").write_bytes(COMPOSE)
    (tmp_path / "service.yaml").write_bytes(b"kind: Service\n")
    (tmp_path / "other.yaml").write_bytes(COMPOSE + b"  c: {image: c:3}\n  d: {image: d:4}\n")
    return tmp_path


def new(data: bytes) -> bytes:
    data = data.replace(b"r.example/a:1", f"s.example/a:1@{ONE}".encode())
    return data.replace(b"r.example/b:2", f"s.example/b:2@{TWO}".encode())


class TestA20Rewrite:
    def test_the_result_goes_to_stdout_and_the_file_stays(
        self, ocitool: Command, folder: Path
    ) -> None:
        done = ocitool.run_bytes("rewrite", "deploy.yaml", "--map-file", "map.json")
        assert (done.returncode, done.stdout, done.stderr) == (0, new(DEPLOY), b"")
        assert (folder / "deploy.yaml").read_bytes() == DEPLOY
        done = ocitool.run_bytes("rewrite", "-", "--map-file", "map.json", stdin=DEPLOY)
        assert done.stdout == new(DEPLOY)

    def test_in_place_the_mode_and_a_link_stay(self, ocitool: Command, folder: Path) -> None:
        (folder / "deploy.yaml").chmod(0o640)
        (folder / "link.yaml").symlink_to("deploy.yaml")
        words = ("rewrite", "link.yaml", "deploy.yaml", "compose.yaml", "service.yaml")
        done = ocitool(*words, "--map-file", "map.json", "-i")
        assert done.code == 0, done.err
        assert sorted(done.out.splitlines()) == [
            f"compose.yaml:2: r.example/b:2 -> s.example/b:2@{TWO}",
            f"deploy.yaml:4: r.example/a:1 -> s.example/a:1@{ONE}",
        ]
        assert "service.yaml names no image" in done.err
        assert "changed 2 names in 2 of 2 files" in done.err
        assert (folder / "link.yaml").is_symlink()
        assert stat.S_IMODE((folder / "deploy.yaml").stat().st_mode) == 0o640
        assert (folder / "deploy.yaml").read_bytes() == new(DEPLOY)
        assert (folder / "compose.yaml").read_bytes() == new(COMPOSE)

    def test_twice_is_once(self, ocitool: Command, folder: Path) -> None:
        words = ("rewrite", "deploy.yaml", "compose.yaml", "--map-file", "map.json", "-i")
        assert ocitool(*words).code == 0
        before = (folder / "deploy.yaml").stat()
        done = ocitool(*words)
        assert (done.code, done.out) == (0, "")
        assert "nothing to change in 2 files" in done.err
        after = (folder / "deploy.yaml").stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    @pytest.mark.parametrize("words", [("-i",), ()])
    def test_what_the_map_lacks_is_told_and_no_file_changes(
        self, ocitool: Command, folder: Path, words: tuple[str, ...]
    ) -> None:
        files = ("deploy.yaml", "other.yaml") if words else ("other.yaml",)
        before = {path: path.read_bytes() for path in folder.glob("*.yaml")}
        done = ocitool("rewrite", *files, "--map-file", "map.json", *words)
        assert (done.code, done.out) == (3, "")
        assert done.err.splitlines() == [
            "other.yaml:3: c:3 is not in the map",
            "other.yaml:4: d:4 is not in the map",
            "ocitool: map.json lacks 2 images; no file was changed",
            "  bring them with a bundle and its map, or --leave-missing keeps their names",
        ]
        assert {path: path.read_bytes() for path in folder.glob("*.yaml")} == before

    def test_what_the_maps_lack_may_stay(self, ocitool: Command, folder: Path) -> None:
        words = ("rewrite", "deploy.yaml", "service.yaml", "--map-file", "map.json", "-i")
        (folder / "service.yaml").write_text("services: {c: {image: c:3}}\n")
        done = ocitool(*words, "--leave-missing")
        assert done.code == 0
        assert "service.yaml:1: c:3 is not in the map" in done.err
        assert (folder / "deploy.yaml").read_bytes() == new(DEPLOY)
        assert (folder / "service.yaml").read_text() == "services: {c: {image: c:3}}\n"

    def test_several_maps_of_which_the_last_counts(self, ocitool: Command, folder: Path) -> None:
        later = MappedImage(from_="r.example/a:1", to="t.example/a:1", digest=TWO)
        (folder / "later.json").write_bytes(encode_map([later]))
        text = "services: {a: {image: r.example/a:1}, b: {image: r.example/b:2}}"
        (folder / "x.yaml").write_text(text)
        words = ("--map-file", "map.json", "--map-file", "later.json")
        done = ocitool("rewrite", "x.yaml", *words)
        assert f"t.example/a:1@{TWO}" in done.out
        assert f"s.example/b:2@{TWO}" in done.out

    def test_a_name_that_was_rewritten_before_its_image_changed(
        self, ocitool: Command, folder: Path
    ) -> None:
        pinned = f"s.example/b:2@{ONE}"
        (folder / "x.yaml").write_text(f"services: {{b: {{image: '{pinned}'}}}}")
        done = ocitool("rewrite", "x.yaml", "--map-file", "map.json")
        assert done.code == 3
        told = f"x.yaml:1: {pinned} is not in the map with this digest; it has {TWO}"
        assert told in done.err

    def test_as_json(self, ocitool: Command, folder: Path) -> None:
        words = ("rewrite", "compose.yaml", "--map-file", "map.json", "-i", "--json")
        found: Any = ocitool(*words).json
        change = {
            "file": "compose.yaml",
            "line": 2,
            "column": 14,
            "name": "r.example/b:2",
            "new_name": f"s.example/b:2@{TWO}",
        }
        assert found == {"files": ["compose.yaml"], "changes": [change], "missing": []}
        done = ocitool("rewrite", "other.yaml", "--map-file", "map.json", "-i", "--json")
        assert done.code == 3
        found = done.json
        assert (found["files"], found["changes"]) == ([], [])
        assert [(one["line"], one["name"], one["new_name"]) for one in found["missing"]] == [
            (3, "c:3", None),
            (4, "d:4", None),
        ]

    def test_tags_alone_and_candidates(self, ocitool: Command, folder: Path) -> None:
        (folder / "x.yaml").write_text("kind: X\nspec: {image: r.example/a:1}\n")
        words = ("rewrite", "x.yaml", "--map-file", "map.json", "--pin", "tag")
        assert ocitool(*words).code == 2
        done = ocitool(*words, "--include-candidates")
        assert done.out == "kind: X\nspec: {image: s.example/a:1}\n"

    @pytest.mark.parametrize(
        ("words", "code", "told"),
        [
            (("deploy.yaml", "compose.yaml"), 2, "-i"),
            (("-", "-i"), 2, "standard input"),
            (("deploy.yaml", "--json"), 2, "-i"),
            (("deploy.yaml", "--pin", "x"), 2, "both, digest, tag"),
            (("service.yaml",), 2, "names no image"),
            (("none.yaml",), 4, "does not exist"),
            (("map.json",), 2, "names no image"),
        ],
    )
    def test_what_it_refuses(
        self, ocitool: Command, folder: Path, words: tuple[str, ...], code: int, told: str
    ) -> None:
        done = ocitool("rewrite", *words, "--map-file", "map.json")
        assert (done.code, told in done.err) == (code, True), done.err

    def test_a_map_that_is_none(self, ocitool: Command, folder: Path) -> None:
        done = ocitool("rewrite", "deploy.yaml", "--map-file", "compose.yaml")
        assert done.code == 7
        assert "compose.yaml is no map of images" in done.err
