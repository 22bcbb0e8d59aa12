"""ocitool sync: rules, the dry run, failures that stop nothing else, plans and shards."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocitool.oci import Digest
from tests.places.registry.pushes import methods, whole
from tests.support.command import Command, Done
from tests.support.images import Built, build_artifact, build_image, build_index
from tests.support.registry import Access, EmulatedRegistry, Quirks

BASE = {"base": b"b" * 20_000}
IMAGES: dict[str, Built] = {
    tag: build_image([BASE, {"tag": tag.encode()}])
    for tag in ("1.0", "1.1", "1.2-rc.1", "2.0", "latest")
}
ARM = build_image([BASE, {"arm": b"1"}], platform="linux/arm64")
AMD = build_image([BASE, {"amd": b"1"}])
BOTH = build_index([AMD, ARM])
QUICKLY = ("--retry-max-wait", "0.02s")


class Ends:
    """Two registries, a file of rules, and the command that mirrors by it."""

    def __init__(self, command: Command, source: EmulatedRegistry, target: EmulatedRegistry):
        self.command, self.source, self.target = command, source, target

    def __call__(self, rules: str, *options: str | Path) -> Done:
        """Mirror by a file in which SRC and DST stand for the two hosts."""
        text = rules.replace("SRC", self.source.host).replace("DST", self.target.host)
        (self.command.cwd / "sync.yaml").write_text(text)
        return self.command("sync", "sync.yaml", *QUICKLY, *options)

    def tags(self, repository: str = "m/app") -> dict[str, str]:
        """Return the tags of a repository of the target, and what they name."""
        return {tag: str(digest) for tag, digest in self.target.tags[repository].items()}


@pytest.fixture
def ends(ocitool: Command) -> Iterator[Ends]:
    with EmulatedRegistry() as source, EmulatedRegistry() as target:
        for tag, image in IMAGES.items():
            source.add_image("t/app", image, tag)
        source.add_image("t/both", BOTH, "1")
        yield Ends(ocitool, source, target)


def digests(*tags: str) -> dict[str, str]:
    return {tag: str(IMAGES[tag].descriptor.digest) for tag in tags}


def entry(rules: str = "{}", *, name: str = "app", more: str = "") -> str:
    return (
        f"sync:\n- source: SRC/t/{name}\n  target: DST/m/{name}\n  type: repository\n"
        f"  tags: {rules}\n{more}"
    )


class TestRules:
    def test_a23_what_the_rules_take_is_mirrored_and_nothing_else_is_looked_at(
        self, ends: Ends
    ) -> None:
        done = ends(entry(r"{allow: ['1\.\d+', '2.*'], deny: ['2\.0']}"))
        # "2.*" takes 2.0, which is denied: it has matched.
        assert done.code == 0, done.err
        assert ends.tags() == digests("1.0", "1.1")
        assert all(whole(ends.target, IMAGES[tag], "m/app") for tag in ("1.0", "1.1"))
        asked = {one.target for one in ends.source.requests(pattern="/manifests/[^s]")}
        assert asked == {f"/v2/t/app/manifests/{tag}" for tag in ("1.0", "1.1")}

    def test_a23_the_dry_run_prints_each_tag_with_the_rule_that_took_it(self, ends: Ends) -> None:
        ends.target.add_image("m/app", IMAGES["1.0"], "1.0")
        ends.target.add_image("m/app", IMAGES["1.0"], "1.1")
        done = ends(entry("{semverRange: '>=1', glob: '*.*', newest: 3}"), "--dry-run")
        assert done.code == 0, done.err
        _, *rows = ([cell for cell in line.split("  ") if cell] for line in done.out.splitlines())
        assert [[cell.strip() for cell in row] for row in rows] == [
            [
                f"{ends.source.host}/t/app:{tag}",
                f"{ends.target.host}/m/app:{tag}",
                to_do,
                IMAGES[tag].descriptor.digest.short,
                "sync.yaml:5 semverRange >=1, glob *.*, newest 3",
            ]
            for tag, to_do in (("2.0", "copy"), ("1.1", "move"), ("1.0", "there already"))
        ]
        assert "2 images to copy, 1 there already" in done.err
        assert set(methods(ends.target)) == {"HEAD"}

    def test_a23_a_rule_that_takes_nothing_is_an_error_and_the_others_are_done(
        self, ends: Ends
    ) -> None:
        done = ends(entry("{allow: [latest, '1.x', '3.*']}"))
        assert done.code == 1
        assert "sync.yaml:5: allow 3.* matches nothing in " in done.err
        assert "sync.yaml:5: allow 1.x matches nothing in " in done.err
        assert ends.tags() == digests("latest")

    def test_a23_that_is_so_for_each_entry_of_one_line(self, ends: Ends) -> None:
        one = (
            "{source: SRC/t/app, target: DST/m/app, type: repository, tags: {allow: ['7', '1.0']}}"
        )
        two = (
            "{source: SRC/t/both, target: DST/m/both, type: repository, tags: {allow: ['8', '1']}}"
        )
        done = ends(f"sync: [{one}, {two}]\n", "--json")
        value: Any = done.json
        assert [failed["error"].partition(" in ")[0] for failed in value["failed"]] == [
            "allow 7 matches nothing",
            "allow 8 matches nothing",
        ]
        assert len(value["images"]) == 2

    def test_a23_what_no_terminal_is_wide_enough_for_is_shown_by_repositories(
        self, ends: Ends
    ) -> None:
        ends(entry("{allow: ['1.0', '2.0']}"), "--plan-out", "plan")
        shown = ends.command.on_terminal("sync", "--plan", "plan", "--dry-run", columns=80)
        lines = [line for line in shown.splitlines() if line]
        assert lines[0] == f"{ends.source.host}/t/app → {ends.target.host}/m/app"
        short = [IMAGES[tag].descriptor.digest.short for tag in ("1.0", "2.0")]
        assert [line.split() for line in lines[2:4]] == [
            ["1.0", "copy", short[0], "sync.yaml:5", "allow", "1.0"],
            ["2.0", "copy", short[1], "sync.yaml:5", "allow", "2.0"],
        ]

    def test_a23_images_and_digests_are_mirrored_too(self, ends: Ends) -> None:
        digest = IMAGES["1.0"].descriptor.digest
        rules = (
            f"sync:\n- source: SRC/t/app@{digest}\n  target: DST/m/one:first\n  type: image\n"
            f"- source: SRC/t/app:1.1\n  target: DST/m/two\n  type: image\n"
            f"- source: SRC/t/app\n  target: DST/m/app\n  type: repository\n"
            f"  tags: {{allow: ['{digest}', '7@{digest}']}}\n"
        )
        assert ends(rules).code == 0
        assert ends.tags("m/one") == {"first": str(digest)}
        assert ends.tags("m/two") == digests("1.1")
        assert ends.tags("m/app") == {"7": str(digest)}

    def test_a23_a_registry_is_mirrored_below_a_prefix(self, ends: Ends) -> None:
        ends.source.add_image("x/secret", IMAGES["1.0"], "1")
        ends.source.add_image("No/Name", IMAGES["1.0"], "1")
        rules = (
            "sync:\n- source: SRC\n  target: DST/all\n  type: registry\n"
            "  repos: {allow: ['.*/.*'], deny: [x/secret]}\n"
            "  tags: {allow: ['1', '1.0']}\n"
        )
        done = ends(rules)
        assert done.code == 0, done.err
        assert "lists 'No/Name', which is not a valid name: left out" in done.err
        assert {name for name, tags in ends.target.tags.items() if tags} == {
            "all/t/app",
            "all/t/both",
        }
        assert ends.tags("all/t/app") == digests("1.0")

    def test_a23_a_registry_that_lists_nothing_is_an_error(self, ends: Ends) -> None:
        done = ends("sync:\n- {source: DST, target: SRC/all, type: registry}\n")
        assert done.code == 1
        assert "lists no repository to mirror" in done.err

    def test_a23_platforms_are_taken_from_an_index_under_the_digest_of_the_plan(
        self, ends: Ends
    ) -> None:
        rules = entry("{}", name="both", more="  platforms: [linux/arm64]\n")
        done = ends(rules, "--json")
        value: Any = done.json
        assert value["images"][0]["digest"] == str(ARM.descriptor.digest)
        assert ends.tags("m/both") == {"1": str(ARM.descriptor.digest)}
        before = len(ends.target.log)
        assert ends(rules).code == 0
        assert [one.method for one in ends.target.log[before:]] == ["HEAD"]

    def test_a23_two_rules_for_one_target_are_refused_before_anything_is_written(
        self, ends: Ends
    ) -> None:
        done = ends(
            "sync:\n- {source: 'SRC/t/app:1.0', target: 'DST/m/app:1', type: image}\n"
            "- {source: 'SRC/t/app:1.1', target: 'DST/m/app:1', type: image}\n"
        )
        assert done.code == 2
        assert "/m/app:1 would be both" in done.err
        assert ends.target.log == []

    def test_a23_a_wrong_file_is_wrong_usage_with_its_line(self, ends: Ends) -> None:
        done = ends(entry("{alow: [x]}"))
        assert (done.code, ends.source.log) == (2, [])
        assert "sync.yaml:5: there is no key 'alow'" in done.err
        assert "did you mean allow?" in done.err

    def test_a23_the_file_says_how_to_log_in(self, ocitool: Command) -> None:
        access = Access(scheme="basic", users={"me": "pass-word"})
        with (
            EmulatedRegistry(Quirks(access=access)) as source,
            EmulatedRegistry(Quirks(access=access)) as target,
        ):
            source.add_image("t/app", IMAGES["1.0"], "1")
            creds = "".join(
                f"- registry: {one.host}\n  tls: disabled\n  user: me\n"
                "  pass: '{{env \"PASS\"}}'\n"
                for one in (source, target)
            )
            text = f"creds:\n{creds}{entry()}".replace("SRC", source.host)
            (ocitool.cwd / "s.yaml").write_text(text.replace("DST", target.host))
            done = ocitool("sync", "s.yaml", "-v", variables={"PASS": "pass-word"})
            assert done.code == 0, done.err
            assert target.tags["m/app"]["1"] == IMAGES["1.0"].descriptor.digest
            assert "pass-word" not in done.out + done.err
            assert ocitool("sync", "s.yaml").code == 2
            variables = {"PASS": "pass-word"}
            done = ocitool("sync", "s.yaml", "--plan-out", "plan", variables=variables)
            assert done.code == 0, done.err
            assert "pass-word" not in (ocitool.cwd / "plan").read_text()
            done = ocitool("sync", "s.yaml", "--plan", "plan", variables=variables)
            assert done.code == 0, done.err
            assert "1 there already" in done.err


class TestFailures:
    def test_a24_one_image_that_fails_ends_with_1_and_all_others_are_done(self, ends: Ends) -> None:
        broken = IMAGES["1.1"]
        layer = next(
            d
            for d, data in broken.blobs.items()
            if data[:2] == b"\x1f\x8b" and d not in IMAGES["1.0"].blobs
        )
        del ends.source.state.blobs["t/app"][layer]
        rules = entry(
            "{}",
            more=(
                "- source: SRC/t/nothing\n  target: DST/m/nothing\n  type: repository\n"
                "- source: SRC/t/both\n  target: DST/m/both\n  type: repository\n"
            ),
        )
        done = ends(rules, "--json")
        value: Any = done.json
        assert done.code == 1
        assert ends.tags() == digests(*(set(IMAGES) - {"1.1"}))
        assert ends.tags("m/both") == {"1": str(BOTH.descriptor.digest)}
        assert sorted(one["name"].partition("/")[2] for one in value["failed"]) == [
            "m/app:1.1",
            "t/nothing",
        ]
        assert "2 failed, all others are done; the first: " in done.err
        again = ends(rules)
        assert again.code == 1

    def test_a24_a_failure_breaks_off_no_other_repository(self, ocitool: Command) -> None:
        # The failed image's other layer is at a registry that does not hear for a while: it is
        # broken off, and with it all that shares its connections.
        slow = Quirks(commit_seconds=0.7)
        with EmulatedRegistry() as source, EmulatedRegistry(slow) as target:
            for number in range(3):
                image = build_image([{"a": b"a%d" % number}, {"b": b"b%d" % number}])
                source.add_image(f"t/app{number}", image, "1")
                if number == 0:
                    del source.state.blobs["t/app0"][image.layers[1].digest]
            rules = "sync: [{source: SRC, target: DST/m, type: registry}]\n"
            done = Ends(ocitool, source, target)(rules)
            assert done.code == 1
            assert "/m/t/app0:1: blob " in done.err
            tagged = {name for name, tags in target.tags.items() if tags}
            assert tagged == {"m/t/app1", "m/t/app2"}

    def test_a24_nothing_is_deleted(self, ends: Ends) -> None:
        ends.target.add_image("m/app", ARM, "own")
        ends.target.add_image("m/app", ARM, "1.0")
        assert ends(entry("{allow: ['1.0', '1.1']}")).code == 0
        assert ends.tags() == {**digests("1.0", "1.1"), "own": str(ARM.descriptor.digest)}
        assert ARM.descriptor.digest in ends.target.manifests["m/app"]
        assert "DELETE" not in methods(ends.target)


class TestBlobs:
    def test_a24_each_blob_is_sent_once_and_mounted_elsewhere(self, ends: Ends) -> None:
        rules = "sync:\n" + "".join(
            f"- {{source: 'SRC/t/app:{tag}', target: 'DST/m/app{n}', type: image}}\n"
            for n, tag in enumerate(list(IMAGES) * 3)
        )
        done = ends(rules)
        assert done.code == 0, done.err
        puts = ends.target.requests("PUT", "/blobs/uploads/")
        sent = Counter(put.target.rpartition("digest=")[2] for put in puts)
        blobs = {
            digest
            for image in IMAGES.values()
            for digest in image.blobs
            if digest != image.descriptor.digest
        }
        assert len(sent) == len(blobs)
        assert set(sent.values()) == {1}
        for number, image in enumerate(list(IMAGES.values()) * 3):
            assert whole(ends.target, image, f"m/app{number}")


SIGNATURE = build_artifact(IMAGES["1.0"].descriptor, content=b"signature")
OF_SIGNATURE = build_artifact(SIGNATURE.descriptor, content=b"of the signature")


@pytest.fixture
def attached(ends: Ends) -> Ends:
    """Return two registries, of which the source has artifacts attached to 1.0 in three ways."""
    ends.source.add_image("t/app", SIGNATURE)
    ends.source.add_image("t/app", OF_SIGNATURE)
    tag = f"sha256-{IMAGES['1.0'].descriptor.digest.hex}.sig"
    ends.source.add_image("t/app", build_artifact(None, content=b"by a tag"), tag)
    return ends


class TestAttached:
    RULES = entry("{allow: ['1.*']}", more="  referrers: true\n")

    def test_a25_what_is_attached_is_frozen_and_mirrored_with_its_image(
        self, attached: Ends
    ) -> None:
        plan = attached.command.cwd / "plan"
        assert attached(self.RULES, "--plan-out", plan).code == 0
        lines = [json.loads(line) for line in plan.read_text().splitlines()]
        assert [len(line["referrers"]) for line in lines] == [3, 0, 0]
        # What is attached later is of another plan.
        attached.source.add_image("t/app", build_artifact(IMAGES["1.1"].descriptor))
        done = attached.command("sync", "--plan", plan)
        assert done.code == 0, done.err
        for artifact in (SIGNATURE, OF_SIGNATURE):
            assert whole(attached.target, artifact, "m/app")
        assert set(attached.tags()) == {
            *("1.0", "1.1", "1.2-rc.1"),
            f"sha256-{IMAGES['1.0'].descriptor.digest.hex}.sig",
        }

    def test_a25_it_is_brought_to_an_image_that_is_there(self, attached: Ends) -> None:
        assert attached(entry("{allow: ['1.*']}")).code == 0
        assert not whole(attached.target, SIGNATURE, "m/app")
        dry = attached(self.RULES, "--dry-run")
        assert [line for line in dry.out.splitlines() if "  attach  " in line]
        assert attached(self.RULES).code == 0
        assert whole(attached.target, SIGNATURE, "m/app")
        before = len(attached.target.log)
        done = attached(self.RULES)
        assert "0 images copied (0 B), 3 there already" in done.err
        # Three tags, two lists of what is attached, one tag of cosign.
        assert Counter(one.method for one in attached.target.log[before:]) == {"HEAD": 4, "GET": 2}

    def test_a25_an_artifact_that_is_there_and_not_listed_is_listed(self, ocitool: Command) -> None:
        quirks = Quirks(referrers="404")
        with EmulatedRegistry() as source, EmulatedRegistry(quirks) as target:
            source.add_image("t/app", IMAGES["1.0"], "1.0")
            source.add_image("t/app", SIGNATURE)
            # As a process leaves it that is killed between the two requests.
            target.add_image("m/app", SIGNATURE)
            ends = Ends(ocitool, source, target)
            for _ in range(2):
                assert ends(entry(more="  referrers: true\n")).code == 0
            assert listed(target, "m/app", IMAGES["1.0"]) == [SIGNATURE.descriptor.digest]


def listed(registry: EmulatedRegistry, repository: str, image: Built) -> list[Digest]:
    """Return what the fallback tag lists as attached to an image."""
    named = registry.tags[repository][f"sha256-{image.descriptor.digest.hex}"]
    fields: Any = registry.manifests[repository][named].fields
    return [Digest.parse(one["digest"]) for one in fields["manifests"]]


class TestPlans:
    def test_a25_a_plan_freezes_what_tags_name(self, ends: Ends) -> None:
        plan = ends.command.cwd / "plan"
        done = ends(entry("{allow: ['1.0', latest]}"), "--plan-out", plan)
        assert done.code == 0, done.err
        assert (ends.target.log, done.out) == ([], "")
        assert "2 images planned, for 1 repository" in done.err
        ends.source.add_image("t/app", ARM, "1.0")
        before = len(ends.source.requests("HEAD"))
        assert ends.command("sync", "--plan", plan).code == 0
        assert ends.tags() == digests("1.0", "latest")
        assert len(ends.source.requests("HEAD")) == before

    def test_a25_the_same_images_give_the_same_plan(self, ends: Ends) -> None:
        first = ends(entry(), "--plan-out", "-")
        assert first.out == ends(entry(), "--plan-out", "-").out
        assert len(first.out.splitlines()) == 5

    def test_a25_a_plan_is_written_although_some_of_it_failed(self, ends: Ends) -> None:
        plan = ends.command.cwd / "plan"
        assert ends(entry("{allow: [latest, v9]}"), "--plan-out", plan).code == 1
        assert len(plan.read_text().splitlines()) == 1

    def test_a25_shards_share_the_lines_and_a_repetition_costs_a_request_each(
        self, ends: Ends
    ) -> None:
        rules = "sync:\n" + "".join(
            f"- {{source: 'SRC/t/app:{tag}', target: 'DST/m/app{n}:{tag}', type: image}}\n"
            for n in range(6)
            for tag in ("1.0", "1.1")
        )
        assert ends(rules, "--plan-out", "plan").code == 0
        counts = []
        for shard in ("0/3", "1/3", "2/3"):
            done = ends.command("sync", "--plan", "plan", "--shard", shard, "--json")
            value: Any = done.json
            assert done.code == 0, done.err
            counts.append(len(value["images"]))
            names = {one["destination"].rpartition(":")[0] for one in value["images"]}
            assert len(value["images"]) == 2 * len(names)
        assert sum(counts) == 12
        logs = [len(one.log) for one in (ends.source, ends.target)]
        for shard in ("1/3", "2/3", "3/3"):
            assert ends.command("sync", "--plan", "plan", "--shard", shard).code == 0
        assert ends.source.log[logs[0] :] == []
        again = ends.target.log[logs[1] :]
        assert Counter(one.method for one in again) == {"HEAD": 12}
        assert {one.target for one in again} == {
            f"/v2/m/app{n}/manifests/{tag}" for n in range(6) for tag in ("1.0", "1.1")
        }

    def test_a25_a_shard_without_a_repository_says_so(self, ends: Ends) -> None:
        assert ends(entry("{allow: ['1.0']}"), "--plan-out", "plan").code == 0
        said = [ends.command("sync", "--plan", "plan", "--shard", f"{n}/2").err for n in (0, 1)]
        (empty,) = (text for text in said if "0 images copied" in text)
        number = said.index(empty)
        assert f"shard {number}/2 has none of the repositories: the others have them" in empty

    def test_a24_credentials_that_lack_everywhere_end_it_with_5(self, ends: Ends) -> None:
        access = Access(scheme="basic")
        with EmulatedRegistry(Quirks(access=access)) as closed:
            ends.target = closed
            done = ends(entry("{allow: ['1.0', '1.1']}"))
        assert done.code == 5
        assert "2 failed" in done.err

    def test_a25_shards_may_read_the_rules_themselves(self, ends: Ends) -> None:
        rules = entry("{allow: ['1.0']}") + entry("{}", name="both").removeprefix("sync:\n")
        for shard in ("1/2", "2/2"):
            assert ends(rules, "--shard", shard).code == 0
        assert ends.tags() == digests("1.0")
        assert ends.tags("m/both") == {"1": str(BOTH.descriptor.digest)}
        # Neither shard looks up what is of the other.
        assert len(ends.source.requests("HEAD")) == 2

    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            ((), 2, "Missing argument 'FILE'"),
            (("--plan", "p", "--plan-out", "q"), 2, "exclude each other"),
            (("s.yaml", "--plan-out", "q", "--dry-run"), 2, "leave out --dry-run"),
            (("s.yaml", "--plan-out", "-", "--json"), 2, "cannot both go to stdout"),
            (("s.yaml", "--plan-out", "none/q"), 4, "none"),
            (("s.yaml", "--shard", "4/3"), 2, "'4/3' is no shard"),
            (("absent.yaml",), 4, "absent.yaml"),
            (("--plan", "s.yaml"), 7, "s.yaml:1 is no line of a plan"),
        ],
    )
    def test_wrong_usage(
        self, ocitool: Command, words: tuple[str, ...], code: int, said: str
    ) -> None:
        text = "sync: [{source: a, target: h.invalid/a, type: image}]"
        (ocitool.cwd / "s.yaml").write_text(text)
        done = ocitool("sync", *words)
        assert (done.code, said in done.err) == (code, True), done.err


class TestA23RulesForABundle:
    def test_a23_a_bundle_takes_what_rules_take(self, ends: Ends) -> None:
        rules = entry("{semverRange: ['<2']}", more="  platforms: [linux/amd64]\n")
        (ends.command.cwd / "sync.yaml").write_text(
            rules.replace("SRC", ends.source.host).replace("DST", ends.target.host)
        )
        done = ends.command("bundle", "create", "-f", "sync.yaml", "-o", "b.tar", *QUICKLY)
        assert done.code == 0, done.err
        assert "platforms of sync.yaml are not applied" in done.err
        shown = ends.command("bundle", "show", "b.tar", "--json").json
        assert isinstance(shown, dict)
        assert {image["name"]: image["digest"] for image in shown["images"]} == {
            f"{ends.source.host}/t/app:{tag}": digest
            for tag, digest in digests("1.0", "1.1").items()
        }

    def test_a23_a_rule_that_takes_nothing_makes_no_bundle(self, ends: Ends) -> None:
        (ends.command.cwd / "sync.yaml").write_text(
            entry("{allow: [none]}").replace("SRC", ends.source.host).replace("DST", "x.example")
        )
        done = ends.command("bundle", "create", "-f", "sync.yaml", "-o", "b.tar", *QUICKLY)
        assert done.code == 1
        assert "sync.yaml:" in done.err
        assert not (ends.command.cwd / "b.tar").exists()
