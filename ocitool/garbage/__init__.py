"""What nothing needs any more: plan, show, sweep, undo; and removing an image by its name.

`plan` reads and decides, `sweep` does what a plan says as far as it still holds, `undo` takes the
last sweep back, `purge` makes it final, `explain` says why a blob is kept or removed.
"""

from typing import TYPE_CHECKING

from ocitool.lazy import lazy

if TYPE_CHECKING:
    from ocitool.garbage.choice import Choice as Choice
    from ocitool.garbage.explaining import Explanation as Explanation
    from ocitool.garbage.explaining import explain as explain
    from ocitool.garbage.planned import GarbageBlob as GarbageBlob
    from ocitool.garbage.planned import GarbageImage as GarbageImage
    from ocitool.garbage.planned import KeptImage as KeptImage
    from ocitool.garbage.planned import Plan as Plan
    from ocitool.garbage.planning import plan as plan
    from ocitool.garbage.removal import Removal as Removal
    from ocitool.garbage.removal import remove as remove
    from ocitool.garbage.sweeping import Swept as Swept
    from ocitool.garbage.sweeping import sweep as sweep
    from ocitool.garbage.undoing import Undone as Undone
    from ocitool.garbage.undoing import purge as purge
    from ocitool.garbage.undoing import undo as undo
    from ocitool.images.filters import LabelTest as LabelTest

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "choice": "Choice LabelTest",
        "explaining": "Explanation explain",
        "planned": "GarbageBlob GarbageImage KeptImage Plan",
        "planning": "plan",
        "removal": "Removal remove",
        "sweeping": "Swept sweep",
        "undoing": "Undone purge undo",
    },
)
