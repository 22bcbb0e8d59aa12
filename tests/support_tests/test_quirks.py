"""Each quirk of the emulated registry does what it says; those of uploads stand elsewhere."""

import gzip
import http.client
import json
import time
from email.utils import parsedate_to_datetime
from typing import Literal

import pytest

from ocitool.oci import Digest
from tests.places.registry.plain_client import Reply, send
from tests.places.registry.quirky import (
    DATA,
    INDEX,
    MANIFEST,
    TARGET,
    UPLOADS,
    asked,
    code_of,
    odd,
    put,
)
from tests.support.images import build_artifact, build_image, build_index
from tests.support.registry import EmulatedRegistry
from tests.support.registry_storage import Storage


class TestEveryEndpoint:
    def test_a_portal_answers_in_html(self) -> None:
        with odd(html=True) as registry:
            reply = asked(registry, target="/v2/")
        assert (reply.status, reply.headers.get_content_type()) == (200, "text/html")

    def test_a_warning_comes_along(self) -> None:
        with odd(warning="old") as registry:
            assert asked(registry).headers["Warning"] == '299 - "old"'

    def test_a_cookie_that_comes_back_is_a_crime(self) -> None:
        with odd(cookies=True) as registry:
            cookie = {"Cookie": asked(registry).headers["Set-Cookie"]}
            assert send(registry.host, "POST", UPLOADS).status == 202
            assert send(registry.host, "POST", UPLOADS, headers=cookie).status == 403

    def test_large_bodies_are_refused(self) -> None:
        with odd(max_body=5) as registry:
            reply = put(registry, b"123456")
            assert put(registry, b"12345").status == 201
        assert (reply.status, b"nginx" in reply.body) == (413, True)

    def test_too_many_requests_for_a_while(self) -> None:
        with odd(too_many=2, retry_seconds=7) as registry:
            replies = [asked(registry) for _ in range(3)]
        assert [reply.status for reply in replies] == [429, 429, 200]
        assert replies[0].headers["Retry-After"] == "7"

    def test_too_many_requests_of_one_kind(self) -> None:
        with odd(too_many=1, too_many_pattern="/uploads/") as registry:
            assert asked(registry).status == 200
            assert send(registry.host, "POST", UPLOADS).status == 429

    def test_the_time_to_wait_is_said_as_a_date(self) -> None:
        with odd(too_many=1, retry_after="date", retry_seconds=60) as registry:
            moment = parsedate_to_datetime(asked(registry).headers["Retry-After"]).timestamp()
        assert 55 < moment - time.time() <= 60

    def test_the_time_to_wait_is_said_in_the_message(self) -> None:
        with odd(too_many=1, retry_after="message", retry_seconds=0.5) as registry:
            reply = asked(registry)
        assert b"retry-after: 500.000ms" in reply.body
        assert "Retry-After" not in reply.headers

    def test_the_quota_is_spent_by_get_alone(self) -> None:
        with odd(hub_quota=1) as registry:
            registry.add_manifest("a", b"{}", MANIFEST, "1")
            target = "/v2/a/manifests/1"
            replies = [asked(registry, m, target) for m in ("HEAD", "GET", "HEAD", "GET")]
        assert [reply.status for reply in replies] == [200, 200, 200, 429]
        remaining = [reply.headers["ratelimit-remaining"] for reply in replies]
        assert remaining == ["1;w=21600", "0;w=21600", "0;w=21600", "0;w=21600"]


class TestBlobs:
    def test_a_redirect_leads_to_the_storage(self) -> None:
        with Storage() as storage, odd(redirect_to=storage.url, redirect_hops=2) as registry:
            storage.add(DATA)
            first = asked(registry)
            target = first.headers["Location"].removeprefix(storage.url)
            second = send(storage.host, "GET", target)
            third = send(storage.host, "GET", second.headers["Location"])
            guilty = send(storage.host, "GET", target, headers={"Authorization": "Bearer x"})
            changed = send(storage.host, "GET", target.replace("%3D%3D", "=="))
        assert [first.status, second.status, third.status] == [307, 307, 200]
        assert third.body == DATA
        assert (guilty.status, changed.status) == (400, 403)

    def test_the_storage_may_sign_for_get_alone(self) -> None:
        with Storage(signs_get_only=True) as storage:
            target = f"/storage/1/{storage.add(DATA)}?signature=a%2Fb%3D%3D"
            statuses = [send(storage.host, method, target).status for method in ("HEAD", "GET")]
        assert statuses == [403, 200]

    @pytest.mark.parametrize(
        ("kind", "status", "body", "content_range"),
        [
            ("ignored", 200, DATA, None),
            ("wrong_start", 206, b"3456789", "bytes 3-9/10"),
        ],
    )
    def test_ranges_go_wrong(
        self, kind: str, status: int, body: bytes, content_range: str | None
    ) -> None:
        with odd(ranges=kind) as registry:
            reply = send(registry.host, "GET", TARGET, headers={"Range": "bytes=4-"})
        assert (reply.status, reply.body) == (status, body)
        assert reply.headers["Content-Range"] == content_range

    def test_a_416_claims_the_length_of_the_blob(self) -> None:
        with odd(ranges="long_416") as registry:
            registry.add_blob("b", bytes(100))
            target = f"/v2/b/blobs/{Digest.of(bytes(100))}"
            with pytest.raises((http.client.IncompleteRead, TimeoutError)):
                send(registry.host, "GET", target, headers={"Range": "bytes=100-"}, timeout=0.3)
            assert [(each.status, each.sent_bytes) for each in registry.log] == [(416, 33)]

    def test_content_encoding_is_true_or_not(self) -> None:
        for kind in ("gzip", "mislabelled"):
            with odd(encoding=kind) as registry:
                reply = asked(registry)
            assert reply.headers["Content-Encoding"] == "gzip"
            assert (gzip.decompress(reply.body) if kind == "gzip" else reply.body) == DATA

    def test_a_blob_comes_slowly(self) -> None:
        with odd(bytes_per_second=1000.0) as registry:
            digest = registry.add_blob("a", bytes(300)).digest
            begun = time.monotonic()
            asked(registry, target=f"/v2/a/blobs/{digest}")
        assert 0.2 < time.monotonic() - begun < 3

    @pytest.mark.parametrize("kind", ["none", "wrong"])
    def test_the_digest_header_is_missing_or_a_lie(self, kind: str) -> None:
        with odd(digest_header=kind) as registry:
            registry.add_manifest("a", b"{}", MANIFEST, "1")
            named = [
                asked(registry, target=target).headers["Docker-Content-Digest"]
                for target in (TARGET, "/v2/a/manifests/1")
            ]
        lie = str(Digest.of(b"something else"))
        assert named == ([lie, lie] if kind == "wrong" else [None, None])


class TestManifests:
    def pushed(self, registry: EmulatedRegistry, tag: str = "1", docker: bool = False) -> Reply:
        image = build_image(docker=docker)
        for data in image.blobs.values():
            registry.add_blob("a", data)
        headers = {"Content-Type": image.descriptor.media_type}
        return send(registry.host, "PUT", f"/v2/a/manifests/{tag}", image.manifest, headers)

    def test_blobs_are_unknown_for_a_while(self) -> None:
        with odd(unknown_blob_times=1) as registry:
            assert code_of(self.pushed(registry)) == "BLOB_UNKNOWN"
            assert self.pushed(registry).status == 201

    def test_a_tag_stays_what_it_is(self) -> None:
        with odd(immutable_tags=True) as registry:
            assert self.pushed(registry).status == 201
            assert code_of(self.pushed(registry)) == "TAG_INVALID"
            assert self.pushed(registry, "2").status == 201

    def test_an_index_with_children_of_docker_is_refused(self) -> None:
        index = build_index([build_image(docker=True)])
        with odd(docker_children_refused=True) as registry:
            registry.add_image("a", index)
            raw = index.blobs[index.descriptor.digest]
            headers = {"Content-Type": INDEX}
            reply = send(registry.host, "PUT", "/v2/a/manifests/1", raw, headers)
        assert (reply.status, code_of(reply)) == (400, "MANIFEST_INVALID")

    def test_a_head_says_little(self) -> None:
        with odd(plain_head=True) as registry:
            self.pushed(registry)
            reply = asked(registry, "HEAD", "/v2/a/manifests/1")
        assert reply.headers["Content-Type"] == "application/octet-stream"
        assert "Docker-Content-Digest" not in reply.headers

    def test_a_head_is_not_known(self) -> None:
        with odd(head_405=True) as registry:
            self.pushed(registry)
            statuses = [asked(registry, m, "/v2/a/manifests/1").status for m in ("HEAD", "GET")]
        assert statuses == [405, 200]

    def test_a_missing_manifest_is_forbidden(self) -> None:
        with odd(missing_manifest_status=403) as registry:
            assert asked(registry, target="/v2/a/manifests/1").status == 403

    def test_every_image_is_of_schema_1(self) -> None:
        with odd(schema1=True) as registry:
            reply = asked(registry, target="/v2/a/manifests/1")
        assert json.loads(reply.body)["schemaVersion"] == 1
        assert reply.headers["Content-Type"].endswith("v1+prettyjws")

    def test_nothing_is_deleted(self) -> None:
        with odd(delete_405=True) as registry:
            assert asked(registry, "DELETE").status == 405
            assert asked(registry, "DELETE", "/v2/a/manifests/1").status == 405

    def test_a_manifest_has_no_location(self) -> None:
        with odd(manifest_location=False) as registry:
            assert "Location" not in self.pushed(registry).headers

    @pytest.mark.parametrize("told", [True, False])
    def test_the_subject_is_told_or_not(self, told: bool) -> None:
        artifact = build_artifact(build_image().descriptor)
        with odd(subject_header=told) as registry:
            registry.add_image("a", artifact)
            raw = artifact.blobs[artifact.descriptor.digest]
            headers = {"Content-Type": MANIFEST}
            reply = send(registry.host, "PUT", "/v2/a/manifests/1", raw, headers)
        assert reply.status == 201
        assert ("OCI-Subject" in reply.headers) is told


class TestLists:
    def listed(self, kind: Literal["null", "duplicates", "endless", "foreign"]) -> Reply:
        with odd(tags=kind, foreign_link="http://other.example/") as registry:
            registry.add_manifest("a", b"{}", MANIFEST, "1")
            return asked(registry, target="/v2/a/tags/list")

    def test_tags_are_null(self) -> None:
        assert json.loads(self.listed("null").body)["tags"] is None

    def test_tags_are_twice_there(self) -> None:
        assert json.loads(self.listed("duplicates").body)["tags"] == ["1", "1"]

    def test_the_list_has_no_end(self) -> None:
        assert self.listed("endless").headers["Link"] == '</v2/a/tags/list>; rel="next"'

    def test_the_list_goes_on_elsewhere(self) -> None:
        assert self.listed("foreign").headers["Link"] == '<http://other.example/>; rel="next"'

    @pytest.mark.parametrize("kind", ["404", "400", "405", "406", "html"])
    def test_referrers_are_not_known(self, kind: str) -> None:
        with odd(referrers=kind) as registry:
            reply = asked(registry, target=f"/v2/a/referrers/{Digest.of(DATA)}")
        assert reply.status == (200 if kind == "html" else int(kind))
        assert reply.headers.get_content_maintype() == "text"

    def test_referrers_are_not_filtered(self) -> None:
        image = build_image()
        with odd(referrers_filter=False) as registry:
            registry.add_image("a", build_artifact(image.descriptor))
            target = f"/v2/a/referrers/{image.descriptor.digest}?artifactType=other"
            reply = asked(registry, target=target)
        assert len(json.loads(reply.body)["manifests"]) == 1
        assert "OCI-Filters-Applied" not in reply.headers

    def test_the_tag_of_the_referrers_is_the_subject(self) -> None:
        image = build_image()
        with odd(gitlab_referrers_tag=True) as registry:
            registry.add_image("a", image)
            reply = asked(registry, target=f"/v2/a/manifests/sha256-{image.descriptor.digest.hex}")
        assert reply.body == image.manifest

    def test_there_is_no_catalog(self) -> None:
        with odd(catalog=False) as registry:
            assert asked(registry, target="/v2/_catalog").status == 404
