"""Making a container from an image: a bundle that an OCI runtime starts, and a record of it.

The root file system is unpacked into a private folder, and every layer is verified against its diff
ID. It moves to its place, complete and on the disk, when the record is written. A command that is
killed before that leaves only the private folder, which the next command removes.
"""

import datetime as dt
import os
import re

from msgspec import Struct
from msgspec.structs import replace

from ocitool.containers.binds import check_mounts, make_sources
from ocitool.containers.bundles import (
    ROOT_FOLDER,
    Seen,
    add_layers,
    look_at_root,
    write_config,
    write_files,
)
from ocitool.containers.cgroups import find_cgroups, has_limits, keep_limits
from ocitool.containers.checking import check_options, check_text
from ocitool.containers.choosing import Chosen, choose
from ocitool.containers.config.files import network_files
from ocitool.containers.config.purpose import Layers, Purpose
from ocitool.containers.options import HOST, CreateOptions
from ocitool.containers.records import Container, Settings, containers, keep
from ocitool.containers.sharing import can_share
from ocitool.containers.staging import BUNDLES, TREES, Staging, clear_leftovers, private_place
from ocitool.containers.unpacking import is_root, tree_name, unpack_image
from ocitool.errors import Refused, UsageError
from ocitool.fsops import Directory, make_folder, sync_file_system
from ocitool.image.layers import Extracted
from ocitool.images.lookup import Found
from ocitool.oci import DEFAULT_LIMITS, Limits, Platform, Reference
from ocitool.oci.quoting import quoted
from ocitool.places.layout import Layout, exclusive
from ocitool.places.layout.exclusive import Exclusive
from ocitool.places.layout.index import set_root
from ocitool.places.layout.layout import CONTROL
from ocitool.places.layout.lease import TEMPORARY

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_.-]")
_SUFFIX_LENGTH = 6
_HOSTNAME_LENGTH = 12


class Created(Struct, frozen=True, kw_only=True):
    """A new container, its platform, and what was unpacked: None if an existing tree is shared.

    `remarks` tell which limits were left out.
    """

    container: Container
    platform: Platform
    extracted: Extracted | None
    rootless: bool
    remarks: tuple[str, ...] = ()


def create_container(
    layout: Layout, found: Found, options: CreateOptions, *, limits: Limits = DEFAULT_LIMITS
) -> Created:
    """Make a container from an image of the store; it appears complete or not at all.

    Refused if the name is taken, the bundle's folder is not empty or this machine cannot keep a
    limit, IntegrityError for a layer that is damaged or leads outside, UsageError for options that
    no container can have or if nothing says what to run, NotFound for what is to be mounted.
    """
    if not layout.is_store:
        raise UsageError(f"{layout.path!r} is not a store of ocitool, so it cannot hold containers")
    check_options(options, rootless=not is_root())
    check_mounts(options.mounts)
    clear_leftovers(layout)
    chosen = choose(layout, found, options.platform, limits, usual=options.usual)
    with layout.folder.subdirectory(CONTROL) as control, Staging(layout, control) as staging:
        return _Creation(layout, control, staging, chosen, options, limits).run()


class _Creation:
    """The steps that make one container."""

    def __init__(
        self,
        layout: Layout,
        control: Directory,
        staging: Staging,
        chosen: Chosen,
        options: CreateOptions,
        limits: Limits,
    ) -> None:
        self._layout = layout
        self._control = control
        self._staging = staging
        self._chosen = chosen
        self._limits = limits
        self._rootless = not is_root()
        self._cgroups = find_cgroups(rootless=self._rootless)
        kept = keep_limits(options.limits, self._cgroups, rootless=self._rootless)
        self._options = replace(options, limits=kept.limits)
        self._remarks = kept.remarks
        self._id = os.urandom(32).hex()
        self._name = _choose_name(options.name, chosen, self._id)
        self._outside = os.path.abspath(options.bundle) if options.bundle is not None else None
        self._extracted: Extracted | None = None
        self._alone = options.alone
        self._tree: str | None = None

    def run(self) -> Created:
        self._refuse_what_is_taken()
        check_text(self._place)
        digests = [descriptor.digest for descriptor in self._chosen.closure.descriptors]
        self._staging.lease.add(digests)
        parent, name = self._begin()
        with parent:
            self._tree = self._shared_tree()
            with parent.subdirectory(name) as bundle:
                self._build(bundle)
            while not self._publish(parent, name):
                # Another command removed the tree meanwhile: no record named it yet.
                self._unpack_shared()
        return Created(
            container=self._container(),
            platform=self._chosen.config.platform,
            extracted=self._extracted,
            rootless=self._rootless,
            remarks=self._remarks,
        )

    @property
    def _place(self) -> str:
        """The final path of the bundle."""
        inside = os.path.abspath(f"{self._layout.path}/{CONTROL}/{BUNDLES}/{self._id}")
        return self._outside or inside

    @property
    def _tree_path(self) -> str:
        return os.path.abspath(f"{self._layout.path}/{CONTROL}/{TREES}/{self._tree}")

    def _shared_tree(self) -> str | None:
        """Return the name of the tree to share; None if kernel or path do not allow it."""
        folders = (os.path.dirname(self._tree_path), self._place)
        if self._alone or not can_share(*folders, rootless=self._rootless):
            return None
        return tree_name(self._chosen.config, rootless=self._rootless)

    def _refuse_what_is_taken(self) -> None:
        self._refuse_name()
        if self._outside is None:
            return
        own = os.path.realpath(f"{self._layout.path}/{CONTROL}")
        if os.path.commonpath([own, os.path.realpath(self._outside)]) == own:
            raise Refused(
                f"{self._outside!r} lies inside the store's own folder", hint="name another folder"
            )
        if not os.path.lexists(self._outside):
            return
        if os.path.islink(self._outside) or not os.path.isdir(self._outside):
            raise Refused(f"{self._outside!r} is not a folder", hint="name a new folder")
        if os.listdir(self._outside):
            raise Refused(f"{self._outside!r} is not empty", hint="name a new folder")

    def _refuse_name(self) -> None:
        if any(known.name == self._name for known in containers(self._layout)):
            raise Refused(
                f"the container {quoted(self._name)} already exists",
                hint=f"choose another name, or remove it: `ocitool container rm {self._name}`",
            )

    def _begin(self) -> tuple[Directory, str]:
        """Make the folder in which the bundle is built; return its parent, and its name."""
        if self._outside is None:
            make_folder(self._staging.folder, self._id)
            return self._staging.folder.subdirectory("."), self._id
        name = self._staging.beside(self._outside, self._id)
        return Directory.open(os.path.dirname(self._outside)), name

    def _build(self, bundle: Directory) -> None:
        make_folder(bundle, ROOT_FOLDER, 0o755)
        layers = None
        if self._tree is None:
            with bundle.subdirectory(ROOT_FOLDER) as root:
                self._extracted = self._unpack(root)
                seen = self._seen_in(root)
        else:
            self._unpack_shared()
            with self._open_tree() as root:
                seen = self._seen_in(root)
                layers = add_layers(bundle, self._place, root, self._tree_path)
        purpose = self._purpose(seen, layers)
        write_files(bundle, network_files(self._options.network, purpose.hostname))
        write_config(bundle, self._chosen, purpose)
        make_sources(self._options.mounts)
        sync_file_system(bundle)

    def _seen_in(self, root: Directory) -> Seen:
        return look_at_root(root, self._chosen, self._options, rootless=self._rootless)

    def _unpack(self, folder: Directory) -> Extracted:
        return unpack_image(
            self._layout, self._chosen, folder, rootless=self._rootless, limits=self._limits
        )

    def _unpack_shared(self) -> None:
        """Unpack the tree to share, unless it exists already."""
        if self._tree is None or self._has_tree() or self._is_staged():
            return
        make_folder(self._staging.folder, self._tree)
        with self._staging.folder.subdirectory(self._tree) as root:
            self._extracted = self._unpack(root)
            sync_file_system(root)

    def _is_staged(self) -> bool:
        return self._tree is not None and self._staging.folder.kind(self._tree) is not None

    def _has_tree(self) -> bool:
        with private_place(self._control, TREES) as trees:
            return self._tree is not None and trees.kind(self._tree) is not None

    def _open_tree(self) -> Directory:
        if self._is_staged():
            return self._staging.folder.subdirectory(self._tree or "")
        with private_place(self._control, TREES) as trees:
            return trees.subdirectory(self._tree or "")

    def _purpose(self, seen: Seen, layers: Layers | None) -> Purpose:
        machine = Platform(os="linux", architecture=os.uname().machine).normalized()
        return Purpose(
            container_id=self._id,
            hostname=self._hostname,
            image=self._chosen.name,
            place=self._place,
            user=seen.user,
            options=self._options,
            volumes=seen.volumes,
            layers=layers,
            rootless=(os.geteuid(), os.getegid()) if self._rootless else None,
            machine=machine.architecture,
            cgroup=self._cgroup,
            cgroup_namespace=self._cgroups.unified,
        )

    @property
    def _hostname(self) -> str:
        network = self._options.network
        usual = os.uname().nodename if network.mode == HOST else self._id[:_HOSTNAME_LENGTH]
        return network.hostname or usual

    @property
    def _cgroup(self) -> str | None:
        """The control group: without root privileges only where limits need one."""
        if self._cgroups.parent is None or (
            self._rootless and not has_limits(self._options.limits)
        ):
            return None
        return f"{self._cgroups.parent}/{self._id}"

    def _publish(self, parent: Directory, name: str) -> bool:
        """Move everything to its place and write the record; False if the shared tree vanished."""
        with exclusive(self._layout) as moment:
            self._refuse_name()
            if self._tree is not None and not self._place_tree():
                return False
            self._keep_image(moment)
            self._layout.touch(self._chosen.root.descriptor.digest)
            if self._outside is not None:
                parent.move(name, parent, os.path.basename(self._outside))
            else:
                with private_place(self._control, BUNDLES) as bundles:
                    parent.move(name, bundles)
            with self._control.subdirectory(TEMPORARY, create=True, lasting=False) as temporary:
                keep(self._control, self._container(), staging=temporary)
            sync_file_system(self._control)
        return True

    def _place_tree(self) -> bool:
        """Move the unpacked tree to the shared ones; False if there is no such tree."""
        if self._has_tree():
            return True
        if not self._is_staged():
            return False
        with private_place(self._control, TREES) as trees:
            self._staging.folder.move(self._tree or "", trees)
        return True

    def _keep_image(self, moment: Exclusive) -> None:
        """Restore the entry of the image if it was removed while the image was unpacked."""
        root = self._chosen.root.descriptor
        if all(entry.digest != root.digest for entry in moment.index.entries):
            entries, changes = set_root(moment.index.entries, root, (), is_store=True)
            moment.replace_index(moment.index.with_entries(entries), changes)

    def _container(self) -> Container:
        return Container(
            id=self._id,
            name=self._name,
            image=self._chosen.name,
            digest=str(self._chosen.root.descriptor.digest),
            manifest=str(self._chosen.descriptor.digest),
            config=str(self._chosen.manifest.config.digest),
            created=dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            bundle=self._place,
            own_bundle=self._outside is None,
            tree=self._tree,
            settings=Settings(
                interactive=self._options.life.interactive,
                terminal=self._options.process.terminal,
                remove=self._options.life.remove,
                stop_signal=self._options.life.stop_signal
                or self._chosen.config.config.stop_signal,
                stop_timeout=self._stop_timeout,
                labels=dict(self._options.labels),
                network=self._options.network,
            ),
        )

    @property
    def _stop_timeout(self) -> int | None:
        asked = self._options.life.stop_timeout
        return self._chosen.config.config.stop_timeout if asked is None else asked


def _choose_name(name: str | None, chosen: Chosen, container_id: str) -> str:
    if name is None:
        return f"{_base_name(chosen)}-{container_id[:_SUFFIX_LENGTH]}"
    if not _NAME.fullmatch(name):
        hint = "use letters, digits, '_', '.' and '-', and begin with a letter or digit"
        raise UsageError(f"{quoted(name)} is not a name for a container", hint=hint)
    return name


def _base_name(chosen: Chosen) -> str:
    try:
        path = Reference.parse(chosen.name).path
    except UsageError:
        return "container"
    return _NOT_IN_A_NAME.sub("-", path.rpartition("/")[2])[:100]
