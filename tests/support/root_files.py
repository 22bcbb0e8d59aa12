"""Layers with modes, owners, devices and attributes, which plain members have not."""

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A member of a layer; `type` is one of tarfile's."""

    path: str
    data: bytes = b""
    type: bytes = tarfile.REGTYPE
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)
    target: str = ""
    device: tuple[int, int] = (0, 0)
    time: float = 1_000_000
    attributes: dict[str, str] = field(default_factory=dict)


def folder(path: str, mode: int = 0o755, **options: object) -> Node:
    """Return a folder."""
    return Node(path=path, type=tarfile.DIRTYPE, mode=mode, **options)  # type: ignore[arg-type]


def link(path: str, target: str) -> Node:
    """Return a symbolic link."""
    return Node(path=path, type=tarfile.SYMTYPE, target=target, mode=0o777)


def hard_link(path: str, target: str) -> Node:
    """Return a hard link."""
    return Node(path=path, type=tarfile.LNKTYPE, target=target)


def program(path: str, data: bytes) -> Node:
    """Return a file that can be run."""
    return Node(path=path, data=data, mode=0o755)


def layer_of(*nodes: Node | Iterable[Node]) -> bytes:
    """Return a tar of the nodes in their order."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for node in nodes:
            for one in [node] if isinstance(node, Node) else node:
                tar.addfile(member_of(one), io.BytesIO(one.data))
    return out.getvalue()


def member_of(node: Node) -> tarfile.TarInfo:
    """Return the header of a node."""
    member = tarfile.TarInfo(node.path)
    member.type, member.mode, member.mtime = node.type, node.mode, node.time
    member.size = len(node.data)
    member.uid, member.gid = node.owner
    member.linkname = node.target
    member.devmajor, member.devminor = node.device
    member.pax_headers = {f"SCHILY.xattr.{key}": value for key, value in node.attributes.items()}
    return member
