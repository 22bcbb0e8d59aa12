"""One place where the images of a repository may be asked for."""

import functools
import os
import re
from collections.abc import Mapping

from msgspec import Struct

from ocitool.errors import StorageError, UsageError
from ocitool.oci.limits import MEBIBYTE

_LONGEST = MEBIBYTE


class Endpoint(Struct, frozen=True, kw_only=True):
    """A repository of a registry, and how it is reached.

    `root` is where the API begins there. `asks_for` is the registry that a mirror of several is to
    be told (`?ns=`). With `is_insecure` its certificate is not verified, and http will do;
    `is_plain` is http alone. `origin` is the file that names it.
    """

    domain: str
    path: str
    origin: str
    root: str = "/v2"
    asks_for: str | None = None
    is_insecure: bool = False
    is_plain: bool = False
    ca_cert: str | None = None

    @property
    def name(self) -> str:
        """The repository's full name."""
        return f"{self.domain}/{self.path}"


def configuration_folders(environment: Mapping[str, str], name: str) -> list[str]:
    """Return the folders of a kind of configuration: that of the user, then the machine's."""
    home = environment.get("HOME")
    own = environment.get("XDG_CONFIG_HOME") or (os.path.join(home, ".config") if home else None)
    return [os.path.join(folder, name) for folder in (own, "/etc") if folder]


def read_toml(path: str, key: bytes = b"") -> Mapping[str, object] | None:
    """Return what a file holds, or None when there is none; UsageError when it is not TOML.

    Only the value of `key` is of interest: of a file in which no line begins with it, the table
    returned is empty.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_LONGEST)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    # Distributions put a file of 150 short names there, which takes longer to parse than to pull
    # a small image.
    if not re.search(rb"^[ \t]*(\[\[?[ \t]*)?[\"']?" + key, data, re.MULTILINE):
        return {}
    return _parsed(path, data)


# One command asks for each of its images.
@functools.lru_cache(maxsize=64)
def _parsed(path: str, data: bytes) -> Mapping[str, object]:
    import tomllib

    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(
            f"{path} is not TOML: {str(error)[:100]}",
            hint="repair it; --no-mirrors does not look at it",
        ) from error


def tables(value: object) -> list[Mapping[str, object]]:
    """Return the tables of an array of tables, without what is none."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
