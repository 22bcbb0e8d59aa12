"""The text of `facts`: what an image is, its secrets, its unusual files, and what is denied."""

from collections import Counter
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from ocitool.cli.render.columns import cells, clip, counted, padded, styled, table
from ocitool.cli.render.console import safe
from ocitool.cli.render.texts import familiar, one_line

if TYPE_CHECKING:
    from ocitool.inside.facts.packages.package import Package
    from ocitool.inside.facts.report import Facts, Program, Secret
    from ocitool.inside.facts.rules import Denial, Judgement

_LABEL = 15
_SHOWN, _PLACES = 20, 5


def facts_lines(judged: "Judgement", width: int | None, *, packages: bool) -> Iterator[str]:
    """Yield the lines for an image; with `packages` all of these instead of their numbers.

    Long lists are cut on a terminal, which has a `width`.
    """
    facts = judged.facts
    name = familiar(facts.names[0]) if facts.names else facts.digest.short
    yield styled(name, "bold")
    for label, value in _summary(facts):
        lines = [value] if width is None else wrap(value, max(20, width - _LABEL - 2))
        yield f"  {styled(padded(label, _LABEL), 'dim')}{lines[0]}"
        yield from (" " * (_LABEL + 2) + line for line in lines[1:])
    if packages and facts.packages:
        yield from _section(f"Packages ({len(facts.packages)})", _packages(facts, width))
    if facts.secrets:
        yield from _section(f"Secrets ({len(facts.secrets)})", _secrets(facts, width))
    if facts.loose:
        title = f"Files with unusual rights ({len(facts.loose)})"
        yield from _section(title, _cut(_loose(facts, width), width))
    if facts.unread:
        yield from _section(f"Not read ({len(facts.unread)})", _unread(facts, width))
    if judged.denials:
        yield from _section("Rules", _rules(judged.denials, width))


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    yield ""
    yield styled(title, "bold")
    yield from (f"  {line}" for line in lines)


def _cut(lines: Sequence[str], width: int | None) -> Sequence[str]:
    if width is None or len(lines) <= _SHOWN + 1:
        return lines
    return [*lines[:_SHOWN], f"… and {len(lines) - _SHOWN} more; a pipe or --json has all"]


def _summary(facts: "Facts") -> Iterator[tuple[str, str]]:
    yield "class", f"{facts.image_class}: {safe('; '.join(facts.reasons))}"
    system = facts.distribution
    yield "system", safe(system.name or system.id or "-")
    yield "platform", safe(str(facts.platform))
    user = safe(facts.user or "not set")
    yield "user", f"root ({user})" if facts.runs_as_root else user
    yield "shells", _programs(facts.shells)
    yield "managers", _programs(facts.package_managers)
    libraries = (f"{one.name} {one.version or ''}".strip() for one in facts.c_libraries)
    yield "C library", safe(", ".join(libraries) or "-")
    bundles = (f"{one.certificates} in {safe(one.path)}" for one in facts.ca_bundles)
    yield "certificates", ", ".join(bundles) or "-"
    yield "time zones", safe(", ".join(facts.zoneinfo) or "-")
    yield "packages", _numbers(facts.packages)
    yield "secrets", _found(facts.secrets)


def _programs(programs: "Sequence[Program]") -> str:
    shown = []
    for program in programs:
        file = program.file.rpartition("/")[2]
        behind = f" ({file})" if file != program.path.rpartition("/")[2] else ""
        shown.append(safe(f"{program.path}{behind}"))
    return ", ".join(shown) or "-"


def _numbers(packages: "Sequence[Package]") -> str:
    kinds = Counter(package.type.value for package in packages)
    each = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    if not packages:
        return "-"
    return each if len(kinds) == 1 else f"{len(packages)}: {each}"


def _found(secrets: "Sequence[Secret]") -> str:
    if not secrets:
        return "none found"
    real = [secret for secret in secrets if secret.note is None]
    hidden = sum(secret.hidden_by is not None for secret in real)
    later = f", {hidden} of them hidden by a later layer" if hidden else ""
    known = len(secrets) - len(real)
    harmless = f", {known} more known to be harmless" if known else ""
    return f"{len(real)} found{later}{harmless}"


def _packages(facts: "Facts", width: int | None) -> list[str]:
    rows = [
        (
            package.type.value,
            safe(package.full_name),
            safe(package.version or "-"),
            safe(package.path),
        )
        for package in facts.packages
    ]
    return table(("TYPE", "NAME", "VERSION", "FOUND IN"), rows, shrink=(1, 3), width=_room(width))


def _secrets(facts: "Facts", width: int | None) -> list[str]:
    rows = [
        (
            secret.kind,
            safe(_where(secret)),
            f"{safe(secret.begins)}…" if secret.begins else "-",
            str(secret.layer or "-"),
            _state(secret),
            one_line(secret.instruction or "-", shorten=width is not None),
        )
        for secret in facts.secrets
    ]
    header = ("KIND", "WHERE", "BEGINS", "LAYER", "STATE", "INSTRUCTION")
    room = _room(width)
    lines = table(header, rows, right=(3,), shrink=(5,), width=room)
    if room is None or _widest(lines) <= room:
        return lines
    # Paths are what is looked for: they are cut only if nothing else makes room.
    narrow = [row[:5] for row in rows]
    lines = table(header[:5], narrow, right=(3,), shrink=(4, 0), width=room)
    if _widest(lines) > room:
        lines = table(header[:5], narrow, right=(3,), shrink=(1, 4, 0), width=room)
    return [*lines, "", *_steps(facts, room)]


def _widest(lines: Sequence[str]) -> int:
    return max(map(cells, lines[1:]))


def _steps(facts: "Facts", room: int) -> Iterator[str]:
    """Yield the build step of each layer with a secret, for which the table has no room."""
    steps = {one.layer: one.instruction for one in facts.secrets if one.layer and one.instruction}
    for layer, step in sorted(steps.items()):
        yield clip(f"layer {layer}: {one_line(step or '-', shorten=True)}", room)


def _where(secret: "Secret") -> str:
    from ocitool.inside.facts.rules import place_of

    return place_of(secret)


def _state(secret: "Secret") -> str:
    if secret.allowed is not None:
        return safe(f"allowed: {secret.allowed}")
    if secret.note is not None:
        return safe(secret.note)
    if secret.how == "repeated":
        return "overwritten in its layer"
    if secret.hidden_by is not None:
        return f"{secret.how} in {secret.hidden_by}"
    return "visible"


def _loose(facts: "Facts", width: int | None) -> list[str]:
    rows = [
        (
            one.rule.value,
            f"{one.mode:04o}",
            f"{one.uid}:{one.gid}",
            safe(one.path or "/"),
            str(one.layer or "-"),
            one_line(one.instruction or "-", shorten=width is not None),
        )
        for one in facts.loose
    ]
    header = ("WHAT", "MODE", "OWNER", "PATH", "LAYER", "INSTRUCTION")
    return table(header, rows, right=(4,), shrink=(3, 5), width=_room(width))


def _unread(facts: "Facts", width: int | None) -> list[str]:
    rows = [(safe(one.path or f"layer {one.layer}"), safe(one.reason)) for one in facts.unread]
    return table(("WHAT", "WHY"), rows, shrink=(0, 1), width=_room(width))


def _rules(denials: "Sequence[Denial]", width: int | None) -> list[str]:
    lines = []
    for denial in denials:
        allowed = f", {counted(denial.allowed, 'finding')} allowed" if denial.allowed else ""
        if denial.passed:
            lines.append(f"{styled('passed', 'green')}  {safe(denial.rule)}{allowed}")
            continue
        if not denial.violations:
            layers = ", ".join(map(str, denial.unread))
            lines.append(
                f"{styled('failed', 'red')}  {safe(denial.rule)}: layer {layers} was not read"
            )
            continue
        count = counted(len(denial.violations), "finding")
        lines.append(f"{styled('denied', 'red')}  {safe(denial.rule)}: {count}{allowed}")
        shown = [
            f"        {safe(one.where or 'the image')}: {safe(one.what)}"
            for one in denial.violations
        ]
        if len(shown) > _PLACES + 1:
            shown[_PLACES:] = [f"        … and {len(shown) - _PLACES} more, as listed above"]
        lines += [line if width is None else clip(line, width - 2) for line in shown]
    return lines


def _room(width: int | None) -> int | None:
    return None if width is None else width - 2
