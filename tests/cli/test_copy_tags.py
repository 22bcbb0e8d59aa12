"""ocitool copy of many tags between registries, by --all-tags or a pattern, and --dry-run."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.places.registry.pushes import NAME, methods, whole
from tests.support.command import Command, Done
from tests.support.images import Built, build_artifact, build_image, build_index
from tests.support.registry import Access, EmulatedRegistry, Quirks

ONE = build_image([{"a": b"1"}, {"b": b"2" * 5000}])
TWO = build_image([{"a": b"1"}, {"c": b"3"}])
BOTH = build_index([ONE, TWO])
IMAGES: dict[str, Built] = {"v1.0": ONE, "v1.1": TWO, "v2.0": BOTH, "latest": BOTH}
QUICKLY = ("--retry-max-wait", "0.02s")


class Ends:
    """Two registries, and the command that copies between them."""

    def __init__(self, command: Command, source: EmulatedRegistry, target: EmulatedRegistry):
        self.command, self.source, self.target = command, source, target

    def __call__(self, tags: str, *options: str) -> Done:
        """Copy `NAME` with what stands behind it, such as `:v*`."""
        places = f"docker://{self.source.host}/{NAME}{tags}", f"docker://{self.target.host}/to/app"
        return self.command("copy", *places, *options)

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the destination, and what they name."""
        return {tag: str(digest) for tag, digest in self.target.tags["to/app"].items()}


@pytest.fixture
def copied(ocitool: Command) -> Iterator[Ends]:
    with EmulatedRegistry() as source, EmulatedRegistry() as target:
        for tag, image in IMAGES.items():
            source.add_image(NAME, image, tag)
        yield Ends(ocitool, source, target)


def digests(*tags: str) -> dict[str, str]:
    return {tag: str(IMAGES[tag].descriptor.digest) for tag in tags}


class TestWhichTags:
    @pytest.mark.parametrize(
        ("tags", "options", "expected"),
        [
            ("", ("--all-tags",), tuple(IMAGES)),
            (":*", (), tuple(IMAGES)),
            (":v*", (), ("v1.0", "v1.1", "v2.0")),
            (":v1.?", (), ("v1.0", "v1.1")),
            (":[l]atest", (), ("latest",)),
        ],
    )
    def test_all_that_match_are_copied_with_their_digests(
        self, copied: Ends, tags: str, options: tuple[str, ...], expected: tuple[str, ...]
    ) -> None:
        done = copied(tags, *options)
        assert done.code == 0, done.err
        assert copied.tags == digests(*expected)
        pinned = [f"{copied.target.host}/to/app@{d}" for d in digests(*sorted(expected)).values()]
        assert done.out.split() == pinned
        assert all(whole(copied.target, IMAGES[tag], "to/app") for tag in expected)

    def test_none_that_matches_is_not_found(self, copied: Ends) -> None:
        done = copied(":w*")
        assert done.code == 4
        assert "has no tag that matches 'w*'" in done.err

    def test_with_referrers_what_is_attached_goes_along(self, copied: Ends) -> None:
        artifact = build_artifact(ONE.descriptor)
        copied.source.add_image(NAME, artifact)
        done = copied(":v1.*", "--referrers", "--json")
        rows: Any = done.json
        assert [row["attached"] for row in rows] == [1, 0]
        assert whole(copied.target, artifact, "to/app")

    def test_a_list_of_what_is_attached_is_not_moved_from_a_longer_one(self, copied: Ends) -> None:
        tag = f"sha256-{ONE.descriptor.digest.hex}"
        mine, theirs = build_index([ONE]), build_index([ONE, TWO])
        copied.source.add_image(NAME, mine, tag)
        copied.target.add_image("to/app", theirs, tag)
        assert copied("", "--all-tags").code == 0
        assert copied.tags == digests(*IMAGES) | {tag: str(theirs.descriptor.digest)}


class TestWhatIsThere:
    def test_a_second_run_only_asks(self, copied: Ends) -> None:
        copied("", "--all-tags")
        before = [len(methods(one)) for one in (copied.source, copied.target)]
        done = copied("", "--all-tags")
        assert "0 tags copied (0 B), 4 there already" in done.err
        asked = [
            methods(one)[n:] for one, n in zip((copied.source, copied.target), before, strict=True)
        ]
        assert asked == [["GET", *["HEAD"] * 4], ["HEAD"] * 4]

    @pytest.mark.parametrize(
        ("policy", "code", "status"),
        [("overwrite", 0, "pushed"), ("skip", 0, "skipped"), ("same", 6, "failed")],
    )
    def test_a_tag_of_another_image_is_treated_as_asked(
        self, copied: Ends, policy: str, code: int, status: str
    ) -> None:
        copied.target.add_image("to/app", TWO, "v1.0")
        done = copied(":v1.*", "--on-existing", policy, "--json")
        rows: Any = done.json
        assert (done.code, len(rows)) == (code, 2)
        assert status in [row["status"] for row in rows]
        moved = status == "pushed"
        assert copied.tags == {
            "v1.0": str((ONE if moved else TWO).descriptor.digest),
            "v1.1": str(TWO.descriptor.digest),
        }
        assert [row.get("moved_from") for row in rows if moved] == (
            [str(TWO.descriptor.digest), None] if moved else []
        )

    def test_a_tag_that_fails_does_not_keep_the_others(self, copied: Ends) -> None:
        del copied.source.state.blobs[NAME][ONE.layers[1].digest]
        done = copied(":v1.*", *QUICKLY)
        assert done.code == 4
        assert "1 of 2 failed" in done.err
        assert copied.tags == digests("v1.1")
        assert copied(":v1.*", "--fail-fast", *QUICKLY).code == 4

    def test_a_digest_file_holds_the_digests(self, copied: Ends) -> None:
        file = copied.command.cwd / "digests"
        assert copied(":v1.*", "--digestfile", str(file)).code == 0
        assert file.read_text().split() == list(digests("v1.0", "v1.1").values())


class TestDryRun:
    def test_it_shows_each_tag_and_changes_nothing(self, copied: Ends) -> None:
        copied.target.add_image("to/app", TWO, "v1.0")
        copied.target.add_image("to/app", TWO, "v1.1")
        done = copied(":v*", "--dry-run")
        assert done.code == 0, done.err
        _, *rows = (line.split("  ") for line in done.out.splitlines())
        plan = {
            row[0].rpartition(":")[2]: [c.strip() for c in row if c.strip()][2:] for row in rows
        }
        short = {tag: image.descriptor.digest.short for tag, image in IMAGES.items()}
        assert plan == {
            "v1.0": ["move", short["v1.0"], short["v1.1"]],
            "v1.1": ["there already", short["v1.1"], short["v1.1"]],
            "v2.0": ["copy", short["v2.0"], "-"],
        }
        assert "2 tags to copy, 1 there already" in done.err
        assert set(methods(copied.target)) == {"HEAD"}

    def test_one_image_can_be_tried_too(self, copied: Ends) -> None:
        done = copied(":v1.0", "--dry-run", "--json")
        rows: Any = done.json
        assert [(row["status"], row["dry_run"]) for row in rows] == [("pushed", True)]
        assert copied.tags == {}


class TestWrongUsage:
    @pytest.mark.parametrize(
        ("source", "destination", "options", "said"),
        [
            ("docker://h/a:v*", "docker://h/b:1", (), "without a tag"),
            ("docker://h/a:1", "docker://h/b", ("--all-tags",), "without a tag"),
            ("docker://h/*:1", "docker://h/b", (), "for tags only"),
            ("docker://h/a:v*", "b", (), "write docker://b"),
            ("docker://h/a:v*", "oci:b", (), "copied to docker://HOST/NAME"),
            ("a", "docker://h/b", ("--all-tags",), "between registries"),
            ("docker://h/a:1", "docker://h/b", ("--dry-run", "--compression", "zstd"), "digests"),
        ],
    )
    def test_it_is_refused_before_any_request(
        self, ocitool: Command, source: str, destination: str, options: tuple[str, ...], said: str
    ) -> None:
        with EmulatedRegistry() as registry:
            places = [text.replace("//h/", f"//{registry.host}/") for text in (source, destination)]
            done = ocitool("copy", *places, *options)
            assert (done.code, registry.log) == (2, [])
            assert said in done.err


def test_one_registry_that_refuses_is_one_failure(ocitool: Command) -> None:
    with EmulatedRegistry(Quirks(access=Access(scheme="basic"))) as registry:
        place = f"docker://{registry.host}/{NAME}"
        assert ocitool("copy", f"{place}:*", f"{place}-copy").code == 5


@pytest.mark.parametrize("place", ["oci:alltags", "./carry.tar", "team/app"])
def test_several_tags_go_to_a_registry_alone(ocitool: Command, place: str) -> None:
    done = ocitool("copy", "--all-tags", f"docker://127.0.0.1:1/{NAME}", place)
    assert done.code == 2
    said = " ".join(done.err.split())
    assert f"several tags are copied to docker://HOST/NAME, and not to {place}" in said
    assert "`ocitool pull`" in said
    assert ("write docker://team/app" in said) == (place == "team/app")
    assert "docker://oci:" not in said
