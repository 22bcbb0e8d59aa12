"""ocitool as a library: OCI and Docker images without a daemon.

What the commands do is callable from here; nothing prints and nothing exits. Names are loaded when
they are first used.
How the package is built is described in `README.md` beside this file.
"""

from typing import TYPE_CHECKING

from ocitool.lazy import lazy

if TYPE_CHECKING:
    from ocitool.bundles.files import BundleSet as BundleSet
    from ocitool.bundles.files import open_bundles as open_bundles
    from ocitool.bundles.inventory import Base as Base
    from ocitool.bundles.inventory import Need as Need
    from ocitool.bundles.sync.config import parse_sync_file as parse_sync_file
    from ocitool.bundles.sync.plan import encode_plan as encode_plan
    from ocitool.bundles.sync.plan import parse_plan as parse_plan
    from ocitool.containers.committing import CommitOptions as CommitOptions
    from ocitool.containers.committing import Committed as Committed
    from ocitool.containers.committing import commit_container as commit_container
    from ocitool.containers.copying import CopyOptions as CopyOptions
    from ocitool.containers.copying import copy_in as copy_in
    from ocitool.containers.copying import copy_out as copy_out
    from ocitool.containers.creating import Created as Created
    from ocitool.containers.creating import create_container as create_container
    from ocitool.containers.inspecting import inspect_container as inspect_container
    from ocitool.containers.inspection import Inspection as Inspection
    from ocitool.containers.lifecycle.logs import container_logs as container_logs
    from ocitool.containers.lifecycle.starting import StartOptions as StartOptions
    from ocitool.containers.lifecycle.starting import start_container as start_container
    from ocitool.containers.lifecycle.state import State as State
    from ocitool.containers.lifecycle.state import container_state as container_state
    from ocitool.containers.lifecycle.state import container_states as container_states
    from ocitool.containers.lifecycle.stopping import stop_container as stop_container
    from ocitool.containers.lifecycle.stopping import wait_for_container as wait_for_container
    from ocitool.containers.options import Bind as Bind
    from ocitool.containers.options import CreateOptions as CreateOptions
    from ocitool.containers.options import LifeOptions as LifeOptions
    from ocitool.containers.options import MountOptions as MountOptions
    from ocitool.containers.options import NetworkOptions as NetworkOptions
    from ocitool.containers.options import ProcessOptions as ProcessOptions
    from ocitool.containers.options import ResourceLimits as ResourceLimits
    from ocitool.containers.options import SecurityOptions as SecurityOptions
    from ocitool.containers.options import Tmpfs as Tmpfs
    from ocitool.containers.options import Ulimit as Ulimit
    from ocitool.containers.records import Container as Container
    from ocitool.containers.records import find_container as find_container
    from ocitool.containers.removing import remove_container as remove_container
    from ocitool.containers.writable.changes import Change as Change
    from ocitool.containers.writable.merged import export_container as export_container
    from ocitool.containers.writable.opening import container_changes as container_changes
    from ocitool.editing.settings import Settings as Settings
    from ocitool.errors import AccessDenied as AccessDenied
    from ocitool.errors import IntegrityError as IntegrityError
    from ocitool.errors import MalformedArchive as MalformedArchive
    from ocitool.errors import NotFound as NotFound
    from ocitool.errors import OcitoolError as OcitoolError
    from ocitool.errors import Refused as Refused
    from ocitool.errors import StorageError as StorageError
    from ocitool.errors import Unavailable as Unavailable
    from ocitool.errors import UsageError as UsageError
    from ocitool.events import Observer as Observer
    from ocitool.garbage import Removal as Removal
    from ocitool.garbage import remove as remove
    from ocitool.image.content import Blob as Blob
    from ocitool.image.content import Closure as Closure
    from ocitool.image.content import Root as Root
    from ocitool.image.layers.listing import EntryKind as EntryKind
    from ocitool.image.layers.listing import LayerEntry as LayerEntry
    from ocitool.image.layers.listing import list_layer as list_layer
    from ocitool.images.locations import Place as Place
    from ocitool.images.locations import parse_place as parse_place
    from ocitool.images.lookup import find_image as find_image
    from ocitool.images.lookup import find_images as find_images
    from ocitool.images.opening import Opened as Opened
    from ocitool.images.opening import open_source as open_source
    from ocitool.images.summaries import ImageSummary as ImageSummary
    from ocitool.images.summaries import image_summaries as image_summaries
    from ocitool.inside.comparing import DiffOptions as DiffOptions
    from ocitool.inside.comparing import compare as compare
    from ocitool.inside.differences import Comparison as Comparison
    from ocitool.inside.dockerfile import Dockerfile as Dockerfile
    from ocitool.inside.dockerfile import dockerfile as dockerfile
    from ocitool.inside.facts.gathering import gather_facts as gather_facts
    from ocitool.inside.facts.packages.package import Package as Package
    from ocitool.inside.facts.report import Facts as Facts
    from ocitool.inside.facts.report import Secret as Secret
    from ocitool.inside.image import Inside as Inside
    from ocitool.inside.image import look_inside as look_inside
    from ocitool.inside.listing import FileEntry as FileEntry
    from ocitool.inside.listing import list_files as list_files
    from ocitool.inside.page.facts import image_page as image_page
    from ocitool.inside.searching import FileQuery as FileQuery
    from ocitool.inside.searching import find_files as find_files
    from ocitool.inside.sizing import SizeReport as SizeReport
    from ocitool.inside.sizing import measure as measure
    from ocitool.inside.taking import read_file as read_file
    from ocitool.inside.tarring import merged_tar as merged_tar
    from ocitool.oci import Descriptor as Descriptor
    from ocitool.oci import Digest as Digest
    from ocitool.oci import ImageConfig as ImageConfig
    from ocitool.oci import Index as Index
    from ocitool.oci import Manifest as Manifest
    from ocitool.oci import Platform as Platform
    from ocitool.oci import Reference as Reference
    from ocitool.operations.bundle.check import CheckReport as CheckReport
    from ocitool.operations.bundle.check import NotApplicable as NotApplicable
    from ocitool.operations.bundle.check import check_at as check_at
    from ocitool.operations.bundle.create import BundlePlan as BundlePlan
    from ocitool.operations.bundle.create import plan_bundle as plan_bundle
    from ocitool.operations.bundle.load import Loaded as Loaded
    from ocitool.operations.bundle.load import load_into_engine as load_into_engine
    from ocitool.operations.bundle.load import load_into_layout as load_into_layout
    from ocitool.operations.bundle.load import load_into_registry as load_into_registry
    from ocitool.operations.bundle.registry_check import RegistryCheck as RegistryCheck
    from ocitool.operations.bundle.registry_check import check_registry as check_registry
    from ocitool.operations.bundle.rejoin import join_bundle as join_bundle
    from ocitool.operations.bundle.rejoin import split_bundle as split_bundle
    from ocitool.operations.bundle.verify import BundleReport as BundleReport
    from ocitool.operations.bundle.verify import verify_bundle as verify_bundle
    from ocitool.operations.bundle.write import write_bundle as write_bundle
    from ocitool.operations.bundle.write import write_volumes as write_volumes
    from ocitool.operations.copy import copy as copy
    from ocitool.operations.edit.appending import Appending as Appending
    from ocitool.operations.edit.appending import append_layers as append_layers
    from ocitool.operations.edit.attestations import AttestationAction as AttestationAction
    from ocitool.operations.edit.attestations import edit_attestations as edit_attestations
    from ocitool.operations.edit.converting import Form as Form
    from ocitool.operations.edit.converting import convert_image as convert_image
    from ocitool.operations.edit.flattening import flatten_image as flatten_image
    from ocitool.operations.edit.indexes import Listing as Listing
    from ocitool.operations.edit.indexes import add_to_index as add_to_index
    from ocitool.operations.edit.indexes import create_index as create_index
    from ocitool.operations.edit.indexes import remove_from_index as remove_from_index
    from ocitool.operations.edit.rebasing import rebase_image as rebase_image
    from ocitool.operations.edit.report import AttachedPolicy as AttachedPolicy
    from ocitool.operations.edit.report import EditOptions as EditOptions
    from ocitool.operations.edit.report import EditReport as EditReport
    from ocitool.operations.edit.report import PlaceAccess as PlaceAccess
    from ocitool.operations.edit.settings import IndexAnnotations as IndexAnnotations
    from ocitool.operations.edit.settings import set_image as set_image
    from ocitool.operations.edit.unwrapping import unwrap_image as unwrap_image
    from ocitool.operations.hashing import Problem as Problem
    from ocitool.operations.inspect import ImageReport as ImageReport
    from ocitool.operations.inspect import LayerReport as LayerReport
    from ocitool.operations.inspect import inspect as inspect
    from ocitool.operations.load import load as load
    from ocitool.operations.prune import PlannedPrune as PlannedPrune
    from ocitool.operations.prune import plan_prune as plan_prune
    from ocitool.operations.prune import prune as prune
    from ocitool.operations.prune import recheck_prune_plans as recheck_prune_plans
    from ocitool.operations.pull import pull as pull
    from ocitool.operations.push import push as push
    from ocitool.operations.push_report import OnExisting as OnExisting
    from ocitool.operations.push_report import PushReport as PushReport
    from ocitool.operations.save import save as save
    from ocitool.operations.save import save_file as save_file
    from ocitool.operations.sync import copy_missing as copy_missing
    from ocitool.operations.sync import look_at_targets as look_at_targets
    from ocitool.operations.sync_plan import plan_sync as plan_sync
    from ocitool.operations.tag import tag as tag
    from ocitool.operations.verify import VerifyReport as VerifyReport
    from ocitool.operations.verify import verify as verify
    from ocitool.places.archive import ArchiveSource as ArchiveSource
    from ocitool.places.archive import FolderSource as FolderSource
    from ocitool.places.archive import open_archive as open_archive
    from ocitool.places.layout import Layout as Layout
    from ocitool.places.layout import untag as untag
    from ocitool.places.registry import Registries as Registries
    from ocitool.places.registry import RegistryOptions as RegistryOptions
    from ocitool.places.registry import Repository as Repository
    from ocitool.pruning.outcome import PruneOutcome as PruneOutcome
    from ocitool.pruning.patterns import TagRegex as TagRegex
    from ocitool.pruning.plan import PrunePlan as PrunePlan
    from ocitool.pruning.plan import encode_prune_plans as encode_prune_plans
    from ocitool.pruning.plan import parse_prune_plans as parse_prune_plans
    from ocitool.pruning.rules import PruneRules as PruneRules
    from ocitool.pruning.rules import keep_rule as keep_rule
    from ocitool.serving.server import RegistryServer as RegistryServer
    from ocitool.serving.server import ServeOptions as ServeOptions
    from ocitool.serving.server import serve as serve
    from ocitool.transfer.pipeline import TransferOptions as TransferOptions
    from ocitool.transfer.remote import RemoteImages as RemoteImages
    from ocitool.transfer.report import Conversion as Conversion
    from ocitool.transfer.report import CopiedImage as CopiedImage
    from ocitool.transfer.report import CopyReport as CopyReport
    from ocitool.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "bundles.files": "BundleSet open_bundles",
        "bundles.inventory": "Base Need",
        "bundles.sync.config": "parse_sync_file",
        "bundles.sync.plan": "encode_plan parse_plan",
        "containers.creating": "Created create_container",
        "containers.lifecycle.logs": "container_logs",
        "containers.lifecycle.starting": "StartOptions start_container",
        "containers.lifecycle.state": "State container_state container_states",
        "containers.lifecycle.stopping": "stop_container wait_for_container",
        "containers.options": (
            "Bind CreateOptions LifeOptions MountOptions NetworkOptions ProcessOptions "
            "ResourceLimits SecurityOptions Tmpfs Ulimit"
        ),
        "containers.records": "Container find_container",
        "containers.removing": "remove_container",
        "editing.settings": "Settings",
        "containers.committing": "CommitOptions Committed commit_container",
        "containers.copying": "CopyOptions copy_in copy_out",
        "containers.inspecting": "inspect_container",
        "containers.inspection": "Inspection",
        "containers.writable.changes": "Change",
        "containers.writable.merged": "export_container",
        "containers.writable.opening": "container_changes",
        "errors": (
            "AccessDenied IntegrityError MalformedArchive NotFound OcitoolError Refused "
            "StorageError Unavailable UsageError"
        ),
        "events": "Observer",
        "garbage": "Removal remove",
        "image.content": "Blob Closure Root",
        "image.layers.listing": "EntryKind LayerEntry list_layer",
        "images.locations": "Place parse_place",
        "images.lookup": "find_image find_images",
        "images.opening": "Opened open_source",
        "images.summaries": "ImageSummary image_summaries",
        "inside.comparing": "DiffOptions compare",
        "inside.differences": "Comparison",
        "inside.dockerfile": "Dockerfile dockerfile",
        "inside.facts.gathering": "gather_facts",
        "inside.facts.packages.package": "Package",
        "inside.facts.report": "Facts Secret",
        "inside.image": "Inside look_inside",
        "inside.listing": "FileEntry list_files",
        "inside.page.facts": "image_page",
        "inside.searching": "FileQuery find_files",
        "inside.sizing": "SizeReport measure",
        "inside.taking": "read_file",
        "inside.tarring": "merged_tar",
        "oci": "Descriptor Digest ImageConfig Index Manifest Platform Reference",
        "operations.bundle.check": "CheckReport NotApplicable check_at",
        "operations.bundle.create": "BundlePlan plan_bundle",
        "operations.bundle.load": "Loaded load_into_engine load_into_layout load_into_registry",
        "operations.bundle.registry_check": "RegistryCheck check_registry",
        "operations.bundle.rejoin": "join_bundle split_bundle",
        "operations.bundle.verify": "BundleReport verify_bundle",
        "operations.bundle.write": "write_bundle write_volumes",
        "operations.copy": "copy",
        "operations.edit.appending": "Appending append_layers",
        "operations.edit.attestations": "AttestationAction edit_attestations",
        "operations.edit.converting": "Form convert_image",
        "operations.edit.flattening": "flatten_image",
        "operations.edit.indexes": "Listing add_to_index create_index remove_from_index",
        "operations.edit.rebasing": "rebase_image",
        "operations.edit.report": "AttachedPolicy EditOptions EditReport PlaceAccess",
        "operations.edit.settings": "IndexAnnotations set_image",
        "operations.edit.unwrapping": "unwrap_image",
        "operations.hashing": "Problem",
        "operations.inspect": "ImageReport LayerReport inspect",
        "operations.load": "load",
        "operations.pull": "pull",
        "operations.prune": "PlannedPrune plan_prune prune recheck_prune_plans",
        "operations.push": "push",
        "operations.push_report": "OnExisting PushReport",
        "operations.save": "save save_file",
        "operations.sync": "copy_missing look_at_targets",
        "operations.sync_plan": "plan_sync",
        "operations.tag": "tag",
        "operations.verify": "VerifyReport verify",
        "places.archive": "ArchiveSource FolderSource open_archive",
        "places.layout": "Layout untag",
        "places.registry": "Registries RegistryOptions Repository",
        "serving.server": "RegistryServer ServeOptions serve",
        "pruning.outcome": "PruneOutcome",
        "pruning.patterns": "TagRegex",
        "pruning.plan": "PrunePlan encode_prune_plans parse_prune_plans",
        "pruning.rules": "PruneRules keep_rule",
        "transfer.pipeline": "TransferOptions",
        "transfer.remote": "RemoteImages",
        "transfer.report": "Conversion CopiedImage CopyReport",
        "version": "__version__",
    },
)
