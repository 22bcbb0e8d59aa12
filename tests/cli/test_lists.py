"""Several archives in one load, and names from a file: -f LIST of pull, save and push."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Command
from tests.support.images import build_image, oci_archive
from tests.support.registry import EmulatedRegistry

ONE, TWO = build_image([{"a": b"1"}]), build_image([{"b": b"2"}])
LIST = "# what we need\r\n\r\n  {}  # the first\n{}\n\n{}\n   # end"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Return two archives of one image each."""
    paths = [tmp_path / "a.tar", tmp_path / "b.tar"]
    for path, name, image in zip(paths, ("a:1", "b:1"), (ONE, TWO), strict=True):
        path.write_bytes(oci_archive({name: image}))
    return paths


@pytest.fixture
def names(tmp_path: Path) -> Path:
    """Return a list of a:1 and b:1, with all that a list may hold."""
    path = tmp_path / "names"
    path.write_text("\ufeff" + LIST.format("a:1", "b:1", "a:1"))
    return path


class TestLoad:
    def test_several_archives(self, ocitool: Command, files: list[Path]) -> None:
        done = ocitool("load", *files)
        assert done.code == 0, done.err
        assert done.out == "Loaded image: a:1\nLoaded image: b:1\n"

    def test_one_that_fails_does_not_keep_the_others(
        self, ocitool: Command, files: list[Path], tmp_path: Path
    ) -> None:
        broken = tmp_path / "broken.tar"
        broken.write_bytes(b"this is no archive")
        done = ocitool("load", files[0], broken, tmp_path / "none", files[1], "--json")
        assert done.code == 7
        found: Any = done.json
        assert [image["names"] for image in found["images"]] == [
            ["docker.io/library/a:1"],
            ["docker.io/library/b:1"],
        ]
        assert [one["name"] for one in found["failed"]] == [str(broken), str(tmp_path / "none")]
        assert found["blobs_stored"] == len(ONE.blobs) + len(TWO.blobs)
        assert "2 of 4 failed" in done.err

    @pytest.mark.parametrize("more", [("--tag", "x:1"), ("-i", "a.tar")])
    def test_what_several_archives_exclude(
        self, ocitool: Command, files: list[Path], more: tuple[str, str]
    ) -> None:
        assert ocitool("load", *files, *more).code == 2

    def test_standard_input_is_read_once(self, ocitool: Command) -> None:
        assert ocitool("load", "-", "-").code == 2


class TestLists:
    def test_save(self, ocitool: Command, files: list[Path], names: Path, tmp_path: Path) -> None:
        ocitool("load", *files)
        done = ocitool("save", "-f", names, "-o", tmp_path / "out.tar")
        assert done.out == "Saved image: a:1\nSaved image: b:1\n", done.err
        piped = ocitool("save", "b:1", "-f", "-", "-o", tmp_path / "out.tar", stdin=b"a:1\n\nb:1")
        assert piped.out == "Saved image: b:1\nSaved image: a:1\n", piped.err

    def test_pull_and_push(self, ocitool: Command, tmp_path: Path) -> None:
        path = tmp_path / "names"
        with EmulatedRegistry() as registry, EmulatedRegistry() as other:
            wanted = [f"{registry.host}/{name}:1" for name in ("a", "b")]
            for name, image in (("a", ONE), ("b", TWO)):
                registry.add_image(name, image, "1")
            path.write_text(LIST.format(wanted[0], wanted[1], wanted[0]))
            done = ocitool("pull", "-f", path)
            assert done.code == 0, done.err
            assert len(done.out.splitlines()) == 2
            done = ocitool("push", "-f", path, "--to", f"{other.host}/m")
            assert done.code == 0, done.err
            assert set(other.tags) == {"m/a", "m/b"}
            done = ocitool("push", "-f", path)
            assert done.code == 0, done.err
            assert len(done.out.splitlines()) == 2

    @pytest.mark.parametrize("verb", ["pull", "save", "push"])
    @pytest.mark.parametrize(
        ("content", "code", "told"),
        [
            (None, 4, "does not exist"),
            (b"# nothing\n", 2, "holds no names"),
            (b"\xff\xfea\x00", 2, "not UTF-8"),
        ],
    )
    def test_a_list_that_is_none(
        self,
        ocitool: Command,
        tmp_path: Path,
        verb: str,
        content: bytes | None,
        code: int,
        told: str,
    ) -> None:
        path = tmp_path / "names"
        if content is not None:
            path.write_bytes(content)
        done = ocitool(verb, "-f", path)
        assert (done.code, told in done.err) == (code, True), done.err

    @pytest.mark.parametrize("verb", ["pull", "save", "push"])
    def test_no_name_at_all(self, ocitool: Command, verb: str) -> None:
        done = ocitool(verb)
        assert done.code == 2
        assert "-f LIST" in done.err
