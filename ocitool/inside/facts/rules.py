"""What an image must not have: rules that fail, and what the user allows with a reason."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct
from msgspec.structs import replace

from ocitool.errors import UsageError
from ocitool.inside.facts.report import Facts, ImageClass, Loose, Secret

_PACKAGE = "package:"


class Allowance(Struct, frozen=True, kw_only=True):
    """What the user accepts: a rule, or a path (with `*`), and why.

    `used` counts the findings that it covers; one that covers none is stale.
    """

    what: str
    reason: str
    used: int = 0

    @property
    def is_stale(self) -> bool:
        """Whether nothing is there any more that it allows."""
        return not self.used


class Violation(Struct, frozen=True, kw_only=True):
    """One finding that a rule denies: a path, or a place such as `env:TOKEN`, and what it is."""

    where: str
    what: str
    layer: int | None = None


class Denial(Struct, frozen=True, kw_only=True):
    """A rule, what it found and what of that is allowed.

    `unread` are the numbers of the layers that could not be read, and may have what it denies.
    """

    rule: str
    violations: tuple[Violation, ...]
    allowed: int = 0
    unread: tuple[int, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the image is known to have nothing left that the rule denies."""
        return not self.violations and not self.unread


class Judgement(Struct, frozen=True, kw_only=True):
    """The answer to `--deny` and `--allow`: each rule, each allowance, and the facts marked."""

    facts: Facts
    denials: tuple[Denial, ...]
    allowances: tuple[Allowance, ...]

    @property
    def passed(self) -> bool:
        """Whether every rule passed."""
        return all(denial.passed for denial in self.denials)


def _loose(rule: Loose) -> Callable[[Facts], Iterator[Violation]]:
    def found(facts: Facts) -> Iterator[Violation]:
        for one in facts.loose:
            if one.rule is rule:
                yield Violation(where=one.path, what=f"mode {one.mode:04o}", layer=one.layer)

    return found


def _secrets(facts: Facts) -> Iterator[Violation]:
    for secret in facts.secrets:
        if secret.note is None:
            yield Violation(where=place_of(secret), what=secret.kind, layer=secret.layer)


def _root(facts: Facts) -> Iterator[Violation]:
    if facts.runs_as_root:
        yield Violation(where="config:User", what=f"user {facts.user or '(not set)'}")


def _full(facts: Facts) -> Iterator[Violation]:
    if facts.image_class is ImageClass.FULL:
        yield Violation(where="", what="; ".join(facts.reasons))


RULES: dict[str, Callable[[Facts], Iterator[Violation]]] = {
    "secrets": _secrets,
    "shell": lambda facts: (Violation(where=x.path, what=x.name) for x in facts.shells),
    "package-manager": lambda facts: (
        Violation(where=x.path, what=x.name) for x in facts.package_managers
    ),
    "setuid": _loose(Loose.SETUID),
    "setgid": _loose(Loose.SETGID),
    "world-writable": _loose(Loose.WRITABLE),
    "capabilities": _loose(Loose.CAPABILITIES),
    "root": _root,
    "full-os": _full,
}
"""The rules by name; `package:NAME` is one more."""


def place_of(secret: Secret) -> str:
    """Return the path of a secret, or its place in the configuration: env:TOKEN, history:7."""
    return secret.path if secret.path is not None else f"{secret.place}:{secret.name or ''}"


def check_rules(rules: Iterable[str]) -> tuple[str, ...]:
    """Return the rules, each once; UsageError for one that does not exist."""
    found = tuple(dict.fromkeys(rule.strip() for rule in rules))
    for rule in found:
        if rule not in RULES and not (rule.startswith(_PACKAGE) and rule != _PACKAGE):
            raise UsageError(
                f"there is no rule {rule!r} to deny",
                hint=f"rules are {', '.join(RULES)} and package:NAME (with *)",
            )
    return found


def parse_allowance(text: str) -> Allowance:
    """Read `WHAT=REASON`, where WHAT is a rule, a path or a place; UsageError without a reason."""
    what, _, reason = text.partition("=")
    what, reason = what.strip(), reason.strip()
    if not what or not reason:
        raise UsageError(
            f"--allow {text!r} has no reason",
            hint="write what is allowed and why: --allow 'usr/bin/su=the entry point needs it'",
        )
    return Allowance(what=what, reason=reason)


def judge(facts: Facts, rules: Sequence[str], allowances: Sequence[Allowance]) -> Judgement:
    """Apply rules and allowances. An allowance counts as used also without a rule that asks."""
    used = [0] * len(allowances)
    unread = tuple(one.layer for one in facts.unread_layers if one.layer is not None)
    denials = []
    for rule in dict.fromkeys([*rules, *RULES]):
        kept = []
        found = list(_findings(facts, rule))
        for one in found:
            number = _allowed_by(allowances, rule, one.where)
            if number is None:
                kept.append(one)
            else:
                used[number] += 1
        if rule in rules:
            allowed = len(found) - len(kept)
            denials.append(
                Denial(rule=rule, violations=tuple(kept), allowed=allowed, unread=unread)
            )
    return Judgement(
        facts=replace(facts, secrets=tuple(_marked(facts.secrets, allowances))),
        denials=tuple(denials),
        allowances=tuple(
            replace(one, used=count) for one, count in zip(allowances, used, strict=True)
        ),
    )


def _allowed_by(allowances: Sequence[Allowance], rule: str, where: str) -> int | None:
    """Return the number of the first allowance that covers a finding."""
    for number, one in enumerate(allowances):
        if one.what == rule or fnmatchcase(where, one.what.removeprefix("/")):
            return number
    return None


def _marked(secrets: Iterable[Secret], allowances: Sequence[Allowance]) -> Iterator[Secret]:
    for secret in secrets:
        number = _allowed_by(allowances, "secrets", place_of(secret))
        yield secret if number is None else replace(secret, allowed=allowances[number].reason)


def _findings(facts: Facts, rule: str) -> Iterator[Violation]:
    if rule in RULES:
        yield from RULES[rule](facts)
        return
    pattern = rule.removeprefix(_PACKAGE)
    for package in facts.packages:
        if fnmatchcase(package.full_name, pattern) or fnmatchcase(package.name, pattern):
            yield Violation(where=package.path, what=f"{package.full_name} {package.version or ''}")
