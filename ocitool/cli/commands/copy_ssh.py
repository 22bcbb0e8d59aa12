"""ocitool copy SRC… ssh://HOST: images into the store of another machine."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ocitool.cli.attempts import Attempts
from ocitool.cli.commands.copy_report import show_copied
from ocitool.cli.options.registry import connected_to
from ocitool.cli.options.shared import usual_platform
from ocitool.cli.options.transfer import Sending
from ocitool.cli.output import Output
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.places.registry import RegistryOptions
    from ocitool.transfer.pipeline import TransferOptions


def copy_to_machine(
    sources: Sequence[str],
    destination: str,
    command: str,
    options: "TransferOptions",
    sending: Sending,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Send what the store of another machine lacks of some images; `command` is ocitool there."""
    from ocitool.images.locations import parse_place
    from ocitool.images.opening import open_together
    from ocitool.operations.bundle.send import send
    from ocitool.transfer.report import CopyReport

    if sending.flatten or sending.dry_run:
        raise UsageError("--flatten and --dry-run are for copies into a registry")
    target, places = parse_place(destination), [parse_place(text) for text in sources]
    attempts = Attempts(out, 1)
    report = CopyReport(images=())
    with (
        out.working("copying"),
        connected_to(registry, out.observer, *places) as connected,
        attempts.one(destination),
        open_together(
            places,
            store=out.options.store_for(*places),
            stdin=0,
            scratch=options.scratch,
            registries=connected,
            observer=out.observer,
        ) as opened,
    ):
        report = send(
            opened,
            target,
            options,
            command=command,
            featured=usual_platform(),
            observer=out.observer,
        )
    show_copied(report, target, sending, options, attempts, out)
    attempts.finish()
