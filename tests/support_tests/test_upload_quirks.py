"""Each quirk of the emulated registry that concerns uploads does what it says."""

import http.client
import time

import pytest

from ocitool.oci import Digest
from tests.places.registry.plain_client import send
from tests.places.registry.quirky import DATA, UPLOADS, code_of, location, odd, put
from tests.support.registry_faults import Drop


class TestUploads:
    def test_a_repository_must_exist(self) -> None:
        with odd(requires_repository=True) as registry:
            assert code_of(send(registry.host, "POST", "/v2/b/blobs/uploads/")) == "NAME_UNKNOWN"
            assert put(registry).status == 201

    @pytest.mark.parametrize(
        ("kind", "start"),
        [
            ("relative", "/v2/a/blobs/uploads/"),
            ("absolute", "http://127.0.0.1:PORT/v2/"),
            ("plain_http", "http://127.0.0.1:PORT/v2/"),
            ("no_port", "http://127.0.0.1/v2/"),
            ("other_host", "http://SECOND/v2/"),
        ],
    )
    def test_the_location_is_spelled_in_many_ways(self, kind: str, start: str) -> None:
        with odd(location=kind) as registry:
            start = start.replace("127.0.0.1:PORT", registry.host)
            start = start.replace("SECOND", registry.second_host)
            assert location(registry).startswith(start)

    def test_an_odd_query_must_survive(self) -> None:
        with odd(location="odd_query") as registry:
            target = location(registry)
            assert target.endswith("?_state=a%2Fb%3D%3D&x=1")
            digest = Digest.of(DATA)
            changed = target.replace("%2F", "/")
            assert send(registry.host, "PUT", f"{changed}&digest={digest}", DATA).status == 404
            assert send(registry.host, "PUT", f"{target}&digest={digest}", DATA).status == 201

    def test_the_second_host_takes_no_credentials(self) -> None:
        with odd(location="other_host") as registry:
            target = location(registry).partition(registry.second_host)[2]
            target = f"{target}&digest={Digest.of(b'x')}"
            guilty = {"Authorization": "Basic x"}
            refused = send(registry.second_host, "PUT", target, b"x", guilty)
            done = send(registry.second_host, "PUT", target, b"x")
            hosts = [logged.host for logged in registry.requests("PUT")]
        assert (refused.status, done.status) == (400, 201)
        assert hosts == [registry.second_host] * 2

    def test_one_post_is_not_enough(self) -> None:
        with odd(single_post="ignored") as registry:
            target = f"{UPLOADS}?digest={Digest.of(b'x')}"
            assert send(registry.host, "POST", target, b"x").status == 202
            assert Digest.of(b"x") not in registry.blobs["a"]

    @pytest.mark.parametrize("status", [201, 202, 400, 401, 403, 404, 405, 500])
    def test_a_mount_has_any_status(self, status: int) -> None:
        with odd(mount_status=status) as registry:
            target = f"/v2/b/blobs/uploads/?mount={Digest.of(DATA)}&from=a"
            assert send(registry.host, "POST", target).status == status
            assert send(registry.host, "POST", "/v2/b/blobs/uploads/").status == 202

    def test_chunks_are_not_known(self) -> None:
        with odd(monolithic_only=True) as registry:
            target = location(registry).removeprefix(registry.url)
            assert send(registry.host, "PATCH", target, b"x").status == 405

    def test_chunks_are_told_of_wrongly(self) -> None:
        with odd(patch_201=True, upload_status_404=True) as registry:
            target = location(registry).removeprefix(registry.url)
            replies = [send(registry.host, "PATCH", target, b"abc") for _ in range(2)]
            assert send(registry.host, "GET", target).status == 404
        assert [reply.status for reply in replies] == [201, 201]
        assert [reply.headers["Range"] for reply in replies] == ["0-2", "0-2"]

    @pytest.mark.parametrize(("dead", "status"), [(True, 404), (False, 204)])
    def test_a_broken_body_may_kill_its_session(self, dead: bool, status: int) -> None:
        with odd(dead_sessions=dead) as registry:
            registry.fail("PATCH", "/", Drop(after=3, of="received"))
            target = location(registry).removeprefix(registry.url)
            with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
                send(registry.host, "PATCH", target, DATA)
            assert send(registry.host, "GET", target).status == status

    def test_a_chunk_is_appended_wherever_it_belongs(self) -> None:
        with odd(blind_append=True) as registry:
            target = location(registry).removeprefix(registry.url)
            wrong = {"Content-Range": "7-9"}
            assert send(registry.host, "PATCH", target, b"abc", wrong).status == 202

    def test_a_chunk_with_a_range_has_a_limit(self) -> None:
        with odd(content_range_limit=4 << 20) as registry:
            target = location(registry).removeprefix(registry.url)
            size = (4 << 20) + 1
            headers = {"Content-Range": f"0-{size - 1}", "Content-Length": str(size)}
            reply = send(registry.host, "PATCH", target, b"the first bytes", headers)
            assert send(registry.host, "PATCH", target, bytes(size)).status == 202
        assert (reply.status, b"4.00MiB" in reply.body) == (416, True)

    def test_only_the_last_chunk_may_be_short(self) -> None:
        with odd(chunk_min_length=3) as registry:
            reply = send(registry.host, "POST", UPLOADS)
            target = reply.headers["Location"].removeprefix(registry.url)
            statuses = [send(registry.host, "PATCH", target, b).status for b in (b"ab", b"cde")]
        assert reply.headers["OCI-Chunk-Min-Length"] == "3"
        assert statuses == [202, 416]

    def test_a_package_may_not_be_written(self) -> None:
        with odd(write_denied=True) as registry:
            reply = send(registry.host, "POST", UPLOADS)
        assert (reply.status, b"write_package" in reply.body) == (403, True)

    def test_a_commit_takes_its_time(self) -> None:
        with odd(commit_seconds=0.3) as registry:
            begun = time.monotonic()
            assert put(registry).status == 201
        assert time.monotonic() - begun >= 0.3

    def test_a_commit_is_denied_though_it_was_done(self) -> None:
        with odd(commit_forgets="404") as registry:
            assert code_of(put(registry, b"x")) == "BLOB_UPLOAD_UNKNOWN"
            assert Digest.of(b"x") in registry.blobs["a"]
            assert put(registry, b"y").status == 201

    def test_a_commit_is_done_and_its_answer_lost(self) -> None:
        with odd(commit_forgets="drop") as registry:
            with pytest.raises(http.client.RemoteDisconnected):
                put(registry, b"x")
            assert Digest.of(b"x") in registry.blobs["a"]

    def test_a_commit_is_denied_as_often_as_planned(self) -> None:
        with odd(commit_forgets="404", commit_forgets_times=2) as registry:
            assert [put(registry).status for _ in range(3)] == [404, 404, 201]
