"""The names that programs may rely on."""

import subprocess
import sys
from pathlib import Path

import pytest

import ocitool
from ocitool.errors import OcitoolError

# A promise: a name goes from here only with a major version.
PROMISED = [
    "AccessDenied",
    "Appending",
    "ArchiveSource",
    "AttachedPolicy",
    "AttestationAction",
    "Base",
    "Bind",
    "Blob",
    "BundlePlan",
    "BundleReport",
    "BundleSet",
    "Change",
    "CheckReport",
    "Closure",
    "CommitOptions",
    "Committed",
    "Comparison",
    "Container",
    "Conversion",
    "CopiedImage",
    "CopyOptions",
    "CopyReport",
    "CreateOptions",
    "Created",
    "Descriptor",
    "DiffOptions",
    "Digest",
    "Dockerfile",
    "EditOptions",
    "EditReport",
    "EntryKind",
    "Facts",
    "FileEntry",
    "FileQuery",
    "FolderSource",
    "Form",
    "ImageConfig",
    "ImageReport",
    "ImageSummary",
    "Index",
    "IndexAnnotations",
    "Inside",
    "Inspection",
    "IntegrityError",
    "LayerEntry",
    "LayerReport",
    "Layout",
    "LifeOptions",
    "Listing",
    "Loaded",
    "MalformedArchive",
    "Manifest",
    "MountOptions",
    "Need",
    "NetworkOptions",
    "NotApplicable",
    "NotFound",
    "Observer",
    "OcitoolError",
    "OnExisting",
    "Opened",
    "Package",
    "Place",
    "PlaceAccess",
    "PlannedPrune",
    "Platform",
    "Problem",
    "ProcessOptions",
    "PruneOutcome",
    "PrunePlan",
    "PruneRules",
    "PushReport",
    "Reference",
    "Refused",
    "Registries",
    "RegistryCheck",
    "RegistryOptions",
    "RegistryServer",
    "RemoteImages",
    "Removal",
    "Repository",
    "ResourceLimits",
    "Root",
    "Secret",
    "SecurityOptions",
    "ServeOptions",
    "Settings",
    "SizeReport",
    "StartOptions",
    "State",
    "StorageError",
    "TagRegex",
    "Tmpfs",
    "TransferOptions",
    "Ulimit",
    "Unavailable",
    "UsageError",
    "VerifyReport",
    "__version__",
    "add_to_index",
    "append_layers",
    "check_at",
    "check_registry",
    "commit_container",
    "compare",
    "container_changes",
    "container_logs",
    "container_state",
    "container_states",
    "convert_image",
    "copy",
    "copy_in",
    "copy_missing",
    "copy_out",
    "create_container",
    "create_index",
    "dockerfile",
    "edit_attestations",
    "encode_plan",
    "encode_prune_plans",
    "export_container",
    "find_container",
    "find_files",
    "find_image",
    "find_images",
    "flatten_image",
    "gather_facts",
    "image_page",
    "image_summaries",
    "inspect",
    "inspect_container",
    "join_bundle",
    "keep_rule",
    "list_files",
    "list_layer",
    "load",
    "load_into_engine",
    "load_into_layout",
    "load_into_registry",
    "look_at_targets",
    "look_inside",
    "measure",
    "merged_tar",
    "open_archive",
    "open_bundles",
    "open_source",
    "parse_place",
    "parse_plan",
    "parse_prune_plans",
    "parse_sync_file",
    "plan_bundle",
    "plan_prune",
    "plan_sync",
    "prune",
    "pull",
    "push",
    "read_file",
    "rebase_image",
    "recheck_prune_plans",
    "remove",
    "remove_container",
    "remove_from_index",
    "save",
    "save_file",
    "serve",
    "set_image",
    "split_bundle",
    "start_container",
    "stop_container",
    "tag",
    "untag",
    "unwrap_image",
    "verify",
    "verify_bundle",
    "wait_for_container",
    "write_bundle",
    "write_volumes",
]


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(ocitool.__file__).parent.parent,
    )
    return done.stdout


def test_the_promised_names_are_these_and_no_others() -> None:
    assert sorted(ocitool.__all__) == PROMISED


@pytest.mark.parametrize("name", PROMISED)
def test_a_promised_name_comes_from_the_module_that_defines_it(name: str) -> None:
    value = getattr(ocitool, name)
    if isinstance(value, type) or callable(value):
        assert value.__module__.startswith("ocitool.")
        assert value is getattr(sys.modules[value.__module__], name)


def test_the_names_are_shown_before_they_are_loaded() -> None:
    assert set(run("import ocitool\nprint(' '.join(dir(ocitool)))").split()) >= set(PROMISED)


def test_a_star_import_gives_every_promised_name() -> None:
    names = run("from ocitool import *\nprint(' '.join(sorted(globals())))").split()
    assert set(PROMISED) <= set(names)


def test_importing_the_package_loads_none_of_its_modules() -> None:
    loaded = run(
        "import sys\n"
        "import ocitool\n"
        "print(' '.join(m for m in sys.modules if m.startswith('ocitool.')))\n"
    )
    assert loaded.split() == ["ocitool.lazy"]


def test_a_name_loads_its_own_home_alone() -> None:
    loaded = run(
        "import sys\n"
        "from ocitool import Digest\n"
        "print(' '.join(m for m in sys.modules if m.startswith('ocitool.')))\n"
    )
    assert set(loaded.split()) <= {
        "ocitool.errors",
        "ocitool.lazy",
        "ocitool.oci",
        "ocitool.oci.digest",
        "ocitool.oci.quoting",
    }


def test_type_checkers_see_the_same_names() -> None:
    source = Path(ocitool.__file__).read_text()
    block = source[source.index("if TYPE_CHECKING:") : source.index("__getattr__")]
    for name in PROMISED:
        assert f"import {name} as {name}\n" in block, f"type checkers do not see {name}"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ocitool.nothing  # noqa: B018


def test_every_error_is_one_of_ours() -> None:
    for name in ("IntegrityError", "NotFound", "Refused", "StorageError", "UsageError"):
        assert issubclass(getattr(ocitool, name), OcitoolError)


def test_no_promised_name_is_also_a_module() -> None:
    # Importing a module sets its name on the package, where it would hide the promised one.
    folder = Path(ocitool.__file__).parent
    taken = {path.stem for path in folder.glob("*.py")} | {
        path.name for path in folder.iterdir() if path.is_dir()
    }
    assert not taken & set(PROMISED)
