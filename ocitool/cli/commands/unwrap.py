"""ocitool unwrap: the one image of an index."""

from typing import TYPE_CHECKING

from ocitool.cli.elsewhere import says_where_else
from ocitool.cli.options.editing import TAKING, EditingOptions
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.registry import REGISTRY
from ocitool.cli.options.sources import ImageSource
from ocitool.cli.output import OUTPUT, Output

if TYPE_CHECKING:
    from ocitool.places.registry import RegistryOptions


@with_options(editing=TAKING, out=OUTPUT, registry=REGISTRY)
@says_where_else("ocitool unwrap SRC", "ocitool unwrap SRC")
def unwrap(
    source: ImageSource,
    *,
    editing: EditingOptions,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Take the only image out of an index, for services that refuse an index.

    Attestations do not count, and are left out; annotations of the index are lost. Both are
    listed. An index of several images is refused.
    """
    from ocitool.cli.editing import edit
    from ocitool.operations.edit.unwrapping import unwrap_image

    edit(
        "unwrapping",
        lambda access: unwrap_image(source, editing.options, access),
        editing,
        out,
        registry,
        [source],
    )
