"""The emulated registry does what the distribution specification says."""

import json
import time
from collections.abc import Iterator

import pytest

from ocitool.oci import Digest
from tests.places.registry.plain_client import connect, send
from tests.support.images import build_artifact, build_image, build_index
from tests.support.registry import EmulatedRegistry, Quirks

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
ACCEPT = {"Accept": f"{OCI_MANIFEST}, application/vnd.oci.image.index.v1+json"}


@pytest.fixture
def registry() -> Iterator[EmulatedRegistry]:
    with EmulatedRegistry() as registry:
        yield registry


def code_of(body: bytes) -> str:
    return str(json.loads(body)["errors"][0]["code"])


def upload(registry: EmulatedRegistry, repository: str, data: bytes) -> Digest:
    digest = Digest.of(data)
    started = send(registry.host, "POST", f"/v2/{repository}/blobs/uploads/")
    location = started.headers["Location"].removeprefix(registry.url)
    done = send(registry.host, "PUT", f"{location}&digest={digest}", data)
    assert (started.status, done.status) == (202, 201)
    return digest


class TestBlobs:
    def test_an_uploaded_blob_comes_back(self, registry: EmulatedRegistry) -> None:
        digest = upload(registry, "a/b", b"some data")
        reply = send(registry.host, "GET", f"/v2/a/b/blobs/{digest}")
        assert (reply.status, reply.body) == (200, b"some data")
        assert registry.blobs["a/b"] == {digest: b"some data"}

    def test_the_empty_blob_is_one_too(self, registry: EmulatedRegistry) -> None:
        digest = upload(registry, "a", b"")
        assert send(registry.host, "GET", f"/v2/a/blobs/{digest}").body == b""

    def test_a_blob_with_another_digest_is_refused(self, registry: EmulatedRegistry) -> None:
        started = send(registry.host, "POST", "/v2/a/blobs/uploads/")
        target = f"{started.headers['Location']}&digest={Digest.of(b'x')}"
        reply = send(registry.host, "PUT", target.removeprefix(registry.url), b"y")
        assert (reply.status, code_of(reply.body)) == (400, "DIGEST_INVALID")

    def test_a_blob_with_a_sha512_digest_is_kept_under_it(self, registry: EmulatedRegistry) -> None:
        digest = registry.add_blob("a", b"x", "sha512").digest
        assert send(registry.host, "HEAD", f"/v2/a/blobs/{digest}").status == 200

    def test_a_range_is_honoured(self, registry: EmulatedRegistry) -> None:
        digest = registry.add_blob("a", b"0123456789").digest
        reply = send(registry.host, "GET", f"/v2/a/blobs/{digest}", headers={"Range": "bytes=4-"})
        assert (reply.status, reply.body) == (206, b"456789")
        assert reply.headers["Content-Range"] == "bytes 4-9/10"

    def test_a_range_past_the_end_is_refused(self, registry: EmulatedRegistry) -> None:
        digest = registry.add_blob("a", b"0123456789").digest
        headers = {"Range": "bytes=10-"}
        assert send(registry.host, "GET", f"/v2/a/blobs/{digest}", headers=headers).status == 416

    def test_a_head_has_the_size_and_no_body(self, registry: EmulatedRegistry) -> None:
        digest = registry.add_blob("a", b"0123456789").digest
        reply = send(registry.host, "HEAD", f"/v2/a/blobs/{digest}")
        assert (reply.headers["Content-Length"], reply.body) == ("10", b"")

    def test_missing_things_are_named(self, registry: EmulatedRegistry) -> None:
        registry.add_blob("a", b"x")
        digest = Digest.of(b"y")
        unknown = [
            send(registry.host, "GET", target)
            for target in (f"/v2/a/blobs/{digest}", "/v2/a/manifests/1", "/v2/b/tags/list")
        ]
        assert {reply.status for reply in unknown} == {404}
        assert [code_of(reply.body) for reply in unknown] == [
            "BLOB_UNKNOWN",
            "MANIFEST_UNKNOWN",
            "NAME_UNKNOWN",
        ]

    def test_a_mount_copies_within_the_registry(self, registry: EmulatedRegistry) -> None:
        digest = registry.add_blob("a", b"x").digest
        target = f"/v2/b/blobs/uploads/?mount={digest}&from=a"
        assert send(registry.host, "POST", target).status == 201
        assert registry.blobs["b"] == {digest: b"x"}

    def test_a_mount_of_what_is_missing_opens_a_session(self, registry: EmulatedRegistry) -> None:
        target = f"/v2/b/blobs/uploads/?mount={Digest.of(b'x')}&from=a"
        reply = send(registry.host, "POST", target)
        assert reply.status == 202
        assert reply.headers["Location"].startswith(f"{registry.url}/v2/b/blobs/uploads/")

    def test_one_post_is_enough(self, registry: EmulatedRegistry) -> None:
        target = f"/v2/b/blobs/uploads/?digest={Digest.of(b'x')}"
        assert send(registry.host, "POST", target, b"x").status == 201

    def test_a_large_blob_is_served_fast(self, registry: EmulatedRegistry) -> None:
        size = 256 << 20
        digest = registry.add_blob("a", bytes(size)).digest
        connection = connect(registry.host)
        buffer = bytearray(1 << 20)
        rates = []
        for _ in range(3):
            begun = time.perf_counter()
            connection.request("GET", f"/v2/a/blobs/{digest}")
            response = connection.getresponse()
            left = size
            while count := response.readinto(buffer):
                left -= count
            rates.append(size / 1e6 / (time.perf_counter() - begun))
            assert left == 0
        connection.close()
        # 2300 MB/s were measured on two cores; the bound is what is promised.
        assert max(rates) > 300


class TestChunks:
    def test_chunks_are_joined(self, registry: EmulatedRegistry) -> None:
        location = send(registry.host, "POST", "/v2/a/blobs/uploads/").headers["Location"]
        target = location.removeprefix(registry.url)
        first = send(registry.host, "PATCH", target, b"abc", {"Content-Range": "0-2"})
        second = send(registry.host, "PATCH", target, b"de", {"Content-Range": "3-4"})
        status = send(registry.host, "GET", target)
        done = send(registry.host, "PUT", f"{target}&digest={Digest.of(b'abcdef')}", b"f")
        assert [first.status, second.status, status.status, done.status] == [202, 202, 204, 201]
        assert [reply.headers["Range"] for reply in (first, second, status)] == [
            "0-2",
            "0-4",
            "0-4",
        ]

    def test_a_chunk_at_the_wrong_place_is_refused(self, registry: EmulatedRegistry) -> None:
        location = send(registry.host, "POST", "/v2/a/blobs/uploads/").headers["Location"]
        target = location.removeprefix(registry.url)
        send(registry.host, "PATCH", target, b"abc", {"Content-Range": "0-2"})
        again = send(registry.host, "PATCH", target, b"abc", {"Content-Range": "0-2"})
        assert (again.status, again.headers["Range"]) == (416, "0-2")

    def test_a_cancelled_session_is_gone(self, registry: EmulatedRegistry) -> None:
        location = send(registry.host, "POST", "/v2/a/blobs/uploads/").headers["Location"]
        target = location.removeprefix(registry.url)
        assert send(registry.host, "DELETE", target).status == 204
        assert send(registry.host, "GET", target).status == 404

    def test_a_changed_query_of_the_location_is_refused(self, registry: EmulatedRegistry) -> None:
        location = send(registry.host, "POST", "/v2/a/blobs/uploads/").headers["Location"]
        target = location.removeprefix(registry.url).partition("?")[0]
        reply = send(registry.host, "PUT", f"{target}?digest={Digest.of(b'')}", b"")
        assert (reply.status, code_of(reply.body)) == (404, "BLOB_UPLOAD_INVALID")


class TestManifests:
    def test_an_image_is_pushed_and_pulled(self, registry: EmulatedRegistry) -> None:
        image = build_image()
        for digest, data in image.blobs.items():
            if digest != image.descriptor.digest:
                upload(registry, "a", data)
        headers = {"Content-Type": OCI_MANIFEST}
        pushed = send(registry.host, "PUT", "/v2/a/manifests/1", image.manifest, headers)
        pulled = send(registry.host, "GET", "/v2/a/manifests/1", headers=ACCEPT)
        assert (pushed.status, pulled.body) == (201, image.manifest)
        assert pulled.headers["Docker-Content-Digest"] == str(image.descriptor.digest)
        assert registry.tags["a"] == {"1": image.descriptor.digest}

    def test_a_manifest_without_its_blobs_is_refused(self, registry: EmulatedRegistry) -> None:
        headers = {"Content-Type": OCI_MANIFEST}
        reply = send(registry.host, "PUT", "/v2/a/manifests/1", build_image().manifest, headers)
        assert (reply.status, code_of(reply.body)) == (400, "MANIFEST_BLOB_UNKNOWN")

    def test_an_index_without_its_children_is_refused(self, registry: EmulatedRegistry) -> None:
        index = build_index([build_image()])
        raw = index.blobs[index.descriptor.digest]
        headers = {"Content-Type": index.descriptor.media_type}
        reply = send(registry.host, "PUT", "/v2/a/manifests/1", raw, headers)
        assert (reply.status, code_of(reply.body)) == (400, "MANIFEST_BLOB_UNKNOWN")

    def test_a_type_that_is_not_accepted_is_not_found(self, registry: EmulatedRegistry) -> None:
        registry.add_manifest("a", b"{}", OCI_MANIFEST, "1")
        assert send(registry.host, "GET", "/v2/a/manifests/1").status == 404
        assert send(registry.host, "GET", "/v2/a/manifests/1", headers=ACCEPT).status == 200

    def test_a_deleted_tag_leaves_its_manifest(self, registry: EmulatedRegistry) -> None:
        digest = registry.add_manifest("a", b"{}", OCI_MANIFEST, "1").digest
        assert send(registry.host, "DELETE", "/v2/a/manifests/1").status == 202
        assert (registry.tags["a"], list(registry.manifests["a"])) == ({}, [digest])

    def test_a_deleted_manifest_takes_its_tags_along(self, registry: EmulatedRegistry) -> None:
        digest = registry.add_manifest("a", b"{}", OCI_MANIFEST, "1").digest
        assert send(registry.host, "DELETE", f"/v2/a/manifests/{digest}").status == 202
        assert (registry.tags["a"], registry.manifests["a"]) == ({}, {})


class TestLists:
    def test_tags_come_in_pages(self, registry: EmulatedRegistry) -> None:
        for tag in ("c", "a", "b"):
            registry.add_manifest("r/s", b"{}", OCI_MANIFEST, tag)
        first = send(registry.host, "GET", "/v2/r/s/tags/list?n=2")
        link = first.headers["Link"].partition(">")[0].lstrip("<")
        second = send(registry.host, "GET", link)
        assert json.loads(first.body) == {"name": "r/s", "tags": ["a", "b"]}
        assert json.loads(second.body)["tags"] == ["c"]
        assert "Link" not in second.headers

    def test_the_catalog_names_the_repositories(self, registry: EmulatedRegistry) -> None:
        registry.add_blob("b/c", b"")
        registry.add_blob("a", b"")
        reply = send(registry.host, "GET", "/v2/_catalog")
        assert json.loads(reply.body) == {"repositories": ["a", "b/c"]}

    def test_referrers_are_found_and_filtered(self, registry: EmulatedRegistry) -> None:
        image = build_image()
        for kind in ("text/x", "text/y"):
            artifact = build_artifact(image.descriptor, artifact_type=kind)
            registry.add_manifest("a", artifact.blobs[artifact.descriptor.digest], OCI_MANIFEST)
        target = f"/v2/a/referrers/{image.descriptor.digest}"
        both = json.loads(send(registry.host, "GET", target).body)["manifests"]
        one = send(registry.host, "GET", f"{target}?artifactType=text%2Fy")
        assert {entry["artifactType"] for entry in both} == {"text/x", "text/y"}
        assert [entry["artifactType"] for entry in json.loads(one.body)["manifests"]] == ["text/y"]
        assert one.headers["OCI-Filters-Applied"] == "artifactType"

    def test_referrers_come_in_pages(self) -> None:
        image = build_image()
        with EmulatedRegistry(Quirks(page_size=1)) as registry:
            for kind in ("text/x", "text/y"):
                artifact = build_artifact(image.descriptor, artifact_type=kind)
                raw = artifact.blobs[artifact.descriptor.digest]
                registry.add_manifest("a", raw, OCI_MANIFEST)
            first = send(registry.host, "GET", f"/v2/a/referrers/{image.descriptor.digest}")
            link = first.headers["Link"].partition(">")[0].lstrip("<")
            second = send(registry.host, "GET", link)
        entries = [json.loads(reply.body)["manifests"] for reply in (first, second)]
        assert [len(page) for page in entries] == [1, 1]
        assert entries[0] != entries[1]


class TestTheLog:
    def test_the_target_is_logged_byte_by_byte(self, registry: EmulatedRegistry) -> None:
        send(registry.host, "GET", "//v2/a%2Fb?x=a%2Fb%3d&&y", headers={"X-Name": "v"})
        logged = registry.log[0]
        assert logged.target == "//v2/a%2Fb?x=a%2Fb%3d&&y"
        assert (logged.headers["x-name"], logged.host) == ("v", registry.host)

    def test_bytes_are_counted(self, registry: EmulatedRegistry) -> None:
        digest = upload(registry, "a", b"12345")
        send(registry.host, "GET", f"/v2/a/blobs/{digest}")
        assert [logged.received_bytes for logged in registry.requests("PUT")] == [5]
        assert [logged.sent_bytes for logged in registry.requests("GET", "blobs")] == [5]

    def test_a_connection_serves_several_requests(self, registry: EmulatedRegistry) -> None:
        connection = connect(registry.host)
        ports = set()
        for _ in range(3):
            connection.request("GET", "/v2/")
            ports.add(connection.sock.getsockname())
            connection.getresponse().read()
        connection.close()
        assert len(ports) == 1
        assert [logged.status for logged in registry.log] == [200, 200, 200]
