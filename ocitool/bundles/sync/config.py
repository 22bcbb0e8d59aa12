"""The file of `ocitool sync`: what is mirrored from where to where. Its keys are regsync's.

https://regclient.org/usage/regsync/ describes them. `glob` and `newest` beside `allow` are ours.
Every value knows its line, and a key that is not known is an error.
"""

import re
from typing import Final, Literal

from msgspec import Struct

from ocitool.bundles.sync.access import HostAccess, read_access
from ocitool.bundles.sync.ranges import parse_range
from ocitool.bundles.sync.rules import Kind, Pattern, TagRules
from ocitool.bundles.sync.sections import Section, Sections
from ocitool.bundles.yaml_marks import parse_yaml
from ocitool.errors import UsageError
from ocitool.oci import Platform, Reference
from ocitool.oci.quoting import quoted

EntryType = Literal["image", "repository", "registry"]
_TYPES: Final[tuple[EntryType, ...]] = ("image", "repository", "registry")
_CHOICES: Final = "platform platforms referrers digestTags"
_RULES: Final = "allow deny glob semverRange newest"
_IGNORED: Final = (
    *("backup", "interval", "schedule", "ratelimit", "mediaTypes", "hooks", "referrerFilters"),
    *("referrerSource", "referrerTarget", "referrerSlow", "fastCheck", "fastCopy"),
    *("forceRecursive", "includeExternal"),
)
_IGNORED_DEFAULTS: Final = (
    *_IGNORED,
    *("parallel", "blobLimit", "cacheCount", "cacheTime", "skipDockerConfig", "userAgent"),
)


class SyncEntry(Struct, frozen=True, kw_only=True):
    """What one entry of `sync` mirrors. `line` is where it begins.

    `source` and `target` are full names: of an image with a tag or a digest, the target's perhaps
    without; of a repository without; of a registry its host, the target's perhaps with a prefix.
    Of the repositories of a registry those go that one of `repositories` matches, if there are
    any, without those that one of `left_out` matches. `attached` also mirrors what is attached to
    the images.
    """

    kind: EntryType
    source: str
    target: str
    line: int
    sets: tuple[TagRules, ...] = ()
    repositories: tuple[Pattern, ...] = ()
    left_out: tuple[Pattern, ...] = ()
    platforms: tuple[Platform, ...] = ()
    attached: bool = False


class SyncFile(Struct, frozen=True, kw_only=True):
    """A sync file: what it mirrors, how registries are reached, and what of it is ignored."""

    what: str
    entries: tuple[SyncEntry, ...]
    access: tuple[HostAccess, ...] = ()
    ignored: tuple[str, ...] = ()

    def at(self, line: int) -> str:
        """Return a place in the file, such as `sync.yaml:12`."""
        return f"{self.what}:{line}"


def parse_sync_file(text: str, what: str) -> SyncFile:
    """Return what a sync file says; UsageError, with its line, for what is wrong in it."""
    root = parse_yaml(text, what)
    if root is None:
        raise UsageError(f"{what} is empty", hint="it needs the key sync: a list of what to mirror")
    sections = Sections(what)
    whole = sections.read(root, "version creds defaults sync", extras=True)
    if whole.text("version") not in (None, "1"):
        raise whole.error("version is 1", "version")
    defaults = whole.section("defaults", _CHOICES, _IGNORED_DEFAULTS)
    known = f"source target type tags tagSets repos {_CHOICES}"
    entries = [_entry(one, defaults) for one in whole.sections("sync", known, _IGNORED)]
    if not entries:
        raise whole.error("there is nothing to mirror: sync is a list", "sync")
    return SyncFile(
        what=what,
        entries=tuple(entries),
        access=read_access(whole),
        ignored=tuple(dict.fromkeys(sections.ignored)),
    )


def _entry(section: Section, defaults: Section) -> SyncEntry:
    written = section.required("type")
    kind = next((one for one in _TYPES if one == written), None)
    if kind is None:
        raise section.error(f"type is one of {', '.join(_TYPES)}, not {quoted(written)}", "type")
    if kind != "registry" and section.items("repos"):
        raise section.error("repos is for entries of type registry", "repos")
    if kind == "image" and (section.items("tags") or section.items("tagSets")):
        key = "tags" if section.items("tags") else "tagSets"
        raise section.error(f"{key} is for entries of type repository and registry", key)
    repos = section.section("repos", "allow deny")
    return SyncEntry(
        kind=kind,
        source=_name(section, "source", kind),
        target=_name(section, "target", kind),
        line=section.line,
        sets=_rule_sets(section) if kind != "image" else (),
        repositories=_patterns(repos, "allow"),
        left_out=_patterns(repos, "deny"),
        platforms=_platforms(section) or _platforms(defaults),
        attached=_attached(section, defaults),
    )


def _name(section: Section, key: str, kind: EntryType) -> str:
    """Return a source or target as its full name."""
    text = section.required(key).removeprefix("docker://")
    if "{{" in text:
        raise section.error(f"{key} is a template; ocitool fills in none here", key)
    has_tag = "@" in text or ":" in text.rpartition("/")[2]
    try:
        if kind == "registry":
            return _registry(text, is_source=key == "source")
        reference = Reference.parse(text)
    except UsageError as error:
        raise section.error(error.message, key, hint=error.hint) from None
    if kind == "image":
        return str(reference) if has_tag or key == "source" else reference.repository
    if has_tag:
        hint = "one image is of type image; tags: allow: [TAG] takes one of a repository"
        raise section.error(f"{key} is a repository, and has no tag", key, hint=hint)
    return reference.repository


def _registry(text: str, *, is_source: bool) -> str:
    """Return the host of a registry, and for a target the prefix behind it."""
    text = text.rstrip("/")
    reference = Reference.parse(f"{text}/x:1")
    host = "docker.io" if text == "docker.io" else reference.domain
    if not (text == host or text.startswith(f"{host}/")):
        raise UsageError(f"{quoted(text)} does not begin with the host of a registry")
    if is_source and text != host:
        raise UsageError(
            f"{quoted(text)} is more than the host of a registry",
            hint="choose repositories with repos: allow: [REGEX]",
        )
    return text


def _rule_sets(section: Section) -> tuple[TagRules, ...]:
    """Return the sets of rules of an entry; one that takes all tags if it has none."""
    written = [*section.sections("tagSets", _RULES), *section.sections("tags", _RULES)]
    sets = tuple(
        TagRules(
            line=one.line,
            ranges=_patterns(one, "semverRange"),
            patterns=(*_patterns(one, "allow"), *_patterns(one, "glob")),
            deny=_patterns(one, "deny"),
            newest=one.count("newest"),
        )
        for one in written
    )
    return sets or (TagRules(line=section.line),)


def _patterns(section: Section, key: str) -> tuple[Pattern, ...]:
    kind: Kind = "allow" if key in ("allow", "deny") else "glob" if key == "glob" else "semverRange"
    return tuple(_pattern(section, kind, text, line) for text, line in section.texts(key))


def _pattern(section: Section, kind: Kind, text: str, line: int) -> Pattern:
    try:
        versions = parse_range(text) if kind == "semverRange" else None
        if kind == "allow":
            re.compile(text, re.ASCII)
    except re.error as error:
        raise section.error_at(line, f"{quoted(text)} is no regular expression: {error}") from None
    except UsageError as error:
        raise section.error_at(line, error.message, hint=error.hint) from None
    return Pattern(kind=kind, text=text, line=line, versions=versions)


def _platforms(section: Section) -> tuple[Platform, ...]:
    key = "platforms" if section.items("platforms") else "platform"
    try:
        return tuple(Platform.parse(text) for text, _ in section.texts(key))
    except UsageError as error:
        raise section.error(error.message, key, hint=error.hint) from None


def _attached(section: Section, defaults: Section) -> bool:
    """Tell whether what is attached goes along: regsync has two words for two ways to attach."""
    words = ("referrers", "digestTags")
    here = [section.flag(word) for word in words]
    if any(flag is not None for flag in here):
        return any(here)
    return any(defaults.flag(word) for word in words)
