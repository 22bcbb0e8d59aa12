"""ocitool sync: images mirrored between registries by a file of rules, or by a plan made of it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from ocitool.cli.attempts import Failure
from ocitool.cli.commands.push import create_repositories
from ocitool.cli.failures import SomeNotMirrored, about
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.registry import REGISTRY, registries
from ocitool.cli.options.rules import learn_access, read_rules
from ocitool.cli.options.transfer import MIRRORING, CreateRepository
from ocitool.cli.output import OUTPUT, Output
from ocitool.errors import AccessDenied, OcitoolError, Unavailable, UsageError

if TYPE_CHECKING:
    from ocitool.bundles.sync.config import SyncFile
    from ocitool.bundles.sync.plan import PlanLine, Shard
    from ocitool.operations.sync import SharedObserver, SyncedImage
    from ocitool.places.registry import Registries, RegistryOptions
    from ocitool.transfer.pipeline import TransferOptions

_LARGEST_PLAN = 256 << 20

File = Annotated[
    str | None,
    typer.Argument(metavar="[FILE]", help="The rules: YAML with the keys of regsync; - is stdin."),
]
PlanOut = Annotated[
    str | None,
    typer.Option(
        "--plan-out", metavar="P", help="Copy nothing: write what there is to mirror, by digests."
    ),
]
Plan = Annotated[
    str | None,
    typer.Option(
        "--plan", metavar="P", help="Mirror what a plan lists. FILE then only tells how to log in."
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Do part I of N, counted from 0 (or from 1: N/N is the same as 0/N). A repository is "
        "in one part as a whole.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Copy nothing: show each tag, the rule that took it, and what would be done.",
    ),
]


class _Run(Struct, frozen=True, kw_only=True):
    """What one command is to do."""

    rules: "SyncFile | None"
    plan: str | None
    plan_out: str | None
    shard: "Shard | None"
    is_dry: bool
    creates: bool
    options: "TransferOptions"
    registry: "RegistryOptions"


@with_options(options=MIRRORING, out=OUTPUT, registry=REGISTRY)
def sync(
    file: File = None,
    *,
    plan: Plan = None,
    plan_out: PlanOut = None,
    shard: ShardOption = None,
    dry_run: DryRun = False,
    create_repo: CreateRepository = False,
    options: "TransferOptions",
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Mirror images between registries, digests unchanged; what is there already is not sent.

    FILE lists sources and targets, with rules for their tags: allow and deny (regular
    expressions of whole tags), glob, semverRange, newest. Nothing is deleted at a target. If an
    image fails, all others are still mirrored, and the command fails at its end. Several machines
    share the work of one plan, each with a --shard of its own; repeated, that costs one request an
    image.
    """
    _check(plan, plan_out, out, dry_run=dry_run)
    run = _Run(
        rules=_rules(file, plan),
        plan=plan,
        plan_out=plan_out,
        shard=_shard(shard),
        is_dry=dry_run,
        creates=create_repo and not dry_run,
        options=options,
        registry=registry,
    )
    failures = _Failures(out)
    with out.working("mirroring"):
        found = _mirror(run, failures, out)
    _show(found, failures.failed, run, out)
    failures.finish(copies=not (dry_run or plan_out))


def _check(plan: str | None, plan_out: str | None, out: Output, *, dry_run: bool) -> None:
    """Refuse, before any work, options that exclude each other, and a plan nobody can write."""
    from ocitool.cli.render.texts import check_output_file

    if plan_out is None:
        return
    if plan is not None:
        raise UsageError("--plan and --plan-out exclude each other")
    if dry_run:
        raise UsageError("--plan-out copies nothing: leave out --dry-run")
    if plan_out != "-":
        check_output_file(plan_out)
    elif out.is_json:
        raise UsageError("--json and the plan cannot both go to stdout", hint="--plan-out FILE")


def _rules(file: str | None, plan: str | None) -> "SyncFile | None":
    """Return the rules; with a plan there need not be any."""
    if file is None:
        if plan is None:
            raise UsageError("Missing argument 'FILE'.", hint="name the rules, or give --plan P")
        return None
    return read_rules(file)


def _shard(text: str | None) -> "Shard | None":
    from ocitool.bundles.sync.plan import Shard

    return Shard.parse(text) if text is not None else None


def _mirror(run: _Run, failures: "_Failures", out: Output) -> "list[SyncedImage]":
    """Return what became of the images, or would become."""
    from ocitool.operations.sync import SharedObserver, look_at_targets, planned_only

    observer = SharedObserver(out.observer)
    for text in run.rules.ignored if run.rules is not None else ():
        observer.remark(text)
    connect = _connect(run, observer)
    with connect() as connected:
        lines = _lines(run, connected, failures)
        if run.plan_out is not None:
            return planned_only(lines)
        found = look_at_targets(lines, connected, on_failure=failures.add, jobs=run.options.jobs)
    return found if run.is_dry else _copy(run, found, connect, observer, failures, out)


def _copy(
    run: _Run,
    found: "Sequence[SyncedImage]",
    connect: "Callable[[], Registries]",
    observer: "SharedObserver",
    failures: "_Failures",
    out: Output,
) -> "list[SyncedImage]":
    from ocitool.images.opening import known_blobs
    from ocitool.operations.push_report import Ending
    from ocitool.operations.sync import copy_missing

    if run.creates:
        missing = [one.line.target for one in found if one.ending is Ending.PUSHED]
        create_repositories(missing, out.observer)
    with known_blobs(out.options.store_if_any) as known, out.observer.work("copying", 0):
        done = copy_missing(
            found, connect, run.options, on_failure=failures.add, observer=observer, known=known
        )
    failures.add_refused(done)
    return done


def _connect(run: _Run, observer: "SharedObserver") -> "Callable[[], Registries]":
    """Return what opens connections, with what the file says of its registries."""

    def connect() -> "Registries":
        found = registries(run.registry, observer)
        if run.rules is not None:
            learn_access(run.rules, found)
        return found

    return connect


def _lines(run: _Run, connected: "Registries", failures: "_Failures") -> "list[PlanLine]":
    """Return what is to be mirrored: as the plan says, or else the rules."""
    from ocitool.bundles.sync.plan import parse_plan
    from ocitool.cli.options.lists import read_input
    from ocitool.operations.sync_plan import plan_sync

    if run.plan is not None:
        lines = parse_plan(read_input(run.plan, run.plan, _LARGEST_PLAN), run.plan)
        return [one for one in lines if run.shard is None or run.shard.has(one.target)]
    if run.rules is None:
        return []
    return plan_sync(
        run.rules,
        connected,
        on_failure=failures.add,
        shard=run.shard,
        jobs=run.options.jobs,
    )


class _Failures:
    """What failed so far; each is told at once."""

    def __init__(self, out: Output) -> None:
        self.failed: list[Failure] = []
        self._out = out

    def add(self, name: str, error: OcitoolError) -> None:
        """Record a failure."""
        self.failed.append(Failure(name, error))
        self._out.observer.warn(about(name, error.message))

    def add_refused(self, done: "Sequence[SyncedImage]") -> None:
        """Record what is attached to images and was not taken."""
        for one in done:
            for part in one.refused:
                self.add(f"{one.line.target.repository}@{part.digest}", part.error)

    def finish(self, *, copies: bool) -> None:
        """Raise SomeNotMirrored if anything failed."""
        if self.failed:
            first = self.failed[0]
            others = ", all others are done" if copies else ""
            which = ":" if len(self.failed) == 1 else "; the first:"
            told = about(first.name, first.error.message)
            raise SomeNotMirrored(
                f"{len(self.failed)} failed{others}{which} {told}",
                first.error if self._have_one_reason() else None,
                hint=first.error.hint,
            )

    def _have_one_reason(self) -> bool:
        """Tell whether all failures are of credentials, or of the network."""
        return any(
            all(isinstance(failure.error, kind) for failure in self.failed)
            for kind in (AccessDenied, Unavailable)
        )


def _show(
    found: "Sequence[SyncedImage]", failed: "Sequence[Failure]", run: _Run, out: Output
) -> None:
    from ocitool.cli import documents
    from ocitool.cli.render import sync as words

    if run.plan_out is not None:
        _write([one.line for one in found], run.plan_out)
    out.result(
        tuple(found),
        text=words.table_of if run.is_dry else words.pinned,
        ids=lambda images: [str(one.line.digest) for one in images if one.is_changed],
        view=lambda images: {
            "dry_run": run.is_dry,
            "images": documents.MIRRORED(images),
            "failed": documents.FAILURE(tuple(failed)),
        },
    )
    out.summary([words.total(found, len(failed), is_dry=run.is_dry)])
    if run.shard is not None and not found and not failed:
        out.remark([f"{run.shard} has none of the repositories: the others have them"])


def _write(lines: "Sequence[PlanLine]", path: str) -> None:
    """Write a plan; a file appears whole or not at all."""
    from ocitool.bundles.sync.plan import encode_plan
    from ocitool.cli.render import console
    from ocitool.fsops import write_output

    data = encode_plan(lines)
    if path == "-":
        console.out_bytes(data)
    else:
        write_output(path, data)
