"""ocitool registry prune: delete tags and manifests by rules, and break no image that stays."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from ocitool.cli.attempts import Attempts, Failure
from ocitool.cli.failures import SomeFailed
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.pruning import DOING, RULES, Doing
from ocitool.cli.options.quantities import parse_seconds
from ocitool.cli.options.registry import REGISTRY, registries
from ocitool.cli.output import OUTPUT, Output
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.oci import Digest, Reference
    from ocitool.operations.prune import PlannedPrune
    from ocitool.places.registry import Registries, RegistryOptions
    from ocitool.pruning.outcome import PruneOutcome
    from ocitool.pruning.plan import PrunePlan
    from ocitool.pruning.policy import Written

_LARGEST_POLICY, _LARGEST_PLAN = 1 << 20, 256 << 20
_SOMETHING_GOES = 3

Repositories = Annotated[
    list[str] | None,
    typer.Argument(metavar="[REPOSITORY…]", help="Repositories, for example ghcr.io/a/b."),
]


class PruneRow(Struct, frozen=True, kw_only=True):
    """A plan, and what became of it (None: nothing was deleted)."""

    plan: "PrunePlan"
    done: "PruneOutcome | None" = None

    @property
    def brake(self) -> str | None:
        """What keeps the plan from being done."""
        return self.plan.brake.message if self.plan.brake is not None else None


@with_options(rules=RULES, doing=DOING, out=OUTPUT, options=REGISTRY)
def prune(
    repositories: Repositories = None,
    *,
    rules: "Written",
    doing: Doing,
    out: Output,
    options: "RegistryOptions",
) -> None:
    """Delete old tags and what has no tag, by rules; show only what would go without -f.

    Tags go only by --delete-tags, and never if a rule keeps them. What stays keeps its platforms,
    signatures and attestations: all of it is read before anything is deleted, and asked for again
    at the end. Anything that cannot be read ends the command before it deletes.
    """
    _check(repositories, doing, out)
    # Who sees less than all of a repository must not judge what may go.
    options = replace(options, rate=doing.rate, anonymous_fallback=False)
    with registries(options, out.observer) as connected:
        with out.working("reading"):
            planned = _plan(repositories or (), rules, doing, connected, out)
        if doing.explain is not None:
            _explain(planned, doing.explain, out)
            return
        if doing.plan_out is not None:
            _write_plan(planned, doing.plan_out)
        if doing.force:
            _apply(planned, doing, out)
        else:
            _show(planned, doing, out)


def _check(repositories: Sequence[str] | None, doing: Doing, out: Output) -> None:
    """Refuse, before any work, options that exclude each other, and files nobody can write."""
    from ocitool.cli.render.texts import check_output_file
    from ocitool.operations.save import check_file_name

    if doing.apply is not None and (repositories or doing.policy or doing.plan_out):
        raise UsageError(
            "--apply does what its plan says: it takes no repository, no --policy, no --plan-out"
        )
    if doing.allow_new and doing.apply is None:
        raise UsageError("--allow-new goes with --apply")
    if doing.force and (doing.check or doing.explain is not None):
        raise UsageError("--check and --explain delete nothing: leave out -f")
    if doing.archive is not None:
        check_file_name(doing.archive)
    if doing.plan_out == "-" and out.is_json:
        raise UsageError("--json and the plan cannot both go to stdout", hint="--plan-out FILE")
    for path in (doing.archive, doing.plan_out):
        check_output_file(None if path == "-" else path)


def _plan(
    names: Sequence[str], rules: "Written", doing: Doing, connected: "Registries", out: Output
) -> "list[PlannedPrune]":
    from ocitool.cli.options.lists import read_input
    from ocitool.operations import prune as pruning
    from ocitool.pruning.plan import parse_prune_plans
    from ocitool.pruning.policy import parse_policy

    ignored = [_digest(text) for text in doing.ignore_unreadable or ()]
    if doing.apply is not None:
        if rules.rules(parse_seconds).is_said or rules.containers or rules.api:
            raise UsageError("--apply does what its plan says: rules belong to the plan")
        plans = parse_prune_plans(read_input(doing.apply, doing.apply, _LARGEST_PLAN), doing.apply)
        return pruning.recheck_prune_plans(
            connected, plans, allow_new=doing.allow_new, ignored=ignored
        )
    if doing.policy is not None:
        data = read_input(doing.policy, doing.policy, _LARGEST_POLICY)
        try:
            rules = rules.over(parse_policy(data.decode("utf-8-sig"), doing.policy))
        except UnicodeDecodeError:
            raise UsageError(f"{doing.policy} is not UTF-8 text") from None
    wanted = [_repository(name) for name in names or rules.repositories]
    if not wanted:
        raise UsageError("Missing argument 'REPOSITORY…'.", hint="or repositories: in the policy")
    return pruning.plan_prune(
        connected,
        wanted,
        rules.rules(parse_seconds),
        api=rules.api or "auto",
        containers=rules.containers,
        ignored=ignored,
        observer=out.observer,
    )


def _repository(name: str) -> "Reference":
    from ocitool.images.locations import registry_reference

    if "@" in name or ":" in name.removeprefix("docker://").rpartition("/")[2]:
        raise UsageError(
            f"{name!r} names one image: prune is about whole repositories",
            hint="`ocitool registry rm` deletes single images",
        )
    return registry_reference(name)


def _digest(text: str) -> "Digest":
    from ocitool.oci.reference import typed_digest

    return typed_digest(text, text)


def _explain(planned: "Sequence[PlannedPrune]", text: str, out: Output) -> None:
    from ocitool.cli.render.pruning import explanation_lines
    from ocitool.pruning.explaining import explain

    found = [explain(one.decision, one.plan, text) for one in planned if one.decision is not None]
    if not found:
        raise UsageError("--explain needs rules, and no plan of a file")
    out.result(found, text=lambda found: (line for one in found for line in explanation_lines(one)))


def _write_plan(planned: "Sequence[PlannedPrune]", path: str) -> None:
    from ocitool.cli.render import console
    from ocitool.fsops import write_output
    from ocitool.pruning.plan import encode_prune_plans

    data = encode_prune_plans(one.plan for one in planned)
    if path == "-":
        console.out_bytes(data)
    else:
        write_output(path, data)


def _show(planned: "Sequence[PlannedPrune]", doing: Doing, out: Output) -> None:
    """Show the plans, and say what would stand in the way of doing them."""
    from ocitool.cli.render.pruning import plan_lines

    rows = [PruneRow(plan=one.plan) for one in planned]
    if doing.plan_out != "-":
        _print(rows, out, lambda row: plan_lines(row.plan))
    goes = any(row.plan.steps for row in rows)
    _tell_notes(rows, out)
    for row in rows:
        if row.plan.brake is not None:
            out.observer.warn(f"-f will refuse this: {row.brake}; {row.plan.brake.hint}")
    if goes:
        out.summary(["nothing was deleted: -f does it"])
    if doing.check and goes:
        raise typer.Exit(_SOMETHING_GOES)


def _tell_notes(rows: Sequence[PruneRow], out: Output) -> None:
    for row in rows:
        for note in row.plan.notes:
            out.observer.remark(f"{row.plan.name}: {note}")


def _apply(planned: "Sequence[PlannedPrune]", doing: Doing, out: Output) -> None:
    """Do the plans, show what became of them, and fail if anything did."""
    from ocitool.cli.render.pruning import outcome_lines, total_line
    from ocitool.operations.prune import prune as delete

    attempts = Attempts(out, len(planned))
    rows = [PruneRow(plan=one.plan) for one in planned]
    _tell_notes(rows, out)
    left = "every tag that is left is whole; what else is left is garbage"
    plan = doing.apply or doing.plan_out
    if plan is not None:
        left += f", and `ocitool registry prune --apply {plan} -f` goes on"
    with out.working("deleting", left=left):
        outcomes = delete(
            planned,
            archive=doing.archive,
            observer=out.observer,
            on_failure=None
            if attempts.ends_at_once
            else lambda one, error: attempts.add(one.plan.name, error),
        )
    rows = [PruneRow(plan=one.plan, done=done) for one, done in zip(planned, outcomes, strict=True)]
    _print(
        rows,
        out,
        lambda row: outcome_lines(row.done) if row.done is not None else (),
        failed=attempts.failed,
    )
    if len(planned) > 1:
        out.summary([total_line(outcomes)])
    for one in {one.reader.service.name: one for one in planned if one.plan.steps}.values():
        out.summary([one.reader.service.closing])
    problems = [one.problem for one in outcomes if one.problem is not None]
    if problems:
        failed = [*problems, *(failure.error for failure in attempts.failed)]
        raise failed[0] if len(planned) == 1 else SomeFailed(failed[0], len(failed), len(planned))
    attempts.finish()


def _print(
    rows: Sequence[PruneRow],
    out: Output,
    text: Callable[[PruneRow], Iterable[str]],
    *,
    failed: Sequence[Failure] = (),
) -> None:
    from ocitool.cli.pruning_documents import FAILED, PRUNED

    out.result(
        rows,
        text=lambda rows: (line for row in rows for line in text(row)),
        ids=lambda rows: (
            str(digest)
            for row in rows
            for digest in (sorted(row.plan.digests) if row.done is None else row.done.digests)
        ),
        view=lambda rows: {"repositories": PRUNED(rows), "failed": FAILED(failed)},
    )
