"""What nothing needs any more: plan, show, sweep, undo; and removing an image by its name.

`plan` reads and decides, `sweep` does what a plan says as far as it still holds, `undo` takes the
last sweep back, `purge` makes it final, `explain` says why a blob stays or goes.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ocitool.garbage.choice import Choice, LabelTest
    from ocitool.garbage.explaining import Explanation, explain
    from ocitool.garbage.planned import GarbageBlob, GarbageImage, KeptImage, Plan
    from ocitool.garbage.planning import plan
    from ocitool.garbage.removal import Removal, remove
    from ocitool.garbage.sweeping import Swept, sweep
    from ocitool.garbage.undoing import Undone, purge, undo

_MODULES = {
    "Choice": "choice",
    "Explanation": "explaining",
    "GarbageBlob": "planned",
    "GarbageImage": "planned",
    "KeptImage": "planned",
    "LabelTest": "choice",
    "Plan": "planned",
    "Removal": "removal",
    "Swept": "sweeping",
    "Undone": "undoing",
    "explain": "explaining",
    "purge": "undoing",
    "plan": "planning",
    "remove": "removal",
    "sweep": "sweeping",
    "undo": "undoing",
}

__all__ = [
    "Choice",
    "Explanation",
    "GarbageBlob",
    "GarbageImage",
    "KeptImage",
    "LabelTest",
    "Plan",
    "Removal",
    "Swept",
    "Undone",
    "explain",
    "plan",
    "purge",
    "remove",
    "sweep",
    "undo",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
