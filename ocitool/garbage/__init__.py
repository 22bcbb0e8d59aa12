"""What nothing needs any more: plan, show, sweep, undo; and removing an image by its name.

`plan` reads and decides, `sweep` does what a plan says as far as it still holds, `undo` takes the
last sweep back, `purge` makes it final, `explain` says why a blob stays or goes.
"""

from ocitool.garbage.removal import Removal, remove

__all__ = ["Removal", "remove"]
