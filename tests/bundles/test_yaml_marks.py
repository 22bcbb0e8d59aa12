"""YAML with lines: what is written stays as it is, and hostile texts are small trees."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocitool.bundles.yaml_marks import Fields, Items, Node, Scalar, merged_entries, parse_yaml
from ocitool.errors import UsageError


def plain(node: Node | None) -> object:
    """Return a tree as Python's own values, each text with its line."""
    if isinstance(node, Fields):
        return {key.value: plain(value) for key, value in merged_entries(node, "f.yaml")}
    if isinstance(node, Items):
        return [plain(item) for item in node.items]
    return (node.value, node.line) if isinstance(node, Scalar) else None


def test_a_value_keeps_its_text_and_its_line() -> None:
    text = "a: 3.10\nb:\n  - yes\n  - 'x'\n# nothing\nc: {d: 012}\n"
    assert plain(parse_yaml(text, "f.yaml")) == {
        "a": ("3.10", 1),
        "b": [("yes", 3), ("x", 4)],
        "c": {"d": ("012", 6)},
    }


def test_anchors_and_merges_are_what_they_are_in_yaml() -> None:
    text = "base: &b {x: 1, y: 2}\nmore: &m\n  z: 3\nuse:\n  <<: [*b, *m]\n  y: 9\nsame: *b\n"
    found = plain(parse_yaml(text, "f.yaml"))
    assert isinstance(found, dict)
    assert found["use"] == {"y": ("9", 6), "x": ("1", 1), "z": ("3", 3)}
    assert found["same"] == found["base"]


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_text_is_nothing(text: str) -> None:
    assert plain(parse_yaml(text, "f.yaml")) in (None, ("", 1), ("", 2))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1\nb: 2\n", "f.yaml:2: this is not YAML"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2: a second document"),
        ("a: *nothing\n", "f.yaml:1: 'nothing' is no anchor above"),
        ("a: &a [*a]\n", "f.yaml:1: 'a' is no anchor above"),
        ("? [1]\n: 2\n", "f.yaml:1: a key has to be a text"),
        ("[" * 70 + "]" * 70, "f.yaml:1 is more than 64 levels deep"),
        ("\x01", "f.yaml:1: this is not YAML"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_yaml(text, "f.yaml")
    assert said in caught.value.message


def test_more_values_than_a_person_writes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocitool.bundles.yaml_marks.MOST_VALUES", 1000)
    with pytest.raises(UsageError, match=r"f\.yaml has more than 1000 values"):
        parse_yaml("- x\n" * 1000, "f.yaml")


def test_a_billion_laughs_are_a_small_tree() -> None:
    lines = ["a0: &a0 {k0: v}"]
    lines += [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], k{n}: *a{n - 1}}}" for n in range(1, 60)]
    root = parse_yaml("\n".join(lines), "f.yaml")
    assert isinstance(root, Fields)
    assert len(root.entries) == 60
    last = root.entries[-1][1]
    assert isinstance(last, Fields)
    assert len(list(merged_entries(last, "f.yaml"))) == 60


@settings(deadline=None)
@given(st.text("abc:-[]{}&*<#\n \t'\"|>!%?,~", max_size=60))
def test_any_text_is_a_tree_or_refused(text: str) -> None:
    try:
        plain(parse_yaml(text, "f.yaml"))
    except UsageError:
        return
