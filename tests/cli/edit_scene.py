"""The documents of the commands that edit images, in situations that fill their fields."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.images import build_artifact, build_image, build_index
from tests.support.registry import EmulatedRegistry

Note = Callable[..., Any]


def note_edits(note: Note, folder: Path, registry: EmulatedRegistry) -> None:
    """Edit an index in a registry that is attested, signed and has an SBOM; note all documents."""
    amd, arm = build_image([{"a": b"1"}]), build_image([{"b": b"2"}], platform="linux/arm64")
    index = build_index([amd, arm], attested=True)
    registry.add_image("edit/app", index, "1")
    registry.add_image("edit/app", amd, "amd")
    for kind in ("application/spdx+json", "application/vnd.dev.cosign.simplesigning.v1+json"):
        artifact = build_artifact(index.descriptor, kind.encode(), artifact_type=kind)
        registry.add_image("edit/app", artifact)
    tag = f"sha256-{amd.descriptor.digest.hex}.sig"
    registry.add_image("edit/app", build_artifact(None, b"by tag"), tag)
    source = f"docker://{registry.host}/edit/app"
    to = ("-t", f"{source}:2", "--referrers", "copy")
    note("set", "set", f"{source}:1", "--label", "a=b", *to)
    note("set", "set", f"{source}:1", "--label", "a=c", *to)
    for digest in (amd.descriptor.digest, arm.descriptor.digest):
        registry.add_image("edit/other", amd if digest == amd.descriptor.digest else arm)
        (folder / "digests").mkdir(exist_ok=True)
        (folder / "digests" / digest.hex).touch()
    merged = f"docker://{registry.host}/edit/other:1"
    note("index create", "index", "create", merged, "--digests", folder / "digests")
    note("index remove", "index", "remove", merged, "linux/arm64")
    note("index add", "index", "add", merged, str(arm.descriptor.digest))
    note("index remove", "index", "remove", merged, "linux/arm64")
    note("unwrap", "unwrap", merged, "-t", "unwrapped:1")
    (folder / "layer").mkdir()
    (folder / "layer" / "file").write_text("x")
    note("append", "append", f"{source}:1", folder / "layer", *to)
    note("convert", "convert", f"{source}:1", "--compression", "zstd", *to)
    note("attestations keep", "attestations", "keep", f"{source}:1", *to[:2])
    note("attestations drop", "attestations", "drop", f"{source}:1", *to)
    note("attestations to-referrers", "attestations", "to-referrers", f"{source}:1", *to)
    note("flatten", "flatten", f"{source}:1", *to)
    base = ("--old-base", f"{source}:amd", "--new-base", f"{source}:amd")
    note("rebase", "rebase", f"{source}:1", *base, *to, "--platform", "linux/amd64")
