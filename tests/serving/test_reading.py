"""S2, S3, S4, S5, S6, S9, S10, S17: what clients read, and under which names."""

import json
from pathlib import Path

import pytest

from ocitool.errors import Unmet
from ocitool.oci import Digest
from ocitool.places.archive import ArchiveSource, open_archive
from ocitool.places.layout import Layout
from ocitool.serving.names import NameRules
from ocitool.serving.opening import open_shelves
from ocitool.serving.shelves import ArchiveShelf, LayoutShelf
from tests.support.images import (
    build_artifact,
    build_image,
    build_index,
    docker_archive,
    oci_archive,
    write_layout,
)
from tests.support.layouts import bring, image, store
from tests.support.made_bundles import made
from tests.support.serving import INDEX, Registry, index_of, manifest_of, reading, registry_of
from tests.support.stores import written

ONE = image("one")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("serving") / "store"
    with store(path, a=ONE) as layout:
        bring(layout, image("two"), "ghcr.io/team/app:1.0", "ghcr.io/team/app:2.0")
        bring(layout, image("three"), "quay.io/team/tool:1")
        bring(layout, image("four"), "ghcr.io/team/tool:1")
    return path


@pytest.fixture
def registry(folder: Path) -> "Registry":  # type: ignore[misc]
    with reading(folder) as served:
        yield served


class TestS2Manifests:
    def test_by_tag(self, registry: Registry) -> None:
        got = registry.get("/v2/library/a/manifests/1")
        assert got.status == 200
        assert got.body == ONE.manifest
        assert got.headers["Content-Type"] == "application/vnd.oci.image.manifest.v1+json"
        assert got.headers["Docker-Content-Digest"] == str(ONE.descriptor.digest)
        assert got.headers["ETag"] == f'"{ONE.descriptor.digest}"'
        assert got.headers["Cache-Control"] == "no-cache"

    def test_by_digest(self, registry: Registry) -> None:
        got = registry.get(f"/v2/library/a/manifests/{ONE.descriptor.digest}")
        assert (got.status, got.body) == (200, ONE.manifest)
        assert got.headers["Cache-Control"] == "max-age=31536000, immutable"

    def test_accept_never_converts(self, registry: Registry) -> None:
        got = registry.get("/v2/library/a/manifests/1", accept="application/json")
        assert (got.status, got.body) == (200, ONE.manifest)

    def test_what_the_client_has_is_not_sent(self, registry: Registry) -> None:
        etag = f'"{ONE.descriptor.digest}"'
        got = registry.get("/v2/library/a/manifests/1", if_none_match=etag)
        assert (got.status, got.body) == (304, b"")
        assert got.headers["ETag"] == etag

    def test_a_manifest_of_another_repository_is_not_here(self, registry: Registry) -> None:
        got = registry.get(f"/v2/ghcr.io/team/app/manifests/{ONE.descriptor.digest}")
        assert (got.status, got.code) == (404, "MANIFEST_UNKNOWN")

    def test_a_damaged_manifest_is_not_sent(self, tmp_path: Path) -> None:
        with store(tmp_path / "s", a=ONE):
            pass
        path = tmp_path / "s/blobs/sha256" / ONE.descriptor.digest.hex
        path.write_bytes(ONE.manifest.replace(b"config", b"confix"))
        with reading(tmp_path / "s") as served:
            got = served.get("/v2/library/a/manifests/1")
            assert got.status in (404, 500)
            assert b"confix" not in got.body


class TestS3Ranges:
    data = bytes(range(256))

    @pytest.fixture
    def blob(self, tmp_path: Path) -> "tuple[Registry, str]":  # type: ignore[misc]
        built = build_image([self.data], compression="none")
        with store(tmp_path / "s", a=built) as layout:
            yield (
                registry_of(LayoutShelf(layout)),
                f"/v2/library/a/blobs/{built.layers[0].digest}",
            )

    @pytest.mark.parametrize(
        ("asked", "first", "last"),
        [
            ("bytes=0-9", 0, 9),
            ("bytes=250-", 250, 255),
            ("bytes=-6", 250, 255),
            ("bytes=-1000", 0, 255),
            ("bytes=200-99999999999999999999", 200, 255),
            ("bytes=255-255", 255, 255),
        ],
    )
    def test_one_range(self, blob: tuple[Registry, str], asked: str, first: int, last: int) -> None:
        registry, target = blob
        got = registry.get(target, range=asked)
        assert got.status == 206
        assert got.headers["Content-Range"] == f"bytes {first}-{last}/256"
        assert got.body == self.data[first : last + 1]

    @pytest.mark.parametrize("asked", ["bytes=256-", "bytes=500-0", "bytes=5-4", "bytes=-0"])
    def test_outside(self, blob: tuple[Registry, str], asked: str) -> None:
        registry, target = blob
        got = registry.get(target, range=asked)
        assert (got.status, got.headers["Content-Range"]) == (416, "bytes */256")

    @pytest.mark.parametrize(
        "asked", ["bytes=0-1,5-6", "lines=1-2", "bytes=", "bytes=-", "bytes=a-b", "bytes=--5"]
    )
    def test_others_get_the_whole(self, blob: tuple[Registry, str], asked: str) -> None:
        registry, target = blob
        got = registry.get(target, range=asked)
        assert (got.status, got.body) == (200, self.data)
        assert got.headers["Accept-Ranges"] == "bytes"

    def test_if_range(self, blob: tuple[Registry, str]) -> None:
        registry, target = blob
        other = f'"{Digest.of(b"other")}"'
        assert registry.get(target, range="bytes=0-1", if_range=other).status == 200
        own = f'"{Digest.of(self.data)}"'
        assert registry.get(target, range="bytes=0-1", if_range=own).status == 206

    def test_a_blob_that_gc_takes_meanwhile_is_sent_whole(self, tmp_path: Path) -> None:
        built = build_image([self.data], compression="none")
        with store(tmp_path / "s", a=built) as layout:
            shelf = LayoutShelf(layout)
            content = shelf.content(built.layers[0].digest)
            (tmp_path / "s/blobs/sha256" / built.layers[0].digest.hex).unlink()
            assert not isinstance(content, bytes)
            with open(content.file, "rb") as file:
                assert file.read() == self.data


class TestS4Visibility:
    def test_one_owner_sees_every_blob_in_each_repository(self, registry: Registry) -> None:
        assert registry.get(f"/v2/ghcr.io/team/app/blobs/{ONE.layers[0].digest}").status == 200

    def test_where_users_differ_a_blob_is_in_its_repositories_alone(self, folder: Path) -> None:
        with reading(folder) as served:
            served.library.by_repository = True
            layer = ONE.layers[0].digest
            assert served.get(f"/v2/library/a/blobs/{layer}").status == 200
            got = served.get(f"/v2/ghcr.io/team/app/blobs/{layer}")
            assert (got.status, got.code) == (404, "BLOB_UNKNOWN")

    def test_only_some_repositories(self, folder: Path) -> None:
        with reading(folder, NameRules(only=("ghcr.io/*",))) as served:
            assert served.get("/v2/library/a/manifests/1").code == "NAME_UNKNOWN"
            assert served.get("/v2/ghcr.io/team/app/manifests/1.0").status == 200
            assert served.get("/v2/_catalog").json == {
                "repositories": ["ghcr.io/team/app", "ghcr.io/team/tool"]
            }


class TestS5Lists:
    def test_pages_lead_to_the_end(self, tmp_path: Path) -> None:
        tags = [f"t{number}" for number in range(100)]
        with store(tmp_path / "s") as layout:
            bring(layout, ONE, *(f"localhost/many:{tag}" for tag in tags))
            served = registry_of(LayoutShelf(layout))
            found: list[str] = []
            target = "/v2/many/tags/list?n=7"
            while target:
                got = served.get(target)
                found += got.json["tags"]
                link = got.headers.get("Link", "")
                assert not link or link.startswith("</v2/many/tags/list?")
                target = link.partition("<")[2].partition(">")[0]
            assert found == sorted(tags)

    @pytest.mark.soak
    def test_ten_thousand_tags_by_sevens(self, tmp_path: Path) -> None:
        tags = sorted(f"t{number}" for number in range(10_000))
        with store(tmp_path / "s") as layout:
            bring(layout, ONE, *(f"localhost/many:{tag}" for tag in tags))
            served = registry_of(LayoutShelf(layout))
            found: list[str] = []
            target = "/v2/many/tags/list?n=7"
            while target:
                got = served.get(target)
                found += got.json["tags"]
                target = got.headers.get("Link", "").partition("<")[2].partition(">")[0]
            assert found == tags

    def test_n_of_zero_is_an_empty_list(self, registry: Registry) -> None:
        got = registry.get("/v2/ghcr.io/team/app/tags/list?n=0")
        assert (got.json["tags"], "Link" in got.headers) == ([], False)

    def test_after_the_last(self, registry: Registry) -> None:
        got = registry.get("/v2/ghcr.io/team/app/tags/list?last=1.0")
        assert got.json == {"name": "ghcr.io/team/app", "tags": ["2.0"]}

    @pytest.mark.parametrize("n", ["-1", "x", "1.5", "%C2%B2"])
    def test_what_is_no_number(self, registry: Registry, n: str) -> None:
        assert registry.get(f"/v2/ghcr.io/team/app/tags/list?n={n}").status == 400

    def test_an_unknown_repository(self, registry: Registry) -> None:
        got = registry.get("/v2/nothing/here/tags/list")
        assert (got.status, got.code) == (404, "NAME_UNKNOWN")


class TestS6Referrers:
    @pytest.fixture
    def attached(self, tmp_path: Path) -> "Registry":  # type: ignore[misc]
        with store(tmp_path / "s", a=ONE) as layout:
            signature = build_artifact(ONE.descriptor, artifact_type="application/x.sig")
            bring(layout, signature)
            bring(layout, build_artifact(ONE.descriptor, b"sbom", artifact_type="text/x.sbom"))
            # What a client without referrers wrote: an index under a tag of the digest.
            child = manifest_of(b"{}", b"old signature")
            listed = json.loads(index_of(child))
            raw = json.dumps(listed).encode()
            fallback = f"docker.io/library/a:sha256-{ONE.descriptor.digest.hex}"
            bring(layout, Plain(raw, INDEX), fallback)
            self.child = Digest.of(child)
            yield registry_of(LayoutShelf(layout))

    def test_what_is_attached_and_what_a_fallback_tag_lists(self, attached: Registry) -> None:
        got = attached.get(f"/v2/library/a/referrers/{ONE.descriptor.digest}")
        assert got.status == 200
        assert got.headers["Content-Type"] == INDEX
        kinds = {entry.get("artifactType") for entry in got.json["manifests"]}
        assert {"application/x.sig", "text/x.sbom"} <= kinds
        assert str(self.child) in {entry["digest"] for entry in got.json["manifests"]}

    def test_a_filter_is_applied_and_said(self, attached: Registry) -> None:
        target = f"/v2/library/a/referrers/{ONE.descriptor.digest}?artifactType=text/x.sbom"
        got = attached.get(target)
        assert [entry["artifactType"] for entry in got.json["manifests"]] == ["text/x.sbom"]
        assert got.headers["OCI-Filters-Applied"] == "artifactType"

    def test_an_unknown_digest_has_an_empty_list(self, attached: Registry) -> None:
        got = attached.get(f"/v2/library/a/referrers/{Digest.of(b'nothing')}")
        assert (got.status, got.json["manifests"]) == (200, [])

    def test_an_attachment_is_in_the_repository_of_its_subject(self, attached: Registry) -> None:
        found = attached.get(f"/v2/library/a/referrers/{ONE.descriptor.digest}").json["manifests"]
        signature = next(e for e in found if e.get("artifactType") == "application/x.sig")
        assert attached.get(f"/v2/library/a/manifests/{signature['digest']}").status == 200


class Plain:
    """A manifest by itself."""

    def __init__(self, raw: bytes, media_type: str) -> None:
        from tests.support.images import describe

        self.descriptor = describe(raw, media_type)
        self.blobs = {self.descriptor.digest: raw}


class TestS9Errors:
    @pytest.mark.parametrize(
        ("target", "status", "code"),
        [
            ("/v2/Upper/manifests/1", 400, "NAME_INVALID"),
            ("/v2/a%2e%2e/manifests/1", 400, "NAME_INVALID"),
            ("/v2/../etc/manifests/1", 400, "NAME_INVALID"),
            ("/v2/a//b/manifests/1", 400, "NAME_INVALID"),
            ("/v2/a;b/manifests/1", 400, "NAME_INVALID"),
            (f"/v2/{'a' * 256}/manifests/1", 400, "NAME_INVALID"),
            ("/v2/library/a/manifests/-no", 400, "TAG_INVALID"),
            ("/v2/library/a/blobs/sha256:short", 400, "DIGEST_INVALID"),
            ("/v2/library/a/manifests/nothing", 404, "MANIFEST_UNKNOWN"),
            ("/v2/nothing/manifests/1", 404, "NAME_UNKNOWN"),
            ("/v3/", 404, "UNSUPPORTED"),
            ("/", 404, "UNSUPPORTED"),
        ],
    )
    def test_each_has_its_code(
        self, registry: Registry, target: str, status: int, code: str
    ) -> None:
        got = registry.get(target)
        assert (got.status, got.code) == (status, code)
        assert set(got.json["errors"][0]) == {"code", "message", "detail"}

    def test_nothing_is_written_in_a_read_only_registry(self, registry: Registry) -> None:
        for method in ("PUT", "POST", "PATCH", "DELETE"):
            got = registry.ask(method, "/v2/library/a/manifests/1", b"{}")
            assert (got.status, got.code) == (405, "UNSUPPORTED")
            (error,) = got.json["errors"]
            assert error["message"] == (
                "this registry is read-only: it was started without --writable"
            )


class TestS10Names:
    @pytest.mark.parametrize(
        "target",
        [
            "/v2/library/a/manifests/1",
            "/v2/docker.io/library/a/manifests/1",
            "/v2/library/a/manifests/1?ns=docker.io",
            "/v2/a/manifests/1?ns=docker.io",
            "/v2/a/manifests/1",
        ],
    )
    def test_an_image_of_docker_hub(self, registry: Registry, target: str) -> None:
        assert registry.get(target).body == ONE.manifest

    @pytest.mark.parametrize(
        "target",
        [
            "/v2/team/app/manifests/1.0",
            "/v2/ghcr.io/team/app/manifests/1.0",
            "/v2/team/app/manifests/1.0?ns=ghcr.io",
        ],
    )
    def test_an_image_of_another_registry(self, registry: Registry, target: str) -> None:
        assert registry.get(target).status == 200

    def test_a_clash_is_reached_by_full_names_alone(self, registry: Registry) -> None:
        got = registry.get("/v2/team/tool/manifests/1")
        assert (got.status, got.code) == (404, "NAME_UNKNOWN")
        assert set(got.detail["repositories"]) == {"quay.io/team/tool", "ghcr.io/team/tool"}
        assert registry.get("/v2/quay.io/team/tool/manifests/1").status == 200
        assert registry.get("/v2/team/tool/manifests/1?ns=ghcr.io").status == 200

    def test_a_registry_that_does_not_have_it(self, registry: Registry) -> None:
        assert registry.get("/v2/team/app/manifests/1.0?ns=quay.io").status == 404

    def test_a_prefix_stands_before_all(self, folder: Path) -> None:
        with reading(folder, NameRules(prefix="mirror")) as served:
            assert served.get("/v2/mirror/library/a/manifests/1").status == 200
            assert served.get("/v2/library/a/manifests/1").status == 404
            listed = served.get("/v2/_catalog").json["repositories"]
            assert "mirror/docker.io/library/a" in listed

    def test_the_catalog_has_only_names_that_clients_can_ask_for(self, tmp_path: Path) -> None:
        images = {
            "127.0.0.1:5055/fmt/app:1": image("port"),
            "[::1]:5000/six/app:1": image("six"),
            "ghcr.io/team/app:1": image("dots"),
            "one.example:5000/both/app:1": image("first"),
            "two.example:5000/both/app:1": image("second"),
        }
        path = written(tmp_path / "a.tar", oci_archive(images))
        with open_shelves([str(path)]) as shelves:
            served = registry_of(*shelves)
            listed = served.get("/v2/_catalog").json["repositories"]
            assert listed == ["fmt/app", "ghcr.io/team/app", "six/app"]
            for name in listed:
                assert served.get(f"/v2/{name}/manifests/1").status == 200
            assert served.get("/v2/fmt/app/manifests/1").body == image("port").manifest

    def test_a_port_with_a_prefix(self, tmp_path: Path) -> None:
        images = {"127.0.0.1:5055/fmt/app:1": image("port")}
        path = written(tmp_path / "a.tar", oci_archive(images))
        with open_shelves([str(path)]) as shelves:
            served = registry_of(*shelves, rules=NameRules(prefix="mirror"))
            assert served.get("/v2/_catalog").json["repositories"] == ["mirror/fmt/app"]
            assert served.get("/v2/mirror/fmt/app/manifests/1").status == 200


class TestS17ArchivesAndLayouts:
    def test_an_archive_is_read_in_place(self, tmp_path: Path) -> None:
        built = image("archived")
        path = written(tmp_path / "a.tar", oci_archive({"ghcr.io/t/a:1": built}))
        with open_archive(str(path)) as source:
            served = registry_of(ArchiveShelf(source, str(path)))
            assert served.get("/v2/t/a/manifests/1").body == built.manifest
            layer = built.layers[0]
            got = served.get(f"/v2/t/a/blobs/{layer.digest}", range="bytes=5-")
            assert got.body == built.blobs[layer.digest][5:]

    def test_an_image_without_a_manifest_gets_the_same_one_every_time(self, tmp_path: Path) -> None:
        built = image("saved", compression="none")
        path = written(tmp_path / "a.tar", docker_archive({"docker.io/library/a:1": built}))
        seen = set()
        for _ in range(2):
            with open_archive(str(path)) as source:
                assert isinstance(source, ArchiveSource)
                served = registry_of(ArchiveShelf(source, str(path)))
                manifest = served.get("/v2/library/a/manifests/1")
                assert manifest.json["config"]["digest"] == str(built.config.digest)
                layer = manifest.json["layers"][0]
                assert served.get(f"/v2/library/a/blobs/{layer['digest']}").body == built.tars[0]
                digest = manifest.headers["Docker-Content-Digest"]
                (remark,) = served.library.shelves[0].remarks
                assert digest in remark
                seen.add(digest)
        assert len(seen) == 1

    def test_a_layout_with_bare_tags_is_called_like_its_folder(self, tmp_path: Path) -> None:
        path = write_layout(tmp_path / "My App", {"1.0": image("bare")})
        with Layout.existing(str(path)) as layout:
            served = registry_of(LayoutShelf(layout))
            assert served.get("/v2/my-app/tags/list").json["tags"] == ["1.0"]

    def test_several_places_are_one_registry(self, tmp_path: Path, folder: Path) -> None:
        built = image("archived")
        path = written(tmp_path / "a.tar", oci_archive({"ghcr.io/t/a:1": built}))
        with Layout.existing(str(folder)) as layout, open_archive(str(path)) as source:
            served = registry_of(LayoutShelf(layout), ArchiveShelf(source, str(path)))
            assert served.get("/v2/t/a/manifests/1").body == built.manifest
            assert served.get("/v2/library/a/manifests/1").body == ONE.manifest

    def test_a_delta_is_served_only_beside_its_base(self, tmp_path: Path) -> None:
        base = build_image([{"base": b"b" * 3000}])
        following = build_image([{"base": b"b" * 3000}, {"next": b"n"}])
        first = made(tmp_path / "carry.tar", {"ghcr.io/t/a:1": base})
        delta = str(made(tmp_path / "next.tar", {"ghcr.io/t/a:2": following}, base=[first]))
        shared = following.layers[0].digest
        with pytest.raises(Unmet) as refused, open_shelves([delta]):
            pass
        assert "1 blob that its images need" in refused.value.message
        assert str(shared) in refused.value.message
        assert f"`ocitool load {delta}`" in str(refused.value.hint)
        with open_shelves([str(first), delta]) as shelves:
            served = registry_of(*shelves)
            assert served.get("/v2/t/a/manifests/2").body == following.manifest
            assert served.get(f"/v2/t/a/blobs/{shared}").body == following.blobs[shared]


class TestS15BesideOthers:
    def test_each_request_sees_what_is_there(self, tmp_path: Path) -> None:
        with store(tmp_path / "s", a=ONE) as layout, reading(tmp_path / "s") as served:
            assert served.get("/v2/library/b/manifests/1").status == 404
            bring(layout, image("b"), "docker.io/library/b:1")
            assert served.get("/v2/library/b/manifests/1").status == 200

    def test_the_platforms_of_an_index_are_in_its_repository(self, tmp_path: Path) -> None:
        child = build_image(platform="linux/arm64")
        built = build_index([build_image(), child])
        with store(tmp_path / "s") as layout:
            bring(layout, built, "docker.io/library/multi:1")
            served = registry_of(LayoutShelf(layout))
            got = served.get(f"/v2/library/multi/manifests/{child.descriptor.digest}")
            assert got.body == child.manifest
