"""Which tags the rules keep, and why: a pure function of tags, ages and rules.

An image is a digest. Rules count images and keep all of their tags that they are about: `1`, `1.2`
and `latest` on one digest are one image. An image of unknown age is never older than another one.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from ocitool.bundles.sync.versions import Version, version_of
from ocitool.errors import UsageError
from ocitool.oci import Digest
from ocitool.pruning.patterns import TagRegex
from ocitool.pruning.rules import LEVELS, KeepRule, PruneRules

UNKNOWN_AGE = "its age is not known"


class Age(Struct, frozen=True, kw_only=True):
    """When an image was made or came, in seconds since 1970, and what says so; None: not known."""

    at: float | None = None
    source: str = ""


class Tagged(Struct, frozen=True, kw_only=True):
    """A tag, its image, and how old that is; `pulled` is when it was pulled last, where known."""

    tag: str
    digest: Digest
    age: Age = Age()
    pulled: float | None = None


class Verdict(Struct, frozen=True, kw_only=True):
    """What the rules say about one tag, and why."""

    tag: str
    digest: Digest
    stays: bool
    reason: str


class Chosen(Struct, frozen=True, kw_only=True):
    """The verdicts, by the order of the tags, and the patterns that match no tag at all."""

    verdicts: tuple[Verdict, ...]
    idle: tuple[str, ...] = ()


def choose(
    tags: Sequence[Tagged], rules: PruneRules, now: float, held: Mapping[str, str] | None = None
) -> Chosen:
    """Apply the rules to the tags of a repository. `held` tags stay, each with a reason."""
    kept: dict[str, str] = dict(held or {})
    for rule in rules.keep:
        for tag, reason in _kept_by(rule, tags, now).items():
            kept.setdefault(tag, reason)
    verdicts = [_verdict(one, rules, kept, now) for one in tags]
    return Chosen(verdicts=tuple(verdicts), idle=tuple(_idle(tags, rules)))


def _verdict(one: Tagged, rules: PruneRules, kept: Mapping[str, str], now: float) -> Verdict:
    reason = kept.get(one.tag)
    if reason is None and not rules.may_delete(one.tag):
        reason = "no --delete-tags names it"
    if reason is None:
        reason = too_young(one.age, one.pulled, rules, now)
    if reason is not None:
        return Verdict(tag=one.tag, digest=one.digest, stays=True, reason=reason)
    named = next(pattern.text for pattern in rules.delete if pattern.matches(one.tag))
    return Verdict(tag=one.tag, digest=one.digest, stays=False, reason=f"delete-tags {named}")


def too_young(age: Age, pulled: float | None, rules: PruneRules, now: float) -> str | None:
    """Return why something is not old enough to go; None if it is."""
    if rules.older_than is None:
        return None
    moment = age.at
    if rules.by_pull and pulled is not None:
        moment = pulled if moment is None else max(moment, pulled)
    if moment is None:
        return UNKNOWN_AGE
    if now - moment < rules.older_than:
        return "it was pulled since --older-than" if rules.by_pull else "younger than --older-than"
    return None


def _idle(tags: Sequence[Tagged], rules: PruneRules) -> Iterable[str]:
    """Yield the rules that are about none of the tags, with what may have been meant."""
    written = [(rule.written, rule.pattern) for rule in rules.keep if rule.pattern is not None]
    written += [(f"delete-tags {pattern.text}", pattern) for pattern in rules.delete]
    for text, pattern in written:
        if not any(pattern.matches(one.tag) for one in tags):
            yield f"{text}{_wider(pattern, tags)}"
    for rule in rules.keep:
        if rule.versions is not None and not _kept_by(rule, tags, 0.0):
            yield rule.written


def _wider(pattern: TagRegex, tags: Sequence[Tagged]) -> str:
    """Return a question if tags begin as a pattern says, and go on."""
    wider = f"{pattern.text}.*"
    try:
        is_meant = any(TagRegex(wider).matches(one.tag) for one in tags)
    except UsageError:
        is_meant = False
    return f" (did you mean {wider}?)" if is_meant else ""


def _kept_by(rule: KeepRule, tags: Sequence[Tagged], now: float) -> dict[str, str]:
    """Return the tags that one rule keeps, each with the reason."""
    about = [one for one in tags if rule.is_about(one.tag)]
    if rule.kind == "tags":
        return {one.tag: rule.written for one in about}
    if rule.versions is not None:
        versions = {one.tag: version_of(one.tag) for one in about}
        held = [tag for tag, found in versions.items() if found and rule.versions.holds(found)]
        return dict.fromkeys(held, rule.written)
    if rule.kind == "semver-last":
        return dict.fromkeys(_highest(rule, about), rule.written)
    found = {one.tag: f"{rule.written}: {UNKNOWN_AGE}" for one in about if one.age.at is None}
    digests = _newest(rule, about, now)
    return found | {one.tag: rule.written for one in about if one.digest in digests}


def _newest(rule: KeepRule, about: Sequence[Tagged], now: float) -> set[Digest]:
    """Return the images that a rule about ages keeps, of those whose age is known."""
    ages: dict[Digest, float] = {}
    for one in about:
        if one.age.at is not None:
            ages[one.digest] = max(one.age.at, ages.get(one.digest, one.age.at))
    if rule.kind == "within":
        return {digest for digest, at in ages.items() if now - at <= rule.seconds}
    ordered = sorted(ages, key=lambda digest: (-ages[digest], digest))
    if rule.kind == "last":
        # Of images of one second none is older than another one.
        last = ages[ordered[: rule.count][-1]] if ordered else 0.0
        return {digest for digest in ordered if ages[digest] >= last}
    periods: dict[tuple[int, int], set[Digest]] = {}
    for digest in ordered:
        period = _period(rule.kind, ages[digest])
        if period in periods or len(periods) == rule.count:
            continue
        periods[period] = {one for one in ordered if ages[one] == ages[digest]}
    return set[Digest]().union(*periods.values())


def _period(kind: str, at: float) -> tuple[int, int]:
    """Return the day, week or month, in UTC, of a time."""
    moment = dt.datetime.fromtimestamp(at, dt.UTC)
    if kind == "daily":
        return moment.year, moment.timetuple().tm_yday
    if kind == "weekly":
        year, week, _ = moment.isocalendar()
        return year, week
    return moment.year, moment.month


def _highest(rule: KeepRule, about: Sequence[Tagged]) -> set[str]:
    """Return the tags of the highest versions: of each of so many majors, minors, and in all."""
    tags: dict[Version, list[str]] = {}
    for one in about:
        version = version_of(one.tag)
        if version is not None and not version.is_prerelease:
            tags.setdefault(version, []).append(one.tag)
    kept: set[str] = set()
    for level, count in rule.levels:
        depth = LEVELS.index(level) + 1
        groups: set[tuple[int, ...]] = set()
        for version in sorted(tags, reverse=True):
            # A version has no zeros at its end.
            group = (*version.numbers, 0, 0, 0)[:depth] if depth < len(LEVELS) else version.numbers
            if group not in groups and len(groups) < count:
                groups.add(group)
                kept.update(tags[version])
    return kept
