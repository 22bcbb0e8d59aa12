"""ocitool push, and copy into registries: what is printed, exit codes, interruptions."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.places.registry.known_hosts import named
from tests.places.registry.pushes import NAME, UPLOADS, methods, whole
from tests.support.command import Command
from tests.support.commands import started
from tests.support.docker_registry import running_registry
from tests.support.images import (
    build_artifact,
    build_image,
    build_index,
    docker_archive,
    oci_archive,
    write_layout,
)
from tests.support.registry import Access, EmulatedRegistry, Quirks
from tests.support.registry_faults import Delay, Status

ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
IMAGE = build_image([{"a": b"1"}, {"b": b"2" * 5000}])
OTHER = build_image([{"c": b"3"}], platform="linux/arm64")
INDEX = build_index([IMAGE, OTHER])
PATTERN = f"{UPLOADS}."
DIGEST = str(IMAGE.descriptor.digest)
QUICKLY = ("--retry-max-wait", "0.02s")


@pytest.fixture
def place(tmp_path: Path) -> str:
    """Return the text that names IMAGE in a layout."""
    return f"oci:{write_layout(tmp_path / 'layout', {'1': IMAGE})}:1"


class TestBeforeAnything:
    @pytest.mark.parametrize(
        "target", ["oci:foo", "dir:x", "podman:y", "store:z", "docker-daemon:a"]
    )
    @pytest.mark.parametrize("verb", ["push", "pull"])
    def test_a_place_is_no_name_in_a_registry(
        self, ocitool: Command, place: str, target: str, verb: str
    ) -> None:
        done = ocitool(*((verb, place, target) if verb == "push" else (verb, target)))
        assert done.code == 2
        assert "ocitool copy" in done.err

    @pytest.mark.parametrize("verb", ["push", "copy"])
    def test_a_digest_file_that_cannot_be_written_ends_it(
        self, ocitool: Command, place: str, tmp_path: Path, verb: str
    ) -> None:
        with EmulatedRegistry() as registry:
            target = f"{'docker://' if verb == 'copy' else ''}{registry.host}/{NAME}:1"
            for path in (tmp_path / "none" / "f", tmp_path):
                done = ocitool(verb, place, target, "--digestfile", path)
                assert done.code in (2, 4)
            assert registry.log == []


class TestOutput:
    def test_the_last_line_pins_what_was_pushed(self, ocitool: Command, place: str) -> None:
        with EmulatedRegistry() as registry:
            done = ocitool("push", place, f"{registry.host}/{NAME}:1")
            assert (done.code, done.out) == (0, f"{registry.host}/{NAME}@{DIGEST}\n")
            assert "  4 blobs, " in done.err
            assert whole(registry, IMAGE)

    def test_a_second_push_says_that_it_is_there(self, ocitool: Command, place: str) -> None:
        with EmulatedRegistry() as registry:
            ocitool("push", place, f"{registry.host}/{NAME}:1")
            done = ocitool("push", place, f"{registry.host}/{NAME}:1")
            assert done.out == f"{registry.host}/{NAME}@{DIGEST}\n"
            assert "is already there" in done.err

    def test_quiet_prints_the_digest_alone(self, ocitool: Command, place: str) -> None:
        with EmulatedRegistry() as registry:
            done = ocitool("push", "-q", place, f"{registry.host}/{NAME}:1")
            assert (done.out, done.err) == (f"{DIGEST}\n", "")

    def test_json_tells_what_became_of_every_blob(self, ocitool: Command, place: str) -> None:
        with EmulatedRegistry() as registry:
            names = [f"{registry.host}/{NAME}:1", f"{registry.host}/second/app:1"]
            found: Any = ocitool("push", "--json", place, *names).json
            assert [one["destination"] for one in found] == names
            assert [one["status"] for one in found] == ["pushed", "pushed"]
            assert found[0]["pinned"] == f"{registry.host}/{NAME}@{DIGEST}"
            assert [sorted(blob["outcome"] for blob in one["blobs"]) for one in found] == [
                ["uploaded"] * 4,
                ["mounted"] * 3 + ["uploaded"],
            ]
            assert {blob["digest"] for blob in found[0]["blobs"]} == set(map(str, IMAGE.blobs))

    def test_a_digest_file_holds_the_digest(
        self, ocitool: Command, place: str, tmp_path: Path
    ) -> None:
        file = tmp_path / "digest"
        with EmulatedRegistry() as registry:
            ocitool("push", "--digestfile", file, place, f"{registry.host}/{NAME}:1")
        assert file.read_text() == f"{DIGEST}\n"

    def test_a_digest_file_never_holds_what_an_earlier_run_pushed(
        self, ocitool: Command, place: str, tmp_path: Path
    ) -> None:
        file = tmp_path / "digest"
        with EmulatedRegistry(Quirks(immutable_tags=True)) as registry:
            registry.add_image(NAME, OTHER, "1")
            names = [f"{registry.host}/{name}:1" for name in (NAME, "second/app")]
            for targets in (names[:1], names):
                file.write_text(f"{OTHER.descriptor.digest}\n")
                assert ocitool("push", "--digestfile", file, place, *targets).code == 6
                assert not file.exists()
            file.write_text("kept")
            assert ocitool("push", "--dry-run", "--digestfile", file, place, *names).code == 0
            assert file.read_text() == "kept"

    @pytest.mark.parametrize("verb", [["push"], ["copy"], ["set", "--user", "7", "-t", "x:1"]])
    def test_a_digest_file_is_not_stdout(
        self, ocitool: Command, place: str, verb: list[str], tmp_path: Path
    ) -> None:
        name = "x:1" if verb[0] == "push" else "oci:there"
        target = [name] if verb[0] != "set" else []
        done = ocitool(*verb, place, *target, "--digestfile", "-")
        assert (done.code, done.out) == (2, "")
        assert "-q prints the digests alone" in done.err
        assert not (tmp_path / "-").exists()

    @pytest.mark.parametrize("policy", ["error", "same", "skip", "overwrite"])
    def test_a_dry_run_tells_what_the_tags_there_would_do(
        self, ocitool: Command, place: str, policy: str
    ) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image(NAME, OTHER, "1")
            target = f"{registry.host}/{NAME}:1"
            done = ocitool("push", "--dry-run", "--on-existing", policy, place, target)
            refused = policy in ("error", "same")
            assert done.code == (6 if refused else 0)
            assert (str(OTHER.descriptor.digest) in done.err) is refused
            assert ("already exists and was not changed" in done.err) is (policy == "skip")
            methods = {one.method for one in registry.log}
            assert methods == (set() if policy == "overwrite" else methods & {"GET", "HEAD"})
            assert (methods == set()) is (policy == "overwrite")

    def test_a_tag_that_moves_is_told(self, ocitool: Command, place: str) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image(NAME, OTHER, "1")
            done = ocitool("push", place, f"{registry.host}/{NAME}:1")
            assert f"moved from {OTHER.descriptor.digest}" in done.err

    def test_a_warning_of_the_registry_is_told_once(self, ocitool: Command, place: str) -> None:
        with EmulatedRegistry(Quirks(warning="closing soon")) as registry:
            done = ocitool("push", place, f"{registry.host}/{NAME}:1")
            assert done.code == 0
            assert done.err.count("closing soon") == 1


class TestByDigest:
    def test_the_image_is_there_without_a_tag(
        self, ocitool: Command, place: str, tmp_path: Path
    ) -> None:
        file = tmp_path / "digest"
        with EmulatedRegistry() as registry:
            name = f"{registry.host}/{NAME}"
            done = ocitool("push", place, name, "--by-digest", "--digestfile", file)
            assert (done.code, done.out) == (0, f"{name}@{DIGEST}\n")
            assert f"pushed {name}@{DIGEST}  4 blobs" in done.err
            assert file.read_text() == f"{DIGEST}\n"
            assert registry.tags.get(NAME, {}) == {}
            assert IMAGE.descriptor.digest in registry.manifests[NAME]
            planned: Any = ocitool("push", place, name, "--by-digest", "--dry-run", "--json").json
            assert planned[0]["destination"] == f"{name}@{DIGEST}"

    def test_two_runners_and_one_that_merges(self, ocitool: Command, tmp_path: Path) -> None:
        digests = tmp_path / "digests"
        digests.mkdir()
        with EmulatedRegistry() as registry:
            name = f"{registry.host}/{NAME}"
            for number, image in enumerate((IMAGE, OTHER)):
                source = f"oci:{write_layout(tmp_path / str(number), {'1': image})}:1"
                out = digests / str(number)
                assert ocitool("push", source, name, "--by-digest", "--digestfile", out).code == 0
            merge = ("index", "create", f"docker://{name}:1", "--from-digestfiles", digests)
            assert ocitool(*merge).code == 0
            assert set(registry.tags[NAME]) == {"1"}
            listed = json.loads(registry.manifests[NAME][registry.tags[NAME]["1"]].raw)
            assert {one["digest"] for one in listed["manifests"]} == {
                DIGEST,
                str(OTHER.descriptor.digest),
            }

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("H/n:1",), "write 127.0.0.1:1/n"),
            ((f"H/n@{DIGEST}",), "write 127.0.0.1:1/n"),
            ((), "needs a destination"),
            (("--to", "H/n"), "exclude each other"),
            (("--original-names",), "exclude each other"),
        ],
    )
    def test_a_tag_has_no_place_in_it(
        self, ocitool: Command, place: str, words: tuple[str, ...], said: str
    ) -> None:
        typed = [word.replace("H/", "127.0.0.1:1/") for word in words]
        done = ocitool("push", place, *typed, "--by-digest")
        assert done.code == 2
        assert said in done.err

    def test_a_wrong_digest_is_told_with_the_right_name(self, ocitool: Command, place: str) -> None:
        with EmulatedRegistry() as registry:
            name = f"{registry.host}/{NAME}"
            done = ocitool("push", place, f"{name}@{OTHER.descriptor.digest}")
            assert done.code == 6
            said = " ".join(done.err.split())
            assert f"that is {name}@{DIGEST}" in said
            assert f"`ocitool push --by-digest` takes {name} alone" in said
            assert registry.manifests.get(NAME, {}) == {}


class TestSources:
    def test_an_image_of_the_store_goes_to_its_own_name(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        with EmulatedRegistry() as registry:
            file = tmp_path / "image.tar"
            file.write_bytes(oci_archive({f"{registry.host}/{NAME}:1": IMAGE}))
            assert ocitool("load", file).code == 0
            done = ocitool("push", f"{registry.host}/{NAME}:1")
            assert done.out.endswith(f"@{DIGEST}\n")
            assert whole(registry, IMAGE)

    def test_an_archive_with_its_platforms_goes_whole(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        file = tmp_path / "image.tar"
        file.write_bytes(oci_archive({"1": INDEX}))
        with EmulatedRegistry() as registry:
            assert ocitool("push", file, f"{registry.host}/{NAME}:1").code == 0
            assert whole(registry, INDEX)

    def test_an_old_docker_archive_is_compressed_and_says_so(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        file = tmp_path / "image.tar"
        file.write_bytes(docker_archive({"app:1": IMAGE}))
        with EmulatedRegistry() as registry:
            done = ocitool("push", file, f"{registry.host}/{NAME}:1")
            assert done.code == 0
            assert "2 layers in gzip" in done.err
            digest = registry.tags[NAME]["1"]
            assert done.out == f"{registry.host}/{NAME}@{digest}\n"

    def test_an_archive_on_standard_input(self, ocitool: Command) -> None:
        with EmulatedRegistry() as registry:
            done = ocitool(
                "push", "-", f"{registry.host}/{NAME}:1", stdin=oci_archive({"1": IMAGE})
            )
            assert done.code == 0, done.err
            assert whole(registry, IMAGE)

    def test_copy_goes_from_registry_to_registry(self, ocitool: Command) -> None:
        with EmulatedRegistry() as source, EmulatedRegistry() as target:
            source.add_image(NAME, INDEX, "1")
            names = (f"docker://{host}/{NAME}:1" for host in (source.host, target.host))
            done = ocitool("copy", *names)
            assert done.out == f"{target.host}/{NAME}@{INDEX.descriptor.digest}\n", done.err
            assert whole(target, INDEX)

    def test_copy_within_a_registry_mounts(self, ocitool: Command) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image("from/here", IMAGE, "1")
            source, target = f"{registry.host}/from/here:1", f"{registry.host}/{NAME}:1"
            done = ocitool("copy", "--json", f"docker://{source}", f"docker://{target}")
            found: Any = done.json
            assert sorted(blob["outcome"] for blob in found[0]["blobs"]) == [
                *["mounted"] * 3,
                "uploaded",
            ]

    def test_signatures_by_the_tags_of_cosign_go_along_when_asked(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        # Cosign finds a signature by a tag that is made of the digest it is about.
        signature = build_artifact(None, b"signed")
        tag = f"sha256-{IMAGE.descriptor.digest.hex}.sig"
        with EmulatedRegistry() as one, EmulatedRegistry() as two:
            for name, image in (("1", IMAGE), (tag, signature)):
                one.add_image(NAME, image, name)
            # What is attached by a tag may be signed itself.
            bill = build_artifact(None, b"of materials")
            of_bill = f"sha256-{bill.descriptor.digest.hex}.sig"
            one.add_image(NAME, bill, tag.replace(".sig", ".sbom"))
            one.add_image(NAME, build_artifact(None, b"of it"), of_bill)
            source = f"{one.host}/{NAME}:1"
            assert ocitool("pull", "--referrers", source).code == 0
            target = f"{two.host}/{NAME}:2"
            assert ocitool("push", source, target).code == 0
            assert set(two.tags[NAME]) == {"2"}
            assert ocitool("push", "--referrers", source, target).code == 0
            copied = f"docker://{two.host}/copied:3"
            assert ocitool("copy", "--referrers", f"docker://{source}", copied).code == 0
            assert two.tags[NAME][tag] == signature.descriptor.digest
            expected = {tag, tag.replace(".sig", ".sbom"), of_bill}
            assert set(two.tags["copied"]) == {"3", *expected}
            assert set(two.tags[NAME]) == {"2", *expected}
            pulled = ocitool("pull", "-q", "--referrers", source)
            assert pulled.out == f"{IMAGE.descriptor.digest}\n"

    def test_attached_artifacts_go_along_when_asked(self, ocitool: Command, tmp_path: Path) -> None:
        signature = build_artifact(IMAGE.descriptor)
        layout = write_layout(tmp_path / "layout", {"1": IMAGE}, [signature])
        with EmulatedRegistry() as registry:
            done = ocitool("push", "--referrers", f"oci:{layout}:1", f"{registry.host}/{NAME}:1")
            assert done.code == 0, done.err
            assert whole(registry, signature)
            assert ":1: 1 attached artifact was pushed too\n" in done.err
            again = ocitool("push", "--referrers", f"oci:{layout}:1", f"{registry.host}/{NAME}:1")
            assert again.code == 0
            assert "is already there" in again.err
            assert "pushed too" not in again.err

    def test_an_image_arrives_where_what_is_attached_is_refused(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        signatures = [build_artifact(IMAGE.descriptor, bytes([n])) for n in range(2)]
        layout = write_layout(tmp_path / "layout", {"1": IMAGE}, signatures)
        with EmulatedRegistry(Quirks(subject_refused=True)) as registry:
            name = f"{registry.host}/{NAME}:1"
            for command in ("push", "copy"):
                target = name if command == "push" else f"docker://{name}"
                done = ocitool(command, "--referrers", "--json", f"oci:{layout}:1", target)
                assert (done.code, registry.tags[NAME]) == (1, {"1": IMAGE.descriptor.digest})
                assert "2 of 3 failed" in done.err
                assert f"sha256-{IMAGE.descriptor.digest.hex}.sig" in done.err
                found: Any = done.json
                assert [one["status"] for one in found][1:] == ["failed", "failed"]
                assert {one["destination"] for one in found[1:]} == {
                    f"{registry.host}/{NAME}@{one.descriptor.digest}" for one in signatures
                }
            assert whole(registry, IMAGE)


class TestExitCodes:
    def test_a_tag_that_may_not_move_is_6(self, ocitool: Command, place: str) -> None:
        with EmulatedRegistry(Quirks(immutable_tags=True)) as registry:
            registry.add_image(NAME, OTHER, "1")
            done = ocitool("push", place, f"{registry.host}/{NAME}:1")
            assert done.code == 6
            assert done.out == ""
            assert DIGEST in done.err
            assert str(OTHER.descriptor.digest) in done.err

    @pytest.mark.parametrize(
        ("policy", "code", "names"),
        [("same", 6, OTHER), ("error", 6, OTHER), ("skip", 0, OTHER), ("overwrite", 0, IMAGE)],
    )
    def test_what_a_policy_makes_of_another_image(
        self, ocitool: Command, place: str, policy: str, code: int, names: Any
    ) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image(NAME, OTHER, "1")
            done = ocitool("push", "--on-existing", policy, place, f"{registry.host}/{NAME}:1")
            assert done.code == code, done.err
            assert registry.tags[NAME]["1"] == names.descriptor.digest

    def test_a_policy_that_is_none_is_2(self, ocitool: Command, place: str) -> None:
        done = ocitool("push", "--on-existing", "maybe", place, "127.0.0.1:1/a:1")
        assert done.code == 2

    def test_a_refused_password_is_5_and_never_printed(
        self, ocitool: Command, place: str, tmp_path: Path
    ) -> None:
        with EmulatedRegistry(Quirks(access=Access(scheme="basic"))) as registry:
            file = tmp_path / "auth.json"
            file.write_text(
                json.dumps({"auths": {registry.host: {"auth": "dXNlcjpjYW5hcnktczNjcmV0"}}})
            )
            done = ocitool(
                "--debug", "push", "--authfile", file, place, f"{registry.host}/{NAME}:1"
            )
            assert done.code == 5
            assert str(file) in done.err
            assert "canary" not in done.err + done.out
            assert "dXNlcjpj" not in done.err + done.out

    def test_no_credentials_is_5_with_the_way_to_log_in(self, ocitool: Command, place: str) -> None:
        with EmulatedRegistry(Quirks(access=Access(scheme="bearer"))) as registry:
            done = ocitool("push", place, f"{registry.host}/{NAME}:1")
            assert done.code == 5
            assert f"ocitool login {registry.host}" in done.err

    def test_an_image_that_is_not_there_is_4(self, ocitool: Command) -> None:
        assert ocitool("push", "no/such:image", "127.0.0.1:1/a:1").code == 4

    def test_a_registry_that_is_not_there_is_8(self, ocitool: Command, place: str) -> None:
        done = ocitool("push", *QUICKLY, place, "127.0.0.1:1/a:1")
        assert done.code == 8
        assert "look at the host and the port" in done.err

    def test_a_quota_is_9(self, ocitool: Command, place: str) -> None:
        with EmulatedRegistry() as registry:
            registry.fail("PUT", PATTERN, Status(status=403, body=b"quota exceeded"), times=9)
            assert ocitool("push", place, f"{registry.host}/{NAME}:1").code == 9

    def test_a_damaged_blob_is_7(self, ocitool: Command, tmp_path: Path) -> None:
        layout = write_layout(tmp_path / "layout", {"1": IMAGE})
        layer = IMAGE.layers[0].digest
        (layout / "blobs" / "sha256" / layer.hex).write_bytes(b"x" * IMAGE.layers[0].size)
        with EmulatedRegistry() as registry:
            done = ocitool("push", f"oci:{layout}:1", f"{registry.host}/{NAME}:1")
            assert done.code == 7, done.err
            assert not registry.tags

    def test_a_repository_that_must_exist_first_is_4_with_the_command(
        self, ocitool: Command, place: str, tmp_path: Path
    ) -> None:
        with named(ECR, tmp_path, Quirks(requires_repository=True)) as ecr:
            done = ocitool("push", place, f"{ECR}/{NAME}:1", variables=ecr.variables)
            assert done.code == 4
            assert "aws ecr create-repository --repository-name team/app" in done.err

    def test_create_repo_elsewhere_is_2(self, ocitool: Command, place: str) -> None:
        done = ocitool("push", "--create-repo", place, "ghcr.io/team/app:1")
        assert done.code == 2
        assert "leave out --create-repo" in done.err


class TestSeveral:
    def test_one_that_fails_does_not_keep_the_others(self, ocitool: Command, place: str) -> None:
        with EmulatedRegistry() as registry:
            registry.fail("POST", f"/{NAME}/", Status(status=403), times=9)
            names = [f"{registry.host}/{NAME}:1", f"{registry.host}/second/app:1"]
            done = ocitool("push", place, *names)
            assert done.code == 5
            assert done.out == f"{registry.host}/second/app@{DIGEST}\n"
            assert "1 of 2 failed" in done.err

    def test_json_tells_of_the_failure_beside_the_success(
        self, ocitool: Command, place: str
    ) -> None:
        with EmulatedRegistry() as registry:
            registry.fail("POST", f"/{NAME}/", Status(status=403), times=9)
            names = [f"{registry.host}/{NAME}:1", f"{registry.host}/second/app:1"]
            done = ocitool("push", "--json", place, *names)
            found: Any = done.json
            assert {one["destination"]: one["status"] for one in found} == {
                names[0]: "failed",
                names[1]: "pushed",
            }
            assert "answered 403" in found[1]["error"]

    def test_json_tells_of_the_only_destination_too(self, ocitool: Command, place: str) -> None:
        with EmulatedRegistry() as registry:
            registry.fail("POST", f"/{NAME}/", Status(status=403), times=9)
            name = f"{registry.host}/{NAME}:1"
            for words in (("push", place, name), ("copy", place, f"docker://{name}")):
                done = ocitool(*words, "--json")
                found: Any = done.json
                assert done.code == 5
                (only,) = found
                assert (only["destination"], only["status"]) == (name, "failed")
                assert "answered 403" in only["error"]
                assert done.err.count("answered 403") == 1
            done = ocitool("pull", f"{registry.host}/none:1", "--json")
            missing: Any = done.json
            assert (done.code, len(missing["failed"])) == (4, 1)

    def test_fail_fast_ends_at_the_first(self, ocitool: Command, place: str) -> None:
        with EmulatedRegistry() as registry:
            registry.fail("POST", f"/{NAME}/", Status(status=403), times=9)
            names = [f"{registry.host}/{NAME}:1", f"{registry.host}/second/app:1"]
            done = ocitool("push", "--fail-fast", place, *names)
            assert done.code == 5
            assert not registry.tags


class TestInterruption:
    @pytest.mark.parametrize(
        ("form", "layers", "number"),
        [
            ("layout", 0, signal.SIGINT),
            ("layout", 4, signal.SIGINT),
            # Compressed and sent at once: the config comes only after the layers.
            ("archive", 1, signal.SIGINT),
            ("archive", 4, signal.SIGTERM),
        ],
        ids=str,
    )
    def test_a_signal_in_a_stalled_upload_ends_it_within_two_seconds(
        self, tmp_path: Path, form: str, layers: int, number: signal.Signals
    ) -> None:
        image = build_image([{"f": bytes([n]) * 100_000} for n in range(layers)])
        if form == "layout":
            source = f"oci:{write_layout(tmp_path / 'layout', {'1': image})}:1"
        else:
            source = str(tmp_path / "image.tar")
            Path(source).write_bytes(docker_archive({"app:1": image}))
        with EmulatedRegistry() as registry:
            registry.fail("PUT", PATTERN, Delay(60), times=99)
            name = f"{registry.host}/{NAME}:1"
            process = started(tmp_path / "store", "push", source, name)
            expected = layers + (form == "layout")
            _await(lambda: len(registry.requests("PUT")) == expected)
            began = time.monotonic()
            process.send_signal(number)
            output, errors = process.communicate(timeout=30)
            assert time.monotonic() - began < 2
            assert process.returncode == 128 + number
            assert (output, "Traceback" in errors) == ("", False)
            assert methods(registry).count("DELETE") == expected
            assert registry.state.sessions == {}

    def test_ctrl_c_in_a_copy_from_a_stalled_registry_cancels_the_upload(
        self, tmp_path: Path
    ) -> None:
        with EmulatedRegistry() as source, EmulatedRegistry() as target:
            source.add_image(NAME, IMAGE, "1")
            for layer in IMAGE.layers:
                source.fail("GET", str(layer.digest), Delay(60), times=9)
            names = [f"docker://{host}/{NAME}:1" for host in (source.host, target.host)]
            process = started(tmp_path / "store", "copy", *names)
            stalled = [str(layer.digest) for layer in IMAGE.layers]
            _await(lambda: all(source.requests("GET", digest) for digest in stalled))
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
            assert time.monotonic() - began < 2
            assert process.returncode == 130
            assert target.state.sessions == {}


def _await(condition: Any, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come so far"
        time.sleep(0.02)


class TestDockerRegistry:
    def test_the_registry_tells_the_digest_of_what_was_pushed(
        self, ocitool: Command, tmp_path: Path, place: str
    ) -> None:
        with running_registry(tmp_path) as registry:
            name = f"{registry.host}/{NAME}:1"
            assert ocitool("push", place, name).code == 0
            done = ocitool("registry", "digest", name)
            assert DIGEST in done.out

    def test_a_password_protected_registry_takes_a_push(
        self, ocitool: Command, tmp_path: Path, place: str
    ) -> None:
        file = tmp_path / "auth.json"
        with running_registry(tmp_path, "htpasswd") as registry:
            file.write_text(json.dumps({"auths": {registry.host: {"auth": "dXNlcjpwYXNz"}}}))
            name = f"{registry.host}/{NAME}:1"
            done = ocitool("push", "--chunk-size", "50", "--authfile", file, place, name)
            assert done.code == 0, done.err
            assert "  4 blobs, " in done.err
