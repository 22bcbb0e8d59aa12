"""How an overlay marks in its upper folder what it hides of the folder below.

A character device 0:0 stands for a deleted path, an attribute says that a folder hides all below it
(the kernel's filesystems/overlayfs, "whiteouts and opaque directories").
"""

import os
import stat

from ocitool.errors import Refused, StorageError
from ocitool.fsops import Directory

_YES = b"y"
_WHITEOUTS_ARE_ATTRIBUTES = b"x"
_OPTIONS = {"redirect": "redirect_dir=off", "metacopy": "metacopy=off"}


class Marks:
    """The marks of one overlay; with the prefix None there is none, but a copy of the image.

    Without root privileges attributes begin with "user.overlay.", else with "trusted.overlay.".
    """

    def __init__(self, prefix: str | None) -> None:
        self._prefix = prefix

    @property
    def is_copy(self) -> bool:
        """Whether the folder holds all files, so that what is absent was deleted."""
        return self._prefix is None

    def hides(self, status: os.stat_result) -> bool:
        """Tell whether an entry stands for a deleted path."""
        return self._prefix is not None and stat.S_ISCHR(status.st_mode) and status.st_rdev == 0

    def is_opaque(self, folder: Directory, name: str, path: str) -> bool:
        """Tell whether a folder hides all that the image has in it.

        Refused if it stands for a folder of another path.
        """
        if self._prefix is None:
            return False
        self._refuse(folder, name, path, "redirect")
        mark = folder.attribute(name, f"{self._prefix}opaque")
        if mark == _WHITEOUTS_ARE_ATTRIBUTES:
            raise _unreadable(path, "whiteouts in attributes")
        return mark == _YES

    def make_opaque(self, folder: Directory) -> None:
        """Let a folder hide all that the image has in it. StorageError where that is impossible."""
        if self._prefix is not None and not folder.set_attribute(f"{self._prefix}opaque", _YES):
            raise StorageError(
                f"cannot mark {folder.path!r} as opaque: its file system has no such attributes"
            )

    def check_file(self, folder: Directory, name: str, path: str, status: os.stat_result) -> None:
        """Refuse a file of which the overlay has copied only the attributes."""
        # Such a file occupies nothing, and few others do.
        if status.st_size and not status.st_blocks and stat.S_ISREG(status.st_mode):
            self._refuse(folder, name, path, "metacopy")

    def _refuse(self, folder: Directory, name: str, path: str, feature: str) -> None:
        if self._prefix is None:
            return
        if folder.attribute(name, f"{self._prefix}{feature}") is not None:
            raise _unreadable(path, feature)


def _unreadable(path: str, feature: str) -> Refused:
    option = _OPTIONS.get(feature)
    return Refused(
        f"the overlay of this container uses {feature} at {path!r}, so its files cannot be told "
        "from those of the image",
        hint=f"in a new container, mount it with the option {option}" if option else None,
    )
