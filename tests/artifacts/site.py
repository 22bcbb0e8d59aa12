"""A registry and folders around it; artifacts as anybody could make them."""

import gzip
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from ocitool.artifacts import conventions
from ocitool.artifacts.receiving import PullReport, pull
from ocitool.artifacts.sending import ArtifactReport, PackOptions, attach, push
from ocitool.oci import DEFAULT_LIMITS, Limits, Reference
from ocitool.oci.mediatype import OCI_MANIFEST
from ocitool.places.registry import Registries, RegistryOptions, Repository
from tests.support.registry import EmulatedRegistry

REPOSITORY = "team/files"
UNPACK = {conventions.UNPACK: "true"}


class Site:
    """A registry, our connections to it, and folders to push from and pull into."""

    def __init__(self, host: str, folder: Path, limits: Limits = DEFAULT_LIMITS) -> None:
        self.host = host
        self.folder = folder
        self.out = folder / "out"
        options = RegistryOptions(limits=limits)
        self.registries = Registries(options, environment={"HOME": str(folder)})

    def reference(self, tag: str = "1") -> Reference:
        return Reference.parse(f"{self.host}/{REPOSITORY}:{tag}")

    @property
    def repository(self) -> Repository:
        return Repository.of(self.registries, self.reference())

    def push(self, *files: str | Path, tag: str = "1", **how: object) -> ArtifactReport:
        making = PackOptions(files=[str(file) for file in files], **how)  # type: ignore[arg-type]
        return push(self.registries, self.reference(tag), making)

    def attach(self, *files: Path, subject: Reference, artifact_type: str) -> ArtifactReport:
        making = PackOptions(files=[str(file) for file in files], artifact_type=artifact_type)
        return attach(self.registries, subject, making)

    def pull(self, tag: str = "1", *, overwrite: bool = False) -> PullReport:
        return pull(self.repository, self.reference(tag), str(self.out), overwrite=overwrite)

    def written(self) -> dict[str, str]:
        """Return all that is in the folder of pulls: content of files, targets of links."""
        return tree(self.out)


def tree(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_text()
        else:
            found[name] = "/"
    return found


def add(
    registry: EmulatedRegistry,
    *layers: tuple[str | None, bytes, Mapping[str, str]],
    media_type: str = conventions.FILE_TYPE,
    config_type: str = "application/vnd.example.config+json",
    tag: str = "1",
) -> None:
    """Store an artifact as anybody could make it: (title, content, further annotations)."""
    described = []
    for title, data, annotations in layers:
        blob = registry.add_blob(REPOSITORY, data)
        titled = {} if title is None else {conventions.TITLE: title}
        described.append(
            {
                "mediaType": media_type,
                "digest": str(blob.digest),
                "size": blob.size,
                "annotations": {**titled, **annotations},
            }
        )
    config = registry.add_blob(REPOSITORY, b"{}")
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": config_type, "digest": str(config.digest), "size": 2},
        "layers": described,
    }
    registry.add_manifest(REPOSITORY, json.dumps(manifest).encode(), OCI_MANIFEST, tag)


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def targz(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0)


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=kind, linkname=target)


def folder(name: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.DIRTYPE, mode=0o755)


def add_folder(registry: EmulatedRegistry, *members: tuple[tarfile.TarInfo, bytes]) -> None:
    """Store an artifact whose one folder "data" holds these members."""
    blob = targz(*members)
    add(registry, ("data", blob, UNPACK), media_type=conventions.FOLDER_TYPE)
