"""The matrix: what every peer writes we read, and what we write every peer reads.

The tables stand at the end of the run. A limit of a peer is asserted as such and shown in its cell.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.peers import (
    Containerd,
    Docker,
    Ocitool,
    Podman,
    attempt,
    fresh_files,
    run,
    skopeo,
    unpacked,
)
from tests.support.images import (
    BuiltImage,
    BuiltIndex,
    Compression,
    build_image,
    build_index,
    oci_archive,
    tar_of,
)

pytestmark = pytest.mark.interop

_WRITTEN = "a peer writes, `ocitool load` reads"
_SAVED = "`ocitool save` writes, a peer reads"
_REF_NAME = "org.opencontainers.image.ref.name"
_KEPT = "names, manifest digest, image ID kept"
_MADE = "names, image ID kept; manifest made"
_NAMELESS = "manifest digest, image ID kept; the form has no names"
_TAG_ONLY = "manifest digest, image ID kept; a bare tag is no name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What our store must hold: names, an image ID, and a manifest digest unless it is made."""

    names: frozenset[str]
    image_id: str
    digest: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """The peers that write, and a folder for what they write."""

    docker: Docker
    podman: Podman
    containerd: Containerd
    folder: Path

    def context(self) -> Path:
        """Return a folder with three fresh files to build from."""
        return fresh_files(self.folder / "context", "first", "second", "third")

    def layout(self) -> tuple[Path, BuiltImage]:
        """Return a fresh image in an OCI layout that is read by `oci:PATH:1`."""
        image = _fresh()
        archive = self.folder / "made.tar"
        archive.write_bytes(oci_archive({"1": image}))
        return unpacked(archive, self.folder / "made"), image


Writing = Callable[[Workshop, Path], list[Wanted]]


def _fresh(
    platform: str = "linux/amd64", *, compression: Compression = "gzip", docker: bool = False
) -> BuiltImage:
    layers = [{"etc/first": os.urandom(5000)}, {"second": os.urandom(5000)}]
    return build_image(layers, platform=platform, compression=compression, docker=docker)


# What peers write.


def _docker_save(shop: Workshop, to: Path) -> list[Wanted]:
    names = ["interop/save:1", "registry.example:5000/team/save:prod"]
    image_id = shop.docker.build(shop.context(), "FROM scratch\nCOPY first /\n", *names)
    to.write_bytes(shop.docker.run("save", *names))
    return [_made(image_id, "docker.io/interop/save:1", names[1])]


def _docker_save_two(shop: Workshop, to: Path) -> list[Wanted]:
    base = "FROM scratch\nCOPY first /\n"
    one = shop.docker.build(shop.context(), base, "interop/save-a:1")
    two = shop.docker.build(shop.context(), base + "COPY second /\n", "save-b")
    to.write_bytes(shop.docker.run("save", "interop/save-a:1", "save-b"))
    return [
        _made(one, "docker.io/interop/save-a:1"),
        _made(two, "docker.io/library/save-b:latest"),
    ]


def _docker_save_id(shop: Workshop, to: Path) -> list[Wanted]:
    image_id = shop.docker.build(shop.context(), "FROM scratch\nCOPY first /\n", "interop/id:1")
    to.write_bytes(shop.docker.run("save", image_id))
    return [_made(image_id)]


def _podman_save(form: str) -> Writing:
    def write(shop: Workshop, to: Path) -> list[Wanted]:
        name = f"localhost/podman-{form}:1"
        dockerfile = "FROM scratch\nCOPY first /\nCOPY second /etc/\nENV A=b\n"
        image_id = shop.podman.build(shop.context(), dockerfile, name, form="docker")
        shop.podman.run("save", "--quiet", "--format", form, "--output", str(to), name)
        if form == "docker-archive":
            return [_made(image_id, name)]
        if form == "docker-dir":
            manifest = (to / "manifest.json").read_bytes()
            return [_by_manifest(manifest)]
        return _by_index(to, names={name: [name]})

    return write


def _podman_save_multiple(shop: Workshop, to: Path) -> list[Wanted]:
    base = "FROM scratch\nCOPY first /\n"
    one = shop.podman.build(shop.context(), base, "localhost/multi-a:1")
    two = shop.podman.build(shop.context(), base + "COPY second /\n", "localhost/multi-b:2")
    shop.podman.run("tag", "localhost/multi-a:1", "registry.example:5000/team/multi:prod")
    names = ["localhost/multi-a:1", "registry.example:5000/team/multi:prod", "localhost/multi-b:2"]
    shop.podman.run("save", "--quiet", "-m", "--output", str(to), *names)
    return [_made(one, *names[:2]), _made(two, names[2])]


def _skopeo_docker_archive(shop: Workshop, to: Path) -> list[Wanted]:
    source, image = shop.layout()
    name = "registry.example:5000/team/skopeo:1"
    skopeo("copy", f"oci:{source}:1", f"docker-archive:{to}:{name}")
    return [_made(str(image.config.digest), name)]


def _skopeo_oci_archive(shop: Workshop, to: Path) -> list[Wanted]:
    source, image = shop.layout()
    name = "registry.example:5000/team/skopeo:1"
    skopeo("copy", f"oci:{source}:1", f"oci-archive:{to}:{name}")
    return [_kept(image, name)]


def _skopeo_oci_archive_zstd(shop: Workshop, to: Path) -> list[Wanted]:
    source, _ = shop.layout()
    name = "registry.example:5000/team/skopeo:zstd"
    options = ["--dest-compress", "--dest-compress-format", "zstd"]
    skopeo("copy", *options, f"oci:{source}:1", f"dir:{shop.folder}/zstd")
    skopeo("copy", f"dir:{shop.folder}/zstd", f"oci-archive:{to}:{name}")
    return _by_index(to, names={name: [name]})


def _skopeo_oci(shop: Workshop, to: Path) -> list[Wanted]:
    source, image = shop.layout()
    skopeo("copy", f"oci:{source}:1", f"oci:{to}:1.0")
    return [_kept(image)]


def _skopeo_dir(shop: Workshop, to: Path) -> list[Wanted]:
    source, image = shop.layout()
    skopeo("copy", f"oci:{source}:1", f"dir:{to}")
    return [_kept(image)]


def _buildah_push(transport: str) -> Writing:
    def write(shop: Workshop, to: Path) -> list[Wanted]:
        name = f"localhost/buildah-{transport}:1"
        dockerfile = "FROM scratch\nCOPY first /\nCOPY second /etc/\n"
        image_id = shop.podman.build(shop.context(), dockerfile, name)
        shop.podman.buildah("push", "--quiet", name, f"{transport}:{to}:{name}")
        if transport == "docker-archive":
            return [_made(image_id, name)]
        return _by_index(to, names={name: [name]})

    return write


def _umoci(shop: Workshop, to: Path) -> list[Wanted]:
    context = shop.context()
    run(["umoci", "init", "--layout", str(to)])
    run(["umoci", "new", "--image", f"{to}:1.0"])
    run(["umoci", "insert", "--image", f"{to}:1.0", str(context / "first"), "/first"])
    run(["umoci", "insert", "--image", f"{to}:1.0", str(context / "second"), "/etc/second"])
    run(["umoci", "config", "--image", f"{to}:1.0", "--config.env", "A=b"])
    return _by_index(to, names={"1.0": []})


def _ctr_export(shop: Workshop, to: Path) -> list[Wanted]:
    image = _fresh()
    name = "registry.example:5000/team/ctr:1"
    archive = shop.folder / "made.tar"
    archive.write_bytes(oci_archive({name: image}))
    shop.containerd.load("export", archive)
    shop.containerd.run("export", "images", "export", str(to), name)
    return [_kept(image, name)]


def _made(image_id: str, *names: str) -> Wanted:
    return Wanted(names=frozenset(names), image_id=image_id, digest=None)


def _kept(image: BuiltImage, *names: str) -> Wanted:
    return Wanted(
        names=frozenset(names),
        image_id=str(image.config.digest),
        digest=str(image.descriptor.digest),
    )


def _by_manifest(manifest: bytes, *names: str) -> Wanted:
    image_id = json.loads(manifest)["config"]["digest"]
    return Wanted(names=frozenset(names), image_id=image_id, digest=_sha256(manifest))


def _by_index(place: Path, *, names: Mapping[str, list[str]]) -> list[Wanted]:
    """Read an OCI layout or its tar; `names` says which names of ours a ref.name stands for."""
    wanted = []
    for entry in json.loads(_content(place, "index.json"))["manifests"]:
        manifest = _content(place, f"blobs/{entry['digest'].replace(':', '/')}")
        called = names[entry["annotations"][_REF_NAME]]
        wanted.append(_by_manifest(manifest, *called))
        assert wanted[-1].digest == entry["digest"]
    return wanted


def _content(place: Path, path: str) -> bytes:
    if place.is_dir():
        return (place / path).read_bytes()
    with tarfile.open(place) as tar:
        file = tar.extractfile(path)
        assert file is not None
        return file.read()


def _sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


_WRITERS: list[tuple[str, Writing, str]] = [
    ("docker save, one image with two names", _docker_save, _MADE),
    ("docker save, two images", _docker_save_two, _MADE),
    ("docker save by ID", _docker_save_id, "image ID kept; manifest made; no name in the archive"),
    ("podman save docker-archive", _podman_save("docker-archive"), _MADE),
    ("podman save oci-archive", _podman_save("oci-archive"), _KEPT),
    ("podman save docker-dir", _podman_save("docker-dir"), _NAMELESS),
    ("podman save oci-dir", _podman_save("oci-dir"), _KEPT),
    ("podman save -m, two images with three names", _podman_save_multiple, _MADE),
    ("skopeo copy docker-archive:", _skopeo_docker_archive, _MADE),
    ("skopeo copy oci-archive:", _skopeo_oci_archive, _KEPT),
    ("skopeo copy oci-archive:, zstd", _skopeo_oci_archive_zstd, _KEPT),
    ("skopeo copy oci:", _skopeo_oci, _TAG_ONLY),
    ("skopeo copy dir:", _skopeo_dir, _NAMELESS),
    ("buildah push docker-archive:", _buildah_push("docker-archive"), _MADE),
    ("buildah push oci-archive:", _buildah_push("oci-archive"), _KEPT),
    ("buildah push oci:", _buildah_push("oci"), _KEPT),
    ("umoci insert", _umoci, _TAG_ONLY),
    ("ctr images export", _ctr_export, _KEPT),
]


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(write, id=row, marks=pytest.mark.cell(_WRITTEN, row, "result", text))
        for row, write, text in _WRITERS
    ],
)
def test_what_a_peer_writes_is_loaded_with_names_and_digests(
    write: Writing, shop: Workshop, ocitool: Ocitool, tmp_path: Path
) -> None:
    written = tmp_path / "written"
    wanted = write(shop, written)
    ocitool.run("load", str(written))
    images = {image.image_id: image for image in ocitool.images()}
    assert {w.image_id: w.names for w in wanted} == {i: im.names for i, im in images.items()}
    kept = {w.image_id: w.digest for w in wanted if w.digest is not None}
    assert kept == {image_id: images[image_id].digest for image_id in kept}


@pytest.fixture
def shop(
    docker: Docker,
    podman: Podman,
    containerd: Containerd,
    require: Callable[..., None],
    tmp_path: Path,
) -> Workshop:
    require("skopeo", "umoci")
    folder = tmp_path / "shop"
    folder.mkdir()
    return Workshop(docker=docker, podman=podman, containerd=containerd, folder=folder)


# What we write.


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """An archive of ours and what is in it: what each name stands for."""

    archive: Path
    images: Mapping[str, BuiltImage | BuiltIndex]
    machine: str
    folder: Path

    def image(self, name: str) -> BuiltImage:
        """Return the image that a reader on this machine gets under a name."""
        built = self.images[name]
        if isinstance(built, BuiltImage):
            return built
        return next(i for i in built.images if str(i.descriptor.platform) == self.machine)

    @property
    def ids(self) -> dict[str, str]:
        """The image ID behind each name."""
        return {name: str(self.image(name).config.digest) for name in self.images}

    @property
    def digests(self) -> dict[str, str]:
        """The digest of the manifest or index behind each name."""
        return {name: str(built.descriptor.digest) for name, built in self.images.items()}

    def ref_names(self) -> dict[str, str]:
        """Return what skopeo and umoci look each name up by: its tag, for each tag is unique."""
        return {name: name.rsplit(":", 1)[1] for name in self.images}


_ONE = "docker.io/interop/saved-one:1"
_TWO = "registry.example:5000/team/saved-two:prod"
_THREE = "docker.io/library/saved-three:latest"


def _one_image(machine: str) -> Mapping[str, BuiltImage | BuiltIndex]:
    return {_ONE: _fresh(machine)}


def _two_images(machine: str) -> Mapping[str, BuiltImage | BuiltIndex]:
    first = _fresh(machine)
    return {_ONE: first, _TWO: first, _THREE: _fresh(machine)}


def _partial_index(machine: str) -> Mapping[str, BuiltImage | BuiltIndex]:
    return {_ONE: build_index([_fresh("linux/s390x"), _fresh(machine)])}


def _zstd(machine: str) -> Mapping[str, BuiltImage | BuiltIndex]:
    return {_ONE: _fresh(machine, compression="zstd")}


def _docker_types(machine: str) -> Mapping[str, BuiltImage | BuiltIndex]:
    return {_ONE: _fresh(machine, docker=True)}


def _repeating(machine: str) -> Mapping[str, BuiltImage | BuiltIndex]:
    first, second = tar_of({"etc/first": os.urandom(500)}), tar_of({"second": os.urandom(500)})
    layers = [first, second, first, tar_of({}), tar_of({})]
    return {_ONE: build_image(layers, platform=machine)}


_SHAPES = {
    "one image": _one_image,
    "two images, three names": _two_images,
    "index, a platform missing": _partial_index,
    "zstd layers": _zstd,
    "docker media types": _docker_types,
    "layers A, B, A, empty, empty": _repeating,
}


@pytest.fixture(params=["save", "bundle create"])
def make_saved(
    ocitool: Ocitool, machine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Callable[[str], Saved]:
    """Return a function that saves fresh images of a shape, also as a bundle (A1)."""

    def make(shape: str) -> Saved:
        images = _SHAPES[shape](machine)
        missing = {
            child.descriptor.digest
            for built in images.values()
            if isinstance(built, BuiltIndex)
            for child in built.images
            if str(child.descriptor.platform) != machine
        }
        ocitool.run("load", data=oci_archive(images, without=missing))
        archive = tmp_path / "saved.tar"
        ocitool.run(*request.param.split(), *images, "-o", str(archive))
        return Saved(archive=archive, images=images, machine=machine, folder=tmp_path)

    return make


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What a peer cannot read: how it is told in the table, and a part of the peer's message."""

    text: str
    message: str

    def assert_refused(self, command: Sequence[str]) -> None:
        """Fail unless the command ends with the message that shows this limit."""
        done = attempt(command)
        assert done.returncode != 0
        assert self.message in done.stderr.decode()


def _cells(reader: str, limits: Mapping[str, Limit] | None = None) -> pytest.MarkDecorator:
    """Parametrise a test over the shapes; `limits` says what the reader cannot read, and why."""
    known = limits or {}
    params = []
    for shape in _SHAPES:
        limit = known.get(shape)
        mark = pytest.mark.cell(_SAVED, reader, shape, limit.text if limit else "yes")
        params.append(pytest.param(shape, limit, id=shape, marks=mark))
    return pytest.mark.parametrize(("shape", "limit"), params)


_SKOPEO_TYPES = {
    "docker media types": Limit(
        text="refused: skopeo 1.9 takes OCI media types in a layout",
        message="no descriptor found for reference",
    )
}


@_cells(
    "docker load 20.10",
    {
        "zstd layers": Limit(
            text="refused: docker reads zstd from version 23 on",
            message="Error processing tar file",
        )
    },
)
def test_docker_load_reads_our_archive(
    shape: str, limit: Limit | None, make_saved: Callable[[str], Saved], docker: Docker
) -> None:
    saved = make_saved(shape)
    if limit is not None:
        limit.assert_refused(docker.command("load", "--input", str(saved.archive)))
        return
    before = docker.ids()
    docker.run("load", "--input", str(saved.archive))
    loaded = {name: digest for name, digest in docker.ids().items() if before.get(name) != digest}
    assert loaded == {
        name.removeprefix("docker.io/").removeprefix("library/"): digest
        for name, digest in saved.ids.items()
    }


@_cells("podman load 4.3")
def test_podman_load_reads_our_archive(
    shape: str, limit: Limit | None, make_saved: Callable[[str], Saved], podman: Podman
) -> None:
    saved = make_saved(shape)
    before = podman.ids()
    podman.run("load", "--quiet", "--input", str(saved.archive))
    loaded = {name: digest for name, digest in podman.ids().items() if before.get(name) != digest}
    assert loaded == saved.ids


@_cells("ctr images import 1.6")
def test_ctr_import_reads_our_archive(
    shape: str,
    limit: Limit | None,
    make_saved: Callable[[str], Saved],
    containerd: Containerd,
    tmp_path: Path,
) -> None:
    saved = make_saved(shape)
    namespace = f"import-{list(_SHAPES).index(shape)}"
    containerd.load(namespace, saved.archive)
    assert containerd.digests(namespace) == saved.digests


@_cells("skopeo inspect docker-archive:")
def test_skopeo_inspects_our_archive_as_a_docker_archive(
    shape: str,
    limit: Limit | None,
    make_saved: Callable[[str], Saved],
    require: Callable[..., None],
) -> None:
    require("skopeo")
    saved = make_saved(shape)
    for name, image_id in saved.ids.items():
        place = f"docker-archive:{saved.archive}:{name}"
        assert _sha256(skopeo("inspect", "--config", "--raw", place)) == image_id
        assert json.loads(skopeo("inspect", place))["Os"] == "linux"


@_cells("skopeo inspect oci-archive:", _SKOPEO_TYPES)
def test_skopeo_inspects_our_archive_as_an_oci_archive(
    shape: str,
    limit: Limit | None,
    make_saved: Callable[[str], Saved],
    require: Callable[..., None],
) -> None:
    require("skopeo")
    saved = make_saved(shape)
    for name, ref_name in saved.ref_names().items():
        place = f"oci-archive:{saved.archive}:{ref_name}"
        if limit is not None:
            limit.assert_refused(["skopeo", "inspect", "--raw", place])
            continue
        assert _sha256(skopeo("inspect", "--raw", place)) == saved.digests[name]
        assert json.loads(skopeo("inspect", place))["Os"] == "linux"


@_cells("skopeo copy docker-archive:")
def test_skopeo_copies_our_archive_as_a_docker_archive(
    shape: str,
    limit: Limit | None,
    make_saved: Callable[[str], Saved],
    require: Callable[..., None],
) -> None:
    require("skopeo")
    saved = make_saved(shape)
    for number, (name, image_id) in enumerate(saved.ids.items()):
        target = saved.folder / f"copied-{number}"
        skopeo("copy", f"docker-archive:{saved.archive}:{name}", f"dir:{target}")
        manifest = json.loads((target / "manifest.json").read_bytes())
        assert manifest["config"]["digest"] == image_id
        assert len(manifest["layers"]) == len(saved.image(name).layers)


@_cells("skopeo copy oci-archive:", _SKOPEO_TYPES)
def test_skopeo_copies_our_archive_as_an_oci_archive(
    shape: str,
    limit: Limit | None,
    make_saved: Callable[[str], Saved],
    require: Callable[..., None],
) -> None:
    require("skopeo")
    saved = make_saved(shape)
    for number, (name, ref_name) in enumerate(saved.ref_names().items()):
        places = [f"oci-archive:{saved.archive}:{ref_name}", f"dir:{saved.folder}/copied-{number}"]
        if limit is not None:
            limit.assert_refused(["skopeo", "--insecure-policy", "copy", *places])
            continue
        skopeo("copy", *places)
        # Of an index skopeo takes the image for this machine.
        digest = str(saved.image(name).descriptor.digest)
        manifest = (saved.folder / f"copied-{number}" / "manifest.json").read_bytes()
        assert _sha256(manifest) == digest


@_cells(
    "umoci unpack",
    {
        "index, a platform missing": Limit(
            text="refused: umoci takes no index of several platforms", message="tag is ambiguous"
        ),
        "zstd layers": Limit(
            text="refused: umoci 0.4.7 has no zstd", message="blob is not correct mediatype"
        ),
        "docker media types": Limit(
            text="refused: umoci takes OCI media types",
            message="descriptor does not point to ispec.MediaTypeImageManifest",
        ),
    },
)
def test_umoci_unpacks_our_archive(
    shape: str,
    limit: Limit | None,
    make_saved: Callable[[str], Saved],
    require: Callable[..., None],
) -> None:
    require("umoci")
    saved = make_saved(shape)
    layout = unpacked(saved.archive, saved.folder / "layout")
    for number, (name, ref_name) in enumerate(saved.ref_names().items()):
        bundle = saved.folder / f"bundle-{number}"
        command = ["umoci", "unpack", "--image", f"{layout}:{ref_name}", str(bundle)]
        if limit is not None:
            limit.assert_refused(command)
            continue
        run(command)
        files = dict(_files(saved.image(name)))
        assert {path: (bundle / "rootfs" / path).read_bytes() for path in files} == files


def _files(image: BuiltImage) -> Iterator[tuple[str, bytes]]:
    for layer in image.tars:
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                yield member.name, file.read()
