"""What goes up: titles, types, digests that repeat, and what is refused."""

import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from ocitool.artifacts import conventions
from ocitool.artifacts.sending import PackOptions, push
from ocitool.errors import (
    NotFound,
    UsageError,
)
from ocitool.oci import Digest, Reference
from ocitool.oci.mediatype import OCI_EMPTY, OCI_MANIFEST
from ocitool.places.registry import Registries, RegistryOptions, Repository
from tests.artifacts.site import (
    REPOSITORY,
    Site,
    tree,
)
from tests.support.docker_registry import running_registry
from tests.support.registry import EmulatedRegistry


class TestPushing:
    def test_files_and_folders_come_back_as_they_were(self, site: Site, data: Path) -> None:
        file = site.folder / "a.txt"
        file.write_text("hello")
        empty = site.folder / "nothing"
        empty.touch()
        site.push(file, data, empty)
        report = site.pull()
        written = site.written()
        assert written.pop("a.txt") == "hello"
        assert written.pop("nothing") == ""
        assert written.pop("data") == "/"
        assert written == {f"data/{name}": content for name, content in tree(data).items()}
        assert [(file.title, file.is_folder) for file in report.files] == [
            ("a.txt", False),
            ("data", True),
            ("nothing", False),
        ]

    def test_permissions_of_a_folders_files_come_back(self, site: Site, data: Path) -> None:
        (data / "secret").write_text("s")
        (data / "secret").chmod(0o600)
        site.push(data)
        site.pull()
        assert (site.out / "data" / "run.sh").stat().st_mode & 0o700 == 0o700
        assert (site.out / "data" / "secret").stat().st_mode & 0o777 == 0o600

    def test_the_manifest_says_what_the_user_said(
        self, registry: EmulatedRegistry, site: Site, data: Path
    ) -> None:
        (site.folder / "a.json").write_text("{}")
        report = site.push(
            f"{site.folder}/a.json:application/json",
            data,
            artifact_type="application/vnd.example",
            annotations={"b": "2", "a": "1=1"},
        )
        stored = registry.manifests[REPOSITORY][report.descriptor.digest]
        manifest = json.loads(stored.raw)
        assert stored.media_type == OCI_MANIFEST
        assert manifest["artifactType"] == "application/vnd.example"
        assert manifest["annotations"] == {"a": "1=1", "b": "2"}
        assert manifest["config"]["mediaType"] == OCI_EMPTY
        file, packed = manifest["layers"]
        assert (file["mediaType"], packed["mediaType"]) == (
            "application/json",
            conventions.FOLDER_TYPE,
        )
        assert file["annotations"] == {conventions.TITLE: "a.json"}
        assert packed["annotations"][conventions.TITLE] == "data"
        assert packed["annotations"][conventions.UNPACK] == "true"

    def test_the_digest_of_a_folders_content_is_that_of_its_tar(
        self, registry: EmulatedRegistry, site: Site, data: Path
    ) -> None:
        (layer,) = site.push(data).manifest.layers
        tar = gzip.decompress(registry.blobs[REPOSITORY][layer.digest])
        assert layer.annotations[conventions.CONTENT_DIGEST] == str(Digest.of(tar))

    def test_an_artifact_of_no_type_says_so(self, site: Site, data: Path) -> None:
        assert site.push(data).manifest.artifact_type == conventions.UNKNOWN_ARTIFACT

    def test_a_config_gives_the_artifact_its_type(
        self, registry: EmulatedRegistry, site: Site, data: Path
    ) -> None:
        config = site.folder / "c.json"
        config.write_text('{"a": 1}')
        manifest = site.push(data, config=f"{config}:application/vnd.x+json").manifest
        assert manifest.artifact_type is None
        assert manifest.effective_artifact_type == "application/vnd.x+json"
        assert registry.blobs[REPOSITORY][manifest.config.digest] == b'{"a": 1}'

    def test_a_config_without_a_type_has_the_packages_own(self, site: Site, data: Path) -> None:
        config = site.folder / "c.json"
        config.write_text("{}")
        manifest = site.push(data, config=str(config)).manifest
        assert manifest.config.media_type == conventions.UNKNOWN_CONFIG

    def test_the_same_folder_gives_the_same_digest_wherever_and_whenever(
        self, site: Site, data: Path
    ) -> None:
        first = site.push(data).descriptor.digest
        other = site.folder / "elsewhere" / "data"
        other.parent.mkdir()
        # Made in another order, at another time.
        (other / "empty").mkdir(parents=True)
        (other / "deep" / "er").mkdir(parents=True)
        for name in ("ünï", "run.sh", "deep/er/x.txt"):
            (other / name).write_bytes((data / name).read_bytes())
            os.utime(other / name, (1, 1))
        (other / "run.sh").chmod(0o750)
        (other / "deep" / "link").symlink_to("er/x.txt")
        assert site.push(other).descriptor.digest == first

    def test_members_are_sorted_and_have_neither_time_nor_owner(
        self, registry: EmulatedRegistry, site: Site, data: Path
    ) -> None:
        for number in range(20):
            (data / f"{number * 7 % 20:02}").touch()
        (layer,) = site.push(data).manifest.layers
        tar = gzip.decompress(registry.blobs[REPOSITORY][layer.digest])
        with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
            members = archive.getmembers()
        names = [member.name.split("/") for member in members]
        assert names == sorted(names)
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}

    def test_what_the_registry_has_is_not_sent_again(
        self, registry: EmulatedRegistry, site: Site, data: Path
    ) -> None:
        site.push(data)
        before = len(registry.log)
        again = site.push(data, tag="2")
        assert again.transfer.existing_blobs == 2
        assert not [one for one in registry.log[before:] if one.method in ("POST", "PATCH")]

    def test_a_file_with_a_colon_in_its_name_is_meant_before_a_type(self, site: Site) -> None:
        file = site.folder / "a:b"
        file.write_text("colon")
        site.push(file)
        site.pull()
        assert site.written() == {"a:b": "colon"}

    @pytest.mark.parametrize("text", ["missing", "missing:text/plain"])
    def test_a_file_that_does_not_exist_is_not_found(
        self, registry: EmulatedRegistry, site: Site, text: str
    ) -> None:
        with pytest.raises(NotFound, match="missing"):
            site.push(site.folder / text)
        assert len(registry.log) == 0

    @pytest.mark.parametrize("media_type", ["text", "text/", "a b/c", "text/plain; charset=x", ""])
    def test_what_is_no_media_type_is_refused(self, site: Site, media_type: str) -> None:
        (site.folder / "a").touch()
        with pytest.raises(UsageError, match="not a media type"):
            site.push(f"{site.folder}/a:{media_type}")

    def test_two_files_with_one_title_are_refused(self, site: Site) -> None:
        for name in ("x", "y"):
            (site.folder / name).mkdir()
            (site.folder / name / "same").touch()
        with pytest.raises(UsageError, match="would both be 'same'"):
            site.push(site.folder / "x/same", site.folder / "y/same")

    def test_a_fifo_is_no_file_and_is_not_waited_for(self, site: Site, data: Path) -> None:
        os.mkfifo(site.folder / "pipe")
        with pytest.raises(UsageError, match="not a file or folder"):
            site.push(site.folder / "pipe")
        os.mkfifo(data / "pipe")
        with pytest.raises(UsageError, match="not a file, folder or link"):
            site.push(data)

    @pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "deep/../../x", ".."])
    def test_a_link_out_of_a_folder_is_not_pushed(
        self, site: Site, data: Path, target: str
    ) -> None:
        (data / "bad").symlink_to(target)
        with pytest.raises(UsageError, match="leads out of the folder"):
            site.push(data)

    def test_a_digest_is_no_name_to_push_to(self, site: Site, data: Path) -> None:
        reference = Reference.parse(f"{site.host}/{REPOSITORY}@{Digest.of(b'')}")
        with pytest.raises(UsageError, match="has a digest"):
            push(site.registries, reference, PackOptions(files=[str(data)]))

    def test_nothing_is_left_in_the_scratch_folder(self, site: Site, data: Path) -> None:
        scratch = site.folder / "scratch"
        scratch.mkdir()
        site.push(data, scratch=str(scratch))
        assert list(scratch.iterdir()) == []

    def test_debians_registry_takes_and_gives_it(self, tmp_path: Path, data: Path) -> None:
        with running_registry(tmp_path / "registry") as running:
            site = Site(running.host, tmp_path)
            with site.registries:
                site.push(data, artifact_type="application/vnd.example")
                assert site.pull().artifact_type == "application/vnd.example"
        assert tree(site.out / "data") == tree(data)

    def test_credentials_are_found_by_our_own_rules(self, tmp_path: Path, data: Path) -> None:
        with running_registry(tmp_path / "registry", "htpasswd") as running:
            site = Site(running.host, tmp_path)
            options = RegistryOptions(username=running.user, password=running.password)
            with Registries(options, environment={"HOME": str(tmp_path)}) as registries:
                report = push(registries, site.reference(), PackOptions(files=[str(data)]))
                found = Repository.of(registries, site.reference()).head(site.reference())
        assert found is not None
        assert found.digest == report.descriptor.digest
