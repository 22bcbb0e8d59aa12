"""What the one file of ocitool runs first: it unpacks itself once, as compiled modules need files.

It becomes `__main__.py` of the file that `ocitool zipapp` writes. It runs before ocitool can be
imported, so it uses the standard library alone, and it starts on any Python 3 to say which one is
needed.
"""

import contextlib
import importlib.machinery
import json
import os
import shutil
import stat
import sys
import tempfile
import zipfile


def unpacked(archive: str, key: str) -> str:
    """Return the folder with the content of the archive, which is unpacked if it is not there."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):
        cache = os.path.join(os.path.expanduser("~"), ".cache")
    if not os.path.isabs(cache):
        # It would be in whatever folder the command runs.
        raise SystemExit(
            "ocitool: there is no home folder to unpack itself into\n  set HOME or XDG_CACHE_HOME"
        )
    base = os.path.join(cache, "ocitool")
    folder = os.path.join(base, f"zipapp-{key}")
    if is_ours(folder):
        return folder
    try:
        os.makedirs(base, 0o700, exist_ok=True)
        fresh = tempfile.mkdtemp(dir=base)
        try:
            with zipfile.ZipFile(archive) as content:
                content.extractall(fresh)
            with contextlib.suppress(FileExistsError, OSError):
                os.rename(fresh, folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise SystemExit(
            f"ocitool: cannot unpack itself into {base}: {error.strerror}\n"
            "  set XDG_CACHE_HOME to a folder that you may write to"
        ) from None
    if not is_ours(folder):
        raise SystemExit(f"ocitool: {folder} is not a folder of yours alone; remove it")
    return folder


def is_ours(folder: str) -> bool:
    """Tell whether a folder is there and only this user could have put code into it."""
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    others = stat.S_IWGRP | stat.S_IWOTH
    return (
        stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & others
    )


def start(archive: str) -> None:
    """Run the ocitool in the archive; SystemExit says what is wrong with this machine."""
    about = json.loads(globals()["__loader__"].get_data(os.path.join(archive, "zipapp.json")))
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    if suffix != about["suffix"]:
        raise SystemExit(
            f"ocitool: this file is for {about['python']} ({about['suffix']}); "
            f"{sys.executable} is another ({suffix})\n"
            f"  run it with {about['python']}, or write one there with `ocitool zipapp`"
        )
    sys.path.insert(0, unpacked(archive, about["key"]))
    from ocitool.__main__ import main

    main()


if __name__ == "__main__":
    start(os.path.dirname(os.path.abspath(__file__)))
