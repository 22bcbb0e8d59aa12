"""Who may import whom, who may touch the disk, and what a command pays for to start."""

import ast
import gc
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import ocitool

PACKAGE = Path(ocitool.__file__).parent

# The rooms, from the bottom. A room imports only rooms of the rows below its own.
ROOMS: tuple[tuple[str, ...], ...] = (
    ("concurrency", "errors", "home", "lazy", "version"),
    ("oci",),
    ("events", "formats", "fsops"),
    ("image", "programs"),
    ("places",),
    ("inside",),
    ("bundles", "transfer"),
    ("editing", "pruning"),
    ("artifacts", "images"),
    ("containers",),
    ("garbage",),
    ("operations",),
    ("serving",),
    ("cli",),
    ("__main__",),
    ("zipapp_main",),
)
MOST_PAIRS = 150
"""95 without `bundles` and `editing`, which every room above them may import."""
FIRST = "zipapp_main"
"""A program of its own, which unpacks ocitool before any of it can be imported."""
CHANGES = {
    *(
        f"os.{name}"
        for name in (
            "rename",
            "replace",
            "renames",
            "unlink",
            "remove",
            "removedirs",
            "rmdir",
            "mkdir",
            "makedirs",
            "mkfifo",
            "mknod",
            "link",
            "symlink",
            "truncate",
            "ftruncate",
            "posix_fallocate",
            "write",
            "pwrite",
            "writev",
            "fsync",
            "utime",
            "chmod",
            "fchmod",
            "chown",
            "fchown",
            "lchown",
            "setxattr",
            "sendfile",
            "open",
        )
    ),
    "shutil.rmtree",
    "shutil.copy",
    "shutil.copyfile",
    "shutil.move",
}


@dataclass(frozen=True, eq=False)
class Module:
    """A module of the package, its syntax tree, and all nodes of that."""

    name: str
    tree: ast.Module
    nodes: tuple[ast.AST, ...]
    is_package: bool

    @property
    def room(self) -> str:
        """The module or package directly below `ocitool`."""
        return self.name.split(".")[1] if "." in self.name else "__init__"

    @property
    def place(self) -> str | None:
        """The place a module belongs to, such as `places.registry`, or None."""
        parts = self.name.split(".")
        return ".".join(parts[1:3]) if parts[1:2] == ["places"] and len(parts) > 2 else None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Import:
    """An import of `target`; `early` when it happens as the module is loaded."""

    target: str
    early: bool
    typing_only: bool


@cache
def modules() -> tuple[Module, ...]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = list(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        package = path.stem == "__init__"
        tree = ast.parse(path.read_text())
        found.append(Module(".".join(parts), tree, tuple(ast.walk(tree)), package))
    # These millions of objects stay: nobody need look through them again.
    gc.freeze()
    return tuple(found)


def is_typing_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


@cache
def imports(module: Module) -> tuple[Import, ...]:
    """Return what a module imports, at its top or inside a function."""
    return tuple(_imports(module))


def _imports(module: Module) -> Iterator[Import]:
    stack: list[tuple[ast.AST, bool, bool]] = [(module.tree, True, False)]
    while stack:
        node, early, typing_only = stack.pop()
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, early, typing_only)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute here"
            for alias in node.names:
                yield Import(f"{node.module}.{alias.name}", early, typing_only)
        deeper = early and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        hidden = typing_only or is_typing_only(node)
        stack += [(child, deeper, hidden) for child in ast.iter_child_nodes(node)]


@cache
def module_named(target: str) -> str | None:
    """Return the module of ours that an import of `target` loads, or None."""
    names = {module.name for module in modules()}
    while target and target not in names:
        target = target.rpartition(".")[0]
    return target or None


def row_of(room: str) -> int:
    return next(n for n, row in enumerate(ROOMS) if room in row)


def modules_imported(module: Module) -> set[str]:
    """Return the modules of ours that a module imports anywhere, for type checkers included."""
    found = {module_named(imported.target) for imported in imports(module)}
    return {name for name in found if name is not None} - {module.name}


def rooms_imported(module: Module) -> set[str]:
    return {name.split(".")[1] for name in modules_imported(module) if "." in name} - {module.room}


def pairs() -> set[tuple[str, str]]:
    """Return which room imports which."""
    return {
        (module.room, room)
        for module in modules()
        if module.room != "__init__"
        for room in rooms_imported(module)
    }


def first_cycle(edges: dict[str, set[str]]) -> list[str]:
    """Return a circle of names, or an empty list."""
    done: set[str] = set()
    path: list[str] = []

    def visit(name: str) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        path.append(name)
        for target in sorted(edges.get(name, ())):
            if circle := visit(target):
                return circle
        path.pop()
        done.add(name)
        return []

    for name in sorted(edges):
        if circle := visit(name):
            return circle
    return []


def early_imports(module: Module) -> set[str]:
    """Return the modules of ours that must be loaded before this one is."""
    found = set()
    for imported in imports(module):
        target = module_named(imported.target)
        if target is not None and imported.early and not imported.typing_only:
            found.add(target)
    # The package itself loads nothing, and is there before its modules are.
    return found - {module.name, "ocitool"}


def dotted(node: ast.AST) -> str:
    """Return a name with its dots: `os.rename`, and `.read` for what is read of no name."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    parts.append(node.id if isinstance(node, ast.Name) else "")
    return ".".join(reversed(parts))


@cache
def calls(module: Module) -> frozenset[str]:
    """Return the dotted names that a module calls, such as `os.rename`."""
    return frozenset(dotted(node.func) for node in module.nodes if isinstance(node, ast.Call))


@cache
def names_used(module: Module) -> frozenset[str]:
    """Return the dotted names that a module mentions."""
    return frozenset(
        dotted(node) for node in module.nodes if isinstance(node, ast.Attribute | ast.Name)
    )


def public_parts(module: Module) -> Iterator[tuple[str, ast.AST]]:
    """Yield public classes, functions and methods with their dotted names."""
    stack: list[tuple[str, ast.AST]] = [(module.name, module.tree)]
    while stack:
        prefix, node = stack.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef) and not child.name.startswith("_"):
                yield f"{prefix}.{child.name}", child
                if isinstance(child, ast.ClassDef):
                    stack.append((f"{prefix}.{child.name}", child))


def each_module(rule: Callable[[Any, Module], None]) -> Callable[[Any], None]:
    """Make one test of a rule for every module: a test for each would be three thousand."""

    def test(self: Any) -> None:
        for module in modules():
            rule(self, module)

    test.__name__, test.__qualname__ = rule.__name__, rule.__qualname__
    return test


class TestRooms:
    def test_every_module_has_its_room(self) -> None:
        rooms = {module.room for module in modules()} - {"__init__"}
        assert rooms == {room for row in ROOMS for room in row}

    @each_module
    def test_a_room_imports_only_rooms_below_it(self, module: Module) -> None:
        if module.room == "__init__":
            return
        row = row_of(module.room)
        up = {room for room in rooms_imported(module) if row_of(room) >= row}
        assert up == set(), f"{module} imports {up}"

    def test_few_rooms_import_each_other(self, capsys: pytest.CaptureFixture[str]) -> None:
        found = sorted(pairs())
        with capsys.disabled():
            print(f"\n{len(found)} pairs of rooms, at most {MOST_PAIRS}:")
            for room in dict.fromkeys(room for room, _ in found):
                print(f"  {room}: {', '.join(target for one, target in found if one == room)}")
        assert len(found) <= MOST_PAIRS

    def test_the_rooms_of_the_architecture_page_are_these(self) -> None:
        page = (PACKAGE / "README.md").read_text()
        for room in {room for row in ROOMS for room in row} - {"__main__"}:
            assert f"`{room}" in page, f"{room} is not described"

    @each_module
    def test_a_place_imports_no_other_place(self, module: Module) -> None:
        if module.name.startswith("ocitool.places."):
            own = module.name.split(".")[2]
            others = {name.split(".")[2] for name in modules_imported(module) if ".places." in name}
            assert others <= {own}

    @each_module
    def test_no_module_imports_a_private_name_of_another(self, module: Module) -> None:
        for imported in imports(module):
            if imported.target.startswith("ocitool."):
                assert not re.search(r"\._[^_]", imported.target), imported.target

    def test_no_module_is_in_a_circle_of_imports(self) -> None:
        # A package stands for its __init__ alone, and that one loads its modules lazily.
        packages = {module.name for module in modules() if module.is_package}
        edges = {
            module.name: modules_imported(module) - packages
            for module in modules()
            if not module.is_package
        }
        assert first_cycle(edges) == []
        assert first_cycle({module.name: early_imports(module) for module in modules()}) == []


class TestLibraries:
    @pytest.mark.parametrize(
        ("library", "rooms"),
        [
            ("typer", {"cli"}),
            ("click", {"cli"}),
            ("rich", {"cli"}),
            ("textual", {"cli"}),
            ("httpx", {"places.registry", "places.engine"}),
            ("isal", {"formats"}),
            ("backports", {"formats"}),
            ("compression", {"formats"}),
            ("tarfile", {"places.archive", "artifacts"}),  # it writes headers; reading is ours
            ("asyncio", set()),
            ("pydantic", set()),
            ("oras", {"artifacts"}),
            ("yaml", {"bundles"}),
            ("requests", set()),
            ("subprocess", {"places.registry", "programs"}),
            ("cryptography", {"bundles"}),
            ("obstore", {"bundles"}),
            ("h11", {"serving"}),
            ("bcrypt", {"serving"}),
            ("pickle", set()),
            ("tempfile", {"fsops", "zipapp_main"}),
            ("argparse", set()),
            ("logging", set()),
        ],
    )
    def test_a_library_is_used_in_its_place_alone(self, library: str, rooms: set[str]) -> None:
        users = {
            module.place or module.room
            for module in modules()
            for imported in imports(module)
            if imported.target.split(".")[0] == library
        }
        assert users <= rooms

    def test_few_modules_have_the_name_of_one_of_the_standard_library(self) -> None:
        # All imports are absolute, so these hide nothing; they are words of the domain.
        words = {
            "ocitool.__main__",
            "ocitool.cli.commands.copy",
            "ocitool.cli.commands.gc",
            "ocitool.cli.commands.inspect",
            "ocitool.cli.render.gc",
            "ocitool.formats.compression",
            "ocitool.oci.platform",
            "ocitool.operations.copy",
            "ocitool.operations.inspect",
            "ocitool.places.registry.http",
            "ocitool.transfer.copy",
        }
        assert {
            module.name
            for module in modules()
            if module.name.split(".")[-1] in sys.stdlib_module_names
        } <= words

    @pytest.mark.parametrize("name", ["utils", "helpers", "common", "misc", "base", "core"])
    def test_no_module_is_a_drawer_for_everything(self, name: str) -> None:
        assert not [module.name for module in modules() if name in module.name.split(".")]


class TestTheWorldOutside:
    @each_module
    def test_the_environment_is_read_by_the_command_line_alone(self, module: Module) -> None:
        if module.room not in ("cli", FIRST) and module.place not in (
            "places.registry",
            "places.engine",
        ):
            used = names_used(module)
            assert not used & {"os.environ", "os.getenv", "os.environb", "os.path.expanduser"}

    @each_module
    def test_the_library_does_not_print_and_does_not_exit(self, module: Module) -> None:
        if module.room not in ("cli", "__main__"):
            assert not calls(module) & {"print", "input", "sys.exit", "exit", "os._exit"}
            assert not names_used(module) & {"sys.stdout", "sys.stderr", "sys.stdin"}

    @each_module
    def test_only_the_command_line_catches_everything(self, module: Module) -> None:
        for node in module.nodes:
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = "" if node.type is None else ast.unparse(node.type)
            if caught in ("", "Exception", "BaseException"):
                again = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
                # A request that breaks something costs its client an answer, not the server.
                servers = "ocitool.serving.application", "ocitool.serving.transport.server"
                assert again or module.name in ("ocitool.cli.main", *servers), f"{module}: {node}"

    @each_module
    def test_the_disk_is_changed_in_one_package(self, module: Module) -> None:
        allowed = {
            # A lock and a lease are files that stay open; they are no content.
            "ocitool.places.layout.lock": {"os.open", "os.pwrite"},
            "ocitool.places.layout.lease": {"os.open", "os.unlink"},
            # The archive that the user named, opened for reading.
            "ocitool.places.archive.opening": {"os.open"},
            "ocitool.places.archive.chunks": {"os.open"},
            # Results go to standard output.
            "ocitool.cli.render.console": {"os.write"},
            # Standard output becomes /dev/null when its reader is gone.
            "ocitool.cli.main": {"os.open"},
        }
        if module.room not in ("fsops", FIRST):
            assert calls(module) & CHANGES <= allowed.get(module.name, set())

    @each_module
    def test_files_are_opened_for_writing_in_few_modules(self, module: Module) -> None:
        writing = {"os.O_WRONLY", "os.O_RDWR", "os.O_CREAT", "os.O_APPEND", "os.O_TRUNC"}
        writers = {
            "ocitool.places.layout.lock",
            "ocitool.places.layout.lease",
            "ocitool.cli.main",
        }
        if module.room != "fsops" and module.name not in writers:
            assert not names_used(module) & writing
        for node in module.nodes:
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("open", "io.open"):
                mode = ast.unparse(node.args[1]) if len(node.args) > 1 else "'r'"
                assert mode in ("'r'", "'rb'"), f"{module}: line {node.lineno}"

    @each_module
    def test_no_path_object_writes_past_the_one_module(self, module: Module) -> None:
        used = {name.rpartition(".")[2] for name in calls(module)}
        if module.room == FIRST:
            used -= {"rmtree"}
        assert not used & {"write_text", "write_bytes", "symlink_to", "hardlink_to", "rmtree"}


class TestDocumentation:
    @each_module
    def test_every_module_says_what_it_is(self, module: Module) -> None:
        assert ast.get_docstring(module.tree)

    @each_module
    def test_everything_public_says_what_it_promises(self, module: Module) -> None:
        silent = [
            name
            for name, node in public_parts(module)
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not ast.get_docstring(node)
        ]
        assert silent == [], "without a docstring"


@pytest.fixture(scope="module")
def loaded_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one image, a:1."""
    store = tmp_path_factory.mktemp("start") / "store"
    archive = PACKAGE.parent / "fixtures" / "docker20-app-single.tar"
    words = ["--store", str(store), "load", "--quiet", "--tag", "a:1", str(archive)]
    subprocess.run([sys.executable, "-m", "ocitool", *words], check=True, capture_output=True)
    return store


class TestStartingUp:
    def loaded_after(self, code: str) -> set[str]:
        script = f"{code}\nimport sys\nsys.stderr.write(' '.join(sys.modules))\n"
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            cwd=PACKAGE.parent,
        )
        return set(done.stderr.split())

    def test_the_version_costs_no_heavy_import(self) -> None:
        loaded = self.loaded_after(
            "import ocitool.__main__\n"
            "from ocitool.cli.main import run\n"
            "assert run(['--version']) == 0\n"
        )
        assert "ocitool.cli.main" in loaded
        heavy = {"httpx", "rich", "oras", "pydantic", "tarfile", "asyncio", "msgspec", "isal"}
        assert not loaded & heavy
        assert not [name for name in loaded if name.startswith("ocitool.places.layout")]

    @pytest.mark.parametrize(
        "command", ["load", "save", "images", "inspect", "verify", "rm", "pull", "push"]
    )
    def test_the_help_of_a_command_costs_no_heavy_import(self, command: str) -> None:
        loaded = self.loaded_after(
            "import ocitool.__main__\n"
            "from ocitool.cli.main import run\n"
            f"assert run([{command!r}, '--help']) == 0\n"
        )
        assert not loaded & {"httpx", "rich", "pydantic", "tarfile", "asyncio"}

    @pytest.mark.parametrize(
        ("words", "unneeded"),
        [
            (("images",), {"httpx", "rich", "isal", "email"}),
            (("tag", "a:1", "b:1"), {"httpx", "rich", "isal", "email"}),
            (("reflog",), {"httpx", "rich", "isal", "email"}),
            (("inspect", "a:1"), {"httpx", "rich", "email"}),
            (("verify",), {"httpx", "rich", "email"}),
            (("save", "a:1", "-o", "{out}/a.tar"), {"httpx", "rich", "email"}),
            (("copy", "a:1", "oci:{out}/layout"), {"httpx", "rich", "email"}),
            (("rm", "a:1"), {"httpx", "rich", "isal", "email"}),
        ],
        ids=lambda value: value[0] if isinstance(value, tuple) else "",
    )
    def test_a_command_loads_only_what_it_uses(
        self, words: tuple[str, ...], unneeded: set[str], loaded_store: Path, tmp_path: Path
    ) -> None:
        store = shutil.copytree(loaded_store, tmp_path / "store")
        typed = ["--store", str(store), *(word.format(out=tmp_path) for word in words)]
        loaded = self.loaded_after(
            f"import ocitool.__main__\nfrom ocitool.cli.main import run\nassert run({typed}) == 0\n"
        )
        assert not loaded & unneeded

    def test_the_library_costs_no_command_line(self) -> None:
        loaded = self.loaded_after(
            "from ocitool.operations import load, inspect\nimport ocitool.images.opening"
        )
        assert not loaded & {"typer", "click", "rich", "httpx", "pydantic", "asyncio"}
        assert not [name for name in loaded if name.startswith("ocitool.cli")]
