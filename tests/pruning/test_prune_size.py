"""The target of P: requests and memory of reading many tags, and what else is asked."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pruning.repositories import NAME, connected, image, plan, rules
from tests.support.command import environment
from tests.support.images import build_index
from tests.support.registry import EmulatedRegistry, Quirks

PLATFORMS = ("linux/amd64", "linux/arm64", "linux/arm/v7")
RUN = """
import resource, sys
from ocitool.cli.main import run
code = run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def fill(registry: EmulatedRegistry, count: int) -> None:
    for number in range(count):
        images = [image(f"{number}", 1 + number % 28, one) for one in PLATFORMS]
        registry.add_image(NAME, build_index(images), f"1.{number}.0")


def test_each_manifest_is_asked_for_once_and_a_configuration_only_for_its_age() -> None:
    with EmulatedRegistry(Quirks(referrers="404")) as registry, connected() as registries:
        fill(registry, 12)
        plan(registries, registry, rules("1.*", keep_tags=(".*",)))
        # The list of tags, an index for each, and three platforms of each.
        assert len(registry.log) == 1 + 12 + 36
        assert not registry.requests("GET", "blobs")
        registry.log.clear()
        plan(registries, registry, rules("1.*", keep_last=("100:1.[0-3].0",)))
        assert len(registry.requests("GET", "blobs")) == 4 * 3


@pytest.mark.soak
def test_p_a_thousand_tags_of_three_platforms(tmp_path: Path) -> None:
    with EmulatedRegistry() as registry:
        fill(registry, 1000)
        words = (f"{registry.host}/{NAME}", "--delete-tags", "1.*", "--keep-semver", ">=0")
        done = subprocess.run(
            [sys.executable, "-c", RUN, "registry", "prune", *words],
            env=environment(tmp_path / "store"),
            capture_output=True,
            check=True,
        )
        assert len(registry.log) <= 4_100
        kibibytes = int(done.stderr.split()[-1])
        assert kibibytes <= 150 * 1024
