"""The file of rules of `sync`: what it says, how it logs in, and the images that it takes."""

import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ocitool.cli.options.lists import read_input
from ocitool.errors import OcitoolError, UsageError

if TYPE_CHECKING:
    from ocitool.bundles.sync.config import SyncFile
    from ocitool.bundles.sync.plan import PlanLine
    from ocitool.cli.output import Output
    from ocitool.places.registry import Registries

_LARGEST = 16 << 20
_RULES = re.compile(rb"^sync[ \t]*:", re.MULTILINE)


class NotAllTaken(OcitoolError):
    """Some images that rules take cannot be found out, or some rules take nothing."""


def is_rules(path: str) -> bool:
    """Tell whether a file, not stdin, has the key that such a file has at its top level."""
    if not os.path.isfile(path):
        return False
    return _RULES.search(read_input(path, path, _LARGEST)) is not None


def read_rules(path: str) -> "SyncFile":
    """Return what a file of rules says; - is stdin. UsageError, with its line, for errors in it."""
    from ocitool.bundles.sync.config import parse_sync_file

    what = "<stdin>" if path == "-" else path
    data = read_input(path, what, _LARGEST)
    try:
        return parse_sync_file(data.decode("utf-8-sig"), what)
    except UnicodeDecodeError:
        raise UsageError(f"{what} is not UTF-8 text") from None


def learn_access(rules: "SyncFile", connected: "Registries") -> None:
    """Tell connections what a file of rules says of its registries: TLS and logins."""
    from ocitool.places.registry.options import HostRules

    for one in rules.access:
        plain, insecure = one.tls == "disabled", one.tls == "insecure"
        connected.learn(one.host, HostRules(is_plain=plain, is_insecure=insecure))
        if one.user is not None and one.password is not None:
            user, password = one.user.read(os.environ), one.password.read(os.environ)
            connected.credentials.give(one.host, user, password, "the file of rules")


def images_taken(
    files: "Sequence[SyncFile]", connected: "Registries", jobs: int, out: "Output"
) -> Iterator[str]:
    """Yield the sources that files of rules take, as docker://NAME; NotAllTaken if any failed."""
    from ocitool.operations.sync_plan import plan_sync

    failed: list[tuple[str, OcitoolError]] = []
    for rules in files:
        out.remark(rules.ignored)
        learn_access(rules, connected)
        lines = plan_sync(rules, connected, on_failure=lambda *one: failed.append(one), jobs=jobs)
        if any(line.platforms for line in lines):
            out.remark([f"platforms of {rules.what} are not applied: --platform chooses for all"])
        yield from map(_source, lines)
    if failed:
        name, error = failed[0]
        more = f", and {len(failed) - 1} more failed" if len(failed) > 1 else ""
        raise NotAllTaken(f"{name}: {error.message}{more}", hint=error.hint)


def _source(line: "PlanLine") -> str:
    source = line.source
    return f"docker://{source.repository}:{source.tag}" if source.tag else f"docker://{source}"
