"""P1, P8, P10: which tags stay by which rule, as a pure function."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocitool.cli.options.quantities import parse_seconds
from ocitool.errors import UsageError
from ocitool.oci import Digest
from ocitool.pruning.choosing import Age, Tagged, choose
from ocitool.pruning.policy import Written, parse_policy
from ocitool.pruning.rules import PruneRules, parse_most

DAY = 86_400.0
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC).timestamp()


def tagged(tag: str, days: float | None, image: str | None = None) -> Tagged:
    """Return a tag of an image that is so many days old, by default one of its own."""
    age = Age() if days is None else Age(at=NOW - days * DAY, source="config")
    return Tagged(tag=tag, digest=Digest.of((image or tag).encode()), age=age)


def rules(**written: object) -> PruneRules:
    """Return rules that may delete every tag, with others."""
    keep = {k.replace("_", "-"): v for k, v in written.items() if k.startswith("keep_")}
    others = {k: v for k, v in written.items() if not k.startswith("keep_")}
    fields = {"delete_tags": (".*",), **others}
    return Written(keep=keep, **fields).rules(parse_seconds)  # type: ignore[arg-type]


def kept(tags: list[Tagged], by: PruneRules) -> set[str]:
    return {one.tag for one in choose(tags, by, NOW).verdicts if one.stays}


TAGS = [tagged(f"v1.{n}.0", 10 * (9 - n)) for n in range(9)] + [
    tagged("pr-1", 1),
    tagged("pr-2", 2),
]


def test_p1_without_delete_tags_no_tag_goes() -> None:
    assert kept(TAGS, rules(delete_tags=())) == {one.tag for one in TAGS}


def test_p1_only_tags_that_are_named_go_and_keeping_wins() -> None:
    found = kept(TAGS, rules(delete_tags=("pr-.*",), keep_tags=("pr-2",)))
    assert found == {one.tag for one in TAGS} - {"pr-1"}


def test_p1_a_regular_expression_has_to_match_the_whole_tag() -> None:
    assert "pr-1" in kept(TAGS, rules(delete_tags=("^pr-",)))


def test_p1_each_rule_counts_on_its_own() -> None:
    names = ["a-1", "a-2", "b-1", "b-2", "c-1", "c-2"]
    tags = [tagged(name, number) for number, name in enumerate(names)]
    found = kept(tags, rules(keep_last=("1:a-.*", "1:b-.*", "1:c-.*")))
    assert found == {"a-1", "b-1", "c-1"}


def test_keep_last_counts_images_and_keeps_all_their_tags() -> None:
    tags = [tagged(name, 1, "new") for name in ("1", "1.2", "1.2.3", "latest")]
    tags += [tagged("1.1", 9), tagged("1.0", 99)]
    assert kept(tags, rules(keep_last=("2",))) == {"1", "1.2", "1.2.3", "latest", "1.1"}


def test_keep_last_does_not_choose_among_images_of_one_second() -> None:
    tags = [tagged("a", 1), tagged("b", 1), tagged("c", 2)]
    assert kept(tags, rules(keep_last=("1",))) == {"a", "b"}


def test_keep_within() -> None:
    assert kept(TAGS, rules(keep_within=("25d:v.*",))) == {"v1.7.0", "v1.8.0"}


def test_p8_what_has_no_age_stays_where_ages_decide() -> None:
    tags = [tagged("old", 400), tagged("epoch", None)]
    assert kept(tags, rules(keep_within=("1d",))) == {"epoch"}
    assert kept(tags, rules(older_than="30d")) == {"epoch"}
    assert kept(tags, rules(keep_tags=("x",))) == set()


def test_older_than_spares_what_is_younger() -> None:
    assert kept(TAGS, rules(older_than="45d")) == {one.tag for one in TAGS} - {
        f"v1.{n}.0" for n in range(5)
    }


def test_older_than_pulled_counts_from_the_last_pull() -> None:
    old = tagged("old", 400)
    pulled = Tagged(tag="used", digest=old.digest, age=old.age, pulled=NOW - DAY)
    assert kept([old, pulled], rules(older_than="pulled:30d")) == {"used"}


def test_keep_semver() -> None:
    tags = [tagged(name, 1) for name in ("1.1.0", "1.2.3", "v2.0.0", "2.1.0-rc.1", "main")]
    assert kept(tags, rules(keep_semver=(">=1.2 <3",))) == {"1.2.3", "v2.0.0"}


def test_keep_semver_last() -> None:
    names = [
        "1.0.0",
        "1.9.9",
        "2.0.0",
        "2.0.1",
        "2.1.0",
        "2.1.1",
        "2.1.2",
        "3.0.0",
        "3.0.1-rc",
        "x",
    ]
    tags = [tagged(name, 1) for name in names]
    assert kept(tags, rules(keep_semver_last=("major=3",))) == {"3.0.0", "2.1.2", "1.9.9"}
    assert kept(tags, rules(keep_semver_last=("minor=3",))) == {"3.0.0", "2.1.2", "2.0.1"}
    assert kept(tags, rules(keep_semver_last=("patch=3",))) == {"3.0.0", "2.1.2", "2.1.1"}
    both = kept(tags, rules(keep_semver_last=("major=1,patch=2",)))
    assert both == {"3.0.0", "2.1.2"}


def test_keep_daily_weekly_monthly() -> None:
    tags = [tagged(f"d{n}", n) for n in range(0, 200, 5)] + [tagged("d0-early", 0.3)]
    assert kept(tags, rules(keep_daily=("2",))) == {"d0", "d5"}
    assert kept(tags, rules(keep_weekly=("2",))) == {"d0", "d5"}
    # 1 July, then the last image of June and of May.
    assert kept(tags, rules(keep_monthly=("3",))) == {"d0", "d5", "d35"}


def test_p1_a_pattern_that_is_about_nothing_is_told() -> None:
    tags = [tagged("1.6.5", 1)]
    found = choose(tags, rules(keep_tags=("!v.*",), keep_semver=("^2",), keep_last=("3:v.*",)), NOW)
    assert set(found.idle) == {"keep-last 3:v.*", "keep-tags !v.*", "keep-semver ^2"}


def test_p1_a_pattern_that_is_only_a_beginning_is_told_with_what_is_meant() -> None:
    found = choose(TAGS, rules(delete_tags=("^pr-",)), NOW)
    assert found.idle == ("delete-tags ^pr- (did you mean ^pr-.*?)",)


@pytest.mark.parametrize(
    "written",
    [
        {"keep_last": ("0",)},
        {"keep_last": ("x",)},
        {"keep_last": ("-1",)},
        {"keep_last": ("3:(",)},
        {"keep_within": ("soon",)},
        {"keep_semver": ("nonsense",)},
        {"keep_semver_last": ("majors=1",)},
        {"keep_semver_last": ("major=0",)},
        {"max_delete": "101%"},
        {"max_delete": "many"},
        {"older_than": "pulled:"},
    ],
)
def test_what_is_not_understood_is_a_usage_error(written: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        rules(**written)


def test_p10_how_many_may_go() -> None:
    assert parse_most("50%").allows(2, 4)
    assert not parse_most("50%").allows(3, 5)
    assert parse_most("3").allows(3, 3)
    assert not parse_most("3").allows(4, 400)


def test_no_rule_at_all_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no rule"):
        PruneRules().check()


AGES = st.dictionaries(
    st.sampled_from([f"{letter}{number}" for letter in "abc" for number in range(6)]),
    st.none() | st.integers(0, 400),
    max_size=12,
)
WRITTEN = st.fixed_dictionaries(
    {},
    optional={
        "keep_last": st.sampled_from([("2",), ("1:a.*", "1:b.*")]),
        "keep_within": st.just(("50d",)),
        "keep_daily": st.just(("3",)),
        "keep_monthly": st.just(("2",)),
        "keep_tags": st.just(("a1",)),
        "older_than": st.just("100d"),
    },
)


@settings(max_examples=50)
@given(AGES, WRITTEN, WRITTEN)
def test_a_rule_more_never_lets_more_go(
    ages: dict[str, int | None], some: dict[str, object], more: dict[str, object]
) -> None:
    tags = [tagged(tag, days) for tag, days in ages.items()]
    assert kept(tags, rules(**some)) <= kept(tags, rules(**{**more, **some}))


@settings(max_examples=50)
@given(AGES)
def test_the_newest_image_always_stays_by_keep_last(ages: dict[str, int | None]) -> None:
    tags = [tagged(tag, days) for tag, days in ages.items()]
    found = kept(tags, rules(keep_last=("1",)))
    known = [days for days in ages.values() if days is not None]
    newest = {tag for tag, days in ages.items() if known and days == min(known)}
    assert newest | {tag for tag, days in ages.items() if days is None} == found


POLICY = """\
repositories: [ghcr.io/a/b, ghcr.io/a/c]
keep-last: [10, "3:v.*"]
keep-semver: ^2
delete-tags: [pr-.*, "sha-.*"]
untagged: true
older-than: 30d
min-keep: 0
max-delete: 80%
containers: kube:pods.json
x-note: {ours: 1}
"""


def test_a_policy_file_has_the_words_of_the_options() -> None:
    written = parse_policy(POLICY, "p.yaml")
    assert written.repositories == ("ghcr.io/a/b", "ghcr.io/a/c")
    found = written.rules(parse_seconds)
    assert [rule.written for rule in found.keep] == [
        "keep-last 10",
        "keep-last 3:v.*",
        "keep-semver ^2",
    ]
    assert (found.untagged, found.older_than, found.min_keep) == (True, 30 * DAY, 0)
    assert str(found.max_delete) == "80%"
    more = Written(keep={"keep-tags": ("x",)}, max_delete="5").over(written)
    assert str(more.rules(parse_seconds).max_delete) == "5"
    assert len(more.rules(parse_seconds).keep) == 4


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("keep-lst: 3", "p.yaml:1: there is no key"),
        ("untagged: maybe", "p.yaml:1: untagged is true or false"),
        ("min-keep: -1", "p.yaml:1: min-keep is a number"),
        ("keep-tags: [{a: b}]", "p.yaml:1: keep-tags is a list of texts"),
        ("", "is empty"),
    ],
)
def test_what_is_wrong_in_a_policy_is_told_with_its_line(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_policy(text, "p.yaml")
