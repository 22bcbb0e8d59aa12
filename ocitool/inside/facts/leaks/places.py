"""Which files may hold secrets: by their path, before any of them is read."""

import re
from enum import Enum
from functools import lru_cache

from ocitool.inside.facts.words import words

_FOLDERS = 1 << 14
LARGEST = 1 << 20
"""Bytes of a file that is read for secrets; longer ones are data."""

_QUIET = frozenset(
    words(
        "doc docs man info locale i18n zoneinfo terminfo test tests testdata __tests__ testing "
        "test_data fixtures examples example samples vignettes licenses common-licenses"
    )
)
"""Folders of documents, examples and tests: what looks like a secret there is none."""
_QUIET_NAMES = re.compile(
    r"(^|[._-])(example|examples|sample|template|tmpl)([._-]|$)|\.(dist|md|rst|adoc|tmpl|j2|erb|gotmpl)$"
    r"|^test_.*\.py$|_test\.(py|go|rb)$|\.(test|spec)\.[cm]?[jt]sx?$",
    re.IGNORECASE,
)
_SYSTEM = re.compile(
    r"(usr/)?(bin|sbin|lib|lib32|lib64|libx32|libexec|include)/"
    r"|usr/share/(man|doc|perl|perl5|vim|python3|icons|fonts|mime|bash-completion|ca-certificates"
    r"|javascript|gnupg|keyrings|nodejs|gcc|gdb|ruby|tcltk|common-licenses)/"
    r"|usr/local/(go|lib/python[\d.]+|lib/ruby|share/(man|perl))/"
    r"|var/lib/(dpkg|apt|rpm|apk|pacman)/|var/cache/|lib/apk/|proc/|sys/"
)
"""What packages bring: thousands of files, none of which holds a secret of the image's maker."""
_THIRD_PARTY = re.compile(r"(^|/)(site-packages|dist-packages|node_modules|gems|vendor/bundle)/")
_BINARY = frozenset(
    words(
        "a bz2 class db deb dll ear elc eot exe gif gz ico idx jar jpeg jpg la map mo mp3 mp4 o "
        "otf pack png pyc pyo rpm so sqlite sqlite3 svg tar tgz ttf war wasm webp whl woff woff2 "
        "xz zip zst 7z apk"
    )
)
"""Endings of files that are not text."""
_PRIVATE = frozenset(words(".git .aws .ssh .docker .kube .azure .gcloud .gnupg"))
"""Folders in which every file is worth reading."""
_TELLING = re.compile(
    r"\.[^/]*rc|[._]netrc|\.env.*|.+\.env|id_(rsa|dsa|ecdsa|ed25519).*|\.git-credentials"
    r"|\.gitconfig|pip\.(conf|ini)|credentials.*|.*kubeconfig.*|auth\.json|\.pgpass|\.my\.cnf"
    r"|.+\.(pem|key|ppk|asc|p12|pfx|jks|keystore|tfvars|ovpn)",
    re.IGNORECASE,
)
"""Names that are worth reading wherever they stand, also among what packages bring."""
STORES = re.compile(r"\.(p12|pfx|jks|keystore|ks|bcfks)$", re.IGNORECASE)
"""Key stores, which are binary."""


class _Reading(Enum):
    """What is read in a folder: nothing, files with a telling name, texts, or everything."""

    NOTHING = 0
    TELLING = 1
    TEXTS = 2
    ALL = 3


def is_worth_reading(folder: str, name: str) -> bool:
    """Tell whether a file of this name may hold secrets."""
    reading = _reading(folder)
    if reading is _Reading.NOTHING or _QUIET_NAMES.search(name):
        return False
    if reading is _Reading.ALL or _TELLING.fullmatch(name):
        return True
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    return reading is _Reading.TEXTS and ending not in _BINARY


def is_quiet(path: str) -> bool:
    """Tell whether a path is one of documents, examples or tests."""
    folder, _, name = path.rpartition("/")
    return _reading(folder) is _Reading.NOTHING or bool(_QUIET_NAMES.search(name))


@lru_cache(_FOLDERS)
def _reading(folder: str) -> _Reading:
    """Return what is read in a folder. A user may be called test: home/test is not quiet."""
    names = folder.split("/")
    if not _QUIET.isdisjoint(names[2:] if names[0] == "home" else names):
        return _Reading.NOTHING
    if names[-1] in _PRIVATE:
        return _Reading.ALL
    inside = f"{folder}/"
    if _SYSTEM.match(inside) or _THIRD_PARTY.search(inside):
        return _Reading.TELLING
    return _Reading.TEXTS
