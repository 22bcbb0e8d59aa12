"""The commands about bundles with --json, in situations that fill the fields of their documents."""

import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import build_artifact, build_image, build_index, write_layout
from tests.support.registry import EmulatedRegistry

BASE = {"base": b"b" * 3000}
IMAGE = build_image([BASE, {"a": b"1"}])
NEXT = build_image([BASE, {"a": b"2"}])
BOTH = build_index([IMAGE, build_image([{"arm": b"3"}], platform="linux/arm64")])
SBOM = build_artifact(IMAGE.descriptor, b"an SBOM")


def note_bundles(note: Callable[..., Any], folder: Path) -> None:
    """Note the documents of `bundle`: `note` is that of the scene of all commands."""
    old = write_layout(folder / "bundle-old", {"x/app:1": IMAGE, "bare": BOTH}, [SBOM])
    new = write_layout(folder / "bundle-new", {"x/app:2": NEXT})
    sparse = write_layout(
        folder / "bundle-sparse",
        {"x/both:1": BOTH},
        without=[*BOTH.images[1].blobs],
    )
    full, delta, disk = (folder / name for name in ("full.tar", "next.delta.tar", "disk.tar"))
    create = ("bundle", "create")
    note("bundle create", *create, f"oci:{old}", "-o", full)
    note("bundle create", *create, f"oci:{new}", "--base", full, "-o", delta)
    note("bundle create", *create, f"oci:{sparse}", "--dry-run", "-o", folder / "none.tar")
    size = str((1 << 20) + 60_000)
    noise = {"noise": random.Random(1).randbytes(1_500_000)}
    big = write_layout(folder / "bundle-big", {"x/big:1": build_image([noise])})
    note("bundle create", *create, f"oci:{big}", "-o", big.with_suffix(".tar"))
    note(
        "bundle split",
        "bundle",
        "split",
        big.with_suffix(".tar"),
        "--volume-size",
        size,
        "--parity",
        "-o",
        disk,
    )
    note("bundle join", "bundle", "join", *folder.glob("disk.v*.tar"), "-o", folder / "j.tar")
    note("bundle show", "bundle", "show", full)
    note("bundle show", "bundle", "show", delta)
    note("bundle verify", "bundle", "verify", full)
    damaged = bytearray(full.read_bytes())
    damaged[damaged.index(IMAGE.blobs[IMAGE.layers[0].digest]) + 20] ^= 1
    (folder / "damaged.tar").write_bytes(damaged)
    (folder / "no.tar").write_bytes(b"?")
    files = (folder / "damaged.tar", folder / "no.tar")
    note("bundle verify", "bundle", "verify", *files, code=3)
    there = f"oci:{folder / 'bundle-there'}"
    note("bundle check", "bundle", "check", delta, "--to", there, code=3)
    note("bundle load", "bundle", "load", delta, "--to", there, code=3)
    note("bundle load", "bundle", "load", full, "--to", there)
    note("bundle check", "bundle", "check", delta, "--to", there)
    note("bundle load", "bundle", "load", delta, folder / "no.tar", "--to", there, code=3)
    rest = sorted(folder.glob("disk.v*.tar"))[1:]
    note("bundle show", "bundle", "show", *rest)
    note("bundle verify", "bundle", "verify", *rest, code=3)
    rest.append(folder / "disk.parity.tar")
    note("bundle show", "bundle", "show", *rest)
    note("bundle verify", "bundle", "verify", *rest, code=3)
    _sign(note, folder, full)
    with EmulatedRegistry() as registry:
        _into(note, registry, folder, full)


def _sign(note: Callable[..., Any], folder: Path, full: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("there is no ssh-keygen to sign with")
    key = folder / "key"
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
    subprocess.run(make, check=True, capture_output=True)
    note("bundle sign", "bundle", "sign", full, "--sign-key", key)


def _into(note: Callable[..., Any], registry: EmulatedRegistry, folder: Path, full: Path) -> None:
    named = write_layout(folder / "bundle-named", {"x/app:1": IMAGE}, [SBOM])
    note("bundle create", "bundle", "create", f"oci:{named}", "-o", full)
    registry.add_image("mirror/x/app", NEXT, "1")
    load = ("bundle", "load", full, "--to", f"{registry.host}/mirror")
    note("bundle load", *load, code=6)
    note("bundle load", *load, "--on-existing", "overwrite")
