"""registry prune as a user types it: the plan, -f, files, exit codes."""

import json
from pathlib import Path

import pytest

from tests.pruning.repositories import NAME, image, sign, whole
from tests.support.command import Command
from tests.support.images import build_index
from tests.support.registry import EmulatedRegistry, Quirks

AMD, ARM = image("amd"), image("arm", platform="linux/arm64")
KEPT, OTHER = build_index([AMD, ARM], attested=True), build_index([AMD, image("other", 9)])


def filled(quirks: Quirks | None = None) -> EmulatedRegistry:
    registry = EmulatedRegistry(quirks)
    registry.add_image(NAME, KEPT, "v1")
    registry.add_image(NAME, OTHER, "pr-1")
    return registry


def test_p1_without_a_rule_it_is_wrong_usage(ocitool: Command) -> None:
    with filled() as registry:
        done = ocitool("registry", "prune", f"{registry.host}/{NAME}")
        assert done.code == 2
        assert "no rule says what stays" in done.err
        assert not registry.log


def test_without_f_nothing_is_deleted_and_only_read(ocitool: Command) -> None:
    with filled() as registry:
        words = ("registry", "prune", f"{registry.host}/{NAME}", "--delete-tags", "pr-.*")
        done = ocitool(*words)
        assert done.code == 0
        assert "1 of 2 images with a tag and 2 manifests go" in done.out
        assert "stays: v1: no --delete-tags names it" in done.out
        assert {one.method for one in registry.log} <= {"GET", "HEAD"}
        assert ocitool(*words, "--check").code == 3
        assert ocitool(*words[:3], "--delete-tags", "none.*", "--check").code == 0
        done = ocitool(*words, "-f")
        assert (done.code, set(registry.tags[NAME])) == (0, {"v1"})
        assert "deleted 1 tag and 2 manifests" in done.out
        assert "the registry frees the space when it collects its garbage" in done.err
        # This registry deletes single tags, so it is no old docker-registry.
        assert "garbage-collect`" not in done.err


def test_an_old_docker_registry_is_told_how_to_collect_its_garbage(ocitool: Command) -> None:
    with filled(Quirks(tag_delete="400")) as registry:
        words = ("registry", "prune", f"{registry.host}/{NAME}", "--delete-tags", "pr-.*")
        assert "garbage-collect` without -m" in ocitool(*words, "-f").err


def test_p1_a_pattern_that_matches_nothing_is_told(ocitool: Command) -> None:
    with filled() as registry:
        words = ("--keep-tags", "!v.*", "--delete-tags", "pr-.*")
        done = ocitool("registry", "prune", f"{registry.host}/{NAME}", *words)
        assert "keep-tags !v.* is about no tag here" in done.err


def test_p7_plan_and_apply_by_files(ocitool: Command, tmp_path: Path) -> None:
    with filled() as registry:
        path = tmp_path / "plan"
        words = ("registry", "prune", f"{registry.host}/{NAME}", "--delete-tags", "pr-.*")
        assert ocitool(*words, "--plan-out", path).code == 0
        assert json.loads(path.read_text())["format"] == "ocitool-prune/1"
        registry.add_image(NAME, AMD, "v2")
        done = ocitool("registry", "prune", "--apply", path, "-f")
        assert done.code == 6
        assert "v2 is new since" in done.err
        assert not registry.requests("DELETE")
        done = ocitool("registry", "prune", "--apply", path, "--allow-new", "-f")
        assert (done.code, set(registry.tags[NAME])) == (0, {"v1", "v2"})


def test_p10_more_than_is_allowed_is_refused(ocitool: Command) -> None:
    with filled() as registry:
        words = ("registry", "prune", f"{registry.host}/{NAME}", "--delete-tags", ".*")
        done = ocitool(*words)
        assert done.code == 0
        assert "-f will refuse this" in done.err
        done = ocitool(*words, "-f")
        assert done.code == 6
        assert "--min-keep 1" in done.err
        assert ocitool(*words, "-f", "--min-keep", "0").code == 6
        assert set(registry.tags[NAME]) == {"v1", "pr-1"}
        assert ocitool(*words, "-f", "--min-keep", "0", "--max-delete", "100%").code == 0
        assert set(registry.tags[NAME]) == set()


def test_p9_what_goes_is_archived_first_and_pushed_back(ocitool: Command, tmp_path: Path) -> None:
    with filled() as registry:
        signature = sign(registry, OTHER.descriptor, "subject")
        by_cosign = sign(registry, OTHER.descriptor, "cosign")
        before = dict(registry.tags[NAME])
        archive = tmp_path / "gone.tar"
        words = ("registry", "prune", f"{registry.host}/{NAME}", "--delete-tags", "pr-.*", "-f")
        done = ocitool(*words, "--archive", archive)
        assert done.code == 0, done.err
        assert set(registry.tags[NAME]) == {"v1"}
        assert signature.digest not in registry.manifests[NAME]
        assert ocitool("verify", archive).code == 0
        done = ocitool("push", archive, "--original-names", "--referrers")
        assert done.code == 0, done.err
        assert dict(registry.tags[NAME]) == before
        assert {signature.digest, by_cosign.digest} <= set(registry.manifests[NAME])
        assert whole(registry, OTHER)


def test_p9_without_the_archive_nothing_is_deleted(ocitool: Command, tmp_path: Path) -> None:
    with filled() as registry:
        words = ("registry", "prune", f"{registry.host}/{NAME}", "--delete-tags", "pr-.*", "-f")
        blob = image("other", 9).layers[0].digest
        del registry.state.blobs[NAME][blob]
        done = ocitool(*words, "--archive", tmp_path / "gone.tar")
        assert done.code != 0
        assert not registry.requests("DELETE")
        assert not (tmp_path / "gone.tar").exists()
        assert ocitool(*words, "--archive", tmp_path / "none" / "gone.tar").code != 0
        assert not registry.requests("DELETE")


def test_explain(ocitool: Command) -> None:
    with filled() as registry:
        words = ("registry", "prune", f"{registry.host}/{NAME}", "--delete-tags", "pr-.*")
        done = ocitool(*words, "--explain", str(ARM.descriptor.digest))
        assert done.out == (
            f"{ARM.descriptor.digest}: stays: part of v1\n"
            f"{KEPT.descriptor.digest}\n  -> {ARM.descriptor.digest}\n"
        )
        done = ocitool(*words, "--explain", "pr-1")
        assert done.out == f"{OTHER.descriptor.digest} (pr-1): goes: delete-tags pr-.*\n"
        assert ocitool(*words, "--explain", "none").code == 4


def test_p14_a_policy_file_and_several_repositories(ocitool: Command, tmp_path: Path) -> None:
    with filled() as registry:
        registry.add_image("team/b", AMD, "pr-2")
        registry.add_image("team/b", KEPT, "v1")
        policy = tmp_path / "policy.yaml"
        names = f"[{registry.host}/{NAME}, {registry.host}/team/b]"
        policy.write_text(f"repositories: {names}\ndelete-tags: pr-.*\n")
        done = ocitool("registry", "prune", "--policy", policy, "--json")
        value = json.loads(done.out)
        assert [one["repository"] for one in value["repositories"]] == [NAME, "team/b"]
        assert ocitool("registry", "prune", "--policy", policy, "-f").code == 0
        assert (set(registry.tags[NAME]), set(registry.tags["team/b"])) == ({"v1"}, {"v1"})
        assert whole(registry, KEPT)


def test_p2_images_of_containers_stay(ocitool: Command, tmp_path: Path) -> None:
    with filled() as registry:
        pods = {
            "apiVersion": "v1",
            "kind": "List",
            "items": [
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {"name": "web", "namespace": "default"},
                    "spec": {
                        "containers": [{"name": "c", "image": f"{registry.host}/{NAME}:pr-1"}]
                    },
                    "status": {},
                }
            ],
        }
        path = tmp_path / "pods.json"
        path.write_text(json.dumps(pods))
        words = ("registry", "prune", f"{registry.host}/{NAME}", "--delete-tags", "pr-.*")
        done = ocitool(*words, "--containers", f"kube:{path}", "-f")
        assert (done.code, set(registry.tags[NAME])) == (0, {"v1", "pr-1"})
        path.write_text("no JSON")
        assert ocitool(*words, "--containers", f"kube:{path}", "-f").code == 6
        assert set(registry.tags[NAME]) == {"v1", "pr-1"}


@pytest.mark.parametrize(
    "words",
    [
        ("--delete-tags", "("),
        ("--delete-tags", "a", "--api", "none"),
        ("--delete-tags", "a", "--api", "harbor"),
        ("--delete-tags", "a", "--check", "-f"),
        ("--delete-tags", "a", "--allow-new"),
        ("--apply", "p"),
        ("--keep-last", "0", "--delete-tags", "a"),
        ("--keep-last", "1", "--delete-tags", "a", "--containers", "docker"),
    ],
)
def test_wrong_usage(ocitool: Command, words: tuple[str, ...]) -> None:
    with filled() as registry:
        assert ocitool("registry", "prune", f"{registry.host}/{NAME}", *words).code == 2
        assert not registry.log
    assert ocitool("registry", "prune", "localhost:1/a:1", "--untagged").code == 2


def test_a_repository_that_is_not_there_is_4_and_one_that_does_not_answer_is_8(
    ocitool: Command,
) -> None:
    with filled() as registry:
        words = ("--delete-tags", "a", "-f")
        assert ocitool("registry", "prune", f"{registry.host}/none", *words).code == 4
    assert ocitool("registry", "prune", "localhost:1/a", *words).code == 8
