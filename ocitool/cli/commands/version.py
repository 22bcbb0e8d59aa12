"""ocitool version: which version this is."""

from ocitool.cli.options.expand import with_options
from ocitool.cli.output import JSON_OUTPUT, Output
from ocitool.version import __version__


@with_options(out=JSON_OUTPUT)
def version(*, out: Output) -> None:
    """Print the version of ocitool."""
    out.result({"version": __version__}, text=lambda _: [f"ocitool {__version__}"])
