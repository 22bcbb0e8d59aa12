"""Every command with `--json`, run in situations that fill the fields of its document."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from ocitool.bundles.mapping import MappedImage, encode_map
from tests.artifacts.site import REPOSITORY
from tests.cli.bundle_scene import note_bundles
from tests.cli.container_scene import note_container_files
from tests.cli.edit_scene import note_edits
from tests.cli.test_serve import started
from tests.garbage.test_engine import DANGLING, FakeEngine
from tests.inside.facts.scenes import planted_image
from tests.places.registry.homes import Home, auths
from tests.support.command import FIXTURES, Command
from tests.support.images import (
    BuiltImage,
    blob_path,
    build_artifact,
    build_image,
    build_index,
    docker_archive,
    oci_archive,
    write_layout,
)
from tests.support.layouts import tag_as_umoci
from tests.support.registry import Access, EmulatedRegistry, Quirks
from tests.support.registry_faults import Status
from tests.support.registry_github import GHCR, EmulatedGitHub
from tests.support.root_files import Node, hard_link, layer_of, link, program
from tests.support.runtime import stand_in
from tests.support.small_images import file, gone, small_image, write_image

Documents = dict[str, list[object]]
NOBODY = ("--containers", "none")
QUICKLY = ("--retry-max-wait", "0.02s")
FULL_CONFIG = {
    "author": "somebody",
    "config": {
        "User": "0",
        "WorkingDir": "/w",
        "Entrypoint": ["/bin/app"],
        "Cmd": ["x"],
        "Env": ["A=b"],
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/v": {}},
        "Labels": {"k": "v"},
        "StopSignal": "SIGTERM",
        "Shell": ["/bin/sh"],
        "Healthcheck": {"Test": ["CMD", "true"]},
    },
}
HISTORY: list[dict[str, object]] = [
    {"created": "2024-05-06T07:08:09Z", "created_by": "RUN x", "comment": "made"},
    {"created": "2024-05-06T07:08:09Z", "created_by": "ENV A=b", "empty_layer": True},
]


class Scene:
    """A folder to work in, and the documents that were printed so far, by their names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.command = Command(folder / "store", folder)
        self.documents: Documents = {}

    def note(self, name: str, *arguments: str | Path, code: int = 0, **how: Any) -> object:
        """Run a command with --json, which has to end with this code; note what it printed."""
        # What stands behind the image of a container belongs to its command.
        where = 2 if name in ("container create", "container run") else len(arguments)
        done = self.command(*arguments[:where], "--json", *arguments[where:], **how)
        assert done.code == code, f"{name}: {done.code}: {done.err}"
        value = done.json
        self.documents.setdefault(name, []).append(value)
        return value

    def run(self, *arguments: str | Path) -> None:
        """Run a command that prepares something."""
        done = self.command(*arguments)
        assert done.code == 0, done.err


def documents(folder: Path) -> Documents:
    """Return what every command prints with --json, by the name of the document."""
    scene = Scene(folder)
    image = build_image(
        [layer_of(program("bin/app", b"x"), Node(path="null", type=b"3", device=(0, 0)))],
        config=FULL_CONFIG,
        history=HISTORY,
    )
    _store(scene, image)
    _files(scene)
    _containers(scene)
    _names(scene)
    _facts(scene)
    with EmulatedRegistry() as registry:
        _registry(scene, registry, image)
        _artifacts(scene, registry)
        note_edits(scene.note, scene.folder, registry)
    _serving(scene)
    _login(scene)
    _machine(scene)
    _inside(scene)
    _garbage(scene)
    _engine(scene)
    note_bundles(scene.note, scene.folder)
    return scene.documents


def _store(scene: Scene, image: BuiltImage) -> None:
    folder = scene.folder
    for name in ("docker20-multi.tar", "docker29-containerd-multiplat.tar"):
        scene.note("load", "load", FIXTURES / name)
    both = build_index([image, build_image([{"p": b"q"}], platform="linux/arm64")], attested=True)
    left_out = [digest for digest in both.blobs if digest not in image.blobs]
    sparse = [digest for digest in left_out if digest != both.descriptor.digest]
    (folder / "sparse.tar").write_bytes(oci_archive({"some:1": both}, without=sparse))
    (folder / "both.tar").write_bytes(oci_archive({"both:1": both, "full:1": image, "bare": image}))
    scene.note("load", "load", folder / "sparse.tar", folder / "none.tar", code=4)
    scene.note("load", "load", folder / "both.tar")
    (folder / "old.tar").write_bytes(docker_archive({"full:1": build_image([{"n": b"1"}])}))
    scene.note("load", "load", folder / "old.tar")
    scene.run("load", folder / "both.tar")
    scene.note("save", "save", "full:1", "-o", folder / "out.tar")
    scene.note("save", "save", "full:1", "-o", folder / "plain.tar", "--compression", "none")
    scene.note("copy", "copy", "both:1", f"oci:{folder / 'copied'}:1")
    scene.note("copy", "copy", "full:1", f"oci:{folder / 'copied'}:1")
    scene.note("copy", "copy", "full:1", f"oci-archive:{folder / 'copied.tar'}")
    tag_as_umoci(scene.command.store, "docker.io/fmt/base:1", "v9")
    for name in ("full:1", "both:1", "fmt/app:1.0", "fmt/base:1"):
        scene.note("inspect", "inspect", name)
        scene.note("history", "history", name)
    scene.note("inspect", "inspect", f"oci:{folder / 'copied'}:1")
    _compared(scene)
    scene.note("inspect of several", "inspect", "full:1", "both:1", "fmt/base:1")
    scene.note("verify", "verify")
    damaged = write_layout(folder / "damaged", {"1": image}, without=[image.layers[0].digest])
    (damaged / "stray").write_text("x")
    scene.note("copy", "copy", f"oci:{damaged}", f"oci:{folder / 'none'}", code=4)
    scene.note("save", "save", "none:1", "-o", folder / "none.tar", code=4)
    scene.note("verify", "verify", f"oci:{damaged}", code=3)
    scene.note("verify --repair", "verify", "--repair")
    broken = write_layout(folder / "broken", {"1": image})
    layer = image.layers[0].digest
    (broken / "blobs" / layer.algorithm / layer.hex).write_bytes(b"wrong")
    scene.note("verify --repair", "verify", f"oci:{broken}", "--repair", code=3)
    whole = f"oci:{folder / 'copied'}"
    scene.note("verify --repair", "verify", f"oci:{broken}", "--repair-from", whole)
    lost = shutil.copytree(folder / "store", folder / "lost")
    (lost / "index.json").unlink()
    scene.note("verify --repair", "verify", f"oci:{lost}", "--repair")


def _files(scene: Scene) -> None:
    """Note what is told of the files of an image that has each kind, and some out of sight."""
    image = small_image(
        [
            file("a", 5),
            file("\udcff", 6),
            Node(path="null", type=b"3", device=(1, 3)),
            link("b", "\udcfe"),
            Node(path="new", data=b"1", time=1e15),
        ],
        [file("a", 7), gone("null"), gone("nothing")],
    )
    path = str(write_image(scene.folder, image, "oci-archive"))
    scene.note("files ls", "files", "ls", path)
    scene.note("files ls", "files", "ls", "--why", "--up-to", "1", path)
    scene.note("files ls", "files", "ls", "--why", path)
    scene.note("files ls", "files", "ls", "full:1")
    scene.note("files find", "files", "find", "--hidden", path)
    scene.note("files find", "files", "find", "--why", path)
    scene.note("files cat", "files", "cat", path, "/a")
    scene.note("files cat --why", "files", "cat", "--why", path, "/a")
    scene.note("files cp", "files", "cp", path, "/a", str(scene.folder / "out"))
    scene.note("export", "export", path, "-o", scene.folder / "rootfs.tar")
    scene.note("export", "export", path, "-o", scene.folder / "rootfs.tar", "--layer", "1")


def _compared(scene: Scene) -> None:
    device = Node(path="null", type=b"3", device=(1, 3))
    layers = ([link("l", "x"), file("same", 1), file("text", 5), device], [file("x", 1)])
    attributes = {"SCHILY.xattr.user.a": "b"}
    other = (
        [
            link("l", "y"),
            file("same", 1, time=3, attributes=attributes),
            file("text", 6, mode=0o600),
            Node(path="null", type=b"3", device=(1, 5)),
            Node(path="zero", type=b"3", device=(1, 5)),
        ],
        [file("\udcff", 2, attributes=attributes), link("m", "\udcff")],
    )
    one = small_image(*layers, steps=["a", f"/bin/sh -c #(nop) COPY file:{'0' * 64} in /x"])
    two = small_image(*other, config={**FULL_CONFIG, "history": []})
    places = [
        f"oci:{write_layout(scene.folder / name, {'1': image})}:1"
        for name, image in (("one", one), ("two", two))
    ]
    for place in (*places, "fmt/app:1.0"):
        scene.note("dockerfile", "dockerfile", place)
    scene.note("diff", "diff", *places, "--content", code=3)
    scene.note("diff", "diff", *places[::-1], code=3)
    scene.note("diff", "diff", places[0], places[0])
    scene.note("diff", "diff", *places, "--config", code=3)
    scene.note("diff", "diff", *places, "--layers", code=3)
    image = small_image([], codec="gzip")
    damaged = write_layout(scene.folder / "three", {"1": image})
    (damaged / blob_path(image.layers[0])).write_bytes(b"x" * image.layers[0].size)
    scene.note("diff", "diff", places[0], f"oci:{damaged}:1", "--files", code=7)


def _containers(scene: Scene) -> None:
    scene.note("container create", "container", "create", "--name", "web", "--copy", "full:1")
    scene.note("container create", "container", "create", "--name", "two", "full:1")
    scene.note("container create", "container", "create", "--name", "three", "full:1")
    note_container_files(scene.note, scene.command, "web")
    runtime = ("--runtime", str(stand_in(scene.folder)))
    scene.note("container start", "container", "start", "-d", "three", *runtime)
    scene.note("container run", "container", "run", "-d", "--name", "four", *runtime, "full:1")
    scene.note("container wait", "container", "wait", "three", "four")
    scene.note("container stop", "container", "stop", "three", "web")
    scene.note("container stop", "container", "stop", "three", "none", code=4)
    scene.note("container ls", "container", "ls")
    scene.note("container ls", "container", "ls", "-s")
    scene.note("container rm", "container", "rm", "two")
    scene.note("container rm", "container", "rm", "two", code=4)


def _names(scene: Scene) -> None:
    scene.note("tag", "tag", "full:1", "other:1", "both:1")
    scene.note("untag", "untag", "other:1")
    scene.note("pin", "pin", "full:1", "--until", "2099-01-01", "--reason", "because")
    scene.run("pin", "fmt/base:1")
    scene.note("pin", "pin")
    scene.run("untag", "full:1", "both:1", "fmt/app:1.0")
    scene.note("df", "df")
    scene.note("images", "images", "-a")
    scene.run("untag", "v9")
    scene.note("reflog", "reflog")
    scene.note("restore", "restore", "full:1@{1}")
    scene.note("restore", "restore", "full:1@{0}")
    scene.run("tag", "full:1", "again:1")
    scene.note("unpin", "unpin", "fmt/base:1")
    scene.note("rm", "rm", "fmt/base:1")


def _facts(scene: Scene) -> None:
    planted = write_image(scene.folder, planted_image(), "docker-save")
    scene.note("facts", "facts", planted, "--deny", "setuid", "--allow", "shell=wanted", code=3)
    damaged = small_image([Node(path="var/lib/rpm/Packages", data=b"no database")])
    scene.note("facts", "facts", write_image(scene.folder, damaged, "oci-archive"))


def _registry(scene: Scene, registry: EmulatedRegistry, image: BuiltImage) -> None:
    folder, target = scene.folder, f"{registry.host}/x/y"
    layout = f"oci:{write_layout(folder / 'layout', {'1': image})}:1"
    other = f"oci:{write_layout(folder / 'layout2', {'1': build_image([{'o': b'1'}])})}:1"
    scene.note("push", "push", layout, f"{target}:1")
    scene.note("push", "push", other, f"{target}:1")
    scene.note("push", "push", layout, f"{target}:2", "--on-existing", "skip")
    scene.note("copy to a registry", "copy", layout, f"docker://{target}:3")
    tags = (f"docker://{target}:[12]", f"docker://{target}-copy")
    scene.note("copy of tags", "copy", *tags, "--dry-run")
    scene.note("copy of tags", "copy", *tags, "--on-existing", "error")
    scene.note("copy of tags", "copy", *tags, "--on-existing", "error", code=6)
    scene.run("push", other, f"{target}-copy:1")
    scene.note("copy of tags", "copy", *tags)
    _sync(scene, target)
    scene.note("push", "push", layout, f"{target}:4", "localhost:1/x:1", *QUICKLY, code=8)
    registry.add_image("x/y", build_artifact(image.descriptor))
    scene.note("pull", "pull", f"{target}:1", "--referrers")
    scene.run("push", layout, f"{target}:1")
    scene.note("pull", "pull", f"{target}:1", f"{target}:2", f"{target}:none", code=4)
    scene.note("lock", "lock", f"{target}:1", f"{target}:none", code=4)
    _rewritten(scene, f"{target}:1")
    _pruned(scene)
    scene.note("registry tags", "registry", "tags", target)
    scene.note("registry catalog", "registry", "catalog", registry.host)
    scene.note("registry digest", "registry", "digest", f"{target}:1")
    scene.note("registry digest of several", "registry", "digest", f"{target}:1", f"{target}:2")


def _pruned(scene: Scene) -> None:
    """Note plans with all that they can tell, and what becomes of them."""
    amd, arm = build_image([{"a": b"1"}]), build_image([{"a": b"2"}], platform="linux/arm64")
    kept, going = build_index([amd]), build_index([amd, arm])
    with EmulatedRegistry(Quirks(tag_delete="400", delete_children=True)) as registry:
        name = f"{registry.host}/a/b"
        for tag, image in {"v1": kept, "pr-1": going, "pr-2": kept}.items():
            registry.add_image("a/b", image, tag)
        registry.add_image("a/b", build_index([build_image([{"a": b"3"}])]), "broken")
        registry.state.delete("a/b", None, build_image([{"a": b"3"}]).descriptor.digest)
        rules = ("--delete-tags", "pr-.*", "--older-than", "1d", "--keep-tags", "none")
        words = ("registry", "prune", name, *rules)
        scene.note("registry prune", *words, "--max-delete", "0")
        scene.note("registry prune --explain", *words, "--explain", "v1")
        scene.note("registry prune", *words, "-f", code=7)
    with EmulatedRegistry(Quirks(delete_nothing=True)) as registry:
        for repository in ("a/b", "a/c"):
            registry.add_image(repository, kept, "v1")
            registry.add_image(repository, going, "pr-1")
            registry.add_image(repository, arm, "pr-2")
        registry.fail("DELETE", "a/c/manifests", Status(status=400), times=9)
        names = (f"{registry.host}/a/b", f"{registry.host}/a/c")
        more = (*rules[:2], "--max-delete", "100%", "-f")
        scene.note("registry prune", "registry", "prune", *names, *more, code=1)
    with EmulatedRegistry(GHCR) as registry, EmulatedGitHub(registry) as github:
        registry.add_image("a/b", kept, "v1")
        registry.add_image("a/b", going, "pr-1")
        github.refused[going.descriptor.digest] = "too many downloads"
        here = (f"{registry.host}/a/b", "--api", "ghcr", *rules[:2], "-f")
        variables = github.environment()
        scene.note("registry prune", "registry", "prune", *here, code=1, variables=variables)


def _sync(scene: Scene, target: str) -> None:
    rules = scene.folder / "sync.yaml"
    entry = f"- {{source: {target}, target: {target}-mirror, type: repository, tags: "
    rules.write_text(f"sync:\n{entry}{{allow: ['1', '7']}}}}\n")
    scene.note("sync", "sync", rules, "--plan-out", scene.folder / "plan", code=1)
    scene.note("sync", "sync", rules, code=1)
    rules.write_text(
        f"sync:\n- {{source: '{target}:2', target: '{target}-mirror:1', type: image}}\n"
    )
    scene.note("sync", "sync", rules, "--dry-run")


def _rewritten(scene: Scene, name: str) -> None:
    """Note what is told of a file of which a map has all names, and one of which it lacks some."""
    mapped = MappedImage(from_=name, to="site.example/a:1", digest=f"sha256:{'ab' * 32}")
    (scene.folder / "map.json").write_bytes(encode_map([mapped]))
    for image, code in ((name, 0), ("none.example/a:1", 3)):
        (scene.folder / "pod.yaml").write_text(f"containers: [{{image: '{image}'}}]\n")
        words = (scene.folder / "pod.yaml", "--map-file", scene.folder / "map.json", "-i")
        scene.note("rewrite", "rewrite", *words, code=code)


def _artifacts(scene: Scene, registry: EmulatedRegistry) -> None:
    folder, name = scene.folder, f"{registry.host}/{REPOSITORY}:1"
    (folder / "data").mkdir()
    (folder / "data" / "x").write_text("x")
    (folder / "a.txt").write_text("hello")
    more = ("--artifact-type", "a/b", "--annotation", "k=v")
    scene.note("artifact push", "artifact", "push", name, "a.txt:text/plain", "data/", *more)
    scene.note("artifact attach", "artifact", "attach", name, "a.txt", *more)
    scene.note("artifact attach", "artifact", "attach", name, "data")
    scene.note("artifact pull", "artifact", "pull", name, "-o", folder / "pulled")
    attached = scene.documents["artifact attach"][0]
    assert isinstance(attached, dict)
    scene.run("artifact", "attach", attached["pinned"], "a.txt", *more)
    scene.note("artifact ls", "artifact", "ls", name)


def _serving(scene: Scene) -> None:
    folder = scene.folder / "served"
    with started(folder, "--writable", "--addr", "127.0.0.1:0", "--json") as process:
        assert process.stdout is not None
        document = json.loads(process.stdout.readline())
    scene.documents["registry serve"] = [document]


def _login(scene: Scene) -> None:
    home = Home(scene.folder / "home")
    access = Access(scheme="basic", users={"ann": "pw"})
    how: dict[str, Any] = {"variables": {**home.variables, "PATH": os.environ["PATH"]}}
    with EmulatedRegistry(Quirks(access=access)) as server:
        words = ("login", server.host, "-u", "ann", "--password-stdin")
        scene.note("login", *words, stdin=b"pw", **how)
        scene.note("logout", "logout", server.host, **how)


def _machine(scene: Scene) -> None:
    scene.note("version", "version")
    scene.note("zipapp", "zipapp", "-o", "ocitool.pyz")
    home = Home(scene.folder / "other home")
    home.docker({**auths(**{"one.example": "ann"}), "credHelpers": {"two.example": "absent"}})
    home.write(".config/containers/auth.json", "not JSON")
    folder = home.folder / ".config" / "containers" / "certs.d" / "one.example"
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_text("")
    proxies = {"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": "two.example"}
    fake = FakeEngine(scene.folder)
    engine = {"DOCKER_HOST": f"unix://{fake.socket}", "CONTAINER_HOST": "ssh://elsewhere"}
    how: dict[str, Any] = {"variables": {**home.variables, **proxies, **engine}}
    with fake.running():
        scene.note("info", "info", "one.example", "two.example", **how)
    scene.note("info", "info", "--store", scene.folder / "none")
    (scene.folder / "file").write_text("")
    scene.note("info", "info", "--store", scene.folder / "file")


def _inside(scene: Scene) -> None:
    """Look into an image with waste and odd paths, and into one that lacks a layer."""
    lower = [file("a", 10), file("d/\udcff", 20), file("copy", 20, "same"), hard_link("h", "a")]
    upper = [file("a", 30), gone("d"), gone("nothing"), file("\udcff", 20, "same")]
    steps = ["COPY a /", "RUN x"]
    image = small_image(lower, upper, [gone("\udcfe")], steps=steps)
    whole = write_layout(scene.folder / "whole", {"1": image})
    lacking = write_layout(scene.folder / "lacking", {"1": image}, without=[image.layers[1].digest])
    compared = ("--max-growth", "1%", "--baseline")
    scene.note("size", "size", f"oci:{whole}", "--max-size", "1k", "--max-waste", "1B", code=3)
    scene.note("size", "size", f"oci:{whole}", "--duplicates")
    scene.note("size", "size", f"oci:{whole}", *compared, f"oci:{lacking}", code=4)
    scene.note("size", "size", f"oci:{lacking}", code=4)


def _garbage(scene: Scene) -> None:
    scene.run("untag", "full:1", "again:1", "some:1")
    image = build_image([{"z": b"1"}], config=FULL_CONFIG)
    digest = str(image.descriptor.digest)
    (scene.folder / "z.tar").write_bytes(oci_archive({"z:1": image}))
    scene.run("load", scene.folder / "z.tar")
    scene.run("untag", "z:1")
    (scene.command.store / "blobs" / "sha256" / ("0" * 64)).write_bytes(b"x")
    (scene.command.store / "blobs" / "unknown").write_bytes(b"x")
    scene.note("verify", "verify", code=3)
    plan = scene.note("gc", "gc", "--dry-run")
    assert isinstance(plan, dict)
    kept = plan["kept"][0]["digest"]
    scene.note("gc --explain", "gc", "--explain", digest)
    scene.note("gc --explain", "gc", "--explain", kept)
    scene.note("gc", "gc", "-f")
    scene.note("gc", "gc", "--dry-run", *NOBODY)
    scene.note("gc --undo", "gc", "--undo")
    scene.note("gc", "gc", "-a", "-f", *NOBODY)
    scene.note("gc --undo", "gc", "--undo")
    scene.run("gc", "-f")
    scene.note("gc --purge", "gc", "--purge", "-f")
    empty = Scene(scene.folder / "empty")
    empty.folder.mkdir()
    empty.note("gc", "gc", "--dry-run")
    scene.documents["gc"] += empty.documents["gc"]


def _engine(scene: Scene) -> None:
    fake = FakeEngine(scene.folder)
    how: dict[str, Any] = {"variables": {"DOCKER_HOST": f"unix://{fake.socket}"}}
    with fake.running():
        scene.note("gc --engine", "gc", "--engine", "docker", "--dry-run", **how)
        explain = ("gc", "--engine", "docker", "--explain")
        scene.note("gc --engine --explain", *explain, DANGLING, **how)
        fake.in_use.add(DANGLING)
        scene.note("gc --engine", "gc", "--engine", "docker", "-a", "-f", code=6, **how)
