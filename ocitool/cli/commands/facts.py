"""ocitool facts: what an image holds, and whether it has what it must not have."""

import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.elsewhere import says_where_else
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.inside import Looking, looking_into
from ocitool.cli.options.registry import REGISTRY
from ocitool.cli.options.shared import OnePlatform, one_platform
from ocitool.cli.options.sources import ImageSource
from ocitool.cli.options.times import source_date_epoch
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render import console
from ocitool.errors import UsageError
from ocitool.version import __version__

if TYPE_CHECKING:
    from ocitool.cli.render.document import View
    from ocitool.inside.facts.report import Facts
    from ocitool.inside.facts.rules import Judgement
    from ocitool.places.registry import RegistryOptions

_DENIED = 3
_FORMATS = ("cyclonedx",)

Deny = Annotated[
    list[str] | None,
    typer.Option(
        "--deny",
        metavar="RULE[,…]",
        help="Exit with 3 if the image has one of these: secrets, shell, package-manager, setuid, "
        "setgid, world-writable, capabilities, root, full-os, package:NAME.",
    ),
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="PATH|RULE=REASON",
        help="Accept this path (with *), place such as env:NAME, or rule, and say why.",
    ),
]
Sbom = Annotated[
    tuple[str, str] | None,
    typer.Option(
        "--sbom",
        metavar="cyclonedx FILE",
        help="Write the packages as CycloneDX 1.6 JSON to this file (- is stdout). "
        "SOURCE_DATE_EPOCH sets its time.",
    ),
]
AllPackages = Annotated[
    bool, typer.Option("--packages", help="List every package instead of their numbers.")
]


@with_options(out=OUTPUT, registry=REGISTRY)
@says_where_else("ocitool facts SRC", "ocitool facts SRC")
def facts(
    source: ImageSource,
    *,
    deny: Deny = None,
    allow: Allow = None,
    sbom: Sbom = None,
    packages: AllPackages = False,
    platform: OnePlatform = None,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Show what an image holds: system, packages, secrets, shells, files with unusual rights.

    Secrets are looked for in every layer, also where a later layer hides them, and in the
    variables, labels and build steps; at most their first four characters are shown. Other
    commands (size, inspect, history, dockerfile, diff) print build steps as they are recorded. With
    --deny the exit code is 3 if the image has what a rule denies.
    """
    from ocitool.cli import inside_documents
    from ocitool.inside.facts.cyclonedx import cyclonedx
    from ocitool.inside.facts.rules import check_rules, judge, parse_allowance

    rules = check_rules(rule for text in deny or () for rule in text.split(","))
    allowances = [parse_allowance(text) for text in allow or ()]
    target = _target(sbom, out)
    created = _now() if target is not None else None
    found = _facts(source, platform, out, registry)
    judged = judge(found, rules, allowances)
    if target != "-":
        _show(judged, out, inside_documents.FACTS, packages=packages)
    _require_layers(found, gated=bool(rules))
    if target is not None and created is not None:
        _write(target, cyclonedx(found, created, version=__version__))
    if not judged.passed:
        raise typer.Exit(_DENIED)


def _facts(source: str, platform: str | None, out: Output, registry: "RegistryOptions") -> "Facts":
    from ocitool.inside.facts.gathering import gather_facts

    looking = Looking(platform=one_platform(platform), layer=None, up_to=None)
    with looking_into(source, looking, out, registry) as inside:
        return gather_facts(inside, observer=out.bar)


def _show(judged: "Judgement", out: Output, view: "View", *, packages: bool) -> None:
    from ocitool.cli.render.facts import facts_lines

    width = console.terminal_width()
    out.result(
        judged,
        text=lambda judged: facts_lines(judged, width, packages=packages),
        ids=_denied_places,
        view=view,
    )
    for one in judged.allowances:
        if one.is_stale:
            out.remark([f"--allow {one.what} ({one.reason}) allows nothing any more"])


def _require_layers(found: "Facts", *, gated: bool) -> None:
    """Fail if a layer was not read: what it holds is not known, so no rule has passed."""
    from ocitool.cli.unread import end_for

    end_for(
        ((one.kind, f"layer {one.layer}: {one.reason}") for one in found.unread_layers),
        gated=gated,
    )


def _denied_places(judged: "Judgement") -> Iterable[str]:
    for denial in judged.denials:
        for one in denial.violations:
            yield console.safe(one.where or denial.rule)


def _target(sbom: tuple[str, str] | None, out: Output) -> str | None:
    """Return the file of --sbom; UsageError for a format or a combination that does not exist."""
    if sbom is None:
        return None
    kind, path = sbom
    if kind not in _FORMATS:
        # The two may have been swapped.
        file = kind if path in _FORMATS else path
        hint = f"write --sbom {_FORMATS[0]} {file}: the format, then the file"
        raise UsageError(f"--sbom {kind!r} is not a format", hint=hint)
    if path == "-" and out.is_json:
        raise UsageError("--json and an SBOM cannot both go to stdout", hint="name a file for it")
    return path


def _now() -> dt.datetime:
    """Return the time of the document: SOURCE_DATE_EPOCH, else now."""
    epoch = source_date_epoch()
    return dt.datetime.now(dt.UTC) if epoch is None else dt.datetime.fromtimestamp(epoch, dt.UTC)


def _write(path: str, data: bytes) -> None:
    from ocitool.fsops import write_output

    if path == "-":
        console.out_bytes(data)
    else:
        write_output(path, data)
