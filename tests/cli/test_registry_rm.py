"""ocitool registry rm: tags, images by digest, and what registries do not delete."""

from pathlib import Path

from ocitool.oci import Digest
from tests.places.registry.pushes import NAME
from tests.support.command import Command
from tests.support.docker_registry import running_registry
from tests.support.images import as_json, build_artifact, build_image, write_layout
from tests.support.registry import EmulatedRegistry, Quirks
from tests.support.registry_faults import Status

IMAGE = build_image([{"a": b"1"}])
INDEX = "application/vnd.oci.image.index.v1+json"
DIGEST = str(IMAGE.descriptor.digest)


def filled(quirks: Quirks | None = None) -> EmulatedRegistry:
    registry = EmulatedRegistry(quirks)
    registry.add_image(NAME, IMAGE, "1")
    registry.add_image(NAME, IMAGE, "2")
    return registry


def test_a_tag_goes_and_the_image_stays_under_another(ocitool: Command) -> None:
    with filled() as registry:
        done = ocitool("registry", "rm", f"{registry.host}/{NAME}:1")
        assert (done.code, done.out) == (0, f"Deleted: {registry.host}/{NAME}:1\n")
        assert set(registry.tags[NAME]) == {"2"}


def test_an_image_goes_with_all_its_tags_when_that_is_said(ocitool: Command) -> None:
    with filled() as registry:
        done = ocitool("registry", "rm", "--by-digest", f"{registry.host}/{NAME}:1")
        assert (done.code, done.out) == (0, f"Deleted: {registry.host}/{NAME}@{DIGEST}\n")
        assert registry.tags[NAME] == {}


def test_a_digest_is_not_deleted_unless_that_is_said(ocitool: Command) -> None:
    with filled() as registry:
        done = ocitool("registry", "rm", f"{registry.host}/{NAME}@{DIGEST}")
        assert done.code == 2
        assert "--by-digest" in done.err
        assert not registry.log


def test_what_is_not_there_is_4_or_ignored(ocitool: Command) -> None:
    with filled() as registry:
        name = f"{registry.host}/{NAME}:9"
        assert ocitool("registry", "rm", name).code == 4
        done = ocitool("registry", "rm", "--ignore-missing", name)
        assert (done.code, done.out) == (0, "")
        assert ocitool("registry", "rm", "--by-digest", "--ignore-missing", name).code == 0


def test_of_several_the_rest_is_deleted_and_what_failed_is_said(ocitool: Command) -> None:
    with filled() as registry:
        names = [f"{registry.host}/{NAME}:{tag}" for tag in ("1", "9", "2")]
        done = ocitool("registry", "rm", *names)
        assert done.code == 4
        assert done.out.splitlines() == [f"Deleted: {names[0]}", f"Deleted: {names[2]}"]
        assert f"warning: {names[1]} does not exist\n" in done.err
        assert "1 of 3 failed" in done.err
        assert registry.tags[NAME] == {}


def test_names_that_cannot_be_meant_are_refused_before_any_is_deleted(ocitool: Command) -> None:
    with filled() as registry:
        done = ocitool("registry", "rm", f"{registry.host}/{NAME}:1", f"{registry.host}/{NAME}")
        assert done.code == 2
        assert not registry.log


def test_a_registry_that_does_not_delete_is_6(ocitool: Command) -> None:
    with filled(Quirks(delete_405=True)) as registry:
        done = ocitool("registry", "rm", f"{registry.host}/{NAME}:1")
        assert done.code == 6
        assert "switched off" in done.err


def test_what_is_forbidden_is_5_and_not_taken_for_absent(ocitool: Command) -> None:
    with filled() as registry:
        registry.fail("*", "/manifests/", Status(status=403), times=9)
        assert ocitool("registry", "rm", "--by-digest", f"{registry.host}/{NAME}:1").code == 5


def test_debians_registry_says_how_its_tags_go(ocitool: Command, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {"1": IMAGE})
    with running_registry(tmp_path) as registry:
        name = f"{registry.host}/{NAME}:1"
        assert ocitool("push", f"oci:{layout}:1", name).code == 0
        done = ocitool("registry", "rm", name)
        assert done.code == 6
        assert "--by-digest" in done.err
        assert ocitool("registry", "rm", "--by-digest", name).code == 0
        assert ocitool("registry", "digest", name).code == 4


def attached(registry: EmulatedRegistry) -> dict[str, str]:
    """Attach an artifact by its subject, and one by a tag; return their digests by their tags."""
    tag = f"sha256-{IMAGE.descriptor.digest.hex}"
    signature = build_artifact(None, b"signature")
    registry.add_image(NAME, signature, f"{tag}.sig")
    bill = build_artifact(IMAGE.descriptor, b"bill")
    registry.add_image(NAME, bill)
    entries = [bill.descriptor.to_json()]
    listed = as_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    index = registry.add_manifest(NAME, listed, INDEX, tag)
    return {
        f"{tag}.sig": str(signature.descriptor.digest),
        tag: str(index.digest),
        "": str(bill.descriptor.digest),
    }


def test_what_stays_behind_is_said_or_goes_too(ocitool: Command) -> None:
    with filled(Quirks(referrers="404")) as registry:
        digests = attached(registry)
        name = f"{registry.host}/{NAME}"
        done = ocitool("registry", "rm", "--by-digest", f"{name}:1")
        assert done.out == f"Deleted: {name}@{DIGEST}\n"
        tags = [tag for tag in digests if tag]
        for tag in tags:
            assert f"{name}:{tag} stays behind; --referrers" in done.err
        assert set(registry.tags[NAME]) == set(tags)
        registry.add_image(NAME, IMAGE, "1")
        done = ocitool("registry", "rm", "--by-digest", "--referrers", f"{name}:1")
        gone = {line.removeprefix(f"Deleted: {name}@") for line in done.out.splitlines()}
        assert (done.code, gone) == (0, {DIGEST, *digests.values()})
        assert (registry.tags[NAME], registry.manifests[NAME]) == ({}, {})
        assert ocitool("registry", "rm", "--referrers", f"{name}:1").code == 2


def test_the_list_of_what_is_attached_loses_what_is_deleted(ocitool: Command) -> None:
    with filled(Quirks(referrers="404")) as registry:
        bill = attached(registry)[""]
        name = f"{registry.host}/{NAME}"
        assert bill in ocitool("artifact", "ls", f"{name}:1").out
        assert ocitool("registry", "rm", "--by-digest", f"{name}@{bill}").code == 0
        assert bill not in ocitool("artifact", "ls", f"{name}:1").out


def test_an_entry_that_is_gone_is_told(ocitool: Command) -> None:
    """Another tool has deleted what a fallback list names."""
    with filled(Quirks(referrers="404")) as registry:
        bill = attached(registry)[""]
        registry.state.manifests[NAME].pop(Digest.parse(bill))
        name = f"{registry.host}/{NAME}:1"
        done = ocitool("pull", "-q", "--referrers", name)
        assert (done.code, done.out) == (0, f"{DIGEST}\n")
        assert f"lists {bill} as attached" in done.err
        done = ocitool("copy", "--referrers", f"docker://{name}", f"docker://{registry.host}/new:1")
        assert (done.code, f"lists {bill} as attached" in done.err) == (0, True)
        assert f"sha256-{IMAGE.descriptor.digest.hex}.sig" in registry.tags["new"]


def test_ls_marks_an_entry_that_is_gone(ocitool: Command) -> None:
    with filled(Quirks(referrers="404")) as registry:
        bill = attached(registry)[""]
        registry.state.manifests[NAME].pop(Digest.parse(bill))
        name = f"{registry.host}/{NAME}:1"
        lines = ocitool("artifact", "ls", name).out.splitlines()[1:]
        gone = [line for line in lines if line.endswith("(gone: its manifest was deleted)")]
        assert len(lines) > 1
        assert [bill in line for line in gone] == [True]
        found = ocitool("artifact", "ls", "--json", name).json
        assert isinstance(found, dict)
        assert [one["digest"] for one in found["attached"] if one["gone"]] == [bill]


def test_a_name_without_a_tag_does_not_mean_latest(ocitool: Command) -> None:
    with filled() as registry:
        registry.add_image(NAME, IMAGE, "latest")
        done = ocitool("registry", "rm", f"{registry.host}/{NAME}")
        assert done.code == 2
        assert set(registry.tags[NAME]) == {"1", "2", "latest"}


def test_digest_shows_what_there_is_before_it_fails(ocitool: Command) -> None:
    with filled() as registry:
        names = [f"{registry.host}/{NAME}:{tag}" for tag in ("9", "1")]
        done = ocitool("registry", "digest", *names)
        assert (done.code, done.out) == (4, f"{registry.host}/{NAME}@{DIGEST}\n")
        assert DIGEST in ocitool("registry", "digest", "--json", *names).out
