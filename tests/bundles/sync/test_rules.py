"""A23: which tags rules take, by which rule, and which rules took nothing."""

import pytest

from ocitool.bundles.sync.config import parse_sync_file
from ocitool.bundles.sync.rules import Chooser

TAGS = [
    *("1.0.0", "1.1.0", "1.1.1", "1.2.0-rc.1", "2.0.0", "11.1.0", "latest", "edge", "1.1.1-slim"),
    *("sha256-" + "a" * 64, "sha256-" + "a" * 64 + ".sig"),
]
DIGEST = "sha256:" + "b" * 64


def chooser(rules: str, key: str = "tags") -> Chooser:
    """Return what applies rules, which stand on line 2."""
    entry = f"sync: [{{source: a, target: h.io/a, type: repository, {key}:\n {rules}}}]"
    (found,) = parse_sync_file(entry, "f.yaml").entries
    return Chooser(found.sets)


def taken(rules: str, key: str = "tags") -> dict[str, str]:
    """Return the tags that are taken, each with its rule."""
    return {str(one.tag): one.rule for one in chooser(rules, key).choose(TAGS)}


class TestWhatIsTaken:
    @pytest.mark.parametrize(
        ("rules", "expected"),
        [
            ("{allow: [latest, edge]}", "latest edge"),
            (r"{allow: ['1\.1\.\d+']}", "1.1.0 1.1.1"),
            ("{allow: ['1.1']}", ""),
            ("{glob: '1.1.*'}", "1.1.0 1.1.1 1.1.1-slim"),
            ("{glob: '[le]*'}", "edge latest"),
            ("{allow: [latest], glob: ['2.*']}", "latest 2.0.0"),
            ("{semverRange: ^1.1}", "1.1.0 1.1.1"),
            ("{semverRange: ['^1.1', '>=11']}", "1.1.0 1.1.1 11.1.0"),
            ("{semverRange: '>=1.1-0 <2', allow: '.*-slim'}", "1.1.1-slim"),
            ("{semverRange: '>=1', deny: ['1\\..*']}", "2.0.0 11.1.0"),
            ("{newest: 2}", "11.1.0 2.0.0"),
            ("{semverRange: '<2', newest: 2}", "1.1.1 1.1.0"),
            ("{allow: ['.*'], deny: ['1.*', '.*e.*']}", "2.0.0"),
        ],
    )
    def test_a23_rules_of_one_set_work_together(self, rules: str, expected: str) -> None:
        assert set(taken(rules)) == set(expected.split())

    def test_a23_sets_are_added_to_each_other(self) -> None:
        assert taken("[{allow: [edge]}, {semverRange: ^1.1, newest: 1}]", "tagSets") == {
            "edge": "allow edge",
            "1.1.1": "semverRange ^1.1, newest 1",
        }

    def test_a23_without_rules_all_images_are_taken_and_no_tag_made_of_a_digest(self) -> None:
        assert set(taken("{}")) == {tag for tag in TAGS if not tag.startswith("sha256-")}
        assert set(taken("{deny: [latest]}").values()) == {"all tags"}
        assert list(taken(f"{{allow: [{TAGS[-1]}]}}")) == [TAGS[-1]]

    def test_a23_a_digest_is_named_alone_or_with_the_tag_that_it_gets(self) -> None:
        found = chooser(f"{{allow: ['{DIGEST}', '1@{DIGEST}', edge]}}").choose(TAGS)
        assert [(one.tag, one.digest) for one in found] == [
            (None, DIGEST),
            ("1", DIGEST),
            ("edge", None),
        ]
        assert {one.line for one in found} == {2}


class TestRulesThatTakeNothing:
    @pytest.mark.parametrize(
        ("rules", "idle"),
        [
            (
                "{allow: [latest, '3.*', v]}",
                ["allow 3.* matches nothing", "allow v matches nothing"],
            ),
            ("{glob: 'v*', allow: latest}", ["glob v* matches nothing"]),
            ("{semverRange: ['^1', '^7']}", ["semverRange ^7 matches nothing"]),
            ("{semverRange: '^1', allow: latest}", ["allow latest matches nothing"]),
            ("{allow: latest, deny: latest}", ["after all its rules no tag is left"]),
            ("{allow: latest, newest: 2}", ["after all its rules no tag is left"]),
            ("{allow: latest, deny: nothing}", []),
        ],
    )
    def test_a23_they_are_named(self, rules: str, idle: list[str]) -> None:
        found = chooser(rules)
        found.choose(TAGS)
        assert found.idle() == [(2, text) for text in idle]

    def test_a23_one_repository_of_a_registry_is_enough(self) -> None:
        found = chooser("{allow: [latest, v9]}")
        found.choose(["latest"])
        assert found.idle() == [(2, "allow v9 matches nothing")]
        found.choose(["v9"])
        assert found.idle() == []
