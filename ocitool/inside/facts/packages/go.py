"""The build information that Go writes into its binaries, found while they are read."""

from collections.abc import Iterable, Iterator

from ocitool.inside.facts.packages.package import Package, PackageType, tidy

_MAGIC = b"\xff Go buildinf:"
_HEADER = 32
_INLINE = 2
_LARGEST = 4 << 20
_BEGIN = bytes.fromhex("3077af0c9274080241e1c107e6d618e6")
_END = bytes.fromhex("f932433186182072008242104116d8f2")
_DEVELOPMENT = ("", "(devel)")


def build_info(chunks: Iterable[bytes]) -> tuple[str, str] | None:
    """Return Go's version and the module lines of a binary; None if it holds none.

    The version is "" in a binary of a Go before 1.18, which points to its texts instead of
    holding them (Go's src/debug/buildinfo). Memory is one chunk and the module lines.
    """
    kept = b""
    found: tuple[str, str] | None = None
    for chunk in chunks:
        kept += chunk
        at = kept.find(_MAGIC)
        while at >= 0:
            known = _parsed(kept, at)
            if known is None and len(kept) - at < _LARGEST:
                break  # The rest of it is in the next chunk.
            if known is not None and known != _NONSENSE:
                if known[0]:
                    return known
                found = known
            at = kept.find(_MAGIC, at + 1)
        kept = kept[at:] if at >= 0 else kept[-(len(_MAGIC) - 1) :]
    return found


_NONSENSE = ("?", "")
"""What follows a magic that is only mentioned, as in a program that reads build information."""


def _parsed(data: bytes, at: int) -> tuple[str, str] | None:
    """Return the texts after a magic; None if they are not there yet."""
    if len(data) - at < _HEADER:
        return None
    size, flags = data[at + 14], data[at + 15]
    if not flags & _INLINE:
        return ("", "") if size in (4, 8) and flags < _INLINE else _NONSENSE
    version = _text(data, at + _HEADER)
    if version is None:
        return None
    if version[0] is None or not version[0].startswith((b"go", b"devel")):
        return _NONSENSE
    modules = _text(data, version[1])
    if modules is None:
        return None
    text = modules[0] or b""
    if text.startswith(_BEGIN) and text.endswith(_END):
        text = text[16:-16]
    return version[0].decode("utf-8", "replace"), text.decode("utf-8", "replace")


def _text(data: bytes, at: int) -> tuple[bytes | None, int] | None:
    """Return a text with its length before it, and where it ends; None if it is cut short.

    The text itself is None if its length is impossible.
    """
    length = shift = 0
    while True:
        if at >= len(data):
            return None
        byte = data[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
        if shift > 28:
            return None, at
    if length > _LARGEST:
        return None, at
    return (data[at : at + length], at + length) if at + length <= len(data) else None


def go_packages(version: str, modules: str, path: str) -> Iterator[Package]:
    """Yield the standard library, the main module and its dependencies, replaced ones as used."""
    yield _module("stdlib", version.partition(" ")[0].removeprefix("go"), path)
    held: Package | None = None
    for line in modules.split("\n"):
        kind, *words = line.split("\t")
        if kind not in ("mod", "dep", "=>") or not words or not words[0]:
            continue
        module = _module(words[0], words[1] if len(words) > 1 else "", path)
        if kind != "=>" and held is not None:
            yield held
        held = module
    if held is not None:
        yield held


def _module(name: str, version: str, path: str) -> Package:
    known = None if version in _DEVELOPMENT else tidy(version)
    return Package(type=PackageType.GO, name=tidy(name) or "?", version=known, path=path)
