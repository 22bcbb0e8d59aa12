"""ocitool copy of several tags between registries, and of one with --dry-run."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from ocitool.cli.attempts import Attempts, Failure
from ocitool.cli.commands.push import create_repositories
from ocitool.cli.options.registry import registries
from ocitool.errors import OcitoolError, UsageError

if TYPE_CHECKING:
    from ocitool.cli.options.transfer import Sending
    from ocitool.cli.output import Output
    from ocitool.operations.copy_tags import TagCopy, TagPair
    from ocitool.places.registry import Registries, RegistryOptions
    from ocitool.transfer.pipeline import TransferOptions

_TO_DO = {"pushed": "copy", "present": "there already", "skipped": "leave as it is"}


class TagsCommand(Struct, frozen=True, kw_only=True):
    """What the command is to do: which tags, where to, and how."""

    source: str
    destination: str
    all_tags: bool
    is_fail_fast: bool
    options: "TransferOptions"
    sending: "Sending"
    registry: "RegistryOptions"

    @property
    def is_dry_run(self) -> bool:
        """Whether it is only to be shown what would be copied."""
        return self.sending.dry_run


def is_about_tags(source: str, *, all_tags: bool, dry_run: bool) -> bool:
    """Tell whether a copy is one of tags between registries, judged by its source and options."""
    from ocitool.images.locations import is_in_registry, tag_pattern

    if not is_in_registry(source):
        if all_tags:
            raise UsageError(
                "--all-tags is for copies between registries",
                hint="such as docker://ghcr.io/a/b and docker://registry.example/a/b",
            )
        return False
    return dry_run or tag_pattern(source, all_tags=all_tags) is not None


def copy_tags(command: TagsCommand, out: "Output") -> None:
    """Copy the tags, or show what there is to do."""
    from ocitool.images.opening import known_blobs
    from ocitool.operations import copy_tags as copying

    options, policy = command.options, command.sending.policy
    if command.is_dry_run and (options.platforms or options.changes_compression):
        raise UsageError("--dry-run cannot tell the digests that a conversion makes")
    with (
        registries(command.registry, out.observer) as connected,
        known_blobs(out.options.store_if_any) as known,
    ):
        pairs, broken_off = _pairs(command, connected)
        attempts = Attempts(out, len(pairs), fail_fast=command.is_fail_fast)
        if broken_off is not None:
            attempts.add(pairs[0][0], broken_off)
        on_failure = None if attempts.ends_at_once else attempts.add
        if command.sending.create_repo and not command.is_dry_run:
            create_repositories([pairs[0][1]], out.observer)
        done = copying.plan_tags(
            pairs, connected, options, on_existing=policy, on_failure=on_failure
        )
        if not command.is_dry_run:
            done = copying.copy_tags(
                done,
                connected,
                options,
                on_existing=policy,
                observer=out.observer,
                on_failure=on_failure,
                known=known,
            )
    for one in done:
        name = one.destination.repository
        refused = [Failure(f"{name}@{part.digest}", part.error) for part in one.refused]
        attempts.add_parts(one.attached, refused)
    _show(done, attempts.failed, command, out)
    attempts.finish()


def _pairs(
    command: TagsCommand, connected: "Registries"
) -> "tuple[list[TagPair], OcitoolError | None]":
    """Return what goes where, and why the list of tags broke off, if it did."""
    from ocitool.images.locations import (
        PlaceKind,
        is_in_registry,
        parse_place,
        registry_reference,
        tag_pattern,
    )
    from ocitool.places.registry import Repository
    from ocitool.places.registry.listing import tags
    from ocitool.places.registry.paging import IncompleteList

    if not is_in_registry(command.destination):
        hint = "`ocitool pull` brings several tags into the store"
        if parse_place(command.destination).kind is PlaceKind.STORE:
            hint = f"write docker://{command.destination.removeprefix('store:')}; {hint}"
        raise UsageError(
            f"several tags are copied to docker://HOST/NAME, and not to {command.destination}",
            hint=hint,
        )
    found = tag_pattern(command.source, all_tags=command.all_tags)
    target = registry_reference(command.destination)
    if found is None:
        return [(registry_reference(command.source), target)], None
    if ":" in command.destination.rpartition("/")[2]:
        raise UsageError(
            "several tags keep their names: name the destination without a tag",
            hint=f"write docker://{target.repository}",
        )
    session = Repository.of(connected, found.repository).session
    broken_off = None
    try:
        names = tags(session)
    except IncompleteList as error:
        if not error.found:
            raise
        names, broken_off = list(error.found), error
    return [(one, target.with_tag(one.tag or "")) for one in found.among(names)], broken_off


def _show(
    done: "Sequence[TagCopy]", failed: "Sequence[Failure]", command: TagsCommand, out: "Output"
) -> None:
    from ocitool.cli import documents
    from ocitool.cli.render import texts

    if command.sending.digestfile is not None and not (command.is_dry_run or failed):
        texts.write_digests(command.sending.digestfile, [one.digest for one in done])
    dry = command.is_dry_run
    out.result(
        done,
        text=_plan if dry else lambda done: [one.pinned for one in done],
        ids=lambda done: [str(one.digest) for one in done],
        view=lambda done: [
            *map(documents.TAG_COPIED.beside(dry_run=dry), done),
            *map(documents.FAILED_PUSH.beside(status="failed", dry_run=dry), failed),
        ],
    )
    out.remark([_summary(done, command)])


def _plan(done: "Sequence[TagCopy]") -> list[str]:
    from ocitool.cli.render.columns import table

    rows = [
        (
            one.source.familiar,
            one.destination.familiar,
            "move" if one.moved_from is not None else _TO_DO[one.ending],
            one.image.digest.short,
            one.existing.short if one.existing is not None else "-",
        )
        for one in done
    ]
    return table(("SOURCE", "DESTINATION", "TO DO", "DIGEST", "NAMES NOW"), rows)


def _summary(done: "Sequence[TagCopy]", command: TagsCommand) -> str:
    from ocitool.cli.render.columns import counted, size

    count = {ending: sum(one.ending == ending for one in done) for ending in _TO_DO}
    copied = f"{counted(count['pushed'], 'tag')} {'to copy' if command.is_dry_run else 'copied'}"
    if not command.is_dry_run:
        copied += f" ({size(sum(one.transfer.stored_bytes for one in done))})"
    parts = [copied, f"{count['present']} there already"]
    if count["skipped"]:
        parts.append(f"{count['skipped']} left as they are")
    return ", ".join(parts)
