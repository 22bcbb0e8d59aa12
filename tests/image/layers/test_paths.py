"""What a member's name means inside a layer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.image.layers import is_whiteout, layer_path


@pytest.mark.parametrize(
    "name",
    ["a/b", "./a/b", "/a/b", "a/b/", "a//b", "a/./b", "././a/b", "//a/b", "../a/b", "x/../a/b"],
)
def test_all_spellings_of_a_path_are_one(name: str) -> None:
    assert layer_path(name) == "a/b"


@pytest.mark.parametrize("name", ["", ".", "./", "/", "..", "../..", "a/.."])
def test_the_root_has_the_empty_path(name: str) -> None:
    assert layer_path(name) == ""


@pytest.mark.parametrize("name", [".hidden", "a/.b", "a/..b", "a./b", "a../b", "...", "a/b..."])
def test_dots_that_are_part_of_a_name_stay(name: str) -> None:
    assert layer_path(name) == name


@given(st.text("ab./", max_size=20))
def test_a_path_has_no_second_spelling(name: str) -> None:
    path = layer_path(name)
    assert layer_path(path) == path
    assert layer_path(f"/{name}/") == path
    assert not {"", ".", ".."} & set(path.split("/")) or path == ""


@pytest.mark.parametrize("path", [".wh.a", "d/.wh.a", "d/.wh..wh..opq", ".wh..hidden"])
def test_whiteouts_are_told_by_their_last_component(path: str) -> None:
    assert is_whiteout(path)


@pytest.mark.parametrize(
    "path", ["a", ".wh./a", "d/.wh.", ".wh..wh.plnk", ".wh..wh.aufs", "a.wh.b"]
)
def test_other_names_are_no_whiteouts(path: str) -> None:
    assert not is_whiteout(path)
