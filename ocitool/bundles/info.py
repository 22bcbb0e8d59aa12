"""Who made a bundle, when and of what: a small file beside it, for nothing of this is in it."""

import datetime as dt
import json
import os
import pwd
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from ocitool.oci import Digest
from ocitool.version import __version__

INFO: Final = "ocitool-info/1"


class BundleInfo(Struct, frozen=True, kw_only=True):
    """How a bundle was made; `bundle` is the digest of its list, `sources` is what was named."""

    format: str = INFO
    bundle: str
    created: str
    user: str
    version: str
    sources: tuple[str, ...]
    files: tuple[str, ...]


def info_of(bundle: Digest, sources: Sequence[str], files: Sequence[str]) -> BundleInfo:
    """Return what is to be told of a bundle that is made now, by the user of this process."""
    return BundleInfo(
        bundle=str(bundle),
        created=dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        user=_user(),
        version=__version__,
        sources=tuple(sources),
        files=tuple(files),
    )


def encode_info(info: BundleInfo) -> bytes:
    """Return the bytes of the file: ASCII JSON that people can read."""
    return f"{json.dumps(msgspec.to_builtins(info), ensure_ascii=True, indent=2)}\n".encode("ascii")


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
