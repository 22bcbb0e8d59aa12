"""A23: the file of `ocitool sync`: regsync's keys, ours beside them, and errors with their line."""

import pytest

from ocitool.bundles.sync.config import SyncFile, parse_sync_file
from ocitool.errors import UsageError
from ocitool.oci import Platform

# As in the documentation of regsync, with all that it allows.
REGSYNC = r"""
x-sched-a: &sched-a "15 01 * * *"
version: 1
creds:
  - registry: registry.example.org
    user: syncuser
    pass: 'Pa$$w0rd'
  - registry: localhost:5000
    tls: disabled
    reqPerSec: 100
defaults:
  ratelimit:
    min: 100
    retry: 15m
  parallel: 2
  referrers: true
sync:
  - source: busybox:latest
    target: registry.example.org/library/busybox:latest
    type: image
    interval: 60m
    backup: "backup-{{.Ref.Tag}}"
  - source: alpine
    target: registry.example.org/library/alpine
    type: repository
    tags:
      allow:
      - "latest"
      - "3\\.\\d+"
      deny:
      - "3\\.0"
    schedule: *sched-a
    referrers: false
  - source: alpine
    target: registry.example.org/library/alpine
    type: repository
    tagSets:
    - allow: [edge]
    - semverRange:
      - ">=3.5.1 <4.0"
      allow:
      - 'v\d+\.\d+\.\d+'
    platforms: [linux/amd64, linux/arm64]
  - source: localreg:5000
    target: localcopy:5000/mirror
    type: registry
    repos:
      allow: [team/.*]
      deny: [team/secret]
"""


def parse(text: str) -> SyncFile:
    return parse_sync_file(text, "sync.yaml")


class TestKeysOfRegsync:
    def test_a23_a_file_of_regsync_is_taken_as_it_is(self) -> None:
        image, repository, sets, registry = parse(REGSYNC).entries
        assert (image.kind, image.source, image.target, image.attached) == (
            "image",
            "docker.io/library/busybox:latest",
            "registry.example.org/library/busybox:latest",
            True,
        )
        assert (repository.source, repository.attached) == ("docker.io/library/alpine", False)
        (rules,) = repository.sets
        assert [(one.kind, one.text, one.line) for one in rules.patterns] == [
            ("allow", "latest", 28),
            ("allow", r"3\.\d+", 29),
        ]
        assert [one.text for one in rules.deny] == [r"3\.0"]
        assert [[str(one) for one in found.ranges + found.patterns] for found in sets.sets] == [
            ["allow edge"],
            ["semverRange >=3.5.1 <4.0", r"allow v\d+\.\d+\.\d+"],
        ]
        assert sets.platforms == (Platform.parse("linux/amd64"), Platform.parse("linux/arm64"))
        assert (registry.source, registry.target) == ("localreg:5000", "localcopy:5000/mirror")
        assert [one.text for one in registry.repositories] == ["team/.*"]
        assert [one.text for one in registry.left_out] == ["team/secret"]

    def test_a23_what_is_not_needed_is_said_to_be_ignored(self) -> None:
        assert parse(REGSYNC).ignored == (
            "sync.yaml:12: ratelimit is ignored",
            "sync.yaml:15: parallel is ignored",
            "sync.yaml:21: interval is ignored",
            "sync.yaml:22: backup is ignored",
            "sync.yaml:32: schedule is ignored",
            "sync.yaml:10: reqPerSec is ignored",
        )

    def test_a23_glob_and_newest_stand_beside_them(self) -> None:
        text = (
            "sync: [{source: a, target: h.io/a, type: repository, tags: {glob: v1.*, newest: 3}}]"
        )
        ((rules,),) = [entry.sets for entry in parse(text).entries]
        assert ([str(one) for one in rules.patterns], rules.newest) == (["glob v1.*"], 3)

    def test_numbers_stay_what_was_written(self) -> None:
        text = "sync: [{source: a, target: h.io/a, type: repository, tags: {allow: [3.10, 1e3]}}]"
        ((rules,),) = [entry.sets for entry in parse(text).entries]
        assert [one.text for one in rules.patterns] == ["3.10", "1e3"]

    def test_a_target_without_a_tag_keeps_that_of_the_source(self) -> None:
        digest = "sha256:" + "a" * 64
        text = f"sync: [{{source: h.io/a:1@{digest}, target: docker://g.io/a, type: image}}]"
        (entry,) = parse(text).entries
        assert (entry.source, entry.target) == (f"h.io/a:1@{digest}", "g.io/a")


ENTRY = "- source: a\n  target: h.io/a\n  type: "


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "sync.yaml is empty"),
            ("sync: []\n", "sync.yaml:1: there is nothing to mirror"),
            ("version: 1\n", "sync.yaml:1: there is nothing to mirror"),
            ("version: 2\nsync: []\n", "sync.yaml:1: version is 1"),
            ("[1]\n", "sync.yaml:1: here is a mapping expected"),
            ("sync:\n- sorce: a\n", "sync.yaml:2: there is no key 'sorce'"),
            ("snyc: []\n", "sync.yaml:1: there is no key 'snyc'"),
            ("sync:\n- source: a\n  type: image\n", "sync.yaml:2: target is missing"),
            (f"sync:\n{ENTRY}images\n", "sync.yaml:4: type is one of image, repository, registry"),
            (f"sync:\n{ENTRY}image\n  tags: {{allow: [x]}}\n", "sync.yaml:5: tags is for entries"),
            (f"sync:\n{ENTRY}image\n  repos: {{allow: [x]}}\n", "sync.yaml:5: repos is for"),
            (f"sync:\n{ENTRY}repository\n  tags:\n    allow:\n    - '['\n", "sync.yaml:7: '['"),
            (
                f"sync:\n{ENTRY}repository\n  tags: {{semverRange: [x1]}}\n",
                "sync.yaml:5: 'x1' is no",
            ),
            (f"sync:\n{ENTRY}repository\n  tags: {{newest: 0}}\n", "newest is a number from 1 on"),
            (f"sync:\n{ENTRY}repository\n  tags: {{alow: [x]}}\n", "sync.yaml:5: there is no key"),
            (f"sync:\n{ENTRY}image\n  referrers: maybe\n", "referrers is true or false"),
            (f"sync:\n{ENTRY}image\n  platform: linux\n", "sync.yaml:5:"),
            ("sync:\n- source: A\n  target: h.io/a\n  type: image\n", "sync.yaml:2: 'A'"),
            ("sync:\n- source: a:1\n  target: h.io/a\n  type: repository\n", "has no tag"),
            ("sync:\n- source: '{{x}}'\n  target: h.io/a\n  type: image\n", "is a template"),
            (
                "sync:\n- source: h.io/x\n  target: g.io\n  type: registry\n",
                "sync.yaml:2: 'h.io/x'",
            ),
            ("sync:\n- source: a\n  source: b\n", "sync.yaml:3: 'source' stands here twice"),
            ("creds:\n- registry: h.io\n  user: x\n", "sync.yaml:3: user and pass go together"),
            ("creds:\n- registry: h.io\n  tls: no\n", "sync.yaml:3: tls is one of"),
            ("creds: [{registry: h, user: x, pass: '{{x}}'}]\n", "pass is a template"),
        ],
    )
    def test_a23_each_names_its_line(self, text: str, said: str) -> None:
        whole = text if "sync:" in text or not text.startswith("creds") else f"{text}{GOOD}"
        with pytest.raises(UsageError) as caught:
            parse(whole)
        assert said in caught.value.message

    def test_a23_a_key_that_is_nearly_right_is_suggested(self) -> None:
        with pytest.raises(UsageError) as caught:
            parse("sync:\n- source: a\n  platfroms: [x]\n")
        assert caught.value.hint == "did you mean platforms?"

    def test_no_password_is_in_the_text_of_the_file(self) -> None:
        assert "Pa$$w0rd" not in repr(parse(REGSYNC))


GOOD = "sync: [{source: a, target: h.io/a, type: image}]\n"


class TestSecrets:
    def test_they_are_read_from_variables_and_files(
        self, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        file = tmp_path_factory.mktemp("secret") / "token"
        file.write_text("from-a-file\n")
        text = (
            "creds:\n- registry: docker.io\n  user: '{{env \"HUB_USER\"}}'\n"
            f"  pass: '{{{{file \"{file}\"}}}}'\n{GOOD}"
        )
        (access,) = parse(text).access
        assert access.host == "docker.io"
        assert access.user is not None
        assert access.password is not None
        assert access.user.read({"HUB_USER": "me"}) == "me"
        assert access.password.read({}) == "from-a-file"
        with pytest.raises(UsageError, match=r"sync\.yaml:3: there is no variable 'HUB_USER'"):
            access.user.read({})
