"""copy to ssh://: what the store of another machine lacks, as a delta through one pipe."""

from collections.abc import Sequence

from msgspec.structs import replace

from ocitool.bundles.inventory import base_of_have, parse_have
from ocitool.events import SILENT, Observer
from ocitool.images.locations import Place
from ocitool.images.opening import Opened
from ocitool.oci import Platform
from ocitool.operations.bundle.create import plan_bundle
from ocitool.places.ssh import RemoteOcitool, SshHost
from ocitool.transfer.counted import CountedPieces
from ocitool.transfer.pipeline import TransferOptions
from ocitool.transfer.report import CopyReport, merge_reports

_INVENTORY = ("inventory", "store", "--unreferenced", "-o", "-")
# What an interrupted run has left belongs to no image, and need not be sent again.
_LOAD = ("bundle", "load", "-", "--to", "store", "--quiet")


def send(
    sources: Sequence[Opened],
    target: Place,
    options: TransferOptions | None = None,
    *,
    command: str = "ocitool",
    featured: Platform | None = None,
    observer: Observer = SILENT,
) -> CopyReport:
    """Copy images into the store of another machine; only blobs that it lacks are sent.

    `command` is how ocitool is called there. When the connection breaks, what has arrived stays
    there, and the next call leaves it out. See `RemoteOcitool.run` for the errors.
    """
    host = SshHost.parse(target.name or "")
    remote = RemoteOcitool(host, command=command, store=target.path or None)
    with observer.busy(f"asking {host.host} what it has"):
        have = parse_have(remote.run(*_INVENTORY), f"the inventory of {host.host}")
    base = base_of_have(have)
    with plan_bundle(sources, options, base=base, featured=featured, observer=observer) as plan:
        pieces = CountedPieces(plan.pieces())
        remote.run(*_LOAD, pieces=pieces)
        return replace(merge_reports(list(plan.reports)), written=pieces.count)
