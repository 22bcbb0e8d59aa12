"""The home folder of whoever runs this, the same for everything that is looked for in it."""

import os
from collections.abc import Mapping


def home_folder(environment: Mapping[str, str]) -> str | None:
    """Return the home folder as an absolute path, or None for a user who has none.

    Containers often run under a number without an entry in passwd and without HOME. A path that
    is not absolute would be in whatever folder the command runs, so it counts as none.
    """
    named = environment.get("HOME")
    if named and os.path.isabs(named):
        return named
    # Hardly any command needs it: it is imported where it does.
    import pwd

    try:
        found = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return None
    return found if os.path.isabs(found) else None


def in_home(environment: Mapping[str, str], *parts: str) -> str | None:
    """Return a path in the home folder, or None where there is none."""
    home = home_folder(environment)
    return None if home is None else os.path.join(home, *parts)


def base_folder(environment: Mapping[str, str], variable: str, *default: str) -> str | None:
    """Return the folder that a variable such as XDG_DATA_HOME names, else one in the home folder.

    None without a home folder. A path that is not absolute does not count (XDG Base Directory
    Specification).
    """
    named = environment.get(variable)
    return named if named and os.path.isabs(named) else in_home(environment, *default)
