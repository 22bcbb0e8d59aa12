"""The story of a month: 20 images with what is attached cross the gap as a file, a delta, volumes.

The registries are Debian's docker-registry. Nothing but the files crosses.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ocitool.oci import Reference
from tests.interop.peers import Containerd, Docker, Ocitool, Podman, run, skopeo
from tests.support.docker_registry import DockerRegistry, running_registry
from tests.support.images import Built, BuiltImage, build_artifact, build_image, write_layout

pytestmark = pytest.mark.interop

IMAGES = 20
NOISE = random.SystemRandom()


@dataclass
class Month:
    """The images of one state, by their names without a host, and what is attached to each."""

    images: dict[str, BuiltImage]
    attached: list[Built]


@dataclass
class Site:
    """The connected side with its registry, the file that crossed, and both states."""

    registry: DockerRegistry
    first: Month
    second: Month
    full: Path
    delta: Path
    volumes: list[Path]
    folder: Path


def month(base: bytes, code: dict[int, bytes], state: int, machine: str) -> Month:
    """Build the images of a month, each with an SBOM, and a signature on that."""
    images: dict[str, BuiltImage] = {}
    attached: list[Built] = []
    for number, data in code.items():
        image = build_image(
            [{"base": base}, {"code": data}],
            platform=machine,
            config={"config": {"Cmd": ["/code"], "Labels": {"n": str(number)}}},
        )
        images[f"team{number % 4}/app{number}:{state}"] = image
        sbom = build_artifact(image.descriptor, b"SBOM of %d" % number)
        attached += [sbom, build_artifact(sbom.descriptor, b"signature of %d" % number)]
    return Month(images, attached)


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, require: Callable[..., None], machine: str
) -> Iterator[Site]:
    """Fill the registry of the connected side, and make the files that cross."""
    require("docker-registry", "skopeo")
    folder = tmp_path_factory.mktemp("connected")
    base = NOISE.randbytes(2_000_000)
    code = {number: NOISE.randbytes(100_000) for number in range(IMAGES)}
    first = month(base, code, 1, machine)
    # Next month a few of them have new code.
    second = month(base, {n: NOISE.randbytes(100_000) for n in range(0, IMAGES, 5)}, 2, machine)
    with running_registry(folder / "registry") as registry:
        ocitool = Ocitool(folder / "store")
        for state in (first, second):
            images = {f"{registry.host}/{name}": image for name, image in state.images.items()}
            where = folder / f"layout{len(state.images)}"
            layout = write_layout(where, images, state.attached)
            ocitool.run("copy", f"oci:{layout}", f"docker://{registry.host}/", "--referrers")
        full, delta, disk = (folder / name for name in ("full.tar", "n.delta.tar", "disk.tar"))
        one, two = (
            [f"docker://{registry.host}/{name}" for name in state.images]
            for state in (first, second)
        )
        ocitool.run("bundle", "create", *one, "-o", str(full), "--strict")
        ocitool.run("bundle", "create", *two, "--base", str(full), "-o", str(delta))
        size = str(full.stat().st_size // 3 + 200_000)
        ocitool.run("bundle", "create", *one, "--volume-size", size, "-o", str(disk))
        volumes = sorted(folder.glob("disk.v*.tar"))
        assert len(volumes) == 3
        yield Site(registry, first, second, full, delta, volumes, folder)


def there(site: Site, *months: Month) -> dict[str, tuple[str, str]]:
    """Return the path and digest of each image of some months by its name as it crossed."""
    return {
        f"{site.registry.host}/{name}": (name, str(image.descriptor.digest))
        for one in months
        for name, image in one.images.items()
    }


class TestRegistry:
    @pytest.fixture
    def remote(self, tmp_path: Path) -> Iterator[DockerRegistry]:
        with running_registry(tmp_path / "remote") as running:
            yield running

    def test_the_file_then_the_delta_and_the_files_of_the_deployment(
        self, site: Site, remote: DockerRegistry, ocitool: Ocitool, tmp_path: Path
    ) -> None:
        """A5, A9, A10, A20, A22: digests and referrers are equal at the end."""
        to = ("--to", f"{remote.host}/mirror")
        assert ocitool.attempt("bundle", "load", str(site.delta), *to).returncode == 3
        map_file = tmp_path / "map.json"
        ocitool.run("bundle", "verify", str(site.full))
        ocitool.run("bundle", "load", str(site.full), *to, "--map-out", str(map_file))
        ocitool.run("bundle", "check", str(site.delta), *to)
        ocitool.run("bundle", "load", str(site.delta), *to)
        for path, digest in there(site, site.first, site.second).values():
            name = f"docker://{remote.host}/mirror/{path}"
            options = ["--tls-verify=false", "--format", "{{.Digest}}"]
            assert skopeo("inspect", *options, name).decode().strip() == digest
            tree = json.loads(ocitool.run("artifact", "ls", name.partition("//")[2], "--json"))
            (sbom,) = tree["attached"]
            assert [one["artifact_type"] for one in sbom["attached"]] == [sbom["artifact_type"]]
        self._rewritten(site, remote, ocitool, map_file, tmp_path)

    def _rewritten(
        self,
        site: Site,
        remote: DockerRegistry,
        ocitool: Ocitool,
        map_file: Path,
        folder: Path,
    ) -> None:
        """Rewrite a deployment of all images; every image in it can be inspected."""
        deployment = folder / "pods.yaml"
        pods = [
            f"kind: Pod\nspec:\n  containers:\n  - image: {name}  # of this month\n"
            for name in there(site, site.first)
        ]
        deployment.write_text("---\n".join(pods))
        ocitool.run("rewrite", str(deployment), "--map-file", str(map_file), "-i")
        lines = [line for line in deployment.read_text().splitlines() if "image:" in line]
        assert len(lines) == IMAGES
        for line in lines:
            text, _, comment = line.partition("image: ")[2].partition("  #")
            assert comment == " of this month"
            reference = Reference.parse(text)
            assert reference.domain == remote.host
            where = f"{reference.repository}:{reference.tag}"
            skopeo("inspect", "--tls-verify=false", f"docker://{where}")

    def test_volumes_in_any_order_with_one_lost_and_made_again(
        self, site: Site, remote: DockerRegistry, ocitool: Ocitool, tmp_path: Path
    ) -> None:
        """A11, A13, A14."""
        to = ("--to", f"{remote.host}/mirror")
        left = [str(path) for path in (site.volumes[2], site.volumes[0])]
        need = tmp_path / "need.json"
        done = ocitool.attempt("bundle", "verify", *left, "--need-out", str(need))
        assert done.returncode == 3
        assert ocitool.attempt("bundle", "load", *left, *to).returncode in (3, 4)
        gap = tmp_path / "gap.delta.tar"
        names = [f"docker://{name}" for name in there(site, site.first)]
        ocitool.run("bundle", "create", *names, "--need", str(need), "-o", str(gap))
        assert gap.stat().st_size < site.full.stat().st_size * 0.9
        ocitool.run("bundle", "load", str(gap), *left, *to)
        for path, digest in there(site, site.first).values():
            options = ["--tls-verify=false", "--format", "{{.Digest}}"]
            name = f"docker://{remote.host}/mirror/{path}"
            assert skopeo("inspect", *options, name).decode().strip() == digest


class TestStoreAndEngines:
    def test_the_store_has_every_digest(self, site: Site, ocitool: Ocitool) -> None:
        ocitool.run("bundle", "load", str(site.full), str(site.delta))
        rows = {name: image for image in ocitool.images() for name in image.names}
        for name, (_, digest) in there(site, site.first, site.second).items():
            assert rows[name].digest == digest
        ocitool.run("verify")

    def test_docker(self, site: Site, ocitool: Ocitool, docker: Docker) -> None:
        """The delta with the help of the store, which has the base."""
        self._engine(site, ocitool, ["docker"], {"DOCKER_HOST": docker.host})
        ids = docker.ids()
        for name, image in self._images(site):
            assert ids[name] == str(image.config.digest)

    def test_podman(self, site: Site, ocitool: Ocitool, podman: Podman) -> None:
        with podman.service() as host:
            self._engine(site, ocitool, ["podman"], {"CONTAINER_HOST": host})
        ids = podman.ids()
        for name, image in self._images(site):
            assert ids[name] == str(image.config.digest)

    def test_containerd(self, site: Site, ocitool: Ocitool, containerd: Containerd) -> None:
        variables = {"CONTAINERD_ADDRESS": containerd.socket}
        self._engine(site, ocitool, ["containerd"], variables)
        digests = containerd.digests("default")
        for name, image in self._images(site):
            assert digests[name] == str(image.descriptor.digest)

    def test_without_ocitool_a_full_bundle_is_an_archive(
        self, site: Site, docker: Docker, podman: Podman
    ) -> None:
        """A1."""
        docker.run("load", "-q", "-i", str(site.full))
        podman.run("load", "-q", "-i", str(site.full))
        for name, image in self._images(site, site.first):
            assert docker.ids()[name] == str(image.config.digest)
            assert podman.ids()[name] == str(image.config.digest)
            break

    def _images(self, site: Site, *months: Month) -> Iterator[tuple[str, BuiltImage]]:
        for one in months or (site.first, site.second):
            for name, image in one.images.items():
                yield f"{site.registry.host}/{name}", image

    def _engine(
        self, site: Site, ocitool: Ocitool, to: list[str], variables: dict[str, str]
    ) -> None:
        """Load the file and the delta into an engine; the store has the base."""
        engine = Ocitool(ocitool.store, variables)
        delta = ("bundle", "load", str(site.delta), "--to", *to)
        assert engine.attempt(*delta).returncode == 3
        engine.run("bundle", "load", str(site.full))
        engine.run("bundle", "load", str(site.full), "--to", *to)
        engine.run(*delta)


def test_oras_and_skopeo_see_what_is_attached(
    site: Site, ocitool: Ocitool, require: Callable[..., None], tmp_path: Path
) -> None:
    """A4."""
    require("oras")
    with running_registry(tmp_path / "remote") as remote:
        ocitool.run("bundle", "load", str(site.full), "--to", f"{remote.host}/m")
        path, _ = next(iter(there(site, site.first).values()))
        words = ["oras", "discover", "--plain-http", "--format", "json"]
        found = json.loads(run([*words, f"{remote.host}/m/{path}"]))
        digests = {one["digest"] for one in found.get("referrers", found.get("manifests", []))}
        assert digests == {str(site.first.attached[0].descriptor.digest)}
