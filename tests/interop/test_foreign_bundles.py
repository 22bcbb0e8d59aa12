"""A28: what skopeo sync, oras backup and crane make of a registry is read with its digests."""

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocitool.places.layout import Layout
from tests.interop.peers import Ocitool, run
from tests.support.docker_registry import running_registry
from tests.support.images import Built, build_artifact, build_image, build_index, oci_archive

pytestmark = pytest.mark.interop

Require = Callable[..., None]
_READ = "bundles made by, read by ocitool"
IMAGE = build_image([{"a": b"1"}, {"b": b"2"}])
INDEX = build_index([IMAGE, build_image([{"c": b"3"}], platform="linux/arm64")])
SBOM = build_artifact(IMAGE.descriptor, b"an SBOM", artifact_type="application/spdx+json")
SIGNATURE = build_artifact(SBOM.descriptor)
DIGESTS = {"1": str(IMAGE.descriptor.digest), "2": str(INDEX.descriptor.digest)}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry without the referrers API, with two images and what is attached to one."""
    folder = tmp_path_factory.mktemp("site")
    with running_registry(folder / "registry") as registry:
        repository = f"{registry.host}/t/a"
        archive = folder / "first.tar"
        images: dict[str, Built] = {f"{repository}:1": IMAGE, f"{repository}:2": INDEX}
        archive.write_bytes(oci_archive(images, [SBOM, SIGNATURE]))
        ocitool = Ocitool(folder / "store")
        ocitool.run("load", str(archive))
        for name in images:
            ocitool.run("push", "--referrers", name)
        yield registry.host


def loaded(ocitool: Ocitool, *arguments: str) -> dict[str, str]:
    """Load a bundle, verify it and the store, and return the names with their digests."""
    ocitool.run("verify", arguments[-1])
    ocitool.run("load", *arguments)
    return {name: image.digest for image in ocitool.images() for name in image.names}


def blobs(ocitool: Ocitool) -> set[str]:
    with Layout.existing(str(ocitool.store)) as layout:
        return {str(digest) for digest in layout.blob_digests()}


@pytest.mark.cell(_READ, "skopeo sync --dest dir", "names and digests", "yes")
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "tar"])
def test_a28_skopeo_sync(
    host: str, require: Require, ocitool: Ocitool, tmp_path: Path, packed: bool
) -> None:
    require("skopeo")
    target = tmp_path / "synced"
    options = ["--src", "docker", "--dest", "dir", "--src-tls-verify=false", "--scoped", "--all"]
    run(["skopeo", "sync", *options, f"{host}/t/a", str(target)])
    if packed:
        with tarfile.open(tmp_path / "synced.tar", "w") as tar:
            tar.add(target, arcname=".")
        target = tmp_path / "synced.tar"
    assert loaded(ocitool, str(target)) == {
        f"{host}/t/a:{tag}": digest for tag, digest in DIGESTS.items()
    }
    assert blobs(ocitool) >= {str(digest) for digest in (*SBOM.blobs, *SIGNATURE.blobs)}


@pytest.mark.cell(_READ, "oras backup", "names and digests", "digests; tags alone")
@pytest.mark.parametrize("ending", ["", ".tar"], ids=["folder", "tar"])
def test_a28_oras_backup(
    host: str, require: Require, ocitool: Ocitool, tmp_path: Path, ending: str
) -> None:
    require("oras")
    target = tmp_path / f"backup{ending}"
    options = ["--plain-http", "--no-tty", "--include-referrers"]
    run(["oras", "backup", *options, "--output", str(target), f"{host}/t/a:1"])
    name = f"{host}/t/a:1"
    assert loaded(ocitool, "--tag", name, str(target)) == {name: DIGESTS["1"]}
    assert blobs(ocitool) >= {str(digest) for digest in (*SBOM.blobs, *SIGNATURE.blobs)}


@pytest.mark.cell(_READ, "crane pull --format=oci", "names and digests", "digests")
def test_a28_crane_pull_oci(host: str, require: Require, ocitool: Ocitool, tmp_path: Path) -> None:
    require("crane")
    target = tmp_path / "pulled"
    run(["crane", "pull", "--insecure", "--format=oci", f"{host}/t/a:2", str(target)])
    assert loaded(ocitool, str(target)) == {}
    assert DIGESTS["2"] in {image.digest for image in ocitool.images()}
