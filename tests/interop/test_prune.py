"""P: a repository is pruned, and crane, skopeo, oras and ssh-keygen find what stays whole.

On Debian's docker-registry, and on registries that behave as GitHub's and Amazon's. The images have
several platforms and attestations, and share platforms; all are signed, by their index and by
platform, in two ways.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.interop.peers import Ocitool, run
from tests.pruning.repositories import image
from tests.support.docker_registry import running_registry
from tests.support.images import BuiltIndex, build_index, write_layout
from tests.support.registry import EmulatedRegistry
from tests.support.registry_ecr import ECR, EmulatedEcr
from tests.support.registry_github import GHCR, EmulatedGitHub

pytestmark = pytest.mark.interop

BASE = image("base")
IMAGES = {
    tag: build_index([BASE, image(tag, day, platform="linux/arm64")], attested=True)
    for day, tag in enumerate(("v1", "v2", "pr-1"), 1)
}
STAY, GO = ("v1", "v2", "latest"), ("pr-1",)
NAME = "team/app"


@contextlib.contextmanager
def service(kind: str, folder: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield the host of a registry, and the variables that lead to its interface."""
    with contextlib.ExitStack() as stack:
        if kind == "oci":
            yield stack.enter_context(running_registry(folder / "registry")).host, {}
            return
        registry = stack.enter_context(EmulatedRegistry(GHCR if kind == "ghcr" else ECR))
        if kind == "ghcr":
            yield registry.host, stack.enter_context(EmulatedGitHub(registry)).environment()
        else:
            yield registry.host, stack.enter_context(EmulatedEcr(registry)).with_keys()


class Signer:
    """Signs digests with an SSH key, and verifies what it finds attached in a registry."""

    def __init__(self, folder: Path, name: str, ocitool: Ocitool) -> None:
        self._folder, self._name, self._ocitool = folder, name, ocitool
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")])
        public = (folder / "key.pub").read_text()
        (folder / "signers").write_text(f"team {public}")

    def sign(self, digest: str, how: str) -> None:
        """Attach a signature to what a digest names."""
        file = self._folder / f"{digest[7:]}-{how}"
        file.write_text(digest)
        run(
            [
                "ssh-keygen",
                "-q",
                "-Y",
                "sign",
                "-n",
                "image",
                "-f",
                f"{self._folder}/key",
                str(file),
            ]
        )
        if how == "oras":
            kind = ("--plain-http", "--artifact-type", "application/x-ssh")
            command = ["oras", "attach", *kind, f"{self._name}@{digest}", f"{file.name}.sig"]
            run(command, folder=self._folder)
        else:
            tag = f"{self._name}:{digest.replace(':', '-')}.sig"
            self._ocitool.run("artifact", "push", tag, f"{file}.sig:application/x-ssh")

    def verify(self, digest: str, how: str) -> None:
        """Fetch a signature by oras, and have it verified."""
        found = self._folder / f"found-{digest[7:]}-{how}"
        source = f"{self._name}:{digest.replace(':', '-')}.sig"
        if how == "oras":
            image = f"{self._name}@{digest}"
            value = json.loads(run(["oras", "discover", "--plain-http", "--format", "json", image]))
            (listed,) = value.get("referrers") or value.get("manifests")
            source = f"{self._name}@{listed['digest']}"
        run(["oras", "pull", "--plain-http", "-o", str(found), source], folder=self._folder)
        (signature,) = found.iterdir()
        words = ("-f", f"{self._folder}/signers", "-I", "team", "-n", "image", "-s", str(signature))
        run(["ssh-keygen", "-Y", "verify", *words], data=digest.encode())


def signed(tag: str) -> list[tuple[str, str]]:
    """Return what is signed of an image, and how."""
    index: BuiltIndex = IMAGES[tag]
    arm = index.images[1].descriptor.digest
    found = [(str(index.descriptor.digest), "oras"), (str(arm), "cosign"), (str(arm), "oras")]
    return found[:1] if tag == "v2" else found


@pytest.mark.parametrize("kind", ["oci", "ghcr", "ecr"])
def test_p_what_stays_is_whole_and_its_signatures_verify(
    kind: str, ocitool: Ocitool, require: Callable[..., None], tmp_path: Path
) -> None:
    require("crane", "oras", "skopeo", "ssh-keygen")
    with service(kind, tmp_path) as (host, variables):
        ours = Ocitool(tmp_path / "store", variables)
        name = f"{host}/{NAME}"
        signer = Signer(tmp_path, name, ocitool)
        for tag, built in IMAGES.items():
            layout = write_layout(tmp_path / tag, {"1": built})
            ours.run("push", f"oci:{layout}:1", f"{name}:{tag}")
            for digest, how in signed(tag):
                signer.sign(digest, how)
        ours.run("push", f"oci:{tmp_path / 'v2'}:1", f"{name}:latest")
        words = ("registry", "prune", name, "--api", kind, "--delete-tags", "pr-.*")
        plan, archive = str(tmp_path / "plan"), str(tmp_path / "gone.tar")
        assert ours.attempt(*words, "--check", "--plan-out", plan).returncode == 3
        # A plan that became stale refuses.
        ours.run("push", f"oci:{tmp_path / 'v1'}:1", f"{name}:v3")
        stale = ours.attempt("registry", "prune", "--apply", plan, "-f")
        assert (stale.returncode, b"v3 is new since" in stale.stderr) == (6, True)
        done = json.loads(ours.run(*words, "--archive", archive, "-f", "--json"))
        assert done["repositories"][0]["done"]["broken"] == []
        check(ours, signer, name, tmp_path)
        # What went comes back from the archive.
        ours.run("push", archive, "--original-names", "--referrers")
        for tag in GO:
            folder = str(tmp_path / f"back-{tag}")
            run(["crane", "pull", "--format", "oci", f"{name}:{tag}", folder])
            for digest, how in signed(tag):
                signer.verify(digest, how)


def check(ours: Ocitool, signer: Signer, name: str, folder: Path) -> None:
    """Let each peer pull what stays, and have its signatures verified; what went is gone."""
    listed = {tag for tag in run(["crane", "ls", name]).decode().split() if "sha256-" not in tag}
    assert listed == {*STAY, "v3"}
    for tag in listed:
        run(["crane", "pull", "--format", "oci", f"{name}:{tag}", str(folder / f"crane-{tag}")])
        copy = f"dir:{folder / f'copy-{tag}'}"
        source = f"docker://{name}:{tag}"
        run(["skopeo", "copy", "-q", "--all", "--src-tls-verify=false", source, copy])
        ours.run("pull", f"{name}:{tag}", "--referrers")
    ours.run("verify")
    for tag in ("v1", "v2"):
        for digest, how in signed(tag):
            signer.verify(digest, how)
    for tag in GO:
        for digest, _ in signed(tag):
            assert ours.attempt("registry", "digest", f"{name}@{digest}").returncode == 4
