"""Mounts as the kernel lists them: /proc/PID/mountinfo, proc_pid_mountinfo(5)."""

from collections.abc import Iterable, Iterator

from msgspec import Struct

_ESCAPED = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


class Mount(Struct, frozen=True, kw_only=True):
    """A mount: `root` is the path in its file system, `point` where it is mounted.

    `shared` are the optional fields such as shared:1, `options` those of the file system.
    """

    device: tuple[int, int]
    root: str
    point: str
    shared: tuple[str, ...]
    kind: str
    options: tuple[str, ...]


def parse_mounts(lines: Iterable[str]) -> Iterator[Mount]:
    """Yield the mounts of the lines that can be read, in their order."""
    for line in lines:
        fields = line.split()
        if "-" not in fields[6:] or len(fields) < 10:
            continue
        end = fields.index("-", 6)
        major, _, minor = fields[2].partition(":")
        yield Mount(
            device=(int(major), int(minor)),
            root=_plain(fields[3]),
            point=_plain(fields[4]),
            shared=tuple(fields[6:end]),
            kind=fields[end + 1],
            options=tuple(_plain(fields[-1]).split(",")),
        )


def mounts_of(process: str = "self") -> list[Mount]:
    """Return the mounts that a process sees; OSError if this user may not know them."""
    with open(f"/proc/{process}/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        return list(parse_mounts(lines))


def _plain(text: str) -> str:
    for escaped, character in _ESCAPED:
        text = text.replace(escaped, character)
    return text
