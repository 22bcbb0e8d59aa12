"""The peers, each in folders of its own, and ocitool as a user runs it.

Servers listen on unix sockets below a short folder and are ended by their process id.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocitool.image.graph import closure_of, images_of
from ocitool.places.layout import Layout

_START_SECONDS = 60
_STOP_SECONDS = 30
_FILES_OF_DOCKER = {".dockerenv", "dev/console", "etc/hosts", "etc/hostname", "etc/resolv.conf"}
Tree = dict[str, tuple[object, ...]]


def run(
    command: Sequence[str],
    *,
    data: bytes | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> bytes:
    """Run a command to its end and return its stdout; an exit code other than 0 fails the test."""
    done = attempt(command, data=data, environment=environment, folder=folder)
    text = (done.stderr + done.stdout).decode(errors="replace")[-3000:]
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{text}"
    return done.stdout


def attempt(
    command: Sequence[str],
    *,
    data: bytes | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end, whatever that is."""
    return subprocess.run(
        command,
        input=b"" if data is None else data,
        env={**os.environ, **(environment or {})},
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=300,
    )


@contextlib.contextmanager
def server(
    command: Sequence[str],
    log: Path,
    ready: Callable[[], bool],
) -> Iterator[None]:
    """Run a server until the block ends; fails with its log when it does not come up."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        ) as process,
    ):
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"{command[0]} did not start:\n{log.read_text()[-3000:]}")
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """An image in our store: its names, and the digests of its root and of its configs."""

    names: frozenset[str]
    digest: str
    image_ids: tuple[str, ...]

    @property
    def image_id(self) -> str:
        """The config digest of an image for one platform."""
        (only,) = self.image_ids
        return only


class Ocitool:
    """ocitool with a store of its own."""

    def __init__(self, store: Path, environment: Mapping[str, str] | None = None) -> None:
        self.store = store
        self.environment = environment

    def command(self, *arguments: str) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-m", "ocitool", "--store", str(self.store), *arguments]

    def run(self, *arguments: str, data: bytes | None = None) -> bytes:
        """Run a command of ocitool and return its stdout; a failure fails the test."""
        return run(self.command(*arguments), data=data, environment=self.environment)

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command of ocitool, whatever its end."""
        return attempt(self.command(*arguments), environment=self.environment)

    def images(self) -> list[StoredImage]:
        """Return the images of the store, after a complete `verify`."""
        self.run("verify")
        found = []
        with Layout.existing(str(self.store)) as layout:
            for root in layout.roots():
                images = images_of(closure_of(layout, root.descriptor))
                found.append(
                    StoredImage(
                        names=frozenset(root.names),
                        digest=str(root.descriptor.digest),
                        image_ids=tuple(str(manifest.config.digest) for _, manifest in images),
                    )
                )
        return found

    def ids(self) -> dict[str, str]:
        """Return the image ID behind each name."""
        return {name: image.image_id for image in self.images() for name in image.names}


class Docker:
    """A docker engine that knows nothing when it starts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._host = f"unix://{folder}/s"

    @property
    def host(self) -> str:
        """The engine's address."""
        return self._host

    @contextlib.contextmanager
    def running(self) -> Iterator["Docker"]:
        """Run the engine, and the containerd that it starts and stops, until the block ends."""
        folder = self._folder
        command = ["dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"]
        command += ["--host", self._host, "--pidfile", f"{folder}/pid"]
        command += ["--iptables=false", "--ip6tables=false", "--bridge=none"]
        with server(command, folder / "log", lambda: self.attempt("version").returncode == 0):
            yield self

    def command(self, *arguments: str) -> list[str]:
        """Return the command line."""
        return ["docker", "--host", self._host, *arguments]

    def run(self, *arguments: str, data: bytes | None = None) -> bytes:
        """Run a docker command and return its stdout; a failure fails the test."""
        return run(self.command(*arguments), data=data, environment=self._environment())

    def attempt(
        self, *arguments: str, data: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a docker command, whatever its end."""
        return attempt(self.command(*arguments), data=data, environment=self._environment())

    def _environment(self) -> dict[str, str]:
        # The classic builder, for BuildKit wants to pull. And no configuration of the user's.
        return {"DOCKER_BUILDKIT": "0", "DOCKER_CONFIG": str(self._folder / "config")}

    def build(self, context: Path, dockerfile: str, *names: str) -> str:
        """Build an image under these names from the files of a folder and return its ID."""
        tags = [part for name in names for part in ("--tag", name)]
        text = context / "Dockerfile"
        text.write_text(dockerfile)
        self.run("build", "--quiet", *tags, str(context))
        text.unlink()
        return self.image_id(names[0])

    def image_id(self, name: str) -> str:
        """Return the image ID behind a name."""
        return self.run("image", "inspect", "--format", "{{.Id}}", name).decode().strip()

    def runtime_config(self, *options: str) -> tuple[str, dict[str, Any]]:
        """Run a container and return its ID and the config.json that docker made of it."""
        identity = self.run("run", "--detach", *options).decode().strip()
        try:
            place = "containerd/daemon/io.containerd.runtime.v2.task/moby"
            path = self._folder / "exec" / place / identity / "config.json"
            return identity, json.loads(path.read_bytes())
        finally:
            self.run("rm", "--force", identity)

    def ids(self) -> dict[str, str]:
        """Return the image ID behind each name, as docker shows it."""
        form = "{{.Repository}}:{{.Tag}} {{.ID}}"
        lines = self.run("image", "ls", "--no-trunc", "--format", form).decode().splitlines()
        pairs = [line.rsplit(" ", 1) for line in lines]
        return {name: digest for name, digest in pairs if "<none>" not in name}

    def has(self, image: str) -> bool:
        """Tell whether the engine knows an image by this name or ID."""
        return self.attempt("image", "inspect", image).returncode == 0

    def remove(self, *images: str) -> None:
        """Remove images by name or ID; their layers go with the last that has them."""
        self.run("image", "rm", "--force", *images)

    def tree(self, image: str) -> Tree:
        """Return the file system of a container of the image, without what docker adds to it."""
        container = self.run("create", image, "/nothing").decode().strip()
        try:
            tree = tree_of(self.run("export", container))
        finally:
            self.run("rm", container)
        return {path: what for path, what in tree.items() if path not in _FILES_OF_DOCKER}


class Podman:
    """podman and buildah over one storage of their own, without a server."""

    def __init__(self, folder: Path) -> None:
        self._storage = ["--root", f"{folder}/root", "--runroot", f"{folder}/run"]
        self._storage += ["--storage-driver", "vfs"]
        self._own = ["--cgroup-manager=cgroupfs", "--tmpdir", f"{folder}/libpod"]
        self._folder = folder

    @contextlib.contextmanager
    def service(self) -> Iterator[str]:
        """Serve podman's API until the block ends; yields its address."""
        socket = self._folder / "s"
        command = self.command("system", "service", "--time", "0", f"unix://{socket}")
        with server(command, self._folder / "service.log", socket.exists):
            yield f"unix://{socket}"

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of podman."""
        return ["podman", *self._storage, *self._own, *arguments]

    def run(self, *arguments: str) -> bytes:
        """Run podman and return its stdout; a failure fails the test."""
        return run(self.command(*arguments))

    def buildah(self, *arguments: str) -> bytes:
        """Run buildah and return its stdout; a failure fails the test."""
        return run(["buildah", *self._storage, *arguments])

    def build(self, context: Path, dockerfile: str, name: str, *, form: str = "oci") -> str:
        """Build an image from the files of a folder and return its ID."""
        text = context / "Dockerfile"
        text.write_text(dockerfile)
        options = ["--quiet", "--layers", "--isolation", "chroot", "--format", form, "--tag", name]
        self.buildah("bud", *options, str(context))
        text.unlink()
        return self.image_id(name)

    def image_id(self, name: str) -> str:
        """Return the image ID behind a name."""
        text = self.run("image", "inspect", "--format", "{{.Id}}", name).decode().strip()
        return f"sha256:{text}"

    def ids(self) -> dict[str, str]:
        """Return the image ID behind each name."""
        form = "{{.Repository}}:{{.Tag}} {{.ID}}"
        lines = self.run("images", "--no-trunc", "--format", form).decode().splitlines()
        return dict(line.rsplit(" ", 1) for line in lines if line and "<none>" not in line)


class Containerd:
    """A containerd without CRI, spoken to by ctr."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = f"{folder}/s"

    @contextlib.contextmanager
    def running(self) -> Iterator["Containerd"]:
        """Run the server until the block ends."""
        folder = self._folder
        settings = folder / "config.toml"
        settings.write_text(
            f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{self._socket}"\n[ttrpc]\naddress = "{folder}/t"\n'
        )
        command = ["containerd", "--config", str(settings)]
        ready = ["ctr", "--address", self._socket, "version"]
        with server(command, folder / "log", lambda: attempt(ready).returncode == 0):
            yield self

    @property
    def socket(self) -> str:
        """The path of its socket."""
        return self._socket

    def run(self, namespace: str, *arguments: str) -> bytes:
        """Run ctr in a namespace, which keeps images of tests apart, and return its stdout."""
        return run(["ctr", "--address", self._socket, "--namespace", namespace, *arguments])

    def load(self, namespace: str, archive: Path) -> None:
        """Import an archive and unpack its images."""
        self.run(namespace, "images", "import", "--snapshotter", "native", str(archive))

    def digests(self, namespace: str) -> dict[str, str]:
        """Return the digest behind each name."""
        lines = self.run(namespace, "images", "ls").decode().splitlines()[1:]
        return {line.split()[0]: line.split()[2] for line in lines}


def skopeo(*arguments: str) -> bytes:
    """Run skopeo without a policy and return its stdout; a failure fails the test."""
    return run(["skopeo", "--insecure-policy", *arguments])


def tree_of(data: bytes) -> Tree:
    """Return what each path of a tar is: kind, mode, owner, link, time and content."""
    tree: Tree = {}
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            tree[member.name] = (
                member.type,
                member.mode & 0o7777,
                (member.uid, member.gid),
                member.linkname,
                member.mtime if member.isreg() else None,
                (member.devmajor, member.devminor),
                hashlib.sha256(content.read()).hexdigest() if content is not None else None,
            )
    return tree


def unpacked(archive: Path, folder: Path) -> Path:
    """Unpack an archive of ours into a folder and return it."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


def fresh_files(folder: Path, *names: str) -> Path:
    """Make a folder of files with content that nobody has seen before, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(os.urandom(3000))
    return folder


def missing_tools(*tools: str) -> list[str]:
    """Return which of the tools are not installed."""
    return [tool for tool in tools if shutil.which(tool) is None]
