"""What a bundle is made for: all that its config.json depends on besides the image's config."""

from collections.abc import Sequence

from msgspec import Struct

from ocitool.containers.options import CreateOptions
from ocitool.containers.users import RuntimeUser

Json = dict[str, object]


class Layers(Struct, frozen=True, kw_only=True):
    """The folders of an overlay mount: lowerdir, upperdir and workdir (absolute paths)."""

    lower: str
    upper: str
    work: str


class Volume(Struct, frozen=True, kw_only=True):
    """A folder that starts as a copy of the image's; `path` is absolute in the container."""

    path: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


class Purpose(Struct, frozen=True, kw_only=True):
    """What a bundle is made for.

    `place` is the path of the bundle, and `machine` the architecture that it runs on. `rootless` is
    the (user, group) that becomes root inside. `cgroup` is the path of its control group, None to
    leave that to the runtime; `cgroup_namespace` tells that it gets a view of its own.
    """

    container_id: str
    hostname: str
    image: str
    place: str
    user: RuntimeUser
    options: CreateOptions = CreateOptions()
    volumes: Sequence[Volume] = ()
    layers: Layers | None = None
    rootless: tuple[int, int] | None = None
    machine: str = "amd64"
    cgroup: str | None = None
    cgroup_namespace: bool = False
