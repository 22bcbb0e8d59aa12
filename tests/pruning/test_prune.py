"""P2 to P7, P13: what a prune deletes, in which order, and what it leaves whole."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from ocitool.errors import MalformedDocument, OcitoolError, Refused, Unavailable
from ocitool.oci import Digest
from ocitool.operations.prune import prune, recheck_prune_plans
from ocitool.places.archive import open_archive
from ocitool.places.registry import Registries, RegistryOptions
from ocitool.pruning.applying import Applier
from ocitool.pruning.manifests import NotRead
from ocitool.pruning.plan import encode_prune_plans, parse_prune_plans
from tests.pruning.repositories import (
    NAME,
    add_fallback,
    connected,
    image,
    plan,
    rules,
    sign,
    whole,
)
from tests.support.images import as_json, build_artifact, build_index
from tests.support.registry import Access, EmulatedRegistry, Quirks
from tests.support.registry_faults import Status

AMD, ARM, OTHER = image("amd"), image("arm", platform="linux/arm64"), image("other", 9)
INDEX = "application/vnd.oci.image.index.v1+json"
KEPT = build_index([AMD, ARM], attested=True)
GOING = build_index([AMD, OTHER], attested=True)
"""They share a platform."""


def filled(quirks: Quirks | None = None) -> EmulatedRegistry:
    registry = EmulatedRegistry(quirks)
    registry.add_image(NAME, KEPT, "v1")
    registry.add_image(NAME, GOING, "pr-1")
    return registry


def pruned(registry: EmulatedRegistry, *delete: str, **how: Any) -> Any:
    """Prune the repository, and return what was done."""
    with connected() as registries:
        planned = plan(registries, registry, rules(*delete, **how))
        return prune([planned])[0]


def deleted(registry: EmulatedRegistry) -> list[str]:
    """Return what was deleted, in order."""
    return [one.target.rpartition("/")[2] for one in registry.requests("DELETE")]


def tags(registry: EmulatedRegistry) -> set[str]:
    return set(registry.tags[NAME])


def has(registry: EmulatedRegistry, digest: Digest) -> bool:
    return digest in registry.manifests[NAME]


# What belongs together.


def test_p2_p3_a_shared_platform_stays_and_the_rest_goes() -> None:
    with filled() as registry:
        outcome = pruned(registry, "pr-.*")
        assert outcome.problem is None
        assert tags(registry) == {"v1"}
        assert whole(registry, KEPT)
        assert not has(registry, GOING.descriptor.digest)
        assert not has(registry, OTHER.descriptor.digest)


@pytest.mark.parametrize("how", ["subject", "fallback", "cosign"])
@pytest.mark.parametrize("referrers", ["api", "404"])
def test_p2_p3_signatures_follow_what_they_sign(how: str, referrers: str) -> None:
    with filled(Quirks(referrers=referrers)) as registry:  # type: ignore[arg-type]
        of_index = sign(registry, KEPT.descriptor, how)
        of_platform = sign(registry, AMD.descriptor, how)
        of_signature = sign(registry, of_platform, how)
        gone = sign(registry, OTHER.descriptor, how)
        outcome = pruned(registry, "pr-.*")
        assert outcome.problem is None
        for one in (of_index, of_platform, of_signature):
            assert has(registry, one.digest)
        # One that only its `subject` attaches is known by the API alone.
        assert has(registry, gone.digest) is (how == "subject" and referrers == "404")
        assert not [tag for tag in tags(registry) if OTHER.descriptor.digest.hex in tag]


def test_p3_a_tag_made_from_a_digest_is_matched_by_no_rule() -> None:
    with filled() as registry:
        sign(registry, KEPT.descriptor, "cosign")
        before = tags(registry)
        assert pruned(registry, "sha256-.*").problem is None
        assert tags(registry) == before


def test_p3_an_orphan_goes_only_when_that_is_said() -> None:
    with filled() as registry:
        orphan = f"sha256-{'ab' * 32}.sig"
        registry.add_image(NAME, build_artifact(None, b"x"), orphan)
        pruned(registry, "pr-.*")
        assert orphan in tags(registry)
        assert pruned(registry, orphans=True).problem is None
        assert tags(registry) == {"v1"}
        assert whole(registry, KEPT)


def test_p3_an_image_under_such_a_tag_stays() -> None:
    with filled() as registry:
        tag = f"sha256-{'ab' * 32}"
        registry.add_image(NAME, OTHER, tag)
        pruned(registry, "pr-.*", orphans=True)
        assert tags(registry) == {"v1", tag}
        assert has(registry, OTHER.descriptor.digest)


def test_p3_nested_indexes_and_tagged_children() -> None:
    nested = build_index([], others=[GOING])
    with filled() as registry:
        registry.add_image(NAME, nested, "nested")
        registry.add_image(NAME, OTHER, "other-amd64")
        assert pruned(registry, "pr-.*|other-.*").problem is None
        assert whole(registry, nested)
        assert whole(registry, GOING)
        # Their images stay, and this registry deletes single tags.
        assert tags(registry) == {"v1", "nested"}


def test_p3_an_attestation_of_what_stays_stays() -> None:
    with filled() as registry:
        attestation = next(
            one.digest
            for one in GOING.children
            if one.annotations.get("vnd.docker.reference.digest") == str(AMD.descriptor.digest)
        )
        pruned(registry, "pr-.*")
        assert has(registry, attestation)


# Failing closed.


@pytest.mark.parametrize("status", [401, 403, 500])
@pytest.mark.parametrize("what", ["tags/list", "manifests/v1", str(ARM.descriptor.digest)])
def test_p4_what_cannot_be_read_ends_it(status: int, what: str) -> None:
    with filled() as registry:
        registry.fail("GET", what, Status(status=status), times=99)
        with connected() as registries, pytest.raises(OcitoolError) as caught:
            plan(registries, registry, rules("pr-.*"))
        if what != "tags/list":
            assert isinstance(caught.value, Unavailable if status == 500 else NotRead)
            assert what.rpartition("/")[2] in caught.value.message
        assert not registry.requests("DELETE")


def test_p4_a_manifest_of_another_kind_ends_it_and_can_be_ignored() -> None:
    with filled() as registry:
        raw = as_json({"schemaVersion": 2, "mediaType": "application/x", "layers": []})
        odd = registry.add_manifest(NAME, raw, "application/vnd.oci.image.manifest.v1+json", "odd")
        with connected() as registries:
            with pytest.raises(NotRead, match=str(odd.digest)) as caught:
                plan(registries, registry, rules("pr-.*"))
            assert caught.value.hint == (
                f"--ignore-unreadable {odd.digest} goes on, as if it listed nothing"
            )
            planned = plan(registries, registry, rules("pr-.*"), ignored=[odd.digest])
            assert prune([planned])[0].problem is None
        assert tags(registry) == {"v1", "odd"}


def test_p4_a_digest_that_lies_ends_it() -> None:
    lying = filled(Quirks(digest_header="wrong"))
    with lying as registry, connected() as registries, pytest.raises(NotRead):
        plan(registries, registry, rules("pr-.*"))


@pytest.mark.parametrize("kind", ["application/x-unknown+json", ""])
def test_p4_a_child_of_an_unknown_type_among_the_manifests_ends_it(kind: str) -> None:
    with filled() as registry:
        child = registry.add_manifest(NAME, b'{"a":1}', kind or "application/x")
        entry = {"mediaType": kind or "application/x", "digest": str(child.digest), "size": 7}
        raw = as_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})
        registry.add_manifest(NAME, raw, INDEX, "odd")
        with connected() as registries, pytest.raises(NotRead, match=str(child.digest)):
            plan(registries, registry, rules("pr-.*"))


def test_p4_a_broken_index_stays_and_is_told() -> None:
    with filled() as registry:
        del registry.state.manifests[NAME][OTHER.descriptor.digest]
        with connected() as registries:
            planned = plan(registries, registry, rules("pr-.*"))
            assert planned.plan.steps == ()
            (rule,) = [one.rule for one in planned.plan.kept if one.tag == "pr-1"]
            assert rule == f"it is broken: {OTHER.descriptor.digest} is missing"
            (damage,) = planned.plan.damage
            assert str(OTHER.descriptor.digest) in damage
            ignored = [OTHER.descriptor.digest]
            planned = plan(registries, registry, rules("pr-.*"), ignored=ignored)
            assert prune([planned])[0].problem is None
        assert tags(registry) == {"v1"}
        assert whole(registry, KEPT)


@pytest.mark.parametrize("kind", ["endless", "foreign"])
def test_p2_a_list_of_tags_that_leads_back_or_away_ends_it(kind: str) -> None:
    with filled(Quirks(tags=kind, page_size=1)) as registry, connected() as registries:  # type: ignore[arg-type]
        with pytest.raises(OcitoolError):
            plan(registries, registry, rules("pr-.*"))
        assert not registry.requests("DELETE")


def test_p2_an_empty_page_that_leads_back_is_the_end() -> None:
    with filled() as registry:
        link = {"Link": f'</v2/{NAME}/tags/list?last=v1&n=0>; rel="next"'}
        for tags_of_page in (["pr-1", "v1"], []):
            body = as_json({"name": NAME, "tags": tags_of_page})
            registry.fail("GET", "tags/list", Status(status=200, body=body, headers=link))
        assert pruned(registry, "pr-.*").problem is None
        assert tags(registry) == {"v1"}


def test_p2_every_page_is_read() -> None:
    with EmulatedRegistry(Quirks(page_size=1)) as registry:
        for number in range(5):
            registry.add_image(NAME, image(f"n{number}", number + 1), f"pr-{number}")
        registry.add_image(NAME, KEPT, "v1")
        pruned(registry, "pr-.*")
        assert tags(registry) == {"v1"}


# Tags that share an image.


def test_p5_one_of_several_tags_goes_alone() -> None:
    with filled() as registry:
        registry.add_image(NAME, KEPT, "pr-2")
        outcome = pruned(registry, "pr-.*")
        assert outcome.problem is None
        assert tags(registry) == {"v1"}
        assert whole(registry, KEPT)


def test_p5_where_tags_go_only_with_images_it_stays() -> None:
    with filled(Quirks(tag_delete="400")) as registry:
        registry.add_image(NAME, KEPT, "pr-2")
        registry.add_image(NAME, KEPT, "pr-3")
        outcome = pruned(registry, "pr-.*")
        assert outcome.problem is None
        assert tags(registry) == {"v1", "pr-2", "pr-3"}
        assert [one.name for one in outcome.spared] == ["pr-2", "pr-3"]
        # It was tried once.
        assert len([one for one in deleted(registry) if ":" not in one]) == 1
        assert whole(registry, KEPT)
        assert not has(registry, GOING.descriptor.digest)


def test_p5_an_image_that_goes_with_one_of_its_tags_is_put_back() -> None:
    with filled(Quirks(tag_delete="image")) as registry:
        registry.add_image(NAME, KEPT, "pr-2")
        with pytest.raises(Refused, match="was put back"):
            pruned(registry, "pr-.*")
        assert "v1" in tags(registry)
        assert whole(registry, KEPT)


# The order.


def test_p6_tags_first_then_parents_then_children_then_what_is_attached() -> None:
    with filled() as registry:
        signature = sign(registry, OTHER.descriptor, "cosign")
        of_signature = sign(registry, signature, "subject")
        pruned(registry, "pr-.*")
        going = deleted(registry)
        attestation = next(
            one
            for one in GOING.children
            if one.annotations.get("vnd.docker.reference.digest") == str(OTHER.descriptor.digest)
        )
        expected = [
            "pr-1",
            str(GOING.descriptor.digest),
            str(OTHER.descriptor.digest),
            f"sha256-{OTHER.descriptor.digest.hex}.sig",
            str(signature.digest),
            str(of_signature.digest),
        ]
        assert [one for one in going if one in expected] == expected
        assert str(attestation.digest) in going
        assert len(going) == 7


def test_p6_a_tag_that_moved_meanwhile_keeps_what_it_leads_to() -> None:
    with filled() as registry, connected() as registries:
        planned = plan(registries, registry, rules("pr-.*"))
        taken = build_index([OTHER])
        registry.add_image(NAME, taken, "v2")
        outcome = prune([planned], look_seconds=0)[0]
        assert outcome.problem is None
        assert whole(registry, taken)
        assert whole(registry, KEPT)
        assert str(OTHER.descriptor.digest) in [one.name for one in outcome.spared]
        assert not has(registry, GOING.descriptor.digest)


def test_p6_a_new_tag_is_seen_after_seconds() -> None:
    with filled() as registry, connected() as registries:
        planned = plan(registries, registry, rules("pr-.*"))
        taken = build_index([OTHER])
        registry.add_image(NAME, taken, "v2")
        later = planned.reader.began + 6
        applier = Applier(planned.reader, planned.plan, planned.graph, clock=lambda: later)
        assert applier.run().problem is None
        assert whole(registry, taken)


def test_p6_a_tag_that_was_to_go_and_moved_stays() -> None:
    with filled() as registry, connected() as registries:
        planned = plan(registries, registry, rules("pr-.*"))
        new = image("new", 3)
        registry.add_image(NAME, new, "pr-1")
        outcome = prune([planned])[0]
        assert tags(registry) == {"v1", "pr-1"}
        assert has(registry, new.descriptor.digest)
        assert [one.name for one in outcome.spared] == ["pr-1"]


def test_p6_the_proof_finds_what_is_broken() -> None:
    with filled() as registry, connected() as registries:
        planned = plan(registries, registry, rules("pr-.*"))
        lost = ARM.descriptor.digest
        registry.state.manifests[NAME].pop(lost)
        outcome = prune([planned])[0]
        assert outcome.broken == [f"manifest {lost} is gone"]
        assert "is not whole" in outcome.problem.message  # type: ignore[union-attr]


def test_p6_a_registry_that_deletes_what_an_index_lists_is_found_out() -> None:
    with filled(Quirks(delete_children=True)) as registry:
        outcome = pruned(registry, "pr-.*")
        shared = {one.digest for one in GOING.children} & {one.digest for one in KEPT.children}
        assert AMD.descriptor.digest in shared
        assert outcome.broken == sorted(f"manifest {digest} is gone" for digest in shared)


def test_p13_what_is_said_to_be_deleted_and_still_there_is_told() -> None:
    with filled(Quirks(delete_nothing=True)) as registry:
        alone = image("alone", 5)
        registry.add_image(NAME, alone, "pr-2")
        outcome = pruned(registry, "pr-.*")
        assert "still has it" in outcome.problem.message
        assert outcome.still_there == ["pr-1", "pr-2", str(alone.descriptor.digest)]
        # What an index lists is not touched while that is there.
        assert [one.name for one in outcome.refused] == [str(GOING.descriptor.digest)]
        assert str(OTHER.descriptor.digest) not in deleted(registry)


def test_p13_deletion_that_is_switched_off_is_told() -> None:
    with filled(Quirks(delete_405=True)) as registry:
        with pytest.raises(OcitoolError, match="deletion is disabled") as caught:
            pruned(registry, "pr-.*")
        assert type(caught.value) is OcitoolError
        assert tags(registry) == {"v1", "pr-1"}


# Plans.


def frozen(registry: EmulatedRegistry, *delete: str) -> bytes:
    with connected() as registries:
        return encode_prune_plans([plan(registries, registry, rules(*delete)).plan])


def applied(registry: EmulatedRegistry, data: bytes, *, allow_new: bool = False) -> Any:
    with connected() as registries:
        planned = recheck_prune_plans(
            registries, parse_prune_plans(data, "plan"), allow_new=allow_new
        )
        return prune(planned)[0]


def test_p7_two_plans_are_equal_but_for_the_time() -> None:
    with filled() as registry:
        sign(registry, KEPT.descriptor, "cosign")
        one, other = (json.loads(frozen(registry, "pr-.*")) for _ in range(2))
        assert {**one, "time": ""} == {**other, "time": ""}
        for step in one["steps"]:
            assert {"order", "digest", "size", "tags", "created", "reason"} <= step.keys()
        assert one["kept"][-1] == {
            "tag": "v1",
            "digest": str(KEPT.descriptor.digest),
            "rule": "no --delete-tags names it",
        }


def test_p7_a_plan_is_done_and_can_be_done_again() -> None:
    with filled() as registry:
        data = frozen(registry, "pr-.*")
        assert applied(registry, data).problem is None
        assert tags(registry) == {"v1"}
        assert applied(registry, data).problem is None
        assert whole(registry, KEPT)


def test_p9_what_an_interruption_left_is_archived_too(tmp_path: Path) -> None:
    with filled() as registry:
        data = frozen(registry, "pr-.*")
        registry.state.delete(NAME, None, GOING.descriptor.digest)
        archive = str(tmp_path / "gone.tar")
        with connected() as registries:
            planned = recheck_prune_plans(registries, parse_prune_plans(data, "plan"))
            outcome = prune(planned, archive=archive)[0]
        assert outcome.problem is None
        assert not has(registry, OTHER.descriptor.digest)
        assert GOING.descriptor.digest not in outcome.digests
        with open_archive(archive) as found:
            assert OTHER.descriptor.digest in {one.descriptor.digest for one in found.roots()}


@pytest.mark.parametrize("tag", ["v1", "pr-1"])
def test_p7_a_plan_is_stale_when_a_tag_moved(tag: str) -> None:
    with filled() as registry:
        data = frozen(registry, "pr-.*")
        registry.add_image(NAME, image("new", 3), tag)
        with pytest.raises(Refused, match="stale"):
            applied(registry, data)
        assert not registry.requests("DELETE")


def test_p7_a_tag_that_came_is_stale_unless_it_is_allowed() -> None:
    with filled() as registry:
        data = frozen(registry, "pr-.*")
        taken = build_index([OTHER])
        registry.add_image(NAME, taken, "v2")
        with pytest.raises(Refused, match="v2 is new since"):
            applied(registry, data)
        outcome = applied(registry, data, allow_new=True)
        assert outcome.problem is None
        assert whole(registry, taken)
        assert tags(registry) == {"v1", "v2"}


def test_p7_a_plan_that_contradicts_itself_is_refused() -> None:
    with filled() as registry:
        value = json.loads(frozen(registry, "pr-.*"))
        value["steps"][-1]["digest"] = str(KEPT.descriptor.digest)
        with pytest.raises(MalformedDocument, match="a tag that stays names it"):
            parse_prune_plans(as_json(value), "plan")


def test_p7_a_forged_plan_cannot_take_what_a_tag_needs() -> None:
    with filled() as registry:
        value = json.loads(frozen(registry, "pr-.*"))
        value["steps"][-1]["digest"] = str(ARM.descriptor.digest)
        with pytest.raises(Refused, match="belongs to what is to stay"):
            applied(registry, as_json(value))
        assert not registry.requests("DELETE")


# Clocks, limits, access.


def test_p8_the_clock_of_the_registry_counts_and_a_difference_is_told() -> None:
    told: list[str] = []
    day = 86_400
    with filled(Quirks(clock=400.0 * day)) as registry:
        limits = RegistryOptions()
        with Registries(limits, warn=told.append, environment={}) as registries:
            found = plan(registries, registry, rules("pr-.*", older_than="300d"))
            assert {step.tag for step in found.plan.steps if step.tag} == {"pr-1"}
        assert any("the clocks of" in text for text in told)
    with filled(Quirks(clock=0.0)) as registry, connected() as registries:
        found = plan(registries, registry, rules("pr-.*", older_than="3000d"))
        assert found.plan.steps == ()


def test_a_rate_of_requests_is_kept() -> None:
    with filled() as registry, Registries(RegistryOptions(rate=100), environment={}) as registries:
        began = time.monotonic()
        plan(registries, registry, rules("none"))
        assert time.monotonic() - began > (len(registry.log) - 1) / 100


def test_rights_are_asked_for_as_they_are_needed() -> None:
    access = Access(scheme="bearer", anonymous_pull=False)
    options = RegistryOptions(username="user", password="pass")
    with filled(Quirks(access=access)) as registry:
        with Registries(options, environment={}) as registries:
            planned = plan(registries, registry, rules("pr-.*"))
            scopes = [one.target for one in registry.requests("GET", "/token")]
            assert all("delete" not in scope and "push" not in scope for scope in scopes)
            assert prune([planned])[0].problem is None
        assert tags(registry) == {"v1"}


# Brakes.


def test_p10_brakes() -> None:
    with filled() as registry, connected() as registries:
        planned = plan(registries, registry, rules("pr-.*", max_delete="0"))
        with pytest.raises(Refused, match="--max-delete 0"):
            prune([planned])
        planned = plan(registries, registry, rules("pr-.*", min_keep=2))
        with pytest.raises(Refused, match="--min-keep 2"):
            prune([planned])
        assert not registry.requests("DELETE")


def test_p3_entries_of_a_fallback_list_go_with_their_image() -> None:
    with filled() as registry:
        signature = sign(registry, OTHER.descriptor, "fallback")
        gone = Digest.of(b"gone")
        entry = {**signature.to_json(), "artifactType": "x/y"}
        lost = {**entry, "digest": str(gone)}
        add_fallback(registry, OTHER.descriptor, [entry, lost])
        assert pruned(registry, "pr-.*").problem is None
        assert tags(registry) == {"v1"}
        assert not has(registry, signature.digest)
