"""sync between two of Debian's docker-registry; what crane and oras then find at the target."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.peers import Ocitool, run
from tests.support.docker_registry import running_registry
from tests.support.images import build_image, write_layout

pytestmark = pytest.mark.interop


def test_a23_a25_crane_and_oras_find_what_shards_mirrored(
    ocitool: Ocitool, require: Callable[..., None], tmp_path: Path
) -> None:
    require("crane", "oras")
    home = {"HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path)}
    (tmp_path / "sbom.json").write_text("{}")
    with (
        running_registry(tmp_path / "source") as source,
        running_registry(tmp_path / "target") as target,
    ):
        for name in ("one", "two", "three"):
            for tag in ("1.0", "1.1", "2.0"):
                layers = [{"base": b"b" * 70_000}, {"own": f"{name} {tag}".encode()}]
                layout = write_layout(tmp_path / name / tag, {"1": build_image(layers)})
                ocitool.run("push", f"oci:{layout}:1", f"{source.host}/t/{name}:{tag}")
            words = (
                "--plain-http",
                "--artifact-type",
                "application/x",
                f"{source.host}/t/{name}:1.1",
            )
            run(["oras", "attach", *words, "sbom.json"], folder=tmp_path, environment=home)
        rules, plan = tmp_path / "sync.yaml", tmp_path / "plan"
        rules.write_text(
            f"sync:\n- source: {source.host}\n  target: {target.host}/m\n  type: registry\n"
            "  referrers: true\n  tags: {semverRange: ^1.0}\n"
        )
        ocitool.run("sync", str(rules), "--plan-out", str(plan))
        for shard in ("1/2", "2/2"):
            ocitool.run("sync", "--plan", str(plan), "--shard", shard)
        for name in ("one", "two", "three"):
            tags = run(["crane", "ls", f"{target.host}/m/t/{name}"], environment=home).decode()
            assert {tag for tag in tags.split() if not tag.startswith("sha256-")} == {"1.0", "1.1"}
            for tag in ("1.0", "1.1"):
                run(["crane", "validate", "--remote", f"{target.host}/m/t/{name}:{tag}"])
            ends = [f"{source.host}/t/{name}:1.1", f"{target.host}/m/t/{name}:1.1"]
            found = [
                run(["oras", "discover", "--plain-http", "--format", "json", end], environment=home)
                for end in ends
            ]
            (before,), (after,) = ([one["digest"] for one in _referrers(raw)] for raw in found)
            assert before == after


def _referrers(raw: bytes) -> list[dict[str, str]]:
    value = json.loads(raw)
    listed: list[dict[str, str]] = value.get("referrers") or value.get("manifests") or []
    return listed
