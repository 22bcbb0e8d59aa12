"""A25: four processes as four shards of one plan, one of them killed; and two on one shard."""

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ocitool.oci import Digest
from tests.places.registry.pushes import whole
from tests.support.commands import finished, run, started
from tests.support.images import Built, build_artifact, build_image
from tests.support.registry import EmulatedRegistry, Quirks

BASE = {"base": b"b" * 50_000}
REPOSITORIES = [f"app{number}" for number in range(12)]
IMAGES: dict[tuple[str, str], Built] = {
    (name, tag): build_image([BASE, {"a": f"{name} {tag}".encode()}])
    for name in REPOSITORIES
    for tag in ("1.0", "2.0")
}
ARTIFACTS: dict[str, list[Built]] = {
    name: [
        build_artifact(IMAGES[name, "1.0"].descriptor, f"{kind} of {name}".encode())
        for kind in ("signature", "sbom")
    ]
    for name in REPOSITORIES
}


class Site:
    """A source, a target without the referrers API, and a plan from one to the other."""

    def __init__(self, folder: Path, source: EmulatedRegistry, target: EmulatedRegistry) -> None:
        self.folder, self.source, self.target = folder, source, target
        self.plan = folder / "plan"
        rules = folder / "sync.yaml"
        rules.write_text(
            f"sync:\n- source: {source.host}\n  target: {target.host}/m\n  type: registry\n"
            "  referrers: true\n"
        )
        run(self.folder / "store", "sync", str(rules), "--plan-out", str(self.plan))

    def start(self, shard: str) -> "subprocess.Popen[str]":
        """Start a shard, with one repository at a time."""
        words = ("sync", "--plan", str(self.plan), "--shard", shard, "-j", "1", "--json")
        return started(self.folder / "store", *words)

    def done_of(self, shard: str) -> list[str]:
        """Return the tags of a shard that are at the target."""
        number, count = map(int, shard.split("/"))
        return [
            f"{name}:{tag}"
            for (name, tag), image in IMAGES.items()
            if shard_of(f"{self.target.host}/m/{name}", count) == number
            and self.target.tags[f"m/{name}"].get(tag) == image.descriptor.digest
        ]

    def assert_whole(self, names: Sequence[str] = REPOSITORIES) -> None:
        """Fail unless every image is at the target, with a list of what is attached to it."""
        for (name, tag), image in IMAGES.items():
            if name not in names:
                continue
            assert whole(self.target, image, f"m/{name}")
            assert self.target.tags[f"m/{name}"][tag] == image.descriptor.digest
        for name in names:
            artifacts = ARTIFACTS[name]
            tag = f"sha256-{IMAGES[name, '1.0'].descriptor.digest.hex}"
            listed: Any = self.target.manifests[f"m/{name}"][self.target.tags[f"m/{name}"][tag]]
            found = [Digest.parse(one["digest"]) for one in listed.fields["manifests"]]
            assert sorted(found) == sorted(one.descriptor.digest for one in artifacts)
            assert all(whole(self.target, one, f"m/{name}") for one in artifacts)


def shard_of(repository: str, count: int) -> int:
    """Return the shard of a repository, by the words of the document."""
    import hashlib

    return int(hashlib.sha256(repository.encode()).hexdigest(), 16) % count


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    # A blob takes a moment, so that a process can be met in the middle.
    with (
        EmulatedRegistry() as source,
        EmulatedRegistry(Quirks(referrers="404", commit_seconds=0.01)) as target,
    ):
        for (name, tag), image in IMAGES.items():
            source.add_image(name, image, tag)
        for name, artifacts in ARTIFACTS.items():
            for artifact in artifacts:
                source.add_image(name, artifact)
        yield Site(tmp_path, source, target)


def test_a25_four_shards_do_each_line_once_though_one_is_killed(site: Site) -> None:
    processes = [site.start(f"{number}/4") for number in range(4)]
    lines = Counter(
        shard_of(json.loads(line)["target"], 4) for line in site.plan.read_text().splitlines()
    )
    victim = max(lines, key=lambda number: lines[number])
    shard = f"{victim}/4"
    while len(site.done_of(shard)) < 2:
        assert processes[victim].poll() is None, "it was done before it could be killed"
        time.sleep(0.002)
    processes[victim].kill()
    processes[victim].communicate()
    assert 2 <= len(site.done_of(shard)) < lines[victim]
    others = [one for number, one in enumerate(processes) if number != victim]
    documents: list[Any] = [json.loads(output) for output in finished(others)]
    documents += [json.loads(output) for output in finished([site.start(shard)])]
    done = Counter(one["destination"] for value in documents for one in value["images"])
    assert len(done) == len(IMAGES)
    assert set(done.values()) == {1}
    site.assert_whole()
    # Repeated, a shard asks for each tag, and for each list of what is attached; no more.
    logs = [len(one.log) for one in (site.source, site.target)]
    finished([site.start(shard)])
    assert site.source.log[logs[0] :] == []
    again = Counter(one.method for one in site.target.log[logs[1] :])
    assert again["HEAD"] == lines[victim]
    assert set(again) == {"HEAD", "GET"}
    assert again["GET"] == lines[victim], "one list for every second image, by two requests"


def test_a25_two_runners_on_one_shard_do_no_harm(site: Site) -> None:
    names = REPOSITORIES[:3]
    lines = site.plan.read_text().splitlines(keepends=True)
    site.plan.write_text("".join(one for one in lines if json.loads(one)["target"][-4:] in names))
    finished([site.start("0/1"), site.start("1/1")])
    site.assert_whole(names)
