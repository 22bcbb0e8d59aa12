"""What the one file of ocitool runs first: it unpacks itself once, as compiled modules need files.

It is the module `zipapp_main` of the file that `ocitool zipapp` writes. It runs before ocitool can
be imported, so it uses the standard library alone, and it starts on Python 3.6 and later to say
which one is needed.
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
import zlib


def unpacked(archive: str, key: str) -> str:
    """Return the folder with the content of the archive, which is unpacked if it is not there."""
    base = base_folder()
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
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise damaged(archive, error) from None
    except OSError as error:
        raise SystemExit(
            f"ocitool: cannot unpack itself into {base}: {error.strerror}\n"
            "  set XDG_CACHE_HOME to a folder that you may write to"
        ) from None
    if not is_ours(folder):
        raise SystemExit(f"ocitool: {folder} is not a folder of yours alone; remove it")
    return folder


def base_folder() -> str:
    """Return the folder below which the file unpacks itself: the user's cache.

    For a user without a home it is a folder of theirs alone among the temporary ones.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):
        cache = os.path.join(os.path.expanduser("~"), ".cache")
    if os.path.isabs(cache) and (os.path.isdir(cache) or can_make(cache)):
        return os.path.join(cache, "ocitool")
    base = os.path.join(tempfile.gettempdir(), f"ocitool-{os.getuid()}")
    with contextlib.suppress(FileExistsError):
        os.mkdir(base, 0o700)
    if not is_ours(base):
        raise SystemExit(
            f"ocitool: {base} is not a folder of yours alone\n  set HOME or XDG_CACHE_HOME"
        )
    return base


def can_make(folder: str) -> bool:
    """Tell whether a folder can be made: the closest one above it that exists can be written."""
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    return os.path.isdir(folder) and os.access(folder, os.W_OK)


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


def damaged(archive: str, error: Exception) -> SystemExit:
    """Return the message about a file whose bytes are not those that were written."""
    return SystemExit(
        f"ocitool: {archive} is damaged: {error}\n"
        "  copy it here again; `sha256sum` tells on both sides whether it arrived whole"
    )


def start() -> None:
    """Run the ocitool in the archive; SystemExit says what is wrong with this machine or file."""
    archive = os.path.dirname(os.path.abspath(__file__))
    # By its name in the archive: the loader knows the archive by the path that was typed.
    try:
        about = json.loads(globals()["__loader__"].get_data("zipapp.json").decode())
    except (ValueError, zlib.error) as error:
        raise damaged(archive, error) from None
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    if suffix not in about["suffixes"]:
        pythons = ", ".join(f"python{version}" for version in about["pythons"])
        raise SystemExit(
            f"ocitool: this file is for {pythons} ({', '.join(about['suffixes'])}); "
            f"{sys.executable} is another ({suffix})\n"
            f"  run it with python{about['pythons'][0]}, or write one: ocitool zipapp --python V"
        )
    sys.path.insert(0, unpacked(archive, about["key"]))
    from ocitool.__main__ import main

    main()
