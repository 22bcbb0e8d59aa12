"""Which files may hold secrets: by their path, before any of them is read."""

import re

from ocitool.inside.facts.words import words

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
_BINARY = re.compile(
    r"\.(so|a|o|la|pyc|pyo|class|jar|war|ear|gz|tgz|xz|bz2|zst|zip|7z|png|jpe?g|gif|ico|webp|svg"
    r"|woff2?|ttf|otf|eot|mo|elc|mp[34]|wasm|db|sqlite3?|deb|rpm|apk|whl|tar|map|pack|idx|exe|dll)$"
    r"|\.so\.[\d.]+$",
    re.IGNORECASE,
)
_TELLING = re.compile(
    r"(^|/)(\.[^/]*rc|\.env[^/]*|[^/]+\.env|\.netrc|_netrc|id_(rsa|dsa|ecdsa|ed25519)[^/]*|\.git-credentials"
    r"|\.gitconfig|pip\.(conf|ini)|credentials[^/]*|[^/]*kubeconfig[^/]*|auth\.json|\.pgpass|\.my\.cnf"
    r"|\.(git|aws|ssh|docker|kube|azure|gcloud|gnupg)/[^/]+|[^/]+\.(pem|key|ppk|asc|p12|pfx|jks|keystore|tfvars"
    r"|ovpn))$",
    re.IGNORECASE,
)
"""Names that are worth reading wherever they stand, also among what packages bring."""
STORES = re.compile(r"\.(p12|pfx|jks|keystore|ks|bcfks)$", re.IGNORECASE)
"""Key stores, which are binary."""


def is_quiet(path: str) -> bool:
    """Tell whether what looks like a secret in a path is none: documents, examples, tests.

    A user's own folder may be called so: home/test is not quiet.
    """
    folders = path.split("/")
    name = folders.pop()
    if folders[:1] == ["home"]:
        del folders[:2]
    return not _QUIET.isdisjoint(folders) or bool(_QUIET_NAMES.search(name))


def may_hold_secrets(path: str, size: int) -> bool:
    """Tell whether a file is read for secrets."""
    if not 0 < size <= LARGEST or is_quiet(path):
        return False
    if _TELLING.search(path):
        return True
    return not (_BINARY.search(path) or _SYSTEM.match(path) or _THIRD_PARTY.search(path))
