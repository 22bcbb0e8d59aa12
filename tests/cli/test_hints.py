"""Every error says what to do next: the ones that people met without a next step."""

import gzip
import json
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.command import FIXTURES, Command
from tests.support.engine import engine
from tests.support.images import (
    blob_path,
    build_image,
    build_index,
    docker_members,
    layout_files,
    oci_archive,
    tar_of,
    write_files,
    write_layout,
)
from tests.support.registry import EmulatedRegistry
from tests.support.registry_faults import Status
from tests.support.stores import written

IMAGE = build_image([{"a": b"1"}, {"b": b"2"}])
OTHER = build_image([{"c": b"3"}], platform="linux/arm64")
CASES = FIXTURES / "cases"


def refused(ocitool: Command, *arguments: str | Path, code: int, **how: object) -> str:
    """Return what a command that fails prints, which must have a next step below the message."""
    done = ocitool(*arguments, **how)  # type: ignore[arg-type]
    assert done.code == code, done.err
    lines = done.err.splitlines()
    assert lines[-1].startswith("  "), done.err
    return done.err


def test_gzip_that_ends_early(ocitool: Command, tmp_path: Path) -> None:
    data = gzip.compress(oci_archive({"a:1": IMAGE}))
    path = written(tmp_path / "x.tar.gz", data[:-20])
    assert "copy it again" in refused(ocitool, "load", path, code=7)
    error = refused(ocitool, "load", code=7, stdin=data[:-20])
    assert "the command before the pipe" in error
    assert "set -o pipefail" in error


def test_a_damaged_blob_of_an_archive(ocitool: Command) -> None:
    error = refused(ocitool, "load", FIXTURES / "built" / "corruptblob.tar", code=7)
    assert "copy it again, or save it again where it came from" in error


def test_a_damaged_blob_of_a_layout_and_of_the_store(ocitool: Command, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {"a:1": IMAGE})
    assert ocitool("load", f"oci:{layout}").code == 0
    for folder, place in ((layout, f"oci:{layout}:a:1"), (ocitool.store, "a:1")):
        blob = folder / blob_path(IMAGE.layers[0])
        blob.write_bytes(bytes(len(blob.read_bytes())))
        name = f" oci:{layout}" if folder == layout else ""
        error = refused(ocitool, "copy", place, f"oci:{tmp_path}/new:1", code=7)
        assert f"`ocitool verify{name} --repair-from SRC`" in error


def test_http_spoken_to_a_port_of_tls(ocitool: Command, tmp_path: Path) -> None:
    pair = Authority(tmp_path).server("127.0.0.1")
    with EmulatedRegistry(tls=pair.serve()) as registry:
        source = f"docker://{registry.host}/a:1"
        options = ("--plain-http", "--retry-max-wait", "0.02s")
        error = refused(ocitool, "inspect", *options, source, code=8)
    assert "leave out --plain-http" in error


def test_http_spoken_to_a_server_that_says_so(ocitool: Command) -> None:
    with EmulatedRegistry() as registry:
        body = b"Client sent an HTTP request to an HTTPS server.\n"
        registry.fail("*", "/v2/", Status(status=400, body=body), times=9)
        error = refused(ocitool, "inspect", f"docker://{registry.host}/a:1", code=8)
    assert "leave out --plain-http" in error


def test_a_path_as_the_destination_of_a_push(ocitool: Command) -> None:
    for path in ("./y", "../y", "/tmp/y"):
        error = refused(ocitool, "push", "./x", path, code=2)
        assert "is a path, not a name in a registry" in error
        assert "`ocitool copy` writes to files" in error


@pytest.mark.parametrize("place", ["a", "oci:x", "./x.tar", "docker://host.example/a", "store:a"])
def test_a_digest_that_is_cut_short(ocitool: Command, place: str) -> None:
    written_before = ocitool("load", FIXTURES / "crane-pull-duplayers.tar")
    assert written_before.code == 0
    assert "64 lower-case hex digits" in refused(ocitool, "inspect", f"{place}@sha256:123", code=2)


def test_a_name_that_changed_once(ocitool: Command, tmp_path: Path) -> None:
    path = written(tmp_path / "x.tar", oci_archive({"a:1": IMAGE}))
    assert ocitool("load", path).code == 0
    error = refused(ocitool, "restore", "a:1@{5}", code=4)
    assert "changed once" in error
    assert ocitool("untag", "a:1").code == 0
    assert "changed 2 times" in refused(ocitool, "restore", "a:1@{5}", code=4)


def test_a_store_that_is_a_file(ocitool: Command, tmp_path: Path) -> None:
    path = written(tmp_path / "file", b"")
    archive = written(tmp_path / "x.tar", oci_archive({"a:1": IMAGE}))
    for store in (path, path / "below"):
        for arguments in (("images",), ("load", archive), ("inspect", "a:1")):
            error = refused(ocitool, "--store", store, *arguments, code=9)
            assert "name a folder" in error


def test_a_way_of_progress_that_does_not_exist(ocitool: Command) -> None:
    error = refused(ocitool, "images", code=2, variables={"OCITOOL_PROGRESS": "fancy"})
    assert "OCITOOL_PROGRESS 'fancy'" in error
    assert "auto, bar, plain or none" in error
    assert "--progress 'fancy'" in refused(ocitool, "--progress", "fancy", "images", code=2)


def test_a_platform_that_was_not_copied(ocitool: Command, tmp_path: Path) -> None:
    index = build_index([IMAGE, OTHER])
    layout = write_layout(tmp_path / "layout", {"a:1": index}, without=OTHER.blobs)
    for arguments in (("inspect",), ("load",)):
        error = refused(
            ocitool, *arguments, f"oci:{layout}:a:1", "--platform", "linux/arm64", code=4
        )
        assert "lists platform linux/arm64, but that image was not copied here" in error
        assert "available: linux/amd64" in error


@pytest.mark.parametrize(
    ("address", "advice"),
    [
        ("https://host.example/x.tar", "curl -fL https://host.example/x.tar | ocitool load"),
        ("https://ghcr.io/team/app:1", "docker://ghcr.io/team/app:1"),
        ("oci://ghcr.io/team/chart", "docker://ghcr.io/team/chart"),
        ("file:///srv/x.tar", "write /srv/x.tar"),
    ],
)
def test_an_address_in_place_of_a_file(ocitool: Command, address: str, advice: str) -> None:
    for command in ("load", "inspect", "verify", "images"):
        assert advice in refused(ocitool, command, address, code=2)


class TestAnIncompleteImage:
    def test_a_missing_layer_is_numbered_and_its_image_named(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        files = layout_files({"docker.io/team/a:1": IMAGE}, without=[IMAGE.layers[1].digest])
        for place in (
            written(tmp_path / "x.tar", tar_of(files)),
            f"oci:{write_files(tmp_path / 'layout', files)}",
        ):
            error = refused(ocitool, "load", place, code=4)
            assert "layer 2 of 2 of docker.io/team/a:1" in error
            assert str(IMAGE.layers[1].digest) in error

    def test_a_missing_configuration_is_called_so(self, ocitool: Command, tmp_path: Path) -> None:
        files = layout_files({"docker.io/team/a:1": IMAGE}, without=[IMAGE.config.digest])
        path = written(tmp_path / "x.tar", tar_of(files))
        error = refused(ocitool, "load", path, code=4)
        assert "the configuration of docker.io/team/a:1 (linux/amd64) is missing" in error

    def test_of_an_index_the_platform_is_named_too(self, ocitool: Command, tmp_path: Path) -> None:
        index = build_index([IMAGE, OTHER])
        lost = [IMAGE.layers[0].digest, OTHER.descriptor.digest]
        files = layout_files({"docker.io/team/a:1": index}, without=lost)
        error = refused(ocitool, "load", written(tmp_path / "x.tar", tar_of(files)), code=4)
        assert f"layer 1 of 2 of image {IMAGE.descriptor.digest.short} (linux/amd64)" in error
        assert f"image {OTHER.descriptor.digest.short} (linux/arm64) is missing" in error


class TestBackslashes:
    def test_an_archive_of_windows_loads_and_is_sound(self, ocitool: Command) -> None:
        done = ocitool("load", CASES / "16-windows-backslash.tar")
        assert (done.code, done.out) == (0, "Loaded image: win:1\n")
        assert ocitool("verify", CASES / "16-windows-backslash.tar").code == 0

    def test_member_names_may_have_them_too(self, ocitool: Command, tmp_path: Path) -> None:
        files = layout_files({"docker.io/team/a:1": IMAGE})
        path = written(
            tmp_path / "x.tar", tar_of({key.replace("/", "\\"): files[key] for key in files})
        )
        assert ocitool("load", path).out == "Loaded image: team/a:1\n"

    def test_an_unpacked_archive_may_have_them(self, ocitool: Command, tmp_path: Path) -> None:
        members = docker_members({"docker.io/team/a:1": IMAGE})
        manifest = members["manifest.json"]
        assert isinstance(manifest, bytes)
        files = {key: data for key, data in members.items() if data and isinstance(data, bytes)}
        entries = json.loads(manifest)
        entries[0]["Layers"] = [layer.replace("/", "\\") for layer in entries[0]["Layers"]]
        files["manifest.json"] = json.dumps(entries).encode()
        folder = write_files(tmp_path / "folder", files)
        assert ocitool("load", folder).out == "Loaded image: team/a:1\n"

    def test_none_of_them_leads_out(self, ocitool: Command, tmp_path: Path) -> None:
        entry: dict[str, object] = {"Config": "..\\..\\etc\\passwd", "RepoTags": None, "Layers": []}
        files = {"manifest.json": json.dumps([entry]).encode()}
        for place in (
            written(tmp_path / "x.tar", tar_of(dict(files))),
            write_files(tmp_path / "folder", files),
        ):
            done = ocitool("load", place)
            assert done.code == 7
            assert "leads out of the archive" in done.err


class TestZarf:
    BASE = "org.opencontainers.image.base.name"

    def archive(self, tmp_path: Path, **annotations: str) -> Path:
        files = layout_files({"x": IMAGE})
        index = json.loads(files["index.json"])
        names = {f"org.opencontainers.image.{key}": text for key, text in annotations.items()}
        index["manifests"][0]["annotations"] = {
            key.replace("_", "."): text for key, text in names.items()
        }
        files["index.json"] = json.dumps(index).encode()
        write_files(tmp_path / "layout", files)
        return written(tmp_path / "x.tar", tar_of(dict(files)))

    def test_an_image_is_named_by_its_base_name_alone(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        path = self.archive(tmp_path, base_name="ghcr.io/team/app:1.0")
        for place in (path, f"oci:{tmp_path / 'layout'}"):
            assert ocitool("load", place).out == "Loaded image: ghcr.io/team/app:1.0\n"
            assert "ghcr.io/team/app" in ocitool("images", place).out
        assert ocitool("inspect", "-q", f"oci:{tmp_path}/layout:ghcr.io/team/app:1.0").code == 0
        assert ocitool("untag", "ghcr.io/team/app:1.0").code == 0
        assert "<none>" in ocitool("images").out

    @pytest.mark.parametrize(
        "names",
        [
            {"base_name": "ubuntu:24.04"},
            {"base_name": "ghcr.io/team/app"},
            {"base_name": "docker.io/library/ubuntu:24.04", "ref_name": "mine"},
        ],
    )
    def test_the_image_that_one_was_built_on_is_not_its_name(
        self, ocitool: Command, tmp_path: Path, names: dict[str, str]
    ) -> None:
        assert "Loaded image ID" in ocitool("load", self.archive(tmp_path, **names)).out


class TestMixedArtifacts:
    ARCHIVE = CASES / "20-artifacts.tar"
    CHART = "ghcr.io/org/charts/chart:1.2.3"

    def test_they_go_through_every_verb(self, ocitool: Command, tmp_path: Path) -> None:
        assert len(ocitool("load", "-q", self.ARCHIVE).out.split()) == 5
        assert ocitool("verify").code == ocitool("verify", self.ARCHIVE).code == 0
        assert self.CHART.partition(":")[0] in ocitool("images", self.ARCHIVE, "--all").out
        assert ocitool("save", "-o", "chart.tar", self.CHART).code == 0
        digest = ocitool("copy", "./chart.tar", f"oci:{tmp_path}/layout:1").out
        assert ocitool("load", "-q", "--tag", "b:1", f"oci:{tmp_path}/layout").out == digest
        with EmulatedRegistry() as registry:
            name = f"{registry.host}/charts/chart:1.2.3"
            assert ocitool("push", self.CHART, name).code == 0
            assert ocitool("--store", "other", "pull", "-q", name).out == digest
        assert ocitool("rm", self.CHART).code == 0
        assert ocitool("gc", "-f", "--containers", "none").code == 0
        assert ocitool("verify").code == 0

    def test_an_engine_does_not_get_them(self, ocitool: Command, tmp_path: Path) -> None:
        asked: list[str] = []

        def answer(_method: str, path: str) -> tuple[int, bytes]:
            asked.append(path)
            return 200, b"{}"

        assert ocitool("load", "-q", self.ARCHIVE).code == 0
        with engine(tmp_path / "e", answer):
            variables = {"DOCKER_HOST": f"unix://{tmp_path / 'e'}"}
            done = ocitool("copy", self.CHART, "docker-daemon:x:1", variables=variables)
        assert done.code == 6
        assert "is an artifact, which the docker engine" in done.err
        assert not any("load" in path for path in asked)
