"""Rules as they are written: by options, in a policy file, or both together.

A policy file is YAML with the words of the options as its keys, such as `keep-last: [10, "3:v.*"]`.
"""

from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from ocitool.bundles.sync.sections import Section, Sections
from ocitool.bundles.yaml_marks import parse_yaml
from ocitool.errors import UsageError
from ocitool.pruning.rules import (
    PruneRules,
    Seconds,
    keep_rules,
    parse_age,
    parse_most,
    patterns,
)

KEEPING: Final = (
    "keep-last",
    "keep-within",
    "keep-tags",
    "keep-semver",
    "keep-semver-last",
    "keep-daily",
    "keep-weekly",
    "keep-monthly",
)
"""The options that keep tags."""
_OTHERS: Final = (
    *("delete-tags", "untagged", "orphans", "older-than", "min-keep", "max-delete"),
    *("containers", "api", "repositories"),
)
_LONGEST_NUMBER: Final = 9


class Written(Struct, frozen=True, kw_only=True):
    """What a user wrote, not understood yet. `keep` has the values of each of KEEPING."""

    keep: dict[str, tuple[str, ...]] = field(default_factory=dict)
    delete_tags: tuple[str, ...] = ()
    untagged: bool = False
    orphans: bool = False
    older_than: str | None = None
    min_keep: int | None = None
    max_delete: str | None = None
    containers: tuple[str, ...] = ()
    api: str | None = None
    repositories: tuple[str, ...] = ()

    def over(self, policy: "Written") -> "Written":
        """Return both together: rules are added, and of single values these ones count."""
        keep = {
            option: (*policy.keep.get(option, ()), *self.keep.get(option, ())) for option in KEEPING
        }
        return Written(
            keep=keep,
            delete_tags=(*policy.delete_tags, *self.delete_tags),
            untagged=self.untagged or policy.untagged,
            orphans=self.orphans or policy.orphans,
            older_than=self.older_than if self.older_than is not None else policy.older_than,
            min_keep=self.min_keep if self.min_keep is not None else policy.min_keep,
            max_delete=self.max_delete if self.max_delete is not None else policy.max_delete,
            containers=(*policy.containers, *self.containers),
            api=self.api if self.api is not None else policy.api,
            repositories=self.repositories or policy.repositories,
        )

    def rules(self, seconds: Seconds) -> PruneRules:
        """Return the rules that this means; UsageError for what means none."""
        found = PruneRules(
            keep=keep_rules(self.keep, seconds),
            delete=patterns(self.delete_tags),
            untagged=self.untagged,
            orphans=self.orphans,
            min_keep=1 if self.min_keep is None else self.min_keep,
        )
        fields: dict[str, object] = {}
        if self.max_delete is not None:
            fields["max_delete"] = parse_most(self.max_delete)
        if self.older_than is not None:
            fields["older_than"], fields["by_pull"] = parse_age(self.older_than, seconds)
        return replace(found, **fields)


def parse_policy(text: str, what: str) -> Written:
    """Return what a policy file says; UsageError, with its line, for what is wrong in it."""
    root = parse_yaml(text, what)
    if root is None:
        raise UsageError(f"{what} is empty", hint="it needs rules, such as keep-last: 10")
    known = " ".join((*KEEPING, *_OTHERS))
    section = Sections(what).read(root, known, extras=True)
    return Written(
        keep={option: _texts(section, option) for option in KEEPING},
        delete_tags=_texts(section, "delete-tags"),
        untagged=section.flag("untagged") or False,
        orphans=section.flag("orphans") or False,
        older_than=section.text("older-than"),
        min_keep=_number(section, "min-keep"),
        max_delete=section.text("max-delete"),
        containers=_texts(section, "containers"),
        api=section.text("api"),
        repositories=_texts(section, "repositories"),
    )


def _texts(section: Section, key: str) -> tuple[str, ...]:
    return tuple(text for text, _ in section.texts(key))


def _number(section: Section, key: str) -> int | None:
    text = section.text(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER):
        raise section.error(f"{key} is a number", key)
    return int(text)
