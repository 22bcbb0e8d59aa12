"""ocitool bundle create, show and verify, as a user types them."""

import getpass
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ocitool.version import __version__
from tests.support.bundle_bytes import flipped, members, regions, sha256
from tests.support.command import FIXTURES, Command, environment
from tests.support.http_exchange import Exchange
from tests.support.images import (
    BuiltArtifact,
    as_json,
    build_artifact,
    build_image,
    build_index,
    oci_archive,
)
from tests.support.made_bundles import made
from tests.support.registry import EmulatedRegistry, Quirks

BASE = {"base": b"a layer of several images " * 100}
ONE = build_image([BASE, {"one": b"1"}])
TWO = build_image([BASE, {"two": b"2"}])
NEXT = build_image([BASE, {"one": b"another"}])
NAMES = ("docker.io/t/one:1", "docker.io/t/two:1")


def ok(command: Command, *arguments: str | Path, **how: Any) -> Any:
    """Run a command that has to succeed, and return its JSON."""
    done = command(*arguments, "--json", **how)
    assert done.code == 0, done.err
    return done.json


@pytest.fixture
def stocked(ocitool: Command) -> Command:
    """Return the command with two images in its store."""
    archive = ocitool.cwd / "in.tar"
    archive.write_bytes(oci_archive({NAMES[0]: ONE, NAMES[1]: TWO}))
    ok(ocitool, "load", archive)
    return ocitool


def list_in(path: Path) -> Any:
    """Return the list of a bundle, read from its tar alone."""
    return json.loads(members(path.read_bytes())["ocitool-bundle.json"])


class TestSameBytes:
    def test_a2_whatever_the_order_the_folder_and_the_surroundings(self, stocked: Command) -> None:
        made_first = stocked.cwd / "a.tar"
        ok(stocked, "bundle", "create", *NAMES, "-o", made_first)
        (stocked.cwd / "elsewhere").mkdir()
        other = Command(stocked.cwd / "other store", stocked.cwd / "elsewhere")
        shutil.copytree(stocked.store, other.store)
        old = os.umask(0o077)
        try:
            how: dict[str, Any] = {"variables": {"TZ": "Asia/Kolkata", "HOME": "/nonexistent"}}
            ok(other, "bundle", "create", *NAMES[::-1], NAMES[0], "-o", "b.tar", **how)
        finally:
            os.umask(old)
        assert (other.cwd / "b.tar").read_bytes() == made_first.read_bytes()

    def test_a2_through_a_pipe_and_from_an_archive(self, stocked: Command) -> None:
        ok(stocked, "bundle", "create", *NAMES, "-o", "a.tar")
        piped = stocked.run_bytes("bundle", "create", *NAMES, "-o", "-")
        assert piped.returncode == 0, piped.stderr
        ok(stocked, "bundle", "create", "./in.tar", "-o", "c.tar")
        expected = (stocked.cwd / "a.tar").read_bytes()
        assert piped.stdout == expected
        assert (stocked.cwd / "c.tar").read_bytes() == expected

    def test_a2_whatever_the_order_of_the_bases(self, stocked: Command) -> None:
        for number, name in enumerate(NAMES):
            ok(stocked, "bundle", "create", name, "-o", f"{number}.tar")
        both = [("--base", "0.tar"), ("--base", "1.tar")]
        (stocked.cwd / "next.tar").write_bytes(oci_archive({"docker.io/t/one:2": NEXT}))
        for output, order in (("a", both), ("b", both[::-1])):
            bases = [word for pair in order for word in pair]
            ok(stocked, "bundle", "create", "./next.tar", *bases, "-o", f"{output}.delta.tar")
        first, second = (stocked.cwd / f"{name}.delta.tar" for name in "ab")
        assert first.read_bytes() == second.read_bytes()
        assert [one["digest"] for one in list_in(first)["requires"]] == [str(ONE.layers[0].digest)]

    def test_a2_at_another_time(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "later").mkdir()
        first = made(tmp_path / "a.tar", {NAMES[0]: ONE})
        monkeypatch.setattr(time, "time", lambda: 4e9)
        monkeypatch.setattr(time, "time_ns", lambda: 4 * 10**18)
        second = made(tmp_path / "later" / "b.tar", {NAMES[0]: ONE})
        assert first.read_bytes() == second.read_bytes()

    def test_a2_the_list_is_compact_and_names_no_time_host_user_or_path(
        self, stocked: Command
    ) -> None:
        ok(stocked, "bundle", "create", *NAMES, "-o", "a.tar")
        raw = members((stocked.cwd / "a.tar").read_bytes())["ocitool-bundle.json"]
        value = json.loads(raw)
        assert raw == json.dumps(value, separators=(",", ":")).encode("ascii")
        keys = ["format", "kind", "files", "blobs", "requires", "images", "size"]
        assert list(value) == keys
        assert (value["format"], value["kind"]) == ("ocitool-bundle/1", "full")
        assert value["size"] == (stocked.cwd / "a.tar").stat().st_size
        text = raw.decode()
        for word in (os.uname().nodename, str(stocked.cwd), "20", "time", "version"):
            assert f'"{word}' not in text


def test_a2_who_made_it_stands_in_a_file_beside_it(stocked: Command) -> None:
    ok(stocked, "bundle", "create", *NAMES, "-o", "a.tar")
    done = stocked("bundle", "create", *NAMES, "-o", "b.tar", "--info-out", "b.info.json")
    assert done.code == 0, done.err
    data = (stocked.cwd / "b.tar").read_bytes()
    assert data == (stocked.cwd / "a.tar").read_bytes()
    info = json.loads((stocked.cwd / "b.info.json").read_bytes())
    made_at = datetime.fromisoformat(info.pop("created"))
    assert abs((datetime.now(UTC) - made_at).total_seconds()) < 300
    assert info == {
        "format": "ocitool-info/1",
        "bundle": sha256(members(data)["ocitool-bundle.json"]),
        "user": getpass.getuser(),
        "version": __version__,
        "sources": list(NAMES),
        "files": ["b.tar"],
    }


class TestVerify:
    @pytest.fixture
    def bundle(self, stocked: Command) -> Path:
        ok(stocked, "bundle", "create", *NAMES, "-o", "a.tar")
        return stocked.cwd / "a.tar"

    def test_a3_a_sound_one(self, stocked: Command, bundle: Path) -> None:
        (report,) = ok(stocked, "bundle", "verify", bundle)["bundles"]
        assert (report["sound"], report["whole"], report["lost"]) == (True, list(NAMES), [])

    @pytest.mark.parametrize("kind", ["header", "content", "padding"])
    def test_a3_a_changed_member_is_named_and_ends_with_3(
        self, stocked: Command, bundle: Path, kind: str
    ) -> None:
        data = bundle.read_bytes()
        path = f"blobs/sha256/{TWO.layers[1].digest.hex}"
        (place,) = (one.begin for one in regions(data) if (one.member, one.kind) == (path, kind))
        bundle.write_bytes(flipped(data, place))
        done = stocked("bundle", "verify", bundle)
        assert done.code == 3
        assert path in done.out
        assert ("lost: t/two:1" in done.out) == (kind == "content")

    @pytest.mark.parametrize("kind", ["header", "padding"])
    def test_a3_so_is_a_changed_head(self, stocked: Command, bundle: Path, kind: str) -> None:
        data = bundle.read_bytes()
        where = ("ocitool-bundle.json", kind)
        (place,) = (one.begin for one in regions(data) if (one.member, one.kind) == where)
        bundle.write_bytes(flipped(data, place))
        done = stocked("bundle", "verify", bundle, "--json")
        assert done.code == 3
        value: Any = done.json
        assert "ocitool-bundle.json" in value["unreadable"][0]["error"]

    def test_a3_from_a_pipe(self, stocked: Command, bundle: Path) -> None:
        data = bundle.read_bytes()
        assert stocked("bundle", "verify", "-", stdin=data).code == 0
        assert stocked("bundle", "verify", "-", stdin=data[:-1]).code == 3
        assert stocked("bundle", "verify", "-", stdin=data[:1000]).code == 3

    @pytest.mark.parametrize("verb", ["verify", "show", "check", "load"])
    def test_a3_what_is_no_bundle_is_told_once(self, stocked: Command, verb: str) -> None:
        done = stocked("bundle", verb, stocked.cwd / "in.tar")
        assert (done.code, done.out) == (7, "")
        assert done.err.count("is not a bundle") == 1

    def test_a3_other_archives_of_a_folder_are_passed_over(
        self, stocked: Command, bundle: Path
    ) -> None:
        folder = stocked.cwd / "stick"
        folder.mkdir()
        bundle.rename(folder / "a.tar")
        shutil.copy(FIXTURES / "built" / "thin.tar", folder)
        for verb in ("verify", "show", "load"):
            assert stocked("bundle", verb, folder).code == 0

    def test_what_describes_a_bundle_leads_to_it(self, stocked: Command) -> None:
        (stocked.cwd / "a.info.json").write_text("{}" * 2000)
        done = stocked("bundle", "show", "a.info.json")
        assert done.code == 7
        assert "it describes a bundle: name that, a.tar" in done.err


def test_a1_a_closed_pipe_ends_with_141_and_no_message(stocked: Command) -> None:
    words = [sys.executable, "-m", "ocitool", "bundle", "create", NAMES[0], "-o", "-"]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            words,
            env=environment(stocked.store),
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


# What is attached.

SIGNATURE_TYPE = "application/vnd.example.signature"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
INDEX = build_index([ONE, build_image([BASE], platform="linux/arm64")])
SBOM = build_artifact(INDEX.descriptor, b"an SBOM", artifact_type="application/spdx+json")
SIGNED_SBOM = build_artifact(SBOM.descriptor, b"a signature of the SBOM")
TWICE = build_artifact(SIGNED_SBOM.descriptor, b"a timestamp of the signature")
OF_A_PLATFORM = build_artifact(ONE.descriptor, b"an SBOM of one platform")
COSIGN = build_artifact(None, b"a signature by tag")
TAG = f"sha256-{INDEX.descriptor.digest.hex}.sig"
SIGNED_COSIGN = build_artifact(COSIGN.descriptor, b"a signature of what a tag names")


def subjects(entries: list[Mapping[str, Any]]) -> dict[str, str]:
    """Return the subject of each attached thing of an image in a list."""
    return {entry["digest"]: entry["subject"] for entry in entries}


@pytest.fixture(params=["api", "404"])
def registry(request: pytest.FixtureRequest) -> Iterator[EmulatedRegistry]:
    """A registry with the API of referrers, and one with fallback tags."""
    with EmulatedRegistry(Quirks(referrers=request.param)) as registry:
        yield stocked_with_all(registry)


def stocked_with_all(registry: EmulatedRegistry) -> EmulatedRegistry:
    """Put an image and what is attached to it into a registry, and return that."""
    registry.add_image("t/app", INDEX, "1")
    for artifact in (SBOM, SIGNED_SBOM, TWICE, OF_A_PLATFORM, SIGNED_COSIGN):
        attach(registry, artifact)
    registry.add_image("t/app", COSIGN, TAG)
    return registry


def attach(registry: EmulatedRegistry, artifact: BuiltArtifact) -> None:
    """Put an artifact into the registry; where that has no API, the tag of its subject lists it."""
    registry.add_image("t/app", artifact)
    if registry.quirks.referrers == "api":
        return
    subject = json.loads(artifact.blobs[artifact.descriptor.digest])["subject"]["digest"]
    entry = {**artifact.descriptor.to_json(), "artifactType": SIGNATURE_TYPE}
    raw = as_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]})
    registry.add_manifest("t/app", raw, OCI_INDEX, subject.replace(":", "-"))


class TestAttached:
    def test_a4_to_any_depth_by_api_fallback_tag_and_cosign_tags(
        self, ocitool: Command, registry: EmulatedRegistry
    ) -> None:
        name = f"{registry.host}/t/app:1"
        by = "api" if registry.quirks.referrers == "api" else "fallback-tag"
        value = ok(ocitool, "bundle", "create", f"docker://{name}", "-o", "a.tar", "--strict")
        (image,) = list_in(ocitool.cwd / "a.tar")["images"]
        assert subjects(image["attached"]) == {
            str(SBOM.descriptor.digest): str(INDEX.descriptor.digest),
            str(SIGNED_SBOM.descriptor.digest): str(SBOM.descriptor.digest),
            str(TWICE.descriptor.digest): str(SIGNED_SBOM.descriptor.digest),
            str(OF_A_PLATFORM.descriptor.digest): str(ONE.descriptor.digest),
            str(COSIGN.descriptor.digest): str(INDEX.descriptor.digest),
            str(SIGNED_COSIGN.descriptor.digest): str(COSIGN.descriptor.digest),
        }
        assert image["closure"] == {
            "asked": sorted([by, "cosign-tags"]),
            "complete": True,
            "missing": [],
        }
        assert value["images"][0]["closure"]["complete"]
        assert ocitool("bundle", "verify", "a.tar").code == 0

    def test_a4_they_arrive_in_a_store_and_a_registry(
        self, ocitool: Command, registry: EmulatedRegistry
    ) -> None:
        ok(ocitool, "bundle", "create", f"docker://{registry.host}/t/app:1", "-o", "a.tar")
        loaded = ok(ocitool, "bundle", "load", "a.tar")
        assert loaded["attached"] == 6
        assert ok(ocitool, "gc", "--dry-run", "--containers", "none")["images"] == []
        with EmulatedRegistry() as site:
            ok(ocitool, "bundle", "load", "a.tar", "--to", f"{site.host}/mirror")
            (held,) = site.manifests.values()
            assert {SBOM.descriptor.digest, TWICE.descriptor.digest} <= set(held)
            (tags,) = site.tags.values()
            assert {"1", TAG} <= set(tags)

    def test_a4_what_is_listed_and_not_there_is_told_and_refused_by_strict(
        self, ocitool: Command
    ) -> None:
        lost = SIGNED_SBOM.descriptor.digest
        with EmulatedRegistry(Quirks(referrers="404")) as registry:
            stocked_with_all(registry)
            del registry.state.manifests["t/app"][lost]
            name = f"docker://{registry.host}/t/app:1"
            done = ocitool("bundle", "create", name, "-o", "a.tar", "--json")
            strict = ocitool("bundle", "create", name, "-o", "b.tar", "--strict")
            volumes = ("--strict", "--volume-size", "2m")
            cut = ocitool("bundle", "create", name, "-o", "c.tar", *volumes)
        assert (done.code, strict.code, cut.code) == (0, 3, 3)
        value: Any = done.json
        (image,) = list_in(ocitool.cwd / "a.tar")["images"]
        assert (image["closure"]["complete"], image["closure"]["missing"]) == (False, [str(lost)])
        assert value["incomplete"] == [name.removeprefix("docker://")]
        assert str(lost) in done.err
        assert [*ocitool.cwd.glob("*.tar")] == [ocitool.cwd / "a.tar"]


class MovingTag(EmulatedRegistry):
    """A registry in which a tag moves as soon as its image has been asked for."""

    def respond(self, exchange: Exchange) -> None:
        """Answer, then move the tag."""
        super().respond(exchange)
        if "/manifests/1" in exchange.target:
            self.add_image("t/one", NEXT, "1")


def test_a6_a_tag_that_moves_is_resolved_once(ocitool: Command) -> None:
    with MovingTag() as registry:
        registry.add_image("t/one", ONE, "1")
        name = f"{registry.host}/t/one:1"
        names = (f"docker://{name}", f"docker://{name}")
        ok(ocitool, "bundle", "create", *names, "-o", "a.tar")
        assert str(registry.tags["t/one"]["1"]) == str(NEXT.descriptor.digest)
    (image,) = list_in(ocitool.cwd / "a.tar")["images"]
    assert (image["name"], image["digest"]) == (name, str(ONE.descriptor.digest))
    assert ocitool("bundle", "verify", "a.tar").code == 0
