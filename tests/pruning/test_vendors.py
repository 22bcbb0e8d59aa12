"""P8, P11, P12: GitHub's and Amazon's own interfaces: what has no tag, ages, refusals, pages."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from ocitool.errors import AccessDenied, NotFound, OcitoolError, Refused, UsageError
from ocitool.oci import DEFAULT_LIMITS
from ocitool.operations.prune import PlannedPrune, plan_prune, prune
from ocitool.places.registry import Registries, RegistryOptions
from ocitool.pruning.rules import PruneRules
from tests.pruning.repositories import NAME, image, reference, rules, sign, whole
from tests.support.images import build_index
from tests.support.registry import EmulatedRegistry
from tests.support.registry_ecr import ECR, EmulatedEcr
from tests.support.registry_faults import Status
from tests.support.registry_github import GHCR, TOKEN, EmulatedGitHub

AMD, ARM, OTHER = image("amd"), image("arm", platform="linux/arm64"), image("other", 9)
KEPT, GOING = build_index([AMD, ARM], attested=True), build_index([AMD, OTHER], attested=True)


@contextmanager
def services(environment: Mapping[str, str]) -> Iterator[Registries]:
    limits = DEFAULT_LIMITS.with_limit("retries", 0)
    options = RegistryOptions(limits=limits, retry_max_wait=0.5)
    with Registries(options, environment=environment) as found:
        yield found


def fill(registry: EmulatedRegistry) -> None:
    registry.add_image(NAME, KEPT, "v1")
    registry.add_image(NAME, GOING, "pr-1")


@pytest.fixture
def ghcr() -> Iterator[tuple[EmulatedRegistry, EmulatedGitHub]]:
    with EmulatedRegistry(GHCR) as registry, EmulatedGitHub(registry, page=3) as github:
        fill(registry)
        yield registry, github


@pytest.fixture
def ecr() -> Iterator[tuple[EmulatedRegistry, EmulatedEcr]]:
    with EmulatedRegistry(ECR) as registry, EmulatedEcr(registry, page=3) as amazon:
        fill(registry)
        yield registry, amazon


def planned(
    connected: Registries, registry: EmulatedRegistry, api: str, by: PruneRules
) -> PlannedPrune:
    (found,) = plan_prune(connected, [reference(registry)], by, api=api)
    return found


def pruned(
    registry: EmulatedRegistry, variables: Mapping[str, str], api: str, by: PruneRules, **how: Any
) -> Any:
    with services(variables) as connected:
        return prune([planned(connected, registry, api, by)], **how)[0]


class TestP11GitHub:
    def test_versions_go_with_their_tags_and_what_stays_is_whole(
        self, ghcr: tuple[EmulatedRegistry, EmulatedGitHub]
    ) -> None:
        registry, github = ghcr
        signatures = [sign(registry, AMD.descriptor, how) for how in ("subject", "cosign")]
        gone = sign(registry, OTHER.descriptor, "subject")
        outcome = pruned(registry, github.environment(), "ghcr", rules("pr-.*"))
        assert outcome.problem is None
        assert "pr-1" not in registry.tags[NAME]
        assert whole(registry, KEPT)
        here = registry.manifests[NAME]
        assert all(one.digest in here for one in signatures)
        # It is in no list of GitHub's but that of all versions, and its `subject` is read.
        assert gone.digest not in here
        assert not registry.requests("DELETE")
        assert github.deleted[0] == GOING.descriptor.digest

    def test_what_has_no_tag_goes_if_nothing_needs_it(
        self, ghcr: tuple[EmulatedRegistry, EmulatedGitHub]
    ) -> None:
        registry, github = ghcr
        signature = sign(registry, AMD.descriptor, "subject")
        loose = build_index([AMD, image("loose", 3)])
        registry.add_image(NAME, loose)
        outcome = pruned(registry, github.environment(), "ghcr", rules(untagged=True))
        assert outcome.problem is None
        assert set(outcome.digests) == {
            loose.descriptor.digest,
            image("loose", 3).descriptor.digest,
        }
        assert whole(registry, KEPT)
        assert whole(registry, GOING)
        assert signature.digest in registry.manifests[NAME]

    def test_without_untagged_what_has_no_tag_keeps_its_platforms(
        self, ghcr: tuple[EmulatedRegistry, EmulatedGitHub]
    ) -> None:
        registry, github = ghcr
        loose = build_index([OTHER])
        registry.add_image(NAME, loose)
        pruned(registry, github.environment(), "ghcr", rules("pr-.*"))
        assert whole(registry, loose)

    def test_p8_what_is_young_may_be_of_a_push_under_way(
        self, ghcr: tuple[EmulatedRegistry, EmulatedGitHub]
    ) -> None:
        registry, github = ghcr
        young, old = image("young", 3), image("old", 3)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60))
        for one in (young, old):
            registry.add_image(NAME, one)
        github.times[young.descriptor.digest] = now
        by = rules(untagged=True)
        outcome = pruned(registry, github.environment(), "ghcr", by)
        assert outcome.digests == [old.descriptor.digest]
        by = rules(untagged=True, older_than="30s")
        outcome = pruned(registry, github.environment(), "ghcr", by)
        assert outcome.digests == [young.descriptor.digest]

    def test_p8_the_later_of_two_times_is_the_age(
        self, ghcr: tuple[EmulatedRegistry, EmulatedGitHub]
    ) -> None:
        registry, github = ghcr
        github.times[GOING.descriptor.digest] = "2026-05-01T00:00:00Z"
        with services(github.environment()) as connected:
            found = planned(connected, registry, "ghcr", rules("pr-.*"))
        step = found.plan.steps[0]
        assert (step.created, step.source) == ("2026-05-01T00:00:00Z", "updated_at")
        assert step.id == str(github.number(NAME, GOING.descriptor.digest))
        assert not registry.requests("GET", "blobs")

    def test_p5_a_tag_that_shares_its_digest_stays_and_that_is_said(
        self, ghcr: tuple[EmulatedRegistry, EmulatedGitHub]
    ) -> None:
        registry, github = ghcr
        registry.add_image(NAME, KEPT, "pr-2")
        registry.add_image(NAME, AMD, "pr-amd64")
        with services(github.environment()) as connected:
            found = planned(connected, registry, "ghcr", rules("pr-.*"))
            rules_of = {one.tag: one.rule for one in found.plan.kept}
            assert rules_of["pr-2"] == "shares its digest with v1"
            assert rules_of["pr-amd64"] == "part of pr-2"
            assert prune([found])[0].problem is None
        assert set(registry.tags[NAME]) == {"v1", "pr-2", "pr-amd64"}

    def test_a_refused_version_keeps_what_it_lists(
        self, ghcr: tuple[EmulatedRegistry, EmulatedGitHub]
    ) -> None:
        registry, github = ghcr
        said = "Publicly visible package versions with more than 5000 downloads cannot be deleted."
        github.refused[GOING.descriptor.digest] = said
        outcome = pruned(registry, github.environment(), "ghcr", rules("pr-.*"))
        assert said in outcome.problem.message
        assert whole(registry, GOING)
        assert github.deleted == []

    def test_a_user_s_package_a_limit_and_the_ids_to_restore(
        self, ghcr: tuple[EmulatedRegistry, EmulatedGitHub]
    ) -> None:
        registry, _ = ghcr
        with EmulatedGitHub(registry, kind="users") as github:
            github.limited = 2
            with services(github.environment()) as connected:
                found = planned(connected, registry, "ghcr", rules("pr-.*"))
                assert prune([found])[0].problem is None
                closing = found.reader.service.closing
            assert str(github.number(NAME, GOING.descriptor.digest)) in closing

    def test_wrong_tokens_and_names(self, ghcr: tuple[EmulatedRegistry, EmulatedGitHub]) -> None:
        registry, github = ghcr
        by = rules("pr-.*")
        wrong = {**github.environment(), "GITHUB_TOKEN": "wrong"}
        with services(wrong) as connected, pytest.raises(AccessDenied) as caught:
            planned(connected, registry, "ghcr", by)
        assert "packages: write" in str(caught.value.hint)
        with services(github.environment()) as connected, pytest.raises(NotFound):
            plan_prune(connected, [reference(registry, "team/none")], by, api="ghcr")
        outside = {"GITHUB_API_URL": "http://192.0.2.1", "GITHUB_TOKEN": TOKEN}
        with services(outside) as connected, pytest.raises(UsageError, match="plain http"):
            planned(connected, registry, "ghcr", by)

    @pytest.mark.parametrize("body", [b"{}", b"[{}]", b'[{"id":1,"name":"x"}]', b"<html>"])
    def test_p4_a_list_that_is_none_ends_it(
        self, ghcr: tuple[EmulatedRegistry, EmulatedGitHub], body: bytes
    ) -> None:
        registry, github = ghcr
        # The first page is read once to find the owner.
        github.fail("GET", "per_page", Status(status=200, body=body), after=1)
        with services(github.environment()) as connected, pytest.raises(OcitoolError):
            planned(connected, registry, "ghcr", rules("pr-.*"))

    def test_the_token_follows_no_link_to_another_host(
        self, ghcr: tuple[EmulatedRegistry, EmulatedGitHub]
    ) -> None:
        registry, github = ghcr
        with EmulatedGitHub(registry) as stranger:
            headers = {"Link": f'<{stranger.url}/x?per_page=100&page=2>; rel="next"'}
            first = Status(status=200, body=b"[]", headers=headers)
            github.fail("GET", "per_page=100", first)
            with services(github.environment()) as connected:
                found = planned(connected, registry, "ghcr", rules("pr-.*"))
            assert not stranger.log
            # Its page is asked of GitHub itself, and what no page has is read by its tag.
            assert github.requests("GET", "page=2")
            assert {one.tag for one in found.plan.kept} == {"v1"}


class TestP12Amazon:
    def test_images_go_in_batches_parents_first(
        self, ecr: tuple[EmulatedRegistry, EmulatedEcr]
    ) -> None:
        registry, amazon = ecr
        signature = sign(registry, AMD.descriptor, "subject")
        outcome = pruned(registry, amazon.with_keys(), "ecr", rules("pr-.*"))
        assert outcome.problem is None
        assert set(registry.tags[NAME]) == {"v1"}
        assert whole(registry, KEPT)
        assert signature.digest in registry.manifests[NAME]
        assert OTHER.descriptor.digest not in registry.manifests[NAME]
        assert amazon.batches[0] == 1

    def test_more_than_a_hundred_take_several_calls(
        self, ecr: tuple[EmulatedRegistry, EmulatedEcr]
    ) -> None:
        registry, amazon = ecr
        for number in range(120):
            registry.add_image(NAME, image(f"loose {number}"))
        outcome = pruned(registry, amazon.with_keys(), "ecr", rules(untagged=True))
        assert outcome.problem is None
        assert len(outcome.digests) == 120
        assert amazon.batches == [100, 20]

    def test_p5_a_tag_goes_alone(self, ecr: tuple[EmulatedRegistry, EmulatedEcr]) -> None:
        registry, amazon = ecr
        registry.add_image(NAME, KEPT, "pr-2")
        assert pruned(registry, amazon.with_keys(), "ecr", rules("pr-.*")).problem is None
        assert set(registry.tags[NAME]) == {"v1"}
        assert whole(registry, KEPT)

    def test_a_failure_in_an_answer_of_200_is_a_failure(
        self, ecr: tuple[EmulatedRegistry, EmulatedEcr]
    ) -> None:
        registry, amazon = ecr
        amazon.refused[GOING.descriptor.digest] = "not today"
        outcome = pruned(registry, amazon.with_keys(), "ecr", rules("pr-.*"))
        assert "UpstreamAccessDenied: not today" in outcome.problem.message
        assert whole(registry, GOING)

    def test_p8_ages_and_last_pulls(self, ecr: tuple[EmulatedRegistry, EmulatedEcr]) -> None:
        registry, amazon = ecr
        now = time.time()
        amazon.pulled[GOING.descriptor.digest] = now - 3600
        by = rules("pr-.*", older_than="pulled:2h")
        with services(amazon.with_keys()) as connected:
            assert planned(connected, registry, "ecr", by).plan.steps == ()
            by = rules("pr-.*", older_than="pulled:30m")
            found = planned(connected, registry, "ecr", by).plan.steps[0]
            assert (found.created, found.source) == ("2026-01-02T03:00:00Z", "imagePushedAt")

    def test_who_has_no_times_of_pulls_is_refused(self) -> None:
        with EmulatedRegistry() as registry, services({}) as connected:
            fill(registry)
            with pytest.raises(Refused, match="does not tell when an image was pulled"):
                planned(connected, registry, "oci", rules("pr-.*", older_than="pulled:1d"))

    def test_wrong_keys_and_names(self, ecr: tuple[EmulatedRegistry, EmulatedEcr]) -> None:
        registry, amazon = ecr
        by = rules("pr-.*")
        with services(amazon.environment()) as connected, pytest.raises(AccessDenied):
            planned(connected, registry, "ecr", by)
        with services(amazon.with_keys()) as connected, pytest.raises(NotFound):
            plan_prune(connected, [reference(registry, "team/none")], by, api="ecr")
