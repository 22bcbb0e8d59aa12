"""S7, S8, S10, S11, S12, S13, S18: uploads, manifests, and what becomes of them."""

import datetime as dt
import json
import threading
import time
from pathlib import Path

import pytest

from ocitool import garbage
from ocitool.oci import Digest
from ocitool.operations.tag import tag
from ocitool.places.layout import Layout
from ocitool.places.layout.lease import claimed_digests
from ocitool.places.layout.lock import locked
from ocitool.places.layout.reflog import events
from ocitool.places.layout.uploads import UPLOADS, clear_old_uploads
from ocitool.serving.messages import BrokenBody
from ocitool.serving.writing import writer as writer_module
from tests.support.layouts import A, B, bring, image, names_of, store
from tests.support.serving import (
    INDEX,
    Bytes,
    Registry,
    config_of,
    index_of,
    manifest_of,
    reading,
    writing,
)
from tests.support.stores import assert_whole, checked

DATA = b"0123456789" * 100
DIGEST = Digest.of(DATA)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def registry(folder: Path) -> "Registry":  # type: ignore[misc]
    with writing(folder) as served:
        yield served


def begun(registry: Registry, name: str = "app") -> str:
    """Start an upload and return its address."""
    started = registry.ask("POST", f"/v2/{name}/blobs/uploads/")
    assert started.status == 202
    assert started.headers["Range"] == "0-0"
    return started.headers["Location"]


class Breaking(Bytes):
    """A client that goes away."""

    def read(self) -> bytes:
        data = super().read()
        if not data:
            raise BrokenBody("the client is gone")
        return data


class TestS7Uploads:
    def test_in_pieces_with_ranges(self, registry: Registry) -> None:
        where = begun(registry)
        first = registry.ask("PATCH", where, DATA[:300], {"content-range": "0-299"})
        assert (first.status, first.headers["Range"]) == (202, "0-299")
        status = registry.ask("GET", first.headers["Location"])
        assert (status.status, status.headers["Range"]) == (204, "0-299")
        rest = {"content-range": "300-999"}
        done = registry.ask("PUT", f"{where}?digest={DIGEST}", DATA[300:], rest)
        assert (done.status, done.headers["Docker-Content-Digest"]) == (201, str(DIGEST))
        assert done.headers["Location"] == f"/v2/app/blobs/{DIGEST}"
        assert registry.get(f"/v2/app/blobs/{DIGEST}").body == DATA
        assert registry.ask("GET", where).code == "BLOB_UPLOAD_UNKNOWN"

    def test_streamed_without_a_length(self, registry: Registry) -> None:
        where = begun(registry)
        body = Bytes(DATA[:1], DATA[1:500], DATA[500:], length=None)
        assert registry.ask("PATCH", where, body).status == 202
        assert registry.ask("PUT", f"{where}?digest={DIGEST}").status == 201

    @pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
    def test_in_one_request(self, registry: Registry, algorithm: str) -> None:
        digest = registry.push_blob("app", DATA, algorithm)
        assert registry.get(f"/v2/app/blobs/{digest}").body == DATA

    @pytest.mark.parametrize("asked", ["1-300", "0-298", "900-1199"])
    def test_out_of_order_is_refused_with_the_true_range(
        self, registry: Registry, asked: str
    ) -> None:
        where = begun(registry)
        registry.ask("PATCH", where, DATA[:300], {"content-range": "0-299"})
        got = registry.ask("PATCH", where, DATA[:300], {"content-range": asked})
        assert (got.status, got.headers["Range"]) == (416, "0-299")
        # The upload stays usable.
        assert registry.ask("PUT", f"{where}?digest={DIGEST}", DATA[300:]).status == 201

    def test_a_wrong_digest_ends_the_upload(self, registry: Registry, folder: Path) -> None:
        where = begun(registry)
        got = registry.ask("PUT", f"{where}?digest={Digest.of(b'other')}", DATA)
        assert (got.status, got.code) == (400, "DIGEST_INVALID")
        assert registry.ask("GET", where).status == 404
        assert list((folder / ".ocitool" / UPLOADS).iterdir()) == []

    def test_cancelled(self, registry: Registry) -> None:
        where = begun(registry)
        assert registry.ask("DELETE", where).status == 204
        assert registry.ask("PATCH", where, DATA).status == 404

    def test_an_upload_belongs_to_its_repository(self, registry: Registry) -> None:
        where = begun(registry).replace("/v2/app/", "/v2/other/")
        assert registry.ask("PATCH", where, DATA).status == 404

    def test_a_client_that_goes_away_goes_on_where_it_was(self, registry: Registry) -> None:
        where = begun(registry)
        got = registry.ask("PATCH", where, Breaking(DATA[:100], DATA[100:400], length=1000))
        assert got.status == 400
        assert registry.ask("GET", where).headers["Range"] == "0-399"
        rest = {"content-range": "400-999"}
        assert registry.ask("PUT", f"{where}?digest={DIGEST}", DATA[400:], rest).status == 201

    def test_two_at_once_on_one_upload(self, registry: Registry) -> None:
        where = begun(registry)
        entered, leave = threading.Event(), threading.Event()

        class Slow(Bytes):
            def read(self) -> bytes:
                entered.set()
                leave.wait(5)
                return super().read()

        statuses: list[int] = []
        thread = threading.Thread(
            target=lambda: statuses.append(registry.ask("PATCH", where, Slow(DATA)).status)
        )
        thread.start()
        assert entered.wait(5)
        assert registry.ask("PATCH", where, DATA).status == 416
        leave.set()
        thread.join()
        assert statuses == [202]
        assert registry.ask("PUT", f"{where}?digest={DIGEST}").status == 201

    def test_mounts(self, registry: Registry) -> None:
        registry.push_blob("one", DATA)
        got = registry.ask("POST", f"/v2/two/blobs/uploads/?mount={DIGEST}&from=one")
        assert (got.status, got.headers["Location"]) == (201, f"/v2/two/blobs/{DIGEST}")
        assert registry.ask("POST", f"/v2/two/blobs/uploads/?mount={DIGEST}").status == 201
        unknown = Digest.of(b"unknown")
        got = registry.ask("POST", f"/v2/two/blobs/uploads/?mount={unknown}&from=one")
        assert got.status == 202

    def test_a_mount_gives_nothing_that_the_client_may_not_read(self, folder: Path) -> None:
        with writing(folder, by_repository=True) as served:
            served.push_blob("one", DATA)
            target = f"/v2/two/blobs/uploads/?mount={DIGEST}"
            assert served.ask("POST", target).status == 202
            assert served.ask("POST", f"{target}&from=three").status == 202
            assert served.get(f"/v2/two/blobs/{DIGEST}").status == 404
            assert served.ask("POST", f"{target}&from=one").status == 201
            assert served.get(f"/v2/two/blobs/{DIGEST}").status == 200

    def test_too_large_is_refused_before_it_is_sent(self, folder: Path) -> None:
        with writing(folder, largest=500) as served:
            where = begun(served)
            body = Bytes(DATA)
            got = served.ask("PATCH", where, body)
            assert (got.status, body.reads) == (413, 0)
            got = served.ask("PATCH", where, Bytes(DATA[:400], DATA[400:], length=None))
            assert got.status == 413


class TestS8Manifests:
    def test_by_tag(self, registry: Registry, folder: Path) -> None:
        raw = registry.image_of("app", "x")
        got = registry.put_manifest("app", "1.0", raw)
        assert got.status == 201
        assert got.headers["Location"] == f"/v2/app/manifests/{Digest.of(raw)}"
        assert registry.get("/v2/app/manifests/1.0").body == raw
        assert_whole(folder)

    def test_what_it_needs_must_be_here(self, registry: Registry) -> None:
        got = registry.put_manifest("app", "1", manifest_of(b"{}", b"a layer"))
        assert (got.status, got.code) == (400, "MANIFEST_BLOB_UNKNOWN")
        assert set(got.detail["digests"]) == {
            str(Digest.of(b"{}")),
            str(Digest.of(b"a layer")),
        }

    def test_a_foreign_layer_and_a_subject_need_not_be_here(self, registry: Registry) -> None:
        registry.push_blob("app", b"{}")
        fields = json.loads(manifest_of(b"{}", b"windows"))
        kind = "application/vnd.oci.image.layer.nondistributable.v1.tar"
        fields["layers"][0] |= {"mediaType": kind, "urls": ["https://example.com/x"]}
        subject = Digest.of(b"nothing")
        fields["subject"] = {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": str(subject),
            "size": 7,
        }
        got = registry.put_manifest("app", "1", json.dumps(fields).encode())
        assert (got.status, got.headers["OCI-Subject"]) == (201, str(subject))

    @pytest.mark.parametrize(
        ("raw", "media_type", "status"),
        [
            (b"not json", "application/vnd.oci.image.manifest.v1+json", 400),
            (b"[]", "application/vnd.oci.image.manifest.v1+json", 400),
            (manifest_of(b"{}"), INDEX, 400),
            (b'{"schemaVersion": 1, "fsLayers": []}', "", 400),
            (b"{" * 100_000, "application/json", 400),
            (b" " * ((4 << 20) + 1), "application/json", 413),
        ],
    )
    def test_what_is_no_manifest(
        self, registry: Registry, raw: bytes, media_type: str, status: int
    ) -> None:
        got = registry.put_manifest("app", "1", raw, media_type)
        assert (got.status, got.code) == (status, "MANIFEST_INVALID")

    def test_the_digest_in_the_address_must_fit(self, registry: Registry) -> None:
        raw = registry.image_of("app", "x")
        got = registry.put_manifest("app", str(Digest.of(b"other")), raw)
        assert (got.status, got.code) == (400, "DIGEST_INVALID")

    def test_an_unknown_type_is_stored_as_it_is(self, registry: Registry) -> None:
        kind = "application/vnd.example.thing+json"
        raw = json.dumps({"mediaType": kind, "x": [1, 2]}).encode()
        assert registry.put_manifest("app", "thing", raw, kind).status == 201
        got = registry.get("/v2/app/manifests/thing")
        assert (got.body, got.headers["Content-Type"]) == (raw, kind)

    def test_the_same_push_again_is_no_event(self, registry: Registry, folder: Path) -> None:
        raw = registry.image_of("app", "x")
        registry.put_manifest("app", "1", raw)
        before = (folder / "index.json").read_bytes()
        assert registry.put_manifest("app", "1", raw).status == 201
        assert (folder / "index.json").read_bytes() == before
        with Layout.existing(str(folder)) as layout:
            assert layout.control is not None
            assert [event.name for event in events(layout.control)] == ["localhost/app:1"]

    def test_tags_as_parameters(self, registry: Registry) -> None:
        raw = registry.image_of("app", "x")
        got = registry.put_manifest("app", f"{Digest.of(raw)}?tag=a&tag=b", raw)
        assert (got.status, got.headers["OCI-Tag"]) == (201, "a, b")
        assert registry.get("/v2/app/tags/list").json["tags"] == ["a", "b"]

    def test_a_tag_that_moved_is_not_overwritten_unseen(self, registry: Registry) -> None:
        old, new = registry.image_of("app", "old"), registry.image_of("app", "new")
        registry.put_manifest("app", "1", new)
        headers = {"if-match": f'"{Digest.of(old)}"'}
        got = registry.ask("PUT", "/v2/app/manifests/1", old, headers)
        assert got.status == 412
        headers = {"if-match": f'"{Digest.of(new)}"'}
        assert registry.ask("PUT", "/v2/app/manifests/1", old, headers).status == 201

    def test_by_digest_alone_it_is_in_its_repository(self, folder: Path) -> None:
        with writing(folder) as served:
            raw = served.image_of("app", "x")
            assert served.put_manifest("app", str(Digest.of(raw)), raw).status == 201
            target = f"manifests/{Digest.of(raw)}"
            assert served.get(f"/v2/app/{target}").body == raw
            assert served.get(f"/v2/other/{target}").status == 404
        # Another process, later.
        with reading(folder) as served:
            assert served.get(f"/v2/app/{target}").body == raw

    def test_an_image_whose_tag_moved_stays_in_its_repositories_by_digest(
        self, folder: Path
    ) -> None:
        with store(folder) as layout:
            bring(layout, image("local"), "localhost/b:1")
            local = layout.resolve("localhost/b:1").descriptor.digest
        with writing(folder) as served:
            first = served.push_image("a", "1", "old")
            served.push_image("s/a", "1", "old")
            for name in ("a", "s/a", "b"):
                served.push_image(name, "1", "new")
            # The same image gets a tag elsewhere, by a client and by a command.
            served.push_image("c", "1", "old")
            with Layout.existing(str(folder)) as layout:
                tag(layout, layout.resolve(str(first)), ["localhost/d:1"])
            found = {
                name: served.get(f"/v2/{name}/manifests/{digest}").status
                for name, digest in {
                    "a": first,
                    "s/a": first,
                    "c": first,
                    "d": first,
                    "b": local,
                }.items()
            }
            assert found == dict.fromkeys(("a", "s/a", "c", "d", "b"), 200)
            assert served.get(f"/v2/b/manifests/{first}").status == 404


class TestS10WhatIsPushedIsReadByTheSamePath:
    @pytest.mark.parametrize(
        ("path", "stored"),
        [
            ("team/app", "localhost/team/app:1"),
            ("app", "localhost/app:1"),
            ("ghcr.io/team/app", "ghcr.io/team/app:1"),
            ("docker.io/app", "docker.io/library/app:1"),
            ("localhost/app", "localhost/app:1"),
        ],
    )
    def test_by_path(self, folder: Path, path: str, stored: str) -> None:
        with writing(folder) as served:
            digest = served.push_image(path, "1")
        with Layout.existing(str(folder)) as layout:
            assert names_of(layout) == {stored: str(digest)}
        with reading(folder) as served:
            got = served.get(f"/v2/{path}/manifests/1")
            assert got.headers["Docker-Content-Digest"] == str(digest)

    def test_beside_the_same_path_of_another_registry(self, folder: Path) -> None:
        with store(folder) as layout:
            bring(layout, image("hub"), "docker.io/team/app:1")
        with writing(folder) as served:
            digest = served.push_image("localhost/team/app", "1")
            got = served.get("/v2/team/app/manifests/1")
            assert got.headers["Docker-Content-Digest"] == str(digest)


class TestS11Claims:
    def test_gc_takes_no_blob_between_its_push_and_its_manifest(self, folder: Path) -> None:
        with writing(folder) as served:
            raw = served.image_of("app", "x")
            collect(folder)
            assert served.put_manifest("app", "1", raw).status == 201
            collect(folder)
            assert served.get("/v2/app/manifests/1").status == 200
        assert checked(folder).sound

    def test_a_blob_that_a_client_finds_stays_for_its_manifest(self, folder: Path) -> None:
        with writing(folder) as served:
            raw = served.image_of("old", "x")
        with writing(folder) as served:
            for digest in (Digest.of(b"layer x"), Digest.of(config_of(b"layer x"))):
                assert served.ask("HEAD", f"/v2/new/blobs/{digest}").status == 200
            collect(folder)
            assert served.put_manifest("new", "1", raw).status == 201

    def test_an_image_pushed_by_digest_stays_for_its_index(self, folder: Path) -> None:
        with writing(folder) as served:
            raw = served.image_of("app", "x")
            served.put_manifest("app", str(Digest.of(raw)), raw)
            collect(folder)
            assert served.put_manifest("app", "1", index_of(raw), INDEX).status == 201

    def test_what_a_tag_names_is_not_claimed_any_longer(self, folder: Path) -> None:
        with writing(folder) as served:
            served.push_image("app", "1")
            with Layout.existing(str(folder)) as layout:
                assert layout.control is not None
                assert claimed_digests(layout.control) == set()

    def test_the_clock_does_not_matter(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with writing(folder) as served:
            raw = served.image_of("app", "x")
            real = time.time
            monkeypatch.setattr(time, "time", lambda: real() + 7200)
            collect(folder)
            assert served.put_manifest("app", "1", raw).status == 201


def collect(folder: Path, days: float = 0.9) -> None:
    """Run a garbage collection some days from now; by then nothing is spared for its age."""
    with Layout.existing(str(folder)) as layout:
        later = time.time() + days * 86_400
        plan = garbage.plan(layout, garbage.Choice(), uses=[], now=later)
        garbage.sweep(layout, plan, now=later)


class TestS12TheLock:
    def test_a_store_that_is_locked_too_long(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(writer_module, "LOCK_SECONDS", 0.1)
        with writing(folder) as served:
            raw = served.image_of("app", "x")
            with Layout.existing(str(folder)) as layout:
                assert layout.control is not None
                with locked(layout.control):
                    got = served.put_manifest("app", "1", raw)
                    assert (got.status, got.headers["Retry-After"]) == (503, "1")
                    # Reading needs no lock.
                    assert served.get("/v2/_catalog").status == 200
            assert served.put_manifest("app", "1", raw).status == 201

    def test_nothing_is_read_from_the_network_under_the_lock(self, folder: Path) -> None:
        with writing(folder) as served:
            where = begun(served)

            class Looking(Bytes):
                def read(self) -> bytes:
                    with Layout.existing(str(folder)) as layout:
                        assert layout.control is not None
                        with locked(layout.control, 0.1):
                            return super().read()

            assert served.ask("PATCH", where, Looking(DATA)).status == 202
            done = served.ask("PUT", f"{where}?digest={DIGEST}", Looking(length=None))
            assert done.status == 201


class TestS13UploadsOutliveTheServer:
    def test_after_a_restart_it_goes_on(self, folder: Path) -> None:
        with writing(folder) as served:
            where = begun(served)
            served.ask("PATCH", where, Breaking(DATA[:400], length=1000))
        with writing(folder) as served:
            assert served.ask("GET", where).headers["Range"] == "0-399"
            assert served.ask("PUT", f"{where}?digest={DIGEST}", DATA[400:]).status == 201
            assert served.get(f"/v2/app/blobs/{DIGEST}").body == DATA

    def test_after_a_crash_of_the_machine_it_begins_anew(self, folder: Path) -> None:
        with writing(folder) as served:
            where = begun(served)
            served.ask("PATCH", where, DATA[:300])
        journal = folder / ".ocitool" / UPLOADS / f"{where.rpartition('/')[2]}.ranges"
        fields = {**json.loads(journal.read_text()), "boot": "an earlier one"}
        journal.write_text(json.dumps(fields))
        with writing(folder) as served:
            assert served.ask("GET", where).code == "BLOB_UPLOAD_UNKNOWN"
            assert list((folder / ".ocitool" / UPLOADS).iterdir()) == []

    def test_after_a_day_it_is_gone(self, folder: Path) -> None:
        with writing(folder) as served:
            where = begun(served)
            served.ask("PATCH", where, DATA)
            with Layout.existing(str(folder)) as layout:
                assert layout.control is not None
                assert clear_old_uploads(layout.control, time.time() + 80_000) == 0
                assert clear_old_uploads(layout.control, time.time() + 90_000) == 1
            assert served.ask("GET", where).status == 404

    def test_gc_removes_what_no_server_will(self, folder: Path) -> None:
        with writing(folder) as served:
            where = begun(served)
            served.ask("PATCH", where, DATA)
        uploads = folder / ".ocitool" / UPLOADS
        collect(folder, days=0.5)
        assert len(list(uploads.iterdir())) == 2
        collect(folder, days=1.5)
        assert list(uploads.iterdir()) == []


class TestS14Deleting:
    def test_a_tag_alone(self, registry: Registry) -> None:
        digest = registry.push_image("app", "1")
        assert registry.ask("DELETE", "/v2/app/manifests/1").status == 202
        assert registry.get("/v2/app/manifests/1").status == 404
        assert registry.get(f"/v2/app/manifests/{digest}").status == 200

    def test_a_manifest_with_its_tags_waits_in_the_trash(
        self, registry: Registry, folder: Path
    ) -> None:
        digest = registry.push_image("app", "1")
        registry.put_manifest("app", "2", registry.image_of("app", "x"))
        assert registry.ask("DELETE", f"/v2/app/manifests/{digest}").status == 202
        for reference in ("1", "2", str(digest)):
            assert registry.get(f"/v2/app/manifests/{reference}").status == 404
        with Layout.existing(str(folder)) as layout:
            garbage.undo(layout)
        assert registry.get("/v2/app/manifests/1").headers["Docker-Content-Digest"] == str(digest)

    def test_a_platform_is_not_taken_out_of_a_tagged_index(self, registry: Registry) -> None:
        raw = registry.image_of("app", "x")
        registry.put_manifest("app", str(Digest.of(raw)), raw)
        registry.put_manifest("app", "multi", index_of(raw), INDEX)
        got = registry.ask("DELETE", f"/v2/app/manifests/{Digest.of(raw)}")
        assert (got.status, got.detail) == (405, {"tags": ["multi"]})
        index = Digest.of(index_of(raw))
        assert registry.ask("DELETE", f"/v2/app/manifests/{index}").status == 202
        assert registry.ask("DELETE", f"/v2/app/manifests/{Digest.of(raw)}").status == 202

    def test_an_image_of_two_repositories_leaves_one(self, registry: Registry) -> None:
        digest = registry.push_image("one", "1")
        registry.push_image("two", "1")
        assert registry.ask("DELETE", f"/v2/one/manifests/{digest}").status == 202
        assert registry.get(f"/v2/one/manifests/{digest}").status == 404
        assert registry.get("/v2/two/manifests/1").status == 200

    def test_a_pinned_image_stays(self, registry: Registry, folder: Path) -> None:
        from ocitool.operations.pin import pin

        digest = registry.push_image("app", "1")
        with Layout.existing(str(folder)) as layout:
            pin(layout, layout.roots(), now=dt.datetime.now(dt.UTC))
        got = registry.ask("DELETE", f"/v2/app/manifests/{digest}")
        assert (got.status, got.code) == (405, "UNSUPPORTED")
        assert registry.get("/v2/app/manifests/1").status == 200

    def test_a_blob(self, registry: Registry) -> None:
        registry.push_blob("app", DATA)
        assert registry.ask("DELETE", f"/v2/app/blobs/{DIGEST}").status == 202
        assert registry.get(f"/v2/app/blobs/{DIGEST}").status == 404
        assert registry.ask("DELETE", f"/v2/app/blobs/{DIGEST}").status == 404
        registry.push_blob("app", DATA)
        assert registry.get(f"/v2/app/blobs/{DIGEST}").status == 200

    def test_a_blob_that_an_image_needs(self, registry: Registry) -> None:
        registry.push_image("app", "1")
        got = registry.ask("DELETE", f"/v2/app/blobs/{Digest.of(b'layer x')}")
        assert (got.status, got.code) == (405, "UNSUPPORTED")

    def test_not_unless_it_was_said(self, folder: Path) -> None:
        with writing(folder, deletes=False) as served:
            served.push_image("app", "1")
            assert served.ask("DELETE", "/v2/app/manifests/1").status == 405
            assert served.get("/v2/app/manifests/1").status == 200


class TestS15ChangesBeside:
    def test_what_others_tag_and_remove(self, registry: Registry, folder: Path) -> None:
        registry.push_image("app", "1")
        with Layout.existing(str(folder)) as layout:
            bring(layout, image("other"), A, B)
            assert registry.get("/v2/library/a/manifests/1").status == 200
            from ocitool.places.layout import untag

            untag(layout, [A])
            assert registry.get("/v2/library/a/manifests/1").status == 404
            assert registry.get("/v2/library/b/manifests/1").status == 200


class TestS18AFullDisk:
    def test_the_upload_waits_for_room(
        self, registry: Registry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ocitool.fsops import Directory

        where = begun(registry)
        registry.ask("PATCH", where, DATA[:300])
        with monkeypatch.context() as patch:
            patch.setattr(Directory, "free_space", lambda _self: (1000, 1_000_000))
            body = Bytes(DATA[300:])
            got = registry.ask("PATCH", where, body)
            assert (got.status, got.json["errors"][0]["message"]) == (500, "no space")
            assert body.reads == 0
            assert registry.get("/v2/_catalog").status == 200
        assert registry.ask("GET", where).headers["Range"] == "0-299"
        assert registry.ask("PUT", f"{where}?digest={DIGEST}", DATA[300:]).status == 201
